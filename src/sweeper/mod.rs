//! The sweeper finishes what is due in a cell: reservations whose time is over, payments and refunds that the gateway has not
//! answered. It works from the column `due` and only submits ops, which check the state themselves: two sweepers do no
//! harm, and what one of them took and did not finish comes again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use metrics::{counter, gauge};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::cell::Cell;
use crate::engine::event::{Event, OrderChanged, OrderStatus};
use crate::engine::op::ExpireOrder;
use crate::engine::reads;
use crate::gateway::settler::{Settler, settle};
use crate::metrics as names;
use crate::notifier::alerts::{self, AlertKind};
use crate::postgres::{DatabaseError, history};

/// Pause between two looks at orders that are held for too long.
const HELD_PAUSE: Duration = Duration::from_secs(5);

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
        // Ended with this; what is not finished then comes again.
        let mut asking = JoinSet::new();
        while !stop.is_cancelled() {
            while asking.try_join_next().is_some() {}
            // A full hand means that more is due already.
            if self.sweep(&mut asking).await < self.config.sweep_batch_max {
                tokio::select! {
                    () = tokio::time::sleep(self.config.sweep_interval_ms) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Takes what is due; returns how much it was. Reservations expire at once; nobody waits for what the gateway must be asked: it
    /// may be slow, and its own bound on calls in flight keeps it small.
    async fn sweep(&self, asking: &mut JoinSet<()>) -> usize {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let pauses = (ms(self.config.gateway_recovery_ms), ms(self.config.gateway_recovery_max_ms));
        let due = match reads::take_due(&self.cell.shared, self.config.sweep_batch_max, pauses).await {
            Ok(due) => due,
            Err(error) => {
                tracing::debug!(%error, "nothing was swept");
                return 0;
            }
        };
        let (cell, count) = (self.cell.shared.id, due.len());
        let mut expiring = Vec::new();
        for event in due {
            match (event, self.settler.clone()) {
                (Event::OrderChanged(order), _) if order.status == OrderStatus::PendingPayment => expiring.push(order),
                (event, Some(settler)) => {
                    asking.spawn(async move { count_swept(settler.continue_with(cell, &event).await) });
                }
                (_, None) => tracing::error!("something waits for a gateway, but none is configured"),
            }
        }
        let expire = |order: OrderChanged| async move {
            let op = ExpireOrder { order: order.order };
            count_swept(settle(&self.engine, cell, &order.user, op).await.is_ok());
        };
        join_all(expiring.into_iter().map(expire)).await;
        count
    }
}

fn count_swept(is_finished: bool) {
    counter!(names::SWEPT, "outcome" => if is_finished { "finished" } else { "postponed" }).increment(1);
}

/// Keeps the gauges of open orders, and of those that have been held for too long, for ever, and alerts people while there are any.
pub async fn watch_held(pool: &deadpool_postgres::Pool, alert_after: Duration) {
    let held = gauge!(names::ORDERS_HELD_TOO_LONG);
    let of_status = |status: OrderStatus| gauge!(names::OPEN_ORDERS, "status" => status.as_str());
    let (waiting_now, held_now) = (of_status(OrderStatus::PendingPayment), of_status(OrderStatus::Held));
    // Whether there were any when it was last noted: PostgreSQL hears of changes only.
    let mut noted = None;
    loop {
        match history::open_orders(pool).await {
            Ok((waiting, held)) => {
                waiting_now.set(waiting as f64);
                held_now.set(held as f64);
            }
            Err(error) => tracing::debug!(%error, "open orders were not counted"),
        }
        let before = Timestamp::now() - alert_after;
        match history::held_since(pool, before).await {
            Ok(count) => {
                held.set(count as f64);
                let are_held = count > 0;
                if noted != Some(are_held) {
                    match note_held(pool, are_held).await {
                        Ok(()) => noted = Some(are_held),
                        Err(error) => tracing::debug!(%error, "the alert of held orders was not noted"),
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "held orders were not counted"),
        }
        tokio::time::sleep(HELD_PAUSE).await;
    }
}

async fn note_held(pool: &deadpool_postgres::Pool, are_held: bool) -> Result<(), DatabaseError> {
    let client = pool.get().await?;
    if are_held {
        alerts::raise(&**client, AlertKind::OrdersHeld, "").await?;
    } else {
        alerts::clear(&**client, AlertKind::OrdersHeld, "").await?;
    }
    Ok(())
}
