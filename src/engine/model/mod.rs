//! A plain model of the engine, for tests: the rules as the op headers state them, as simple as possible, with no
//! Redis, no columns and no batches. It is written from the rules, not from the Lua text, so that two independent
//! readings of the rules meet in `tests/it/model`. Whoever changes an op changes it here too, on purpose.

mod carts;
mod coupons;
mod goods;
mod money;
mod orders;
mod products;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use coupons::Coupon;
pub use products::{Product, Restock};

use super::batch::Rules;
use super::call::{Call, Fingerprint};
use super::event::{Event, OrderStatus};
use super::op::{Change, CouponId, Op, OrderItem, ProductId, ReserveOrder};
use super::reads::{Account, HeldCoupon};
use super::refusal::{Refusal, Refused};
use super::user::UserId;

const DAY_MS: i64 = 86_400_000;

/// Bound of every amount and quantity: what a double holds exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The largest stock that operators can bring. What open orders give back may pass it.
pub const STOCK_MAX: u64 = 1_000_000_000_000_000;

/// Pause after which an unpaid order whose time is over is handed out again.
const EXPIRE_AGAIN_MS: i64 = 5_000;

/// The last ms of the year 9999.
const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// What an op is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It happened now.
    Decided(Event),
    /// It happened earlier: under the same key, or, where something is settled once for all, under another.
    Replayed(Event),
    /// Nothing happened.
    Refused(Refusal),
}

/// An idempotency record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of the request that used the key.
    pub fingerprint: Fingerprint,
    /// What it got.
    pub event: Event,
}

/// When, and under which rules, an op is decided.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The clock of Redis, ms since 1970.
    pub now_ms: i64,
    /// The business day of that moment.
    pub business_day: &'a str,
    /// The business days whose sales the batch can change.
    pub sales_days: &'a [String],
    /// Of the batch.
    pub rules: &'a Rules,
}

/// Everything a cell knows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Money and open orders of each user who ever charged, ordered or got a coupon.
    pub accounts: BTreeMap<UserId, Account>,
    /// Units bought while the product had a limit, refunded ones not counted.
    pub bought: BTreeMap<(UserId, ProductId), u64>,
    /// Available units.
    pub stock: BTreeMap<ProductId, u64>,
    /// Products.
    pub catalog: BTreeMap<ProductId, Product>,
    /// Coupons.
    pub coupons: BTreeMap<CouponId, Coupon>,
    /// What each user holds, used or not.
    pub wallets: BTreeMap<UserId, BTreeMap<CouponId, HeldCoupon>>,
    /// What each user means to buy; an empty cart is no entry.
    pub carts: BTreeMap<UserId, Vec<OrderItem>>,
    /// Last event of each order that is unpaid, held or whose card is not refunded yet, and of each open charge.
    pub open: BTreeMap<u64, Event>,
    /// When somebody must look at each of them.
    pub due: BTreeMap<u64, i64>,
    /// Who waits for which product: how many.
    pub restock: BTreeMap<ProductId, Restock>,
    /// The round in which a user last asked to be told.
    pub asked: BTreeMap<(UserId, ProductId), u64>,
    /// UTC day since 1970 → user and key, or what was changed → record.
    pub records: BTreeMap<i64, BTreeMap<String, Record>>,
    /// Business day → product → units sold and not refunded; what has none is no entry.
    pub sales: BTreeMap<String, BTreeMap<ProductId, u64>>,
    /// Sequence number of the last event.
    pub seq: u64,
    /// How far PostgreSQL is.
    pub committed: u64,
    /// The last product id that was minted.
    pub product_last: ProductId,
    /// The last coupon id that was minted.
    pub coupon_last: CouponId,
    /// Sequence number of the last change of the catalogue.
    pub catalog_version: u64,
}

impl Model {
    /// Decides one op.
    pub fn apply(&mut self, at: Moment<'_>, call: &Call) -> Answer {
        let name = format!("{} {}", call.user, call.key);
        if let Some(record) = self.record(at, &name) {
            return if record.fingerprint == call.fingerprint {
                Answer::Replayed(record.event.clone())
            } else {
                Answer::Refused(refusal(Refused::IdempotencyKeyReused, json!({})))
            };
        }
        let ends = matches!(call.op, Op::SettleOrder(_) | Op::SettleCharge(_) | Op::ExpireOrder(_));
        if !ends && self.seq - self.committed >= at.rules.backlog_max {
            return Answer::Refused(refusal(Refused::BacklogFull, json!({})));
        }
        let event = match self.decide(at, &call.user, &call.op) {
            Ok(event) => event,
            Err(refusal) => return Answer::Refused(refusal),
        };
        if event.seq() <= self.seq {
            return Answer::Replayed(event);
        }
        self.seq += 1;
        assert_eq!(event.seq(), self.seq, "an op makes one event");
        let record = Record { fingerprint: call.fingerprint.clone(), event: event.clone() };
        let records = self.records.entry(at.now_ms.div_euclid(DAY_MS)).or_default();
        match &event {
            Event::OrderChanged(changed) => records.insert(order_record(changed.order), record.clone()),
            Event::ChargeSettled(settled) => records.insert(charge_record(settled.charge), record.clone()),
            _ => None,
        };
        records.insert(name, record);
        Answer::Decided(event)
    }

    /// What the op leads to: an event that is new, or one that settled the matter earlier.
    fn decide(&mut self, at: Moment<'_>, user: &UserId, op: &Op) -> Result<Event, Refusal> {
        match op {
            Op::PlaceOrder(order) => self.place_order(at, user, order),
            Op::ReserveOrder(ReserveOrder(order)) => self.reserve_order(at, user, order),
            Op::PayOrder(pay) => self.pay_order(at, user, pay),
            Op::SettleOrder(settle) => self.settle_order(at, user, settle),
            Op::CancelOrder(cancel) => self.cancel_order(at, user, cancel),
            Op::ExpireOrder(expire) => self.expire_order(at, user, expire.order),
            Op::ChargeBalance(charge) => self.charge_balance(at, user, charge.amount),
            Op::OpenCharge(charge) => self.open_charge(at, user, charge),
            Op::SettleCharge(settle) => self.settle_charge(at, user, settle),
            Op::PutCoupon(put) => self.put_coupon(at, user, put),
            Op::IssueCoupon(issue) => self.issue_coupon(at, user, issue.coupon),
            Op::PutCart(put) => self.put_cart(at, user, put),
            Op::RequestRestock(request) => self.request_restock(at, user, request),
            Op::AdjustStock(adjustment) => self.adjust_stock(at, user, adjustment),
            Op::PutProduct(put) => self.put_product(at, user, put),
        }
    }

    /// Hands out at most `count` of what is due, the longest overdue first, and puts each off: an unpaid order for a
    /// moment, anything else for as long as it has waited since its last change, within `pauses_ms`.
    pub fn take_due(&mut self, now_ms: i64, count: usize, pauses_ms: (i64, i64)) -> Vec<Event> {
        let due = self.due.iter().filter(|(_, due)| **due <= now_ms);
        // What is due at the same time comes in the order of the ids as text.
        let mut due: Vec<(i64, String, u64)> = due.map(|(id, due)| (*due, id.to_string(), *id)).collect();
        due.sort_unstable();
        due.truncate(count);
        let mut taken = Vec::new();
        for (_, _, id) in due {
            let event = self.open[&id].clone();
            let waited = match &event {
                Event::OrderChanged(order) => now_ms - order.at,
                Event::ChargeOpened(charge) => now_ms - charge.at,
                other => panic!("nothing to wait for: {other:?}"),
            };
            let is_unpaid = matches!(&event, Event::OrderChanged(order) if order.status == OrderStatus::PendingPayment);
            let pause = if is_unpaid { EXPIRE_AGAIN_MS } else { waited.clamp(pauses_ms.0, pauses_ms.1) };
            self.due.insert(id, now_ms + pause);
            taken.push(event);
        }
        taken
    }

    /// A record answers on its own day and the next: for 24 hours at least.
    fn record(&self, at: Moment<'_>, name: &str) -> Option<&Record> {
        let today = at.now_ms.div_euclid(DAY_MS);
        [today, today - 1].iter().find_map(|day| self.records.get(day)?.get(name))
    }

    /// Units available of a product.
    pub fn stock_of(&self, product: ProductId) -> u64 {
        self.stock.get(&product).copied().unwrap_or(0)
    }

    /// Units that a user bought of a product while it had a limit.
    pub fn bought_by(&self, user: &UserId, product: ProductId) -> u64 {
        self.bought.get(&(user.clone(), product)).copied().unwrap_or(0)
    }

    /// A user's account; zeros before it exists.
    pub fn account_of(&self, user: &UserId) -> Account {
        self.accounts.get(user).copied().unwrap_or_default()
    }

    /// What a user holds of a coupon.
    pub fn held_by(&self, user: &UserId, coupon: CouponId) -> Option<&HeldCoupon> {
        self.wallets.get(user)?.get(&coupon)
    }
}

/// Where the last change of an order is recorded.
fn order_record(order: u64) -> String {
    format!("order/{order}")
}

/// Where the end of a charge is recorded.
fn charge_record(charge: u64) -> String {
    format!("charge/{charge}")
}

fn changed<T>(change: Option<Change<T>>, old: Option<T>) -> Option<T> {
    match change {
        None => old,
        Some(Change::Set(new)) => Some(new),
        Some(Change::Clear) => None,
    }
}

/// Refuses a time that no calendar holds.
fn check_time(member: &str, change: Option<Change<i64>>) -> Result<(), Refusal> {
    match change {
        Some(Change::Set(time)) if !(0..=TIME_MAX_MS).contains(&time) => Err(out_of_range(member)),
        _ => Ok(()),
    }
}

/// A refusal; `details` is an object.
fn refusal(code: Refused, details: Value) -> Refusal {
    match details {
        Value::Object(details) => Refusal { code, details },
        other => panic!("details are an object, not {other}"),
    }
}

fn invalid(reason: &str) -> Refusal {
    refusal(Refused::InvalidInput, json!({ "reason": reason }))
}

fn out_of_range(member: &str) -> Refusal {
    invalid(&format!("{member} is out of range"))
}

fn product_not_found(id: ProductId) -> Refusal {
    refusal(Refused::ProductNotFound, json!({ "productId": id }))
}

fn missing_units(id: ProductId, product: &Product, requested: u64, available: u64) -> Value {
    json!({
        "productId": id,
        "productName": product.name,
        "requestedQuantity": requested,
        "availableStock": available,
    })
}
