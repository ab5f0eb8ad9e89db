//! Payments of reserved orders.

use super::*;

#[tokio::test]
async fn paying_from_the_balance_confirms_the_order() {
    let mut shop = shop().await;
    let asked = PlaceOrder { address: Some(address()), ..order(&[(PENCIL, 3)]) };
    let unpaid = changed(&mut shop, "alice", reserve(asked)).await;
    wait(&mut shop, 1_000).await;
    let confirmed = changed(&mut shop, "alice", pay(4, PaymentMethod::Balance, 3_000)).await;
    let expected = OrderChanged {
        seq: 5,
        at: START_MS + 1_000,
        status: OrderStatus::Confirmed,
        method: Some(PaymentMethod::Balance),
        day: Some(TODAY.to_owned()),
        paid_at: Some(START_MS + 1_000),
        payment: Some(5),
        balance: 97_000,
        used: 3_000,
        ..unpaid
    };
    assert_eq!(confirmed, expected);
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 97_000, "used": 3_000 })));
    assert_eq!(stock_of(&shop, PENCIL).await, "7");
    assert_eq!(sold_of(&shop).await, texts(&[("1", "3")]));
    assert_eq!(open_of(&shop).await, BTreeMap::new());
    assert_eq!(due_of(&shop).await, texts(&[]));
    assert_eq!(shop.idem(START_MS / DAY_MS).await["order/4"].1, Event::OrderChanged(expected));
}

#[tokio::test]
async fn a_card_holds_the_order_until_the_gateway_has_answered() {
    let mut shop = shop().await;
    let unpaid = reserved(&mut shop, "alice", &[(PENCIL, 3)]).await;
    wait(&mut shop, 1_000).await;
    let held = changed(&mut shop, "alice", pay(4, PaymentMethod::Card, 3_000)).await;
    let expected = OrderChanged {
        seq: 5,
        at: START_MS + 1_000,
        status: OrderStatus::Held,
        method: Some(PaymentMethod::Card),
        payment: Some(5),
        ..unpaid
    };
    assert_eq!(held, expected);
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0, "open": 1 })));
    assert_eq!(sold_of(&shop).await, texts(&[]));
    assert_eq!(open_of(&shop).await, BTreeMap::from([("4".to_owned(), Event::OrderChanged(expected))]));
    let asked_again = START_MS + 1_000 + RULES.recovery_ms;
    assert_eq!(due_of(&shop).await, texts(&[("4", &asked_again.to_string())]), "and not when it would have expired");
    for method in [PaymentMethod::Card, PaymentMethod::Balance] {
        not_while(&mut shop, "HELD", "alice", pay(4, method, 3_000)).await;
    }
}

#[tokio::test]
async fn what_is_free_needs_no_gateway() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { price: Some(0), ..patch(PENCIL) }).await;
    for (order, method) in [(5, PaymentMethod::Card), (7, PaymentMethod::Balance)] {
        assert_eq!(reserved(&mut shop, "bob", &[(PENCIL, 1)]).await.order, order);
        let confirmed = changed(&mut shop, "bob", pay(order, method, 0)).await;
        assert_eq!((confirmed.status, confirmed.method), (OrderStatus::Confirmed, Some(method)));
        assert_eq!((confirmed.paid_at, confirmed.payment), (Some(START_MS), Some(order + 1)));
    }
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 0 })));
    assert_eq!(sold_of(&shop).await, texts(&[("1", "2")]));
    assert_eq!(due_of(&shop).await, texts(&[]));
}

#[tokio::test]
async fn an_order_can_be_paid_until_it_expires_swept_or_not() {
    let mut shop = shop().await;
    for _ in 0..3 {
        reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    }
    wait(&mut shop, RULES.reservation_ttl_ms - 1).await;
    shop.decided("alice", pay(4, PaymentMethod::Balance, 1_000)).await;
    wait(&mut shop, 1).await;
    for method in [PaymentMethod::Card, PaymentMethod::Balance] {
        not_while(&mut shop, "EXPIRED", "alice", pay(5, method, 1_000)).await;
    }
    shop.decided("alice", expire(5)).await;
    not_while(&mut shop, "EXPIRED", "alice", pay(5, PaymentMethod::Card, 1_000)).await;
}

#[tokio::test]
async fn only_an_unpaid_order_of_ones_own_can_be_paid() {
    let mut shop = shop().await;
    let pay = |order| pay(order, PaymentMethod::Balance, 1_000);
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.decided("alice", open_charge(1_000)).await;
    reserved(&mut shop, "bob", &[(PENCIL, 1)]).await;
    for order in [4, 5, 6, 7, 99] {
        order_unknown(&mut shop, "alice", pay(order)).await;
    }
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    shop.decided("alice", pay(7)).await;
    not_while(&mut shop, "CONFIRMED", "alice", pay(7)).await;
    order_unknown(&mut shop, "bob", pay(7)).await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    shop.decided("alice", cancel(9, None)).await;
    not_while(&mut shop, "CANCELLED", "alice", pay(9)).await;
    // The cell knows for at least 24 hours how an order ended.
    shop.set_now(START_MS + 2 * DAY_MS - 1).await;
    not_while(&mut shop, "CANCELLED", "alice", pay(9)).await;
    shop.set_now(START_MS + 2 * DAY_MS).await;
    order_unknown(&mut shop, "alice", pay(9)).await;
}

#[tokio::test]
async fn the_amount_must_be_the_orders_and_the_balance_enough() {
    let mut shop = shop().await;
    reserved(&mut shop, "bob", &[(NOTE, 1)]).await;
    for amount in [0, 2_499, 2_501, NUMBER_MAX, u64::MAX] {
        for method in [PaymentMethod::Card, PaymentMethod::Balance] {
            let details = json!({ "finalAmount": 2_500 });
            refuses(&mut shop, "bob", pay(4, method, amount), Refused::AmountMismatch, details).await;
        }
    }
    shop.decided("bob", charge(2_400)).await;
    let lacking = json!({ "requiredAmount": 2_500, "currentBalance": 2_400, "shortfall": 100 });
    let paying = || pay(4, PaymentMethod::Balance, 2_500);
    refuses(&mut shop, "bob", paying(), Refused::InsufficientBalance, lacking).await;
    shop.decided("bob", charge(100)).await;
    shop.decided("bob", paying()).await;
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 2_500 })));
}

#[tokio::test]
async fn a_used_total_stays_within_2_53() {
    let mut shop = shop().await;
    shop.rules = Rules { charge_unit: 1, charge_max: NUMBER_MAX, balance_max: NUMBER_MAX, ..RULES };
    put(&mut shop, PutProduct { price: Some(NUMBER_MAX), ..patch(PENCIL) }).await;
    shop.decided("rich", charge(i64::try_from(NUMBER_MAX).expect("it is below 2^53"))).await;
    shop.decided("rich", buy(PENCIL, 1)).await;
    shop.decided("rich", charge(2_500)).await;
    let unpaid = reserved(&mut shop, "rich", &[(NOTE, 1)]).await;
    let too_large = json!({ "reason": "the amount is too large" });
    let paying = pay(unpaid.order, PaymentMethod::Balance, 2_500);
    refuses(&mut shop, "rich", paying, Refused::InvalidInput, too_large).await;
    shop.decided("rich", pay(unpaid.order, PaymentMethod::Card, 2_500)).await;
}
