//! What PostgreSQL keeps about gates: epochs, and how far each instance was acknowledged.

use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use uuid::Uuid;

use super::DatabaseError;
use crate::engine::ids::CellId;

/// Class of the advisory locks under which a cell is opened; the cell is the second key.
const OPENING_LOCK: i32 = 0x666c_6f70;

/// The valid epoch of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Counts up from 1.
    pub epoch: u64,
    /// The Redis process that it was opened on.
    pub run_id: String,
}

/// What an instance reports of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which instance.
    pub instance: Uuid,
    /// Highest sequence number that it was told.
    pub acknowledged: u64,
    /// The Redis process that it saw last.
    pub observed_run_id: Option<String>,
    /// Whether it still runs, as far as its heartbeats tell.
    pub alive: bool,
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).expect("sequence numbers and epochs stay below 2^53")
}

/// Writes this instance's report.
pub async fn heartbeat(pool: &Pool, cell: CellId, report: &Report) -> Result<(), DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "INSERT INTO instances (instance_id, cell, acknowledged_seq, observed_run_id, stopped) \
             VALUES ($1::text::uuid, $2, $3, $4, $5) \
             ON CONFLICT (instance_id, cell) DO UPDATE SET \
                 acknowledged_seq = greatest(instances.acknowledged_seq, excluded.acknowledged_seq), \
                 observed_run_id = coalesce(excluded.observed_run_id, instances.observed_run_id), \
                 stopped = excluded.stopped, heartbeat_at = now(), updated_at = now()",
        )
        .await?;
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [
        &report.instance.to_string(),
        &cell.as_i16(),
        &signed(report.acknowledged),
        &report.observed_run_id,
        &!report.alive,
    ];
    client.execute(&statement, &row).await?;
    Ok(())
}

/// The valid epoch, if the cell was ever opened, and how far the writer is.
pub async fn current_epoch(pool: &Pool, cell: CellId) -> Result<(Option<Epoch>, u64), DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT e.epoch, e.run_id, coalesce((SELECT seq FROM writer_cursor WHERE cell = $1), 0) \
             FROM (SELECT 1) one LEFT JOIN LATERAL \
                 (SELECT epoch, run_id FROM epochs WHERE cell = $1 ORDER BY epoch DESC LIMIT 1) e ON true",
        )
        .await?;
    let row = client.query_one(&statement, &[&cell.as_i16()]).await?;
    let epoch = row.get::<_, Option<i64>>(0).map(|epoch| Epoch { epoch: unsigned(epoch), run_id: row.get(1) });
    Ok((epoch, unsigned(row.get(2))))
}

/// Takes the right to open the cell, for this transaction; false when another instance has it.
pub async fn lock_opening(transaction: &Transaction<'_>, cell: CellId) -> Result<bool, DatabaseError> {
    let row = transaction
        .query_one("SELECT pg_try_advisory_xact_lock($1, $2)", &[&OPENING_LOCK, &i32::from(cell.as_i16())])
        .await?;
    Ok(row.get(0))
}

/// The highest epoch number (0: none), the writer's position, and every instance's report.
pub async fn opening_facts(
    transaction: &Transaction<'_>,
    cell: CellId,
    dead_after: Duration,
) -> Result<(u64, u64, Vec<Report>), DatabaseError> {
    let cell = cell.as_i16();
    let epoch = transaction.query_one("SELECT coalesce(max(epoch), 0) FROM epochs WHERE cell = $1", &[&cell]).await?;
    let cursor =
        transaction.query_one("SELECT coalesce(max(seq), 0) FROM writer_cursor WHERE cell = $1", &[&cell]).await?;
    let reports = transaction
        .query(
            "SELECT instance_id::text, acknowledged_seq, observed_run_id, \
                 NOT stopped AND heartbeat_at > now() - make_interval(secs => $2) \
             FROM instances WHERE cell = $1",
            &[&cell, &dead_after.as_secs_f64()],
        )
        .await?;
    let reports = reports.iter().map(|row| Report {
        instance: row.get::<_, &str>(0).parse().unwrap_or_default(),
        acknowledged: unsigned(row.get(1)),
        observed_run_id: row.get(2),
        alive: row.get(3),
    });
    Ok((unsigned(epoch.get(0)), unsigned(cursor.get(0)), reports.collect()))
}

/// Records a new epoch; visible when the transaction commits.
pub async fn insert_epoch(
    transaction: &Transaction<'_>,
    cell: CellId,
    epoch: &Epoch,
    base_seq: u64,
) -> Result<(), DatabaseError> {
    transaction
        .execute(
            "INSERT INTO epochs (cell, epoch, run_id, base_seq) VALUES ($1, $2, $3, $4)",
            &[&cell.as_i16(), &signed(epoch.epoch), &epoch.run_id, &signed(base_seq)],
        )
        .await?;
    Ok(())
}
