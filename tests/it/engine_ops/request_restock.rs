//! Being told when a product is back.

use super::*;

/// A shop without notes.
async fn sold_out() -> TestCell {
    let mut shop = shop().await;
    shop.decided("admin", adjust(NOTE, -3)).await;
    shop
}

/// Adds notes: whether somebody is told.
async fn brings(shop: &mut TestCell, units: i64) -> bool {
    match shop.decided("admin", adjust(NOTE, units)).await {
        Event::StockAdjusted(event) => event.restocked.unwrap_or(false),
        other => panic!("adjust_stock emitted {other:?}"),
    }
}

/// What the column `restock` has.
async fn waiting(shop: &TestCell) -> BTreeMap<String, Value> {
    shop.packed_hash(&shop.keys.restock()).await
}

#[tokio::test]
async fn a_user_waits_once_and_the_last_address_counts() {
    let mut shop = sold_out().await;
    let requested = |seq, name, email: &str| {
        let (user, email) = (user(name), email.to_owned());
        Event::RestockRequested(RestockRequested { seq, at: START_MS, user, product: NOTE, email, round: 1 })
    };
    let event = shop.decided("alice", request_restock(NOTE, "a@x.example")).await;
    assert_eq!(event, requested(5, "alice", "a@x.example"));
    shop.decided("bob", request_restock(NOTE, "b@x.example")).await;
    let event = shop.decided("alice", request_restock(NOTE, "a@y.example")).await;
    assert_eq!(event, requested(7, "alice", "a@y.example"));
    let expected = [("2", json!({ "round": 1, "waiting": 2 })), ("alice 2", json!(1)), ("bob 2", json!(1))];
    assert_eq!(waiting(&shop).await, BTreeMap::from(expected.map(|(field, value)| (field.to_owned(), value))));
    assert_eq!(account_of(&shop, "bob").await, None);

    refuses(
        &mut shop,
        "alice",
        request_restock(UNKNOWN, "a@x.example"),
        Refused::ProductNotFound,
        json!({ "productId": UNKNOWN }),
    )
    .await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    let details = json!({ "productId": NOTE });
    refuses(&mut shop, "alice", request_restock(NOTE, "a@x.example"), Refused::ProductNotFound, details).await;
}

#[tokio::test]
async fn everybody_who_waits_is_told_once_per_round() {
    let mut shop = sold_out().await;
    assert!(!brings(&mut shop, 1).await, "nobody waits");
    assert_eq!(waiting(&shop).await, BTreeMap::new());
    shop.decided("alice", request_restock(NOTE, "a@x.example")).await;
    assert!(!brings(&mut shop, 1).await, "it was not sold out");
    assert!(!brings(&mut shop, -2).await);
    shop.decided("bob", request_restock(NOTE, "b@x.example")).await;
    assert!(brings(&mut shop, 1).await);
    assert_eq!(waiting(&shop).await["2"], json!({ "round": 2, "waiting": 0 }));
    for _ in 0..2 {
        assert!(!brings(&mut shop, -1).await);
        assert!(!brings(&mut shop, 1).await, "all who waited were told");
    }

    // Who asks again waits for the next time.
    assert!(!brings(&mut shop, -1).await);
    let Event::RestockRequested(again) = shop.decided("alice", request_restock(NOTE, "a@x.example")).await else {
        panic!("request_restock emits restock_requested");
    };
    assert_eq!(again.round, 2);
    let expected = [("2", json!({ "round": 2, "waiting": 1 })), ("alice 2", json!(2)), ("bob 2", json!(1))];
    assert_eq!(waiting(&shop).await, BTreeMap::from(expected.map(|(field, value)| (field.to_owned(), value))));
    assert!(brings(&mut shop, 7).await);
}

#[tokio::test]
async fn what_is_no_longer_sold_is_not_back() {
    let mut shop = sold_out().await;
    shop.decided("alice", request_restock(NOTE, "a@x.example")).await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    assert!(!brings(&mut shop, 1).await);
    put(&mut shop, PutProduct { status: Some(ItemStatus::Normal), ..patch(NOTE) }).await;
    assert!(!brings(&mut shop, 1).await, "it was not sold out");
    assert!(!brings(&mut shop, -2).await);
    assert!(brings(&mut shop, 1).await);
}

#[tokio::test]
async fn a_product_is_back_when_it_has_reached_the_threshold() {
    let mut shop = sold_out().await;
    shop.rules = Rules { restock_threshold: 5, ..RULES };
    let ask = || request_restock(NOTE, "a@x.example");
    // At once.
    shop.decided("alice", ask()).await;
    assert!(brings(&mut shop, 5).await);
    // In steps, with a sale between them.
    shop.decided("alice", ask()).await;
    assert!(!brings(&mut shop, -5).await);
    assert!(!brings(&mut shop, 3).await);
    assert_eq!(waiting(&shop).await["2"], json!({ "round": 2, "waiting": 1, "rising": true }));
    shop.decided("alice", buy(NOTE, 1)).await;
    assert!(!brings(&mut shop, 2).await, "4 of 5");
    assert!(brings(&mut shop, 1).await);
    assert_eq!(waiting(&shop).await["2"], json!({ "round": 3, "waiting": 0 }));
    // Not from below the threshold, when it was never sold out.
    assert!(!brings(&mut shop, -3).await);
    shop.decided("alice", ask()).await;
    assert!(!brings(&mut shop, 8).await, "2 and 8");
    assert!(!brings(&mut shop, -10).await);
    assert!(!brings(&mut shop, 4).await);
    assert!(!brings(&mut shop, -4).await, "sold out again on the way");
    assert!(!brings(&mut shop, 4).await);
    assert!(brings(&mut shop, 1).await);
}

#[tokio::test]
async fn a_product_is_also_back_when_an_order_ends() {
    for way in ["cancelled", "expired", "declined", "refunded"] {
        let mut shop = shop().await;
        let asked = [(PENCIL, 1), (NOTE, 3)];
        let first = if way == "refunded" { Op::PlaceOrder(order(&asked)) } else { reserve(order(&asked)) };
        let first = shop.decided("alice", first).await;
        // Both are waited for, but only one of them is sold out.
        shop.decided("bob", request_restock(NOTE, "b@x.example")).await;
        shop.decided("bob", request_restock(PENCIL, "b@x.example")).await;
        let last = match way {
            "cancelled" => cancel(4, None),
            "expired" => {
                wait(&mut shop, RULES.reservation_ttl_ms).await;
                expire(4)
            }
            "declined" => {
                shop.decided("alice", pay(4, PaymentMethod::Card, 8_500)).await;
                settle(4, Verdict::Declined)
            }
            _ => cancel(4, Some(paid(&first))),
        };
        let ended = changed(&mut shop, "alice", last).await;
        assert_eq!(ended.restocked, Some(vec![NOTE]), "{way}");
        assert_eq!(waiting(&shop).await["2"], json!({ "round": 2, "waiting": 0 }), "{way}");
    }
}

#[tokio::test]
async fn a_refund_to_a_card_tells_of_it_once() {
    let mut shop = shop().await;
    held(&mut shop, "alice", NOTE, 3).await;
    let confirmed = shop.decided("alice", settle(4, Verdict::Approved)).await;
    shop.decided("bob", request_restock(NOTE, "b@x.example")).await;
    let refunded = changed(&mut shop, "alice", cancel(4, Some(paid(&confirmed)))).await;
    assert_eq!(refunded.restocked, Some(vec![NOTE]));
    let done = changed(&mut shop, "alice", settle(4, Verdict::Refunded)).await;
    assert_eq!(done.restocked, None);
}
