//! One cell of Redis, read with plain commands that change nothing.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, HashesInterface, SortedSetsInterface, StreamsInterface};
use fred::prelude::Options;
use fred::types::{ClusterHash, CustomCommand, InfoKind, Value};

use super::events::{Logged, events_of};
use super::look::Asked;
use crate::engine::reads::FIELDS_MAX;
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;

/// Time for a read of the log: its entries may be many megabytes.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// Entries of the log that are read at once: some milliseconds of Redis' time, however large the batches are.
const TAIL_ENTRIES: u64 = 64;

/// Events that PostgreSQL does not have yet which are looked through: what a writer that is at work leaves waiting.
const TAIL_EVENTS_MAX: usize = 20_000;

/// Open orders and charges that are read at once; their values are whole orders.
const OPEN_CHUNK: i64 = 200;

/// Open orders and charges that are looked through for those of one user.
const OPEN_MAX: usize = 50_000;

/// An entry of the log as Redis answers it: its id, and its fields and values in turn.
type Entry = (String, Vec<Bytes>);

/// What a cell says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub epoch: u64,
    /// Of the process that the cell was opened on.
    pub run_id: String,
    /// Of the process that answered.
    pub server_run_id: String,
    /// Its last event.
    pub seq: u64,
    /// The last event that PostgreSQL had when the writer last told.
    pub committed: u64,
    /// Why it is fenced; `None`: it is not.
    pub fenced: Option<String>,
}

/// A cell to read from.
pub(super) struct RedisCell {
    redis: RedisClient,
    pub keys: CellKeys,
}

impl RedisCell {
    pub(super) fn new(redis: RedisClient, keys: CellKeys) -> Self {
        Self { redis, keys }
    }

    /// What the cell says of itself; `None`: this Redis knows nothing of it.
    pub(super) async fn meta(&self) -> Asked<Option<Meta>> {
        let plain = self.redis.plain();
        let names = vec!["epoch", "run_id", "seq", "committed", "fenced"];
        let values: Vec<Option<String>> = said(plain.hmget(self.keys.meta(), names).await)?;
        let info: String = said(plain.info(Some(InfoKind::Server)).await)?;
        let server_run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().to_owned();
        let mut values = values.into_iter();
        let mut next = || values.next().flatten();
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let Some(epoch) = next() else { return Ok(None) };
        let (run_id, seq, committed, fenced) = (next().unwrap_or_default(), number(next()), number(next()), next());
        Ok(Some(Meta { epoch: number(Some(epoch)), run_id, server_run_id, seq, committed, fenced }))
    }

    /// A field of a hash.
    pub(super) async fn field(&self, key: String, name: &str) -> Asked<Option<Bytes>> {
        said(self.redis.plain().hget(key, name).await)
    }

    /// Fields of a hash, in the order of `names`.
    pub(super) async fn fields(&self, key: &str, names: &[String]) -> Asked<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(names.len());
        for some in names.chunks(FIELDS_MAX) {
            let found: Vec<Option<Bytes>> = said(self.redis.plain().hmget(key, some.to_vec()).await)?;
            values.extend(found);
        }
        Ok(values)
    }

    /// Names of all fields of a hash.
    pub(super) async fn names(&self, key: String) -> Asked<Vec<String>> {
        said(self.redis.plain().hkeys(key).await)
    }

    /// What a sorted set has for a member.
    pub(super) async fn score(&self, key: String, member: &str) -> Asked<Option<i64>> {
        let score: Option<f64> = said(self.redis.plain().zscore(key, member).await)?;
        #[expect(clippy::cast_possible_truncation, reason = "scores are integers below 2^53")]
        Ok(score.map(|score| score as i64))
    }

    /// Event `seq`, if the log still has it.
    pub(super) async fn logged(&self, seq: u64) -> Asked<Option<Logged>> {
        let patient = self.redis.plain().with_options(&Options { timeout: Some(LOG_TIMEOUT), ..Options::default() });
        // The last entry that starts at or below it.
        let newest = format!("{seq}-0");
        let entries: Vec<Entry> = said(patient.xrevrange(self.keys.log(), newest, "-", Some(1)).await)?;
        Ok(entries.iter().flat_map(events_in).find(|logged| logged.seq == seq))
    }

    /// The events behind `after`, in order, and whether these are all.
    pub(super) async fn tail(&self, after: u64) -> Asked<(Vec<Logged>, bool)> {
        let patient = self.redis.plain().with_options(&Options { timeout: Some(LOG_TIMEOUT), ..Options::default() });
        let (mut events, mut next): (Vec<Logged>, u64) = (Vec::new(), after + 1);
        while events.len() < TAIL_EVENTS_MAX {
            let oldest = format!("{next}-0");
            let entries: Vec<Entry> = said(patient.xrange(self.keys.log(), oldest, "+", Some(TAIL_ENTRIES)).await)?;
            if entries.is_empty() {
                return Ok((events, true));
            }
            events.extend(entries.iter().flat_map(events_in));
            match events.last() {
                Some(last) if last.seq >= next => next = last.seq + 1,
                // Entries that are none of this service's.
                _ => break,
            }
        }
        Ok((events, false))
    }

    /// Everything that is open, and whether that is all of it. For when PostgreSQL cannot tell what to look for.
    pub(super) async fn walk_open(&self) -> Asked<(Vec<(String, Bytes)>, bool)> {
        let command = CustomCommand::new_static("HSCAN", ClusterHash::FirstKey, false);
        let (mut open, mut cursor) = (Vec::new(), "0".to_owned());
        while open.len() < OPEN_MAX {
            let arguments: Vec<Value> = vec![self.keys.open().into(), cursor.into(), "COUNT".into(), OPEN_CHUNK.into()];
            let (next, flat): (String, Vec<Bytes>) = said(self.redis.plain().custom(command.clone(), arguments).await)?;
            let pair = |pair: &[Bytes]| (String::from_utf8_lossy(&pair[0]).into_owned(), pair[1].clone());
            open.extend(flat.chunks_exact(2).map(pair));
            if next == "0" {
                return Ok((open, true));
            }
            cursor = next;
        }
        Ok((open, false))
    }
}

fn said<T>(answer: Result<T, fred::error::Error>) -> Asked<T> {
    answer.map_err(|error| error.to_string())
}

/// The events in an entry of the log.
fn events_in((id, fields): &Entry) -> Vec<Logged> {
    let Some(first) = id.strip_suffix("-0").and_then(|seq| seq.parse().ok()) else { return Vec::new() };
    let packed = fields.chunks_exact(2).find(|pair| pair[0].as_ref() == b"events").map(|pair| &pair[1]);
    packed.map_or_else(Vec::new, |packed| events_of(first, packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_of_a_log_holds_no_events() {
        let entry = |id: &str, field: &str| (id.to_owned(), vec![Bytes::from(field.to_owned()), Bytes::new()]);
        for (id, field) in [("5-1", "events"), ("x-0", "events"), ("5-0", "other")] {
            assert!(events_in(&entry(id, field)).is_empty(), "{id} {field}");
        }
        let garbled = ("5-0".to_owned(), vec![Bytes::from_static(b"events"), Bytes::from_static(&[0xc1])]);
        assert_eq!(events_in(&garbled).iter().map(|logged| logged.seq).collect::<Vec<_>>(), [5]);
    }
}
