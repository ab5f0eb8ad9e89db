//! A cell seen from this instance: its connection, its lane, whether its gate is open and how far it was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use super::call::Call;
use super::event::Event;
use super::ids::CellId;
use super::lane::Lane;
use super::{EngineError, Outcome};
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;

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
    /// Wakes the keeper: something looks closed.
    pub look: Notify,
}

impl CellShared {
    /// Closed until the keeper has looked.
    pub fn new(id: CellId, keys: CellKeys, redis: RedisClient) -> Arc<Self> {
        let (gate, _) = watch::channel(GateState::Closed("starting".to_owned()));
        Arc::new(Self { id, keys, redis, gate, acknowledged: AtomicU64::new(0), look: Notify::new() })
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
    pub async fn submit(&self, call: Call) -> Result<Outcome, EngineError> {
        let (event, replayed) = self.lane.submit(&call).await?;
        let event = Event::decode(&event).map_err(|e| EngineError::Failed(e.to_string()))?;
        Ok(Outcome { cell: self.shared.id, event, replayed })
    }
}
