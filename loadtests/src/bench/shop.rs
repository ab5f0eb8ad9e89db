//! What is on sale, the money to buy it, and the coupons: set up through the service's own API.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Bench;
use super::plan::{CHARGE, COUPON_QUANTITY, COUPONS_OF_WARM_UP, COUPONS_OF_WINDOW, PRICE, STOCK};
use super::service::Service;
use crate::shared::http::Http;

/// Connections that charge the users.
const CHARGE_CONNECTIONS: usize = 32;

/// A coupon is not created without any: the one of which nothing is left had this many, and the admin has them.
pub const SOLD_OUT_QUANTITY: u64 = 1;

/// The products of a run.
#[derive(Clone, Debug)]
pub struct Shop {
    /// What everybody wants.
    pub hot: Vec<u32>,
    /// A product of which nothing is left.
    pub sold_out: u32,
}

impl Shop {
    /// Every product with the stock it began with.
    pub fn initial_stock(&self) -> impl Iterator<Item = (u32, u64)> {
        self.hot.iter().map(|id| (*id, STOCK)).chain([(self.sold_out, 0)])
    }
}

/// The coupons of a run.
#[derive(Clone, Debug)]
pub struct Coupons {
    /// For the warm-up, one after the other.
    pub warm_up: Vec<u32>,
    /// For the window.
    pub window: Vec<u32>,
    /// A coupon of which nothing is left.
    pub sold_out: u32,
}

impl Coupons {
    /// Every coupon with its quantity.
    pub fn quantities(&self) -> impl Iterator<Item = (u32, u64)> {
        let issued = self.warm_up.iter().chain(&self.window).map(|id| (*id, COUPON_QUANTITY));
        issued.chain([(self.sold_out, SOLD_OUT_QUANTITY)])
    }
}

/// Creates the products and charges every user once.
pub async fn open(bench: &Bench, service: &Service) -> Result<Shop> {
    let mut operations = Http::open(service.operations).await?;
    let mut hot = Vec::new();
    for number in 1..=bench.hot_products {
        hot.push(create(&mut operations, &bench.tokens.admin, &format!("Hot product {number}"), STOCK).await?);
    }
    let sold_out = create(&mut operations, &bench.tokens.admin, "Sold out", 0).await?;
    charge_all(service.public, &bench.tokens.users).await?;
    Ok(Shop { hot, sold_out })
}

/// Creates the coupons and takes all of the one that is to be sold out.
pub async fn open_coupons(bench: &Bench, service: &Service) -> Result<Coupons> {
    let mut operations = Http::open(service.operations).await?;
    let admin = &bench.tokens.admin;
    let mut warm_up = Vec::new();
    for number in 1..=COUPONS_OF_WARM_UP {
        let name = format!("Warm-up coupon {number}");
        warm_up.push(create_coupon(&mut operations, admin, &name, COUPON_QUANTITY).await?);
    }
    let mut window = Vec::new();
    for number in 1..=COUPONS_OF_WINDOW {
        window.push(create_coupon(&mut operations, admin, &format!("Coupon {number}"), COUPON_QUANTITY).await?);
    }
    let sold_out = create_coupon(&mut operations, admin, "Sold out", SOLD_OUT_QUANTITY).await?;
    let mut public = Http::open(service.public).await?;
    let answer = public.post(&format!("/api/coupons/{sold_out}/issue"), admin, &json!({})).await?;
    answer.expect(StatusCode::CREATED).context("cannot take the last coupon")?;
    Ok(Coupons { warm_up, window, sold_out })
}

async fn create(operations: &mut Http, admin: &str, name: &str, stock: u64) -> Result<u32> {
    let body = json!({"name": name, "price": PRICE, "stock": stock});
    let answer = operations.post("/admin/products", admin, &body).await?;
    let product = answer.expect(StatusCode::CREATED).context("cannot create a product")?;
    small_id(&product, "productId")
}

async fn create_coupon(operations: &mut Http, admin: &str, name: &str, quantity: u64) -> Result<u32> {
    let body = json!({
        "name": name,
        "type": "CART",
        "discountType": "FIXED",
        "discountValue": 1,
        "totalQuantity": quantity,
        "validDays": 30,
    });
    let answer = operations.post("/admin/coupons", admin, &body).await?;
    let coupon = answer.expect(StatusCode::CREATED).context("cannot create a coupon")?;
    small_id(&coupon, "couponId")
}

fn small_id(created: &Value, member: &str) -> Result<u32> {
    let id = created[member].as_u64().and_then(|id| u32::try_from(id).ok());
    id.with_context(|| format!("no {member} in {created}"))
}

async fn charge_all(public: SocketAddr, tokens: &[String]) -> Result<()> {
    let mut tasks = JoinSet::new();
    for share in tokens.chunks(tokens.len().div_ceil(CHARGE_CONNECTIONS)) {
        let share = share.to_vec();
        tasks.spawn(async move {
            let mut connection = Http::open(public).await?;
            for token in &share {
                let answer = connection.post("/api/users/me/balance/charge", token, &json!({"amount": CHARGE})).await?;
                answer.expect(StatusCode::OK).context("cannot charge a balance")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
