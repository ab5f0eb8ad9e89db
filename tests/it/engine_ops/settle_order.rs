//! What the gateway says about orders.

use super::*;

#[tokio::test]
async fn an_approved_payment_confirms_the_order_whenever_it_is_found() {
    let mut shop = shop().await;
    let held = held(&mut shop, "alice", PENCIL, 3).await;
    // Past the time to pay, and on the next business day.
    let now = START_MS + 15 * HOUR_MS;
    shop.set_now(now).await;
    let confirmed = changed(&mut shop, "alice", settle(4, Verdict::Approved)).await;
    let expected = OrderChanged {
        seq: 6,
        at: now,
        status: OrderStatus::Confirmed,
        day: Some("2100-01-02".to_owned()),
        paid_at: Some(now),
        ..held
    };
    assert_eq!(confirmed, expected);
    assert_eq!((confirmed.method, confirmed.payment), (Some(PaymentMethod::Card), Some(5)));
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0 })));
    assert_eq!(sold_of(&shop).await, texts(&[]), "the ranking counts it when it is paid");
    assert_eq!(shop.sorted_set(&shop.keys.sales("2100-01-02")).await, texts(&[("1", "3")]));
    assert_eq!(stock_of(&shop, PENCIL).await, "7");
    assert_eq!(open_of(&shop).await, BTreeMap::new());
    assert_eq!(due_of(&shop).await, texts(&[]));
}

#[tokio::test]
async fn a_declined_payment_gives_everything_back() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    let coupon = give(&mut shop, "alice", new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let asked = PlaceOrder { coupons: vec![coupon], ..order(&[(PENCIL, 3), (NOTE, 1)]) };
    let unpaid = changed(&mut shop, "alice", reserve(asked)).await;
    let held = changed(&mut shop, "alice", pay(unpaid.order, PaymentMethod::Card, 4_500)).await;
    assert_ne!(taken_of(&shop).await, before);
    let failed = changed(&mut shop, "alice", settle(unpaid.order, Verdict::Declined)).await;
    assert_eq!(failed, OrderChanged { seq: held.seq + 1, status: OrderStatus::PaymentFailed, ..held });
    assert_eq!(taken_of(&shop).await, before);
    assert_eq!(account_of(&shop, "alice").await, account);
    not_while(&mut shop, "PAYMENT_FAILED", "alice", pay(unpaid.order, PaymentMethod::Card, 4_500)).await;
}

#[tokio::test]
async fn what_is_settled_stays_so() {
    let mut shop = shop().await;
    let verdicts = [Verdict::Approved, Verdict::Declined, Verdict::Refunded];
    for first in [Verdict::Approved, Verdict::Declined] {
        shop.set_now(START_MS).await;
        let held = held(&mut shop, "alice", PENCIL, 1).await;
        let settled = shop.decided("alice", settle(held.order, first)).await;
        for now in [START_MS, START_MS + 2 * DAY_MS - 1] {
            shop.set_now(now).await;
            for verdict in verdicts {
                replays(&mut shop, "alice", settle(held.order, verdict), settled.clone()).await;
            }
        }
        order_unknown(&mut shop, "bob", settle(held.order, first)).await;
    }
    shop.set_now(START_MS + 2 * DAY_MS).await;
    for verdict in verdicts {
        order_unknown(&mut shop, "alice", settle(4, verdict)).await;
    }
}

#[tokio::test]
async fn only_an_order_that_is_held_can_be_settled() {
    let mut shop = shop().await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.decided("alice", open_charge(1_000)).await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    for verdict in [Verdict::Approved, Verdict::Declined, Verdict::Refunded] {
        for unknown in [4, 5, 99] {
            order_unknown(&mut shop, "alice", settle(unknown, verdict)).await;
        }
        not_while(&mut shop, "PENDING_PAYMENT", "alice", settle(6, verdict)).await;
    }
    let held = held(&mut shop, "bob", PENCIL, 1).await;
    not_while(&mut shop, "HELD", "bob", settle(held.order, Verdict::Refunded)).await;
    order_unknown(&mut shop, "alice", settle(held.order, Verdict::Approved)).await;
}

#[tokio::test]
async fn a_cards_refund_is_open_until_the_money_is_back() {
    let mut shop = shop().await;
    held(&mut shop, "alice", PENCIL, 3).await;
    let confirmed = shop.decided("alice", settle(4, Verdict::Approved)).await;
    let refunded = changed(&mut shop, "alice", cancel(4, Some(paid(&confirmed)))).await;
    for verdict in [Verdict::Approved, Verdict::Declined] {
        not_while(&mut shop, "REFUNDED", "alice", settle(4, verdict)).await;
    }
    shop.set_now(START_MS + 3 * DAY_MS).await;
    let done = changed(&mut shop, "alice", settle(4, Verdict::Refunded)).await;
    let refund = Some(RefundStatus::Done);
    let expected = OrderChanged { seq: 8, at: START_MS + 3 * DAY_MS, refund, ..refunded };
    assert_eq!(done, expected);
    assert_eq!(open_of(&shop).await, BTreeMap::new());
    assert_eq!(due_of(&shop).await, texts(&[]));
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0 })));
    replays(&mut shop, "alice", settle(4, Verdict::Refunded), Event::OrderChanged(expected)).await;
}

#[tokio::test]
async fn an_order_that_is_given_up_without_a_clear_word_is_open_until_the_money_is_surely_back() {
    let mut shop = shop().await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    let held = held(&mut shop, "alice", PENCIL, 3).await;
    let given_up = changed(&mut shop, "alice", settle(held.order, Verdict::Abandoned)).await;
    let expected = OrderChanged {
        seq: held.seq + 1,
        status: OrderStatus::PaymentFailed,
        refund: Some(RefundStatus::Pending),
        ..held.clone()
    };
    assert_eq!(given_up, expected);
    assert_eq!((stock_of(&shop, PENCIL).await.as_str(), account_of(&shop, "alice").await), ("10", account.clone()));
    let id = held.order.to_string();
    assert_eq!(due_of(&shop).await, texts(&[(id.as_str(), START_MS.to_string().as_str())]));
    // It is no held order any more, whatever the gateway says of it.
    for verdict in [Verdict::Approved, Verdict::Declined, Verdict::Abandoned] {
        not_while(&mut shop, "PAYMENT_FAILED", "alice", settle(held.order, verdict)).await;
    }
    let done = changed(&mut shop, "alice", settle(held.order, Verdict::Refunded)).await;
    assert_eq!(done, OrderChanged { seq: given_up.seq + 1, refund: Some(RefundStatus::Done), ..given_up });
    assert_eq!((taken_of(&shop).await, account_of(&shop, "alice").await), (before, account));
    assert_eq!(due_of(&shop).await, texts(&[]));
    assert_eq!(open_of(&shop).await, BTreeMap::new());
}
