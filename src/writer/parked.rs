//! Events that PostgreSQL could not take stay in `event_log` and are parked here with the reason, counted, and applied
//! again later (after a migration, or a newer version of the service).

use tokio_postgres::{Client, GenericClient, Transaction};

use super::WriterError;
use super::apply::{Statements, apply_one};
use super::log_reader::LoggedEvent;
use crate::engine::event::Event;
use crate::engine::ids::CellId;

/// Parked events applied again in one transaction.
const RETRY_MAX: i64 = 100;

/// Parks one event.
pub(super) async fn park(
    transaction: &Transaction<'_>,
    cell: CellId,
    logged: &LoggedEvent,
    reason: &str,
) -> Result<(), tokio_postgres::Error> {
    tracing::error!(%cell, seq = logged.seq, reason, "parked an event");
    let seq = i64::try_from(logged.seq).expect("sequence numbers stay below 2^44");
    transaction
        .execute(
            "INSERT INTO dead_events (cell, seq, state, reason, attempts, event) VALUES ($1, $2, 'PARKED', $3, 1, $4)",
            &[&cell.as_i16(), &seq, &reason, &logged.raw.as_ref()],
        )
        .await?;
    Ok(())
}

/// How many events are parked now.
pub(super) async fn count(client: &impl GenericClient, cell: CellId) -> Result<i64, WriterError> {
    let sql = "SELECT count(*) FROM dead_events WHERE cell = $1 AND state = 'PARKED'";
    Ok(client.query_one(sql, &[&cell.as_i16()]).await?.get(0))
}

/// Tries parked events again, oldest first, and returns how many are left.
pub(super) async fn apply_again(
    client: &mut Client,
    statements: &Statements,
    cell: CellId,
) -> Result<i64, WriterError> {
    let mut transaction = client.transaction().await?;
    let rows = transaction
        .query(
            "SELECT seq, event FROM dead_events WHERE cell = $1 AND state = 'PARKED' ORDER BY updated_at, seq LIMIT $2 \
             FOR UPDATE",
            &[&cell.as_i16(), &RETRY_MAX],
        )
        .await?;
    for row in rows {
        let (seq, raw): (i64, Vec<u8>) = (row.get(0), row.get(1));
        let event = Event::decode(&raw);
        let logged = LoggedEvent { seq: u64::try_from(seq).unwrap_or_default(), raw: raw.into(), event };
        let (state, reason) = match apply_one(&mut transaction, statements, cell, &logged).await? {
            Ok(()) => ("APPLIED", String::new()),
            Err(reason) => ("PARKED", reason),
        };
        transaction
            .execute(
                "UPDATE dead_events SET state = $3, reason = coalesce(nullif($4, ''), reason), \
                     attempts = attempts + 1, updated_at = now() WHERE cell = $1 AND seq = $2",
                &[&cell.as_i16(), &seq, &state, &reason],
            )
            .await?;
    }
    let left = count(&transaction, cell).await?;
    transaction.commit().await?;
    Ok(left)
}
