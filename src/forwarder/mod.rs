//! The forwarder tells the data platform what happened: orders that were paid or given up, and balances. It reads `event_log`
//! in order, after the writer, so no order ever waits for it; every event arrives at least once, under an id that never changes,
//! and the events of one user in their order.
//!
//! One forwarder works per sink and cell: `pump` brings events to the `window`, which says what may be sent; the [`breaker`]
//! says whether; the `store` keeps the cursor and what could not be delivered.

pub mod breaker;
#[cfg(feature = "kafka")]
mod kafka;
pub mod lag;
pub mod message;
mod platform;
mod pump;
pub mod sink;
mod store;
mod window;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::{Gauge, gauge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::ids::CellId;
use crate::metrics as names;
use breaker::Breaker;
use sink::{Sink, SinkKind};

/// Pause after an error before a forwarder starts over; twice as long after each that follows, up to the other: whoever starts
/// over sends again what was under way.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(8);

/// Why a forwarder stopped.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    /// PostgreSQL is away, or another forwarder is at work: try again.
    #[error("{0}")]
    Retry(String),
    /// A person must look: a newer service wrote the log, or a table holds what it cannot.
    #[error("{0}")]
    Stopped(String),
}

impl From<tokio_postgres::Error> for ForwardError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Retry(crate::postgres::describe(&error))
    }
}

/// The forwarder of one cell to one sink.
pub struct Forwarder {
    cell: CellId,
    kind: SinkKind,
    sink: Arc<Sink>,
    config: Arc<Config>,
    stopped: Gauge,
}

impl Forwarder {
    /// Checks the settings of the sink; connects to nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(cell: CellId, kind: SinkKind, config: Arc<Config>) -> anyhow::Result<Self> {
        let sink = Arc::new(Sink::new(kind, &config)?);
        let stopped = gauge!(names::FORWARD_STOPPED, "sink" => kind.as_str(), "cell" => cell.to_string());
        Ok(Self { cell, kind, sink, config, stopped })
    }

    /// Forwards until told to stop, whatever comes and goes meanwhile.
    pub async fn run(&self, stop: CancellationToken) {
        // What went wrong last, so that a rival at work or a database that is away is told once, not twice a second.
        let mut told = String::new();
        let mut breaker = Breaker::new(self.config.breaker_failures_max, self.config.breaker_open_ms);
        let mut pause = RESTART_PAUSE;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let forwarded = AssertUnwindSafe(self.forward_until_error(&mut breaker, &stop)).catch_unwind().await;
            let forwarded = forwarded.unwrap_or_else(|_| Err(ForwardError::Stopped("it panicked: a bug".to_owned())));
            if started.elapsed() > RESTART_PAUSE_MAX {
                pause = RESTART_PAUSE;
            }
            match forwarded {
                Ok(()) => {}
                Err(ForwardError::Retry(why)) => {
                    self.stopped.set(0.0);
                    if why != told {
                        tracing::warn!(sink = %self.kind, cell = %self.cell, why, "the forwarder starts over");
                        told = why;
                    }
                }
                Err(ForwardError::Stopped(why)) => {
                    self.stopped.set(1.0);
                    if why != told {
                        tracing::error!(sink = %self.kind, cell = %self.cell, why, "the forwarder is stopped; a person must look");
                        told = why;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
            pause = (2 * pause).min(RESTART_PAUSE_MAX);
        }
    }

    async fn forward_until_error(&self, breaker: &mut Breaker, stop: &CancellationToken) -> Result<(), ForwardError> {
        let store = store::Store::open(&self.config, self.kind, self.cell).await?;
        let load = pump::Pump::load(
            store,
            self.sink.clone(),
            self.kind,
            self.cell,
            &self.config,
            breaker,
            self.stopped.clone(),
        );
        let mut pump = load.await?;
        pump.run(stop).await
    }
}
