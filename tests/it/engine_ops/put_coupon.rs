//! Coupons: what they are worth, and how many there are.

use super::*;

async fn put_coupon(cell: &mut TestCell, put: PutCoupon) -> CouponPut {
    match cell.decided("admin", put.into()).await {
        Event::CouponPut(event) => event,
        other => panic!("put_coupon emitted {other:?}"),
    }
}

/// A coupon with every member.
fn whole() -> PutCoupon {
    PutCoupon {
        kind: Some(CouponType::CartItem),
        product: Some(NOTE),
        max_discount: Some(700),
        min_order: Some(0),
        starts: Some(Change::Set(START_MS)),
        ends: Some(Change::Set(START_MS + 1)),
        ..new_coupon("노트 10%", DiscountType::Percent, 10)
    }
}

#[tokio::test]
async fn coupons_are_created_with_the_next_id() {
    let mut shop = shop().await;
    let least = put_coupon(&mut shop, new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    let expected = CouponPut {
        seq: 4,
        at: START_MS,
        coupon: 1,
        name: "천 원".to_owned(),
        kind: CouponType::Cart,
        product: None,
        discount: DiscountType::Fixed,
        value: 1_000,
        max_discount: None,
        min_order: None,
        total: 10,
        remaining: 10,
        starts: None,
        ends: None,
        valid_days: 7,
        status: ItemStatus::Normal,
        version: 1,
        created: true,
        by: user("admin"),
    };
    assert_eq!(least, expected);
    let all = put_coupon(&mut shop, whole()).await;
    let expected = CouponPut {
        seq: 5,
        coupon: 2,
        name: "노트 10%".to_owned(),
        kind: CouponType::CartItem,
        product: Some(NOTE),
        discount: DiscountType::Percent,
        value: 10,
        max_discount: Some(700),
        min_order: Some(0),
        starts: Some(START_MS),
        ends: Some(START_MS + 1),
        ..expected
    };
    assert_eq!(all, expected);
    let coupons = shop.packed_hash(&shop.keys.coupons()).await;
    let least = json!({
        "name": "천 원", "type": "CART", "discount": "FIXED", "value": 1_000, "total": 10, "remaining": 10,
        "valid_days": 7, "status": "NORMAL", "version": 1,
    });
    assert_eq!(coupons["1"], least);
    let all = json!({
        "name": "노트 10%", "type": "CART_ITEM", "product": 2, "discount": "PERCENT", "value": 10,
        "max_discount": 700, "min_order": 0, "total": 10, "remaining": 10, "starts": START_MS, "ends": START_MS + 1,
        "valid_days": 7, "status": "NORMAL", "version": 1,
    });
    assert_eq!(coupons["2"], all);
    assert_eq!(shop.status().await.coupon_last, 2);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut shop = shop().await;
    let first = put_coupon(&mut shop, whole()).await;
    let second = put_coupon(&mut shop, PutCoupon { name: Some("새 이름".to_owned()), ..patch_coupon(1) }).await;
    let expected = CouponPut { seq: 5, name: "새 이름".to_owned(), version: 2, created: false, ..first };
    assert_eq!(second, expected);
    let many = PutCoupon {
        total: Some(12),
        starts: Some(Change::Clear),
        ends: Some(Change::Clear),
        valid_days: Some(30),
        status: Some(ItemStatus::Deleted),
        ..patch_coupon(1)
    };
    let third = put_coupon(&mut shop, many).await;
    let expected = CouponPut {
        seq: 6,
        total: 12,
        remaining: 12,
        starts: None,
        ends: None,
        valid_days: 30,
        status: ItemStatus::Deleted,
        version: 3,
        ..expected
    };
    assert_eq!(third, expected);
    let window = PutCoupon { starts: Some(Change::Set(START_MS)), ..patch_coupon(1) };
    assert_eq!(put_coupon(&mut shop, window).await.starts, Some(START_MS));
}

#[tokio::test]
async fn there_are_never_fewer_coupons_than_were_issued() {
    let mut shop = shop().await;
    put_coupon(&mut shop, new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    for name in ["alice", "bob", "carol"] {
        shop.decided(name, issue(1)).await;
    }
    let too_few = json!({ "reason": "more coupons were issued already" });
    let total = |total| PutCoupon { total: Some(total), ..patch_coupon(1) };
    for fewer in [1, 2] {
        refuses(&mut shop, "admin", total(fewer).into(), Refused::InvalidInput, too_few.clone()).await;
    }
    for (asked, remaining) in [(3, 0), (8, 5), (4, 1)] {
        let put = put_coupon(&mut shop, total(asked)).await;
        assert_eq!((put.total, put.remaining), (asked, remaining));
    }
    // Whatever else is changed, what is left stays.
    let renamed = put_coupon(&mut shop, PutCoupon { name: Some("새 이름".to_owned()), ..patch_coupon(1) }).await;
    assert_eq!((renamed.total, renamed.remaining), (4, 1));
}

#[tokio::test]
async fn what_a_coupon_is_worth_cannot_change() {
    let mut shop = shop().await;
    put_coupon(&mut shop, whole()).await;
    let terms = [
        ("type", PutCoupon { kind: Some(CouponType::CartItem), ..patch_coupon(1) }),
        ("product", PutCoupon { product: Some(NOTE), ..patch_coupon(1) }),
        ("discount", PutCoupon { discount: Some(DiscountType::Percent), ..patch_coupon(1) }),
        ("value", PutCoupon { value: Some(10), ..patch_coupon(1) }),
        ("max_discount", PutCoupon { max_discount: Some(700), ..patch_coupon(1) }),
        ("min_order", PutCoupon { min_order: Some(0), ..patch_coupon(1) }),
    ];
    for (member, put) in terms {
        let reason = json!({ "reason": format!("{member} of a coupon cannot change") });
        refuses(&mut shop, "admin", put.into(), Refused::InvalidInput, reason).await;
    }
}

#[tokio::test]
async fn a_coupon_that_cannot_be_is_refused() {
    let mut shop = shop().await;
    let (cart, item) = (|| new_coupon("천 원", DiscountType::Fixed, 1_000), whole);
    let missing = "exactly the type CART_ITEM names a product".to_owned();
    let backwards = "issueStartsAt must be before issueEndsAt".to_owned();
    let needs = |member: &str| format!("a new coupon needs {member}");
    let range = |member: &str| format!("{member} is out of range");
    let time_max_ms = 253_402_300_799_999;
    let cases = [
        (needs("name"), PutCoupon { name: None, ..cart() }),
        (needs("type"), PutCoupon { kind: None, ..cart() }),
        (needs("discount"), PutCoupon { discount: None, ..cart() }),
        (needs("value"), PutCoupon { value: None, ..cart() }),
        (needs("total"), PutCoupon { total: None, ..cart() }),
        (needs("valid_days"), PutCoupon { valid_days: None, ..cart() }),
        (range("value"), PutCoupon { value: Some(0), ..cart() }),
        (range("value"), PutCoupon { value: Some(NUMBER_MAX + 1), ..cart() }),
        (range("max_discount"), PutCoupon { max_discount: Some(0), ..cart() }),
        (range("max_discount"), PutCoupon { max_discount: Some(u64::MAX), ..cart() }),
        (range("min_order"), PutCoupon { min_order: Some(1 << 63), ..cart() }),
        (range("total"), PutCoupon { total: Some(0), ..cart() }),
        (range("total"), PutCoupon { total: Some(STOCK_MAX + 1), ..cart() }),
        (range("valid_days"), PutCoupon { valid_days: Some(0), ..cart() }),
        (range("valid_days"), PutCoupon { valid_days: Some(36_501), ..cart() }),
        (range("starts"), PutCoupon { starts: Some(Change::Set(-1)), ..cart() }),
        (range("ends"), PutCoupon { ends: Some(Change::Set(time_max_ms + 1)), ..cart() }),
        ("a percentage is above 100".to_owned(), PutCoupon { value: Some(101), ..item() }),
        (missing.clone(), PutCoupon { product: None, ..item() }),
        (missing, PutCoupon { product: Some(NOTE), ..cart() }),
        (backwards.clone(), PutCoupon { starts: Some(Change::Set(START_MS + 1)), ..item() }),
        (backwards, PutCoupon { starts: Some(Change::Set(START_MS + 2)), ..item() }),
    ];
    for (reason, put) in cases {
        refuses(&mut shop, "admin", put.into(), Refused::InvalidInput, json!({ "reason": reason })).await;
    }
    let of_nothing = PutCoupon { product: Some(UNKNOWN), ..item() };
    let details = json!({ "productId": UNKNOWN });
    refuses(&mut shop, "admin", of_nothing.into(), Refused::ProductNotFound, details).await;
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    refuses(&mut shop, "admin", item().into(), Refused::ProductNotFound, json!({ "productId": NOTE })).await;
    let details = json!({ "couponId": 1 });
    refuses(&mut shop, "admin", patch_coupon(1).into(), Refused::CouponNotFound, details).await;
    let largest = PutCoupon {
        value: Some(NUMBER_MAX),
        max_discount: Some(NUMBER_MAX),
        min_order: Some(NUMBER_MAX),
        total: Some(STOCK_MAX),
        starts: Some(Change::Set(0)),
        ends: Some(Change::Set(time_max_ms)),
        valid_days: Some(36_500),
        ..cart()
    };
    assert_eq!(put_coupon(&mut shop, largest).await.coupon, 1, "a refusal mints no id");
}

#[tokio::test]
async fn a_patch_is_checked_against_what_the_coupon_has() {
    let mut shop = shop().await;
    put_coupon(&mut shop, whole()).await;
    let cases = [
        (
            "issueStartsAt must be before issueEndsAt",
            PutCoupon { ends: Some(Change::Set(START_MS)), ..patch_coupon(1) },
        ),
        ("total is out of range", PutCoupon { total: Some(0), ..patch_coupon(1) }),
        ("valid_days is out of range", PutCoupon { valid_days: Some(0), ..patch_coupon(1) }),
    ];
    for (reason, put) in cases {
        refuses(&mut shop, "admin", put.into(), Refused::InvalidInput, json!({ "reason": reason })).await;
    }
}
