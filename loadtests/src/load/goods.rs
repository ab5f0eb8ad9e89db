//! What there is to be had, and the money for it: set up through the service's own API.

use std::net::SocketAddr;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::shop::Shop;
use crate::shared::setup;

/// Price of a product, in minor units: one charge pays for 500,000 of them, more than a user can order in minutes.
pub const PRICE: u64 = 2;

/// What every user is charged, in minor units: the default of `charge_max`.
const CHARGE: u64 = 1_000_000;

/// Stock of a product that must not run out.
pub const PLENTY: u64 = 50_000_000;

/// Something to buy.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Its id.
    pub id: u32,
    /// Units that it began with.
    pub stock: u64,
}

/// Something to be given away.
#[derive(Clone, Copy, Debug)]
pub struct Coupon {
    /// Its id.
    pub id: u32,
    /// How often it can be issued.
    pub quantity: u64,
}

/// Products and coupons of one run, and of nobody else.
#[derive(Clone, Debug, Default)]
pub struct Goods {
    /// To buy.
    pub products: Vec<Product>,
    /// To be given away.
    pub coupons: Vec<Coupon>,
}

/// Creates goods.
pub struct Clerk<'a>(setup::Clerk<'a>);

impl<'a> Clerk<'a> {
    /// Connects to the operations listener.
    pub async fn of(shop: &'a Shop) -> Result<Self> {
        Ok(Self(setup::Clerk::at(shop.operations, &shop.admin).await?))
    }

    /// A product, for sale from `opens` on or at once.
    pub async fn product(&mut self, name: &str, stock: u64, opens: Option<Timestamp>) -> Result<Product> {
        let mut body = json!({"name": name, "price": PRICE, "stock": stock});
        if let Some(opens) = opens {
            body["saleStartsAt"] = opens.to_string().into();
        }
        Ok(Product { id: self.0.create_product(&body).await?, stock })
    }

    /// A coupon that takes 1 off an order.
    pub async fn coupon(&mut self, name: &str, quantity: u64) -> Result<Coupon> {
        Ok(Coupon { id: self.0.create_coupon(name, quantity).await?, quantity })
    }
}

/// Gives every user money.
pub async fn charge_all(public: SocketAddr, tokens: &[String]) -> Result<()> {
    setup::charge_all(public, tokens, CHARGE).await
}
