//! A plain model of the engine, for tests: the rules as the op headers state them, as simple as possible, with no
//! Redis, no columns and no batches. It is written from the rules, not from the Lua text, so that two independent
//! readings of the rules meet in `tests/it/model.rs`. Whoever changes an op changes it here too, on purpose.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::batch::Rules;
use super::call::{Call, Fingerprint};
use super::event::{BalanceCharged, Event, OrderConfirmed, OrderLine, ProductPut, StockAdjusted};
use super::op::{AdjustStock, Change, ChargeBalance, Op, PlaceOrder, ProductId, ProductStatus, PutProduct};
use super::reads::Account;
use super::refusal::{Refusal, Refused};
use super::user::UserId;

const DAY_MS: i64 = 86_400_000;

/// Bound of every amount and quantity: what a double holds exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// What an op is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It happened now.
    Decided(Event),
    /// It happened earlier, under the same key.
    Replayed(Event),
    /// Nothing happened.
    Refused(Refusal),
}

/// A product without its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    pub limit: Option<u64>,
    /// First ms of the sale window.
    pub starts: Option<i64>,
    /// First ms after the sale window.
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ProductStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
}

/// An idempotency record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of the request that used the key.
    pub fingerprint: Fingerprint,
    /// What it got.
    pub event: Event,
}

/// Everything a cell knows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Money of each user who ever charged or ordered.
    pub accounts: BTreeMap<UserId, Account>,
    /// Units bought while the product had a limit.
    pub bought: BTreeMap<(UserId, ProductId), u64>,
    /// Available units.
    pub stock: BTreeMap<ProductId, u64>,
    /// Products.
    pub catalog: BTreeMap<ProductId, Product>,
    /// UTC day since 1970 → user and key → record.
    pub records: BTreeMap<i64, BTreeMap<(UserId, String), Record>>,
    /// Business day → product → units sold.
    pub sales: BTreeMap<String, BTreeMap<ProductId, u64>>,
    /// Sequence number of the last event.
    pub seq: u64,
    /// How far PostgreSQL is.
    pub committed: u64,
    /// The last product id that was minted.
    pub product_last: ProductId,
    /// Sequence number of the last change of the catalogue.
    pub catalog_version: u64,
}

/// When an op is decided.
#[derive(Clone, Copy, Debug)]
struct Moment<'a> {
    now_ms: i64,
    business_day: &'a str,
}

impl Model {
    /// Decides one op at `now_ms`, which falls on `business_day`.
    pub fn apply(&mut self, now_ms: i64, business_day: &str, rules: &Rules, call: &Call) -> Answer {
        let today = now_ms.div_euclid(DAY_MS);
        let name = (call.user.clone(), call.key.clone());
        // A record answers on its own day and the next: for 24 hours at least.
        let record = [today, today - 1].iter().find_map(|day| self.records.get(day)?.get(&name));
        if let Some(record) = record {
            return if record.fingerprint == call.fingerprint {
                Answer::Replayed(record.event.clone())
            } else {
                Answer::Refused(refusal(Refused::IdempotencyKeyReused, json!({})))
            };
        }
        if self.seq - self.committed >= rules.backlog_max {
            return Answer::Refused(refusal(Refused::BacklogFull, json!({})));
        }
        let moment = Moment { now_ms, business_day };
        let decided = match &call.op {
            Op::PlaceOrder(order) => self.place_order(moment, &call.user, order),
            Op::ChargeBalance(charge) => self.charge_balance(moment, &call.user, charge, rules),
            Op::AdjustStock(adjustment) => self.adjust_stock(moment, &call.user, adjustment),
            Op::PutProduct(put) => self.put_product(moment, &call.user, put),
        };
        match decided {
            Err(refusal) => Answer::Refused(refusal),
            Ok(event) => {
                self.seq = event.seq();
                let record = Record { fingerprint: call.fingerprint.clone(), event: event.clone() };
                self.records.entry(today).or_default().insert(name, record);
                Answer::Decided(event)
            }
        }
    }

    /// Units available of a product.
    pub fn stock_of(&self, product: ProductId) -> u64 {
        self.stock.get(&product).copied().unwrap_or(0)
    }

    /// Units that a user bought of a product while it had a limit.
    pub fn bought_by(&self, user: &UserId, product: ProductId) -> u64 {
        self.bought.get(&(user.clone(), product)).copied().unwrap_or(0)
    }

    /// A user's money; zeros before his first charge or order.
    pub fn account_of(&self, user: &UserId) -> Account {
        self.accounts.get(user).copied().unwrap_or_default()
    }

    fn place_order(&mut self, moment: Moment<'_>, user: &UserId, order: &PlaceOrder) -> Result<Event, Refusal> {
        let (mut items, mut short) = (Vec::<OrderLine>::new(), Vec::new());
        let mut total: u128 = 0;
        for asked in &order.items {
            let (id, quantity) = (asked.product, asked.quantity);
            if items.iter().any(|line| line.product == id) {
                return Err(invalid("a product appears twice"));
            }
            let product = self.sellable(moment, user, id, quantity)?;
            if self.stock_of(id) < u64::from(quantity) {
                short.push(missing_units(id, product, quantity.into(), self.stock_of(id)));
            }
            total += u128::from(product.price) * u128::from(quantity);
            items.push(OrderLine {
                product: id,
                name: product.name.clone(),
                price: product.price,
                quantity,
                discount: 0,
            });
        }
        if !short.is_empty() {
            return Err(refusal(Refused::InsufficientStock, json!({ "insufficientItems": short })));
        }
        let Account { balance, used } = self.account_of(user);
        if u128::from(used) + total > u128::from(NUMBER_MAX) {
            return Err(invalid("the amount is too large"));
        }
        let total = u64::try_from(total).expect("it is below 2^53");
        if order.final_amount.is_some_and(|seen| seen != total) {
            return Err(refusal(Refused::AmountMismatch, json!({ "finalAmount": total })));
        }
        if balance < total {
            let details = json!({ "requiredAmount": total, "currentBalance": balance, "shortfall": total - balance });
            return Err(refusal(Refused::InsufficientBalance, details));
        }

        for line in &items {
            let quantity = u64::from(line.quantity);
            *self.stock.entry(line.product).or_default() -= quantity;
            if self.catalog[&line.product].limit.is_some() {
                *self.bought.entry((user.clone(), line.product)).or_default() += quantity;
            }
            let sales = self.sales.entry(moment.business_day.to_owned()).or_default();
            *sales.entry(line.product).or_default() += quantity;
        }
        let (left, spent) = (balance - total, used + total);
        self.accounts.insert(user.clone(), Account { balance: left, used: spent });
        Ok(Event::OrderConfirmed(OrderConfirmed {
            seq: self.seq + 1,
            at: moment.now_ms,
            user: user.clone(),
            day: moment.business_day.to_owned(),
            items,
            total,
            discount: 0,
            final_amount: total,
            method: "BALANCE".to_owned(),
            address: order.address.clone(),
            balance: left,
            used: spent,
        }))
    }

    /// The product, if this user may buy so many units of it at this moment, were there any.
    fn sellable(&self, moment: Moment<'_>, user: &UserId, id: ProductId, quantity: u32) -> Result<&Product, Refusal> {
        let product = self.catalog.get(&id).filter(|product| product.status == ProductStatus::Normal);
        let product = product.ok_or_else(|| not_found(id))?;
        if let Some(starts) = product.starts
            && moment.now_ms < starts
        {
            return Err(refusal(Refused::SaleNotOpen, json!({ "productId": id, "opensAt": starts })));
        }
        if let Some(ends) = product.ends
            && moment.now_ms >= ends
        {
            return Err(refusal(Refused::SaleClosed, json!({ "productId": id, "closedAt": ends })));
        }
        let already = self.bought_by(user, id);
        match product.limit {
            Some(limit) if already + u64::from(quantity) > limit => {
                let details = json!({ "productId": id, "limitPerUser": limit, "alreadyBought": already });
                Err(refusal(Refused::ExceededLimitedQuantity, details))
            }
            _ => Ok(product),
        }
    }

    fn charge_balance(
        &mut self,
        moment: Moment<'_>,
        user: &UserId,
        charge: &ChargeBalance,
        rules: &Rules,
    ) -> Result<Event, Refusal> {
        let Account { balance: previous, used } = self.account_of(user);
        let refused =
            |reason: &str| Err(refusal(Refused::InvalidAmount, json!({ "reason": reason, "amount": charge.amount })));
        let amount = match u64::try_from(charge.amount) {
            Err(_) | Ok(0) => return refused("NOT_POSITIVE"),
            Ok(amount) => amount,
        };
        if !amount.is_multiple_of(rules.charge_unit) {
            return refused("NOT_A_MULTIPLE_OF_UNIT");
        }
        if amount > rules.charge_max {
            return refused("ABOVE_MAXIMUM");
        }
        if previous + amount > rules.balance_max {
            return refused("ABOVE_BALANCE_CAP");
        }

        let balance = previous + amount;
        self.accounts.insert(user.clone(), Account { balance, used });
        let (seq, at, user) = (self.seq + 1, moment.now_ms, user.clone());
        Ok(Event::BalanceCharged(BalanceCharged { seq, at, user, amount, previous, balance, used }))
    }

    fn adjust_stock(
        &mut self,
        moment: Moment<'_>,
        operator: &UserId,
        adjustment: &AdjustStock,
    ) -> Result<Event, Refusal> {
        let (id, delta) = (adjustment.product, adjustment.delta);
        let product = self.catalog.get(&id).ok_or_else(|| not_found(id))?;
        let available = self.stock_of(id);
        let Ok(stock) = u64::try_from(i128::from(available) + i128::from(delta)) else {
            let item = missing_units(id, product, delta.unsigned_abs(), available);
            return Err(refusal(Refused::InsufficientStock, json!({ "insufficientItems": [item] })));
        };
        if stock > NUMBER_MAX {
            return Err(invalid("the stock is too large"));
        }

        self.stock.insert(id, stock);
        let (seq, at, by) = (self.seq + 1, moment.now_ms, operator.clone());
        Ok(Event::StockAdjusted(StockAdjusted { seq, at, product: id, delta, stock, by }))
    }

    fn put_product(&mut self, moment: Moment<'_>, operator: &UserId, put: &PutProduct) -> Result<Event, Refusal> {
        let old = match put.product {
            Some(id) => Some(self.catalog.get(&id).ok_or_else(|| not_found(id))?),
            None => None,
        };
        let limit = match put.limit {
            Some(Change::Set(limit)) => Some(limit),
            _ => None,
        };
        for (member, number, least) in [("price", put.price, 0), ("stock", put.stock, 0), ("limit", limit, 1)] {
            if number.is_some_and(|number| !(least..=NUMBER_MAX).contains(&number)) {
                return Err(invalid(&format!("{member} is out of range")));
            }
        }
        let name = put.name.clone().or_else(|| old.map(|old| old.name.clone()));
        let product = Product {
            name: name.expect("whoever creates a product names it"),
            price: put.price.or(old.map(|old| old.price)).expect("whoever creates a product prices it"),
            limit: changed(put.limit, old.and_then(|old| old.limit)),
            starts: changed(put.starts, old.and_then(|old| old.starts)),
            ends: changed(put.ends, old.and_then(|old| old.ends)),
            status: put.status.or(old.map(|old| old.status)).unwrap_or(ProductStatus::Normal),
            version: old.map_or(0, |old| old.version) + 1,
        };
        if let (Some(starts), Some(ends)) = (product.starts, product.ends)
            && starts >= ends
        {
            return Err(invalid("saleStartsAt must be before saleEndsAt"));
        }

        let id = put.product.unwrap_or(self.product_last + 1);
        if put.product.is_none() {
            self.product_last = id;
            self.stock.insert(id, put.stock.expect("whoever creates a product stocks it"));
        }
        let seq = self.seq + 1;
        self.catalog_version = seq;
        self.catalog.insert(id, product.clone());
        Ok(Event::ProductPut(ProductPut {
            seq,
            at: moment.now_ms,
            product: id,
            name: product.name,
            price: product.price,
            limit: product.limit,
            starts: product.starts,
            ends: product.ends,
            status: product.status,
            version: product.version,
            created: put.product.is_none(),
            stock: self.stock_of(id),
            by: operator.clone(),
        }))
    }
}

fn changed<T>(change: Option<Change<T>>, old: Option<T>) -> Option<T> {
    match change {
        None => old,
        Some(Change::Set(new)) => Some(new),
        Some(Change::Clear) => None,
    }
}

/// A refusal; `details` is an object.
fn refusal(code: Refused, details: Value) -> Refusal {
    match details {
        Value::Object(details) => Refusal { code, details },
        other => panic!("details are an object, not {other}"),
    }
}

fn not_found(id: ProductId) -> Refusal {
    refusal(Refused::ProductNotFound, json!({ "productId": id }))
}

fn invalid(reason: &str) -> Refusal {
    refusal(Refused::InvalidInput, json!({ "reason": reason }))
}

fn missing_units(id: ProductId, product: &Product, requested: u64, available: u64) -> Value {
    json!({
        "productId": id,
        "productName": product.name,
        "requestedQuantity": requested,
        "availableStock": available,
    })
}
