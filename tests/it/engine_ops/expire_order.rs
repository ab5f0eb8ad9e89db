//! Orders that nobody paid for in time.

use super::*;

#[tokio::test]
async fn an_order_expires_at_its_time_and_gives_everything_back() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    let coupon = give(&mut shop, "alice", new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    shop.decided("alice", buy(PENCIL, 2)).await;
    let (before, account) = (taken_of(&shop).await, account_of(&shop, "alice").await);
    for late_ms in [0, 1, HOUR_MS] {
        let asked = PlaceOrder { coupons: vec![coupon], ..order(&[(PENCIL, 3), (NOTE, 1)]) };
        let unpaid = changed(&mut shop, "alice", reserve(asked)).await;
        wait(&mut shop, RULES.reservation_ttl_ms - 1).await;
        not_while(&mut shop, "PENDING_PAYMENT", "alice", expire(unpaid.order)).await;
        wait(&mut shop, 1 + late_ms).await;
        let expired = changed(&mut shop, "alice", expire(unpaid.order)).await;
        let (seq, at) = (unpaid.seq + 1, shop.now_ms());
        assert_eq!(expired, OrderChanged { seq, at, status: OrderStatus::Expired, ..unpaid });
        assert_eq!(taken_of(&shop).await, before);
        assert_eq!(account_of(&shop, "alice").await, account);
        not_while(&mut shop, "EXPIRED", "alice", expire(expired.order)).await;
        not_while(&mut shop, "EXPIRED", "alice", cancel(expired.order, None)).await;
    }
}

#[tokio::test]
async fn only_an_unpaid_order_expires() {
    let mut shop = shop().await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    shop.decided("alice", open_charge(1_000)).await;
    held(&mut shop, "alice", PENCIL, 1).await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    wait(&mut shop, HOUR_MS).await;
    for unknown in [4, 5, 99] {
        order_unknown(&mut shop, "alice", expire(unknown)).await;
    }
    order_unknown(&mut shop, "bob", expire(8)).await;
    not_while(&mut shop, "HELD", "alice", expire(6)).await;
    let confirmed = shop.decided("alice", settle(6, Verdict::Approved)).await;
    not_while(&mut shop, "CONFIRMED", "alice", expire(6)).await;
    shop.decided("alice", cancel(6, Some(paid(&confirmed)))).await;
    not_while(&mut shop, "REFUNDED", "alice", expire(6)).await;
    shop.decided("alice", expire(8)).await;
}
