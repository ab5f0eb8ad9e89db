//! The storefront and the live page in a real browser, as people use them. Pictures are left in `target/browser`.

mod browser;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
mod support;

use reqwest::Method;
use serde_json::json;

use browser::Driver;
use support::gateway::PlayedGateway;
use support::platform::PlayedPlatform;
use support::shop::{Backends, Shop, unique};

/// A shop to play in: a hot sale of so many units, other goods, and a coupon.
async fn open_shop(test: &str, gateway: &PlayedGateway, platform: &PlayedPlatform, stock: u64) -> (Shop, u64) {
    let mut settings = platform.settings(&[("GATEWAY_URL", gateway.url()), ("DEV_PAGES", "true")]);
    settings.extend([("CATALOG_REFRESH_MS", "100"), ("VERIFY_INTERVAL_MS", "1000")]);
    let shop = Shop::start_on(Backends::shared(test).await, &settings).await;
    let (starts, ends) = (jiff::Timestamp::now(), jiff::Timestamp::now() + std::time::Duration::from_secs(3_600));
    let body = json!({"name": "Limited sneaker", "price": 59_000, "stock": stock, "limitPerUser": 2,
        "saleStartsAt": starts.to_string(), "saleEndsAt": ends.to_string()});
    let made = shop.client.admin(Method::POST, "/admin/products", &unique("hot"), &body).await.expect(201);
    let hot = made.body["productId"].as_u64().expect("an id");
    shop.client.product("Steel water bottle", 12_000, 500).await;
    shop.client.coupon(&json!({"name": "Ten percent off", "discountType": "PERCENT", "discountValue": 10})).await;
    (shop, hot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_play_a_sale() {
    let (gateway, platform) = (PlayedGateway::start().await, PlayedPlatform::start().await);
    let (shop, hot) = open_shop("browser-shop", &gateway, &platform, 20).await;
    let driver = Driver::start().await;
    let (first, second) = (driver.browser(1_100, 1_400).await, driver.browser(360, 800).await);
    for window in [&first, &second] {
        window.open(&shop.client.url).await;
        window.becomes("sale-name", |text| text.contains("Limited sneaker")).await;
        window.becomes("stock-number", |text| text == "20").await;
        window.becomes("countdown", |text| text.chars().any(|c| c.is_ascii_digit())).await;
        window.fits().await;
    }
    let who = first.text("shopper").await;
    assert!(who.starts_with("shopper-") && who != second.text("shopper").await, "each window is somebody else");

    // Without money the shop says what is missing, and helps.
    first.click("buy").await;
    first.click("charge-and-buy").await;
    first.becomes("stock-number", |text| text == "19").await;
    second.becomes("stock-number", |text| text == "19").await;
    let orders = shop.count("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'").await;
    assert_eq!((orders, shop.stock(hot).await), (1, 19));
    let order = shop.count("SELECT min(order_id) FROM orders").await;
    first.becomes(&format!("order-sync-{order}"), |text| !text.is_empty()).await;
    first.picture("storefront").await;

    first.click("charge-200000").await;
    first.becomes("balance", |text| text.contains("200,000")).await;
    // Beyond the limit: what the API says, in the language of the page.
    first.click("buy").await;
    first.becomes("stock-number", |text| text == "18").await;
    first.click("buy").await;
    first.becomes("sale-result", |text| text.contains("more than one user")).await;
    first.run("document.querySelector('[data-language=ko]').click()").await;
    assert_eq!(first.run("return document.documentElement.lang").await, "ko");
    first.click("buy").await;
    // The old answer goes before the new one comes: in between there is nothing to read.
    first.becomes("sale-result", |text| text.chars().any(|c| ('가'..='힣').contains(&c))).await;
    second.run("document.querySelector('[data-language=ko]').click()").await;
    second.fits().await;
    second.picture("storefront-360").await;
    shop.check_books().await;
    for window in [first, second] {
        window.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_watches_a_rush() {
    let (gateway, platform) = (PlayedGateway::start().await, PlayedPlatform::start().await);
    let (shop, hot) = open_shop("browser-live", &gateway, &platform, 100).await;
    let driver = Driver::start().await;
    let window = driver.browser(1_100, 2_000).await;
    window.open(&format!("{}/live", shop.client.ops_url)).await;
    window.becomes("connection", |text| text.contains("live")).await;
    window.becomes(&format!("stock-{hot}"), |text| text.contains("100")).await;
    window.write("rush-buyers", "300").await;
    window.click("rush-start").await;
    window.becomes("rush-state", |text| text.contains("100") && text.contains("300")).await;
    window.becomes("reason-INSUFFICIENT_STOCK", |text| !text.is_empty()).await;
    assert_eq!(shop.stock(hot).await, 0);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    window.fits().await;
    window.picture("live").await;
    shop.check_books().await;
    window.close().await;
}
