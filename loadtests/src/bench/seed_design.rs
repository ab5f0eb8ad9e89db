//! The design that the project started from: one transaction per order that locks the stock row, moves the balance
//! under a version check and inserts the rows. Run by pgbench on the same PostgreSQL server, without HTTP in front.

use anyhow::{Context as _, Result};
use flashsale::dev::services::PrivatePostgres;
use tokio_postgres::Client as Postgres;

use super::plan::{CHARGE, PRICE, SEED_DESIGN_CLIENTS, STOCK, THREADS, USERS};
use super::{Bench, servers};
use crate::shared::child;

const SCHEMA: &str = include_str!("../../pgbench/seed_design_schema.sql");
const TRANSACTION: &str = include_str!("../../pgbench/seed_design.sql");

const DATABASE: &str = "bench_seed";

/// The better of the results.
#[derive(Clone, Copy, Debug)]
pub struct SeedDesign {
    /// Committed orders.
    pub orders_per_s: f64,
    /// Clients of pgbench that it took.
    pub clients: u32,
}

/// Runs the transaction with each number of clients.
pub async fn measure(bench: &Bench, postgres: &PrivatePostgres) -> Result<SeedDesign> {
    let url = servers::create_database(postgres, DATABASE).await?;
    let client = servers::connect(&url).await?;
    fill(&client, bench.hot_products).await?;
    let script = bench.data.join("seed_design.sql");
    std::fs::write(&script, TRANSACTION)?;

    let mut best: Option<SeedDesign> = None;
    for clients in SEED_DESIGN_CLIENTS {
        // Nobody else's dirty pages in this window.
        client.batch_execute("CHECKPOINT").await?;
        let before = orders(&client).await?;
        let mut command = child::command(&bench.tools.pgbench);
        command
            .args(["--no-vacuum", "--protocol", "prepared"])
            .args(["--client", &clients.to_string(), "--jobs", &THREADS.to_string()])
            .args(["--time", &bench.plan.seed_design.as_secs().to_string()])
            .args(["--define", &format!("users={USERS}"), "--define", &format!("products={}", bench.hot_products)])
            .arg("--file")
            .arg(&script)
            // Instead of an argument, which everybody on the machine could read.
            .env("PGDATABASE", &url);
        child::run("pgbench", &mut command).await?;
        // Orders and not pgbench's transactions: those that lost a version check are rolled back.
        let committed = orders(&client).await? - before;
        let orders_per_s = committed as f64 / bench.plan.seed_design.as_secs_f64();
        if best.is_none_or(|best| orders_per_s > best.orders_per_s) {
            best = Some(SeedDesign { orders_per_s, clients });
        }
    }
    best.context("there is a number of clients to try")
}

async fn fill(client: &Postgres, products: u32) -> Result<()> {
    client.batch_execute(SCHEMA).await?;
    client
        .batch_execute(&format!(
            "INSERT INTO product (id, name, price)
                 SELECT n, 'Hot product ' || n, {PRICE} FROM generate_series(1, {products}) n;
             INSERT INTO stock (product_id, available_quantity)
                 SELECT n, {STOCK} FROM generate_series(1, {products}) n;
             INSERT INTO user_balance (user_id, balance)
                 SELECT 'bench-user-' || n, {CHARGE} FROM generate_series(1, {USERS}) n;"
        ))
        .await?;
    Ok(client.batch_execute("VACUUM (ANALYZE)").await?)
}

async fn orders(client: &Postgres) -> Result<i64> {
    Ok(client.query_one("SELECT count(*) FROM orders", &[]).await?.get(0))
}
