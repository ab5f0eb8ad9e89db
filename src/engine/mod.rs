//! The engine seen from Rust: ops go in, events or refusals come out. Everything that decides stands in `lua/`.

pub mod batch;
pub mod call;
pub mod cell;
pub mod event;
pub mod ids;
pub mod keeper;
pub mod lane;
mod lane_metrics;
pub mod model;
pub mod op;
pub mod reads;
pub mod refusal;
pub mod user;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use call::Call;
use cell::Cell;
use event::Event;
use ids::{CellId, EntityId};
use refusal::Refusal;
use user::UserId;

/// A decided op.
#[derive(Debug)]
pub struct Outcome {
    /// Where it was decided.
    pub cell: CellId,
    /// What happened.
    pub event: Event,
    /// Whether this is the recorded outcome of an earlier request under the same key.
    pub replayed: bool,
}

impl Outcome {
    /// Id of the entity that the event started.
    pub fn id(&self) -> EntityId {
        EntityId::new(self.cell, self.event.seq())
    }
}

/// Why an op has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It was decided, against it: nothing changed.
    #[error("refused: {:?}", .0.code)]
    Refused(Refusal),
    /// It was never sent: nothing was done (503).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It was sent and no answer came in time (504).
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// A bug: the op itself makes the engine fail (500).
    #[error("the engine failed: {0}")]
    Failed(String),
}

/// All cells.
#[derive(Clone, Debug)]
pub struct Engine {
    cells: Arc<[Arc<Cell>]>,
}

impl Engine {
    /// `cells` in the order of their ids.
    pub fn new(cells: Vec<Arc<Cell>>) -> Self {
        assert!(!cells.is_empty(), "a service has at least one cell");
        Self { cells: cells.into() }
    }

    /// Every cell.
    pub fn cells(&self) -> &[Arc<Cell>] {
        &self.cells
    }

    /// The cell that minted an id, if this service has it.
    pub fn cell(&self, id: CellId) -> Option<&Arc<Cell>> {
        self.cells.get(id.index())
    }

    /// The cell a user lives in.
    pub fn cell_of(&self, user: &UserId) -> &Arc<Cell> {
        // SipHash with fixed keys: the same user must land in the same cell from every instance and version.
        #[expect(deprecated, reason = "its keys are fixed, which is the point")]
        let mut hash = std::hash::SipHasher::new();
        user.as_str().hash(&mut hash);
        let index = hash.finish() % self.cells.len() as u64;
        &self.cells[usize::try_from(index).expect("an index of a slice")]
    }

    /// The cell that mints products and keeps their stock.
    pub fn product_cell(&self) -> &Arc<Cell> {
        &self.cells[0]
    }

    /// Decides an op in its user's cell.
    pub fn submit(&self, call: &Call) -> impl Future<Output = Result<Outcome, EngineError>> + Send {
        self.cell_of(&call.user).submit(call)
    }

    /// Decides an op about a product in the product's cell.
    pub fn submit_product(&self, call: &Call) -> impl Future<Output = Result<Outcome, EngineError>> + Send {
        self.product_cell().submit(call)
    }
}
