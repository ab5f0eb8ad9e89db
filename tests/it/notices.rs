//! Restock notices and alerts over their webhooks: once each, and never lost.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::gateway::{PlayedGateway, QUICK};
use super::support::platform::PlayedPlatform;
use super::support::shop::{Shop, eventually, unique};

/// All notices that came, as [user, product, email], in order; and how many calls brought them.
async fn notices(platform: &PlayedPlatform) -> (Vec<Value>, usize) {
    let calls = platform.received("notifications").await;
    let mut notices = Vec::new();
    for call in &calls {
        assert_eq!(call["type"], "restock", "{call}");
        for notice in call["notices"].as_array().expect("a list") {
            assert!(notice["id"].is_string() && notice["requestedAt"].is_string(), "{notice}");
            notices.push(json!([notice["userId"], notice["productName"], notice["email"]]));
        }
    }
    (notices, calls.len())
}

async fn ask(shop: &Shop, user: &str, product: u64) {
    let path = format!("/api/products/{product}/restock-notifications");
    let body = json!({"email": format!("{user}@example.com")});
    shop.client.post(&path, user, &unique("ask"), &body).await.expect(201);
}

/// How many requests have a state.
async fn count(shop: &Shop, state: &str) -> i64 {
    shop.count(&format!("SELECT count(*) FROM restock_notifications WHERE state = '{state}'")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_asked_is_told_once_that_a_product_is_back() {
    let platform = PlayedPlatform::start().await;
    let shop = platform.shop("notices", &[("NOTIFICATION_BATCH_MAX", "4")]).await;
    let product = shop.client.product("Pin", 100, 0).await;
    let users: Vec<String> = (0..10).map(|i| format!("u{i}")).collect();
    for user in &users {
        ask(&shop, user, product).await;
    }
    // Down at first: nothing is lost, and nothing comes twice.
    platform.fault("lost_request").await;
    shop.client.add_stock(product, 5).await;
    eventually("a call that fails", async || {
        (shop.metric("flashsale_notices_total", "kind=\"restock\"&outcome=\"failed\"").await > 0.0).then_some(())
    })
    .await;
    platform.fault("accept").await;
    eventually("all are told", async || (count(&shop, "SENT").await == 10).then_some(())).await;
    let (mut told, _) = notices(&platform).await;
    // Those whose call failed come after the others.
    told.sort_by_key(Value::to_string);
    let expected: Vec<_> = users.iter().map(|user| json!([user, "Pin", format!("{user}@example.com")])).collect();
    assert_eq!(told, expected);
    // The next round is another one.
    shop.client.add_stock(product, -5).await;
    ask(&shop, "u3", product).await;
    shop.client.add_stock(product, 1).await;
    eventually("told again", async || (notices(&platform).await.0.len() == 11).then_some(())).await;
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_nobody_takes_is_a_dead_letter_that_can_be_replayed() {
    let platform = PlayedPlatform::start().await;
    let shop = platform.shop("dead-notices", &[]).await;
    let product = shop.client.product("Pin", 100, 0).await;
    ask(&shop, "ann", product).await;
    ask(&shop, "bob", product).await;
    platform.faults(&json!({"mode": "refuse", "paths": ["webhooks"]})).await;
    shop.client.add_stock(product, 1).await;
    eventually("given up", async || (count(&shop, "DEAD").await == 2).then_some(())).await;
    platform.fault("accept").await;
    eventually("one alert", async || (platform.received("alerts").await.len() == 1).then_some(())).await;
    let alert = &platform.received("alerts").await[0];
    assert_eq!((&alert["kind"], &alert["sink"]), (&json!("DEAD_LETTERS"), &json!("notification")), "{alert}");
    let path = "/admin/dead-letters?sink=notification";
    let letters = shop.client.admin_empty(Method::GET, path, "k").await.expect(200).body;
    let letters = letters["deadLetters"].as_array().expect("a list");
    assert_eq!((letters.len(), &letters[0]["type"], &letters[0]["attempts"]), (2, &json!("restock"), &json!(4)));
    for letter in letters {
        let path = format!("/admin/dead-letters/{}/replay", letter["id"].as_str().expect("an id"));
        let replay = shop.client.admin_empty(Method::POST, &path, &unique("replay")).await;
        assert_eq!(replay.expect(200).body, json!({"replayed": 1}));
    }
    eventually("all are told", async || (count(&shop, "SENT").await == 2).then_some(())).await;
    assert_eq!(notices(&platform).await.0.len(), 2);
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_held_for_too_long_alerts_once() {
    let (platform, gateway) = (PlayedPlatform::start().await, PlayedGateway::start().await);
    let mut settings = platform.settings(&QUICK);
    settings.extend([("GATEWAY_URL", gateway.url()), ("HELD_ALERT_MS", "1")]);
    let backends = super::support::shop::Backends::shared("held-alert").await;
    let shop = Shop::start_on(backends, &settings).await;
    let product = shop.client.product("Pin", 100, 10).await;
    gateway.fault("lost_request").await;
    let order = shop.client.reserve("ann", product, 1).await;
    shop.client.pay("ann", "pay", &order, "CARD", 100).await.expect(202);
    shop.wait_written().await;
    eventually("one alert", async || (platform.received("alerts").await.len() == 1).then_some(())).await;
    let alert = &platform.received("alerts").await[0];
    assert_eq!((&alert["kind"], &alert["type"]), (&json!("ORDERS_HELD"), &json!("alert")), "{alert}");
    gateway.fault("approve").await;
    shop.client.becomes("ann", &order, "CONFIRMED").await;
    let open = "SELECT count(*) FROM alerts WHERE cleared_at IS NULL";
    eventually("cleared", async || (shop.count(open).await == 0).then_some(())).await;
    assert_eq!(platform.received("alerts").await.len(), 1);
}
