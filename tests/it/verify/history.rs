//! A shop in which everything has happened that can.

use std::time::{Duration, Instant};

use flashsale::sandbox::Sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::shop::{Backends, Client, Reply, Shop, bearer, unique};

/// Long enough for paying at leisure, short enough to wait for.
const RESERVATION_TTL_MS: &str = "4000";

/// Until something that was left unpaid has expired.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(30);

/// A payment gateway to play with; it ends with the test.
pub struct PlayedGateway {
    pub url: String,
}

impl PlayedGateway {
    pub async fn start() -> Self {
        let sandbox = Sandbox::bind(0).await.expect("a free port");
        let url = format!("http://{}/gateway", sandbox.address());
        tokio::spawn(sandbox.run(CancellationToken::new()));
        Self { url }
    }

    /// Switches faults on.
    pub async fn set(&self, faults: &Value) {
        let put = reqwest::Client::new().put(format!("{}/faults", self.url)).body(faults.to_string());
        assert_eq!(put.send().await.expect("an answer").status().as_u16(), 200, "{faults}");
    }
}

/// A shop with a gateway that nobody asks again for a while.
pub async fn start(test: &str, gateway: &PlayedGateway) -> Shop {
    let settings = [
        ("GATEWAY_URL", gateway.url.as_str()),
        ("GATEWAY_RECOVERY_MS", "600000"),
        ("RESERVATION_TTL_MS", RESERVATION_TTL_MS),
        ("SWEEP_INTERVAL_MS", "50"),
    ];
    Shop::start_on(Backends::shared(test).await, &settings).await
}

/// What is there afterwards.
pub struct History {
    /// Without a limit.
    pub pin: u64,
    /// Ann has bought two of it, which count towards her limit.
    pub lamp: u64,
    /// Sold out; two wait for it, in its second round.
    pub rare: u64,
    /// Ann has used it, bob has it back.
    pub coupon: u64,
    /// Ann's order that was paid at once.
    pub order: String,
    /// Ann's order that was reserved first, and paid from the balance: 190.
    pub paid: String,
    /// Fay's order whose payment the gateway has not answered.
    pub held: String,
    /// Fay's charge, of 500, as well.
    pub charge: String,
}

impl History {
    pub async fn make(shop: &Shop, gateway: &PlayedGateway) -> Self {
        let client = &shop.client;
        let pin = client.product("Pin", 100, 1_000).await;
        let rare = client.product("Rare", 0, 2).await;
        let lamp = json!({"name": "Lamp", "price": 500, "stock": 50, "limitPerUser": 5});
        let lamp = client.admin(Method::POST, "/admin/products", &unique("lamp"), &lamp).await.expect(201).body;
        let lamp = lamp["productId"].as_u64().expect("an id");
        let coupon = make_coupon(client).await;
        for user in ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "kim"] {
            client.charge(user, 100_000).await;
        }
        // First, because it takes its time.
        let expiring = place(client, "cat", &json!({"items": items(&[(pin, 1), (lamp, 1)]), "payment": "LATER"})).await;

        let order = place(client, "ann", &json!({"items": items(&[(pin, 3), (lamp, 2)])})).await;
        for user in ["ann", "bob"] {
            let path = format!("/api/coupons/{coupon}/issue");
            post_empty(client, user, &path).await.expect(201);
        }
        let later = |product: u64| json!({"items": items(&[(product, 2)]), "payment": "LATER"});
        let with_coupon = json!({"items": items(&[(pin, 2)]), "payment": "LATER", "couponIds": [coupon]});
        let paid = place(client, "ann", &with_coupon).await;
        pay(client, "ann", &paid, "BALANCE", 200).await;
        cancel(client, "bob", &place(client, "bob", &with_coupon).await).await;
        cancel(client, "bob", &place(client, "bob", &json!({"items": items(&[(lamp, 1)])})).await).await;

        let by_card = place(client, "dan", &later(pin)).await;
        pay(client, "dan", &by_card, "CARD", 200).await;
        cancel(client, "dan", &by_card).await;
        gateway.set(&json!({"mode": "decline"})).await;
        pay(client, "eve", &place(client, "eve", &later(lamp)).await, "CARD", 402).await;
        gateway.set(&json!({"mode": "lost_request"})).await;
        let held = place(client, "fay", &later(lamp)).await;
        pay(client, "fay", &held, "CARD", 202).await;
        let amount = json!({"amount": 500});
        let charge = client.post("/api/users/me/balance/charge", "fay", &unique("charge"), &amount).await.expect(202);
        gateway.set(&json!({"mode": "approve"})).await;

        fill_carts(client, pin).await;
        sell_out_and_bring_back(client, rare).await;
        let stock = format!("/admin/products/{lamp}/stock");
        client.admin(Method::POST, &stock, &unique("stock"), &json!({"delta": 10})).await.expect(200);
        wait_expired(client, "cat", &id_of(&expiring)).await;
        let charge = charge.body["chargeId"].as_str().expect("an id").to_owned();
        Self { pin, lamp, rare, coupon, order: id_of(&order), paid: id_of(&paid), held: id_of(&held), charge }
    }
}

/// Ten off any order.
pub async fn make_coupon(client: &Client) -> u64 {
    let coupon = json!({"name": "Ten off", "type": "CART", "discountType": "FIXED", "discountValue": 10,
        "totalQuantity": 50, "validDays": 30});
    let made = client.admin(Method::POST, "/admin/coupons", &unique("coupon"), &coupon).await.expect(201);
    made.body["couponId"].as_u64().expect("an id")
}

/// A POST without a body.
pub async fn post_empty(client: &Client, user: &str, path: &str) -> Reply {
    let (token, key) = (bearer(user, false), unique("empty"));
    let headers = [("authorization", token.as_str()), ("idempotency-key", key.as_str())];
    client.try_send(Method::POST, &format!("{}{path}", client.url), &headers, None).await.expect("an answer")
}

/// Lines of an order.
pub fn items(lines: &[(u64, u64)]) -> Value {
    lines.iter().map(|(product, quantity)| json!({"productId": product, "quantity": quantity})).collect()
}

async fn place(client: &Client, user: &str, order: &Value) -> Value {
    client.post("/api/orders", user, &unique("order"), order).await.expect(201).body
}

fn id_of(order: &Value) -> String {
    order["orderId"].as_str().expect("an id").to_owned()
}

async fn pay(client: &Client, user: &str, order: &Value, method: &str, status: u16) {
    let body = json!({"orderId": order["orderId"], "paymentMethod": method, "amount": order["finalAmount"]});
    client.post("/api/payments", user, &unique("pay"), &body).await.expect(status);
}

async fn cancel(client: &Client, user: &str, order: &Value) {
    let path = format!("/api/orders/{}/cancel", id_of(order));
    post_empty(client, user, &path).await.expect(200);
}

/// Gus orders one cart, and fills another.
async fn fill_carts(client: &Client, product: u64) {
    let put = |quantity: u64| json!({"productId": product, "quantity": quantity});
    client.post("/api/cart/items", "gus", &unique("cart"), &put(3)).await.expect(200);
    place(client, "gus", &json!({})).await;
    client.post("/api/cart/items", "gus", &unique("cart"), &put(2)).await.expect(200);
}

/// Two rounds of waiting for a product that is sold out: one that ended, and one that goes on.
async fn sell_out_and_bring_back(client: &Client, product: u64) {
    let wait = format!("/api/products/{product}/restock-notifications");
    let email = json!({"email": "somebody@example.com"});
    place(client, "hal", &json!({"items": items(&[(product, 2)])})).await;
    client.post(&wait, "ian", &unique("wait"), &email).await.expect(201);
    let stock = format!("/admin/products/{product}/stock");
    client.admin(Method::POST, &stock, &unique("stock"), &json!({"delta": 2})).await.expect(200);
    place(client, "hal", &json!({"items": items(&[(product, 2)])})).await;
    for user in ["ian", "jan", "ian"] {
        client.post(&wait, user, &unique("wait"), &email).await.expect(201);
    }
}

async fn wait_expired(client: &Client, user: &str, order: &str) {
    let started = Instant::now();
    loop {
        let reply = client.get(&format!("/api/orders/{order}"), Some(user)).await.expect(200);
        if reply.body["status"] == "EXPIRED" {
            return;
        }
        assert!(started.elapsed() < EXPIRY_PATIENCE, "it does not expire: {}", reply.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
