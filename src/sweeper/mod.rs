//! The sweeper finishes what is due in a cell: reservations whose time is over, payments and refunds that the gateway has not
//! answered. It works from the column `due` and only submits ops, which check the state themselves: two sweepers do no
//! harm, and what one of them took and did not finish comes again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::cell::Cell;
use crate::engine::event::{Event, OrderStatus};
use crate::engine::op::ExpireOrder;
use crate::engine::reads;
use crate::gateway::settler::{Settler, settle};
use crate::metrics as names;
use crate::postgres::history;

/// Pause between two looks at orders that are held for too long.
const HELD_PAUSE: Duration = Duration::from_secs(10);

/// The sweeper of one cell.
pub struct Sweeper {
    cell: Arc<Cell>,
    engine: Engine,
    settler: Option<Settler>,
    config: Arc<Config>,
}

impl Sweeper {
    /// Without a `settler` (no gateway is configured) only reservations expire.
    pub fn new(cell: Arc<Cell>, engine: Engine, settler: Option<Settler>, config: Arc<Config>) -> Self {
        Self { cell, engine, settler, config }
    }

    /// Sweeps until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // A full hand means that more is due already.
            if self.sweep().await < self.config.sweep_batch_max {
                tokio::select! {
                    () = tokio::time::sleep(self.config.sweep_interval_ms) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Takes what is due and works on all of it at once; returns how much it was.
    async fn sweep(&self) -> usize {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let pauses = (ms(self.config.gateway_recovery_ms), ms(self.config.gateway_recovery_max_ms));
        let due = match reads::take_due(&self.cell.shared, self.config.sweep_batch_max, pauses).await {
            Ok(due) => due,
            Err(error) => {
                tracing::debug!(%error, "nothing was swept");
                return 0;
            }
        };
        let count = due.len();
        let finished = join_all(due.iter().map(|event| self.finish(event))).await;
        let finished = finished.into_iter().filter(|done| *done).count();
        counter!(names::SWEPT, "outcome" => "finished").increment(finished as u64);
        counter!(names::SWEPT, "outcome" => "postponed").increment((count - finished) as u64);
        count
    }

    /// One more step for one thing; false: it comes again.
    async fn finish(&self, event: &Event) -> bool {
        let cell = self.cell.shared.id;
        match event {
            Event::OrderChanged(order) if order.status == OrderStatus::PendingPayment => {
                let op = ExpireOrder { order: order.order };
                settle(&self.engine, cell, &order.user, op).await.is_ok()
            }
            event => {
                if let Some(settler) = &self.settler {
                    return settler.continue_with(cell, event).await;
                }
                tracing::error!("something waits for a gateway, but none is configured");
                false
            }
        }
    }
}

/// Keeps the gauge of orders that have been held for too long, for ever.
pub async fn watch_held(pool: &deadpool_postgres::Pool, alert_after: Duration) {
    let held = gauge!(names::ORDERS_HELD_TOO_LONG);
    loop {
        let before = Timestamp::now() - alert_after;
        match history::held_since(pool, before).await {
            Ok(count) => held.set(count as f64),
            Err(error) => tracing::debug!(%error, "held orders were not counted"),
        }
        tokio::time::sleep(HELD_PAUSE).await;
    }
}
