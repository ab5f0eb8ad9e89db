//! Whether the data platform was told of orders: the view `order_sync`. It speaks of the states that PostgreSQL has.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::DatabaseError;
use crate::engine::ids::EntityId;

/// What became of telling the data platform of an order's state. The default: nobody has tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSync {
    /// Whether every sink has it.
    pub synced: bool,
    /// Since when.
    pub synced_at: Option<Timestamp>,
    /// How often it was sent, to the sink that took the most.
    pub attempts: i32,
    /// Why it failed the last time.
    pub last_error: Option<String>,
    /// When it is sent again.
    pub next_retry_at: Option<Timestamp>,
}

/// What [`sync_from`] reads; the view is `s`.
pub(super) const SYNC_COLUMNS: &str = "s.synced, s.synced_at, s.sync_attempts, s.last_sync_error, s.next_retry_at";

/// The status of the order that PostgreSQL has, and what became of telling of it; `None`: it has no such order yet.
pub async fn of_order(pool: &Pool, id: EntityId) -> Result<Option<(String, StoredSync)>, DatabaseError> {
    let client = pool.get().await?;
    let sql = format!("SELECT s.status, {SYNC_COLUMNS} FROM order_sync s WHERE s.order_id = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&id.as_i64()]).await?;
    Ok(row.map(|row| (row.get("status"), sync_from(&row))))
}

pub(super) fn sync_from(row: &Row) -> StoredSync {
    StoredSync {
        synced: row.get("synced"),
        synced_at: row.get("synced_at"),
        attempts: row.get("sync_attempts"),
        last_error: row.get("last_sync_error"),
        next_retry_at: row.get("next_retry_at"),
    }
}
