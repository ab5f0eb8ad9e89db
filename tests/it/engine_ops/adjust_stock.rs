//! Stock that operators bring or take.

use super::*;

#[tokio::test]
async fn stock_goes_up_and_down_and_not_below_zero() {
    let mut shop = shop().await;
    let adjusted = |seq, delta, stock| {
        let (at, by, restocked) = (START_MS, user("admin"), None);
        Event::StockAdjusted(StockAdjusted { seq, at, product: NOTE, delta, stock, by, restocked })
    };
    assert_eq!(shop.decided("admin", adjust(NOTE, 5)).await, adjusted(4, 5, 8));
    assert_eq!(shop.decided("admin", adjust(NOTE, -8)).await, adjusted(5, -8, 0));
    assert_eq!(stock_of(&shop, NOTE).await, "0");
    let short = json!({ "insufficientItems": [item(NOTE, "노트", 1, 0)] });
    refuses(&mut shop, "admin", adjust(NOTE, -1), Refused::InsufficientStock, short).await;
    refuses(&mut shop, "admin", adjust(UNKNOWN, 1), Refused::ProductNotFound, json!({ "productId": UNKNOWN })).await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    assert_eq!(shop.decided("admin", adjust(NOTE, 1)).await, adjusted(7, 1, 1), "also when it is no longer sold");
}

#[tokio::test]
async fn stock_is_bounded_far_below_2_53() {
    let mut shop = shop().await;
    let most = i64::try_from(STOCK_MAX).expect("it is below 2^53");
    let too_large = json!({ "reason": "the stock is too large" });
    for delta in [most - 2, most, i64::MAX] {
        refuses(&mut shop, "admin", adjust(NOTE, delta), Refused::InvalidInput, too_large.clone()).await;
    }
    shop.decided("admin", adjust(NOTE, most - 3)).await;
    assert_eq!(stock_of(&shop, NOTE).await, STOCK_MAX.to_string());
    // What an order gives back is not refused, however much was brought meanwhile.
    let unpaid = reserved(&mut shop, "alice", &[(NOTE, 2)]).await;
    refuses(&mut shop, "admin", adjust(NOTE, 3), Refused::InvalidInput, too_large.clone()).await;
    shop.decided("admin", adjust(NOTE, 2)).await;
    shop.decided("alice", cancel(unpaid.order, None)).await;
    assert_eq!(stock_of(&shop, NOTE).await, (STOCK_MAX + 2).to_string());
    refuses(&mut shop, "admin", adjust(NOTE, 1), Refused::InvalidInput, too_large).await;
    shop.decided("alice", buy(NOTE, 1)).await;
    shop.decided("admin", adjust(NOTE, -1 - most)).await;
    assert_eq!(stock_of(&shop, NOTE).await, "0");
}
