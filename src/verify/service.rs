//! Comparisons of a running service: one at a time, however many ask for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, gauge};
use tokio::sync::watch;

use super::{Report, Verifier, VerifyError};
use crate::metrics as names;

/// How a comparison ended.
pub type Outcome = Result<Arc<Report>, Arc<VerifyError>>;

/// Runs comparisons and keeps the last report.
pub struct VerifyService {
    /// One per cell.
    verifiers: Vec<Verifier>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<Arc<Report>>,
    /// The comparison under way.
    running: Option<watch::Receiver<Option<Outcome>>>,
}

impl VerifyService {
    /// Nothing is compared yet.
    pub fn new(verifiers: Vec<Verifier>) -> Arc<Self> {
        Arc::new(Self { verifiers, state: Mutex::default() })
    }

    /// The last report, if there is one.
    pub fn last(&self) -> Option<Arc<Report>> {
        self.state.lock().expect("nobody panics while holding it").last.clone()
    }

    /// The report of the comparison under way, or of a new one. That goes on to its end, also when nobody waits any more.
    pub async fn report(self: &Arc<Self>) -> Outcome {
        let mut running = self.join();
        let ended = running.wait_for(Option::is_some).await;
        // Without a word: its task panicked.
        ended.ok().and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err(Arc::new(VerifyError::Died)))
    }

    /// Compares for ever, with a pause in front of each comparison; never when that is zero.
    pub async fn run_periodically(self: Arc<Self>, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        loop {
            tokio::time::sleep(pause).await;
            // What comes of it is noted where it ends.
            let _ = self.report().await;
        }
    }

    fn join(self: &Arc<Self>) -> watch::Receiver<Option<Outcome>> {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        // One whose sender is gone has ended.
        if let Some(running) = state.running.as_ref().filter(|running| running.has_changed().is_ok()) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        state.running = Some(receiver.clone());
        let service = self.clone();
        tokio::spawn(async move {
            let outcome = service.compare().await.map(Arc::new).map_err(Arc::new);
            service.note(&outcome);
            // Nobody may be there any more.
            let _ = sender.send(Some(outcome));
        });
        receiver
    }

    /// All cells, one after the other.
    async fn compare(&self) -> Result<Report, VerifyError> {
        let mut whole: Option<Report> = None;
        for verifier in &self.verifiers {
            let report = verifier.run().await?;
            match &mut whole {
                Some(whole) => whole.merge(report),
                None => whole = Some(report),
            }
        }
        whole.ok_or(VerifyError::Died)
    }

    /// Keeps a report and tells operators of it.
    fn note(&self, outcome: &Outcome) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        state.running = None;
        match outcome {
            Ok(report) => {
                state.last = Some(report.clone());
                gauge!(names::VERIFY_DIFFERENCES).set(report.differences_total as f64);
                gauge!(names::VERIFY_BUSY).set(report.busy as f64);
                gauge!(names::VERIFY_LAST_SECONDS).set(Timestamp::now().as_second() as f64);
                if let Some(first) = report.differences.first() {
                    let total = report.differences_total;
                    tracing::error!(total, %first, "Redis and PostgreSQL differ; flashsale verify lists how");
                }
            }
            Err(error) => {
                counter!(names::VERIFY_FAILURES).increment(1);
                tracing::warn!(%error, "Redis and PostgreSQL could not be compared");
            }
        }
    }
}
