//! The live page and the storefront, as far as they can be looked at without a browser.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::support::shop::{Backends, Shop, bearer, eventually, tally};

/// A shop with its pages for development.
async fn dev_shop(test: &str) -> Shop {
    Shop::start_on(Backends::shared(test).await, &[("DEV_PAGES", "true")]).await
}

/// What a browser sends that shows one of our own pages.
fn own_page(base: &str) -> [(&'static str, String); 3] {
    [
        ("content-type", "application/json".to_owned()),
        ("origin", base.to_owned()),
        ("sec-fetch-site", "same-origin".to_owned()),
    ]
}

async fn post(shop: &Shop, url: &str, headers: &[(&str, String)], body: &Value) -> super::support::shop::Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    shop.client.try_send(Method::POST, url, &headers, Some(body)).await.expect("an answer")
}

/// The next snapshots of the live page.
async fn snapshots(shop: &Shop, count: usize) -> Vec<Value> {
    let http = reqwest::Client::new();
    let mut stream = http.get(format!("{}/live/events", shop.client.ops_url)).send().await.expect("a stream");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (mut text, mut found) = (String::new(), Vec::new());
    while found.len() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await.expect("in time");
        text.push_str(&String::from_utf8_lossy(&chunk.expect("it goes on").expect("it goes on")));
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.strip_prefix("data: ") {
                found.push(serde_json::from_str(data).expect("JSON"));
            }
            text = rest.to_owned();
        }
    }
    found
}

#[tokio::test]
async fn pages_are_there_with_all_their_files_and_let_nothing_in_from_outside() {
    let shop = dev_shop("pages").await;
    let http = reqwest::Client::new();
    // The root of the operations listener leads to the live page.
    for (base, page) in [(&shop.client.url, "/"), (&shop.client.ops_url, "/live"), (&shop.client.ops_url, "/")] {
        let response = http.get(format!("{base}{page}")).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{page}");
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let html = response.text().await.expect("a page");
        let files: Vec<&str> = html
            .split(['"', '\''])
            .filter(|part| (part.starts_with("shop/") || part.starts_with("live/")) && part.contains('.'))
            .collect();
        assert!(files.len() >= 2, "{page}: {files:?}");
        for file in files {
            assert_eq!(http.get(format!("{base}/{file}")).send().await.expect("an answer").status(), 200, "{file}");
        }
    }
    for missing in ["/shop/../../Cargo.toml", "/shop/nothing.js"] {
        let status = http.get(format!("{}{missing}", shop.client.url)).send().await.expect("an answer").status();
        assert_eq!(status, 404, "{missing}");
    }
}

#[tokio::test]
async fn without_the_setting_nobody_gets_a_token_and_nothing_rushes() {
    let shop = Shop::start("no-pages").await;
    shop.client.get("/", None).await.expect_problem(404, "NOT_FOUND");
    shop.client.get("/shop/shop.js", None).await.expect_problem(404, "NOT_FOUND");
    let url = format!("{}/dev/session", shop.client.url);
    post(&shop, &url, &own_page(&shop.client.url), &json!({})).await.expect_problem(404, "NOT_FOUND");
    let url = format!("{}/live/rush", shop.client.ops_url);
    let body = json!({"buyers": 1, "productId": 1});
    post(&shop, &url, &own_page(&shop.client.ops_url), &body).await.expect_problem(404, "NOT_FOUND");
    let url = format!("{}/live/restock", shop.client.ops_url);
    let body = json!({"productId": 1, "units": 1});
    post(&shop, &url, &own_page(&shop.client.ops_url), &body).await.expect_problem(404, "NOT_FOUND");
    // The live page itself is for every operator.
    assert_eq!(snapshots(&shop, 1).await.len(), 1);
}

#[tokio::test]
async fn a_shopper_gets_a_token_of_his_own_and_other_pages_get_none() {
    let shop = dev_shop("session").await;
    let url = format!("{}/dev/session", shop.client.url);
    let session = post(&shop, &url, &own_page(&shop.client.url), &json!({})).await.expect(201).body;
    let user = session["userId"].as_str().expect("a user");
    assert!(user.starts_with("shopper-"), "{session}");
    let authorization = format!("Bearer {}", session["token"].as_str().expect("a token"));
    let balance = format!("{}/api/users/me/balance", shop.client.url);
    let headers = [("authorization", authorization.as_str())];
    let reply = shop.client.try_send(Method::GET, &balance, &headers, None).await.expect("an answer").expect(200);
    assert_eq!(reply.body["userId"], user);
    // It opens nothing of an operator's.
    let verify = format!("{}/admin/verify", shop.client.ops_url);
    let reply = shop.client.try_send(Method::GET, &verify, &headers, None).await.expect("an answer");
    reply.expect_problem(403, "FORBIDDEN");
    for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")]
    {
        let mut headers = own_page(&shop.client.url).to_vec();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.to_owned()));
        post(&shop, &url, &headers, &json!({})).await.expect_problem(403, "FORBIDDEN");
    }
    for name in ["", "Ann", "../x", "a b"] {
        let reply = post(&shop, &url, &own_page(&shop.client.url), &json!({"name": name})).await;
        reply.expect_problem(400, "INVALID_INPUT");
    }
}

/// The first snapshot after a rush.
async fn when_over(shop: &Shop) -> Value {
    eventually("the rush is over", async || {
        snapshots(shop, 1).await.pop().filter(|snapshot| snapshot["rush"]["isOver"] == true)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_sells_out_and_the_live_page_shows_it() {
    let shop = dev_shop("rush").await;
    let product = shop.client.product("Hot", 1_000, 50).await;
    let url = format!("{}/live/rush", shop.client.ops_url);
    let own = own_page(&shop.client.ops_url);
    post(&shop, &url, &own, &json!({"buyers": 0, "productId": product})).await.expect_problem(400, "INVALID_INPUT");
    post(&shop, &url, &own, &json!({"buyers": 5, "productId": 999})).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    post(&shop, &url, &own, &json!({"buyers": 300, "productId": product})).await.expect(202);
    let over = when_over(&shop).await;
    let rush = &over["rush"];
    assert_eq!((&rush["accepted"], &rush["answered"]), (&json!(50), &json!(300)), "{rush}");
    assert_eq!(rush["refused"]["INSUFFICIENT_STOCK"], 250, "{rush}");
    assert_eq!(shop.stock(product).await, 0);
    assert!(!over.to_string().contains("rush-"), "no user is shown: {over}");
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_may_take_its_time_and_sells_the_same() {
    let shop = dev_shop("slow-rush").await;
    let product = shop.client.product("Hot", 1_000, 50).await;
    let url = format!("{}/live/rush", shop.client.ops_url);
    let own = own_page(&shop.client.ops_url);
    for bad in [json!(61), json!(-1), json!(0.5), json!("2")] {
        let body = json!({"buyers": 300, "productId": product, "seconds": bad});
        post(&shop, &url, &own, &body).await.expect_problem(400, "INVALID_INPUT");
    }
    let started = Instant::now();
    let body = json!({"buyers": 300, "productId": product, "seconds": 2});
    assert_eq!(post(&shop, &url, &own, &body).await.expect(202).body, body);
    post(&shop, &url, &own, &body).await.expect_problem(409, "REQUEST_IN_PROGRESS");
    let over = when_over(&shop).await;
    assert!(started.elapsed() >= Duration::from_millis(1_500), "{:?}", started.elapsed());
    let rush = &over["rush"];
    assert!(rush["seconds"].as_f64().is_some_and(|seconds| seconds >= 1.5), "{rush}");
    assert_eq!((&rush["accepted"], &rush["answered"]), (&json!(50), &json!(300)), "{rush}");
    assert_eq!(rush["refused"]["INSUFFICIENT_STOCK"], 250, "{rush}");
    assert!(over["latency"]["rush"]["p99Ms"].is_number(), "its orders are timed: {over}");
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rush_stock_can_be_put_back() {
    let shop = dev_shop("put-back").await;
    let product = shop.client.product("Hot", 1_000, 0).await;
    let url = format!("{}/live/restock", shop.client.ops_url);
    let own = own_page(&shop.client.ops_url);
    for units in [json!(0), json!(1_001), json!(-1), json!(null)] {
        let body = json!({"productId": product, "units": units});
        post(&shop, &url, &own, &body).await.expect_problem(400, "INVALID_INPUT");
    }
    post(&shop, &url, &own, &json!({"productId": 999, "units": 1})).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    let body = json!({"productId": product, "units": 100});
    let elsewhere = own_page("http://evil.example");
    post(&shop, &url, &elsewhere, &body).await.expect_problem(403, "FORBIDDEN");
    for stock in [100, 200] {
        let reply = post(&shop, &url, &own, &body).await.expect(200);
        assert_eq!(reply.body, json!({"productId": product, "stock": stock}));
    }
    assert_eq!(shop.stock(product).await, 200);
    eventually("the live page shows it", async || {
        let snapshot = snapshots(&shop, 1).await.pop()?;
        let products = snapshot["stock"]["products"].as_array()?.clone();
        products.into_iter().find(|one| one["productId"] == product && one["stock"] == 200)
    })
    .await;
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_may_watch_and_no_more_and_all_are_let_go_at_the_end() {
    let mut shop = Shop::start("viewers").await;
    let http = reqwest::Client::new();
    let url = format!("{}/live/events", shop.client.ops_url);
    let mut viewers = Vec::new();
    for _ in 0..flashsale::live::VIEWERS_MAX {
        viewers.push(http.get(&url).send().await.expect("a stream"));
    }
    assert!(viewers.iter().all(|viewer| viewer.status() == 200));
    let headers = [("authorization", bearer("boss", true))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let full = shop.client.try_send(Method::GET, &url, &headers, None).await.expect("an answer");
    assert_eq!(tally(std::slice::from_ref(&full)), "1 x 503 SERVICE_UNAVAILABLE");
    assert!(!full.header("retry-after").is_empty());
    // An orderly end does not wait for them.
    assert!(shop.terminate().await.success());
}
