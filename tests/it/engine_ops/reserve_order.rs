//! Orders to be paid for later.

use super::*;

#[tokio::test]
async fn a_reservation_takes_goods_and_no_money_and_has_a_deadline() {
    let mut shop = shop().await;
    let asked = PlaceOrder { final_amount: Some(5_500), address: Some(address()), ..order(&[(PENCIL, 3), (NOTE, 1)]) };
    let event = shop.decided("alice", reserve(asked)).await;
    let expires = START_MS + RULES.reservation_ttl_ms;
    let expected = Event::OrderChanged(OrderChanged {
        seq: 4,
        at: START_MS,
        order: 4,
        status: OrderStatus::PendingPayment,
        user: user("alice"),
        created: START_MS,
        expires: Some(expires),
        total: 5_500,
        discount: 0,
        final_amount: 5_500,
        method: None,
        day: None,
        paid_at: None,
        payment: None,
        refund: None,
        address: Some(address()),
        coupons: None,
        cart: None,
        balance: 100_000,
        used: 0,
        restocked: None,
        items: vec![line(PENCIL, "연필", 1_000, 3), line(NOTE, "노트", 2_500, 1)],
    });
    assert_eq!(event, expected);
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0, "open": 1 })));
    assert_eq!(shop.text_hash(&shop.keys.stock()).await, texts(&[("1", "7"), ("2", "2")]));
    assert_eq!(sold_of(&shop).await, texts(&[]), "the ranking counts what is paid for");
    assert_eq!(open_of(&shop).await, BTreeMap::from([("4".to_owned(), expected.clone())]));
    assert_eq!(due_of(&shop).await, texts(&[("4", &expires.to_string())]));
    let recorded = shop.idem(START_MS / DAY_MS).await.remove("order/4");
    assert_eq!(recorded, Some(shop.log_from(4).await.remove(0).events.remove(0)), "how it is now, by its id");
}

#[tokio::test]
async fn an_order_starts_an_account_and_its_units_count_towards_the_limit() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    let first = reserved(&mut shop, "bob", &[(PENCIL, 3), (NOTE, 1)]).await;
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 0, "open": 1 })));
    assert_eq!(first.items[0].counted, Some(true));
    assert_eq!(first.items[1].counted, None);
    assert_eq!(shop.text_hash(&shop.keys.bought()).await, texts(&[("bob 1", "3")]));
    let exceeded = json!({ "productId": PENCIL, "limitPerUser": 5, "alreadyBought": 3 });
    for op in [buy(PENCIL, 3), reserve(order(&[(PENCIL, 3)]))] {
        refuses(&mut shop, "bob", op, Refused::ExceededLimitedQuantity, exceeded.clone()).await;
    }
    reserved(&mut shop, "bob", &[(PENCIL, 2)]).await;
    assert_eq!(shop.text_hash(&shop.keys.bought()).await, texts(&[("bob 1", "5")]));
}

#[tokio::test]
async fn what_cannot_be_ordered_cannot_be_reserved() {
    let mut shop = shop().await;
    let (opens, closed) = (START_MS + 1, START_MS);
    put(&mut shop, PutProduct { starts: Some(Change::Set(opens)), ..new_product("내일", 1, 9) }).await;
    put(&mut shop, PutProduct { ends: Some(Change::Set(closed)), ..new_product("어제", 1, 9) }).await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(2)), ..new_product("한정", 1, 9) }).await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..new_product("없음", 1, 9) }).await;
    put(&mut shop, new_product("비쌈", NUMBER_MAX, 9)).await;
    let invalid = |reason: &str| (Refused::InvalidInput, json!({ "reason": reason }));
    let limited = json!({ "productId": 5, "limitPerUser": 2, "alreadyBought": 0 });
    let short = json!({ "insufficientItems": [item(PENCIL, "연필", 11, 10), item(NOTE, "노트", 4, 3)] });
    let cases = [
        (PlaceOrder::default(), (Refused::CartEmpty, json!({}))),
        (order(&[]), invalid("an order needs items")),
        (order(&[(PENCIL, 1), (NOTE, 1), (PENCIL, 1)]), invalid("a product appears twice")),
        (order(&[(PENCIL, 0)]), invalid("a quantity is below 1")),
        (order(&[(PENCIL, 1), (UNKNOWN, 1)]), (Refused::ProductNotFound, json!({ "productId": UNKNOWN }))),
        (order(&[(6, 1)]), (Refused::ProductNotFound, json!({ "productId": 6 }))),
        (order(&[(3, 1)]), (Refused::SaleNotOpen, json!({ "productId": 3, "opensAt": opens }))),
        (order(&[(4, 1)]), (Refused::SaleClosed, json!({ "productId": 4, "closedAt": closed }))),
        (order(&[(5, 3)]), (Refused::ExceededLimitedQuantity, limited)),
        (order(&[(PENCIL, 11), (NOTE, 4)]), (Refused::InsufficientStock, short)),
        (order(&[(7, 2)]), invalid("the amount is too large")),
        (
            PlaceOrder { final_amount: Some(1_999), ..order(&[(PENCIL, 2)]) },
            (Refused::AmountMismatch, json!({ "finalAmount": 2_000 })),
        ),
        (
            PlaceOrder { coupons: vec![1], ..order(&[(PENCIL, 2)]) },
            (Refused::InvalidCoupon, json!({ "couponId": 1, "reason": "NOT_OWNED" })),
        ),
    ];
    for (asked, (code, details)) in cases {
        refuses(&mut shop, "alice", Op::PlaceOrder(asked.clone()), code, details.clone()).await;
        refuses(&mut shop, "alice", reserve(asked), code, details).await;
    }
}

#[tokio::test]
async fn nobody_has_more_unpaid_orders_than_allowed() {
    let mut shop = shop().await;
    let one = || reserve(order(&[(PENCIL, 1)]));
    for _ in 0..3 {
        shop.decided("alice", one()).await;
    }
    let too_many = json!({ "openOrders": 3, "maximum": 3 });
    refuses(&mut shop, "alice", one(), Refused::TooManyOpenOrders, too_many.clone()).await;
    shop.decided("bob", one()).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    // While the gateway's answer is open, the order is not paid for.
    shop.decided("alice", pay(4, PaymentMethod::Card, 1_000)).await;
    refuses(&mut shop, "alice", one(), Refused::TooManyOpenOrders, too_many.clone()).await;
    shop.decided("alice", settle(4, Verdict::Approved)).await;
    shop.decided("alice", one()).await;
    refuses(&mut shop, "alice", one(), Refused::TooManyOpenOrders, too_many).await;
    for (order, op) in [(5, cancel(5, None)), (6, pay(6, PaymentMethod::Balance, 1_000))] {
        assert_eq!(changed(&mut shop, "alice", op).await.order, order);
        shop.decided("alice", one()).await;
    }
}

#[tokio::test]
async fn an_order_can_be_changed_in_the_batch_that_reserves_it() {
    let mut shop = shop().await;
    let calls = [
        call("alice", "reserve", reserve(order(&[(PENCIL, 2)]))),
        call("alice", "pay", pay(4, PaymentMethod::Card, 2_000)),
        call("alice", "cancel", cancel(4, None)),
        call("alice", "settle", settle(4, Verdict::Approved)),
        call("alice", "again", settle(4, Verdict::Declined)),
    ];
    let answers = shop.send(&calls).await;
    let Answer::Decided(settled) = &answers[3] else { panic!("{answers:?}") };
    assert!(matches!(answers[..2], [Answer::Decided(_), Answer::Decided(_)]), "{answers:?}");
    assert_eq!(answers[2], refused(Refused::InvalidOrderState, json!({ "orderStatus": "HELD" })));
    assert_eq!(answers[4], Answer::Replayed(settled.clone()));
    assert_eq!(open_of(&shop).await, BTreeMap::new());
    assert_eq!(due_of(&shop).await, texts(&[]));
    assert_eq!(shop.log_from(4).await[0].events.len(), 3);
}
