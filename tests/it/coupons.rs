//! Coupons: first come, first served, what they take off an order, and whose they are.

use fred::interfaces::HashesInterface;
use futures::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::shop::{Client, Reply, Shop, eventually, redis, tally, unique};

/// Requests under way at once in the crowded tests.
const CONCURRENT: usize = 64;

/// Every user asks for the coupon under his key, all at once.
async fn rush(client: &Client, coupon: u64, callers: Vec<(String, String)>) -> Vec<Reply> {
    let path = format!("/api/coupons/{coupon}/issue");
    let path = path.as_str();
    let requests = callers.into_iter().map(|(user, key)| async move { client.post_empty(path, &user, &key).await });
    stream::iter(requests).buffer_unordered(CONCURRENT).collect().await
}

/// One request of each of so many users.
fn crowd(users: usize) -> Vec<(String, String)> {
    (0..users).map(|user| (format!("user-{user}"), "rush".to_owned())).collect()
}

/// A coupon as the public list shows it.
async fn listed(client: &Client, coupon: u64) -> Option<Value> {
    let body = client.get("/api/coupons?limit=100", None).await.expect(200).body;
    body["coupons"].as_array().expect("a list").iter().find(|listed| listed["couponId"] == coupon).cloned()
}

/// Waits until the public list shows so many left.
async fn left(client: &Client, coupon: u64, remaining: u64) {
    let what = format!("{remaining} of coupon {coupon} are left");
    eventually(&what, async || listed(client, coupon).await.filter(|c| c["remainingQuantity"] == remaining)).await;
}

/// Lets the validity of a coupon that a user holds pass, as days of waiting would.
async fn let_expire(shop: &Shop, user: &str, coupon: u64) {
    let plain = redis::connect(&shop.backends.redis_url).await;
    let wallets = format!("{}:{{c0}}:wallets", shop.backends.namespace);
    let packed: bytes::Bytes = plain.hget(wallets.as_str(), user).await.expect("a wallet");
    let mut wallet: Value = rmp_serde::from_slice(&packed).expect("MessagePack");
    wallet[coupon.to_string()]["expires"] = json!(1);
    let packed = rmp_serde::to_vec(&wallet).expect("plain data");
    plain.hset::<(), _, _>(wallets.as_str(), (user, fred::types::Value::Bytes(packed.into()))).await.expect("HSET");
}

/// Body of an order of these products, one unit each, with coupons.
fn with_coupons(products: &[u64], coupons: &[u64]) -> Value {
    let items: Vec<Value> = products.iter().map(|id| json!({"productId": id, "quantity": 1})).collect();
    json!({"items": items, "couponIds": coupons})
}

#[tokio::test]
async fn the_last_coupon_goes_to_one_of_sixty_four_users() {
    let shop = Shop::start("coupon-last").await;
    let client = &shop.client;
    let coupon = client.coupon(&json!({"totalQuantity": 2})).await;
    client.issue("early", coupon).await;
    let replies = rush(client, coupon, crowd(64)).await;
    assert_eq!(tally(&replies), "1 x 201, 63 x 409 COUPON_SOLD_OUT");
    let mut refused = replies.iter().filter(|reply| reply.status == 409);
    assert!(refused.all(|reply| reply.body["number"] == "C001"));
    left(client, coupon, 0).await;
    shop.check_books().await;
    assert_eq!(shop.count("SELECT issued FROM coupon_stock").await, 2);
}

#[tokio::test]
async fn a_thousand_users_on_a_hundred_coupons_get_exactly_a_hundred() {
    let shop = Shop::start("coupon-crowd").await;
    let client = &shop.client;
    let coupon = client.coupon(&json!({"totalQuantity": 100})).await;
    let replies = rush(client, coupon, crowd(1_000)).await;
    assert_eq!(tally(&replies), "100 x 201, 900 x 409 COUPON_SOLD_OUT");
    shop.check_books().await;
    assert_eq!(shop.count("SELECT count(*) FROM user_coupons WHERE status = 'AVAILABLE'").await, 100);
    assert_eq!(shop.count("SELECT count(DISTINCT user_coupon_id) FROM user_coupons").await, 100);
}

#[tokio::test]
async fn a_user_gets_a_coupon_once_however_often_he_asks() {
    let shop = Shop::start("coupon-once").await;
    let client = &shop.client;
    let coupon = client.coupon(&json!({"totalQuantity": 100})).await;
    let replies = rush(client, coupon, (0..64).map(|i| ("ann".to_owned(), format!("key-{i}"))).collect()).await;
    assert_eq!(tally(&replies), "1 x 201, 63 x 409 ALREADY_ISSUED");
    let mut refused = replies.iter().filter(|reply| reply.status == 409);
    assert!(refused.all(|reply| reply.body["number"] == "C004"));
    // One key: one coupon, told again and again.
    let replies = rush(client, coupon, (0..64).map(|_| ("bob".to_owned(), "same".to_owned())).collect()).await;
    assert_eq!(tally(&replies), "64 x 201");
    assert!(replies.iter().all(|reply| reply.body == replies[0].body));
    assert_eq!(replies.iter().filter(|reply| !reply.is_replayed()).count(), 1);
    left(client, coupon, 98).await;
    shop.check_books().await;
}

#[tokio::test]
async fn an_issued_coupon_says_what_it_is_and_until_when() {
    let shop = Shop::start("coupon-issue").await;
    let client = &shop.client;
    let coupon = client.coupon(&json!({"validDays": 2})).await;
    let issued = client.post_empty(&format!("/api/coupons/{coupon}/issue"), "ann", "k").await.expect(201);
    assert_eq!(issued.header("idempotency-key"), "k");
    let body = &issued.body;
    assert_eq!((&body["couponId"], &body["status"]), (&json!(coupon), &json!("AVAILABLE")));
    let time = |member: &str| issued.text(member).parse::<jiff::Timestamp>().expect("a time");
    assert_eq!(time("expiresAt").as_millisecond() - time("issuedAt").as_millisecond(), 2 * 86_400_000);
    assert!(issued.text("userCouponId").bytes().all(|b| b.is_ascii_digit()));
    // An account starts to exist with it.
    assert_eq!(client.balance("ann").await, (0, 0));
    for id in ["4242", "0", "x", "-1", "4294967297"] {
        let reply = client.post_empty(&format!("/api/coupons/{id}/issue"), "ann", &unique("k")).await;
        reply.expect_problem(404, "COUPON_NOT_FOUND");
    }
}

#[tokio::test]
async fn the_list_shows_how_many_are_left_right_now() {
    let shop = Shop::start("coupon-list").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 1).await;
    let terms = json!({"name": "Pin for less", "type": "CART_ITEM", "productId": product, "discountType": "PERCENT",
        "discountValue": 50, "maxDiscount": 40, "minOrderAmount": 10, "totalQuantity": 5,
        "issueEndsAt": "2100-01-01T00:00:00Z"});
    let coupon = client.coupon(&terms).await;
    let mut expected = terms.clone();
    expected["couponId"] = json!(coupon);
    expected["remainingQuantity"] = json!(5);
    expected["validDays"] = json!(30);
    expected["status"] = json!("NORMAL");
    left(client, coupon, 5).await;
    assert_eq!(listed(client, coupon).await.expect("it is offered"), expected);
    for user in ["ann", "bob", "cid"] {
        client.issue(user, coupon).await;
    }
    left(client, coupon, 2).await;
    for _ in 0..4 {
        client.coupon(&json!({})).await;
    }
    left(client, 5, 10).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/api/coupons?limit=2{cursor}"), None).await.expect(200).body;
        seen.extend(page["coupons"].as_array().expect("a list").iter().map(|listed| listed["couponId"].clone()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (1..=5).map(|id| json!(id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn my_coupons_come_by_status_and_in_pages() {
    let shop = Shop::start("coupon-mine").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 10).await;
    let mut coupons = Vec::new();
    for _ in 0..5 {
        let coupon = client.coupon(&json!({})).await;
        client.issue("ann", coupon).await;
        coupons.push(coupon);
    }
    left(client, coupons[4], 9).await;
    let order = client.post("/api/orders", "ann", "k", &with_coupons(&[product], &coupons[..1])).await.expect(201);
    shop.wait_written().await;
    let_expire(&shop, "ann", coupons[1]).await;
    assert_eq!(client.coupons_of("ann", "available").await, coupons[2..]);
    assert_eq!(client.coupons_of("ann", "used").await, coupons[..1]);
    assert_eq!(client.coupons_of("ann", "expired").await, coupons[1..2]);
    assert_eq!(client.coupons_of("bob", "available").await, Vec::<u64>::new());
    let used = client.get("/api/users/me/coupons?status=USED", Some("ann")).await.expect(200).body;
    assert_eq!(used["coupons"][0]["orderId"], order.body["orderId"]);
    assert_eq!((&used["coupons"][0]["status"], &used["coupons"][0]["name"]), (&json!("USED"), &json!("Coupon")));
    // Newest first, without gaps.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/users/me/coupons?limit=2{cursor}");
        let page = client.get(&path, Some("ann")).await.expect(200).body;
        let part = page["coupons"].as_array().expect("a list");
        seen.extend(part.iter().map(|held| held["couponId"].as_u64().expect("an id")));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    coupons.reverse();
    assert_eq!(seen, coupons);
    for query in ["status=lost", "limit=0", "cursor=x"] {
        let path = format!("/api/users/me/coupons?{query}");
        client.get(&path, Some("ann")).await.expect_problem(400, "INVALID_INPUT");
    }
}

#[tokio::test]
async fn a_coupon_is_issued_within_its_window_only() {
    let shop = Shop::start("coupon-window").await;
    let client = &shop.client;
    let early = client.coupon(&json!({"issueStartsAt": "2100-01-01T00:00:00Z"})).await;
    let path = format!("/api/coupons/{early}/issue");
    let refused = client.post_empty(&path, "ann", "k").await.expect_problem(400, "COUPON_NOT_OPEN");
    assert_eq!(refused.body["opensAt"], "2100-01-01T00:00:00Z");
    let late = client.coupon(&json!({"issueEndsAt": "2001-01-01T00:00:00Z"})).await;
    let refused = client.post_empty(&format!("/api/coupons/{late}/issue"), "ann", "l").await;
    assert_eq!(refused.expect_problem(400, "COUPON_NOT_OPEN").body["closedAt"], "2001-01-01T00:00:00Z");
    // The refusal was not recorded: the same key may try again.
    let open = json!({"issueStartsAt": "2001-01-01T00:00:00Z"});
    client.admin(Method::PATCH, &format!("/admin/coupons/{early}"), "open", &open).await.expect(200);
    let issued = client.post_empty(&path, "ann", "k").await.expect(201);
    assert!(!issued.is_replayed());
}

#[tokio::test]
async fn operators_change_how_many_there_are_and_take_a_coupon_away() {
    let shop = Shop::start("coupon-admin").await;
    let client = &shop.client;
    let product = client.product("Pin", 300, 10).await;
    let coupon = client.coupon(&json!({"totalQuantity": 2})).await;
    let (path, issue) = (format!("/admin/coupons/{coupon}"), format!("/api/coupons/{coupon}/issue"));
    client.issue("ann", coupon).await;
    client.issue("bob", coupon).await;
    client.post_empty(&issue, "cid", "c").await.expect_problem(409, "COUPON_SOLD_OUT");
    // Never below what was issued.
    let less = json!({"totalQuantity": 1});
    client.admin(Method::PATCH, &path, "less", &less).await.expect_problem(400, "INVALID_INPUT");
    let more = client.admin(Method::PATCH, &path, "more", &json!({"totalQuantity": 3})).await.expect(200);
    assert_eq!((&more.body["totalQuantity"], &more.body["remainingQuantity"]), (&json!(3), &json!(1)));
    let again = client.admin(Method::PATCH, &path, "more", &json!({"totalQuantity": 3})).await.expect(200);
    assert_eq!((again.is_replayed(), again.body), (true, more.body));
    client.post_empty(&issue, "cid", "c").await.expect(201);

    client.admin(Method::PATCH, &path, "gone", &json!({"status": "DELETED"})).await.expect(200);
    client.post_empty(&issue, "dan", "d").await.expect_problem(404, "COUPON_NOT_FOUND");
    eventually("the coupon is off the list", async || listed(client, coupon).await.is_none().then_some(())).await;
    // Those who hold it keep it.
    assert_eq!(client.coupons_of("ann", "available").await, [coupon]);
    client.charge("ann", 1_000).await;
    let order = client.post("/api/orders", "ann", "o", &with_coupons(&[product], &[coupon])).await.expect(201);
    assert_eq!(order.body["finalAmount"], 200);
    shop.check_books().await;
    let row = "SELECT total_quantity FROM coupons WHERE status = 'DELETED' AND version = 3";
    assert_eq!(shop.count(row).await, 3);
}

#[tokio::test]
async fn bad_coupons_are_not_created() {
    let shop = Shop::start("coupon-bad").await;
    let client = &shop.client;
    let product = client.product("Pin", 300, 10).await;
    let good = json!({"name": "x", "type": "CART", "discountType": "FIXED", "discountValue": 1, "totalQuantity": 1,
        "validDays": 1});
    for (member, value) in [
        ("name", json!("")),
        ("name", json!("a\u{0}")),
        ("type", json!("GIFT")),
        ("type", json!("CART_ITEM")),
        ("productId", json!(product)),
        ("discountType", json!("HALF")),
        ("discountValue", json!(0)),
        ("discountValue", json!(-1)),
        ("discountValue", json!(9_007_199_254_740_992_u64)),
        ("maxDiscount", json!(0)),
        ("minOrderAmount", json!(-1)),
        ("totalQuantity", json!(0)),
        ("validDays", json!(0)),
        ("validDays", json!(36_501)),
        ("issueStartsAt", json!("soon")),
        ("colour", json!("red")),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let reply = client.admin(Method::POST, "/admin/coupons", &unique("c"), &body).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{body}: {}", reply.body);
    }
    let mut all = good.clone();
    (all["discountType"], all["discountValue"]) = (json!("PERCENT"), json!(101));
    client.admin(Method::POST, "/admin/coupons", "p", &all).await.expect_problem(400, "INVALID_INPUT");
    let mut backwards = good.clone();
    backwards["issueStartsAt"] = json!("2030-01-02T00:00:00Z");
    backwards["issueEndsAt"] = json!("2030-01-01T00:00:00Z");
    client.admin(Method::POST, "/admin/coupons", "b", &backwards).await.expect_problem(400, "INVALID_INPUT");
    let mut unknown = good.clone();
    (unknown["type"], unknown["productId"]) = (json!("CART_ITEM"), json!(4242));
    client.admin(Method::POST, "/admin/coupons", "u", &unknown).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    // What a coupon is worth never changes: people hold it.
    let coupon = client.coupon(&json!({})).await;
    for member in ["type", "discountType", "discountValue", "maxDiscount", "minOrderAmount", "productId"] {
        let reply =
            client.admin(Method::PATCH, &format!("/admin/coupons/{coupon}"), &unique("p"), &json!({member: 5})).await;
        reply.expect_problem(400, "INVALID_INPUT");
    }
    let nobody = json!({"totalQuantity": 5});
    client.admin(Method::PATCH, "/admin/coupons/4242", "n", &nobody).await.expect_problem(404, "COUPON_NOT_FOUND");
}

#[tokio::test]
async fn every_kind_of_discount_takes_off_what_it_says() {
    let shop = Shop::start("coupon-kinds").await;
    let client = &shop.client;
    let product = client.product("Pin", 999, 100).await;
    client.charge("ann", 100_000).await;
    for (terms, discount) in [
        (json!({"discountValue": 100}), 100),
        (json!({"discountValue": 5_000}), 999),
        (json!({"discountType": "PERCENT", "discountValue": 10}), 99),
        (json!({"discountType": "PERCENT", "discountValue": 10, "maxDiscount": 50}), 50),
        (json!({"discountType": "PERCENT", "discountValue": 100}), 999),
        (json!({"discountValue": 100, "maxDiscount": 70}), 70),
        (json!({"discountValue": 100, "minOrderAmount": 999}), 100),
        (json!({"type": "CART_ITEM", "productId": product, "discountType": "PERCENT", "discountValue": 33}), 329),
    ] {
        let coupon = client.coupon(&terms).await;
        client.issue("ann", coupon).await;
        let mut body = with_coupons(&[product], &[coupon]);
        body["finalAmount"] = json!(999 - discount);
        let order = client.post("/api/orders", "ann", &unique("k"), &body).await;
        assert_eq!(order.status, 201, "{terms}: {}", order.body);
        let sums = (&order.body["totalAmount"], &order.body["discountAmount"], &order.body["finalAmount"]);
        assert_eq!(sums, (&json!(999), &json!(discount), &json!(999 - discount)), "{terms}");
        assert_eq!(order.body["couponIds"], json!([coupon]));
        let of_line = if terms["type"] == "CART_ITEM" { discount } else { 0 };
        assert_eq!(order.body["items"][0]["discountAmount"], of_line, "{terms}");
        assert_eq!(order.body["items"][0]["amount"], 999 - of_line, "{terms}");
    }
    shop.check_books().await;
}

#[tokio::test]
async fn what_validate_says_is_what_the_order_costs() {
    let shop = Shop::start("coupon-validate").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 1_000, 10).await, client.product("Cap", 333, 10).await);
    let of_pin = json!({"type": "CART_ITEM", "productId": pin, "discountType": "PERCENT", "discountValue": 10});
    let percent = json!({"discountType": "PERCENT", "discountValue": 15, "maxDiscount": 200});
    let coupons = [
        client.coupon(&json!({"discountValue": 500})).await,
        client.coupon(&percent).await,
        client.coupon(&of_pin).await,
    ];
    for user in ["ann", "bob"] {
        client.charge(user, 10_000).await;
        for coupon in coupons {
            client.issue(user, coupon).await;
        }
    }
    let items = json!([{"productId": pin, "quantity": 3}, {"productId": cap, "quantity": 1}]);
    let validate =
        async |user: &str, body: Value| client.post("/api/coupons/validate", user, &unique("v"), &body).await;
    // Of the line first: 300. Then off the rest 500, then 15 percent of what is left, at most 200.
    let by_items = validate("ann", json!({"couponIds": coupons, "items": items})).await.expect(200);
    assert_eq!(by_items.body, json!({"discountAmount": 1_000, "finalAmount": 2_333}));
    let body = json!({"couponIds": coupons, "items": items, "finalAmount": 2_333});
    let order = client.post("/api/orders", "ann", "k", &body).await.expect(201).body;
    assert_eq!((&order["totalAmount"], &order["discountAmount"]), (&json!(3_333), &json!(1_000)));
    assert_eq!((&order["finalAmount"], &order["remainingBalance"]), (&json!(2_333), &json!(7_667)));
    assert_eq!((&order["items"][0]["discountAmount"], &order["items"][0]["amount"]), (&json!(300), &json!(2_700)));
    assert_eq!((&order["items"][1]["discountAmount"], &order["items"][1]["amount"]), (&json!(0), &json!(333)));

    let by_amount = validate("bob", json!({"couponIds": coupons[..2], "orderAmount": 3_333})).await.expect(200);
    assert_eq!(by_amount.body, json!({"discountAmount": 700, "finalAmount": 2_633}));
    let body = json!({"couponIds": coupons[..2], "items": items, "finalAmount": 2_633});
    client.post("/api/orders", "bob", "k", &body).await.expect(201);
    for bad in [
        json!({"couponIds": [], "items": items, "orderAmount": 5}),
        json!({"couponIds": []}),
        json!({"couponIds": [], "items": []}),
        json!({"couponIds": [], "orderAmount": -1}),
        json!({"couponIds": [], "orderAmount": 9_007_199_254_740_992_u64}),
        json!({"orderAmount": 5}),
        json!({"couponIds": [1, 1], "orderAmount": 5}),
    ] {
        let reply = validate("ann", bad.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{bad}: {}", reply.body);
    }
    let unknown = validate("ann", json!({"couponIds": [], "items": [{"productId": 4242, "quantity": 1}]})).await;
    unknown.expect_problem(404, "PRODUCT_NOT_FOUND");
    shop.check_books().await;
}

#[tokio::test]
async fn a_coupon_that_does_not_fit_says_which_and_why() {
    let shop = Shop::start("coupon-reasons").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 100, 10).await, client.product("Cap", 100, 10).await);
    client.charge("ann", 10_000).await;
    let of = |product: u64| json!({"type": "CART_ITEM", "productId": product, "discountValue": 10});
    let foreign = client.coupon(&json!({})).await;
    client.issue("bob", foreign).await;
    let mut mine = Vec::new();
    for terms in [json!({}), json!({}), json!({"minOrderAmount": 101}), json!({}), json!({}), json!({})] {
        mine.push(client.coupon(&terms).await);
    }
    for terms in [of(cap), of(pin), of(pin)] {
        mine.push(client.coupon(&terms).await);
    }
    for coupon in &mine {
        client.issue("ann", *coupon).await;
    }
    let [used, expired, large, first, second, third, of_cap, of_pin, also_of_pin] = mine[..] else { unreachable!() };
    client.post("/api/orders", "ann", "use", &with_coupons(&[pin], &[used])).await.expect(201);
    shop.check_books().await;
    let_expire(&shop, "ann", expired).await;
    let before = client.balance("ann").await;
    for (coupons, culprit, reason) in [
        (vec![4242], 4242, "NOT_OWNED"),
        (vec![first, foreign], foreign, "NOT_OWNED"),
        (vec![used], used, "ALREADY_USED"),
        (vec![first, expired], expired, "EXPIRED"),
        (vec![large], large, "BELOW_MINIMUM_ORDER"),
        (vec![first, second, third], third, "TOO_MANY_CART_COUPONS"),
        (vec![of_cap], of_cap, "PRODUCT_NOT_IN_ORDER"),
        (vec![of_pin, also_of_pin], also_of_pin, "TOO_MANY_ITEM_COUPONS"),
    ] {
        let body = with_coupons(&[pin], &coupons);
        for path in ["/api/orders", "/api/coupons/validate"] {
            let refused = client.post(path, "ann", &unique("k"), &body).await.expect_problem(400, "INVALID_COUPON");
            let told = (&refused.body["couponId"], &refused.body["reason"]);
            assert_eq!(told, (&json!(culprit), &json!(reason)), "{path}: {}", refused.body);
        }
    }
    let twice = with_coupons(&[pin], &[first, first]);
    client.post("/api/orders", "ann", "twice", &twice).await.expect_problem(400, "INVALID_INPUT");
    // Nothing was done by halves: neither money nor stock nor a coupon that would have been good.
    assert_eq!((client.balance("ann").await, shop.stock(pin).await), (before, 9));
    let all_good = with_coupons(&[pin, cap], &[first, of_cap, second, of_pin]);
    client.post("/api/orders", "ann", "good", &all_good).await.expect(201);
}

#[tokio::test]
async fn a_used_coupon_is_used_up_until_its_order_is_given_up() {
    let shop = Shop::start("coupon-back").await;
    let client = &shop.client;
    let product = client.product("Pin", 300, 10).await;
    client.charge("ann", 1_000).await;
    let coupon = client.coupon(&json!({})).await;
    client.issue("ann", coupon).await;
    let body = with_coupons(&[product], &[coupon]);
    let order = client.post("/api/orders", "ann", "first", &body).await.expect(201).text("orderId");
    assert_eq!(client.coupons_of("ann", "used").await, [coupon]);
    let used = format!("SELECT order_id FROM user_coupons WHERE status = 'USED' AND coupon_id = {coupon}");
    assert_eq!(shop.count(&used).await.to_string(), order);
    client.post("/api/orders", "ann", "second", &body).await.expect_problem(400, "INVALID_COUPON");

    client.cancel("ann", "cancel", &order).await.expect(200);
    assert_eq!(client.coupons_of("ann", "available").await, [coupon]);
    let free = "SELECT count(*) FROM user_coupons WHERE status = 'AVAILABLE' AND order_id IS NULL";
    assert_eq!(shop.count(free).await, 1);
    // The refusal was not recorded: the same key may try again.
    client.post("/api/orders", "ann", "second", &body).await.expect(201);
    assert_eq!(client.balance("ann").await, (800, 200));
    shop.check_books().await;
}

#[tokio::test]
async fn thirty_two_orders_at_once_use_one_coupon_once() {
    let shop = Shop::start("coupon-race").await;
    let client = &shop.client;
    let product = client.product("Pin", 300, 100).await;
    client.charge("ann", 100_000).await;
    let coupon = client.coupon(&json!({})).await;
    client.issue("ann", coupon).await;
    let body = with_coupons(&[product], &[coupon]);
    let body = &body;
    let orders = (0..32).map(|i| async move { client.post("/api/orders", "ann", &format!("k{i}"), body).await });
    let replies = futures::future::join_all(orders).await;
    assert_eq!(tally(&replies), "1 x 201, 31 x 400 INVALID_COUPON");
    assert_eq!((client.balance("ann").await, shop.stock(product).await), ((99_800, 200), 99));
    shop.check_books().await;
}

#[tokio::test]
async fn an_order_that_coupons_make_free_needs_no_balance() {
    let shop = Shop::start("coupon-free").await;
    let client = &shop.client;
    let product = client.product("Pin", 300, 1).await;
    let coupon = client.coupon(&json!({"discountType": "PERCENT", "discountValue": 100})).await;
    client.issue("ann", coupon).await;
    let order = client.post("/api/orders", "ann", "k", &with_coupons(&[product], &[coupon])).await.expect(201);
    assert_eq!((&order.body["status"], &order.body["finalAmount"]), (&json!("CONFIRMED"), &json!(0)));
    assert_eq!(client.balance("ann").await, (0, 0));
    client.order("bob", "k", product, 1).await.expect_problem(400, "INSUFFICIENT_STOCK");
    shop.check_books().await;
}
