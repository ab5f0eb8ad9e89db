//! Every outcome and every refusal of every op, and what `apply` promises for all of them, on real Redis.

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

// place_order

#[tokio::test]
async fn an_order_takes_stock_and_money_and_moves_the_ranking() {
    let mut shop = shop().await;
    let address = ShippingAddress {
        recipient: "홍길동".to_owned(),
        phone: "010-0000-0000".to_owned(),
        line1: "세종대로 1".to_owned(),
        line2: None,
        city: Some("서울".to_owned()),
        postal_code: "04524".to_owned(),
        country: "KR".to_owned(),
    };
    let mut asked = order(&[(PENCIL, 3), (NOTE, 1)]);
    asked.final_amount = Some(5_500);
    asked.address = Some(address.clone());
    let event = shop.decided("alice", Op::PlaceOrder(asked)).await;

    let line = |product, name: &str, price, quantity| OrderLine {
        product,
        name: name.to_owned(),
        price,
        quantity,
        discount: 0,
    };
    let expected = Event::OrderConfirmed(OrderConfirmed {
        seq: 4,
        at: START_MS,
        user: user("alice"),
        day: TODAY.to_owned(),
        items: vec![line(PENCIL, "연필", 1_000, 3), line(NOTE, "노트", 2_500, 1)],
        total: 5_500,
        discount: 0,
        final_amount: 5_500,
        method: "BALANCE".to_owned(),
        address: Some(address),
        balance: 94_500,
        used: 5_500,
    });
    assert_eq!(event, expected);
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 94_500, "used": 5_500 })));
    assert_eq!(shop.text_hash(&shop.keys.stock()).await, texts(&[("1", "7"), ("2", "2")]));
    assert_eq!(shop.sorted_set(&shop.keys.sales(TODAY)).await, texts(&[("1", "3"), ("2", "1")]));
    assert_eq!(shop.text_hash(&shop.keys.bought()).await, texts(&[]), "only limits are counted");
    let log = shop.log_from(4).await;
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].id.as_str(), log[0].prev.as_str(), log[0].nonce.as_str()), ("4-0", "batch-3", "batch-4"));
    let events: Vec<&Event> = log[0].events.iter().map(|(_, event)| event).collect();
    assert_eq!(events, [&expected]);
}

#[tokio::test]
async fn unknown_and_deleted_products_cannot_be_ordered() {
    let mut shop = shop().await;
    let unknown = Op::PlaceOrder(order(&[(PENCIL, 1), (UNKNOWN, 1)]));
    refuses(&mut shop, "alice", unknown, Refused::ProductNotFound, json!({ "productId": UNKNOWN })).await;
    put(&mut shop, PutProduct { status: Some(ProductStatus::Deleted), ..patch(NOTE) }).await;
    refuses(&mut shop, "alice", buy(NOTE, 1), Refused::ProductNotFound, json!({ "productId": NOTE })).await;
    put(&mut shop, PutProduct { status: Some(ProductStatus::Normal), ..patch(NOTE) }).await;
    shop.decided("alice", buy(NOTE, 1)).await;
}

#[tokio::test]
async fn a_sale_window_includes_its_start_and_excludes_its_end() {
    let mut shop = shop().await;
    let (opens, closes) = (START_MS + HOUR_MS, START_MS + 2 * HOUR_MS);
    let window = PutProduct { starts: Some(Change::Set(opens)), ends: Some(Change::Set(closes)), ..patch(PENCIL) };
    put(&mut shop, window).await;
    let early = json!({ "productId": PENCIL, "opensAt": opens });
    let late = json!({ "productId": PENCIL, "closedAt": closes });
    shop.set_now(opens - 1).await;
    refuses(&mut shop, "alice", buy(PENCIL, 1), Refused::SaleNotOpen, early).await;
    shop.set_now(opens).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.set_now(closes - 1).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.set_now(closes).await;
    refuses(&mut shop, "alice", buy(PENCIL, 1), Refused::SaleClosed, late).await;
}

#[tokio::test]
async fn a_limit_counts_over_all_orders_of_a_user() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    let exceeded = |already: u32| json!({ "productId": PENCIL, "limitPerUser": 5, "alreadyBought": already });
    refuses(&mut shop, "alice", buy(PENCIL, 6), Refused::ExceededLimitedQuantity, exceeded(0)).await;
    shop.decided("alice", buy(PENCIL, 3)).await;
    refuses(&mut shop, "alice", buy(PENCIL, 3), Refused::ExceededLimitedQuantity, exceeded(3)).await;
    shop.decided("alice", buy(PENCIL, 2)).await;
    refuses(&mut shop, "alice", buy(PENCIL, 1), Refused::ExceededLimitedQuantity, exceeded(5)).await;
    assert_eq!(shop.text_hash(&shop.keys.bought()).await, texts(&[("alice 1", "5")]));

    shop.decided("bob", charge(10_000)).await;
    shop.decided("bob", buy(PENCIL, 5)).await;
    put(&mut shop, PutProduct { limit: Some(Change::Clear), ..patch(PENCIL) }).await;
    shop.decided("admin", adjust(PENCIL, 1)).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
}

#[tokio::test]
async fn stock_of_all_items_or_of_none() {
    let mut shop = shop().await;
    let short = json!({ "insufficientItems": [item(NOTE, "노트", 4, 3)] });
    let one_short = Op::PlaceOrder(order(&[(PENCIL, 1), (NOTE, 4)]));
    refuses(&mut shop, "alice", one_short, Refused::InsufficientStock, short).await;
    let short = json!({ "insufficientItems": [item(PENCIL, "연필", 11, 10), item(NOTE, "노트", 4, 3)] });
    let both_short = Op::PlaceOrder(order(&[(PENCIL, 11), (NOTE, 4)]));
    refuses(&mut shop, "alice", both_short, Refused::InsufficientStock, short).await;
    shop.decided("alice", Op::PlaceOrder(order(&[(PENCIL, 10), (NOTE, 3)]))).await;
    assert_eq!(shop.text_hash(&shop.keys.stock()).await, texts(&[("1", "0"), ("2", "0")]));
    let short = json!({ "insufficientItems": [item(PENCIL, "연필", 1, 0)] });
    refuses(&mut shop, "alice", buy(PENCIL, 1), Refused::InsufficientStock, short).await;
}

#[tokio::test]
async fn a_product_cannot_come_twice_in_an_order() {
    let mut shop = shop().await;
    let twice = Op::PlaceOrder(order(&[(PENCIL, 6), (NOTE, 1), (PENCIL, 6)]));
    refuses(&mut shop, "alice", twice, Refused::InvalidInput, json!({ "reason": "a product appears twice" })).await;
}

#[tokio::test]
async fn the_amount_that_the_buyer_saw_must_be_right() {
    let mut shop = shop().await;
    for wrong in [0, 1_999, 2_001, NUMBER_MAX, u64::MAX] {
        let mut asked = order(&[(PENCIL, 2)]);
        asked.final_amount = Some(wrong);
        let details = json!({ "finalAmount": 2_000 });
        refuses(&mut shop, "alice", Op::PlaceOrder(asked), Refused::AmountMismatch, details).await;
    }
    let mut asked = order(&[(PENCIL, 2)]);
    asked.final_amount = Some(2_000);
    shop.decided("alice", Op::PlaceOrder(asked)).await;
}

#[tokio::test]
async fn nobody_spends_more_than_he_has() {
    let mut shop = shop().await;
    let lacking = json!({ "requiredAmount": 2_500, "currentBalance": 0, "shortfall": 2_500 });
    refuses(&mut shop, "bob", buy(NOTE, 1), Refused::InsufficientBalance, lacking).await;
    assert_eq!(account_of(&shop, "bob").await, None);
    shop.decided("bob", charge(2_400)).await;
    let lacking = json!({ "requiredAmount": 2_500, "currentBalance": 2_400, "shortfall": 100 });
    refuses(&mut shop, "bob", buy(NOTE, 1), Refused::InsufficientBalance, lacking).await;
    shop.decided("bob", charge(100)).await;
    shop.decided("bob", buy(NOTE, 1)).await;
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 2_500 })));
}

#[tokio::test]
async fn what_is_free_needs_no_balance_but_is_counted() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { price: Some(0), ..patch(PENCIL) }).await;
    let mut asked = order(&[(PENCIL, 10)]);
    asked.final_amount = Some(0);
    shop.decided("bob", Op::PlaceOrder(asked)).await;
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 0 })));
    assert_eq!(stock_of(&shop, PENCIL).await, "0");
    assert_eq!(shop.sorted_set(&shop.keys.sales(TODAY)).await, texts(&[("1", "10")]));
}

#[tokio::test]
async fn amounts_beyond_2_53_are_refused_and_never_rounded() {
    let mut shop = shop().await;
    shop.rules = Rules { charge_unit: 1, charge_max: NUMBER_MAX, balance_max: NUMBER_MAX, ..RULES };
    put(&mut shop, PutProduct { price: Some(NUMBER_MAX), ..patch(PENCIL) }).await;
    let too_large = json!({ "reason": "the amount is too large" });
    refuses(&mut shop, "rich", buy(PENCIL, 2), Refused::InvalidInput, too_large.clone()).await;
    refuses(&mut shop, "rich", buy(PENCIL, 10), Refused::InvalidInput, too_large.clone()).await;
    let lacking = json!({ "requiredAmount": NUMBER_MAX, "currentBalance": 0, "shortfall": NUMBER_MAX });
    refuses(&mut shop, "rich", buy(PENCIL, 1), Refused::InsufficientBalance, lacking).await;

    let all = i64::try_from(NUMBER_MAX).expect("it is below 2^53");
    shop.decided("rich", charge(all)).await;
    shop.decided("rich", buy(PENCIL, 1)).await;
    assert_eq!(account_of(&shop, "rich").await, Some(json!({ "balance": 0, "used": NUMBER_MAX })));
    // His used total is full: even the cheapest order would leave the exact numbers.
    shop.decided("rich", charge(100_000)).await;
    refuses(&mut shop, "rich", buy(NOTE, 1), Refused::InvalidInput, too_large).await;
}

#[tokio::test]
async fn a_sale_counts_on_the_business_day_of_its_moment() {
    let mut shop = shop().await;
    shop.set_now(START_MS + 15 * HOUR_MS - 1).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.set_now(START_MS + 15 * HOUR_MS).await;
    shop.decided("alice", buy(PENCIL, 2)).await;
    assert_eq!(shop.sorted_set(&shop.keys.sales(TODAY)).await, texts(&[("1", "1")]));
    assert_eq!(shop.sorted_set(&shop.keys.sales("2100-01-02")).await, texts(&[("1", "2")]));
    let dump = shop.dump().await;
    let kept_until = START_MS + 15 * HOUR_MS + 30 * DAY_MS;
    assert_eq!(dump[&shop.keys.sales(TODAY)].1, kept_until, "a ranking goes away after 30 days");
}

// charge_balance

#[tokio::test]
async fn a_charge_credits_the_balance() {
    let mut cell = TestCell::open("ops").await;
    let charged = |seq: u64, amount: u64, previous: u64| {
        let (user, balance) = (user("alice"), previous + amount);
        Event::BalanceCharged(BalanceCharged { seq, at: START_MS, user, amount, previous, balance, used: 0 })
    };
    assert_eq!(cell.decided("alice", charge(100)).await, charged(1, 100, 0));
    assert_eq!(cell.decided("alice", charge(1_000_000)).await, charged(2, 1_000_000, 100));
    assert_eq!(account_of(&cell, "alice").await, Some(json!({ "balance": 1_000_100, "used": 0 })));
}

#[tokio::test]
async fn a_charge_outside_of_the_rules_is_refused_with_the_reason() {
    let mut cell = TestCell::open("ops").await;
    cell.rules = Rules { balance_max: 1_500_000, ..RULES };
    cell.decided("alice", charge(1_000_000)).await;
    let cases = [
        (0, "NOT_POSITIVE"),
        (-100, "NOT_POSITIVE"),
        (1, "NOT_A_MULTIPLE_OF_UNIT"),
        (150, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_050, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_100, "ABOVE_MAXIMUM"),
        (9_007_199_254_740_900, "ABOVE_MAXIMUM"),
        (500_100, "ABOVE_BALANCE_CAP"),
    ];
    for (amount, reason) in cases {
        let details = json!({ "reason": reason, "amount": amount });
        refuses(&mut cell, "alice", charge(amount), Refused::InvalidAmount, details).await;
    }
    cell.decided("alice", charge(500_000)).await;
    // Beyond 2^53 the amount in the details is rounded; it is refused all the same.
    for amount in [i64::MAX, i64::MIN] {
        let before = cell.dump().await;
        let answer = cell.one("alice", charge(amount)).await;
        assert!(matches!(&answer, Answer::Refused(refusal) if refusal.code == Refused::InvalidAmount), "{answer:?}");
        assert_eq!(cell.dump().await, before);
    }
}

// adjust_stock

#[tokio::test]
async fn stock_goes_up_and_down_and_not_below_zero() {
    let mut shop = shop().await;
    let adjusted = |seq, delta, stock| {
        Event::StockAdjusted(StockAdjusted { seq, at: START_MS, product: NOTE, delta, stock, by: user("admin") })
    };
    assert_eq!(shop.decided("admin", adjust(NOTE, 5)).await, adjusted(4, 5, 8));
    assert_eq!(shop.decided("admin", adjust(NOTE, -8)).await, adjusted(5, -8, 0));
    assert_eq!(stock_of(&shop, NOTE).await, "0");
    let short = json!({ "insufficientItems": [item(NOTE, "노트", 1, 0)] });
    refuses(&mut shop, "admin", adjust(NOTE, -1), Refused::InsufficientStock, short).await;
    refuses(&mut shop, "admin", adjust(UNKNOWN, 1), Refused::ProductNotFound, json!({ "productId": UNKNOWN })).await;
    put(&mut shop, PutProduct { status: Some(ProductStatus::Deleted), ..patch(NOTE) }).await;
    assert_eq!(shop.decided("admin", adjust(NOTE, 1)).await, adjusted(7, 1, 1), "also when it is no longer sold");
}

#[tokio::test]
async fn stock_stays_within_2_53() {
    let mut shop = shop().await;
    let most = i64::try_from(NUMBER_MAX).expect("it is below 2^53");
    let too_large = json!({ "reason": "the stock is too large" });
    for delta in [most - 2, most, i64::MAX] {
        refuses(&mut shop, "admin", adjust(NOTE, delta), Refused::InvalidInput, too_large.clone()).await;
    }
    shop.decided("admin", adjust(NOTE, most - 3)).await;
    assert_eq!(stock_of(&shop, NOTE).await, NUMBER_MAX.to_string());
    shop.decided("alice", buy(NOTE, 1)).await;
    assert_eq!(stock_of(&shop, NOTE).await, (NUMBER_MAX - 1).to_string());
    shop.decided("admin", adjust(NOTE, 1 - most)).await;
    assert_eq!(stock_of(&shop, NOTE).await, "0");
}

// put_product

#[tokio::test]
async fn products_are_created_with_the_next_id() {
    let mut shop = shop().await;
    let new = PutProduct {
        limit: Some(Change::Set(2)),
        starts: Some(Change::Set(START_MS)),
        ends: Some(Change::Set(START_MS + 1)),
        ..new_product("컵", 700, 5)
    };
    let created = put(&mut shop, new).await;
    let expected = ProductPut {
        seq: 4,
        at: START_MS,
        product: 3,
        name: "컵".to_owned(),
        price: 700,
        limit: Some(2),
        starts: Some(START_MS),
        ends: Some(START_MS + 1),
        status: ProductStatus::Normal,
        version: 1,
        created: true,
        stock: 5,
        by: user("admin"),
    };
    assert_eq!(created, expected);
    let packed = json!({
        "name": "컵", "price": 700, "limit": 2, "starts": START_MS, "ends": START_MS + 1, "status": "NORMAL", "version": 1,
    });
    assert_eq!(shop.packed_hash(&shop.keys.catalog()).await["3"], packed);
    assert_eq!(stock_of(&shop, 3).await, "5");
    let status = shop.status().await;
    assert_eq!((status.product_last, status.catalog_version), (3, 4));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut shop = shop().await;
    let window = PutProduct {
        limit: Some(Change::Set(2)),
        starts: Some(Change::Set(START_MS)),
        ends: Some(Change::Set(START_MS + 1)),
        ..patch(NOTE)
    };
    let first = put(&mut shop, window).await;
    assert_eq!((first.version, first.created, first.stock, first.price), (2, false, 3, 2_500));
    let second = put(&mut shop, PutProduct { name: Some("공책".to_owned()), stock: Some(77), ..patch(NOTE) }).await;
    let expected = ProductPut { seq: 5, name: "공책".to_owned(), version: 3, ..first };
    assert_eq!(second, expected, "and the stock of a product that exists is not for put_product");
    let clear = PutProduct {
        limit: Some(Change::Clear),
        starts: Some(Change::Clear),
        ends: Some(Change::Clear),
        ..patch(NOTE)
    };
    let third = put(&mut shop, clear).await;
    assert_eq!((third.limit, third.starts, third.ends, third.version), (None, None, None, 4));
    let packed = json!({ "name": "공책", "price": 2_500, "status": "NORMAL", "version": 4 });
    assert_eq!(shop.packed_hash(&shop.keys.catalog()).await["2"], packed);
    assert_eq!(shop.status().await.catalog_version, 6);
}

#[tokio::test]
async fn a_product_that_cannot_be_is_refused() {
    let mut shop = shop().await;
    let unknown = Op::PutProduct(patch(UNKNOWN));
    refuses(&mut shop, "admin", unknown, Refused::ProductNotFound, json!({ "productId": UNKNOWN })).await;
    let reason = json!({ "reason": "saleStartsAt must be before saleEndsAt" });
    for ends in [START_MS - 1, START_MS] {
        let (starts, ends) = (Some(Change::Set(START_MS)), Some(Change::Set(ends)));
        let new = Op::PutProduct(PutProduct { starts, ends, ..new_product("컵", 700, 5) });
        refuses(&mut shop, "admin", new, Refused::InvalidInput, reason.clone()).await;
    }
    put(&mut shop, PutProduct { starts: Some(Change::Set(START_MS)), ..patch(NOTE) }).await;
    let before_the_start_it_has = Op::PutProduct(PutProduct { ends: Some(Change::Set(START_MS)), ..patch(NOTE) });
    refuses(&mut shop, "admin", before_the_start_it_has, Refused::InvalidInput, reason).await;
    assert_eq!(put(&mut shop, new_product("컵", 700, 5)).await.product, 3, "a refusal mints no id");
}

// Idempotency

#[tokio::test]
async fn a_repeat_is_answered_from_the_record() {
    let mut shop = shop().await;
    let event = event_of(shop.send(&[call("alice", "k", buy(PENCIL, 1))]).await.remove(0));
    let before = shop.dump().await;
    let repeat = shop.send(&[call("alice", "k", buy(PENCIL, 1))]).await;
    assert_eq!(repeat, [Answer::Replayed(event)]);
    let reused = refused(Refused::IdempotencyKeyReused, json!({}));
    assert_eq!(shop.send(&[call("alice", "k", buy(PENCIL, 2))]).await, std::slice::from_ref(&reused));
    assert_eq!(shop.send(&[call("alice", "k", charge(100))]).await, [reused]);
    assert_eq!(shop.dump().await, before, "repeats write nothing");
    // Keys are scoped to the user.
    let other = shop.send(&[call("bob", "k", charge(100))]).await;
    assert!(matches!(other[..], [Answer::Decided(_)]), "{other:?}");
}

#[tokio::test]
async fn one_key_twice_in_one_batch_counts_once() {
    let mut shop = shop().await;
    let mut calls: Vec<Call> = (0..64).map(|_| call("alice", "k", buy(PENCIL, 1))).collect();
    calls[40].fingerprint = Fingerprint::new("another", "/", &());
    let answers = shop.send(&calls).await;
    let event = event_of(answers[0].clone());
    for (i, answer) in answers.iter().enumerate().skip(1) {
        let replayed = Answer::Replayed(event.clone());
        let expected = if i == 40 { refused(Refused::IdempotencyKeyReused, json!({})) } else { replayed };
        assert_eq!(*answer, expected, "op {i}");
    }
    assert_eq!(stock_of(&shop, PENCIL).await, "9");
    assert_eq!(shop.status().await.seq, 4);
}

#[tokio::test]
async fn a_refused_key_may_try_again() {
    let mut shop = shop().await;
    let asked = || call("bob", "k", buy(NOTE, 1));
    let refusal = shop.send(&[asked()]).await.remove(0);
    assert!(matches!(refusal, Answer::Refused(_)), "{refusal:?}");
    let answers = shop.send(&[asked(), call("bob", "money", charge(2_500)), asked(), asked()]).await;
    assert!(
        matches!(answers[..], [Answer::Refused(_), Answer::Decided(_), Answer::Decided(_), Answer::Replayed(_)]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_key_is_kept_over_midnight_and_its_day_has_a_deadline() {
    let mut cell = TestCell::open("ops").await;
    let day = START_MS / DAY_MS;
    cell.set_now(START_MS + DAY_MS - 1).await;
    let event = event_of(cell.send(&[call("alice", "k", charge(100))]).await.remove(0));
    let keys = (cell.keys.idem(day), cell.keys.idem(day + 1), cell.keys.idem(day + 2));
    assert_eq!(cell.dump().await[&keys.0].1, START_MS + 2 * DAY_MS + HOUR_MS);
    for now_ms in [START_MS + DAY_MS, START_MS + 2 * DAY_MS - 1] {
        cell.set_now(now_ms).await;
        // Whatever the sender's clock says, the day is that of Redis.
        for skew_ms in [0, -DAY_MS, DAY_MS] {
            cell.skew_ms = skew_ms;
            let repeat = cell.send(&[call("alice", "k", charge(100))]).await;
            assert_eq!(repeat, [Answer::Replayed(event.clone())]);
        }
    }
    cell.skew_ms = 0;
    let other = cell.send(&[call("alice", "other", charge(100))]).await;
    assert!(matches!(other[..], [Answer::Decided(_)]), "{other:?}");
    assert_eq!(cell.dump().await[&keys.1].1, START_MS + 3 * DAY_MS + HOUR_MS);

    cell.set_now(START_MS + 2 * DAY_MS).await;
    let late = cell.send(&[call("alice", "k", charge(100))]).await;
    assert!(matches!(late[..], [Answer::Decided(_)]), "after a whole day more the key is new: {late:?}");
    assert_eq!(cell.idem(day + 2).await.len(), 1);
    assert!(cell.dump().await.contains_key(&keys.2));
}

// Batches

#[tokio::test]
async fn ops_of_a_batch_see_the_ones_before_them() {
    let mut cell = TestCell::open("ops").await;
    let put = Op::PutProduct;
    let calls = [
        call("admin", "1", put(new_product("컵", 1_000, 2))),
        call("alice", "2", buy(1, 1)),
        call("alice", "3", charge(3_000)),
        call("alice", "4", buy(1, 1)),
        call("bob", "5", charge(10_000)),
        call("bob", "6", buy(1, 2)),
        call("admin", "7", adjust(1, 5)),
        call("admin", "8", put(PutProduct { price: Some(500), limit: Some(Change::Set(3)), ..patch(1) })),
        call("bob", "9", buy(1, 2)),
        call("bob", "10", buy(1, 2)),
    ];
    let answers = cell.send(&calls).await;
    let codes: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Decided(event) => event.name(),
            Answer::Replayed(_) => "replayed",
            Answer::Refused(refusal) => refusal.code.code(),
        })
        .collect();
    let expected = [
        "product_put",
        "INSUFFICIENT_BALANCE",
        "balance_charged",
        "order_confirmed",
        "balance_charged",
        "INSUFFICIENT_STOCK",
        "stock_adjusted",
        "product_put",
        "order_confirmed",
        "EXCEEDED_LIMITED_QUANTITY",
    ];
    assert_eq!(codes, expected);
    assert_eq!(stock_of(&cell, 1).await, "4");
    assert_eq!(account_of(&cell, "bob").await, Some(json!({ "balance": 9_000, "used": 1_000 })));
    assert_eq!(cell.sorted_set(&cell.keys.sales(TODAY)).await, texts(&[("1", "3")]));
    let log = cell.log_from(1).await;
    let seqs: Vec<u64> = log.iter().flat_map(|entry| &entry.events).map(|(_, event)| event.seq()).collect();
    assert_eq!((log.len(), seqs), (1, (1..=7).collect::<Vec<u64>>()), "one entry, and refusals have no number");
}

#[tokio::test]
async fn a_batch_may_touch_thousands_of_fields_of_one_column() {
    // 8,000 is beyond what Lua's `unpack` takes at once.
    for users in [2_000_usize, 8_000] {
        let mut cell = TestCell::open("ops").await;
        let calls: Vec<Call> = (0..users).map(|i| call(&format!("u{i}"), "k", charge(100))).collect();
        let answers = cell.send(&calls).await;
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Decided(_))));
        assert_eq!(cell.hash(&cell.keys.accounts()).await.len(), users);
        assert_eq!(cell.idem(START_MS / DAY_MS).await.len(), users);
        let repeats = cell.send(&calls).await;
        assert!(repeats.iter().all(|answer| matches!(answer, Answer::Replayed(_))));
        assert_eq!(cell.status().await.seq, users as u64);
    }
}

#[tokio::test]
async fn an_empty_batch_is_answered_and_writes_nothing() {
    let mut shop = shop().await;
    let before = shop.dump().await;
    assert!(shop.send(&[]).await.is_empty());
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_full_backlog_refuses_what_is_new_and_replays_what_is_old() {
    let mut shop = shop().await;
    shop.rules = Rules { backlog_max: 5, ..RULES };
    let full = refused(Refused::BacklogFull, json!({}));
    let calls: Vec<Call> = (0..4).map(|i| call("alice", &format!("k{i}"), charge(100))).collect();
    let answers = shop.send(&calls).await;
    assert!(
        matches!(&answers[..], [Answer::Decided(_), Answer::Decided(_), third, fourth] if *third == full && *fourth == full),
        "{answers:?}"
    );
    let before = shop.dump().await;
    let again = shop.send(&calls[..3]).await;
    assert!(matches!(&again[..], [Answer::Replayed(_), Answer::Replayed(_), third] if *third == full), "{again:?}");
    assert_eq!(shop.dump().await, before);

    shop.note_committed(6).await;
    assert_eq!(shop.status().await.committed, 0, "beyond the last event nothing can be committed");
    shop.note_committed(4).await;
    shop.note_committed(2).await;
    assert_eq!(shop.status().await.committed, 4, "and it never goes back");
    let answers = shop.send(&calls).await;
    assert!(
        matches!(answers[..], [Answer::Replayed(_), Answer::Replayed(_), Answer::Decided(_), Answer::Decided(_)]),
        "{answers:?}"
    );
}

/// A call as no version of the service would send it.
#[derive(Serialize)]
struct RawCall<'a> {
    op: &'a str,
    user: &'a str,
    key: &'a str,
    fingerprint: &'a str,
    args: Op,
}

#[tokio::test]
async fn an_unknown_op_fails_the_whole_call_and_writes_nothing() {
    let mut shop = shop().await;
    let before = shop.dump().await;
    let fingerprint = "x".repeat(22);
    let raw = RawCall { op: "no_such_op", user: "alice", key: "raw", fingerprint: &fingerprint, args: charge(100) };
    let raw = rmp_serde::to_vec_named(&raw).expect("plain data");
    let good = call("alice", "good", charge(100)).encode();
    for batch in [[good.clone(), raw.clone()], [raw, good]] {
        let failed = shop.try_send_encoded(&batch).await;
        assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
        assert_eq!(shop.dump().await, before);
    }
}

#[tokio::test]
async fn a_column_that_cannot_be_read_fails_the_call_before_anything_is_written() {
    let mut shop = shop().await;
    shop.set_text(&shop.keys.accounts(), "not a hash").await;
    let before = shop.dump().await;
    let failed = shop.try_send(&[call("alice", "k", charge(100))]).await;
    assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_leaves_the_columns_alone() {
    let mut shop = shop().await;
    shop.set_text(&shop.keys.log(), "not a stream").await;
    let before = shop.dump().await;
    let failed = shop.try_send(&[call("alice", "k", buy(PENCIL, 1))]).await;
    assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_cell_whose_columns_could_not_follow_the_log_is_fenced() {
    let mut shop = shop().await;
    // The one column that is written without having been read.
    shop.set_text(&shop.keys.sales(TODAY), "not a sorted set").await;
    let failed = shop.try_send(&[call("alice", "k", buy(PENCIL, 1))]).await;
    assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
    assert_ne!(shop.status().await.fenced, "");
    closed_because(&mut shop, ClosedReason::Fenced).await;
}

// The gate

/// Asserts that the gate is closed, and that a call at a closed gate writes nothing.
async fn closed_because(cell: &mut TestCell, reason: ClosedReason) {
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("alice", "gate", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(why) if why == reason), "{reason:?}: {reply:?}");
    assert_eq!(cell.dump().await, before, "{reason:?}");
}

#[tokio::test]
async fn an_unknown_cell_is_closed() {
    let mut cell = TestCell::closed("ops").await;
    closed_because(&mut cell, ClosedReason::Empty).await;
    assert!(cell.key_names().await.is_empty());
}

#[tokio::test]
async fn another_epoch_is_closed() {
    let mut shop = shop().await;
    for epoch in [0, 2] {
        shop.epoch = epoch;
        closed_because(&mut shop, ClosedReason::Epoch).await;
    }
    shop.epoch = 1;
    shop.decided("alice", charge(100)).await;
}

#[tokio::test]
async fn a_fenced_cell_is_closed_and_cannot_be_opened() {
    let mut shop = shop().await;
    shop.set_meta("fenced", "by a test").await;
    closed_because(&mut shop, ClosedReason::Fenced).await;
    let status = shop.status().await;
    assert!(!shop.open_epoch(2, &status.server_run_id, status.seq).await);
}

#[tokio::test]
async fn a_sender_whose_clock_is_far_off_is_not_served() {
    let mut shop = shop().await;
    for skew_ms in [-3 * DAY_MS, -2 * DAY_MS, 2 * DAY_MS, 3 * DAY_MS] {
        shop.skew_ms = skew_ms;
        closed_because(&mut shop, ClosedReason::Clock).await;
    }
    for skew_ms in [-DAY_MS, DAY_MS] {
        shop.skew_ms = skew_ms;
        shop.decided("alice", buy(PENCIL, 1)).await;
    }
    assert_eq!(shop.sorted_set(&shop.keys.sales(TODAY)).await, texts(&[("1", "2")]));
}

#[tokio::test]
async fn another_server_process_is_closed_until_a_new_epoch_opens_it() {
    let mut shop = shop().await;
    let status = shop.status().await;
    let run_id = status.server_run_id.as_str();
    shop.set_meta("run_id", "0123456789abcdef").await;
    closed_because(&mut shop, ClosedReason::Restarted).await;

    assert!(!shop.open_epoch(1, run_id, status.seq).await, "an epoch that was");
    assert!(!shop.open_epoch(2, run_id, status.seq - 1).await, "another past");
    assert!(!shop.open_epoch(2, run_id, status.seq + 1).await, "a history that was lost");
    assert!(!shop.open_epoch(2, "0123456789abcdef", status.seq).await, "another process");
    closed_because(&mut shop, ClosedReason::Restarted).await;
    assert!(shop.open_epoch(2, run_id, status.seq).await);
    closed_because(&mut shop, ClosedReason::Epoch).await;
    shop.epoch = 2;
    let event = shop.decided("alice", charge(100)).await;
    assert_eq!((event.seq(), shop.status().await.epoch), (4, 2), "the sequence goes on");
    assert_eq!(shop.log_from(4).await[0].prev, shop.log_from(3).await[0].nonce, "and so does the log");
}

// Reads

#[tokio::test]
async fn reads_say_what_the_ops_did_and_close_with_the_gate() {
    let mut shop = shop().await;
    let ordered = shop.decided("alice", buy(PENCIL, 4)).await;
    let id = CellId::new(0).expect("a cell");
    let shared = CellShared::new(id, shop.keys.clone(), shop.redis.clone());
    shared.set_gate(GateState::Open(1));

    let account = reads::account(&shared, &user("alice")).await.expect("an account");
    assert_eq!((account.balance, account.used), (96_000, 4_000));
    let account = reads::account(&shared, &user("nobody")).await.expect("an account");
    assert_eq!((account.balance, account.used), (0, 0));
    let mut products = reads::products(&shared, None).await.expect("products");
    products.stock.sort_unstable();
    assert_eq!((products.now_ms, products.version), (START_MS, 2));
    assert_eq!(products.stock, [(PENCIL, 6), (NOTE, 3)]);
    assert_eq!(products.catalog.as_ref().map(Vec::len), Some(2));
    let unchanged = reads::products(&shared, Some(2)).await.expect("products");
    assert_eq!((unchanged.catalog, unchanged.stock.len()), (None, 2));
    let days = [TODAY.to_owned(), "2100-01-02".to_owned()];
    assert_eq!(reads::sales(&shared, &days).await.expect("sales"), [(PENCIL, 4)]);
    assert_eq!(reads::event(&shared, EntityId::new(id, 4)).await.expect("an answer"), Some(ordered));
    assert_eq!(reads::event(&shared, EntityId::new(id, 5)).await.expect("an answer"), None);

    shop.set_meta("run_id", "0123456789abcdef").await;
    assert!(reads::account(&shared, &user("alice")).await.is_err());
    assert!(matches!(shared.gate(), GateState::Closed(_)));
}

#[tokio::test]
async fn numbers_that_lua_cannot_hold_are_refused_by_the_engine_itself() {
    let mut cell = TestCell::open("ops").await;
    for number in [1_u64 << 53, 1 << 63, u64::MAX] {
        for (member, put) in [
            ("price", PutProduct { price: Some(number), ..new_product("a", 1, 1) }),
            ("stock", PutProduct { stock: Some(number), ..new_product("a", 1, 1) }),
            ("limit", PutProduct { limit: Some(Change::Set(number)), ..new_product("a", 1, 1) }),
        ] {
            let reason = json!({"reason": format!("{member} is out of range")});
            assert_eq!(
                cell.one("admin", Op::PutProduct(put)).await,
                refused(Refused::InvalidInput, reason),
                "{number}"
            );
        }
    }
    let nameless = PutProduct { name: None, ..new_product("a", 1, 1) };
    let reason = json!({"reason": "a new product needs name, price and stock"});
    assert_eq!(cell.one("admin", Op::PutProduct(nameless)).await, refused(Refused::InvalidInput, reason));
    let reason = json!({"reason": "a quantity is below 1"});
    assert_eq!(cell.one("ann", buy(1, 0)).await, refused(Refused::InvalidInput, reason));
    let reason = json!({"reason": "an order needs items"});
    assert_eq!(cell.one("ann", Op::PlaceOrder(order(&[]))).await, refused(Refused::InvalidInput, reason));
}

#[tokio::test]
async fn a_redis_that_has_less_than_was_answered_is_closed() {
    let mut cell = TestCell::open("ops").await;
    cell.one("ann", charge(100)).await;
    cell.acknowledged = 1;
    cell.one("ann", charge(100)).await;
    cell.acknowledged = 3;
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("ann", "next", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(ClosedReason::Behind)), "{reply:?}");
    assert_eq!(cell.dump().await, before);
}

#[tokio::test]
async fn a_clock_set_back_over_midnight_still_finds_the_record() {
    let mut cell = TestCell::open("ops").await;
    let midnight = START_MS + DAY_MS;
    cell.set_now(midnight + 1).await;
    let first = cell.send(&[call("ann", "late", charge(100))]).await;
    cell.set_now(midnight - 1).await;
    let reply = cell.try_send(&[call("ann", "late", charge(100))]).await.expect("an answer");
    let BatchReply::Open { now_ms, results, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(now_ms, midnight - 1, "windows and times follow the clock");
    assert!(matches!(&results[0], OpResult::Done { replayed: true, .. }), "{first:?} {results:?}");
}

#[tokio::test]
async fn a_sending_whose_time_is_over_does_nothing() {
    let mut cell = TestCell::open("ops").await;
    cell.one("ann", charge(100)).await;
    cell.not_after = cell.now_ms();
    cell.one("ann", charge(100)).await;
    cell.not_after = cell.now_ms() - 1;
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("ann", "late", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(ClosedReason::Late)), "{reply:?}");
    assert_eq!(cell.dump().await, before);
}
