//! What can be told of one request afterwards: its id in the answer, in the log and in traces, and where its time went.

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod export;

use std::path::Path;

use flashsale::engine::user::UserId;
use reqwest::Method;
use serde_json::Value;

use crate::support::gateway::PlayedGateway;
use crate::support::proxy::Proxy;
use crate::support::shop::{Backends, Reply, Shop, bearer, eventually, one_item, payment};
use crate::support::{fresh_folder, shared_redis_port};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What a caller who traces sends.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
}

/// A post that belongs to the caller's trace.
async fn traced(shop: &Shop, path: &str, user: &str, key: &str, body: &Value, traceparent: &str) -> Reply {
    let token = bearer(user, false);
    let headers = [("authorization", token.as_str()), ("idempotency-key", key), ("traceparent", traceparent)];
    let url = format!("{}{path}", shop.client.url);
    shop.client.try_send(Method::POST, &url, &headers, Some(body)).await.expect("an answer")
}

/// The line of a log that says this of our request.
async fn logged(log: &Path, message: &str) -> Value {
    eventually(message, async || {
        let text = std::fs::read_to_string(log).expect("the log");
        // The last line may still be written.
        let (whole, _) = text.rsplit_once('\n')?;
        let mut lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object per line"));
        lines.find(|line| line["message"] == message && line["request_id"] == TRACE)
    })
    .await
}

/// What every line that belongs to a request says of it.
fn assert_request(line: &Value, route: &str, user: &str) {
    let pseudonym = UserId::parse(user).expect("a user").pseudonym().to_string();
    assert_eq!(line["route"], route, "{line}");
    assert_eq!(line["user"], pseudonym, "{line}");
    assert!(!line.to_string().contains(user), "nobody is named: {line}");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let shop = Shop::start("request-ids").await;
    let mut seen = std::collections::BTreeSet::new();
    for (path, status) in [("/api/products", 200), ("/api/products/999999", 404), ("/api/orders", 401), ("/none", 404)]
    {
        let reply = shop.client.get(path, None).await.expect(status);
        let id = reply.header("x-request-id").to_owned();
        let is_id = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(is_id && seen.insert(id.clone()), "{path}: {id}");
    }
    let url = format!("{}/api/products", shop.client.url);
    let sent = [("traceparent", traceparent("00"))];
    let reply = shop.client.try_send(Method::GET, &url, &sent.each_ref().map(|(n, v)| (*n, v.as_str())), None).await;
    assert_eq!(reply.expect("an answer").header("x-request-id"), TRACE);
    let wrong = [("traceparent", "00-zz-00f067aa0ba902b7-01")];
    let reply = shop.client.try_send(Method::GET, &url, &wrong, None).await.expect("an answer").expect(200);
    assert_eq!(reply.header("x-request-id").len(), 32, "a caller's mistake is no reason to refuse");
}

#[tokio::test]
async fn a_slow_order_says_where_its_time_went() {
    let log = fresh_folder("slow-order").join("log");
    let gateway = PlayedGateway::start().await;
    let settings = gateway.settings(&[("LOG_FORMAT", "json"), ("SLOW_ORDER_MS", "200")]);
    let shop = Shop::spawn_logging(Backends::shared("slow-order").await, &settings, &[], Some(log.clone()));
    shop.client.wait_ready().await;
    let product = shop.client.product("Hot", 500, 10).await;
    let order = shop.client.reserve("very-slow-buyer", product, 1).await;
    gateway.faults(&serde_json::json!({"mode": "slow", "delayMs": 250})).await;
    let body = payment(&order, "CARD", 500);
    traced(&shop, "/api/payments", "very-slow-buyer", "pay", &body, &traceparent("00")).await.expect(200);

    let line = logged(&log, "a slow order").await;
    assert_request(&line, "POST /api/payments", "very-slow-buyer");
    assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &200.into()), "{line}");
    assert_eq!(line["order_id"], order, "{line}");
    let ms = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
    assert!(ms("gateway_ms") >= 250.0, "{line}");
    assert!(ms("redis_ms") > 0.0 && ms("encode_ms") > 0.0 && ms("read_ms") > 0.0, "{line}");
    let steps = ["read_ms", "find_ms", "queue_ms", "redis_ms", "gateway_ms", "encode_ms", "other_ms"];
    let sum: f64 = steps.iter().map(|name| ms(name)).sum();
    assert!((sum - ms("total_ms")).abs() < 0.1, "{sum} in {line}");
    assert!(shop.metric_count("flashsale_slow_orders_total", "").await >= 1);
}

#[tokio::test]
async fn a_failed_request_is_found_by_its_id() {
    let log = fresh_folder("failed-request").join("log");
    let proxy = Proxy::start(shared_redis_port()).await;
    let mut backends = Backends::shared("failed-request").await;
    backends.redis_url = format!("redis://127.0.0.1:{}", proxy.port());
    let settings = [("LOG_FORMAT", "json"), ("OP_DEADLINE_MS", "700"), ("REDIS_TIMEOUT_MS", "200")];
    let shop = Shop::spawn_logging(backends, &settings, &[], Some(log.clone()));
    shop.client.wait_ready().await;
    let product = shop.client.product("Hot", 1, 10).await;
    shop.client.charge("unlucky-buyer", 1_000).await;
    proxy.swallow_replies(true);
    let body = one_item(product, 1);
    let reply = traced(&shop, "/api/orders", "unlucky-buyer", "order", &body, &traceparent("00")).await;
    proxy.swallow_replies(false);
    assert_eq!(reply.expect(504).header("x-request-id"), TRACE);
    let line = logged(&log, "a request failed").await;
    assert_request(&line, "POST /api/orders", "unlucky-buyer");
    assert_eq!(line["status"], 504, "{line}");
    assert!(line["redis_ms"].as_f64().expect("a time") > 400.0, "that is where it hung: {line}");
}

#[tokio::test]
async fn a_client_who_does_not_wait_is_told_of_too() {
    let log = fresh_folder("client-gone").join("log");
    let gateway = PlayedGateway::start().await;
    let settings = gateway.settings(&[("LOG_FORMAT", "json"), ("SLOW_ORDER_MS", "100")]);
    let shop = Shop::spawn_logging(Backends::shared("client-gone").await, &settings, &[], Some(log.clone()));
    shop.client.wait_ready().await;
    let product = shop.client.product("Hot", 500, 10).await;
    let order = shop.client.reserve("impatient-buyer", product, 1).await;
    gateway.faults(&serde_json::json!({"mode": "slow", "delayMs": 1_500})).await;
    let body = payment(&order, "CARD", 500);
    let parent = traceparent("00");
    let asked = traced(&shop, "/api/payments", "impatient-buyer", "pay", &body, &parent);
    let answer = tokio::time::timeout(std::time::Duration::from_millis(500), asked).await;
    assert!(answer.is_err(), "the gateway takes longer than this client waits");
    let line = logged(&log, "a slow order").await;
    assert_request(&line, "POST /api/payments", "impatient-buyer");
    assert_eq!(line["status"], 499, "{line}");
    let labels = "route=\"POST /api/payments\"&status=\"499\"";
    assert_eq!(shop.metric_count("flashsale_http_requests_total", labels).await, 1);
    // Nobody waits for it, and it is done all the same.
    shop.client.becomes("impatient-buyer", &order, "CONFIRMED").await;
}
