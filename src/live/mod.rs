//! What the sale does now: a snapshot every second, as server-sent events, while somebody watches.
//!
//! `figures.rs` reads the process's own metrics, `snapshot.rs` puts them together with the caches, `hub.rs` hands the
//! result to everybody who watches. The page itself is in `src/web/live/`.

mod exposition;
mod figures;
mod hub;
pub mod rush;
mod snapshot;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::MissedTickBehavior;

use crate::http::app::App;
use hub::Hub;
use rush::{Plan, Progress, Rushes};
use snapshot::{Sampler, Snapshot};

pub use hub::VIEWERS_MAX;

/// Pause between two snapshots.
const INTERVAL: Duration = Duration::from_secs(1);

/// Everybody who watches, and the rush that they watch.
pub struct Live {
    hub: Arc<Hub>,
    rushes: Rushes,
}

impl Default for Live {
    fn default() -> Self {
        Self { hub: Hub::new(), rushes: Rushes::default() }
    }
}

impl Live {
    /// A stream of snapshots, as `text/event-stream`; an error says why there is none.
    pub fn watch(&self, app: &Arc<App>) -> Result<UnsyncBoxBody<Bytes, Infallible>, &'static str> {
        let (app, hub) = (app.clone(), self.hub.clone());
        let viewer = self.hub.join(Instant::now(), || tokio::spawn(sample(app, hub)))?;
        Ok(viewer.into_body())
    }

    /// Starts a rush of made-up buyers unless one is under way.
    pub fn start_rush(&self, app: &App, plan: Plan) -> bool {
        self.rushes.start(app.engine.clone(), plan, self.hub.closed.clone())
    }

    /// Ends every stream and the rush: what they hold on to must not outlive the listeners.
    pub fn close(&self) {
        self.hub.closed.cancel();
    }

    fn viewers(&self) -> usize {
        self.hub.viewers()
    }

    fn rush(&self) -> Option<Progress> {
        self.rushes.progress()
    }
}

/// Looks every second until nobody watches, or the process stops.
async fn sample(app: Arc<App>, hub: Arc<Hub>) {
    let mut sampler = Sampler::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let event = event(&sampler.look(&app).await);
        if !hub.publish(Instant::now(), event) {
            return;
        }
    }
}

/// A snapshot as it is sent. JSON has no line breaks of its own.
fn event(snapshot: &Snapshot) -> Bytes {
    let mut event = b"data: ".to_vec();
    serde_json::to_writer(&mut event, snapshot).expect("a snapshot is plain data");
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}
