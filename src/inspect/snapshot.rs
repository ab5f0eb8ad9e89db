//! PostgreSQL at one moment, read only.

use std::collections::BTreeMap;

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_postgres::IsolationLevel;
use tokio_postgres::types::ToSql;

use super::events::{Logged, event_of, events_of};
use crate::engine::ids::CellId;
use crate::postgres::DatabaseError;

/// Longest statement: the history of one user, however long.
const STATEMENT_TIMEOUT: &str = "SET LOCAL statement_timeout = '30s'";

/// Parked events that are looked through; more than that is a state in which alerts ring.
const PARKED_MAX: i64 = 1_000;

/// The entries of the log that hold some events.
const ENTRIES: &str = include_str!("../../sql/forwarder/entries.sql");

const PARKED: &str = "SELECT seq, reason, attempts, event FROM dead_events \
     WHERE cell = $1 AND state = 'PARKED' ORDER BY seq LIMIT $2";

/// Columns that hold ids which are digits, and long ones.
const ID_COLUMNS: [&str; 4] = ["order_id", "payment_id", "transaction_id", "user_coupon_id"];

/// A row by column, without what is NULL.
pub(super) type Row = Map<String, Value>;

/// A parameter of a statement.
pub(super) type Parameter<'p> = &'p (dyn ToSql + Sync);

/// An event that PostgreSQL could not take.
#[derive(Debug)]
pub(super) struct Parked {
    pub logged: Logged,
    pub reason: String,
    pub attempts: i32,
}

/// The rows of a thing, under names of one's own.
#[derive(Debug, Default)]
pub(super) struct Tables {
    rows: BTreeMap<&'static str, Vec<Row>>,
    /// Its events in `event_log`.
    pub events: Vec<Logged>,
}

impl Tables {
    pub(super) fn add(&mut self, name: &'static str, rows: Vec<Row>) {
        self.rows.insert(name, rows);
    }

    pub(super) fn rows(&self, name: &str) -> &[Row] {
        self.rows.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn first(&self, name: &str) -> Option<&Row> {
        self.rows(name).first()
    }
}

/// One snapshot; it ends when it is dropped.
pub(super) struct Snapshot<'c> {
    transaction: Transaction<'c>,
    /// As statements take it.
    pub cell_number: i16,
}

impl<'c> Snapshot<'c> {
    pub(super) async fn open(client: &'c mut Client, cell: CellId) -> Result<Self, DatabaseError> {
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = snapshot.start().await?;
        transaction.batch_execute(STATEMENT_TIMEOUT).await?;
        Ok(Self { transaction, cell_number: cell.as_i16() })
    }

    /// The rows of a SELECT.
    pub(super) async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let sql = format!("SELECT row_to_json(t) FROM ({sql}) t");
        let rows = self.transaction.query(sql.as_str(), parameters).await?;
        Ok(rows.iter().filter_map(|row| readable(row.get(0))).collect())
    }

    /// The last event that is here.
    pub(super) async fn written(&self) -> Result<u64, DatabaseError> {
        let sql = "SELECT seq FROM writer_cursor WHERE cell = $1";
        let row = self.transaction.query_opt(sql, &[&self.cell_number]).await?;
        Ok(row.map_or(0, |row| unsigned(row.get(0))))
    }

    /// These events of `event_log`.
    pub(super) async fn events(&self, seqs: &[i64]) -> Result<Vec<Logged>, DatabaseError> {
        let rows = self.transaction.query(ENTRIES, &[&self.cell_number, &seqs]).await?;
        let mut events: Vec<Logged> =
            rows.iter().flat_map(|row| events_of(unsigned(row.get(0)), row.get::<_, &[u8]>(1))).collect();
        events.retain(|logged| seqs.iter().any(|seq| unsigned(*seq) == logged.seq));
        Ok(events)
    }

    /// Parked events about something.
    pub(super) async fn parked(&self, is_about: impl Fn(&Logged) -> bool) -> Result<Vec<Parked>, DatabaseError> {
        let rows = self.transaction.query(PARKED, &[&self.cell_number, &PARKED_MAX]).await?;
        let parked = rows.iter().map(|row| Parked {
            logged: Logged { seq: unsigned(row.get("seq")), event: event_of(row.get("event")) },
            reason: row.get("reason"),
            attempts: row.get("attempts"),
        });
        Ok(parked.filter(|parked| is_about(&parked.logged)).collect())
    }
}

fn unsigned(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or_default()
}

/// A row with times and ids spelled as the API spells them.
fn readable(row: Value) -> Option<Row> {
    let Value::Object(mut row) = row else { return None };
    row.retain(|_, value| !value.is_null());
    for (name, value) in &mut row {
        let at = if name.ends_with("_at") { value.as_str().and_then(|at| at.parse::<Timestamp>().ok()) } else { None };
        if let Some(at) = at {
            *value = at.to_string().into();
        } else if ID_COLUMNS.contains(&name.as_str()) && value.is_number() {
            *value = value.to_string().into();
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_spell_times_and_ids_as_the_api_does() {
        let row = json!({
            "order_id": 9, "product_id": 1, "user_id": "7", "amount": 5, "refund": null,
            "created_at": "2026-11-21T09:30:00.5+09:00", "paid_at": "never",
        });
        let expected = json!({
            "order_id": "9", "product_id": 1, "user_id": "7", "amount": 5,
            "created_at": "2026-11-21T00:30:00.5Z", "paid_at": "never",
        });
        assert_eq!(readable(row).map(Value::Object), Some(expected));
        assert_eq!(readable(json!(5)), None);
    }

    #[test]
    fn a_table_that_was_not_read_has_no_rows() {
        let mut tables = Tables::default();
        tables.add("line", vec![Row::new()]);
        assert_eq!((tables.rows("line").len(), tables.rows("order").len()), (1, 0));
        assert!(tables.first("order").is_none());
    }
}
