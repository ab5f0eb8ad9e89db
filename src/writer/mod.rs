//! The writer brings the log of a cell to PostgreSQL: in order, each event exactly once, because the position moves in
//! the same commit as the rows.

mod apply;
pub mod lag;
mod log_reader;
mod parked;
mod rows;
mod sales;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::ids::CellId;
use crate::metrics as names;
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;
use crate::redis::library::Library;
use log_reader::LogReader;

/// Pause after an error before the writer starts over.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Time for one statement of the writer. A hung PostgreSQL must not hold it for ever.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for one commit on this side, whatever the network does.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(1);

/// Least pause between two notes to Redis, unless the writer has caught up.
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// Class of the advisory lock that spares idle rivals the work; correctness rests on the cursor alone.
const WRITER_LOCK: i32 = 0x666c_7772;

/// Why a writer stopped.
#[derive(Debug, thiserror::Error)]
enum WriterError {
    /// PostgreSQL or Redis is away, or another writer is at work: try again.
    #[error("{0}")]
    Retry(String),
    /// A person must look: history forked, or a newer service wrote the log.
    #[error("{0}")]
    Stopped(String),
}

impl From<tokio_postgres::Error> for WriterError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Retry(crate::postgres::describe(&error))
    }
}

/// The position in the log: everything up to `seq` is in PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Position {
    seq: u64,
    nonce: String,
}

/// The writer of one cell.
pub struct Writer {
    cell: CellId,
    keys: CellKeys,
    /// Blocks in XREAD, so nothing else may wait behind it.
    log_connection: RedisClient,
    redis: RedisClient,
    config: Arc<Config>,
    metrics: WriterMetrics,
}

struct WriterMetrics {
    events: Counter,
    commit_seconds: Histogram,
    parked: Counter,
    parked_now: Gauge,
    stopped: Gauge,
    sales: sales::Sales,
}

impl Writer {
    /// A writer with connections of its own.
    pub fn new(cell: CellId, keys: CellKeys, config: Arc<Config>) -> anyhow::Result<Self> {
        let library = Arc::new(Library::new());
        let connect = || RedisClient::start(&config.redis_url, library.clone(), config.redis_timeout_ms);
        let (log_connection, redis) = (connect()?, connect()?);
        let label = cell.to_string();
        let of_cell = |name| gauge!(name, "cell" => label.clone());
        let metrics = WriterMetrics {
            events: counter!(names::WRITER_EVENTS, "cell" => label.clone()),
            commit_seconds: histogram!(names::WRITER_COMMIT_SECONDS),
            parked: counter!(names::WRITER_PARKED, "cell" => label.clone()),
            parked_now: of_cell(names::WRITER_PARKED_NOW),
            stopped: of_cell(names::WRITER_STOPPED),
            sales: sales::Sales::new(),
        };
        Ok(Self { cell, keys, log_connection, redis, config, metrics })
    }

    /// Writes until told to stop, whatever comes and goes meanwhile.
    pub async fn run(&self, stop: CancellationToken) {
        // What went wrong last, so that a rival at work or a database that is away is told once, not twice a second.
        let mut told = String::new();
        while !stop.is_cancelled() {
            match self.write_until_error(&stop).await {
                Ok(()) => {}
                Err(WriterError::Retry(why)) => {
                    if why != told {
                        tracing::warn!(cell = %self.cell, why, "the writer starts over");
                        told = why;
                    }
                }
                Err(WriterError::Stopped(why)) => {
                    self.metrics.stopped.set(1.0);
                    tracing::error!(cell = %self.cell, why, "the writer is stopped; a person must look");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn write_until_error(&self, stop: &CancellationToken) -> Result<(), WriterError> {
        let connect = crate::postgres::connect(&self.config.database_url, Some(STATEMENT_TIMEOUT));
        let mut client = connect.await.map_err(|e| WriterError::Retry(e.to_string()))?;
        let lock = client
            .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&WRITER_LOCK, &i32::from(self.cell.as_i16())])
            .await?;
        if !lock.get::<_, bool>(0) {
            // These figures are those of the one who is at work.
            self.metrics.stopped.set(0.0);
            self.metrics.parked_now.set(0.0);
            return Err(WriterError::Retry("another writer is at work".to_owned()));
        }
        let statements = apply::Statements::prepare(&client).await?;
        let mut position = apply::load_position(&client, self.cell).await?;
        let mut trimmer = trim::Trimmer::load(&client, self.cell, &self.config).await?;
        let reader = LogReader::new(&self.log_connection, self.keys.log());
        let mut parked_retry_at = Instant::now();
        let mut commit_at = Instant::now();
        let (mut told, mut told_at) = (Position::default(), Instant::now());
        loop {
            if parked_retry_at <= Instant::now() {
                let left = parked::apply_again(&mut client, &statements, self.cell).await?;
                self.metrics.parked_now.set(left as f64);
                parked_retry_at = Instant::now() + self.config.dead_event_retry_ms;
            }
            // Redis must hear of the last commit soon, but not of every one.
            let patience = if told == position { self.config.redis_timeout_ms / 2 } else { TELL_PAUSE };
            // A commit costs as much as some fifty events: under load they wait for each other.
            tokio::select! {
                () = tokio::time::sleep_until(commit_at) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let batch = tokio::select! {
                batch = reader.next(&position, self.config.writer_events_max, patience) => batch?,
                () = stop.cancelled() => return Ok(()),
            };
            self.metrics.stopped.set(0.0);
            if let Some(batch) = &batch {
                let started = Instant::now();
                if !batch.full {
                    commit_at = started + self.config.writer_commit_interval_ms;
                }
                let commit = apply::commit(&mut client, &statements, self.cell, &position, batch);
                let parked = tokio::time::timeout(COMMIT_TIMEOUT, commit)
                    .await
                    .map_err(|_| WriterError::Retry("PostgreSQL does not answer a commit".to_owned()))??;
                self.metrics.commit_seconds.record(started.elapsed());
                self.metrics.events.increment(batch.events.len() as u64);
                self.metrics.sales.count(&batch.events);
                if parked > 0 {
                    self.metrics.parked.increment(parked);
                    self.metrics.parked_now.set(parked::count(&client, self.cell).await? as f64);
                }
                position = batch.end.clone();
                trimmer.committed(batch);
            }
            if batch.is_none() || told_at.elapsed() > TELL_PAUSE {
                self.tell_redis(&position, &mut trimmer).await;
                told = position.clone();
                told_at = Instant::now();
            }
        }
    }

    /// Tells Redis how far PostgreSQL is and trims the log. A failure costs nothing: the next round says it again.
    async fn tell_redis(&self, position: &Position, trimmer: &mut trim::Trimmer) {
        let args = vec![position.seq.to_string().into(), trimmer.trim_below().to_string().into()];
        if let Err(error) = self.redis.call("note_committed", &[self.keys.meta(), self.keys.log()], args).await {
            tracing::debug!(%error, "Redis was not told");
        }
    }
}
