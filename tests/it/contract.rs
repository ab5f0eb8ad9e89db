//! Bad input of every kind gets the right 4xx and leaves nothing behind: never a 5xx, a panic or a half-done order.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::shop::{Backends, Client, Reply, Shop, bearer, one_item, unique};

/// Sends a raw body.
async fn raw(client: &Client, method: Method, path: &str, token: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = reqwest::Client::new()
        .request(method, format!("{}{path}", client.url))
        .header("authorization", token)
        .header("idempotency-key", unique("raw"))
        .body(body.into());
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.expect("a body");
    Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

#[tokio::test]
async fn bad_bodies_are_400_and_change_nothing() {
    let shop = Shop::start("bad-bodies").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    let token = bearer("ann", false);
    let item = |quantity: &str| format!(r#"{{"items":[{{"productId":{product},"quantity":{quantity}}}]}}"#);
    let too_many: Vec<Value> = (1..=51).map(|i| json!({"productId": i, "quantity": 1})).collect();
    let orders: Vec<String> = vec![
        String::new(),
        "{".into(),
        "null".into(),
        "[]".into(),
        "\"text\"".into(),
        "{\"items\":".into(),
        "{\"items\":[]}".into(),
        "{\"items\":null,\"items\":null}".into(),
        "{\"items\":{}}".into(),
        "{\"items\":[1]}".into(),
        format!("{{\"items\":[[{product},1]]}}"),
        "{\"items\":[{\"productId\":1}]}".into(),
        item("0"),
        item("-1"),
        item("1.5"),
        item("\"1\""),
        item("null"),
        item("true"),
        item("1001"),
        item("4294967297"),
        item("99999999999999999999999999"),
        item("1e400"),
        item("NaN"),
        item("1").replace('}', ",\"price\":1}"),
        item("1").replace("\"items\"", "\"user\":\"bob\",\"items\""),
        item("1").replace("\"items\"", "\"finalAmount\":-5,\"items\""),
        item("1").replace("\"items\"", "\"payment\":\"GOLD\",\"items\""),
        item("1").replace("\"items\"", "\"shippingAddress\":{\"recipient\":\"A\"},\"items\""),
        json!({"items": [{"productId": product, "quantity": 1}, {"productId": product, "quantity": 1}]}).to_string(),
        json!({"items": too_many}).to_string(),
        json!({"items": [{"productId": product, "quantity": 1}], "shippingAddress": {"recipient": "A\u{0}", "phone": "1",
            "line1": "x", "postalCode": "1", "country": "KR"}})
        .to_string(),
        json!({"items": [{"productId": product, "quantity": 1}], "shippingAddress": {"recipient": "A".repeat(201),
            "phone": "1", "line1": "x", "postalCode": "1", "country": "KR"}})
        .to_string(),
        format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
    ];
    for body in orders {
        let reply = raw(&shop.client, Method::POST, "/api/orders", &token, body.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{body}: {}", reply.body);
    }
    let not_utf8 =
        raw(&shop.client, Method::POST, "/api/orders", &token, vec![b'{', b'"', 0xff, 0xfe, b'"', b'}']).await;
    not_utf8.expect_problem(400, "INVALID_INPUT");
    let charge = "/api/users/me/balance/charge";
    for amount in ["0", "-100", "150", "1000100", "9007199254740993", "-9223372036854775808"] {
        let reply = raw(&shop.client, Method::POST, charge, &token, format!("{{\"amount\":{amount}}}")).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_AMOUNT"), "{amount}: {}", reply.body);
    }
    for amount in ["1.5", "\"100\"", "null", "1e99", "9223372036854775808"] {
        let reply = raw(&shop.client, Method::POST, charge, &token, format!("{{\"amount\":{amount}}}")).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{amount}: {}", reply.body);
    }
    let unknown = json!({"items": [{"productId": 4_000_000_000_u32, "quantity": 1}]}).to_string();
    raw(&shop.client, Method::POST, "/api/orders", &token, unknown).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    assert_untouched(&shop, product).await;
}

/// Ann still has her 1,000 and nothing was sold.
async fn assert_untouched(shop: &Shop, product: u64) {
    let balance = shop.client.get("/api/users/me/balance", Some("ann")).await.expect(200);
    assert_eq!((&balance.body["balance"], &balance.body["usedTotal"]), (&json!(1_000), &json!(0)));
    let stock = shop.client.get(&format!("/api/products/{product}/stock"), None).await.expect(200);
    assert_eq!(stock.body["stock"], 10);
    assert!(shop.metric("flashsale_http_requests_total", "listener=\"public\"&status=\"5").await < 1.0, "5xx answers");
}

#[tokio::test]
async fn bodies_headers_and_keys_have_limits() {
    let shop = Shop::start("limits").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    let token = bearer("ann", false);
    let megabyte = format!("{{\"items\":\"{}\"}}", "x".repeat(1_000_000));
    raw(&shop.client, Method::POST, "/api/orders", &token, megabyte).await.expect_problem(413, "PAYLOAD_TOO_LARGE");
    // Without a length, so that only reading finds out.
    let head =
        format!("POST /api/orders HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let answer = talk(&shop.client, &[head.as_bytes(), chunk.as_bytes(), chunk.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let long = format!("GET /api/products HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    let answer = talk(&shop.client, &[long.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");

    let url = format!("{}/api/orders", shop.client.url);
    for key in [String::new(), "with space".into(), "x".repeat(256), "käse".into()] {
        let headers = [("authorization", token.as_str()), ("idempotency-key", key.as_str())];
        let reply = shop.client.try_send(Method::POST, &url, &headers, Some(&one_item(product, 1))).await;
        reply.expect("an answer").expect_problem(400, "INVALID_INPUT");
    }
    for query in ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=-1"] {
        shop.client.get(&format!("/api/products?{query}"), None).await.expect_problem(400, "INVALID_INPUT");
        shop.client.get(&format!("/api/orders?{query}"), Some("ann")).await.expect_problem(400, "INVALID_INPUT");
    }
    for query in ["days=0", "days=31", "days=-1", "limit=1000"] {
        shop.client.get(&format!("/api/products/popular?{query}"), None).await.expect_problem(400, "INVALID_INPUT");
    }
    shop.client.get("/api/orders?status=NICE", Some("ann")).await.expect_problem(400, "INVALID_INPUT");
    for id in ["0", "x", "-1", "99999999999999999999", "1.0", "%00", "18446744073709551616"] {
        shop.client.get(&format!("/api/orders/{id}"), Some("ann")).await.expect_problem(404, "ORDER_NOT_FOUND");
        shop.client.get(&format!("/api/products/{id}"), None).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    }
    assert_untouched(&shop, product).await;
}

/// Writes raw bytes, one part after the other, and returns what comes back.
async fn talk(client: &Client, parts: &[&[u8]]) -> String {
    let address = client.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    for part in parts {
        // The server may have answered and closed already.
        let _ = stream.write_all(part).await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
        if answer.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_and_broken_clients_are_let_go() {
    let settings = [("HTTP_HEADER_TIMEOUT_MS", "300"), ("HTTP_BODY_TIMEOUT_MS", "300")];
    let shop = Shop::start_on(Backends::shared("slow").await, &settings).await;
    let token = bearer("ann", false);
    let body =
        format!("POST /api/orders HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 100\r\n\r\n{{");
    let answer = talk(&shop.client, &[body.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // Half a head: closed without an answer to a request that never was.
    let mut stream = TcpStream::connect(shop.client.url.trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(b"GET /api/products HTTP/1.1\r\nhost:").await.expect("written");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    closed.expect("the connection is closed").expect("closed in order");
    let garbage = talk(&shop.client, &[b"\x16\x03\x01 hello\r\n\r\n"]).await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    shop.client.get("/api/products", None).await.expect(200);
}

#[tokio::test]
async fn tokens_and_roles_are_checked_on_every_route() {
    let shop = Shop::start("tokens").await;
    let user_routes = [
        (Method::GET, "/api/users/me/balance"),
        (Method::POST, "/api/users/me/balance/charge"),
        (Method::GET, "/api/users/me/balance/transactions"),
        (Method::POST, "/api/orders"),
        (Method::GET, "/api/orders"),
        (Method::GET, "/api/orders/5"),
        (Method::POST, "/api/orders/5/cancel"),
        (Method::POST, "/api/payments"),
        (Method::GET, "/api/cart"),
        (Method::DELETE, "/api/cart"),
        (Method::POST, "/api/cart/items"),
        (Method::PUT, "/api/cart/items/1"),
        (Method::DELETE, "/api/cart/items/1"),
        (Method::POST, "/api/coupons/1/issue"),
        (Method::POST, "/api/coupons/validate"),
        (Method::GET, "/api/users/me/coupons"),
        (Method::POST, "/api/products/1/restock-notifications"),
    ];
    let good = bearer("ann", false);
    let tampered = format!("{good}x");
    let bad_tokens = ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer a.b.c", tampered.as_str()];
    for (method, path) in user_routes {
        let url = format!("{}{path}", shop.client.url);
        let bare = shop.client.try_send(method.clone(), &url, &[], None).await.expect("an answer");
        assert_eq!(bare.header("www-authenticate"), "Bearer");
        bare.expect_problem(401, "UNAUTHORIZED");
        for token in bad_tokens {
            let headers = [("authorization", token)];
            let reply = shop.client.try_send(method.clone(), &url, &headers, None).await.expect("an answer");
            reply.expect_problem(401, "UNAUTHORIZED");
        }
    }
    let admin_routes = [
        (Method::POST, "/admin/products"),
        (Method::PATCH, "/admin/products/1"),
        (Method::POST, "/admin/products/1/stock"),
        (Method::POST, "/admin/coupons"),
        (Method::PATCH, "/admin/coupons/1"),
        (Method::POST, "/admin/orders/1/settle"),
        (Method::GET, "/admin/verify"),
        (Method::GET, "/admin/dead-letters"),
        (Method::POST, "/admin/dead-letters/replay"),
        (Method::POST, "/admin/dead-letters/platform-1/replay"),
    ];
    let admin = bearer("boss", true);
    for (method, path) in admin_routes {
        let on = |base: &str| format!("{base}{path}");
        let headers = [("authorization", good.as_str())];
        let reply = shop.client.try_send(method.clone(), &on(&shop.client.ops_url), &headers, None).await;
        reply.expect("an answer").expect_problem(403, "FORBIDDEN");
        let reply = shop.client.try_send(method.clone(), &on(&shop.client.ops_url), &[], None).await;
        reply.expect("an answer").expect_problem(401, "UNAUTHORIZED");
        // The public listener knows nothing of them, whoever asks.
        let headers = [("authorization", admin.as_str())];
        let reply = shop.client.try_send(method, &on(&shop.client.url), &headers, None).await;
        reply.expect("an answer").expect_problem(404, "NOT_FOUND");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/admin/verify", "/nothing", "/api", "/api/orders/1/2/3"] {
        shop.client.get(path, Some("ann")).await.expect_problem(404, "NOT_FOUND");
    }
    let reply = shop.client.try_send(Method::DELETE, &format!("{}/api/orders", shop.client.url), &[], None).await;
    assert_eq!(reply.expect("an answer").expect_problem(405, "METHOD_NOT_ALLOWED").header("allow"), "GET, POST");
}

#[tokio::test]
async fn bad_admin_input_is_refused() {
    let shop = Shop::start("bad-admin").await;
    let product = shop.client.product("Pin", 100, 10).await;
    let create = [
        json!({"name": "", "price": 1, "stock": 1}),
        json!({"name": "a\u{7}", "price": 1, "stock": 1}),
        json!({"name": "a".repeat(201), "price": 1, "stock": 1}),
        json!({"name": "a", "price": -1, "stock": 1}),
        json!({"name": "a", "price": 9_007_199_254_740_992_u64, "stock": 1}),
        json!({"name": "a", "price": 1, "stock": 1, "limitPerUser": 0}),
        json!({"name": "a", "price": 1}),
        json!({"name": "a", "price": 1, "stock": 1, "saleStartsAt": "tomorrow"}),
        json!({"name": "a", "price": 1, "stock": 1, "saleStartsAt": "2030-01-02T00:00:00Z", "saleEndsAt": "2030-01-01T00:00:00Z"}),
        json!({"name": "a", "price": 1, "stock": 1, "saleStartsAt": "-009000-01-01T00:00:00Z"}),
        json!({"name": "a", "price": 1, "stock": 1, "colour": "red"}),
    ];
    for body in create {
        let reply = shop.client.admin(Method::POST, "/admin/products", &unique("c"), &body).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{body}: {}", reply.body);
    }
    let stock = format!("/admin/products/{product}/stock");
    for delta in [json!(0), json!("1"), json!(1.5), json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_991_i64)]
    {
        let reply = shop.client.admin(Method::POST, &stock, &unique("s"), &json!({"delta": delta})).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{delta}: {}", reply.body);
    }
    let patch = json!({"stock": 5});
    let reply = shop.client.admin(Method::PATCH, &format!("/admin/products/{product}"), &unique("p"), &patch).await;
    reply.expect_problem(400, "INVALID_INPUT");
}

#[tokio::test]
async fn problems_speak_korean_when_asked() {
    let shop = Shop::start("korean").await;
    let product = shop.client.product("노트북", 100, 2).await;
    let token = bearer("ann", false);
    let url = format!("{}/api/orders", shop.client.url);
    let headers = [("authorization", token.as_str()), ("accept-language", "ko-KR,ko;q=0.9,en;q=0.8")];
    let reply = shop.client.try_send(Method::POST, &url, &headers, Some(&one_item(product, 5))).await;
    let reply = reply.expect("an answer").expect_problem(400, "INSUFFICIENT_STOCK");
    assert_eq!(reply.body["number"], "P002");
    let short = json!([{"productId": product, "productName": "노트북", "requestedQuantity": 5, "availableStock": 2}]);
    assert_eq!(reply.body["insufficientItems"], short);
    assert!(reply.body["detail"].as_str().is_some_and(|detail| detail.contains("재고")), "{}", reply.body);
    let poor = shop.client.order("ann", "k", product, 2).await.expect_problem(400, "INSUFFICIENT_BALANCE");
    let amounts = (&poor.body["requiredAmount"], &poor.body["currentBalance"], &poor.body["shortfall"]);
    assert_eq!(amounts, (&json!(200), &json!(0), &json!(200)));
    assert_eq!(poor.body["number"], "PAY001");
    let seen = json!({"items": [{"productId": product, "quantity": 1}], "finalAmount": 99});
    shop.client.charge("ann", 100).await;
    let mismatch = shop.client.post("/api/orders", "ann", "m", &seen).await.expect_problem(400, "AMOUNT_MISMATCH");
    assert_eq!(mismatch.body["finalAmount"], 100);
}

#[tokio::test]
async fn a_user_who_asks_too_often_gets_429() {
    let settings = [("HTTP_USER_REQUESTS_PER_S_MAX", "5")];
    let shop = Shop::start_on(Backends::shared("rate").await, &settings).await;
    let mut refused = 0;
    for _ in 0..50 {
        let reply = shop.client.get("/api/users/me/balance", Some("ann")).await;
        if reply.status == 429 {
            refused += 1;
            reply.expect_problem(429, "TOO_MANY_REQUESTS");
        }
    }
    assert!(refused > 0, "nobody was refused");
    shop.client.get("/api/users/me/balance", Some("bob")).await.expect(200);
}

#[tokio::test]
async fn metrics_tell_of_every_step() {
    let shop = Shop::start("metrics").await;
    let product = shop.client.product("Pin", 100, 1).await;
    shop.client.charge("ann", 1_000).await;
    shop.client.order("ann", "a", product, 1).await.expect(201);
    shop.client.order("ann", "b", product, 1).await.expect_problem(400, "INSUFFICIENT_STOCK");
    shop.client.get("/api/products", None).await.expect(200);
    shop.wait_written().await;
    for (name, label) in [
        ("flashsale_http_requests_total", "route=\"POST /api/orders\",status=\"201\""),
        ("flashsale_http_request_seconds_count", "route=\"POST /api/orders\""),
        ("flashsale_http_connections", "public"),
        ("flashsale_cache_hits_total", "products"),
        ("flashsale_lane_ops_total", "op=\"place_order\",outcome=\"done\""),
        ("flashsale_lane_refusals_total", "code=\"INSUFFICIENT_STOCK\""),
        ("flashsale_lane_batch_ops_count", ""),
        ("flashsale_redis_call_seconds_count", ""),
        ("flashsale_gate_open", ""),
        ("flashsale_gate_epoch", ""),
        ("flashsale_log_entries", ""),
        ("flashsale_writer_events_total", ""),
        ("flashsale_writer_commit_seconds_count", ""),
    ] {
        reaches(&shop, name, label, |value| value >= 1.0).await;
    }
    reaches(&shop, "flashsale_writer_lag_events", "", |value| value < 1.0).await;
    reaches(&shop, "flashsale_writer_parked_events", "", |value| value < 1.0).await;
}

/// Waits for a metric: gauges of the log are looked at twice a second, and commits are counted after they are visible.
async fn reaches(shop: &Shop, name: &str, label: &str, holds: impl Fn(f64) -> bool) {
    for _ in 0..200 {
        if holds(shop.metric(name, label).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} {label}: {}", shop.metric(name, label).await);
}
