//! Stock that operators bring or take.

use super::*;

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
