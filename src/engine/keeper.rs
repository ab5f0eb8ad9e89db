//! The keeper of a cell's gate: reports what this instance was acknowledged, learns the epoch from PostgreSQL, and opens
//! the cell again when nothing that was answered is missing. An epoch is never learnt from Redis
//! itself: a Redis that came back from the past would vouch for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use fred::types::Value;
use metrics::gauge;
use serde::Deserialize;
use uuid::Uuid;

use super::cell::{CellShared, GateState};
use crate::metrics as names;
use crate::postgres::DatabaseError;
use crate::postgres::gate::{self, Epoch, Report};
use crate::redis::requirements;

/// Time for the first connection to Redis before it counts as away.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Pause between two looks at a cell that is closed.
const CLOSED_LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Pause between two readings of the settings of Redis.
const REQUIREMENTS_PAUSE: Duration = Duration::from_secs(30);

/// What Redis says of itself and the cell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Status {
    server_run_id: String,
    epoch: u64,
    run_id: String,
    seq: u64,
    fenced: String,
    /// First sequence number that the log still has.
    log_first: u64,
    /// The clock of Redis, ms since 1970.
    now: i64,
}

/// Keeps one cell's gate.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<CellShared>,
    pool: Pool,
    instance: Uuid,
    heartbeat: Duration,
    dead_after: Duration,
    requirements_waived: String,
    stopping: AtomicBool,
    memory: Mutex<Memory>,
}

/// What the keeper remembers from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    /// The last epoch that PostgreSQL named.
    known: Option<Epoch>,
    /// When PostgreSQL last failed to answer.
    database_failed_at: Option<Instant>,
    /// For which Redis process, and when, the settings were found right.
    settings: Option<(String, Instant)>,
}

impl Keeper {
    /// A keeper; it does nothing until it runs.
    pub fn new(shared: Arc<CellShared>, pool: Pool, instance: Uuid, config: &crate::config::Config) -> Self {
        Self {
            shared,
            pool,
            instance,
            heartbeat: config.heartbeat_ms,
            dead_after: config.instance_dead_after_ms,
            requirements_waived: config.redis_requirements_waived.clone(),
            stopping: AtomicBool::new(false),
            memory: Mutex::default(),
        }
    }

    /// Looks again and again, at once when the lane asks for it.
    pub async fn run(&self) {
        let cell = self.shared.id.to_string();
        let (open, epoch_gauge) =
            (gauge!(names::GATE_OPEN, "cell" => cell.clone()), gauge!(names::GATE_EPOCH, "cell" => cell));
        // Else every start would begin with a word about Redis being away.
        let _ = tokio::time::timeout(CONNECT_PATIENCE, self.shared.redis.wait_connected()).await;
        loop {
            let state = self.look().await;
            open.set(if matches!(state, GateState::Open(_)) { 1.0 } else { 0.0 });
            let pause = match state {
                GateState::Open(epoch) => {
                    epoch_gauge.set(epoch as f64);
                    self.heartbeat
                }
                GateState::Closed(_) => CLOSED_LOOK_PAUSE,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.look.notified() => {
                    // Many ops may ask in the same moment.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// The last report: nobody need wait for this instance any more.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.shared.set_gate(GateState::Closed("stopping".to_owned()));
        if let Err(error) = self.report(None).await {
            tracing::debug!(%error, "the last report was not written");
        }
    }

    async fn look(&self) -> GateState {
        // First this: the lane goes on meanwhile, and what it is told later may be above the status.
        let acknowledged = self.shared.acknowledged();
        let status = self.status().await;
        let verdict = self.judge(status.as_ref(), acknowledged).await;
        if self.stopping.load(Ordering::Acquire) {
            return GateState::Closed("stopping".to_owned());
        }
        match verdict {
            Ok(state) => self.shared.set_gate(state),
            // Without PostgreSQL orders go on under the epoch that it named last, on the very process that it named.
            Err(error) => {
                let mut memory = self.memory();
                memory.database_failed_at = Some(Instant::now());
                let known = memory.known.clone();
                let judged = status.as_ref().map(|status| judge_epoch(status, known.as_ref(), acknowledged));
                self.shared.set_gate(match judged {
                    Some(GateState::Open(epoch)) => GateState::Open(epoch),
                    Some(GateState::Closed(why)) => GateState::Closed(format!("{why}; {error}")),
                    None => GateState::Closed(format!("Redis is unreachable; {error}")),
                });
            }
        }
        self.shared.gate()
    }

    /// The state that the gate should have, from what Redis and PostgreSQL say now.
    async fn judge(&self, status: Option<&Status>, acknowledged: u64) -> Result<GateState, DatabaseError> {
        let Some(status) = status else {
            // Close before anybody counts acknowledgements; see `LaneTask::deliver`.
            self.shared.close_if_open("Redis is unreachable");
            self.report(None).await?;
            return Ok(GateState::Closed("Redis is unreachable".to_owned()));
        };
        if status.run_id != status.server_run_id {
            self.shared.close_if_open("Redis was restarted or emptied");
        }
        self.report(Some(&status.server_run_id)).await?;
        if let Some(unmet) = self.unmet_requirements(&status.server_run_id).await {
            return Ok(GateState::Closed(unmet));
        }
        let (known, committed) = gate::current_epoch(&self.pool, self.shared.id).await?;
        self.memory().known.clone_from(&known);
        // Redis was asked first, so a writer may have got further meanwhile. Asked again, Redis can only be ahead, unless it has lost
        // something.
        let newer = if committed > status.seq { self.status().await } else { None };
        let status = newer.as_ref().unwrap_or(status);
        if let Some(lost) = judge_history(status, committed) {
            return Ok(GateState::Closed(lost));
        }
        match judge_epoch(status, known.as_ref(), acknowledged) {
            GateState::Open(epoch) => Ok(GateState::Open(epoch)),
            GateState::Closed(why) => {
                self.shared.close_if_open(&why);
                self.try_open().await
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("nobody panics while holding it")
    }

    async fn unmet_requirements(&self, run_id: &str) -> Option<String> {
        if let Some((checked, at)) = &self.memory().settings
            && checked == run_id
            && at.elapsed() < REQUIREMENTS_PAUSE
        {
            return None;
        }
        match requirements::unmet(&self.shared.redis, &self.requirements_waived).await {
            Some(problems) if problems.is_empty() => {
                self.memory().settings = Some((run_id.to_owned(), Instant::now()));
                None
            }
            Some(problems) => Some(problems.join("; ")),
            None => Some("the settings of Redis are not known".to_owned()),
        }
    }

    async fn report(&self, observed_run_id: Option<&str>) -> Result<(), DatabaseError> {
        let report = Report {
            instance: self.instance,
            acknowledged: self.shared.acknowledged(),
            observed_run_id: observed_run_id.map(str::to_owned),
            alive: !self.stopping.load(Ordering::Acquire),
        };
        gate::heartbeat(&self.pool, self.shared.id, &report).await
    }

    async fn status(&self) -> Option<Status> {
        let keys = [self.shared.keys.meta(), self.shared.keys.log()];
        let reply = self.shared.redis.read("status", &keys, Vec::new()).await;
        let decoded =
            reply.map_err(|e| e.to_string()).and_then(|r| rmp_serde::from_slice(&r).map_err(|e| e.to_string()));
        let status: Status = decoded.inspect_err(|error| tracing::debug!(error, "no status of Redis")).ok()?;
        self.shared.note_clock(status.now);
        Some(status)
    }

    /// Opens the cell if nothing answered is missing and no other instance is at it.
    async fn try_open(&self) -> Result<GateState, DatabaseError> {
        let cell = self.shared.id;
        // After PostgreSQL was away every heartbeat is old, and old does not mean dead: the others get their time.
        let failed_at = self.memory().database_failed_at;
        if failed_at.is_some_and(|at| at.elapsed() < self.dead_after) {
            return Ok(GateState::Closed("PostgreSQL was away; waiting for the other instances' reports".to_owned()));
        }
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        if !gate::lock_opening(&transaction, cell).await? {
            return Ok(GateState::Closed("another instance is opening the cell".to_owned()));
        }
        let (last_epoch, committed, reports) = gate::opening_facts(&transaction, cell, self.dead_after).await?;
        let Some(status) = self.status().await else {
            return Ok(GateState::Closed("Redis is unreachable".to_owned()));
        };
        let epoch = match judge_opening(&status, last_epoch, committed, &reports) {
            Ok(epoch) => Epoch { epoch, run_id: status.server_run_id.clone() },
            Err(why) => return Ok(GateState::Closed(why)),
        };
        gate::insert_epoch(&transaction, cell, &epoch, status.seq).await?;
        let args: Vec<Value> =
            vec![epoch.epoch.to_string().into(), epoch.run_id.clone().into(), status.seq.to_string().into()];
        match self.shared.redis.call("open_epoch", &[self.shared.keys.meta()], args).await {
            Ok(answer) if answer.as_ref() == b"1" => {}
            answer => return Ok(GateState::Closed(format!("opening an epoch did not succeed: {answer:?}"))),
        }
        transaction.commit().await?;
        tracing::info!(%cell, epoch = epoch.epoch, seq = status.seq, "opened the cell");
        let opened = GateState::Open(epoch.epoch);
        self.memory().known = Some(epoch);
        Ok(opened)
    }
}

/// Whether the cell is open under the epoch that PostgreSQL knows.
fn judge_epoch(status: &Status, known: Option<&Epoch>, acknowledged: u64) -> GateState {
    if !status.fenced.is_empty() {
        return GateState::Closed(format!("fenced: {}", status.fenced));
    }
    if status.seq < acknowledged {
        return GateState::Closed(format!(
            "history was lost: Redis has events up to {}, but {acknowledged} was answered",
            status.seq
        ));
    }
    match known {
        Some(known)
            if known.epoch == status.epoch
                && known.run_id == status.run_id
                && status.run_id == status.server_run_id =>
        {
            GateState::Open(known.epoch)
        }
        _ => GateState::Closed("Redis and PostgreSQL do not name the same epoch".to_owned()),
    }
}

/// Why the log of this Redis and what PostgreSQL has (everything up to `committed`) are not one history.
fn judge_history(status: &Status, committed: u64) -> Option<String> {
    if status.epoch == 0 || !status.fenced.is_empty() {
        // An empty Redis: what that means is judged when it is to be opened. A fenced one says why itself.
        return None;
    }
    if committed > status.seq {
        return Some(format!("history was lost: Redis has events up to {}, PostgreSQL {committed}", status.seq));
    }
    (committed + 1 < status.log_first).then(|| {
        format!(
            "PostgreSQL has events up to {committed}, but the log begins at {}: it was restored to an older state",
            status.log_first
        )
    })
}

/// The next epoch, or why the cell must stay closed.
fn judge_opening(status: &Status, last_epoch: u64, committed: u64, reports: &[Report]) -> Result<u64, String> {
    if !status.fenced.is_empty() {
        return Err(format!("fenced: {}", status.fenced));
    }
    if last_epoch == 0 && (status.epoch > 0 || status.seq > 0) {
        return Err("Redis holds a cell that PostgreSQL knows nothing of: wrong database, or it was emptied".to_owned());
    }
    let needed = reports.iter().map(|report| report.acknowledged).chain([committed]).max().unwrap_or(0);
    if needed > status.seq {
        return Err(format!(
            "history was lost: Redis has events up to {}, but {needed} was answered or committed",
            status.seq
        ));
    }
    let silent =
        reports.iter().find(|report| report.alive && report.observed_run_id.as_deref() != Some(&status.server_run_id));
    if let Some(report) = silent {
        return Err(format!("waiting for instance {} to say what it was answered", report.instance));
    }
    Ok(last_epoch.max(status.epoch) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(epoch: u64, seq: u64) -> Status {
        Status {
            server_run_id: "new".into(),
            epoch,
            run_id: "old".into(),
            seq,
            fenced: String::new(),
            log_first: 1,
            now: 0,
        }
    }

    fn report(acknowledged: u64, observed: &str, alive: bool) -> Report {
        Report { instance: Uuid::nil(), acknowledged, observed_run_id: Some(observed.into()), alive }
    }

    #[test]
    fn a_first_start_opens_epoch_one_and_a_clean_restart_goes_on() {
        assert_eq!(judge_opening(&status(0, 0), 0, 0, &[]), Ok(1));
        assert_eq!(judge_opening(&status(3, 70), 3, 60, &[report(70, "new", true)]), Ok(4));
        // An epoch that Redis got but PostgreSQL did not commit is passed over.
        assert_eq!(judge_opening(&status(4, 70), 3, 60, &[]), Ok(5));
    }

    #[test]
    fn lost_history_stays_closed_whoever_knows_of_it() {
        assert!(judge_opening(&status(0, 0), 3, 1, &[]).is_err());
        assert!(judge_opening(&status(3, 69), 3, 60, &[report(70, "new", true)]).is_err());
        assert!(judge_opening(&status(3, 69), 3, 60, &[report(70, "old", false)]).is_err());
        assert!(judge_opening(&status(3, 70), 0, 0, &[]).is_err(), "PostgreSQL was emptied");
    }

    #[test]
    fn a_live_instance_that_has_not_seen_the_new_process_is_waited_for() {
        assert!(judge_opening(&status(3, 70), 3, 60, &[report(10, "old", true)]).is_err());
        assert_eq!(judge_opening(&status(3, 70), 3, 60, &[report(10, "old", false)]), Ok(4));
    }

    #[test]
    fn a_database_from_the_past_is_noticed() {
        let mut now = status(3, 70);
        assert_eq!(judge_history(&now, 70), None);
        assert!(judge_history(&now, 71).is_some());
        now.log_first = 51;
        assert_eq!(judge_history(&now, 50), None);
        assert!(judge_history(&now, 49).is_some());
        now.epoch = 0;
        assert_eq!(judge_history(&now, 49), None);
    }

    #[test]
    fn an_epoch_is_believed_only_when_everybody_names_it() {
        let mut now = status(3, 70);
        let known = Epoch { epoch: 3, run_id: "old".into() };
        assert!(matches!(judge_epoch(&now, Some(&known), 70), GateState::Closed(_)), "another process");
        now.server_run_id = "old".into();
        assert_eq!(judge_epoch(&now, Some(&known), 70), GateState::Open(3));
        assert!(matches!(judge_epoch(&now, None, 70), GateState::Closed(_)));
        assert!(matches!(judge_epoch(&now, Some(&known), 71), GateState::Closed(_)), "a replica that was behind");
        now.fenced = "rebuild".into();
        assert!(matches!(judge_epoch(&now, Some(&known), 70), GateState::Closed(_)));
    }
}
