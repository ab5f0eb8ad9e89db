//! Coupons, first come, first served.

use super::*;

async fn created(put: PutCoupon) -> TestCell {
    let mut shop = shop().await;
    shop.decided("admin", put.into()).await;
    shop
}

fn coupon() -> PutCoupon {
    new_coupon("천 원", DiscountType::Fixed, 1_000)
}

#[tokio::test]
async fn a_user_gets_a_coupon_for_its_days() {
    let mut shop = created(coupon()).await;
    wait(&mut shop, 1_000).await;
    let (at, expires) = (START_MS + 1_000, START_MS + 1_000 + 7 * DAY_MS);
    let issued = |seq, name, remaining| {
        Event::CouponIssued(CouponIssued { seq, at, user: user(name), coupon: 1, expires, remaining })
    };
    assert_eq!(shop.decided("alice", issue(1)).await, issued(5, "alice", 9));
    assert_eq!(shop.decided("bob", issue(1)).await, issued(6, "bob", 8));
    let held = |id: u64| Some(json!({ "1": { "id": id, "issued": at, "expires": expires } }));
    assert_eq!(wallet_of(&shop, "alice").await, held(5));
    assert_eq!(wallet_of(&shop, "bob").await, held(6));
    assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": 100_000, "used": 0 })));
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 0, "used": 0 })), "it starts an account");
    assert_eq!(shop.packed_hash(&shop.keys.coupons()).await["1"]["remaining"], 8);

    // Whoever gets one later has it as long as the coupon says then.
    shop.decided("admin", PutCoupon { valid_days: Some(1), ..patch_coupon(1) }.into()).await;
    shop.decided("carol", issue(1)).await;
    assert_eq!(wallet_of(&shop, "alice").await, held(5));
    let expires = wallet_of(&shop, "carol").await.expect("a wallet")["1"]["expires"].clone();
    assert_eq!(expires, at + DAY_MS);
}

#[tokio::test]
async fn never_more_are_issued_than_there_are() {
    let mut shop = created(coupon()).await;
    let calls: Vec<Call> = (0..12).map(|i| call(&format!("u{i}"), "k", issue(1))).collect();
    let answers = shop.send(&calls).await;
    let sold_out = refused(Refused::CouponSoldOut, json!({ "couponId": 1 }));
    assert!(answers[..10].iter().all(|answer| matches!(answer, Answer::Decided(_))), "{answers:?}");
    assert_eq!(answers[10..], [sold_out.clone(), sold_out]);
    assert_eq!(shop.packed_hash(&shop.keys.coupons()).await["1"]["remaining"], 0);
    let details = json!({ "couponId": 1 });
    refuses(&mut shop, "late", issue(1), Refused::CouponSoldOut, details.clone()).await;
    shop.decided("admin", PutCoupon { total: Some(11), ..patch_coupon(1) }.into()).await;
    shop.decided("late", issue(1)).await;
    refuses(&mut shop, "later", issue(1), Refused::CouponSoldOut, details.clone()).await;
    refuses(&mut shop, "late", issue(1), Refused::AlreadyIssued, details).await;
}

#[tokio::test]
async fn a_user_gets_a_coupon_once_ever() {
    let mut shop = created(PutCoupon { valid_days: Some(1), ..coupon() }).await;
    shop.decided("alice", issue(1)).await;
    let details = json!({ "couponId": 1 });
    refuses(&mut shop, "alice", issue(1), Refused::AlreadyIssued, details.clone()).await;
    let asked = PlaceOrder { coupons: vec![1], ..order(&[(PENCIL, 1)]) };
    shop.decided("alice", Op::PlaceOrder(asked)).await;
    refuses(&mut shop, "alice", issue(1), Refused::AlreadyIssued, details.clone()).await;
    wait(&mut shop, 30 * DAY_MS).await;
    refuses(&mut shop, "alice", issue(1), Refused::AlreadyIssued, details).await;
    // Another one she can have.
    shop.decided("admin", coupon().into()).await;
    shop.decided("alice", issue(2)).await;
    assert_eq!(wallet_of(&shop, "alice").await.expect("a wallet").as_object().map(serde_json::Map::len), Some(2));
}

#[tokio::test]
async fn an_issue_window_includes_its_start_and_excludes_its_end() {
    let (opens, closes) = (START_MS + HOUR_MS, START_MS + 2 * HOUR_MS);
    let (starts, ends) = (Some(Change::Set(opens)), Some(Change::Set(closes)));
    let mut shop = created(PutCoupon { starts, ends, ..coupon() }).await;
    let early = json!({ "couponId": 1, "opensAt": opens });
    let late = json!({ "couponId": 1, "closedAt": closes });
    shop.set_now(opens - 1).await;
    refuses(&mut shop, "alice", issue(1), Refused::CouponNotOpen, early).await;
    shop.set_now(opens).await;
    shop.decided("alice", issue(1)).await;
    shop.set_now(closes - 1).await;
    shop.decided("bob", issue(1)).await;
    shop.set_now(closes).await;
    refuses(&mut shop, "carol", issue(1), Refused::CouponNotOpen, late).await;
}

#[tokio::test]
async fn unknown_and_deleted_coupons_are_not_issued_but_stay_good() {
    let mut shop = created(coupon()).await;
    refuses(&mut shop, "alice", issue(2), Refused::CouponNotFound, json!({ "couponId": 2 })).await;
    shop.decided("alice", issue(1)).await;
    let status = |status| PutCoupon { status: Some(status), ..patch_coupon(1) };
    shop.decided("admin", status(ItemStatus::Deleted).into()).await;
    refuses(&mut shop, "bob", issue(1), Refused::CouponNotFound, json!({ "couponId": 1 })).await;
    let asked = PlaceOrder { coupons: vec![1], final_amount: Some(0), ..order(&[(PENCIL, 1)]) };
    shop.decided("alice", Op::PlaceOrder(asked)).await;
    shop.decided("admin", status(ItemStatus::Normal).into()).await;
    shop.decided("bob", issue(1)).await;
}
