//! Balances and charges.

use jiff::Timestamp;

use super::{Moment, Parameter, Rows, Unfit, fit, id_of, text};
use crate::engine::event::{BalanceCharged, ChargeOpened, ChargeSettled, ChargeStatus};
use crate::engine::ids::CellId;

columns! {
    /// `balance_transactions`.
    Transactions of TransactionRow<'a> {
        user_id: &'a str, transaction_id: i64, kind: &'static str, amount: i64, balance: i64, used: i64,
        order_id: Option<i64>, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `charges`.
    Charges of ChargeRow<'a> {
        charge_id: i64, user_id: &'a str, amount: i64, method: Option<&'a str>, status: &'static str,
        transaction_id: Option<i64>, seq: i64, created: Timestamp, at: Timestamp,
    }
}

/// What a transaction says, apart from whose it is and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// Of the transaction.
    pub(super) amount: i64,
    /// The balance afterwards.
    balance: i64,
    /// The used total afterwards.
    used: i64,
}

impl Amounts {
    pub(super) fn new(amount: u64, balance: u64, used: u64) -> Result<Self, Unfit> {
        Ok(Self { amount: fit(amount, "amount")?, balance: fit(balance, "balance")?, used: fit(used, "used")? })
    }
}

impl<'a> Rows<'a> {
    pub(super) fn add_charged(&mut self, cell: CellId, charge: &'a BalanceCharged) -> Result<(), Unfit> {
        let moment = Moment::new(charge.seq, charge.at)?;
        let id = id_of(cell, charge.seq, "seq")?;
        let amounts = Amounts::new(charge.amount, charge.balance, charge.used)?;
        self.add_transaction(charge.user.as_str(), id, ("CHARGE", None), amounts, moment);
        Ok(())
    }

    pub(super) fn add_opened(&mut self, cell: CellId, charge: &'a ChargeOpened) -> Result<(), Unfit> {
        let moment = Moment::new(charge.seq, charge.at)?;
        let row = ChargeRow {
            charge_id: id_of(cell, charge.seq, "seq")?,
            user_id: charge.user.as_str(),
            amount: fit(charge.amount, "amount")?,
            method: charge.method.as_deref().map(text).transpose()?,
            status: "PENDING",
            transaction_id: None,
            seq: moment.seq,
            created: moment.at,
            at: moment.at,
        };

        self.charges.insert(row.charge_id, row);
        Ok(())
    }

    pub(super) fn add_settled(&mut self, cell: CellId, charge: &'a ChargeSettled) -> Result<(), Unfit> {
        let moment = Moment::new(charge.seq, charge.at)?;
        let amounts = Amounts::new(charge.amount, charge.balance, charge.used)?;
        let id = id_of(cell, charge.seq, "seq")?;
        let mut row = ChargeRow {
            charge_id: id_of(cell, charge.charge, "charge")?,
            user_id: charge.user.as_str(),
            amount: amounts.amount,
            method: None,
            status: charge.status.as_str(),
            transaction_id: None,
            seq: moment.seq,
            created: moment.at,
            at: moment.at,
        };

        if charge.status == ChargeStatus::Completed {
            row.transaction_id = Some(id);
            self.add_transaction(row.user_id, id, ("CHARGE", None), amounts, moment);
        }
        // What only the opening says, if that is in this batch; PostgreSQL does the same with what it has.
        if let Some(opened) = self.charges.get(&row.charge_id) {
            (row.method, row.created) = (opened.method, opened.created);
        }
        self.charges.insert(row.charge_id, row);
        Ok(())
    }

    /// `kind`: the type, and the order that it is about.
    pub(super) fn add_transaction(
        &mut self,
        user: &'a str,
        id: i64,
        (kind, order_id): (&'static str, Option<i64>),
        amounts: Amounts,
        moment: Moment,
    ) {
        self.transactions.push(TransactionRow {
            user_id: user,
            transaction_id: id,
            kind,
            amount: amounts.amount,
            balance: amounts.balance,
            used: amounts.used,
            order_id,
            seq: moment.seq,
            at: moment.at,
        });
    }

    /// The columns of `charges`.
    pub(in crate::writer) fn charges(&self) -> Charges<'a> {
        self.charges.values().cloned().collect()
    }
}
