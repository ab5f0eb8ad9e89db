//! What there is to be had, and the money for it: set up through the service's own API.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api::Api;
use super::shop::Shop;

/// Price of a product, in minor units: one charge pays for 500,000 of them, more than a user can order in minutes.
pub const PRICE: u64 = 2;

/// What every user is charged, in minor units: the default of `charge_max`.
const CHARGE: u64 = 1_000_000;

/// Stock of a product that must not run out.
pub const PLENTY: u64 = 50_000_000;

/// Connections that charge the users.
const CHARGE_CONNECTIONS: usize = 32;

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
pub struct Clerk<'a> {
    operations: Api,
    admin: &'a str,
}

impl<'a> Clerk<'a> {
    /// Connects to the operations listener.
    pub async fn of(shop: &'a Shop) -> Result<Self> {
        Ok(Self { operations: Api::open(shop.operations).await?, admin: &shop.admin })
    }

    /// A product, for sale from `opens` on or at once.
    pub async fn product(&mut self, name: &str, stock: u64, opens: Option<Timestamp>) -> Result<Product> {
        let mut body = json!({"name": name, "price": PRICE, "stock": stock});
        if let Some(opens) = opens {
            body["saleStartsAt"] = opens.to_string().into();
        }
        let answer = self.operations.post("/admin/products", self.admin, &body).await?;
        let product = answer.expect(StatusCode::CREATED).context("cannot create a product")?;
        Ok(Product { id: small_id(&product, "productId")?, stock })
    }

    /// A coupon that takes 1 off an order.
    pub async fn coupon(&mut self, name: &str, quantity: u64) -> Result<Coupon> {
        let body = json!({
            "name": name,
            "type": "CART",
            "discountType": "FIXED",
            "discountValue": 1,
            "totalQuantity": quantity,
            "validDays": 30,
        });
        let answer = self.operations.post("/admin/coupons", self.admin, &body).await?;
        let coupon = answer.expect(StatusCode::CREATED).context("cannot create a coupon")?;
        Ok(Coupon { id: small_id(&coupon, "couponId")?, quantity })
    }
}

fn small_id(created: &Value, member: &str) -> Result<u32> {
    let id = created[member].as_u64().and_then(|id| u32::try_from(id).ok());
    id.with_context(|| format!("no {member} in {created}"))
}

/// Gives every user money.
pub async fn charge_all(public: SocketAddr, tokens: &[String]) -> Result<()> {
    let mut tasks = JoinSet::new();
    for share in tokens.chunks(tokens.len().div_ceil(CHARGE_CONNECTIONS)) {
        let share = share.to_vec();
        tasks.spawn(async move {
            let mut connection = Api::open(public).await?;
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
