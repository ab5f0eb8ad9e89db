//! What is on sale, the money to buy it, and the coupons: set up through the service's own API.

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::Bench;
use super::plan::{CHARGE, COUPON_QUANTITY, COUPONS_OF_WARM_UP, COUPONS_OF_WINDOW, PRICE, STOCK};
use super::service::Service;
use crate::shared::http::Http;
use crate::shared::setup::{Clerk, charge_all};

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
    let mut clerk = Clerk::at(service.operations, &bench.tokens.admin).await?;
    let mut hot = Vec::new();
    for number in 1..=bench.hot_products {
        hot.push(clerk.create_product(&product(&format!("Hot product {number}"), STOCK)).await?);
    }
    let sold_out = clerk.create_product(&product("Sold out", 0)).await?;
    charge_all(service.public, &bench.tokens.users, CHARGE).await?;
    Ok(Shop { hot, sold_out })
}

/// Creates the coupons and takes all of the one that is to be sold out.
pub async fn open_coupons(bench: &Bench, service: &Service) -> Result<Coupons> {
    let admin = &bench.tokens.admin;
    let mut clerk = Clerk::at(service.operations, admin).await?;
    let mut warm_up = Vec::new();
    for number in 1..=COUPONS_OF_WARM_UP {
        let name = format!("Warm-up coupon {number}");
        warm_up.push(clerk.create_coupon(&name, COUPON_QUANTITY).await?);
    }
    let mut window = Vec::new();
    for number in 1..=COUPONS_OF_WINDOW {
        window.push(clerk.create_coupon(&format!("Coupon {number}"), COUPON_QUANTITY).await?);
    }
    let sold_out = clerk.create_coupon("Sold out", SOLD_OUT_QUANTITY).await?;
    let mut public = Http::open(service.public).await?;
    let answer = public.post(&format!("/api/coupons/{sold_out}/issue"), admin, &json!({})).await?;
    answer.expect(StatusCode::CREATED).context("cannot take the last coupon")?;
    Ok(Coupons { warm_up, window, sold_out })
}

fn product(name: &str, stock: u64) -> Value {
    json!({"name": name, "price": PRICE, "stock": stock})
}
