//! `flashsale verify`: compares from outside of the service, and ends with what it found.

use std::sync::Arc;

use anyhow::Context;
use deadpool_postgres::Pool;

use super::books::{self, Books};
use super::findings::Findings;
use super::{Report, Verifier, tables};
use crate::cli::print_line;
use crate::config::Config;
use crate::engine::cell::{CellShared, GateState};
use crate::engine::ids::{CellId, EntityId};
use crate::postgres::{DatabaseError, gate};
use crate::progress::Progress;
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;
use crate::redis::library::Library;

/// Compares every cell that was ever opened and prints the report. False: something differs.
///
/// # Errors
/// Redis or PostgreSQL cannot be asked.
pub async fn run(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let pool = crate::postgres::pool(config)?;
    let mut whole: Option<Report> = None;
    for id in books::opened_cells(&pool).await? {
        let cell = open_for_reading(config, &pool, id).await?;
        // Gone with the verifier, so before anything else is printed.
        let progress = Arc::new(Progress::steps(Verifier::STEPS, format!("cell {id}")));
        let report = Verifier::new(cell, pool.clone()).with_progress(progress).run().await?;
        match &mut whole {
            Some(whole) => whole.merge(report),
            None => whole = Some(report),
        }
    }
    let report = whole.context("no cell was ever opened: there is nothing to compare")?;
    print_line(&if as_json { serde_json::to_string_pretty(&report)? } else { report.to_string() });
    Ok(report.is_clean())
}

/// A cell that can be read as it is open now, without keeping its gate: no heartbeats, nothing is opened. When Redis
/// turns out not to be the one that PostgreSQL names, or to have less than PostgreSQL, reading fails.
///
/// # Errors
/// Redis or PostgreSQL is away, or the cell was never opened.
pub async fn open_for_reading(config: &Config, pool: &Pool, id: CellId) -> anyhow::Result<Arc<CellShared>> {
    let redis = RedisClient::start(&config.redis_url, Arc::new(Library::new()), config.redis_timeout_ms)?;
    anyhow::ensure!(redis.wait_connected().await, "Redis is unreachable");
    let shared = CellShared::new(id, CellKeys::new(&config.redis_namespace, id), redis);
    let (epoch, committed) = gate::current_epoch(pool, id).await?;
    let epoch = epoch.with_context(|| format!("cell {id} was never opened"))?;
    shared.acknowledge(committed);
    shared.set_gate(GateState::Open(epoch.epoch));
    Ok(shared)
}

/// Every cell that was ever opened.
///
/// # Errors
/// PostgreSQL is away.
pub async fn opened_cells(pool: &Pool) -> Result<Vec<CellId>, DatabaseError> {
    books::opened_cells(pool).await
}

/// What is wrong with the rows of an order in themselves (amounts, lines, payment, ledger), a sentence each; nothing when
/// there is no such order.
///
/// # Errors
/// PostgreSQL is away.
pub async fn order_faults(pool: &Pool, id: EntityId) -> Result<Vec<String>, DatabaseError> {
    let mut client = pool.get().await?;
    let books = Books::open(&mut client, id.cell()).await?;
    let mut findings = Findings::new(id.cell());
    let last = id.as_i64();
    tables::compare_orders(&books, (last - 1, last), &mut findings).await?;
    Ok(findings.into_report().differences.into_iter().map(|difference| difference.detail).collect())
}
