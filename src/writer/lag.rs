//! How far PostgreSQL is behind, as Redis sees it. Every process watches it, not only the writer: the gauges must be true
//! above all when no writer is there.

use std::time::Duration;

use metrics::gauge;

use crate::engine::cell::CellShared;
use crate::metrics as names;

/// Pause between two looks.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// The answer of `read_lag`.
#[derive(serde::Deserialize)]
struct Lag {
    entries: f64,
    events: f64,
    ms: f64,
}

/// Keeps the gauges of a cell's log true, for ever.
pub async fn watch(cell: &CellShared) {
    let label = cell.id.to_string();
    let of_cell = |name| gauge!(name, "cell" => label.clone());
    let log_entries = of_cell(names::LOG_ENTRIES);
    let (lag_events, lag_seconds) = (of_cell(names::WRITER_LAG_EVENTS), of_cell(names::WRITER_LAG_SECONDS));
    loop {
        let reply = cell.redis.read("read_lag", &[cell.keys.meta(), cell.keys.log()], Vec::new()).await;
        if let Some(lag) = reply.ok().and_then(|reply| rmp_serde::from_slice::<Lag>(&reply).ok()) {
            log_entries.set(lag.entries);
            lag_events.set(lag.events);
            lag_seconds.set(lag.ms / 1000.0);
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}
