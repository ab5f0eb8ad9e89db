//! Orders that their buyers give up.

use super::*;

/// Something to take from: a limit of 5 pencils, and a coupon of 1,000 for alice, who has bought 2 pencils.
async fn prepared() -> (TestCell, CouponId) {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    let coupon = give(&mut shop, "alice", new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    shop.decided("alice", buy(PENCIL, 2)).await;
    (shop, coupon)
}

/// 3 pencils and a note for 4,500.
fn asked(coupon: CouponId) -> PlaceOrder {
    PlaceOrder { coupons: vec![coupon], address: Some(address()), ..order(&[(PENCIL, 3), (NOTE, 1)]) }
}

#[tokio::test]
async fn an_unpaid_order_gives_everything_back() {
    let (mut shop, coupon) = prepared().await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let unpaid = changed(&mut shop, "alice", reserve(asked(coupon))).await;
    let id = unpaid.order;
    order_unknown(&mut shop, "bob", cancel(id, None)).await;
    wait(&mut shop, RULES.reservation_ttl_ms - 1).await;
    let cancelled = changed(&mut shop, "alice", cancel(id, None)).await;
    let (seq, at) = (id + 1, shop.now_ms());
    assert_eq!(cancelled, OrderChanged { seq, at, status: OrderStatus::Cancelled, ..unpaid });
    assert_eq!(taken_of(&shop).await, before);
    assert_eq!(account_of(&shop, "alice").await, account);
    not_while(&mut shop, "CANCELLED", "alice", cancel(id, None)).await;
    not_while(&mut shop, "CANCELLED", "alice", expire(id)).await;
    changed(&mut shop, "alice", reserve(asked(coupon))).await;
}

#[tokio::test]
async fn neither_an_expired_nor_a_held_order_can_be_cancelled() {
    let mut shop = shop().await;
    for unknown in [4, 99] {
        order_unknown(&mut shop, "alice", cancel(unknown, None)).await;
    }
    let held = held(&mut shop, "alice", PENCIL, 1).await;
    not_while(&mut shop, "HELD", "alice", cancel(held.order, None)).await;
    let unpaid = reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    wait(&mut shop, RULES.reservation_ttl_ms).await;
    not_while(&mut shop, "EXPIRED", "alice", cancel(unpaid.order, None)).await;
    shop.decided("alice", expire(unpaid.order)).await;
    not_while(&mut shop, "EXPIRED", "alice", cancel(unpaid.order, None)).await;
    not_while(&mut shop, "HELD", "alice", cancel(held.order, None)).await;
    let failed = changed(&mut shop, "alice", settle(held.order, Verdict::Declined)).await;
    not_while(&mut shop, "PAYMENT_FAILED", "alice", cancel(failed.order, None)).await;
}

/// Equal arguments of a batch are one table in Lua: what the first makes of them must not be the second's.
#[tokio::test]
async fn of_two_equal_cancellations_in_a_batch_one_refunds() {
    let mut shop = shop().await;
    let placed = shop.decided("alice", buy(PENCIL, 2)).await;
    let refund = cancel(placed.seq(), Some(paid(&placed)));
    let answers = shop.send(&[call("alice", "a", refund.clone()), call("alice", "b", refund)]).await;
    let Answer::Decided(Event::OrderChanged(refunded)) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!((refunded.status, refunded.balance, refunded.used), (OrderStatus::Refunded, 100_000, 0));
    assert_eq!(answers[1], refused(Refused::InvalidOrderState, json!({ "orderStatus": "REFUNDED" })));
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0 })));
    assert_eq!(stock_of(&shop, PENCIL).await, "10");
}

#[tokio::test]
async fn an_order_that_was_placed_is_refunded_to_the_balance() {
    let (mut shop, coupon) = prepared().await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let placed = shop.decided("alice", Op::PlaceOrder(asked(coupon))).await;
    assert_ne!(taken_of(&shop).await, before);
    let Event::OrderConfirmed(confirmed) = placed.clone() else { panic!("{placed:?}") };
    order_unknown(&mut shop, "alice", cancel(confirmed.seq, None)).await;
    wait(&mut shop, 1_000).await;
    let refunded = changed(&mut shop, "alice", cancel(confirmed.seq, Some(paid(&placed)))).await;
    let expected = OrderChanged {
        seq: confirmed.seq + 1,
        at: START_MS + 1_000,
        order: confirmed.seq,
        status: OrderStatus::Refunded,
        user: user("alice"),
        created: START_MS,
        expires: None,
        total: 5_500,
        discount: 1_000,
        final_amount: 4_500,
        method: Some(PaymentMethod::Balance),
        day: Some(TODAY.to_owned()),
        paid_at: Some(START_MS),
        payment: Some(confirmed.seq),
        refund: Some(RefundStatus::Done),
        address: Some(address()),
        coupons: Some(vec![coupon]),
        cart: None,
        balance: 98_000,
        used: 2_000,
        restocked: None,
        items: confirmed.items,
    };
    assert_eq!(refunded, expected);
    assert_eq!((expected.items[0].counted, expected.items[1].counted), (Some(true), None));
    assert_eq!(taken_of(&shop).await, before);
    assert_eq!(account_of(&shop, "alice").await, account);
    for again in [Some(paid(&placed)), None] {
        not_while(&mut shop, "REFUNDED", "alice", cancel(confirmed.seq, again)).await;
    }
}

#[tokio::test]
async fn an_order_that_was_paid_later_is_refunded_to_the_balance() {
    let (mut shop, coupon) = prepared().await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let unpaid = changed(&mut shop, "alice", reserve(asked(coupon))).await;
    let id = unpaid.order;
    wait(&mut shop, 1_000).await;
    let event = shop.decided("alice", pay(id, PaymentMethod::Balance, 4_500)).await;
    let Event::OrderChanged(confirmed) = event.clone() else { panic!("{event:?}") };
    assert_eq!(sold_of(&shop).await, texts(&[("1", "5"), ("2", "1")]));
    for brought in [None, Some(paid(&event))] {
        order_unknown(&mut shop, "bob", cancel(id, brought)).await;
    }
    wait(&mut shop, 1_000).await;
    // The cell knows it itself, and what it knows counts more.
    let claimed = PaidOrder { final_amount: 99_000, items: Vec::new(), ..paid(&event) };
    let refunded = changed(&mut shop, "alice", cancel(id, Some(claimed))).await;
    let expected = OrderChanged {
        seq: id + 2,
        at: START_MS + 2_000,
        status: OrderStatus::Refunded,
        refund: Some(RefundStatus::Done),
        balance: 98_000,
        used: 2_000,
        ..confirmed
    };
    assert_eq!(refunded, expected);
    assert_eq!(taken_of(&shop).await, before);
    assert_eq!(account_of(&shop, "alice").await, account);
    not_while(&mut shop, "REFUNDED", "alice", cancel(id, Some(paid(&event)))).await;
}

#[tokio::test]
async fn a_refund_to_a_card_is_open_until_the_gateway_has_done_it() {
    let (mut shop, coupon) = prepared().await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let id = changed(&mut shop, "alice", reserve(asked(coupon))).await.order;
    shop.decided("alice", pay(id, PaymentMethod::Card, 4_500)).await;
    let event = shop.decided("alice", settle(id, Verdict::Approved)).await;
    let Event::OrderChanged(confirmed) = event.clone() else { panic!("{event:?}") };
    wait(&mut shop, 1_000).await;
    let refunded = changed(&mut shop, "alice", cancel(id, None)).await;
    let expected = OrderChanged {
        seq: id + 3,
        at: START_MS + 1_000,
        status: OrderStatus::Refunded,
        refund: Some(RefundStatus::Pending),
        ..confirmed
    };
    assert_eq!(refunded, expected);
    assert_eq!(account_of(&shop, "alice").await, account, "the money goes to the card");
    assert_eq!(open_of(&shop).await, BTreeMap::from([(id.to_string(), Event::OrderChanged(expected))]));
    let asked_again = (START_MS + 1_000 + RULES.recovery_ms).to_string();
    assert_eq!(due_of(&shop).await, texts(&[(&id.to_string(), &asked_again)]));
    not_while(&mut shop, "REFUNDED", "alice", cancel(id, Some(paid(&event)))).await;
    shop.decided("alice", settle(id, Verdict::Refunded)).await;
    assert_eq!(taken_of(&shop).await, before, "given back once");
    not_while(&mut shop, "REFUNDED", "alice", cancel(id, Some(paid(&event)))).await;
}

#[tokio::test]
async fn what_was_free_is_refunded_without_a_gateway() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { price: Some(0), ..patch(PENCIL) }).await;
    for method in [PaymentMethod::Card, PaymentMethod::Balance] {
        let id = reserved(&mut shop, "bob", &[(PENCIL, 1)]).await.order;
        let confirmed = shop.decided("bob", pay(id, method, 0)).await;
        let refunded = changed(&mut shop, "bob", cancel(id, Some(paid(&confirmed)))).await;
        assert_eq!((refunded.status, refunded.refund), (OrderStatus::Refunded, Some(RefundStatus::Done)));
    }
    assert_eq!(stock_of(&shop, PENCIL).await, "10");
    assert_eq!(due_of(&shop).await, texts(&[]));
    assert_eq!(sold_of(&shop).await, texts(&[]));
}

#[tokio::test]
async fn a_paid_order_can_be_cancelled_within_the_window() {
    let mut shop = shop().await;
    let first = shop.decided("alice", buy(PENCIL, 1)).await;
    let second = shop.decided("alice", buy(PENCIL, 1)).await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    wait(&mut shop, 60_000).await;
    let paid_later = shop.decided("alice", pay(6, PaymentMethod::Balance, 1_000)).await;
    shop.set_now(START_MS + RULES.cancel_window_ms - 1).await;
    shop.decided("alice", cancel(4, Some(paid(&first)))).await;
    shop.set_now(START_MS + RULES.cancel_window_ms).await;
    not_while(&mut shop, "CONFIRMED", "alice", cancel(5, Some(paid(&second)))).await;
    // It counts from the payment.
    shop.set_now(START_MS + RULES.cancel_window_ms + 59_999).await;
    shop.decided("alice", cancel(6, Some(paid(&paid_later)))).await;
}

#[tokio::test]
async fn a_refund_corrects_the_ranking_of_the_sales_day() {
    let mut shop = shop().await;
    let midnight = START_MS + 15 * HOUR_MS;
    shop.set_now(midnight - 1).await;
    let of_alice = shop.decided("alice", buy(PENCIL, 3)).await;
    shop.decided("bob", charge(10_000)).await;
    let of_bob = shop.decided("bob", Op::PlaceOrder(order(&[(PENCIL, 2), (NOTE, 1)]))).await;
    shop.set_now(midnight).await;
    shop.decided("bob", buy(PENCIL, 1)).await;
    assert_eq!(sold_of(&shop).await, texts(&[("1", "5"), ("2", "1")]));
    shop.set_now(midnight + RULES.cancel_window_ms - 2).await;
    shop.decided("bob", cancel(6, Some(paid(&of_bob)))).await;
    assert_eq!(sold_of(&shop).await, texts(&[("1", "3")]), "what was not sold is not in the ranking");
    let refund = call("alice", "refund", cancel(4, Some(paid(&of_alice))));
    let sale = call("bob", "sale", buy(PENCIL, 1));
    shop.skew_ms = DAY_MS;
    let answers = shop.send(&[refund, sale]).await;
    assert!(matches!(answers[..], [Answer::Decided(_), Answer::Decided(_)]), "{answers:?}");
    assert_eq!(sold_of(&shop).await, texts(&[]));
    assert_eq!(shop.sorted_set(&shop.keys.sales("2100-01-02")).await, texts(&[("1", "2")]));

    // A ranking that is out of reach cannot be corrected, whatever the window is.
    let old = shop.decided("bob", buy(PENCIL, 1)).await;
    shop.rules = Rules { cancel_window_ms: 10 * DAY_MS, ..RULES };
    shop.skew_ms = 0;
    wait(&mut shop, 3 * DAY_MS).await;
    not_while(&mut shop, "CONFIRMED", "bob", cancel(old.seq(), Some(paid(&old)))).await;
}

#[tokio::test]
async fn a_balance_stays_within_2_53() {
    let mut shop = shop().await;
    shop.rules = Rules { charge_unit: 1, charge_max: NUMBER_MAX, balance_max: NUMBER_MAX, ..RULES };
    let all = i64::try_from(NUMBER_MAX).expect("it is below 2^53");
    shop.decided("rich", charge(all)).await;
    let placed = shop.decided("rich", buy(NOTE, 1)).await;
    shop.decided("rich", open_charge(2_500)).await;
    let too_large = json!({ "reason": "the balance would be too large" });
    let refund = || cancel(5, Some(paid(&placed)));
    refuses(&mut shop, "rich", refund(), Refused::InvalidInput, too_large).await;
    shop.decided("rich", settle_charge(6, Verdict::Declined)).await;
    shop.decided("rich", refund()).await;
    assert_eq!(account_of(&shop, "rich").await, Some(json!({ "balance": NUMBER_MAX, "used": 0 })));
}
