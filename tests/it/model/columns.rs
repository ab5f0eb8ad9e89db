//! The columns of a cell: as Redis has them, and as the model says they must be.

use std::collections::BTreeMap;
use std::fmt::Debug;

use flashsale::engine::event::Event;
use flashsale::engine::model::{Coupon, Model, Product, Restock};
use flashsale::engine::op::{CouponId, OrderItem, ProductId};
use flashsale::engine::reads::{Account, HeldCoupon};
use flashsale::engine::user::UserId;
use flashsale::redis::keys::CellKeys;
use serde_json::{Value, json};

use crate::support::engine::TestCell;

/// Field → packed value, as JSON.
pub type Packed = BTreeMap<String, Value>;

/// Field → plain value.
pub type Text = BTreeMap<String, String>;

/// Every column but the records.
pub struct Stored {
    pub accounts: Packed,
    pub bought: Text,
    pub stock: Text,
    pub catalog: Packed,
    pub coupons: Packed,
    pub wallets: Packed,
    pub carts: Packed,
    pub open: BTreeMap<String, Event>,
    pub due: BTreeMap<String, f64>,
    pub restock: Packed,
    /// Business day → product → units.
    pub sales: BTreeMap<String, Text>,
}

impl Stored {
    /// Of all business days that the model knows.
    pub async fn read(cell: &TestCell, model: &Model) -> Self {
        let keys = &cell.keys;
        let open = cell.hash(&keys.open()).await.into_iter();
        let due = cell.sorted_set(&keys.due()).await.into_iter();
        let mut sales = BTreeMap::new();
        for day in model.sales.keys() {
            sales.insert(day.clone(), cell.sorted_set(&keys.sales(day)).await);
        }
        Self {
            accounts: cell.packed_hash(&keys.accounts()).await,
            bought: cell.text_hash(&keys.bought()).await,
            stock: cell.text_hash(&keys.stock()).await,
            catalog: cell.packed_hash(&keys.catalog()).await,
            coupons: cell.packed_hash(&keys.coupons()).await,
            wallets: cell.packed_hash(&keys.wallets()).await,
            carts: cell.packed_hash(&keys.carts()).await,
            open: open.map(|(id, event)| (id, Event::decode(&event).expect("an event"))).collect(),
            due: due.map(|(id, due)| (id, due.parse().expect("a time"))).collect(),
            restock: cell.packed_hash(&keys.restock()).await,
            sales,
        }
    }

    /// What the model says.
    pub fn expected(model: &Model) -> Self {
        let of_product = |(user, product): &(UserId, ProductId)| format!("{user} {product}");
        let waiting = model.restock.iter().map(|(product, restock)| (product.to_string(), packed_restock(restock)));
        let asked = model.asked.iter().map(|(asked, round)| (of_product(asked), json!(round)));
        Self {
            accounts: packed(&model.accounts, packed_account),
            bought: model.bought.iter().map(|(bought, units)| (of_product(bought), units.to_string())).collect(),
            stock: as_text(&model.stock),
            catalog: packed(&model.catalog, packed_product),
            coupons: packed(&model.coupons, packed_coupon),
            wallets: packed(&model.wallets, packed_wallet),
            carts: packed(&model.carts, |items| packed_cart(items)),
            open: model.open.iter().map(|(id, event)| (id.to_string(), event.clone())).collect(),
            due: model.due.iter().map(|(id, at)| (id.to_string(), *at as f64)).collect(),
            restock: waiting.chain(asked).collect(),
            sales: model.sales.iter().map(|(day, sold)| (day.clone(), as_text(sold))).collect(),
        }
    }

    /// Fails at the first difference.
    pub fn compare(&self, place: &str, model: &Self) {
        same(place, "accounts", &self.accounts, &model.accounts);
        same(place, "bought", &self.bought, &model.bought);
        same(place, "stock", &self.stock, &model.stock);
        same(place, "catalog", &self.catalog, &model.catalog);
        same(place, "coupons", &self.coupons, &model.coupons);
        same(place, "wallets", &self.wallets, &model.wallets);
        same(place, "carts", &self.carts, &model.carts);
        same(place, "open", &self.open, &model.open);
        same(place, "due", &self.due, &model.due);
        same(place, "restock", &self.restock, &model.restock);
        same(place, "sales", &self.sales, &model.sales);
    }
}

/// Names of all keys that there must be: a hash or a set without members is no key.
pub fn key_names(keys: &CellKeys, model: &Model) -> Vec<String> {
    let optional = [
        (keys.accounts(), model.accounts.is_empty()),
        (keys.bought(), model.bought.is_empty()),
        (keys.coupons(), model.coupons.is_empty()),
        (keys.wallets(), model.wallets.is_empty()),
        (keys.carts(), model.carts.is_empty()),
        (keys.open(), model.open.is_empty()),
        (keys.due(), model.due.is_empty()),
        (keys.restock(), model.restock.is_empty()),
    ];
    let mut names = vec![keys.meta(), keys.log(), keys.stock(), keys.catalog()];
    names.extend(optional.into_iter().filter(|(_, is_empty)| !is_empty).map(|(name, _)| name));
    names.extend(model.records.keys().map(|day| keys.idem(*day)));
    names.extend(model.sales.iter().filter(|(_, sold)| !sold.is_empty()).map(|(day, _)| keys.sales(day)));
    names.sort_unstable();
    names
}

/// Fails at the first field in which two columns differ: the one in Redis, and what it must be.
pub fn same<V: PartialEq + Debug>(
    place: &str,
    column: &str,
    redis: &BTreeMap<String, V>,
    expected: &BTreeMap<String, V>,
) {
    for field in redis.keys().chain(expected.keys()) {
        assert_eq!(redis.get(field), expected.get(field), "{place}: {column} {field:?}: Redis, and what it must be");
    }
}

/// Units by product.
pub fn as_text(units: &BTreeMap<ProductId, u64>) -> Text {
    units.iter().map(|(product, units)| (product.to_string(), units.to_string())).collect()
}

/// As `lua/account.lua` says.
pub fn packed_account(account: &Account) -> Value {
    let optional = |number: u64| Some(number).filter(|number| *number > 0);
    without_nulls(json!({
        "balance": account.balance,
        "used": account.used,
        "open": optional(account.open.into()),
        "pending": optional(account.pending),
        "charges": optional(account.charges.into()),
    }))
}

/// What a user holds, as `lua/coupon.lua` says.
pub fn packed_wallet(wallet: &BTreeMap<CouponId, HeldCoupon>) -> Value {
    let held = |(coupon, held): (&CouponId, &HeldCoupon)| {
        let HeldCoupon { id, issued, expires, order } = held;
        let held = json!({ "id": id, "issued": issued, "expires": expires, "order": order });
        (coupon.to_string(), without_nulls(held))
    };
    Value::Object(wallet.iter().map(held).collect())
}

/// A cart's items in the order in which they came.
pub fn packed_cart(items: &[OrderItem]) -> Value {
    let item = |item: &OrderItem| json!({ "product": item.product, "quantity": item.quantity });
    items.iter().map(item).collect()
}

fn packed_product(product: &Product) -> Value {
    without_nulls(json!({
        "name": product.name,
        "price": product.price,
        "limit": product.limit,
        "starts": product.starts,
        "ends": product.ends,
        "status": product.status.as_str(),
        "version": product.version,
    }))
}

fn packed_coupon(coupon: &Coupon) -> Value {
    without_nulls(json!({
        "name": coupon.name,
        "type": coupon.kind.as_str(),
        "product": coupon.product,
        "discount": coupon.discount.as_str(),
        "value": coupon.value,
        "max_discount": coupon.max_discount,
        "min_order": coupon.min_order,
        "total": coupon.total,
        "remaining": coupon.remaining,
        "starts": coupon.starts,
        "ends": coupon.ends,
        "valid_days": coupon.valid_days,
        "status": coupon.status.as_str(),
        "version": coupon.version,
    }))
}

fn packed_restock(restock: &Restock) -> Value {
    let rising = restock.rising.then_some(true);
    without_nulls(json!({ "round": restock.round, "waiting": restock.waiting, "rising": rising }))
}

fn packed<K: ToString, V>(column: &BTreeMap<K, V>, pack: impl Fn(&V) -> Value) -> Packed {
    column.iter().map(|(field, value)| (field.to_string(), pack(value))).collect()
}

/// An optional member that is absent is no key.
fn without_nulls(mut object: Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    members.retain(|_, value| !value.is_null());
    object
}
