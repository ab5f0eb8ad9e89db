//! Shoppers who do everything at once until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::history::{PlayedGateway, items, make_coupon, post_empty};
use crate::support::seed;
use crate::support::shop::{Backends, Client, Reply, Shop, unique};

const SHOPPERS: u64 = 12;

/// A shop in which what is unpaid expires soon, and a gateway that is asked again soon, because a fifth of its answers
/// get lost.
pub async fn start(test: &str, gateway: &PlayedGateway) -> Shop {
    let settings = [
        ("GATEWAY_URL", gateway.url.as_str()),
        ("GATEWAY_TIMEOUT_MS", "500"),
        ("GATEWAY_RECOVERY_MS", "500"),
        ("RESERVATION_TTL_MS", "300"),
        ("SWEEP_INTERVAL_MS", "50"),
    ];
    let shop = Shop::start_on(Backends::shared(test).await, &settings).await;
    gateway.set(&json!({"mode": "lost_answer", "percent": 20})).await;
    shop
}

/// What there is to buy.
#[derive(Clone, Copy)]
struct Goods {
    plenty: u64,
    limited: u64,
    scarce: u64,
    coupon: u64,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    shoppers: Vec<JoinHandle<u64>>,
}

impl Load {
    pub async fn start(client: &Client) -> Self {
        let limited = json!({"name": "Limited", "price": 300, "stock": 1_000_000, "limitPerUser": 30});
        let limited = client.admin(Method::POST, "/admin/products", &unique("p"), &limited).await.expect(201);
        let goods = Goods {
            plenty: client.product("Plenty", 200, 1_000_000).await,
            limited: limited.body["productId"].as_u64().expect("an id"),
            scarce: client.product("Scarce", 0, 3).await,
            coupon: make_coupon(client).await,
        };
        let (seed, stop) = (seed("verify under load"), Arc::new(AtomicBool::new(false)));
        let shopper = |number: u64| {
            let shopper = Shopper {
                client: client.clone(),
                user: format!("shopper-{number}"),
                goods,
                rng: StdRng::seed_from_u64(seed.wrapping_add(number)),
            };
            tokio::spawn(shopper.shop(stop.clone()))
        };
        let shoppers = (0..SHOPPERS).map(shopper).collect();
        Self { stop, shoppers }
    }

    /// Ends the load and returns how many requests it made.
    pub async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let mut requests = 0;
        for shopper in self.shoppers {
            requests += shopper.await.expect("a shopper ends");
        }
        requests
    }
}

struct Shopper {
    client: Client,
    user: String,
    goods: Goods,
    rng: StdRng,
}

impl Shopper {
    async fn shop(mut self, stop: Arc<AtomicBool>) -> u64 {
        let mut requests = 0;
        while !stop.load(Ordering::SeqCst) {
            let reply = self.step().await;
            // Refusals are part of it; only bugs are not.
            assert!(reply.status.as_u16() < 500 || reply.status == 503, "{}: {}", reply.status, reply.body);
            requests += 1;
        }
        requests
    }

    async fn step(&mut self) -> Reply {
        let Goods { plenty, limited, scarce, coupon } = self.goods;
        let quantity = self.rng.random_range(1..=3);
        match self.rng.random_range(0..12) {
            0..=2 => self.order(&json!({"items": items(&[(plenty, quantity), (limited, 1)])})).await,
            3..=5 => self.reserve(quantity).await,
            6 => self.order(&json!({"items": items(&[(scarce, 1)])})).await,
            7 => self.order(&json!({})).await,
            8 => self.post("/api/cart/items", &json!({"productId": plenty, "quantity": quantity})).await,
            9 => post_empty(&self.client, &self.user, &format!("/api/coupons/{coupon}/issue")).await,
            10 => {
                let path = format!("/api/products/{scarce}/restock-notifications");
                self.post(&path, &json!({"email": "somebody@example.com"})).await
            }
            _ => self.post("/api/users/me/balance/charge", &json!({"amount": 10_000})).await,
        }
    }

    /// Reserves, with a coupon when there is one, and then pays, cancels, or forgets.
    async fn reserve(&mut self, quantity: u64) -> Reply {
        let Goods { plenty, limited, coupon, .. } = self.goods;
        let mut body = json!({"items": items(&[(limited, quantity), (plenty, 1)]), "payment": "LATER"});
        if self.rng.random() {
            body["couponIds"] = json!([coupon]);
        }
        let reserved = self.order(&body).await;
        let Some(id) = reserved.body["orderId"].as_str() else { return reserved };
        let pay =
            |method: &str| json!({"orderId": id, "paymentMethod": method, "amount": reserved.body["finalAmount"]});
        let cancel = format!("/api/orders/{id}/cancel");
        match self.rng.random_range(0..5) {
            0 => self.post("/api/payments", &pay("BALANCE")).await,
            1 => self.post("/api/payments", &pay("CARD")).await,
            2 => post_empty(&self.client, &self.user, &cancel).await,
            3 => {
                let paid = self.post("/api/payments", &pay("BALANCE")).await;
                if paid.status == 200 { post_empty(&self.client, &self.user, &cancel).await } else { paid }
            }
            _ => reserved,
        }
    }

    /// Orders; and whoever finds the shelf empty has it filled, now and then.
    async fn order(&mut self, order: &Value) -> Reply {
        let reply = self.post("/api/orders", order).await;
        if reply.code() == "INSUFFICIENT_STOCK" && self.rng.random_range(0..3) == 0 {
            let path = format!("/admin/products/{}/stock", self.goods.scarce);
            return self.client.admin(Method::POST, &path, &unique("stock"), &json!({"delta": 2})).await;
        }
        reply
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.client.post(path, &self.user, &unique("load"), body).await
    }
}
