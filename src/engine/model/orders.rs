//! Orders, from placed to refunded.

use serde_json::json;

use super::goods::Draft;
use super::{Model, Moment, NUMBER_MAX, invalid, order_record, refusal};
use crate::engine::event::{Event, OrderChanged, OrderConfirmed, OrderLine, OrderStatus, RefundStatus};
use crate::engine::op::{CancelOrder, PaidLine, PaidOrder, PayOrder, PaymentMethod, PlaceOrder, SettleOrder, Verdict};
use crate::engine::reads::Account;
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

impl Model {
    pub(super) fn place_order(&mut self, at: Moment<'_>, user: &UserId, order: &PlaceOrder) -> Result<Event, Refusal> {
        let Draft { lines, total, discount, coupons } = self.draft(at, user, order)?;
        let (mut account, final_amount) = (self.account_of(user), total - discount);
        check_payable(&account, final_amount)?;

        let seq = self.seq + 1;
        self.take_goods(user, order, &lines, seq);
        self.count_sales(at, &lines);
        account.balance -= final_amount;
        account.used += final_amount;
        self.accounts.insert(user.clone(), account);
        Ok(Event::OrderConfirmed(OrderConfirmed {
            seq,
            at: at.now_ms,
            user: user.clone(),
            day: at.business_day.to_owned(),
            total,
            discount,
            final_amount,
            method: PaymentMethod::Balance,
            address: order.address.clone(),
            balance: account.balance,
            used: account.used,
            items: lines,
            coupons,
            cart: order.items.is_none().then_some(true),
        }))
    }

    pub(super) fn reserve_order(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        order: &PlaceOrder,
    ) -> Result<Event, Refusal> {
        let mut account = self.account_of(user);
        let maximum = at.rules.open_orders_max;
        if account.open >= maximum {
            let details = json!({ "openOrders": account.open, "maximum": maximum });
            return Err(refusal(Refused::TooManyOpenOrders, details));
        }
        let Draft { lines, total, discount, coupons } = self.draft(at, user, order)?;

        let seq = self.seq + 1;
        self.take_goods(user, order, &lines, seq);
        account.open += 1;
        self.accounts.insert(user.clone(), account);
        let expires = at.now_ms + at.rules.reservation_ttl_ms;
        let event = Event::OrderChanged(OrderChanged {
            seq,
            at: at.now_ms,
            order: seq,
            status: OrderStatus::PendingPayment,
            user: user.clone(),
            created: at.now_ms,
            expires: Some(expires),
            total,
            discount,
            final_amount: total - discount,
            method: None,
            day: None,
            paid_at: None,
            payment: None,
            refund: None,
            address: order.address.clone(),
            coupons,
            cart: order.items.is_none().then_some(true),
            balance: account.balance,
            used: account.used,
            restocked: None,
            items: lines,
        });
        self.keep_open(seq, &event, expires);
        Ok(event)
    }

    pub(super) fn pay_order(&mut self, at: Moment<'_>, user: &UserId, pay: &PayOrder) -> Result<Event, Refusal> {
        let mut order = self.open_order(user, pay.order).ok_or_else(|| self.why_not_open(at, user, pay.order))?;
        check_unpaid(at, &order)?;
        if pay.amount != order.final_amount {
            return Err(refusal(Refused::AmountMismatch, json!({ "finalAmount": order.final_amount })));
        }
        let mut account = self.account_of(user);
        if pay.method == PaymentMethod::Balance {
            check_payable(&account, order.final_amount)?;
        }

        order.method = Some(pay.method);
        order.payment = Some(self.seq + 1);
        match pay.method {
            // Nobody asks the gateway for nothing.
            PaymentMethod::Card if order.final_amount > 0 => {
                let event = self.change(at, order, OrderStatus::Held);
                self.keep_open(pay.order, &event, at.now_ms + at.rules.recovery_ms);
                return Ok(event);
            }
            PaymentMethod::Card => {}
            PaymentMethod::Balance => {
                account.balance -= order.final_amount;
                account.used += order.final_amount;
                self.accounts.insert(user.clone(), account);
            }
        }
        Ok(self.confirm(at, order))
    }

    pub(super) fn settle_order(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        settle: &SettleOrder,
    ) -> Result<Event, Refusal> {
        let Some(mut order) = self.open_order(user, settle.order) else {
            let settled = self.recorded_order(at, user, settle.order).ok_or_else(order_not_found)?;
            return Ok(Event::OrderChanged(settled.clone()));
        };
        match (settle.verdict, order.status) {
            (Verdict::Approved, OrderStatus::Held) => Ok(self.confirm(at, order)),
            (Verdict::Declined, OrderStatus::Held) => Ok(self.release(at, order, OrderStatus::PaymentFailed)),
            (Verdict::Abandoned, OrderStatus::Held) => {
                order.refund = Some(RefundStatus::Pending);
                let event = self.release(at, order, OrderStatus::PaymentFailed);
                self.keep_open(settle.order, &event, at.now_ms);
                Ok(event)
            }
            (Verdict::Refunded, status) if order.refund == Some(RefundStatus::Pending) => {
                self.close(settle.order);
                order.refund = Some(RefundStatus::Done);
                Ok(self.change(at, order, status))
            }
            (_, status) => Err(wrong_state(status)),
        }
    }

    pub(super) fn expire_order(&mut self, at: Moment<'_>, user: &UserId, id: u64) -> Result<Event, Refusal> {
        let order = self.open_order(user, id).ok_or_else(|| self.why_not_open(at, user, id))?;
        if order.status != OrderStatus::PendingPayment || !is_over(at, &order) {
            return Err(wrong_state(order.status));
        }
        Ok(self.release(at, order, OrderStatus::Expired))
    }

    pub(super) fn cancel_order(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        cancel: &CancelOrder,
    ) -> Result<Event, Refusal> {
        if let Some(order) = self.open_order(user, cancel.order) {
            check_unpaid(at, &order)?;
            return Ok(self.release(at, order, OrderStatus::Cancelled));
        }
        match (self.known_order(at, cancel.order).cloned(), &cancel.paid) {
            (Some(known), _) if known.user != *user => Err(order_not_found()),
            (Some(known), _) if known.status == OrderStatus::Confirmed => {
                let (paid, items) = (paid_order(&known), known.items);
                self.refund(at, user, cancel.order, &paid, items)
            }
            (Some(known), _) => Err(wrong_state(known.status)),
            (None, Some(paid)) if paid.user != *user => Err(order_not_found()),
            (None, Some(paid)) => {
                let line = |line: &PaidLine| OrderLine {
                    product: line.0,
                    name: line.1.clone(),
                    price: line.2,
                    quantity: line.3,
                    discount: line.4,
                    counted: line.5,
                };
                self.refund(at, user, cancel.order, paid, paid.items.iter().map(line).collect())
            }
            (None, None) => Err(order_not_found()),
        }
    }

    /// A confirmed order is given up within the window.
    fn refund(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        id: u64,
        paid: &PaidOrder,
        items: Vec<OrderLine>,
    ) -> Result<Event, Refusal> {
        let is_late = at.now_ms >= paid.paid_at + at.rules.cancel_window_ms;
        if is_late || !at.sales_days.contains(&paid.day) {
            return Err(wrong_state(OrderStatus::Confirmed));
        }
        let mut account = self.account_of(user);
        let from_balance = paid.method == PaymentMethod::Balance;
        if from_balance && account.balance + account.pending + paid.final_amount > NUMBER_MAX {
            return Err(invalid("the balance would be too large"));
        }

        let restocked = self.give_back(at, user, &items, paid.coupons.as_deref());
        self.count_refund(&paid.day, &items);
        if from_balance {
            account.balance += paid.final_amount;
            account.used -= paid.final_amount;
            self.accounts.insert(user.clone(), account);
        }
        let is_done = from_balance || paid.final_amount == 0;
        let event = Event::OrderChanged(OrderChanged {
            seq: self.seq + 1,
            at: at.now_ms,
            order: id,
            status: OrderStatus::Refunded,
            user: user.clone(),
            created: paid.created,
            expires: paid.expires,
            total: paid.total,
            discount: paid.discount,
            final_amount: paid.final_amount,
            method: Some(paid.method),
            day: Some(paid.day.clone()),
            paid_at: Some(paid.paid_at),
            payment: Some(paid.payment),
            refund: Some(if is_done { RefundStatus::Done } else { RefundStatus::Pending }),
            address: paid.address.clone(),
            coupons: paid.coupons.clone(),
            cart: None,
            balance: account.balance,
            used: account.used,
            restocked,
            items,
        });
        if !is_done {
            self.keep_open(id, &event, at.now_ms + at.rules.recovery_ms);
        }
        Ok(event)
    }

    /// The order of this user that is not finished.
    fn open_order(&self, user: &UserId, id: u64) -> Option<OrderChanged> {
        match self.open.get(&id) {
            Some(Event::OrderChanged(order)) if order.user == *user => Some(order.clone()),
            _ => None,
        }
    }

    /// The last change of an order of this user, if it is not long ago.
    fn recorded_order(&self, at: Moment<'_>, user: &UserId, id: u64) -> Option<&OrderChanged> {
        match &self.record(at, &order_record(id))?.event {
            Event::OrderChanged(order) if order.user == *user => Some(order),
            _ => None,
        }
    }

    /// The order of that id, whoever's, if it is open or was changed not long ago.
    fn known_order(&self, at: Moment<'_>, id: u64) -> Option<&OrderChanged> {
        let recorded = self.record(at, &order_record(id)).map(|record| &record.event);
        match (self.open.get(&id), recorded) {
            (Some(Event::OrderChanged(order)), _) | (_, Some(Event::OrderChanged(order))) => Some(order),
            _ => None,
        }
    }

    fn why_not_open(&self, at: Moment<'_>, user: &UserId, id: u64) -> Refusal {
        self.recorded_order(at, user, id).map_or_else(order_not_found, |order| wrong_state(order.status))
    }

    fn keep_open(&mut self, id: u64, event: &Event, due: i64) {
        self.open.insert(id, event.clone());
        self.due.insert(id, due);
    }

    fn close(&mut self, id: u64) {
        self.open.remove(&id);
        self.due.remove(&id);
    }

    /// An unpaid order is unpaid no more, one way or the other.
    fn close_unpaid(&mut self, order: &OrderChanged) {
        self.close(order.order);
        self.accounts.get_mut(&order.user).expect("a buyer has an account").open -= 1;
    }

    fn confirm(&mut self, at: Moment<'_>, mut order: OrderChanged) -> Event {
        self.close_unpaid(&order);
        self.count_sales(at, &order.items);
        order.day = Some(at.business_day.to_owned());
        order.paid_at = Some(at.now_ms);
        self.change(at, order, OrderStatus::Confirmed)
    }

    /// An order that was never paid ends.
    fn release(&mut self, at: Moment<'_>, order: OrderChanged, status: OrderStatus) -> Event {
        self.close_unpaid(&order);
        let restocked = self.give_back(at, &order.user, &order.items, order.coupons.as_deref());
        let mut event = self.change(at, order, status);
        if let Event::OrderChanged(order) = &mut event {
            order.restocked = restocked;
        }
        event
    }

    /// The event of an order that is in another state now; money as it is by now.
    fn change(&self, at: Moment<'_>, order: OrderChanged, status: OrderStatus) -> Event {
        let Account { balance, used, .. } = self.account_of(&order.user);
        let (seq, at) = (self.seq + 1, at.now_ms);
        Event::OrderChanged(OrderChanged { seq, at, status, cart: None, balance, used, restocked: None, ..order })
    }
}

/// What a confirmed order is refunded by.
fn paid_order(order: &OrderChanged) -> PaidOrder {
    let known = "a confirmed order has it";
    PaidOrder {
        user: order.user.clone(),
        created: order.created,
        expires: order.expires,
        total: order.total,
        discount: order.discount,
        final_amount: order.final_amount,
        method: order.method.expect(known),
        day: order.day.clone().expect(known),
        paid_at: order.paid_at.expect(known),
        payment: order.payment.expect(known),
        address: order.address.clone(),
        coupons: order.coupons.clone(),
        items: Vec::new(),
    }
}

/// Refuses what cannot be paid from the balance.
fn check_payable(account: &Account, amount: u64) -> Result<(), Refusal> {
    let balance = account.balance;
    if account.used + amount > NUMBER_MAX {
        return Err(invalid("the amount is too large"));
    }
    if balance < amount {
        let details = json!({ "requiredAmount": amount, "currentBalance": balance, "shortfall": amount - balance });
        return Err(refusal(Refused::InsufficientBalance, details));
    }
    Ok(())
}

/// Refuses what only an unpaid order allows whose time is not over. When it is, it counts as expired, swept or not.
fn check_unpaid(at: Moment<'_>, order: &OrderChanged) -> Result<(), Refusal> {
    if order.status != OrderStatus::PendingPayment {
        return Err(wrong_state(order.status));
    }
    if is_over(at, order) {
        return Err(wrong_state(OrderStatus::Expired));
    }
    Ok(())
}

fn is_over(at: Moment<'_>, order: &OrderChanged) -> bool {
    order.expires.is_some_and(|expires| at.now_ms >= expires)
}

fn wrong_state(status: OrderStatus) -> Refusal {
    refusal(Refused::InvalidOrderState, json!({ "orderStatus": status.as_str() }))
}

fn order_not_found() -> Refusal {
    refusal(Refused::OrderNotFound, json!({}))
}
