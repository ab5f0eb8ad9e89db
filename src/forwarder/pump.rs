//! Moves events from PostgreSQL through the window to the sink, and what became of them back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ForwardError;
use super::breaker::Breaker;
use super::message::Message;
use super::sink::{Outcome, Sink, SinkKind};
use super::store::{Logged, Store};
use super::window::{Batch, Limits, RowState, Window};
use crate::config::Config;
use crate::engine::ids::CellId;
use crate::metrics as names;

/// Pause between two looks for rows that a person wants to be sent again.
const REPLAY_PAUSE: Duration = Duration::from_secs(1);

/// Time for one call of PostgreSQL, a little more than the server takes for a statement.
const CALL_TIMEOUT: Duration = Duration::from_secs(35);

/// Rows that are sent again whose events are read at once.
const RETRY_EVENTS_MAX: usize = 256;

/// See the module.
pub(super) struct Pump<'a> {
    store: Store,
    sink: Arc<Sink>,
    kind: SinkKind,
    cell: CellId,
    window: Window,
    /// Outlives this pump: what is known of the sink is not forgotten when PostgreSQL is away for a moment.
    breaker: &'a mut Breaker,
    /// Requests under way.
    sending: JoinSet<(Batch, Outcome)>,
    /// What went wrong last.
    told: String,
    /// Where the cursor is.
    committed: u64,
    /// Events behind the cursor that have rows already; they are not sent from the log.
    have_rows: BTreeSet<u64>,
    read_pause: Duration,
    commit_pause: Duration,
    next: NextLooks,
    metrics: PumpMetrics,
}

/// When to look at what next.
struct NextLooks {
    read: Instant,
    replay: Instant,
    commit: Instant,
}

struct PumpMetrics {
    delivered: Counter,
    refused: Counter,
    failed: Counter,
    postponed: Counter,
    retries: Counter,
    seconds: Histogram,
    waiting: Gauge,
    dead_total: Counter,
    breaker: Gauge,
    stopped: Gauge,
}

/// Who is not at work has nothing waiting and no breaker: these figures are those of the one who is.
impl Drop for PumpMetrics {
    fn drop(&mut self) {
        self.waiting.set(0.0);
        self.breaker.set(0.0);
    }
}

impl PumpMetrics {
    fn new(sink: SinkKind, stopped: Gauge) -> Self {
        let sink = sink.as_str();
        let of_outcome = |outcome| counter!(names::FORWARD_DELIVERIES, "sink" => sink, "outcome" => outcome);
        Self {
            delivered: of_outcome("delivered"),
            refused: of_outcome("refused"),
            failed: of_outcome("failed"),
            postponed: of_outcome("postponed"),
            retries: counter!(names::FORWARD_RETRIES, "sink" => sink),
            seconds: histogram!(names::FORWARD_SECONDS, "sink" => sink),
            waiting: gauge!(names::FORWARD_WAITING, "sink" => sink),
            dead_total: counter!(names::DEAD_LETTERS_TOTAL, "sink" => sink),
            breaker: gauge!(names::BREAKER_STATE, "sink" => sink),
            stopped,
        }
    }
}

/// The outcome of a call of PostgreSQL, within a time on this side: a server that is frozen does not keep to its own.
async fn in_time<T>(call: impl Future<Output = Result<T, ForwardError>>) -> Result<T, ForwardError> {
    let late = |_| Err(ForwardError::Retry("PostgreSQL does not answer".to_owned()));
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
}

impl<'a> Pump<'a> {
    /// Goes on where the forwarder before it was.
    pub(super) async fn load(
        store: Store,
        sink: Arc<Sink>,
        kind: SinkKind,
        cell: CellId,
        config: &Config,
        breaker: &'a mut Breaker,
        stopped: Gauge,
    ) -> Result<Self, ForwardError> {
        let committed = store.load_cursor().await?;
        let have_rows: BTreeSet<u64> = store.rows_behind(committed).await?.into_iter().collect();
        let now = Instant::now();
        let limits = Limits {
            lanes: config.platform_in_flight_max,
            batch_max: config.platform_batch_max,
            one_per_user: sink.is_one_per_user(),
            waiting_max: config.forward_waiting_max,
            retries: config.forward_retry_ms.0.clone(),
            jitter_percent: config.forward_retry_jitter_percent,
        };
        let metrics = PumpMetrics::new(kind, stopped);
        Ok(Self {
            window: Window::new(limits, committed, store.waiting(now).await?, now),
            breaker,
            store,
            sink,
            kind,
            cell,
            told: String::new(),
            sending: JoinSet::new(),
            committed,
            have_rows,
            read_pause: config.forward_interval_ms,
            commit_pause: config.forward_commit_interval_ms,
            next: NextLooks { read: now, replay: now, commit: now },
            metrics,
        })
    }

    /// Forwards until told to stop; then what is under way is waited for, and written down.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> Result<(), ForwardError> {
        while !stop.is_cancelled() {
            self.read().await?;
            self.look_for_replays().await?;
            self.bring_retries().await?;
            self.send();
            self.commit_if_due().await?;
            self.metrics.breaker.set(self.breaker.state().as_gauge());
            self.metrics.waiting.set(self.window.waiting() as f64);
            self.metrics.stopped.set(0.0);
            let wake_at = self.wake_at();
            tokio::select! {
                Some(sent) = self.sending.join_next() => self.settle(sent)?,
                () = tokio::time::sleep_until(wake_at) => {}
                () = stop.cancelled() => {}
            }
        }
        while let Some(sent) = self.sending.join_next().await {
            self.settle(sent)?;
        }
        self.commit().await
    }

    /// Reads on, when there is room and something may be there.
    async fn read(&mut self) -> Result<(), ForwardError> {
        if !self.may_read() || Instant::now() < self.next.read {
            return Ok(());
        }
        let events = in_time(self.store.page(self.window.read_to())).await?;
        let Some(to) = events.last().map(|(seq, _)| *seq) else {
            self.next.read = Instant::now() + self.read_pause;
            return Ok(());
        };
        let have_rows = std::mem::take(&mut self.have_rows);
        let fresh = events.into_iter().filter(|(seq, _)| !have_rows.contains(seq));
        let messages = self.readable(fresh);
        self.window.read(messages, to);
        self.have_rows = have_rows;
        self.have_rows.retain(|seq| *seq > to);
        Ok(())
    }

    /// Whether there is room for more. What has rows already takes none, and its retries wait for it to be read past.
    fn may_read(&self) -> bool {
        if self.have_rows.is_empty() { self.window.has_room() } else { !self.window.is_crowded() }
    }

    /// Whether rows that are due can be sent again. Not before everything that has a row was read past: an event that comes before
    /// such a row, of the same user, may still be in the log.
    fn may_retry(&self) -> bool {
        self.have_rows.is_empty() && !self.window.is_crowded()
    }

    /// The messages among events; what cannot be read is a dead letter at once.
    fn readable(&mut self, events: impl IntoIterator<Item = Logged>) -> Vec<Message> {
        let mut messages = Vec::new();
        for (seq, event) in events {
            match event {
                Ok(event) => messages.extend(Message::of_event(self.cell, event)),
                Err(error) => self.window.read_unreadable(seq, error.to_string()),
            }
        }
        messages
    }

    /// Takes rows that a person wants to be sent again.
    async fn look_for_replays(&mut self) -> Result<(), ForwardError> {
        let now = Instant::now();
        if now < self.next.replay {
            return Ok(());
        }
        self.next.replay = now + REPLAY_PAUSE;
        let seqs = in_time(self.store.replayed(RETRY_EVENTS_MAX)).await?;
        if seqs.is_empty() {
            return Ok(());
        }
        if seqs.len() == RETRY_EVENTS_MAX {
            self.next.replay = now;
        }
        let events = in_time(self.store.events(&seqs)).await?;
        for seq in seqs.iter().filter(|seq| !events.iter().any(|(found, _)| found == *seq)) {
            self.window.read_unreadable(*seq, "event_log does not have it".to_owned());
        }
        let found: Vec<u64> = events.iter().filter(|(_, event)| event.is_ok()).map(|(seq, _)| *seq).collect();
        let messages = self.readable(events);
        for seq in found.iter().filter(|seq| !messages.iter().any(|message| message.seq() == **seq)) {
            self.window.read_nothing(*seq);
        }
        self.window.replay(messages, now);
        // At once: until they are written down they would be found again.
        self.commit().await
    }

    /// Brings the events of rows that are due.
    async fn bring_retries(&mut self) -> Result<(), ForwardError> {
        let now = Instant::now();
        let is_due = self.window.next_due().is_some_and(|at| at <= now);
        if !is_due || !self.may_retry() {
            return Ok(());
        }
        let seqs = self.window.take_due(RETRY_EVENTS_MAX, now);
        let events = in_time(self.store.events(&seqs)).await?;
        let messages = self.readable(events);
        if messages.len() != seqs.len() {
            return Err(ForwardError::Stopped("event_log lacks events that wait in deliveries".to_owned()));
        }
        self.window.retry(messages);
        Ok(())
    }

    /// Sends what may be sent now.
    fn send(&mut self) {
        let now = Instant::now();
        if self.breaker.retry_at().is_some_and(|at| at > now) {
            return;
        }
        while let Some(batch) = self.window.next_batch(now) {
            if !self.breaker.admits(now) {
                self.window.postponed(batch);
                return;
            }
            self.metrics.retries.increment(batch.retries() as u64);
            let (sink, seconds) = (self.sink.clone(), self.metrics.seconds.clone());
            self.sending.spawn(async move {
                let started = Instant::now();
                let outcome = sink.send(batch.messages()).await;
                seconds.record(started.elapsed());
                (batch, outcome)
            });
        }
    }

    /// Notes what came of a request.
    fn settle(&mut self, sent: Result<(Batch, Outcome), JoinError>) -> Result<(), ForwardError> {
        // A panic: nobody knows what became of the batch, so it is read again.
        let (batch, outcome) = sent.map_err(|error| ForwardError::Retry(format!("a request broke off: {error}")))?;
        let (now, events) = (Instant::now(), batch.len() as u64);
        match outcome {
            Outcome::Delivered => {
                self.told.clear();
                self.breaker.succeeded();
                self.metrics.delivered.increment(events);
                self.window.delivered(batch, now);
            }
            Outcome::Refused(why) => {
                self.tell("the sink refused events", &why);
                self.breaker.succeeded();
                self.metrics.refused.increment(events);
                self.window.refused(batch, &why, now);
            }
            Outcome::Unavailable { reason, pause } => {
                self.tell("events could not be delivered", &reason);
                if self.breaker.failed(now, pause) {
                    self.metrics.postponed.increment(events);
                    self.window.postponed(batch);
                } else {
                    self.metrics.failed.increment(events);
                    self.window.failed(batch, &reason, now);
                }
            }
        }
        Ok(())
    }

    /// Says what went wrong, when it is another thing than the last time.
    fn tell(&mut self, what: &str, why: &str) {
        if self.told != why {
            tracing::warn!(sink = %self.kind, cell = %self.cell, why, "{what}");
            why.clone_into(&mut self.told);
        }
    }

    async fn commit_if_due(&mut self) -> Result<(), ForwardError> {
        if !self.has_something_to_commit() || Instant::now() < self.next.commit {
            return Ok(());
        }
        self.commit().await
    }

    fn has_something_to_commit(&self) -> bool {
        self.window.done_to() > self.committed || self.window.has_changes()
    }

    /// Writes down how far the sink is, and what waits.
    async fn commit(&mut self) -> Result<(), ForwardError> {
        let (to, rows) = (self.window.done_to(), self.window.take_changes());
        if to == self.committed && rows.is_empty() {
            return Ok(());
        }
        in_time(self.store.commit(self.committed, to, &rows)).await?;
        self.committed = to;
        self.window.committed(Instant::now());
        self.next.commit = Instant::now() + self.commit_pause;
        let dead = rows.iter().filter(|row| row.state == RowState::Dead).count();
        self.metrics.dead_total.increment(dead as u64);
        Ok(())
    }

    /// When there may be something to do, even if no request ends.
    fn wake_at(&self) -> Instant {
        let mut at = self.next.replay;
        if self.may_read() {
            at = at.min(self.next.read);
        }
        if self.has_something_to_commit() {
            at = at.min(self.next.commit);
        }
        if let Some(due) = self.window.next_due().filter(|_| self.may_retry()) {
            at = at.min(due);
        }
        // Past it, only something to send makes a difference.
        if let Some(retry_at) = self.breaker.retry_at().filter(|at| *at > Instant::now()) {
            at = at.min(retry_at);
        }
        // Whatever else: never a loop without a pause.
        at.max(Instant::now() + Duration::from_millis(1))
    }
}
