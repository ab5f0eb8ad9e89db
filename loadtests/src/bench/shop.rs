//! What is on sale, and the money to buy it: set up through the service's own API.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use super::Bench;
use super::http::Http;
use super::plan::{CHARGE, PRICE, STOCK};
use super::service::Service;

/// Connections that charge the users.
const CHARGE_CONNECTIONS: usize = 32;

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

async fn create(operations: &mut Http, admin: &str, name: &str, stock: u64) -> Result<u32> {
    let body = json!({"name": name, "price": PRICE, "stock": stock});
    let answer = operations.post("/admin/products", admin, &body).await?;
    let product = answer.expect(StatusCode::CREATED).context("cannot create a product")?;
    let id = product["productId"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.with_context(|| format!("no productId in {product}"))
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
