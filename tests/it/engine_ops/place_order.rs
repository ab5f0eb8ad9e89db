//! Orders.

use super::*;

#[tokio::test]
async fn an_order_takes_stock_and_money_and_moves_the_ranking() {
    let mut shop = shop().await;
    let asked = PlaceOrder { final_amount: Some(5_500), address: Some(address()), ..order(&[(PENCIL, 3), (NOTE, 1)]) };
    let event = shop.decided("alice", Op::PlaceOrder(asked)).await;

    let expected = Event::OrderConfirmed(OrderConfirmed {
        seq: 4,
        at: START_MS,
        user: user("alice"),
        day: TODAY.to_owned(),
        items: vec![line(PENCIL, "연필", 1_000, 3), line(NOTE, "노트", 2_500, 1)],
        total: 5_500,
        discount: 0,
        final_amount: 5_500,
        method: PaymentMethod::Balance,
        address: Some(address()),
        balance: 94_500,
        used: 5_500,
        coupons: None,
        cart: None,
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
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    refuses(&mut shop, "alice", buy(NOTE, 1), Refused::ProductNotFound, json!({ "productId": NOTE })).await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Normal), ..patch(NOTE) }).await;
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
    let event = shop.decided("alice", Op::PlaceOrder(order(&[(PENCIL, 3), (NOTE, 1)]))).await;
    let Event::OrderConfirmed(placed) = event else { panic!("{event:?}") };
    assert_eq!((placed.items[0].counted, placed.items[1].counted), (Some(true), None), "for giving it back");
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

/// Plain accounts and events below 2^32 are packed in a layout of their own: nobody may see where it ends.
#[tokio::test]
async fn amounts_around_the_end_of_32_bits_are_kept_to_the_unit() {
    const END: u64 = 1 << 32;
    let mut shop = shop().await;
    for (balance, used) in [(END - 1, 0), (END, 0), (END + 1, 7), (0, END - 1), (0, END), (END, END)] {
        // Members that a newer service added survive, too.
        for more in [json!({}), json!({"open": 1, "later": "x"})] {
            let mut account = json!({ "balance": balance + 1_000, "used": used.max(1_000) - 1_000 });
            account.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let packed = bytes::Bytes::from(rmp_serde::to_vec(&account).expect("plain data"));
            let field = ("alice", fred::types::Value::Bytes(packed));
            shop.redis.plain().hset::<(), _, _>(shop.keys.accounts(), field).await.expect("HSET");
            let event = shop.decided("alice", buy(PENCIL, 1)).await;
            let Event::OrderConfirmed(placed) = event else { panic!("{event:?}") };
            assert_eq!((placed.total, placed.balance, placed.used), (1_000, balance, used.max(1_000)));
            account["balance"] = json!(balance);
            account["used"] = json!(used.max(1_000));
            assert_eq!(account_of(&shop, "alice").await, Some(account));
            shop.decided("admin", adjust(PENCIL, 1)).await;
        }
    }
}

/// Equal lines of a batch are packed once, so long as they are equal.
#[tokio::test]
async fn an_order_behind_a_new_price_in_a_batch_has_the_new_price() {
    let mut shop = shop().await;
    let dearer = PutProduct { price: Some(1_500), name: Some("펜".to_owned()), ..patch(PENCIL) };
    let calls = [
        call("alice", "a", buy(PENCIL, 1)),
        call("alice", "b", buy(PENCIL, 1)),
        call("alice", "c", buy(PENCIL, 2)),
        call("admin", "d", Op::PutProduct(dearer)),
        call("alice", "e", buy(PENCIL, 1)),
        call("alice", "f", buy(PENCIL, 2)),
    ];
    let orders = shop.send(&calls).await.into_iter().filter_map(|answer| match answer {
        Answer::Decided(Event::OrderConfirmed(order)) => Some((order.final_amount, order.items)),
        _ => None,
    });
    let expected = [("연필", 1_000, 1), ("연필", 1_000, 1), ("연필", 1_000, 2), ("펜", 1_500, 1), ("펜", 1_500, 2)];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(name, price, quantity)| (price * u64::from(quantity), vec![line(PENCIL, name, price, quantity)]))
        .collect();
    assert_eq!(orders.collect::<Vec<_>>(), expected);
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
