//! The forwarder's side of PostgreSQL: events in order, the cursor of a sink, and its rows in `deliveries`.

use std::time::Duration;

use futures::future::join;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::{Client, Row as PgRow, Statement};

use super::ForwardError;
use super::sink::SinkKind;
use super::window::{Row, RowState, WaitingRow};
use crate::config::Config;
use crate::engine::event::{Event, EventError, split};
use crate::engine::ids::CellId;
use crate::engine::user::UserId;
use crate::notifier::alerts::{self, AlertKind};

/// Time for one statement. A hung PostgreSQL must not hold the forwarder for ever.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Entries of the log read at once.
const PAGE_ENTRIES: i64 = 32;

/// Class of the advisory lock that spares idle rivals the work, and the sink from hearing everything twice; correctness rests on
/// the cursor, and on the id that every event carries.
const FORWARDER_LOCK: i32 = 0x666c_6677;

/// Declares the statements by the names of their files in `sql/forwarder/`.
macro_rules! statements {
    ($($name:ident),+ $(,)?) => {
        struct Statements { $($name: Statement,)+ }

        impl Statements {
            async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
                Ok(Self {
                    $($name: client
                        .prepare(include_str!(concat!("../../sql/forwarder/", stringify!($name), ".sql")))
                        .await?,)+
                })
            }
        }
    };
}

statements! { cursor, progress, deliveries, page, entries, waiting }

/// An event with its place; what it says, or why it cannot be read.
pub(super) type Logged = (u64, Result<Event, EventError>);

/// A connection that works for one sink and cell, and nobody else does.
pub(super) struct Store {
    client: Client,
    statements: Statements,
    sink: SinkKind,
    cell: CellId,
}

impl Store {
    /// Connects and takes the lock.
    pub(super) async fn open(config: &Config, sink: SinkKind, cell: CellId) -> Result<Self, ForwardError> {
        let connect = crate::postgres::connect(&config.database_url, Some(STATEMENT_TIMEOUT));
        let client = connect.await.map_err(|e| ForwardError::Retry(e.to_string()))?;
        let key = i32::from(cell.as_i16()) * 2 + i32::from(sink == SinkKind::Kafka);
        let lock = client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&FORWARDER_LOCK, &key]).await?;
        if !lock.get::<_, bool>(0) {
            return Err(ForwardError::Retry("another forwarder is at work".to_owned()));
        }
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, statements, sink, cell })
    }

    /// Where the sink is; its row is made when there is none.
    pub(super) async fn load_cursor(&self) -> Result<u64, ForwardError> {
        let (sink, cell) = (self.sink.as_str(), self.cell.as_i16());
        let make = "INSERT INTO sink_cursors (sink, cell, seq) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
        self.client.execute(make, &[&sink, &cell]).await?;
        let load = "SELECT seq FROM sink_cursors WHERE sink = $1 AND cell = $2";
        Ok(seq_from(self.client.query_one(load, &[&sink, &cell]).await?.get(0)))
    }

    /// Rows that wait, in the order of their sequence numbers.
    pub(super) async fn waiting(&self, now: Instant) -> Result<Vec<WaitingRow>, ForwardError> {
        let (sink, cell) = (self.sink.as_str(), self.cell.as_i16());
        let rows = self.client.query(&self.statements.waiting, &[&sink, &cell]).await?;
        rows.iter().map(|row| waiting_from(row, now)).collect()
    }

    /// Sequence numbers of rows that a person wants to be sent again, the first `max` of them.
    pub(super) async fn replayed(&self, max: usize) -> Result<Vec<u64>, ForwardError> {
        let sql = "SELECT seq FROM deliveries WHERE sink = $1 AND cell = $2 AND state = 'REPLAY' ORDER BY seq LIMIT $3";
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = self.client.query(sql, &[&self.sink.as_str(), &self.cell.as_i16(), &max]).await?;
        Ok(rows.iter().map(|row| seq_from(row.get(0))).collect())
    }

    /// Sequence numbers behind `cursor` that have a row already: rows may be written before the cursor gets there.
    pub(super) async fn rows_behind(&self, cursor: u64) -> Result<Vec<u64>, ForwardError> {
        let sql = "SELECT seq FROM deliveries WHERE sink = $1 AND cell = $2 AND seq > $3 ORDER BY seq";
        let rows = self.client.query(sql, &[&self.sink.as_str(), &self.cell.as_i16(), &to_seq(cursor)]).await?;
        Ok(rows.iter().map(|row| seq_from(row.get(0))).collect())
    }

    /// The next events behind `after`, in order; none: everything was read.
    pub(super) async fn page(&self, after: u64) -> Result<Vec<Logged>, ForwardError> {
        let after_seq = to_seq(after);
        let rows = self.client.query(&self.statements.page, &[&self.cell.as_i16(), &after_seq, &PAGE_ENTRIES]).await?;
        let mut events = events_of(&rows)?;
        events.retain(|(seq, _)| *seq > after);
        Ok(events)
    }

    /// These events, in order.
    pub(super) async fn events(&self, seqs: &[u64]) -> Result<Vec<Logged>, ForwardError> {
        let wanted: Vec<i64> = seqs.iter().copied().map(to_seq).collect();
        let rows = self.client.query(&self.statements.entries, &[&self.cell.as_i16(), &wanted]).await?;
        let mut events = events_of(&rows)?;
        events.retain(|(seq, _)| seqs.contains(seq));
        Ok(events)
    }

    /// Moves the cursor and writes rows, in one commit. Exactly one cursor moves, or this is not the forwarder any more.
    pub(super) async fn commit(&mut self, from: u64, to: u64, rows: &[Row]) -> Result<(), ForwardError> {
        let (sink, cell) = (self.sink.as_str(), self.cell.as_i16());
        let transaction = self.client.transaction().await?;
        if rows.is_empty() {
            // Should it be lost, its events are sent again under the same ids; so nobody needs to wait for the disk, least of all
            // the orders, whose log is flushed to the same one.
            transaction.batch_execute("SET LOCAL synchronous_commit TO off").await?;
        }
        if to > from {
            let (from, to) = (to_seq(from), to_seq(to));
            let cursor: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&sink, &cell, &from, &to];
            let progress: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&sink, &cell, &to];
            let moved = transaction.execute(&self.statements.cursor, &cursor);
            // Polled together they are pipelined: one round trip.
            let (moved, noted) = join(moved, transaction.execute(&self.statements.progress, &progress)).await;
            if moved? != 1 {
                return Err(ForwardError::Retry("another forwarder moved the cursor".to_owned()));
            }
            noted?;
        }
        if !rows.is_empty() {
            let columns = Columns::new(rows);
            transaction
                .execute(
                    &self.statements.deliveries,
                    &[
                        &sink,
                        &cell,
                        &columns.seqs,
                        &columns.users,
                        &columns.topics,
                        &columns.orders,
                        &columns.states,
                        &columns.attempts,
                        &columns.errors,
                        &columns.retry_at,
                    ],
                )
                .await?;
            if rows.iter().any(|row| row.state == RowState::Dead) {
                alerts::raise(&transaction, AlertKind::DeadLetters, sink).await?;
            }
            alerts::clear_dead_letters(&transaction, sink).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Rows as columns of `deliveries.sql`.
#[derive(Default)]
struct Columns<'a> {
    seqs: Vec<i64>,
    users: Vec<&'a str>,
    topics: Vec<&'a str>,
    orders: Vec<Option<i64>>,
    states: Vec<&'static str>,
    attempts: Vec<i32>,
    errors: Vec<Option<&'a str>>,
    retry_at: Vec<Option<Timestamp>>,
}

impl<'a> Columns<'a> {
    fn new(rows: &'a [Row]) -> Self {
        let (now, wall_now) = (Instant::now(), Timestamp::now());
        let mut columns = Self::default();
        for row in rows {
            columns.seqs.push(to_seq(row.seq));
            columns.users.push(&row.user);
            columns.topics.push(&row.topic);
            columns.orders.push(row.order);
            columns.states.push(row.state.as_str());
            columns.attempts.push(i32::try_from(row.attempts).unwrap_or(i32::MAX));
            columns.errors.push(row.error.as_deref());
            columns.retry_at.push(row.retry_at.map(|at| wall_now + at.saturating_duration_since(now)));
        }
        columns
    }
}

fn waiting_from(row: &PgRow, now: Instant) -> Result<WaitingRow, ForwardError> {
    let user: &str = row.get("user_id");
    let user = UserId::parse(user).ok_or_else(|| ForwardError::Stopped(format!("deliveries: {user:?} is no user")))?;
    let retry_in = row.get::<_, Option<i64>>("retry_in_ms").map(|ms| u64::try_from(ms).unwrap_or_default());
    Ok(WaitingRow {
        seq: seq_from(row.get("seq")),
        user,
        topic: row.get("type"),
        order: row.get("order_id"),
        attempts: u32::try_from(row.get::<_, i32>("attempts")).unwrap_or_default(),
        retry_at: retry_in.map(|ms| now + Duration::from_millis(ms)),
    })
}

/// All events of entries, in order.
fn events_of(rows: &[PgRow]) -> Result<Vec<Logged>, ForwardError> {
    let mut events = Vec::new();
    for row in rows {
        let (first, packed) = (seq_from(row.get(0)), row.get::<_, &[u8]>(1));
        let parts = split(packed).map_err(|e| ForwardError::Stopped(format!("event_log at {first}: {e}")))?;
        for (seq, part) in (first..).zip(parts) {
            let event = Event::decode(part);
            if let Err(unknown @ EventError::Unknown { .. }) = &event {
                let why = format!("event {seq}: {unknown}; a newer version of the service wrote it");
                return Err(ForwardError::Stopped(why));
            }
            events.push((seq, event));
        }
    }
    Ok(events)
}

fn to_seq(seq: u64) -> i64 {
    i64::try_from(seq).expect("sequence numbers stay below 2^44")
}

fn seq_from(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or_default()
}
