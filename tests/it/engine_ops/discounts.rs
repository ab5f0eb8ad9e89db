//! What coupons take off an order, who may use them, and that a quote says the same.

use super::*;

/// A product of 999, of which there is enough; of the others too.
const ODD: ProductId = 3;

async fn stocked() -> TestCell {
    let mut shop = shop().await;
    put(&mut shop, new_product("구백구십구", 999, 1_000)).await;
    for product in [PENCIL, NOTE] {
        shop.decided("admin", adjust(product, 1_000)).await;
    }
    shop.decided("alice", charge(1_000_000)).await;
    shop
}

fn fixed(value: u64) -> PutCoupon {
    new_coupon("정액", DiscountType::Fixed, value)
}

fn percent(value: u64) -> PutCoupon {
    new_coupon("정률", DiscountType::Percent, value)
}

fn at_most(most: u64, put: PutCoupon) -> PutCoupon {
    PutCoupon { max_discount: Some(most), ..put }
}

fn from(least: u64, put: PutCoupon) -> PutCoupon {
    PutCoupon { min_order: Some(least), ..put }
}

fn on(product: ProductId, put: PutCoupon) -> PutCoupon {
    PutCoupon { kind: Some(CouponType::CartItem), product: Some(product), ..put }
}

/// An order that uses coupons.
fn with(coupons: &[CouponId], items: &[(ProductId, u32)]) -> PlaceOrder {
    PlaceOrder { coupons: coupons.to_vec(), ..order(items) }
}

/// The same, asked for its price.
fn question(asked: &PlaceOrder) -> Quote {
    Quote { coupons: asked.coupons.clone(), items: asked.items.clone(), amount: None }
}

#[tokio::test]
async fn discounts_are_what_the_coupons_say_and_never_more_than_the_amount() {
    let mut shop = stocked().await;
    // Coupons in the order in which they are named, items, discount of each line, discount of the order.
    let table = [
        (vec![fixed(300)], vec![(PENCIL, 1)], vec![0], 300),
        (vec![fixed(1_000)], vec![(PENCIL, 1)], vec![0], 1_000),
        (vec![fixed(5_000)], vec![(PENCIL, 1)], vec![0], 1_000),
        (vec![at_most(200, fixed(500))], vec![(PENCIL, 1)], vec![0], 200),
        // 329.67 and 989.01 are rounded down.
        (vec![percent(33)], vec![(ODD, 1)], vec![0], 329),
        (vec![percent(99)], vec![(ODD, 1)], vec![0], 989),
        (vec![percent(1)], vec![(ODD, 1)], vec![0], 9),
        (vec![percent(100)], vec![(ODD, 1), (NOTE, 1)], vec![0, 0], 3_499),
        (vec![percent(10)], vec![(PENCIL, 3), (NOTE, 1)], vec![0, 0], 550),
        (vec![at_most(400, percent(50))], vec![(PENCIL, 1)], vec![0], 400),
        (vec![at_most(600, percent(50))], vec![(PENCIL, 1)], vec![0], 500),
        // One product: on the amount of its line.
        (vec![on(NOTE, fixed(700))], vec![(PENCIL, 2), (NOTE, 1)], vec![0, 700], 700),
        (vec![on(PENCIL, fixed(5_000))], vec![(PENCIL, 2), (NOTE, 1)], vec![2_000, 0], 2_000),
        // 449.55.
        (vec![on(ODD, percent(15))], vec![(ODD, 3)], vec![449], 449),
        (vec![on(ODD, at_most(100, percent(15)))], vec![(ODD, 3)], vec![100], 100),
        // First the products, then what is left, whatever the order they are named in.
        (vec![percent(10), on(PENCIL, percent(50))], vec![(PENCIL, 2)], vec![1_000], 1_100),
        (vec![on(PENCIL, percent(50)), percent(10)], vec![(PENCIL, 2)], vec![1_000], 1_100),
        // Two for the order, in the order they are named in.
        (vec![fixed(500), percent(10)], vec![(NOTE, 1)], vec![0], 700),
        (vec![percent(10), fixed(500)], vec![(NOTE, 1)], vec![0], 750),
        (vec![percent(33), percent(33)], vec![(ODD, 1)], vec![0], 329 + 221),
        (vec![fixed(800), fixed(800)], vec![(PENCIL, 1)], vec![0], 1_000),
        (vec![percent(100), percent(100)], vec![(PENCIL, 1)], vec![0], 1_000),
        // The minimum is about the total before any discount.
        (vec![from(2_000, fixed(300))], vec![(PENCIL, 2)], vec![0], 300),
        (vec![on(PENCIL, percent(50)), from(2_000, fixed(300))], vec![(PENCIL, 2)], vec![1_000], 1_300),
        (
            vec![fixed(100), on(NOTE, fixed(200)), percent(50), on(PENCIL, fixed(400))],
            vec![(PENCIL, 1), (ODD, 1), (NOTE, 1)],
            vec![400, 0, 200],
            // 4,499 - 600 = 3,899; less 100; and half of 3,799.
            600 + 100 + 1_899,
        ),
    ];
    for (case, (puts, items, by_line, discount)) in table.into_iter().enumerate() {
        let mut coupons = Vec::new();
        for put in puts {
            coupons.push(give(&mut shop, "alice", put).await);
        }
        let asked = with(&coupons, &items);
        let quote = reads::quote(&shared(&shop), &user("alice"), &question(&asked)).await.expect("an answer");
        let (total, quoted) = quote.expect("a price");
        assert_eq!(quoted, discount, "quote of case {case}");
        let event = shop.decided("alice", Op::PlaceOrder(asked)).await;
        let Event::OrderConfirmed(order) = &event else { panic!("{event:?}") };
        let lines: Vec<u64> = order.items.iter().map(|line| line.discount).collect();
        assert_eq!((order.discount, lines), (discount, by_line), "case {case}");
        assert_eq!((order.total, order.final_amount), (total, total - discount), "case {case}");
        assert_eq!(order.coupons.as_ref(), Some(&coupons), "case {case}");
    }
}

#[tokio::test]
async fn a_quote_of_an_amount_is_exact_up_to_the_largest() {
    let mut shop = stocked().await;
    let coupon = give(&mut shop, "alice", percent(99)).await;
    let shared = shared(&shop);
    for amount in [0, 1, 99, 100, 101, 12_345, NUMBER_MAX - 1, NUMBER_MAX] {
        let asked = Quote { coupons: vec![coupon], items: None, amount: Some(amount) };
        let quote = reads::quote(&shared, &user("alice"), &asked).await.expect("an answer").expect("a price");
        let discount = u64::try_from(u128::from(amount) * 99 / 100).expect("it is less than the amount");
        assert_eq!(quote, (amount, discount));
    }
    let nothing = Quote { amount: Some(700), ..Quote::default() };
    assert_eq!(reads::quote(&shared, &user("nobody"), &nothing).await.expect("an answer"), Ok((700, 0)));
    let invalid = |reason: &str| refusal(Refused::InvalidInput, json!({ "reason": reason }));
    let not_found = |id: ProductId| refusal(Refused::ProductNotFound, json!({ "productId": id }));
    put(&mut shop, PutProduct { status: Some(ItemStatus::Deleted), ..patch(NOTE) }).await;
    put(&mut shop, PutProduct { price: Some(NUMBER_MAX), ..patch(PENCIL) }).await;
    let cases = [
        (Quote { coupons: vec![coupon, coupon], amount: Some(1), items: None }, invalid("a coupon appears twice")),
        (question(&with(&[], &[(UNKNOWN, 1)])), not_found(UNKNOWN)),
        (question(&with(&[coupon], &[(NOTE, 1)])), not_found(NOTE)),
        (question(&with(&[], &[(PENCIL, 2)])), invalid("the amount is too large")),
        (Quote { amount: Some(NUMBER_MAX + 1), ..Quote::default() }, invalid("the amount is too large")),
    ];
    for (asked, expected) in cases {
        let answer = reads::quote(&shared, &user("alice"), &asked).await.expect("an answer");
        assert_eq!(answer, Err(expected), "{asked:?}");
    }
}

fn refusal(code: Refused, details: Value) -> Refusal {
    match refused(code, details) {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Asserts that neither an order nor a reservation nor a quote takes these coupons, because of one of them.
async fn coupon_refused(shop: &mut TestCell, asked: PlaceOrder, coupon: CouponId, reason: &str) {
    let details = json!({ "couponId": coupon, "reason": reason });
    let quote = reads::quote(&shared(shop), &user("alice"), &question(&asked)).await.expect("an answer");
    assert_eq!(quote, Err(refusal(Refused::InvalidCoupon, details.clone())), "{asked:?}");
    refuses(shop, "alice", Op::PlaceOrder(asked.clone()), Refused::InvalidCoupon, details.clone()).await;
    refuses(shop, "alice", reserve(asked), Refused::InvalidCoupon, details).await;
}

#[tokio::test]
async fn coupons_that_do_not_fit_are_refused_with_the_reason() {
    let mut shop = stocked().await;
    let items = [(PENCIL, 2)];
    let of_bob = give(&mut shop, "bob", fixed(100)).await;
    for coupon in [of_bob, 99] {
        coupon_refused(&mut shop, with(&[coupon], &items), coupon, "NOT_OWNED").await;
    }
    let large = give(&mut shop, "alice", from(2_001, fixed(100))).await;
    coupon_refused(&mut shop, with(&[large], &items), large, "BELOW_MINIMUM_ORDER").await;

    let mut carts = Vec::new();
    for _ in 0..3 {
        carts.push(give(&mut shop, "alice", fixed(100)).await);
    }
    coupon_refused(&mut shop, with(&carts, &items), carts[2], "TOO_MANY_CART_COUPONS").await;
    let one = give(&mut shop, "alice", on(PENCIL, fixed(100))).await;
    let other = give(&mut shop, "alice", on(PENCIL, percent(10))).await;
    coupon_refused(&mut shop, with(&[one, carts[0], other], &items), other, "TOO_MANY_ITEM_COUPONS").await;
    let of_note = give(&mut shop, "alice", on(NOTE, fixed(100))).await;
    coupon_refused(&mut shop, with(&[of_note], &items), of_note, "PRODUCT_NOT_IN_ORDER").await;
    let twice = json!({ "reason": "a coupon appears twice" });
    let asked = with(&[one, one], &items);
    refuses(&mut shop, "alice", Op::PlaceOrder(asked), Refused::InvalidInput, twice).await;

    // The first that does not fit is named.
    coupon_refused(&mut shop, with(&[carts[0], large, of_note], &items), large, "BELOW_MINIMUM_ORDER").await;
    let asked = PlaceOrder { final_amount: Some(2_000), ..with(&[carts[0], one], &items) };
    let details = json!({ "finalAmount": 1_800 });
    refuses(&mut shop, "alice", Op::PlaceOrder(asked), Refused::AmountMismatch, details).await;

    shop.decided("alice", Op::PlaceOrder(with(&[carts[0], carts[1], one], &items))).await;
    coupon_refused(&mut shop, with(&[one], &items), one, "ALREADY_USED").await;
    shop.set_now(START_MS + 7 * DAY_MS - 1).await;
    shop.decided("alice", Op::PlaceOrder(with(&[other], &items))).await;
    shop.set_now(START_MS + 7 * DAY_MS).await;
    coupon_refused(&mut shop, with(&[carts[2]], &items), carts[2], "EXPIRED").await;
    coupon_refused(&mut shop, with(&[other], &items), other, "ALREADY_USED").await;
}

/// Orders with a coupon and ends the order again, in one of the ways an order can end.
async fn ended(shop: &mut TestCell, coupon: CouponId, way: &str) -> OrderChanged {
    let asked = with(&[coupon], &[(NOTE, 1)]);
    if way == "placed" {
        let placed = shop.decided("alice", Op::PlaceOrder(asked)).await;
        return changed(shop, "alice", cancel(placed.seq(), Some(paid(&placed)))).await;
    }
    let unpaid = changed(shop, "alice", reserve(asked)).await;
    let (id, amount) = (unpaid.order, unpaid.final_amount);
    let used = wallet_of(shop, "alice").await.expect("a wallet")[coupon.to_string()]["order"].clone();
    assert_eq!(used, id, "{way}");
    let confirmed = match way {
        "cancelled" => return changed(shop, "alice", cancel(id, None)).await,
        "expired" => {
            wait(shop, RULES.reservation_ttl_ms).await;
            return changed(shop, "alice", expire(id)).await;
        }
        "declined" => {
            shop.decided("alice", pay(id, PaymentMethod::Card, amount)).await;
            return changed(shop, "alice", settle(id, Verdict::Declined)).await;
        }
        "paid by card" => {
            shop.decided("alice", pay(id, PaymentMethod::Card, amount)).await;
            shop.decided("alice", settle(id, Verdict::Approved)).await
        }
        "paid from the balance" => shop.decided("alice", pay(id, PaymentMethod::Balance, amount)).await,
        other => panic!("{other}"),
    };
    changed(shop, "alice", cancel(id, Some(paid(&confirmed)))).await
}

const WAYS: [&str; 6] = ["placed", "cancelled", "expired", "declined", "paid by card", "paid from the balance"];

#[tokio::test]
async fn a_coupon_is_given_back_when_the_order_ends() {
    let mut shop = stocked().await;
    let coupon = give(&mut shop, "alice", percent(10)).await;
    let kept = give(&mut shop, "alice", fixed(100)).await;
    shop.decided("alice", Op::PlaceOrder(with(&[kept], &[(PENCIL, 1)]))).await;
    let before = wallet_of(&shop, "alice").await;
    for way in WAYS {
        let order = ended(&mut shop, coupon, way).await;
        assert_eq!(order.coupons, Some(vec![coupon]), "{way}: the order still says what it used");
        assert_eq!((order.total, order.discount, order.final_amount), (2_500, 250, 2_250), "{way}");
        assert_eq!(wallet_of(&shop, "alice").await, before, "{way}: and the other coupon stays used");
    }
}

#[tokio::test]
async fn a_coupon_that_is_given_back_too_late_is_of_no_use() {
    for way in WAYS {
        let mut shop = stocked().await;
        let coupon = give(&mut shop, "alice", percent(10)).await;
        shop.set_now(START_MS + 7 * DAY_MS - 1).await;
        ended(&mut shop, coupon, way).await;
        let held = reads::wallet(&shared(&shop), &user("alice")).await.expect("a wallet");
        assert_eq!(held[&coupon].order, None, "{way}");
        wait(&mut shop, 1).await;
        coupon_refused(&mut shop, with(&[coupon], &[(NOTE, 1)]), coupon, "EXPIRED").await;
    }
}
