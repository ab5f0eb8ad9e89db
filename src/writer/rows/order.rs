//! Orders with their lines and payments.

use jiff::{Timestamp, civil::Date};
use serde_json::{Value, json};

use super::money::Amounts;
use super::product::Move;
use super::{Moment, Parameter, Rows, Unfit, fit, id_of, text, time};
use crate::engine::event::{OrderChanged, OrderConfirmed, OrderLine, OrderStatus, RefundStatus};
use crate::engine::ids::CellId;
use crate::engine::op::{CouponId, PaymentMethod, ShippingAddress};

columns! {
    /// `orders` that were paid at once: each is its own payment.
    Orders of OrderRow<'a> {
        order_id: i64, user_id: &'a str, total: i64, discount: i64, final_amount: i64, method: &'static str,
        address: Option<Value>, business_day: Date, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `order_items`.
    OrderItems of ItemRow<'a> {
        order_id: i64, line: i16, product_id: i32, name: &'a str, price: i64, quantity: i32, discount: i64,
        counted: bool, at: Timestamp,
    }
}
columns! {
    /// `orders` as their last event left them.
    ChangedOrders of ChangedRow<'a> {
        order_id: i64, user_id: &'a str, status: &'static str, total: i64, discount: i64, final_amount: i64,
        method: Option<&'static str>, address: Option<Value>, business_day: Option<Date>, coupon_ids: Option<Value>,
        expires: Option<Timestamp>, payment_id: Option<i64>, refund: Option<&'static str>,
        confirmed_seq: Option<i64>, released_seq: Option<i64>, seq: i64, paid_at: Option<Timestamp>, created: Timestamp, at: Timestamp,
    }
}
columns! {
    /// `later_payments` as the last event of their order left them.
    LaterPayments of PaymentRow<'a> {
        payment_id: i64, order_id: i64, user_id: &'a str, method: &'static str, amount: i64, status: &'static str,
        seq: i64, created: Timestamp, at: Timestamp,
    }
}

/// An order as its last event left it.
#[derive(Debug)]
pub(super) struct Changed<'a> {
    pub(super) order: ChangedRow<'a>,
    pub(super) payment: Option<PaymentRow<'a>>,
    pub(super) lines: Vec<ItemRow<'a>>,
}

// Everything that can fail comes first in these, so that a misfit leaves no half of itself behind.
impl<'a> Rows<'a> {
    pub(super) fn add_confirmed(&mut self, cell: CellId, order: &'a OrderConfirmed) -> Result<(), Unfit> {
        let moment = Moment::new(order.seq, order.at)?;
        let (Moment { seq, at }, user_id) = (moment, order.user.as_str());
        let order_id = id_of(cell, order.seq, "seq")?;
        let business_day = day_of(&order.day)?;
        let (total, discount) = (fit(order.total, "total")?, fit(order.discount, "discount")?);
        let amounts = Amounts::new(order.final_amount, order.balance, order.used)?;
        let (final_amount, method) = (amounts.amount, order.method.as_str());
        let address = address_of(order.address.as_ref())?;
        let coupons = coupons_of(order.coupons.as_deref())?;
        let lines = lines_of(order_id, &order.items, at)?;

        for line in &lines {
            self.move_units(line.product_id, i64::from(line.quantity), Move::SOLD, Some(business_day), seq);
        }
        for coupon in &coupons {
            self.mark_coupon(user_id, *coupon, Some(order_id), moment);
        }
        if order.cart == Some(true) {
            self.empty_cart(user_id, moment);
        }
        self.add_transaction(user_id, order_id, ("PAYMENT", Some(order_id)), amounts, moment);
        if coupons.is_empty() && !self.overtaken {
            for line in lines {
                self.items.push(line);
            }
            let row =
                OrderRow { order_id, user_id, total, discount, final_amount, method, address, business_day, seq, at };
            self.orders.push(row);
            return Ok(());
        }
        let row = ChangedRow {
            order_id,
            user_id,
            status: OrderStatus::Confirmed.as_str(),
            total,
            discount,
            final_amount,
            method: Some(method),
            address,
            business_day: Some(business_day),
            coupon_ids: (!coupons.is_empty()).then(|| json!(coupons)),
            expires: None,
            payment_id: None,
            refund: None,
            confirmed_seq: None,
            released_seq: None,
            seq,
            paid_at: Some(at),
            created: at,
            at,
        };
        self.change_order(Changed { order: row, payment: None, lines });
        Ok(())
    }

    pub(super) fn add_changed(&mut self, cell: CellId, order: &'a OrderChanged) -> Result<(), Unfit> {
        let moment = Moment::new(order.seq, order.at)?;
        let (Moment { seq, at }, user_id) = (moment, order.user.as_str());
        let order_id = id_of(cell, order.order, "order")?;
        let business_day = order.day.as_deref().map(day_of).transpose()?;
        let amounts = Amounts::new(order.final_amount, order.balance, order.used)?;
        let coupons = coupons_of(order.coupons.as_deref())?;
        let created = time(order.created)?;
        let lines = lines_of(order_id, &order.items, created)?;
        let transaction_id = id_of(cell, order.seq, "seq")?;
        let mut restocked = Vec::new();
        for product in order.restocked.iter().flatten() {
            restocked.push(fit(*product, "product")?);
        }
        let units = units_of(order);
        if units.is_some_and(Move::changes_sales) && business_day.is_none() {
            return Err(Unfit("a sale without a day".to_owned()));
        }
        let released = order.gives_back();
        let payment = payment_of(cell, order, (order_id, amounts.amount), moment)?;
        let row = ChangedRow {
            order_id,
            user_id,
            status: order.status.as_str(),
            total: fit(order.total, "total")?,
            discount: fit(order.discount, "discount")?,
            final_amount: amounts.amount,
            method: order.method.map(PaymentMethod::as_str),
            address: address_of(order.address.as_ref())?,
            business_day,
            coupon_ids: (!coupons.is_empty()).then(|| json!(coupons)),
            expires: order.expires.map(time).transpose()?,
            payment_id: payment.as_ref().map(|payment| payment.payment_id).filter(|id| *id != order_id),
            refund: order.refund.map(|refund| match refund {
                RefundStatus::Pending => "PENDING",
                RefundStatus::Done => "DONE",
            }),
            confirmed_seq: (order.status == OrderStatus::Confirmed).then_some(seq),
            released_seq: released.then_some(seq),
            seq,
            paid_at: order.paid_at.map(time).transpose()?,
            created,
            at,
        };

        if let Some(units) = units {
            for line in &lines {
                self.move_units(line.product_id, i64::from(line.quantity), units, business_day, seq);
            }
        }
        if released || order.status == OrderStatus::PendingPayment {
            for coupon in coupons {
                self.mark_coupon(user_id, coupon, (!released).then_some(order_id), moment);
            }
        }
        if order.cart == Some(true) {
            self.empty_cart(user_id, moment);
        }
        for product in restocked {
            self.note_restocked(product, moment);
        }
        if let Some(kind) = order.transaction_kind() {
            self.add_transaction(user_id, transaction_id, (kind, Some(order_id)), amounts, moment);
        }
        self.change_order(Changed { order: row, payment, lines });
        Ok(())
    }

    /// Keeps the state of an order; of several events in one batch the last comes last.
    fn change_order(&mut self, mut new: Changed<'a>) {
        let order_id = new.order.order_id;
        if let Some(old) = self.changed.get(&order_id) {
            // What only one event says, or the first.
            new.order.confirmed_seq = new.order.confirmed_seq.or(old.order.confirmed_seq);
            new.order.released_seq = new.order.released_seq.or(old.order.released_seq);
            if let (Some(payment), Some(started)) = (&mut new.payment, &old.payment) {
                payment.created = started.created;
            }
        }
        self.changed.insert(order_id, new);
    }

    /// The columns of `orders` for those that changed.
    pub(in crate::writer) fn changed_orders(&self) -> ChangedOrders<'a> {
        self.changed.values().map(|changed| changed.order.clone()).collect()
    }

    /// The columns of `order_items` for those that changed.
    pub(in crate::writer) fn changed_items(&self) -> OrderItems<'a> {
        self.changed.values().flat_map(|changed| changed.lines.iter().cloned()).collect()
    }

    /// The columns of `later_payments`.
    pub(in crate::writer) fn later_payments(&self) -> LaterPayments<'a> {
        self.changed.values().filter_map(|changed| changed.payment.clone()).collect()
    }
}

/// What a change does with the units of the order; `None`: nothing.
fn units_of(order: &OrderChanged) -> Option<Move> {
    match order.status {
        OrderStatus::PendingPayment => Some(Move::RESERVED),
        OrderStatus::Held => None,
        OrderStatus::Confirmed => Some(Move::PAID),
        OrderStatus::PaymentFailed | OrderStatus::Cancelled | OrderStatus::Expired => {
            order.gives_back().then_some(Move::RELEASED)
        }
        OrderStatus::Refunded => order.gives_back().then_some(Move::REFUNDED),
    }
}

/// The payment of an order as a change left it, if there is one.
fn payment_of(
    cell: CellId,
    order: &OrderChanged,
    (order_id, amount): (i64, i64),
    Moment { seq, at }: Moment,
) -> Result<Option<PaymentRow<'_>>, Unfit> {
    let status = match (order.status, order.refund) {
        (OrderStatus::PendingPayment | OrderStatus::Cancelled | OrderStatus::Expired, _) => return Ok(None),
        (OrderStatus::Held, _) => "PENDING",
        (OrderStatus::Confirmed, _) => "COMPLETED",
        (OrderStatus::PaymentFailed, _) => "FAILED",
        (OrderStatus::Refunded, Some(RefundStatus::Pending)) => "REFUND_PENDING",
        (OrderStatus::Refunded, _) => "REFUNDED",
    };
    let (Some(payment), Some(method)) = (order.payment, order.method) else {
        return Err(Unfit("an order that somebody paid has no payment".to_owned()));
    };
    let payment_id = id_of(cell, payment, "payment")?;
    let (user_id, method) = (order.user.as_str(), method.as_str());
    let created = order.paid_at.map_or(Ok(at), time)?;
    Ok(Some(PaymentRow { payment_id, order_id, user_id, method, amount, status, seq, created, at }))
}

fn day_of(day: &str) -> Result<Date, Unfit> {
    day.parse().map_err(|_| Unfit(format!("{day:?} is no day")))
}

fn address_of(address: Option<&ShippingAddress>) -> Result<Option<Value>, Unfit> {
    let address = address.map(serde_json::to_value).transpose().map_err(|e| Unfit(e.to_string()))?;
    if address.as_ref().is_some_and(|a| a.to_string().contains("\\u0000")) {
        return Err(Unfit("the address holds a NUL character".to_owned()));
    }
    Ok(address)
}

fn coupons_of(coupons: Option<&[CouponId]>) -> Result<Vec<i32>, Unfit> {
    coupons.into_iter().flatten().map(|coupon| fit(*coupon, "coupon")).collect()
}

fn lines_of(order_id: i64, items: &[OrderLine], at: Timestamp) -> Result<Vec<ItemRow<'_>>, Unfit> {
    (1..)
        .zip(items)
        .map(|(line, item)| {
            Ok(ItemRow {
                order_id,
                line,
                product_id: fit(item.product, "product")?,
                name: text(&item.name)?,
                price: fit(item.price, "price")?,
                quantity: fit(item.quantity, "quantity")?,
                discount: fit(item.discount, "discount")?,
                counted: item.counted.unwrap_or(false),
                at,
            })
        })
        .collect()
}
