//! Who wants to be told that a product is back, and when they are to be.

use reqwest::Method;
use serde_json::json;

use crate::support::gateway::PlayedGateway;
use crate::support::shop::{Backends, Client, Reply, Shop, eventually, unique};

async fn ask(client: &Client, user: &str, product: u64, email: &str) -> Reply {
    let path = format!("/api/products/{product}/restock-notifications");
    client.post(&path, user, &unique("ask"), &json!({"email": email})).await
}

/// Every request as PostgreSQL has it: user, address, round and state.
async fn requests(shop: &Shop, product: u64) -> Vec<(String, String, i64, String)> {
    shop.wait_written().await;
    let sql = format!(
        "SELECT user_id, email, round, state FROM restock_notifications WHERE product_id = {product} ORDER BY 1, 3"
    );
    let rows = shop.database().await.query(&sql, &[]).await.expect("requests");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

/// The states of all requests for a product, by user and round.
async fn states(shop: &Shop, product: u64) -> Vec<String> {
    requests(shop, product).await.into_iter().map(|(_, _, _, state)| state).collect()
}

#[tokio::test]
async fn a_user_asks_to_be_told_once() {
    let shop = Shop::start("restock").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 0).await;
    let path = format!("/api/products/{product}/restock-notifications");
    let body = json!({"email": "ann@example.com"});
    let asked = client.post(&path, "ann", "k", &body).await.expect(201);
    assert_eq!(asked.body, json!({"productId": product, "email": "ann@example.com"}));
    let again = client.post(&path, "ann", "k", &body).await.expect(201);
    assert_eq!((again.is_replayed(), again.body), (true, asked.body));
    // Asked anew before the product is back, only the address changes.
    ask(client, "ann", product, "ann@example.org").await.expect(201);
    ask(client, "bob", product, "bob@example.com").await.expect(201);
    let row = |user: &str, email: &str| (user.to_owned(), email.to_owned(), 1_i64, "WAITING".to_owned());
    assert_eq!(requests(&shop, product).await, [row("ann", "ann@example.org"), row("bob", "bob@example.com")]);
    shop.check_books().await;
}

#[tokio::test]
async fn what_cannot_come_back_and_what_is_no_address_is_refused() {
    let shop = Shop::start("restock-bad").await;
    let client = &shop.client;
    let (product, gone) = (client.product("Pin", 100, 0).await, client.product("Gone", 100, 0).await);
    let path = format!("/admin/products/{gone}");
    client.admin(Method::PATCH, &path, "gone", &json!({"status": "DELETED"})).await.expect(200);
    for unknown in [gone, 4242, 0] {
        ask(client, "ann", unknown, "ann@example.com").await.expect_problem(404, "PRODUCT_NOT_FOUND");
    }
    let long = format!("{}@example.com", "a".repeat(250));
    for email in [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@example",
        "ann@@example.com",
        "a b@example.com",
        "ann@example.com\n",
        &long,
    ] {
        ask(client, "ann", product, email).await.expect_problem(400, "INVALID_INPUT");
    }
    let path = format!("/api/products/{product}/restock-notifications");
    for body in
        [json!({}), json!({"email": 5}), json!({"email": "a@b.example", "userId": "bob"}), json!(["a@b.example"])]
    {
        client.post(&path, "ann", &unique("k"), &body).await.expect_problem(400, "INVALID_INPUT");
    }
    assert!(requests(&shop, product).await.is_empty());
}

#[tokio::test]
async fn stock_that_an_operator_brings_makes_requests_due_once() {
    let shop = Shop::start("restock-admin").await;
    let client = &shop.client;
    let product = client.product("Pin", 0, 1).await;
    client.order("cid", "last", product, 1).await.expect(201);
    ask(client, "ann", product, "ann@example.com").await.expect(201);
    ask(client, "bob", product, "bob@example.com").await.expect(201);
    assert_eq!(states(&shop, product).await, ["WAITING", "WAITING"]);
    client.add_stock(product, 5).await;
    assert_eq!(states(&shop, product).await, ["DUE", "DUE"]);
    let due = format!("SELECT count(DISTINCT due_seq) FROM restock_notifications WHERE product_id = {product}");
    assert_eq!(shop.count(&due).await, 1);
    let first = format!("SELECT max(due_seq) FROM restock_notifications WHERE product_id = {product}");
    let at = shop.count(&first).await;
    // More of it, and even being sold out and back once more, tells nobody again.
    client.add_stock(product, 5).await;
    client.add_stock(product, -10).await;
    client.add_stock(product, 5).await;
    assert_eq!(shop.count(&first).await, at);
    // Whoever asks again waits for the next time.
    client.add_stock(product, -5).await;
    ask(client, "ann", product, "ann@example.com").await.expect(201);
    assert_eq!(states(&shop, product).await, ["DUE", "WAITING", "DUE"]);
    client.add_stock(product, 1).await;
    assert_eq!(states(&shop, product).await, ["DUE", "DUE", "DUE"]);
    assert!(shop.count(&first).await > at);
    shop.check_books().await;
}

#[tokio::test]
async fn stock_that_a_cancelled_order_gives_back_makes_requests_due() {
    let shop = Shop::start("restock-cancel").await;
    let client = &shop.client;
    let (unpaid, paid) = (client.product("Unpaid", 0, 1).await, client.product("Paid", 0, 1).await);
    let reserved = client.reserve("cid", unpaid, 1).await;
    let order = client.order("cid", "k", paid, 1).await.expect(201).text("orderId");
    for product in [unpaid, paid] {
        ask(client, "ann", product, "ann@example.com").await.expect(201);
    }
    client.cancel("cid", "unpaid", &reserved).await.expect(200);
    assert_eq!(states(&shop, unpaid).await, ["DUE"]);
    assert_eq!(states(&shop, paid).await, ["WAITING"]);
    client.cancel("cid", "paid", &order).await.expect(200);
    assert_eq!(states(&shop, paid).await, ["DUE"]);
    shop.check_books().await;
}

#[tokio::test]
async fn stock_that_an_expired_order_gives_back_makes_requests_due() {
    let settings = [("RESERVATION_TTL_MS", "300"), ("SWEEP_INTERVAL_MS", "50"), ("ROLES", "api,writer")];
    let backends = Backends::shared("restock-expiry").await;
    let shop = Shop::start_on(backends.clone(), &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 0, 1).await;
    let order = client.reserve("cid", product, 1).await;
    ask(client, "ann", product, "ann@example.com").await.expect(201);
    assert_eq!(states(&shop, product).await, ["WAITING"]);
    let _sweeper = Shop::start_on(backends, &settings[..2]).await;
    client.becomes("cid", &order, "EXPIRED").await;
    eventually("the request is due", async || (states(&shop, product).await == ["DUE"]).then_some(())).await;
    shop.check_books().await;
}

#[tokio::test]
async fn stock_that_a_declined_card_gives_back_makes_requests_due() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("restock-declined", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 1).await;
    let order = client.reserve("cid", product, 1).await;
    ask(client, "ann", product, "ann@example.com").await.expect(201);
    gateway.fault("decline").await;
    client.pay("cid", "k", &order, "CARD", 700).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!(states(&shop, product).await, ["DUE"]);
    shop.check_books().await;
}

#[tokio::test]
async fn a_product_is_back_when_the_threshold_is_reached() {
    let shop = Shop::start_on(Backends::shared("restock-threshold").await, &[("RESTOCK_THRESHOLD", "5")]).await;
    let client = &shop.client;
    let product = client.product("Pin", 0, 0).await;
    ask(client, "ann", product, "ann@example.com").await.expect(201);
    client.add_stock(product, 2).await;
    client.add_stock(product, 2).await;
    assert_eq!(states(&shop, product).await, ["WAITING"]);
    // Bought up on the way, it starts from nothing again.
    client.order("cid", "k", product, 4).await.expect(201);
    client.add_stock(product, 4).await;
    assert_eq!(states(&shop, product).await, ["WAITING"]);
    client.add_stock(product, 1).await;
    assert_eq!(states(&shop, product).await, ["DUE"]);
    shop.check_books().await;
}
