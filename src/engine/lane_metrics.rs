//! Metrics of a lane, with handles made once: the macros would hash their key on every op.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::EngineError;
use super::ids::CellId;
use super::lane::Decided;
use super::op::Op;
use super::refusal::Refused;
use crate::metrics as names;

const OUTCOMES: [&str; 6] = ["done", "replayed", "refused", "unavailable", "unknown", "failed"];

/// Handles of one lane.
pub struct LaneMetrics {
    /// Ops in a batch.
    pub batch_ops: Histogram,
    /// Ops waiting.
    pub queue_ops: Gauge,
    /// Time of a call.
    pub call_seconds: Histogram,
    /// Batches sent again.
    pub resends: Counter,
    /// Ops that make the engine fail.
    pub script_errors: Counter,
    ops: Vec<[Counter; OUTCOMES.len()]>,
    /// Per op, of the refusals that it can meet.
    refusals: Vec<Vec<(Refused, Counter)>>,
}

impl LaneMetrics {
    /// Handles for the lane of `cell`.
    pub fn new(cell: CellId) -> Self {
        let cell = cell.to_string();
        let ops =
            Op::NAMES.map(|op| OUTCOMES.map(|outcome| counter!(names::LANE_OPS, "op" => op, "outcome" => outcome)));
        let refusals = Op::NAMES.map(|op| {
            let of_op = |r: &Refused| (*r, counter!(names::LANE_REFUSALS, "op" => op, "code" => r.code()));
            Op::refusals(op).iter().chain(&Refused::COMMON).map(of_op).collect()
        });
        Self {
            batch_ops: histogram!(names::LANE_BATCH_OPS),
            queue_ops: gauge!(names::LANE_QUEUE_OPS, "cell" => cell.clone()),
            call_seconds: histogram!(names::REDIS_CALL_SECONDS),
            resends: counter!(names::LANE_RESENDS, "cell" => cell),
            script_errors: counter!(names::LANE_SCRIPT_ERRORS),
            ops: ops.into(),
            refusals: refusals.into(),
        }
    }

    /// Counts a refusal of op number `op`.
    pub fn count_refusal(&self, op: usize, code: Refused) {
        if let Some((_, counter)) = self.refusals[op].iter().find(|(of, _)| *of == code) {
            counter.increment(1);
        }
    }

    /// Counts what op number `op` got.
    pub fn count(&self, op: usize, result: &Result<Decided, EngineError>) {
        let outcome = match result {
            Ok((_, false)) => 0,
            Ok((_, true)) => 1,
            Err(EngineError::Refused(refusal)) => {
                self.count_refusal(op, refusal.code);
                2
            }
            Err(EngineError::Unavailable(_)) => 3,
            Err(EngineError::OutcomeUnknown) => 4,
            Err(EngineError::Failed(_)) => 5,
        };
        self.ops[op][outcome].increment(1);
    }
}

impl std::fmt::Debug for LaneMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneMetrics")
    }
}
