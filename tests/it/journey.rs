//! The journey of orders: HTTP → Redis → log → PostgreSQL, and what many buyers see at once.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::json;

use crate::support::shop::{Shop, one_item, unique};

/// Requests under way at once in the crowded tests.
const CONCURRENT: usize = 64;

#[tokio::test]
async fn an_order_travels_from_http_to_postgresql() {
    let shop = Shop::start("journey").await;
    let client = &shop.client;
    let (apple, pear) = (client.product("Apple", 300, 10).await, client.product("Pear", 500, 5).await);
    client.charge("ann", 10_000).await;
    let body = json!({
        "items": [{"productId": apple, "quantity": 2}, {"productId": pear, "quantity": 1}],
        "finalAmount": 1100,
        "shippingAddress": {"recipient": "Ann", "phone": "1", "line1": "Street 1", "postalCode": "12345", "country": "KR"},
    });
    let placed = client.post("/api/orders", "ann", "key-1", &body).await.expect(201);
    assert_eq!(placed.header("idempotency-key"), "key-1");
    assert_eq!(placed.header("idempotent-replayed"), "");
    let order = &placed.body;
    assert_eq!(order["status"], "CONFIRMED");
    assert_eq!(order["totalAmount"], 1100);
    assert_eq!(order["finalAmount"], 1100);
    assert_eq!(order["remainingBalance"], 8900);
    assert_eq!(order["items"][1]["amount"], 500);
    assert_eq!(order["shippingAddress"]["recipient"], "Ann");
    assert_eq!(order["paymentMethod"], "BALANCE");

    // Readable at once, and the same after PostgreSQL has it.
    let id = order["orderId"].as_str().expect("ids are strings").to_owned();
    let path = format!("/api/orders/{id}");
    let from_log = client.get(&path, Some("ann")).await.expect(200);
    assert_eq!(from_log.body["items"], order["items"]);
    assert_eq!(from_log.body["sync"]["synced"], false);
    client.get(&path, Some("bob")).await.expect_problem(404, "ORDER_NOT_FOUND");
    shop.check_books().await;
    let list = client.get("/api/orders?status=CONFIRMED", Some("ann")).await.expect(200);
    assert_eq!(list.body["orders"].as_array().map(Vec::len), Some(1));
    assert_eq!(list.body["orders"][0], from_log.body);
    assert!(list.body["nextCursor"].is_null());

    let balance = client.get("/api/users/me/balance", Some("ann")).await.expect(200);
    assert_eq!(balance.body, json!({"userId": "ann", "balance": 8900, "usedTotal": 1100}));
    let ledger = client.get("/api/users/me/balance/transactions?limit=1", Some("ann")).await.expect(200);
    let newest = &ledger.body["transactions"][0];
    assert_eq!((&newest["type"], &newest["amount"], &newest["orderId"]), (&json!("PAYMENT"), &json!(1100), &json!(id)));
    let cursor = ledger.body["nextCursor"].as_str().expect("there is more");
    let path = format!("/api/users/me/balance/transactions?limit=1&cursor={cursor}");
    let rest = client.get(&path, Some("ann")).await.expect(200);
    assert_eq!(rest.body["transactions"][0]["type"], "CHARGE");
    assert!(rest.body["nextCursor"].is_null());
}

#[tokio::test]
async fn the_ranking_moves_with_the_sales() {
    let shop = Shop::start("ranking").await;
    let client = &shop.client;
    let (slow, fast) = (client.product("Slow", 100, 100).await, client.product("Fast", 100, 100).await);
    client.charge("ann", 100_000).await;
    client.order("ann", "a", slow, 2).await.expect(201);
    client.order("ann", "b", fast, 5).await.expect(201);
    let mut last = json!(null);
    for _ in 0..100 {
        last = client.get("/api/products/popular?days=3&limit=5", None).await.expect(200).body;
        if last["products"].as_array().is_some_and(|products| products.len() == 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(last["products"][0]["productId"], fast);
    assert_eq!(last["products"][0]["soldQuantity"], 5);
    assert_eq!(last["products"][1]["rank"], 2);
    assert_eq!(last["period"]["days"], 3);
    shop.check_books().await;
}

#[tokio::test]
async fn operators_change_products_and_stock() {
    let shop = Shop::start("admin").await;
    let client = &shop.client;
    let id = client.product("Lamp", 1000, 3).await;
    let path = format!("/admin/products/{id}");
    let changed = json!({"price": 900, "limitPerUser": 2, "saleStartsAt": "2100-01-01T00:00:00Z"});
    let reply = client.admin(Method::PATCH, &path, "p1", &changed).await.expect(200);
    assert_eq!((&reply.body["price"], &reply.body["limitPerUser"]), (&json!(900), &json!(2)));
    client.charge("ann", 10_000).await;
    let early = client.order("ann", "early", id, 1).await.expect_problem(400, "SALE_NOT_OPEN");
    assert_eq!(early.body["opensAt"], "2100-01-01T00:00:00Z");
    client.admin(Method::PATCH, &path, "p2", &json!({"saleStartsAt": null})).await.expect(200);
    // The refusal was not recorded: the same key may try again.
    client.order("ann", "early", id, 1).await.expect(201);
    let too_many = client.order("ann", "more", id, 2).await.expect_problem(400, "EXCEEDED_LIMITED_QUANTITY");
    assert_eq!(too_many.body["alreadyBought"], 1);

    let stock = format!("{path}/stock");
    let reply = client.admin(Method::POST, &stock, "s1", &json!({"delta": 5})).await.expect(200);
    assert_eq!(reply.body, json!({"productId": id, "stock": 7}));
    let again = client.admin(Method::POST, &stock, "s1", &json!({"delta": 5})).await.expect(200);
    assert_eq!((again.body["stock"].as_u64(), again.header("idempotent-replayed")), (Some(7), "true"));
    let seen = client.get(&format!("/api/products/{id}/stock"), None).await.expect(200);
    assert_eq!(seen.body["stock"], 7);
    client.admin(Method::POST, &stock, "s2", &json!({"delta": -8})).await.expect_problem(400, "INSUFFICIENT_STOCK");
    client.admin(Method::POST, "/admin/products/77/stock", "s3", &json!({"delta": 1})).await.expect(404);

    client.admin(Method::PATCH, &path, "p3", &json!({"status": "DELETED"})).await.expect(200);
    client.get(&format!("/api/products/{id}"), None).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    client.order("ann", "gone", id, 1).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    shop.check_books().await;
}

#[tokio::test]
async fn lists_come_in_pages_without_gaps() {
    let shop = Shop::start("pages").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 100).await;
    for i in 0..6 {
        client.product(&format!("Other {i}"), 1, 1).await;
    }
    client.charge("ann", 10_000).await;
    let mut placed = Vec::new();
    for i in 0..7 {
        let reply = client.order("ann", &format!("k{i}"), product, 1).await.expect(201);
        placed.insert(0, reply.body["orderId"].clone());
    }
    shop.wait_written().await;
    for (path, name, id) in
        [("/api/orders?limit=3", "orders", "orderId"), ("/api/products?limit=3", "products", "productId")]
    {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("{path}{cursor}"), Some("ann")).await.expect(200).body;
            seen.extend(page[name].as_array().expect("a list").iter().map(|item| item[id].clone()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let expected = if name == "orders" { placed.clone() } else { (1..=7).map(|i| json!(i)).collect() };
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test]
async fn ten_thousand_users_on_a_hundred_units_buy_exactly_a_hundred() {
    let shop = Shop::start("crowd").await;
    let product = shop.client.product("Hot", 0, 100).await;
    let replies = stream::iter(0..10_000).map(|user| {
        let client = shop.client.clone();
        async move { client.order(&format!("user-{user}"), "rush", product, 1).await }
    });
    let replies: Vec<_> = replies.buffer_unordered(CONCURRENT).collect().await;
    let sold = replies.iter().filter(|reply| reply.status == 201).count();
    let refused = replies.iter().filter(|reply| reply.code() == "INSUFFICIENT_STOCK").count();
    assert_eq!((sold, refused), (100, 9_900));
    shop.check_books().await;
    let rows = shop.database().await.query_one("SELECT count(*) FROM orders", &[]).await.expect("orders");
    assert_eq!(rows.get::<_, i64>(0), 100);
}

#[tokio::test]
async fn a_thousand_units_for_a_thousand_buyers_sell_out_exactly() {
    let shop = Shop::start("sellout").await;
    let product = shop.client.product("Hot", 50, 1_000).await;
    let replies = stream::iter(0..1_000).map(|user| {
        let client = shop.client.clone();
        async move {
            let user = format!("user-{user}");
            client.charge(&user, 100).await;
            client.order(&user, "rush", product, 1).await.status
        }
    });
    let statuses: Vec<_> = replies.buffer_unordered(CONCURRENT).collect().await;
    assert!(statuses.iter().all(|status| *status == 201), "every buyer gets one");
    shop.check_books().await;
    let stock = format!("/api/products/{product}/stock");
    let mut left = json!(null);
    for _ in 0..100 {
        left = shop.client.get(&stock, None).await.expect(200).body["stock"].clone();
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0);
    assert_eq!(shop.client.order("late", "late", product, 1).await.code(), "INSUFFICIENT_STOCK");
}

#[tokio::test]
async fn sixty_four_equal_requests_with_one_key_make_one_order() {
    let shop = Shop::start("one-key").await;
    let product = shop.client.product("Hot", 100, 1_000).await;
    shop.client.charge("ann", 100_000).await;
    let replies = stream::iter(0..64).map(|_| {
        let client = shop.client.clone();
        async move { client.order("ann", "same", product, 1).await.expect(201) }
    });
    let replies: Vec<_> = replies.buffer_unordered(64).collect().await;
    let ids: HashSet<_> = replies.iter().map(|reply| reply.body["orderId"].to_string()).collect();
    let bodies: HashSet<_> = replies.iter().map(|reply| reply.body.to_string()).collect();
    let first = replies.iter().filter(|reply| reply.header("idempotent-replayed") != "true").count();
    assert_eq!((ids.len(), bodies.len(), first), (1, 1, 1), "one order, told 64 times in the same words");
    shop.check_books().await;
    // Keys are the user's own, and stand for one request.
    shop.client.order("ann", "same", product, 2).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    shop.client.charge("bob", 1_000).await;
    shop.client.order("bob", "same", product, 1).await.expect(201);
}

#[tokio::test]
async fn without_a_key_the_server_makes_one_and_names_it() {
    let shop = Shop::start("no-key").await;
    let product = shop.client.product("Pin", 0, 10).await;
    let token = crate::support::shop::bearer("ann", false);
    let url = format!("{}/api/orders", shop.client.url);
    let headers = [("authorization", token.as_str())];
    let body = one_item(product, 1);
    let first = shop.client.try_send(Method::POST, &url, &headers, Some(&body)).await.expect("an answer").expect(201);
    let key = first.header("idempotency-key").to_owned();
    assert!(!key.is_empty());
    let again = shop.client.order("ann", &key, product, 1).await.expect(201);
    assert_eq!((again.body, again.headers.get("idempotent-replayed").is_some()), (first.body, true));
    let charge = json!({"amount": 100});
    let url = format!("{}/api/users/me/balance/charge", shop.client.url);
    let reply = shop.client.try_send(Method::POST, &url, &headers, Some(&charge)).await.expect("an answer");
    reply.expect_problem(400, "INVALID_INPUT");
}

#[tokio::test]
async fn two_instances_share_one_shop() {
    let first = Shop::start("two").await;
    let second = Shop::start_on(first.backends.clone(), &[]).await;
    let product = first.client.product("Hot", 0, 500).await;
    let replies = stream::iter(0..1_000).map(|user| {
        let client = if user % 2 == 0 { first.client.clone() } else { second.client.clone() };
        async move { client.order(&format!("user-{user}"), &unique("k"), product, 1).await.status }
    });
    let statuses: Vec<_> = replies.buffer_unordered(CONCURRENT).collect().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 500);
    first.check_books().await;
}
