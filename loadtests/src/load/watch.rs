//! What a load has done so far, for people who look at a terminal.

use std::sync::Arc;
use std::time::Duration;

use flashsale::progress::Progress;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::run::Run;
use super::table::thousands;
use super::tally::Verdict;

/// Counts until it is dropped.
pub struct Watch(JoinHandle<()>);

impl Watch {
    /// Begins to count: seconds, answers and what they were.
    pub fn start(run: &Arc<Run>, name: &'static str, time: Duration) -> Self {
        let progress = Progress::steps(time.as_secs(), name);
        Self(tokio::spawn(count(run.clone(), name, progress)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The progress goes with it.
        self.0.abort();
    }
}

async fn count(run: Arc<Run>, name: &'static str, progress: Progress) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let answers = run.tally.count(|_| true);
        let [accepted, bad] = [Verdict::Accepted, Verdict::Unexpected].map(|verdict| run.tally.with_verdict(verdict));
        let line = format!("{name}: {} answers, {} accepted", thousands(answers), thousands(accepted));
        progress.phase(if bad > 0 { format!("{line}, {} UNEXPECTED", thousands(bad)) } else { line });
        progress.reach(Instant::now().saturating_duration_since(run.begins).as_secs());
    }
}
