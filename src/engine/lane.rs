//! The lane of a cell: collects the ops that arrive while the batches before are in flight and sends them as one call.
//! An idle service adds no delay; a busy one makes bigger batches.
//!
//! What was ever sent and not answered is never called "nothing done": it is sent again, under a new epoch too, until
//! its deadline, and then its outcome is unknown. Every op carries an idempotency key, so a repeat finds the record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::EngineError;
use super::batch::{self, BatchReply, ClosedReason, OpResult, Rules};
use super::call::Call;
use super::cell::{CellShared, GateState};
use super::lane_metrics::LaneMetrics;
use super::refusal::Refused;
use crate::redis::client::CallError;
use crate::redis::keys::BatchKeys;
use crate::trace::{self, Step};

/// Pause before an unanswered batch is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(20);

/// In the error of a batch that reached the log but not every column: its ops may count, so they are unanswered.
const HALF_STORED: &str = "HALF_STORED";

/// Limits and rules of a lane.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// Ops in one batch.
    pub ops_max: usize,
    /// Redis fields in one batch.
    pub fields_max: usize,
    /// Batches in flight.
    pub batches_in_flight_max: usize,
    /// Ops that make a batch worth sending while another one is in flight.
    pub next_batch_ops_min: usize,
    /// Ops waiting.
    pub queue_max: usize,
    /// From arrival to answer.
    pub deadline: Duration,
    /// Business rules that travel with every batch.
    pub rules: Rules,
    /// Zone of the business day.
    pub zone: TimeZone,
}

impl LaneConfig {
    /// The configured lane.
    pub fn new(config: &crate::config::Config) -> Self {
        Self {
            ops_max: config.lane_ops_max,
            fields_max: config.lane_fields_max,
            batches_in_flight_max: config.lane_batches_in_flight_max,
            // No batch takes more, and no more can wait.
            next_batch_ops_min: config.lane_next_batch_ops_min.min(config.lane_ops_max).min(config.lane_queue_max),
            queue_max: config.lane_queue_max,
            deadline: config.op_deadline_ms,
            rules: Rules::new(config),
            zone: TimeZone::get(&config.business_timezone).expect("checked when the configuration was loaded"),
        }
    }
}

/// The event of a decided op, packed, and whether it was replayed.
pub type Decided = (Bytes, bool);

/// One op on its way.
#[derive(Debug)]
struct Pending {
    encoded: Vec<u8>,
    op: usize,
    fields: usize,
    arrived: Instant,
    deadline: Instant,
    first_sent: Option<Instant>,
    /// Whether an earlier sending of it went unanswered.
    sent: bool,
    answer: oneshot::Sender<Answered>,
}

impl Pending {
    fn answer(self, result: Result<Decided, EngineError>) {
        let now = Instant::now();
        let sent = self.first_sent.unwrap_or(now);
        let (queued, called) = (sent.duration_since(self.arrived), now.duration_since(sent));
        // Nobody may be waiting any more: the key finds out.
        let _ = self.answer.send(Answered { result, queued, called });
    }
}

/// What an op got, and where its time went.
#[derive(Debug)]
struct Answered {
    result: Result<Decided, EngineError>,
    queued: Duration,
    /// From its first sending on, however often it was sent.
    called: Duration,
}

/// The handle that requests use.
#[derive(Clone, Debug)]
pub struct Lane {
    queue: mpsc::Sender<Pending>,
    /// Told when as many ops wait as make a batch while another one is in flight.
    enough: Arc<Notify>,
    next_batch_ops_min: usize,
    deadline: Duration,
    metrics: Arc<LaneMetrics>,
}

impl Lane {
    /// Starts the lane's task. It ends, after the last answer, when every handle is gone.
    pub fn start(shared: Arc<CellShared>, config: LaneConfig) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, arrivals) = mpsc::channel(config.queue_max);
        let metrics = Arc::new(LaneMetrics::new(shared.id));
        let enough = Arc::new(Notify::new());
        let lane = Self {
            queue,
            enough: enough.clone(),
            next_batch_ops_min: config.next_batch_ops_min,
            deadline: config.deadline,
            metrics: metrics.clone(),
        };
        let task = LaneTask {
            gate: shared.watch_gate(),
            keys: BatchKeys::new(&shared.keys, &config.zone, Timestamp::now()),
            shared,
            config,
            arrivals,
            enough,
            overflow: None,
            in_flight: FuturesUnordered::new(),
            resend: VecDeque::new(),
            resend_at: Instant::now(),
            metrics,
        };
        (lane, tokio::spawn(task.run()))
    }

    /// Decides one op. Answers by its deadline, give or take one call of Redis.
    pub async fn submit(&self, call: &Call) -> Result<Decided, EngineError> {
        let (answer, answered) = oneshot::channel();
        let op = call.op.index();
        let encoded = trace::timed(Step::Encode, || call.encode());
        let arrived = Instant::now();
        let pending = Pending {
            encoded,
            op,
            fields: call.op.fields(),
            arrived,
            deadline: arrived + self.deadline,
            first_sent: None,
            sent: false,
            answer,
        };
        let result = match self.queue.try_send(pending) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(EngineError::Unavailable("the queue of the lane is full".to_owned()))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(EngineError::Unavailable("stopping".to_owned())),
            Ok(()) => {
                if self.queue.max_capacity() - self.queue.capacity() >= self.next_batch_ops_min {
                    self.enough.notify_one();
                }
                match answered.await {
                    // A lane that died with the op in hand may have sent it.
                    Err(_) => Err(EngineError::OutcomeUnknown),
                    Ok(Answered { result, queued, called }) => {
                        trace::note(Step::Queue, arrived.into_std(), queued);
                        trace::note(Step::Redis, (arrived + queued).into_std(), called);
                        result
                    }
                }
            }
        };
        self.metrics.count(op, &result);
        result
    }
}

/// A sending that came to an end.
struct Returned {
    ops: Vec<Pending>,
    epoch: u64,
    started: Instant,
    answer: Result<Vec<Value>, CallError>,
}

struct LaneTask {
    shared: Arc<CellShared>,
    config: LaneConfig,
    gate: watch::Receiver<GateState>,
    keys: BatchKeys,
    arrivals: mpsc::Receiver<Pending>,
    enough: Arc<Notify>,
    /// An op that did not fit into the last batch.
    overflow: Option<Pending>,
    in_flight: FuturesUnordered<BoxFuture<'static, Returned>>,
    /// Batches to send again, and when.
    resend: VecDeque<Vec<Pending>>,
    resend_at: Instant,
    metrics: Arc<LaneMetrics>,
}

impl LaneTask {
    async fn run(mut self) {
        let mut more = true;
        while more || !self.in_flight.is_empty() || !self.resend.is_empty() || self.overflow.is_some() {
            let gate = self.gate.borrow_and_update().clone();
            self.send_what_waits(&gate);
            let free = self.in_flight.len() < self.config.batches_in_flight_max;
            // What a batch costs whoever is in it, Redis' fsync above all, is not worth it for a few ops: they go when enough have
            // come, or when none is in flight any more. What is sent again or did not fit does not wait for others.
            let worth_it = self.in_flight.is_empty() || self.arrivals.len() >= self.config.next_batch_ops_min;
            let accepts = more && self.overflow.is_none() && (free && worth_it || matches!(gate, GateState::Closed(_)));
            let wake = self.next_wake();
            tokio::select! {
                biased;
                Some(returned) = self.in_flight.next() => self.take_back(returned),
                changed = self.gate.changed() => changed.expect("the lane holds the sender too"),
                arrival = self.arrivals.recv(), if accepts => match (arrival, &gate) {
                    (None, _) => more = false,
                    (Some(op), GateState::Open(epoch)) => {
                        let ops = self.gather(op);
                        self.send(ops, *epoch);
                    }
                    (Some(op), GateState::Closed(why)) => {
                        self.metrics.queue_ops.set(self.arrivals.len() as f64);
                        op.answer(Err(EngineError::Unavailable(why.clone())));
                    }
                },
                () = self.enough.notified(), if free && !worth_it => {}
                () = sleep_until(wake), if !self.resend.is_empty() => self.expire(),
            }
        }
    }

    /// Sends again what is due, and what did not fit into the last batch.
    fn send_what_waits(&mut self, gate: &GateState) {
        match gate {
            GateState::Open(epoch) => {
                while self.in_flight.len() < self.config.batches_in_flight_max {
                    if self.resend_at <= Instant::now()
                        && let Some(ops) = self.resend.pop_front()
                    {
                        self.send(ops, *epoch);
                    } else if let Some(op) = self.overflow.take() {
                        let ops = self.gather(op);
                        self.send(ops, *epoch);
                    } else {
                        break;
                    }
                }
            }
            GateState::Closed(why) => {
                if let Some(op) = self.overflow.take() {
                    op.answer(Err(EngineError::Unavailable(why.clone())));
                }
            }
        }
    }

    /// `first` and whatever else has arrived, up to the limits.
    fn gather(&mut self, first: Pending) -> Vec<Pending> {
        let now = Instant::now();
        let mut fields = 0;
        let mut ops = Vec::with_capacity(self.arrivals.len().min(self.config.ops_max) + 1);
        let mut next = Some(first);
        while let Some(op) = next.take().or_else(|| self.arrivals.try_recv().ok()) {
            if op.deadline <= now {
                op.answer(Err(EngineError::Unavailable("it waited too long".to_owned())));
                continue;
            }
            if !ops.is_empty() && fields + op.fields > self.config.fields_max {
                self.overflow = Some(op);
                break;
            }
            fields += op.fields;
            ops.push(op);
            if ops.len() >= self.config.ops_max {
                break;
            }
        }
        self.metrics.queue_ops.set(self.arrivals.len() as f64);
        ops
    }

    fn send(&mut self, mut ops: Vec<Pending>, epoch: u64) {
        if ops.is_empty() {
            return;
        }
        let now = Timestamp::now();
        if self.keys.is_stale(now) {
            self.keys = BatchKeys::new(&self.shared.keys, &self.config.zone, now);
        }
        let latest = ops.iter().map(|op| op.deadline).max().unwrap_or_else(Instant::now);
        let patience = latest.saturating_duration_since(Instant::now());
        let header = batch::Header {
            epoch,
            acknowledged: self.shared.acknowledged(),
            not_after: self.shared.redis_clock_after(patience),
            nonce: &format!("{:016x}", rand::random::<u64>()),
            rules: self.config.rules,
            first_idem_day: self.keys.first_idem_day,
            sales_days: &self.keys.sales_days,
        };
        let encoded: Vec<&[u8]> = ops.iter().map(|op| op.encoded.as_slice()).collect();
        let payload = Bytes::from(batch::encode(&header, &encoded));
        self.metrics.batch_ops.record(ops.len() as f64);
        let redis = self.shared.redis.clone();
        let keys = self.keys.keys.clone();
        let started = Instant::now();
        for op in &mut ops {
            op.first_sent.get_or_insert(started);
        }
        self.in_flight.push(Box::pin(async move {
            let answer = redis.apply(&keys, payload).await;
            Returned { ops, epoch, started, answer }
        }));
    }

    fn take_back(&mut self, returned: Returned) {
        let Returned { ops, epoch, started, answer } = returned;
        self.metrics.call_seconds.record(started.elapsed());
        match answer {
            Ok(reply) => match batch::decode(reply, ops.len()) {
                Ok(BatchReply::Open { now_ms, seq, results }) => {
                    self.shared.note_clock(now_ms);
                    self.deliver(ops, epoch, seq, results);
                }
                // Only this sending was refused; the cell is as it was.
                Ok(BatchReply::Closed(ClosedReason::Late)) => self.not_executed(ops, "it was too long on its way"),
                Ok(BatchReply::Closed(reason)) => {
                    self.shared.close(epoch, format!("closed by Redis: {reason:?}"));
                    self.not_executed(ops, "the cell is closed");
                }
                Err(error) => {
                    tracing::error!(%error, "a batch was answered, but not readably");
                    self.unanswered(ops);
                }
            },
            Err(CallError::NotSent) => {
                self.shared.look.notify_one();
                self.not_executed(ops, "Redis is unreachable");
            }
            Err(CallError::NotExecuted(why)) => {
                tracing::warn!(why, "Redis refused a batch");
                self.shared.look.notify_one();
                self.not_executed(ops, "Redis refuses calls");
            }
            Err(CallError::Unanswered(why)) => {
                tracing::warn!(why, ops = ops.len(), "a batch went unanswered");
                self.shared.look.notify_one();
                self.unanswered(ops);
            }
            Err(CallError::Script(why)) if why.contains(HALF_STORED) => {
                tracing::error!(why, "a batch was stored by half; the cell is fenced");
                self.shared.look.notify_one();
                self.unanswered(ops);
            }
            Err(CallError::Script(why)) => self.script_error(ops, &why),
        }
    }

    /// Tells everybody. An answer that comes after the gate has changed is not told: the keeper may have counted what
    /// this instance was acknowledged already, so the batch is sent again and finds its records.
    fn deliver(&mut self, ops: Vec<Pending>, epoch: u64, seq: u64, results: Vec<OpResult>) {
        self.shared.acknowledge(seq);
        if self.shared.gate() != GateState::Open(epoch) {
            self.unanswered(ops);
            return;
        }
        for (op, result) in ops.into_iter().zip(results) {
            let told = match result {
                OpResult::Done { event, replayed } => Ok((event, replayed)),
                // An earlier sending may still be on its way, over a connection of its own, and find other facts: only
                // when its time is over is a refusal final.
                OpResult::Refused(_) if op.sent => Err(EngineError::OutcomeUnknown),
                OpResult::Refused(refusal) if refusal.code == Refused::BacklogFull => {
                    self.metrics.count_refusal(op.op, refusal.code);
                    Err(EngineError::Unavailable("PostgreSQL is too far behind".to_owned()))
                }
                OpResult::Refused(refusal) => Err(EngineError::Refused(refusal)),
                OpResult::Unknown(code) => Err(EngineError::Failed(format!("unknown refusal {code}"))),
            };
            op.answer(told);
        }
    }

    /// This sending did nothing. What an earlier one did is still open.
    fn not_executed(&mut self, ops: Vec<Pending>, why: &str) {
        let (open, fresh): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| op.sent);
        for op in fresh {
            op.answer(Err(EngineError::Unavailable(why.to_owned())));
        }
        self.queue_resend(open);
    }

    fn unanswered(&mut self, mut ops: Vec<Pending>) {
        for op in &mut ops {
            op.sent = true;
        }
        self.metrics.resends.increment(1);
        self.queue_resend(ops);
    }

    fn queue_resend(&mut self, ops: Vec<Pending>) {
        if !ops.is_empty() {
            self.resend.push_back(ops);
            self.resend_at = Instant::now() + RESEND_PAUSE;
        }
        self.expire();
    }

    /// One bad op must not take the others with it: each is sent alone, and the one that still fails is the culprit.
    fn script_error(&mut self, mut ops: Vec<Pending>, why: &str) {
        if ops.len() == 1 {
            tracing::error!(why, op = super::op::Op::NAMES[ops[0].op], "an op makes the engine fail");
            self.metrics.script_errors.increment(1);
            ops.remove(0).answer(Err(EngineError::Failed(why.to_owned())));
        } else {
            tracing::error!(why, ops = ops.len(), "a batch failed; sending it op by op");
            self.resend.extend(ops.into_iter().map(|op| vec![op]));
            self.resend_at = Instant::now();
        }
    }

    /// Answers what has waited past its deadline.
    fn expire(&mut self) {
        let now = Instant::now();
        for ops in &mut self.resend {
            let (late, rest): (Vec<_>, Vec<_>) = std::mem::take(ops).into_iter().partition(|op| op.deadline <= now);
            *ops = rest;
            for op in late {
                let verdict = if op.sent {
                    EngineError::OutcomeUnknown
                } else {
                    EngineError::Unavailable("it waited too long".to_owned())
                };
                op.answer(Err(verdict));
            }
        }
        self.resend.retain(|ops| !ops.is_empty());
    }

    /// When something in `resend` becomes due or too late.
    fn next_wake(&self) -> Instant {
        let deadlines = self.resend.iter().flatten().map(|op| op.deadline);
        let soonest = deadlines.min().unwrap_or(self.resend_at);
        if self.resend_at > Instant::now() { soonest.min(self.resend_at) } else { soonest }
    }
}
