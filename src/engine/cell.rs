//! A cell seen from this instance: its connection, its lane, whether its gate is open and how far it was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};

use super::call::Call;
use super::event::Event;
use super::ids::CellId;
use super::lane::Lane;
use super::{EngineError, Outcome};
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;

/// Reads of one cell under way.
const READS_MAX: usize = 1_000;

/// Whether this instance may use the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateState {
    /// Under this epoch.
    Open(u64),
    /// Not, and why (for operators).
    Closed(String),
}

/// What the lane, the keeper and the handlers share about a cell.
#[derive(Debug)]
pub struct CellShared {
    /// Which cell.
    pub id: CellId,
    /// Its keys.
    pub keys: CellKeys,
    /// Its connection.
    pub redis: RedisClient,
    gate: watch::Sender<GateState>,
    acknowledged: AtomicU64,
    /// The clock of Redis less that of this process, in ms, as of the last answer.
    clock_ahead_ms: AtomicI64,
    /// Reads under way: more are refused, so that a Redis that hangs does not pile them up.
    pub reads: Semaphore,
    /// Wakes the keeper: something looks closed.
    pub look: Notify,
}

impl CellShared {
    /// Closed until the keeper has looked.
    pub fn new(id: CellId, keys: CellKeys, redis: RedisClient) -> Arc<Self> {
        let (gate, _) = watch::channel(GateState::Closed("starting".to_owned()));
        Arc::new(Self {
            id,
            keys,
            redis,
            gate,
            acknowledged: AtomicU64::new(0),
            clock_ahead_ms: AtomicI64::new(0),
            reads: Semaphore::new(READS_MAX),
            look: Notify::new(),
        })
    }

    /// The gate as it is now.
    pub fn gate(&self) -> GateState {
        self.gate.borrow().clone()
    }

    /// Changes of the gate.
    pub fn watch_gate(&self) -> watch::Receiver<GateState> {
        self.gate.subscribe()
    }

    /// Sets the gate; tells watchers only of changes.
    pub fn set_gate(&self, state: GateState) {
        self.gate.send_if_modified(|current| {
            let changed = *current != state;
            if changed {
                tracing::info!(cell = %self.id, ?state, "gate");
                *current = state;
            }
            changed
        });
    }

    /// Closes the gate if it is open; a closed one keeps its reason.
    pub fn close_if_open(&self, why: &str) {
        if matches!(self.gate(), GateState::Open(_)) {
            self.set_gate(GateState::Closed(why.to_owned()));
        }
    }

    /// Closes the gate that was open under `epoch` and has the keeper look; a newer epoch stays open.
    pub fn close(&self, epoch: u64, why: String) {
        if self.gate() == GateState::Open(epoch) {
            self.set_gate(GateState::Closed(why));
        }
        self.look.notify_one();
    }

    /// Notes what the clock of Redis said in an answer that has just come.
    pub fn note_clock(&self, redis_ms: i64) {
        self.clock_ahead_ms.store(redis_ms - Timestamp::now().as_millisecond(), Ordering::Relaxed);
    }

    /// How far the clock of Redis is ahead of this process', in ms, as of the last answer.
    pub fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms.load(Ordering::Relaxed)
    }

    /// What the clock of Redis will say after `wait`, or less: an answer is always a little old when it comes.
    pub fn redis_clock_after(&self, wait: Duration) -> i64 {
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
        Timestamp::now().as_millisecond() + self.clock_ahead_ms() + wait_ms
    }

    /// The highest sequence number that this instance was ever told.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Notes an answer, before anybody is told of it.
    pub fn acknowledge(&self, seq: u64) {
        self.acknowledged.fetch_max(seq, Ordering::AcqRel);
    }
}

/// A cell with its lane.
#[derive(Debug)]
pub struct Cell {
    /// Gate, keys and connection.
    pub shared: Arc<CellShared>,
    lane: Lane,
}

impl Cell {
    /// A cell whose lane runs already.
    pub fn new(shared: Arc<CellShared>, lane: Lane) -> Self {
        Self { shared, lane }
    }

    /// Decides an op here.
    pub async fn submit(&self, call: &Call) -> Result<Outcome, EngineError> {
        let (event, replayed) = self.lane.submit(call).await?;
        let event = Event::decode(&event).map_err(|e| EngineError::Failed(e.to_string()))?;
        Ok(Outcome { cell: self.shared.id, event, replayed })
    }
}
