//! Every outcome and every refusal of every op, and what `apply` promises for all of them, on real Redis.

mod adjust_stock;
mod batches;
mod cancel_order;
mod charge_balance;
mod discounts;
mod expire_order;
mod gate;
mod idempotency;
mod issue_coupon;
mod open_charge;
mod pay_order;
mod place_order;
mod put_cart;
mod put_coupon;
mod put_product;
mod reading;
mod request_restock;
mod reserve_order;
mod settle_charge;
mod settle_order;
mod take_due;

use std::collections::BTreeMap;
use std::sync::Arc;

use flashsale::engine::batch::{BatchReply, ClosedReason, OpResult, Rules};
use flashsale::engine::call::{Call, Fingerprint};
use flashsale::engine::cell::{CellShared, GateState};
use flashsale::engine::event::{
    BalanceCharged, CartLine, CartPut, ChargeOpened, ChargeSettled, ChargeStatus, CouponIssued, CouponPut, Event,
    OrderChanged, OrderConfirmed, OrderLine, OrderStatus, ProductPut, RefundStatus, RestockRequested, StockAdjusted,
};
use flashsale::engine::ids::{CellId, EntityId};
use flashsale::engine::model::{Answer, NUMBER_MAX, STOCK_MAX};
use flashsale::engine::op::{
    Change, CouponId, CouponType, DiscountType, ItemStatus, Op, OpenCharge, PaidOrder, PaymentMethod, PlaceOrder,
    ProductId, PutCoupon, PutProduct, ShippingAddress, Verdict,
};
use flashsale::engine::reads::{self, Entity, HeldCoupon, Quote};
use flashsale::engine::refusal::{Refusal, Refused};
use flashsale::redis::client::CallError;
use fred::interfaces::HashesInterface;
use serde_json::{Value, json};

use crate::support::engine::{
    DAY_MS, HOUR_MS, RULES, START_MS, TestCell, add_to_cart, adjust, buy, call, cancel, charge, clear_cart, expire,
    issue, new_coupon, new_product, open_charge, order, paid, patch, patch_coupon, pay, put_cart, refused,
    request_restock, reserve, settle, settle_charge, user,
};

const PENCIL: ProductId = 1;
const NOTE: ProductId = 2;
const UNKNOWN: ProductId = 99;

/// The business day of [`START_MS`].
const TODAY: &str = "2100-01-01";

/// A pencil of 1,000 (10 left), a note of 2,500 (3 left), and alice with 100,000. Three events.
async fn shop() -> TestCell {
    let mut cell = TestCell::open("ops").await;
    cell.decided("admin", Op::PutProduct(new_product("연필", 1_000, 10))).await;
    cell.decided("admin", Op::PutProduct(new_product("노트", 2_500, 3))).await;
    cell.decided("alice", charge(100_000)).await;
    cell
}

/// Asserts a refusal, and that it wrote nothing.
async fn refuses(cell: &mut TestCell, user: &str, op: Op, code: Refused, details: Value) {
    let (before, asked) = (cell.dump().await, format!("{op:?}"));
    assert_eq!(cell.one(user, op).await, refused(code, details), "{asked}");
    assert_eq!(cell.dump().await, before, "{asked} was refused and wrote something");
}

/// Asserts that the cell knows no such order of this user.
async fn order_unknown(cell: &mut TestCell, user: &str, op: Op) {
    refuses(cell, user, op, Refused::OrderNotFound, json!({})).await;
}

/// Asserts that the order's state does not allow it.
async fn not_while(cell: &mut TestCell, status: &str, user: &str, op: Op) {
    refuses(cell, user, op, Refused::InvalidOrderState, json!({ "orderStatus": status })).await;
}

/// Asserts that it was decided earlier, and that nothing is written now.
async fn replays(cell: &mut TestCell, user: &str, op: Op, event: Event) {
    let (before, asked) = (cell.dump().await, format!("{op:?}"));
    assert_eq!(cell.one(user, op).await, Answer::Replayed(event), "{asked}");
    assert_eq!(cell.dump().await, before, "{asked} was replayed and wrote something");
}

async fn put(cell: &mut TestCell, put: PutProduct) -> ProductPut {
    match cell.decided("admin", Op::PutProduct(put)).await {
        Event::ProductPut(event) => event,
        other => panic!("put_product emitted {other:?}"),
    }
}

/// Decides an op that changes an order: the whole order afterwards.
async fn changed(cell: &mut TestCell, user: &str, op: Op) -> OrderChanged {
    match cell.decided(user, op).await {
        Event::OrderChanged(order) => order,
        other => panic!("no order changed: {other:?}"),
    }
}

/// Reserves some units of some products.
async fn reserved(cell: &mut TestCell, user: &str, items: &[(ProductId, u32)]) -> OrderChanged {
    changed(cell, user, reserve(order(items))).await
}

/// Reserves some units of a product, and starts to pay for them by card.
async fn held(cell: &mut TestCell, user: &str, product: ProductId, quantity: u32) -> OrderChanged {
    let order = reserved(cell, user, &[(product, quantity)]).await;
    changed(cell, user, pay(order.order, PaymentMethod::Card, order.final_amount)).await
}

/// Creates a coupon and gives it to a user.
async fn give(cell: &mut TestCell, user: &str, put: PutCoupon) -> CouponId {
    let coupon = match cell.decided("admin", put.into()).await {
        Event::CouponPut(event) => event.coupon,
        other => panic!("put_coupon emitted {other:?}"),
    };
    cell.decided(user, issue(coupon)).await;
    coupon
}

/// Moves the clock forward.
async fn wait(cell: &mut TestCell, ms: i64) {
    cell.set_now(cell.now_ms() + ms).await;
}

fn event_of(answer: Answer) -> Event {
    match answer {
        Answer::Decided(event) => event,
        other => panic!("not decided: {other:?}"),
    }
}

async fn stock_of(cell: &TestCell, product: ProductId) -> String {
    cell.text_hash(&cell.keys.stock()).await.remove(&product.to_string()).expect("it has stock")
}

async fn account_of(cell: &TestCell, user: &str) -> Option<Value> {
    cell.packed_hash(&cell.keys.accounts()).await.remove(user)
}

async fn wallet_of(cell: &TestCell, user: &str) -> Option<Value> {
    cell.packed_hash(&cell.keys.wallets()).await.remove(user)
}

/// Units sold on the first day.
async fn sold_of(cell: &TestCell) -> Texts {
    cell.sorted_set(&cell.keys.sales(TODAY)).await
}

/// What has a deadline, and when.
async fn due_of(cell: &TestCell) -> Texts {
    cell.sorted_set(&cell.keys.due()).await
}

/// What is open, and its last event.
async fn open_of(cell: &TestCell) -> BTreeMap<String, Event> {
    let open = cell.hash(&cell.keys.open()).await;
    open.into_iter().map(|(id, event)| (id, Event::decode(&event).expect("an event"))).collect()
}

/// What an order takes, and gives back when it ends: stock, units that limits count, coupons, the ranking, what is
/// open, and when it is due.
type Taken = (Texts, Texts, BTreeMap<String, Value>, Texts, BTreeMap<String, Event>, Texts);

async fn taken_of(cell: &TestCell) -> Taken {
    let stock = cell.text_hash(&cell.keys.stock()).await;
    let bought = cell.text_hash(&cell.keys.bought()).await;
    let wallets = cell.packed_hash(&cell.keys.wallets()).await;
    (stock, bought, wallets, sold_of(cell).await, open_of(cell).await, due_of(cell).await)
}

type Texts = BTreeMap<String, String>;

fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

fn item(product: ProductId, name: &str, requested: u64, available: u64) -> Value {
    json!({ "productId": product, "productName": name, "requestedQuantity": requested, "availableStock": available })
}

/// A line without a discount, of a product without a limit.
fn line(product: ProductId, name: &str, price: u64, quantity: u32) -> OrderLine {
    OrderLine { product, name: name.to_owned(), price, quantity, discount: 0, counted: None }
}

fn address() -> ShippingAddress {
    ShippingAddress {
        recipient: "홍길동".to_owned(),
        phone: "010-0000-0000".to_owned(),
        line1: "세종대로 1".to_owned(),
        line2: None,
        city: Some("서울".to_owned()),
        postal_code: "04524".to_owned(),
        country: "KR".to_owned(),
    }
}

/// The cell as the service reads it.
fn shared(cell: &TestCell) -> Arc<CellShared> {
    let id = CellId::new(0).expect("a cell");
    let shared = CellShared::new(id, cell.keys.clone(), cell.redis.clone());
    shared.set_gate(GateState::Open(cell.epoch));
    shared
}

/// Asserts that the gate is closed, and that a call at a closed gate writes nothing.
async fn closed_because(cell: &mut TestCell, reason: ClosedReason) {
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("alice", "gate", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(why) if why == reason), "{reason:?}: {reply:?}");
    assert_eq!(cell.dump().await, before, "{reason:?}");
}
