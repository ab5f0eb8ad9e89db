//! What there is to be had, and the money for it: set up through the service's own API.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http::Http;

/// Connections that charge the users.
const CHARGE_CONNECTIONS: usize = 32;

/// Who creates goods.
pub struct Clerk<'a> {
    operations: Http,
    admin: &'a str,
}

impl<'a> Clerk<'a> {
    /// Connects to the operations listener, with an operator's token.
    pub async fn at(operations: SocketAddr, admin: &'a str) -> Result<Self> {
        Ok(Self { operations: Http::open(operations).await?, admin })
    }

    /// Creates a product as the API describes it, and returns its id.
    pub async fn create_product(&mut self, body: &Value) -> Result<u32> {
        let answer = self.operations.post("/admin/products", self.admin, body).await?;
        let product = answer.expect(StatusCode::CREATED).context("cannot create a product")?;
        small_id(&product, "productId")
    }

    /// Creates a coupon that takes 1 off an order, and returns its id.
    pub async fn create_coupon(&mut self, name: &str, quantity: u64) -> Result<u32> {
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
        small_id(&coupon, "couponId")
    }
}

fn small_id(created: &Value, member: &str) -> Result<u32> {
    let id = created[member].as_u64().and_then(|id| u32::try_from(id).ok());
    id.with_context(|| format!("no {member} in {created}"))
}

/// Gives every user money, in minor units.
pub async fn charge_all(public: SocketAddr, tokens: &[String], amount: u64) -> Result<()> {
    let mut tasks = JoinSet::new();
    for share in tokens.chunks(tokens.len().div_ceil(CHARGE_CONNECTIONS)) {
        let share = share.to_vec();
        tasks.spawn(async move {
            let mut connection = Http::open(public).await?;
            for token in &share {
                let answer = connection.post("/api/users/me/balance/charge", token, &json!({"amount": amount})).await?;
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
