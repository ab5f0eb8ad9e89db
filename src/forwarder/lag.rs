//! How far the sinks are behind PostgreSQL. Every process with the role watches it, also while another one is at work.

use std::time::Duration;

use deadpool_postgres::Pool;
use metrics::gauge;

use super::sink::SinkKind;
use crate::engine::ids::CellId;
use crate::metrics as names;
use crate::postgres::DatabaseError;

/// Pause between two looks.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How far a sink is behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Events that it has not passed.
    pub events: i64,
    /// Age of the oldest of them since it came to PostgreSQL.
    pub seconds: f64,
    /// Events of any cell that were given up and not replayed.
    pub dead_letters: i64,
}

/// Keeps the gauges of a sink true, for ever.
pub async fn watch(pool: &Pool, sink: SinkKind, cell: CellId) {
    let of_sink = |name| gauge!(name, "sink" => sink.as_str(), "cell" => cell.to_string());
    let (events, seconds) = (of_sink(names::FORWARD_LAG_EVENTS), of_sink(names::FORWARD_LAG_SECONDS));
    let dead = gauge!(names::DEAD_LETTERS, "sink" => sink.as_str());
    loop {
        match read(pool, sink, cell).await {
            Ok(lag) => {
                events.set(lag.events as f64);
                seconds.set(lag.seconds);
                dead.set(lag.dead_letters as f64);
            }
            Err(error) => tracing::debug!(%error, "the lag of a sink was not read"),
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// How far `sink` is behind now.
pub async fn read(pool: &Pool, sink: SinkKind, cell: CellId) -> Result<Lag, DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT coalesce(w.seq, 0) - c.seq, coalesce((SELECT extract(epoch FROM clock_timestamp() - e.created_at)::float8 \
             FROM event_log e WHERE e.cell = $2 AND e.seq > c.seq ORDER BY e.seq LIMIT 1), 0), \
             (SELECT count(*) FROM deliveries WHERE sink = $1 AND state = 'DEAD') \
             FROM (SELECT coalesce((SELECT seq FROM sink_cursors WHERE sink = $1 AND cell = $2), 0) AS seq) c \
             LEFT JOIN writer_cursor w ON w.cell = $2",
        )
        .await?;
    let row = client.query_one(&statement, &[&sink.as_str(), &cell.as_i16()]).await?;
    Ok(Lag { events: row.get(0), seconds: row.get(1), dead_letters: row.get(2) })
}
