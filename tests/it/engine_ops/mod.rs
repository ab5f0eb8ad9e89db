//! Every outcome and every refusal of every op, and what `apply` promises for all of them, on real Redis.

mod adjust_stock;
mod batches;
mod charge_balance;
mod gate;
mod idempotency;
mod place_order;
mod put_product;
mod reading;

use std::collections::BTreeMap;

use flashsale::engine::batch::{BatchReply, ClosedReason, OpResult, Rules};
use flashsale::engine::call::{Call, Fingerprint};
use flashsale::engine::cell::{CellShared, GateState};
use flashsale::engine::event::{BalanceCharged, Event, OrderConfirmed, OrderLine, ProductPut, StockAdjusted};
use flashsale::engine::ids::{CellId, EntityId};
use flashsale::engine::model::{Answer, NUMBER_MAX};
use flashsale::engine::op::{Change, Op, ProductId, ProductStatus, PutProduct, ShippingAddress};
use flashsale::engine::reads;
use flashsale::engine::refusal::Refused;
use flashsale::redis::client::CallError;
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::engine::{
    DAY_MS, HOUR_MS, RULES, START_MS, TestCell, adjust, buy, call, charge, new_product, order, patch, refused, user,
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

async fn put(cell: &mut TestCell, put: PutProduct) -> ProductPut {
    match cell.decided("admin", Op::PutProduct(put)).await {
        Event::ProductPut(event) => event,
        other => panic!("put_product emitted {other:?}"),
    }
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

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

fn item(product: ProductId, name: &str, requested: u64, available: u64) -> Value {
    json!({ "productId": product, "productName": name, "requestedQuantity": requested, "availableStock": available })
}

/// Asserts that the gate is closed, and that a call at a closed gate writes nothing.
async fn closed_because(cell: &mut TestCell, reason: ClosedReason) {
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("alice", "gate", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(why) if why == reason), "{reason:?}: {reply:?}");
    assert_eq!(cell.dump().await, before, "{reason:?}");
}
