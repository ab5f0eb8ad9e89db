//! Balances and charges.

use serde_json::json;

use super::{Model, Moment, charge_record, refusal};
use crate::engine::batch::Rules;
use crate::engine::event::{BalanceCharged, ChargeOpened, ChargeSettled, ChargeStatus, Event};
use crate::engine::op::{OpenCharge, SettleCharge, Verdict};
use crate::engine::reads::Account;
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

impl Model {
    pub(super) fn charge_balance(&mut self, at: Moment<'_>, user: &UserId, amount: i64) -> Result<Event, Refusal> {
        let mut account = self.account_of(user);
        let amount = chargeable(at.rules, &account, amount)?;

        let previous = account.balance;
        account.balance += amount;
        self.accounts.insert(user.clone(), account);
        let (seq, at, user) = (self.seq + 1, at.now_ms, user.clone());
        let Account { balance, used, .. } = account;
        Ok(Event::BalanceCharged(BalanceCharged { seq, at, user, amount, previous, balance, used }))
    }

    pub(super) fn open_charge(&mut self, at: Moment<'_>, user: &UserId, charge: &OpenCharge) -> Result<Event, Refusal> {
        let mut account = self.account_of(user);
        let amount = chargeable(at.rules, &account, charge.amount)?;
        if account.charges >= at.rules.open_charges_max {
            return Err(invalid_amount("TOO_MANY_PENDING", charge.amount));
        }

        account.pending += amount;
        account.charges += 1;
        self.accounts.insert(user.clone(), account);
        let (seq, user, method) = (self.seq + 1, user.clone(), charge.method.clone());
        let event = Event::ChargeOpened(ChargeOpened { seq, at: at.now_ms, user, amount, method });
        self.open.insert(seq, event.clone());
        self.due.insert(seq, at.now_ms + at.rules.recovery_ms);
        Ok(event)
    }

    pub(super) fn settle_charge(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        settle: &SettleCharge,
    ) -> Result<Event, Refusal> {
        let id = settle.charge;
        let amount = match self.open.get(&id) {
            Some(Event::ChargeOpened(opened)) if opened.user == *user => opened.amount,
            _ => {
                return match self.record(at, &charge_record(id)).map(|record| &record.event) {
                    Some(Event::ChargeSettled(settled)) if settled.user == *user => {
                        Ok(Event::ChargeSettled(settled.clone()))
                    }
                    _ => Err(refusal(Refused::InvalidOrderState, json!({}))),
                };
            }
        };

        let mut account = self.account_of(user);
        let previous = account.balance;
        let status = match settle.verdict {
            Verdict::Approved => ChargeStatus::Completed,
            Verdict::Declined | Verdict::Refunded | Verdict::Abandoned => ChargeStatus::Failed,
        };
        if status == ChargeStatus::Completed {
            account.balance += amount;
        }
        account.pending -= amount;
        account.charges -= 1;
        self.accounts.insert(user.clone(), account);
        self.open.remove(&id);
        self.due.remove(&id);
        Ok(Event::ChargeSettled(ChargeSettled {
            seq: self.seq + 1,
            at: at.now_ms,
            user: user.clone(),
            charge: id,
            status,
            amount,
            previous,
            balance: account.balance,
            used: account.used,
        }))
    }
}

/// The amount, if the rules allow it. Charges that are open count as if they had succeeded.
fn chargeable(rules: &Rules, account: &Account, asked: i64) -> Result<u64, Refusal> {
    let amount = u64::try_from(asked).unwrap_or(0);
    let reason = if amount == 0 {
        "NOT_POSITIVE"
    } else if !amount.is_multiple_of(rules.charge_unit) {
        "NOT_A_MULTIPLE_OF_UNIT"
    } else if amount > rules.charge_max {
        "ABOVE_MAXIMUM"
    } else if account.balance + account.pending + amount > rules.balance_max {
        "ABOVE_BALANCE_CAP"
    } else {
        return Ok(amount);
    };
    Err(invalid_amount(reason, asked))
}

fn invalid_amount(reason: &str, amount: i64) -> Refusal {
    refusal(Refused::InvalidAmount, json!({ "reason": reason, "amount": amount }))
}
