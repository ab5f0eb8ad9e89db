//! One look at both sides, in the order that makes what differs certain.

use std::time::Duration;

use deadpool_postgres::Pool;
use serde_json::{Value, json};

use super::events::{Logged, brief};
use super::redis_cell::{Meta, RedisCell};
use super::sheet::Sheet;
use super::snapshot::{Parked, Snapshot, Tables};
use crate::engine::ids::{CellId, EntityId};
use crate::postgres::{DatabaseError, gate};
use crate::verify::command::order_faults;

/// Longest wait for everything that PostgreSQL is asked in one look.
const POSTGRES_PATIENCE: Duration = Duration::from_mins(1);

/// What somebody said, or why he could not be asked.
pub(super) type Asked<T> = Result<T, String>;

/// Where to look.
pub(super) struct Place {
    pub cell: CellId,
    pub redis: Asked<RedisCell>,
    pub pool: Pool,
}

/// Something that both know.
pub(super) trait Thing {
    /// What Redis says of it.
    type InRedis;

    /// Whether an event is about it.
    fn is_about(&self, logged: &Logged) -> bool;

    /// The order, if it is one.
    fn order(&self) -> Option<EntityId> {
        None
    }

    /// Its rows.
    async fn read_postgres(&self, snapshot: &Snapshot<'_>) -> Result<Tables, DatabaseError>;

    /// Its fields. `tables`: its rows, which may name what is to be looked for; `None`: PostgreSQL could not be asked.
    async fn read_redis(&self, redis: &RedisCell, tables: Option<&Tables>) -> Asked<Self::InRedis>;

    /// Writes down what was found; `None`: that side could not be asked. Nothing is written of what nobody knows.
    fn fill(&self, sheet: &mut Sheet, found: Option<&Self::InRedis>, tables: Option<&Tables>);
}

/// How PostgreSQL stood when it was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The last event that it has.
    pub written: u64,
    /// The epoch that it says is the valid one; `None`: the cell was never opened.
    pub epoch: Option<u64>,
}

/// How both stood when they were asked.
#[derive(Debug)]
pub(super) struct Frame {
    /// `None`: this Redis knows nothing of the cell.
    pub redis: Asked<Option<Meta>>,
    pub postgres: Asked<Kept>,
    /// Events about the thing that PostgreSQL did not have.
    pub unread: usize,
    /// Whether all events that PostgreSQL did not have were looked through for them.
    pub is_tail_complete: bool,
}

impl Frame {
    /// Events that PostgreSQL did not have when Redis had been asked.
    pub(super) fn behind(&self) -> u64 {
        match (&self.redis, &self.postgres) {
            (Ok(Some(meta)), Ok(kept)) => meta.seq.saturating_sub(kept.written),
            _ => 0,
        }
    }

    /// Why the cell is closed, as far as it can be told: then what Redis says is no answer of the shop.
    pub(super) fn closed(&self) -> Option<String> {
        let Some(meta) = self.redis.as_ref().ok()? else { return Some("this Redis knows nothing of it".to_owned()) };
        if let Some(why) = &meta.fenced {
            return Some(format!("it is fenced ({why})"));
        }
        if meta.run_id != meta.server_run_id {
            return Some("Redis was started anew, and nobody has opened it since".to_owned());
        }
        let kept = self.postgres.as_ref().ok()?;
        if kept.epoch != Some(meta.epoch) {
            let named = kept.epoch.map_or("none".to_owned(), |epoch| epoch.to_string());
            return Some(format!("Redis has epoch {}, the valid one in PostgreSQL is {named}", meta.epoch));
        }
        (meta.seq < kept.written)
            .then(|| format!("Redis is at event {}, and PostgreSQL has {} already", meta.seq, kept.written))
    }

    /// Where both stand, in a line.
    pub(super) fn position(&self) -> String {
        let redis = match &self.redis {
            Ok(Some(meta)) => format!("Redis is at event {} (epoch {})", meta.seq, meta.epoch),
            Ok(None) => "Redis is at no event".to_owned(),
            Err(_) => "Redis could not be asked".to_owned(),
        };
        let postgres = match &self.postgres {
            Ok(kept) => format!("PostgreSQL is at event {}", kept.written),
            Err(_) => "PostgreSQL could not be asked".to_owned(),
        };
        format!("{redis}, {postgres}")
    }

    /// What a reader must know before he reads on.
    pub(super) fn notes(&self) -> Vec<String> {
        let missing =
            |name: &str, why: &str| format!("{name} could not be asked: {why}; what it knows is missing here");
        let mut notes = Vec::new();
        notes.extend(self.redis.as_ref().err().map(|why| missing("Redis", why)));
        notes.extend(self.postgres.as_ref().err().map(|why| missing("PostgreSQL", why)));
        notes.extend(self.closed().map(|why| format!("the cell is closed: {why}")));
        let behind = self.behind();
        notes.extend((behind > 0).then(|| format!("PostgreSQL is {} behind", count_of(behind, "event"))));
        notes
    }

    /// For programs.
    pub(super) fn to_json(&self) -> (Value, Value) {
        let redis = match &self.redis {
            Ok(Some(meta)) => json!({"asked": true, "seq": meta.seq, "epoch": meta.epoch}),
            Ok(None) => json!({"asked": true}),
            Err(why) => json!({"asked": false, "error": why}),
        };
        let postgres = match &self.postgres {
            Ok(kept) => json!({"asked": true, "seq": kept.written, "epoch": kept.epoch}),
            Err(why) => json!({"asked": false, "error": why}),
        };
        (redis, postgres)
    }
}

/// A number of things, as people say it.
pub(super) fn count_of(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What PostgreSQL said.
struct Stored {
    kept: Kept,
    tables: Tables,
    parked: Vec<Parked>,
    faults: Vec<String>,
}

/// What Redis said.
struct Seen<F> {
    meta: Option<Meta>,
    found: F,
    /// About the thing, and not in PostgreSQL.
    unread: Vec<Logged>,
    is_tail_complete: bool,
}

/// Looks at both sides of a thing.
pub(super) async fn look<T: Thing>(place: &Place, thing: &T) -> Sheet {
    let stored = match tokio::time::timeout(POSTGRES_PATIENCE, ask_postgres(place, thing)).await {
        Ok(stored) => stored.map_err(|error| error.0),
        Err(_) => Err("no answer".to_owned()),
    };
    let seen = ask_redis(place, thing, stored.as_ref().ok()).await;
    let frame = Frame {
        redis: seen.as_ref().map(|seen| seen.meta.clone()).map_err(Clone::clone),
        postgres: stored.as_ref().map(|stored| stored.kept).map_err(Clone::clone),
        unread: seen.as_ref().map_or(0, |seen| seen.unread.len()),
        is_tail_complete: seen.as_ref().is_ok_and(|seen| seen.is_tail_complete),
    };
    let mut sheet = Sheet::new(place.cell, frame);
    let found = seen.as_ref().ok().map(|seen| &seen.found);
    thing.fill(&mut sheet, found, stored.as_ref().ok().map(|stored| &stored.tables));
    sheet.section("not in PostgreSQL yet");
    for Logged { seq, event } in seen.iter().flat_map(|seen| &seen.unread) {
        sheet.redis_only(format!("event {seq}"), Some(brief(place.cell, event)));
    }
    sheet.section("parked");
    for Parked { logged, reason, attempts } in stored.iter().flat_map(|stored| &stored.parked) {
        let event = brief(place.cell, &logged.event);
        let parked = json!({"event": event, "attempts": attempts, "reason": reason});
        sheet.postgres_only(format!("event {}", logged.seq), Some(parked));
        sheet.fault(format!("event {} is parked: {reason}", logged.seq));
    }
    for fault in stored.into_iter().flat_map(|stored| stored.faults) {
        sheet.fault(fault);
    }
    sheet
}

/// One snapshot of PostgreSQL.
async fn ask_postgres<T: Thing>(place: &Place, thing: &T) -> Result<Stored, DatabaseError> {
    let (epoch, _) = gate::current_epoch(&place.pool, place.cell).await?;
    let epoch = epoch.map(|epoch| epoch.epoch);
    let mut client = place.pool.get().await?;
    let snapshot = Snapshot::open(&mut client, place.cell).await?;
    let kept = Kept { written: snapshot.written().await?, epoch };
    let tables = thing.read_postgres(&snapshot).await?;
    let parked = snapshot.parked(|logged| thing.is_about(logged)).await?;
    // One connection is enough.
    drop(snapshot);
    drop(client);
    let faults = match thing.order() {
        Some(id) => order_faults(&place.pool, id).await?,
        None => Vec::new(),
    };
    Ok(Stored { kept, tables, parked, faults })
}

/// Redis after that snapshot; last the log, which tells whether anything happened to the thing since.
async fn ask_redis<T: Thing>(place: &Place, thing: &T, stored: Option<&Stored>) -> Asked<Seen<T::InRedis>> {
    let redis = place.redis.as_ref().map_err(Clone::clone)?;
    let found = thing.read_redis(redis, stored.map(|stored| &stored.tables)).await?;
    let meta = redis.meta().await?;
    // Without PostgreSQL: what the writer last told Redis.
    let committed = meta.as_ref().map_or(0, |meta| meta.committed);
    let (mut unread, is_tail_complete) = redis.tail(stored.map_or(committed, |stored| stored.kept.written)).await?;
    unread.retain(|logged| thing.is_about(logged));
    Ok(Seen { meta, found, unread, is_tail_complete })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64, written: u64) -> Frame {
        let run_id = "a".repeat(40);
        let server_run_id = run_id.clone();
        let meta = Meta { epoch: 2, run_id, server_run_id, seq, committed: 0, fenced: None };
        let postgres = Ok(Kept { written, epoch: Some(2) });
        Frame { redis: Ok(Some(meta)), postgres, unread: 0, is_tail_complete: true }
    }

    fn closed(change: impl FnOnce(&mut Meta)) -> Option<String> {
        let mut frame = frame(5, 5);
        if let Ok(Some(meta)) = &mut frame.redis {
            change(meta);
        }
        frame.closed()
    }

    #[test]
    fn a_reader_is_told_where_both_stand() {
        let behind = frame(9, 8);
        assert_eq!((behind.behind(), behind.closed()), (1, None));
        assert_eq!(behind.notes(), ["PostgreSQL is 1 event behind"]);
        assert_eq!(behind.position(), "Redis is at event 9 (epoch 2), PostgreSQL is at event 8");
        assert!(frame(9, 9).notes().is_empty());
        let away = Frame { postgres: Err("no route".to_owned()), ..frame(9, 9) };
        assert_eq!((away.behind(), away.notes().len()), (0, 1));
        assert!(away.notes()[0].starts_with("PostgreSQL could not be asked: no route"), "{:?}", away.notes());
    }

    #[test]
    fn a_closed_cell_is_named_with_the_reason() {
        assert_eq!(closed(|_| {}), None);
        assert!(closed(|meta| meta.fenced = Some("half a batch".to_owned())).is_some_and(|why| why.contains("fenced")));
        assert!(closed(|meta| meta.server_run_id = "b".repeat(40)).is_some_and(|why| why.contains("started anew")));
        assert!(closed(|meta| meta.epoch = 1).is_some_and(|why| why.contains("epoch 1, the valid one")));
        assert!(closed(|meta| meta.seq = 4).is_some_and(|why| why.contains("PostgreSQL has 5 already")));
        let empty = Frame { redis: Ok(None), ..frame(0, 0) };
        assert!(empty.closed().is_some_and(|why| why.contains("knows nothing")));
    }
}
