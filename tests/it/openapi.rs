//! The documents are the route table, their examples work, and every answer is as they say.

mod asking;
mod document;

use std::collections::BTreeSet;

use flashsale::http::openapi;
use flashsale::http::routes::{Access, Listener, ROUTES, Route};
use flashsale::sandbox::Sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::shop::{Backends, Client, Shop, bearer};
use asking::Api;
use document::Document;

/// What reads the documents is not in them, nor are pages for people.
fn undescribed(listener: Listener) -> &'static [&'static str] {
    match listener {
        Listener::Public => {
            &["GET /openapi.json", "GET /docs", "GET /docs/{*file}", "GET /", "GET /shop/{file}", "POST /dev/session"]
        }
        Listener::Operations => &[
            "GET /openapi.json",
            "GET /docs",
            "GET /docs/{*file}",
            "GET /",
            "GET /live",
            "GET /live/{file}",
            "GET /live/events",
            "POST /live/rush",
            "POST /live/restock",
        ],
    }
}

fn described(listener: Listener) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.listener == listener && !undescribed(listener).contains(&route.name))
}

fn document(listener: Listener) -> Document {
    Document::new(serde_json::to_value(openapi::document(listener)).expect("plain data"))
}

#[test]
fn the_documents_are_the_route_table() {
    for listener in [Listener::Public, Listener::Operations] {
        let document = document(listener);
        let expected: BTreeSet<&str> = described(listener).map(|route| route.name).collect();
        let names: BTreeSet<String> = document.operations().into_keys().collect();
        assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        for name in undescribed(listener) {
            assert!(ROUTES.iter().any(|route| route.listener == listener && route.name == *name), "{name}");
        }
        for route in described(listener) {
            let operation = document.operation(route.name);
            let security = if route.access == Access::Open { Value::Null } else { json!([{"bearer": []}]) };
            assert_eq!(operation["security"], security, "{}", route.name);
            let is_forbidden = operation["responses"]["403"].is_object();
            assert_eq!(is_forbidden, route.access == Access::Admin, "{}", route.name);
            for code in route.refusals {
                let status = code.info().status.as_str();
                let codes = &operation["responses"][status]["content"]["application/problem+json"]["schema"];
                let codes = codes["allOf"][1]["properties"]["code"]["enum"].as_array().expect("its codes");
                assert!(codes.contains(&json!(code.info().name)), "{}: {}", route.name, code.info().name);
            }
            let in_pattern: Vec<&str> =
                route.name.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(document.parameters(route.name, "path"), in_pattern, "{}", route.name);
        }
    }
}

#[test]
fn the_documents_are_whole_and_their_examples_fit() {
    for listener in [Listener::Public, Listener::Operations] {
        let document = document(listener);
        document.assert_references_resolve();
        let mut ids = BTreeSet::new();
        for (name, operation) in document.operations() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            for text in ["summary", "tags"] {
                assert!(!operation[text].is_null(), "{name} has no {text}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if let Some(example) = parameter.get("example") {
                    document.assert_fits(&parameter["schema"], example, &name);
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"];
            if body.is_object() {
                document.assert_fits(&body["schema"], &body["example"], &name);
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let content = &response["content"]["application/problem+json"];
                assert_eq!(content.is_object(), status.as_str() >= "400" && name != "GET /readyz", "{name} {status}");
                if content.is_object() {
                    document.assert_fits(&content["schema"], &content["example"], &name);
                }
            }
        }
    }
}

/// A shop whose gateway is the sandbox.
struct Scene {
    shop: Shop,
    sandbox_url: String,
    public: Api,
    operations: Api,
}

impl Scene {
    async fn start(test: &str) -> Self {
        let sandbox = Sandbox::bind(0).await.expect("a free port");
        let sandbox_url = format!("http://{}", sandbox.address());
        tokio::spawn(sandbox.run(CancellationToken::new()));
        let gateway = format!("{sandbox_url}/gateway");
        let shop = Shop::start_on(Backends::shared(test).await, &[("GATEWAY_URL", gateway.as_str())]).await;
        let (url, ops_url) = (shop.client.url.clone(), shop.client.ops_url.clone());
        let public = Api::new(&shop.client, url, document(Listener::Public), bearer("ann", false));
        let operations = Api::new(&shop.client, ops_url, document(Listener::Operations), bearer("boss", true));
        Self { shop, sandbox_url, public, operations }
    }

    /// Has the gateway do as `mode` says.
    async fn gateway(&self, mode: &str) {
        let url = format!("{}/gateway/faults", self.sandbox_url);
        let set = self.shop.client.try_send(Method::PUT, &url, &[], Some(&json!({"mode": mode}))).await;
        set.expect("an answer").expect(200);
    }

    /// The example of a product, put on sale with some changes.
    async fn product(&mut self, edit: impl FnOnce(&mut Value)) -> u64 {
        let ask = self.operations.ask("POST /admin/products").edit(edit);
        self.operations.send(ask).await.expect(201).body["productId"].as_u64().expect("an id")
    }

    /// The example of a coupon, offered with some changes.
    async fn coupon(&mut self, edit: impl FnOnce(&mut Value)) -> u64 {
        let ask = self.operations.ask("POST /admin/coupons").edit(edit);
        self.operations.send(ask).await.expect(201).body["couponId"].as_u64().expect("an id")
    }

    /// The example of an order, of this product and paid so; its answer has this status.
    async fn order(&mut self, product: u64, payment: &str, status: u16) -> Value {
        let ask = self.public.ask("POST /api/orders").edit(|body| {
            body["items"][0]["productId"] = json!(product);
            body["payment"] = json!(payment);
        });
        self.public.send(ask).await.expect(status).body
    }

    /// The example of a payment, for this order.
    async fn pay(&mut self, order: &Value, method: &str, status: u16) {
        let ask = self.public.ask("POST /api/payments").edit(|body| {
            body["orderId"] = order["orderId"].clone();
            body["paymentMethod"] = json!(method);
        });
        self.public.send(ask).await.expect(status);
    }
}

#[tokio::test]
async fn every_example_works_and_every_answer_is_as_described() {
    let mut scene = Scene::start("openapi-examples").await;
    let product = scene.product(|_| {}).await;
    let coupon = scene.coupon(|_| {}).await;
    let stock = scene.operations.ask("POST /admin/products/{id}/stock").id(&product);
    scene.operations.send(stock).await.expect(200);

    for name in ["GET /api/products", "GET /api/products/popular", "GET /api/coupons"] {
        scene.public.get(name).await;
    }
    for name in ["GET /api/products/{id}", "GET /api/products/{id}/stock"] {
        let ask = scene.public.ask(name).id(&product);
        scene.public.send(ask).await.expect(200);
    }
    let restock = scene.public.ask("POST /api/products/{id}/restock-notifications").id(&product);
    scene.public.send(restock).await.expect(201);

    fill_and_empty_the_cart(&mut scene, product).await;
    use_the_coupon(&mut scene, coupon, product).await;
    buy(&mut scene, product).await;

    scene.shop.wait_written().await;
    for name in ["GET /api/users/me/balance", "GET /api/users/me/balance/transactions", "GET /api/orders"] {
        scene.public.get(name).await;
    }
    let filtered = scene.public.ask("GET /api/orders").query("status=CONFIRMED&limit=1");
    let page = scene.public.send(filtered).await.expect(200);
    assert!(page.body["nextCursor"].is_string(), "{}", page.body);

    for (name, id) in [("PATCH /admin/products/{id}", product), ("PATCH /admin/coupons/{id}", coupon)] {
        let ask = scene.operations.ask(name).id(&id);
        scene.operations.send(ask).await.expect(200);
    }
    let dead = "INSERT INTO deliveries (sink, cell, seq, user_id, type, state, attempts, last_error) \
                VALUES ('platform', 0, 1, 'ann', 'order-completed', 'DEAD', 4, 'HTTP 500')";
    scene.shop.database().await.execute(dead, &[]).await.expect("a dead letter");
    scene.operations.get("GET /admin/dead-letters").await;
    let replay = scene.operations.ask("POST /admin/dead-letters/{id}/replay").id(&"platform-1");
    assert_eq!(scene.operations.send(replay).await.expect(200).body, json!({"replayed": 1}));
    let replay = scene.operations.ask("POST /admin/dead-letters/replay");
    scene.operations.send(replay).await.expect(200);
    for name in ["GET /metrics", "GET /healthz", "GET /readyz", "GET /admin/verify"] {
        scene.operations.get(name).await;
    }
    scene.public.assert_every_success_was_seen(&[]);
    // Only books that take long to compare.
    scene.operations.assert_every_success_was_seen(&[("GET /admin/verify", "202")]);
}

async fn fill_and_empty_the_cart(scene: &mut Scene, product: u64) {
    let api = &mut scene.public;
    let add = api.ask("POST /api/cart/items").edit(|body| body["productId"] = json!(product));
    api.send(add).await.expect(200);
    let set = api.ask("PUT /api/cart/items/{productId}").id(&product);
    let cart = api.send(set).await.expect(200);
    assert_eq!(cart.body["items"][0]["quantity"], 2);
    api.get("GET /api/cart").await;
    let remove = api.ask("DELETE /api/cart/items/{productId}").id(&product);
    api.send(remove).await.expect(204);
    let clear = api.ask("DELETE /api/cart");
    api.send(clear).await.expect(204);
}

async fn use_the_coupon(scene: &mut Scene, coupon: u64, product: u64) {
    let api = &mut scene.public;
    let issue = api.ask("POST /api/coupons/{couponId}/issue").id(&coupon);
    api.send(issue).await.expect(201);
    let mine = api.ask("GET /api/users/me/coupons").query("status=available");
    let mine = api.send(mine).await.expect(200);
    assert_eq!(mine.body["coupons"][0]["name"], "Ten percent off");
    let validate = api.ask("POST /api/coupons/validate").edit(|body| {
        body["couponIds"][0] = json!(coupon);
        body["items"][0]["productId"] = json!(product);
    });
    let discount = api.send(validate).await.expect(200);
    assert_eq!(discount.body, json!({"discountAmount": 5_900, "finalAmount": 53_100}));
}

/// Charges, buys, gives up, reserves, pays, and has an operator settle what the gateway leaves open.
async fn buy(scene: &mut Scene, product: u64) {
    let charge = scene.public.ask("POST /api/users/me/balance/charge");
    scene.public.send(charge).await.expect(200);
    let bought = scene.order(product, "BALANCE", 201).await;
    let get = scene.public.ask("GET /api/orders/{id}").id(&bought["orderId"]);
    scene.public.send(get).await.expect(200);
    let cancel = scene.public.ask("POST /api/orders/{id}/cancel").id(&bought["orderId"]);
    let refunded = scene.public.send(cancel).await.expect(200);
    assert_eq!(refunded.body["status"], "REFUNDED");

    let reserved = scene.order(product, "LATER", 201).await;
    assert!(reserved["paymentMethod"].is_null() && reserved["expiresAt"].is_string(), "{reserved}");
    scene.pay(&reserved, "BALANCE", 200).await;

    let held = scene.order(product, "LATER", 201).await;
    scene.gateway("lost_request").await;
    scene.pay(&held, "CARD", 202).await;
    let settle = scene.operations.ask("POST /admin/orders/{id}/settle").id(&held["orderId"]);
    let settled = scene.operations.send(settle).await.expect(200);
    assert_eq!(settled.body["status"], "CONFIRMED");
    let charge = scene.public.ask("POST /api/users/me/balance/charge");
    scene.public.send(charge).await.expect(202);

    scene.gateway("decline").await;
    let charge = scene.public.ask("POST /api/users/me/balance/charge");
    scene.public.send(charge).await.expect_problem(402, "PAYMENT_DECLINED");
    scene.gateway("approve").await;
}

#[tokio::test]
async fn refusals_that_every_route_of_a_kind_gives_are_as_described() {
    let mut scene = Scene::start("openapi-refusals").await;
    let user = bearer("ann", false);
    for api in [&mut scene.public, &mut scene.operations] {
        for name in api.names() {
            // An id that every kind of id can be, and that nothing has.
            let ask = |api: &Api| api.ask(&name).id(&2_000_000_000);
            let (has_token, has_body) = (api.wants_token(&name), api.has_body(&name));
            if has_token {
                for token in [None, Some("Bearer a.b.c".to_owned())] {
                    let anonymous = ask(api).token(token);
                    api.send(anonymous).await.expect_problem(401, "UNAUTHORIZED");
                }
            }
            if name.contains(" /admin/") {
                let not_admin = ask(api).token(Some(user.clone()));
                api.send(not_admin).await.expect_problem(403, "FORBIDDEN");
            }
            if has_body {
                for body in [json!({"unknown": 1}), json!([]), Value::Null] {
                    let strange = ask(api).body(body);
                    api.send(strange).await.expect_problem(400, "INVALID_INPUT");
                }
                let huge = ask(api).body(json!({"x": "y".repeat(20_000)}));
                api.send(huge).await.expect_problem(413, "PAYLOAD_TOO_LARGE");
            }
            if let Some(required) = api.key(&name) {
                let bad = ask(api).key(Some("two words"));
                api.send(bad).await.expect_problem(400, "INVALID_INPUT");
                if required {
                    let none = ask(api).key(None);
                    api.send(none).await.expect_problem(400, "INVALID_INPUT");
                }
            }
            for (parameter, bad) in
                [("limit", "limit=0"), ("days", "days=31"), ("status", "status=NICE"), ("sink", "sink=NICE")]
            {
                if api.has_query(&name, parameter) {
                    let strange = ask(api).query(bad);
                    api.send(strange).await.expect_problem(400, "INVALID_INPUT");
                }
            }
            if name.contains('{') {
                for no_id in ["none", ""] {
                    let nowhere = api.ask(&name).id(&no_id);
                    let reply = api.send(nowhere).await.expect(404);
                    assert!(reply.code().ends_with("NOT_FOUND"), "{name}: {}", reply.body);
                }
            }
        }
    }
}

#[tokio::test]
async fn refusals_of_orders_are_as_described() {
    let mut scene = Scene::start("openapi-orders").await;
    let cheap = scene.product(|body| body["price"] = json!(100)).await;
    let early = scene.product(|body| body["saleStartsAt"] = json!("2098-01-01T00:00:00Z")).await;
    let late = scene.product(|body| body["saleEndsAt"] = json!("2025-01-02T00:00:00Z")).await;
    let scarce = scene.product(|body| body["stock"] = json!(1)).await;
    let endless = scene.product(|body| body["limitPerUser"] = Value::Null).await;
    let of = |product: u64, quantity: u64| json!({"items": [{"productId": product, "quantity": quantity}]});
    for (body, status, code) in [
        (json!({}), 400, "CART_EMPTY"),
        (of(77, 1), 404, "PRODUCT_NOT_FOUND"),
        (of(early, 1), 400, "SALE_NOT_OPEN"),
        (of(late, 1), 400, "SALE_CLOSED"),
        (of(cheap, 3), 400, "EXCEEDED_LIMITED_QUANTITY"),
        (of(scarce, 2), 400, "INSUFFICIENT_STOCK"),
        (of(cheap, 1), 400, "INSUFFICIENT_BALANCE"),
        (json!({"items": [{"productId": cheap, "quantity": 1}], "finalAmount": 1}), 400, "AMOUNT_MISMATCH"),
        (json!({"items": [{"productId": cheap, "quantity": 1}], "couponIds": [9]}), 400, "INVALID_COUPON"),
    ] {
        let ask = scene.public.ask("POST /api/orders").body(body);
        scene.public.send(ask).await.expect_problem(status, code);
    }
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(scene.order(endless, "LATER", 201).await);
    }
    let order = scene.order(endless, "LATER", 400).await;
    assert_eq!(order["code"], "TOO_MANY_OPEN_ORDERS");
    scene.pay(&open[0], "BALANCE", 400).await;
    let other = scene.public.ask("POST /api/payments").edit(|body| {
        body["orderId"] = open[0]["orderId"].clone();
        body["amount"] = json!(1);
    });
    scene.public.send(other).await.expect_problem(400, "AMOUNT_MISMATCH");
    scene.gateway("decline").await;
    scene.pay(&open[0], "CARD", 402).await;
    let cancel = scene.public.ask("POST /api/orders/{id}/cancel").id(&open[0]["orderId"]);
    scene.public.send(cancel).await.expect_problem(400, "INVALID_ORDER_STATE");
    scene.pay(&open[0], "BALANCE", 400).await;
    scene.pay(&json!({"orderId": "4000000"}), "BALANCE", 404).await;
    let settle = scene.operations.ask("POST /admin/orders/{id}/settle").id(&open[1]["orderId"]);
    scene.operations.send(settle).await.expect_problem(400, "INVALID_ORDER_STATE");
    let add = scene.public.ask("POST /api/cart/items").body(json!({"productId": scarce, "quantity": 2}));
    scene.public.send(add).await.expect_problem(400, "INSUFFICIENT_STOCK");
    let set = scene.public.ask("PUT /api/cart/items/{productId}").id(&cheap).body(json!({"quantity": 3}));
    scene.public.send(set).await.expect_problem(400, "EXCEEDED_LIMITED_QUANTITY");
    let too_few = scene.operations.ask("POST /admin/products/{id}/stock").id(&scarce).body(json!({"delta": -2}));
    scene.operations.send(too_few).await.expect_problem(400, "INSUFFICIENT_STOCK");
}

#[tokio::test]
async fn refusals_of_money_coupons_and_keys_are_as_described() {
    let mut scene = Scene::start("openapi-coupons").await;
    let last = scene.coupon(|body| body["totalQuantity"] = json!(1)).await;
    let early = scene.coupon(|body| body["issueStartsAt"] = json!("2098-01-01T00:00:00Z")).await;
    for (coupon, user, status, code) in [
        (early, "ann", 400, "COUPON_NOT_OPEN"),
        (last, "ann", 201, ""),
        (last, "ann", 409, "ALREADY_ISSUED"),
        (last, "bob", 409, "COUPON_SOLD_OUT"),
        (77, "ann", 404, "COUPON_NOT_FOUND"),
    ] {
        let ask = scene.public.ask("POST /api/coupons/{couponId}/issue").id(&coupon).token(Some(bearer(user, false)));
        let reply = scene.public.send(ask).await.expect(status);
        assert_eq!(reply.code(), code, "{}", reply.body);
    }
    for (body, code) in [
        (json!({"couponIds": [early], "orderAmount": 50_000}), "INVALID_COUPON"),
        (json!({"couponIds": [last], "orderAmount": 1}), "INVALID_COUPON"),
        (json!({"couponIds": [last]}), "INVALID_INPUT"),
    ] {
        let ask = scene.public.ask("POST /api/coupons/validate").body(body);
        scene.public.send(ask).await.expect_problem(400, code);
    }
    for amount in [-100, 0, 150, 1_000_100] {
        let ask = scene.public.ask("POST /api/users/me/balance/charge").body(json!({"amount": amount}));
        scene.public.send(ask).await.expect_problem(400, "INVALID_AMOUNT");
    }
    let charge = scene.public.ask("POST /api/users/me/balance/charge").key(Some("once"));
    scene.public.send(charge.clone()).await.expect(200);
    let again = scene.public.send(charge.clone()).await.expect(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    let other = charge.edit(|body| body["amount"] = json!(100));
    scene.public.send(other).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    let no_product = scene.operations.ask("POST /admin/coupons").edit(|body| {
        body["type"] = json!("CART_ITEM");
        body["productId"] = json!(77);
    });
    scene.operations.send(no_product).await.expect_problem(404, "PRODUCT_NOT_FOUND");
}

/// The text of an address, with its content type and policy.
async fn fetch(url: &str) -> (u16, String, String, String) {
    let response = reqwest::get(url).await.expect("an answer");
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (status, kind, policy) =
        (response.status().as_u16(), header("content-type"), header("content-security-policy"));
    (status, kind, policy, String::from_utf8_lossy(&response.bytes().await.expect("a body")).into_owned())
}

#[tokio::test]
async fn the_documents_can_be_read_offline() {
    let shop = Shop::start("openapi-docs").await;
    let Client { url, ops_url, .. } = &shop.client;
    for (base, listener) in [(url, Listener::Public), (ops_url, Listener::Operations)] {
        let (status, kind, _, text) = fetch(&format!("{base}/openapi.json")).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        let served: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(Document::new(served), document(listener));

        let (status, kind, policy, page) = fetch(&format!("{base}/docs")).await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
        // Browsers hold to it, whatever the scripts try.
        assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
        assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
        let addresses: Vec<&str> =
            page.split('"').skip(1).step_by(2).filter(|value| value.starts_with("docs/")).collect();
        let references = page.matches("src=").count() + page.matches("href=").count();
        assert_eq!(addresses.len(), references, "every address is its own: {page}");
        for address in addresses {
            let (status, kind, _, text) = fetch(&format!("{base}/{address}")).await;
            let expected = match address.rsplit('.').next() {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                _ => "image/png",
            };
            assert_eq!((status, kind.split(';').next()), (200, Some(expected)), "{address}");
            assert!(!text.is_empty(), "{address} is empty");
            if expected == "text/css" {
                for elsewhere in ["@import", "url(http", "url(\"http", "url('http", "url(//"] {
                    assert!(!text.contains(elsewhere), "{address} has {elsewhere}");
                }
            }
        }
        let (_, _, _, start) = fetch(&format!("{base}/docs/start.js")).await;
        assert!(start.contains(r#"url: "openapi.json""#) && start.contains("validatorUrl: null"), "{start}");
        for unknown in ["docs/", "docs/nothing.js", "docs/index.html"] {
            let (status, kind, ..) = fetch(&format!("{base}/{unknown}")).await;
            assert_eq!((status, kind.as_str()), (404, "application/problem+json"), "{unknown}");
        }
    }
}
