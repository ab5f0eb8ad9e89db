//! Reads the log in order and checks that it is the one history: sequence numbers without a gap, and each entry naming
//! the nonce of the one before. A fork fails loudly.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::prelude::Options;
use fred::types::streams::XReadResponse;

use super::{Position, WriterError};
use crate::engine::event::{Event, EventError, split};
use crate::redis::client::RedisClient;

/// Entries read at once; the events in them are bounded by the caller.
const ENTRIES_MAX: u64 = 256;

/// Time for a read, beyond what it blocks: the entries may be many megabytes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One entry as Redis had it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Sequence number of its first event.
    pub seq: u64,
    /// Sequence number of its last event.
    pub last_seq: u64,
    /// Names the sending of the batch.
    pub nonce: String,
    /// Packed events, one after the other.
    pub events: Bytes,
}

/// One event with its place.
#[derive(Debug)]
pub(super) struct LoggedEvent {
    /// Sequence number.
    pub seq: u64,
    /// As the log has it.
    pub raw: Bytes,
    /// What it says, or why it cannot be read.
    pub event: Result<Event, EventError>,
}

/// Entries that follow a position without a gap.
#[derive(Debug)]
pub(super) struct LogBatch {
    /// As they were.
    pub entries: Vec<Entry>,
    /// All their events.
    pub events: Vec<LoggedEvent>,
    /// The position after them.
    pub end: Position,
    /// Whether a limit ended it: more waits already.
    pub full: bool,
}

/// Reads one cell's log over a connection of its own.
pub(super) struct LogReader<'a> {
    redis: &'a RedisClient,
    log: String,
}

impl<'a> LogReader<'a> {
    /// `log`: the key of the stream.
    pub(super) fn new(redis: &'a RedisClient, log: String) -> Self {
        Self { redis, log }
    }

    /// What follows `position`, at most about `events_max` events; `None` when nothing came for as long as `patience`.
    pub(super) async fn next(
        &self,
        position: &Position,
        events_max: usize,
        patience: Duration,
    ) -> Result<Option<LogBatch>, WriterError> {
        if !self.redis.wait_connected().await {
            return Err(WriterError::Retry("Redis is unreachable".to_owned()));
        }
        let block_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let after = format!("{}-0", position.seq);
        let patient = self.redis.plain().with_options(&Options { timeout: Some(READ_TIMEOUT), ..Options::default() });
        let read: Result<XReadResponse<String, String, String, Bytes>, _> =
            patient.xread_map(Some(ENTRIES_MAX), Some(block_ms), self.log.as_str(), after).await;
        let mut streams = match read {
            Ok(streams) => streams,
            // fred's answer to "nothing came".
            Err(error) if matches!(error.kind(), fred::error::ErrorKind::NotFound | fred::error::ErrorKind::Parse) => {
                return Ok(None);
            }
            Err(error) => {
                self.redis.watch_silence(true);
                return Err(WriterError::Retry(format!("reading the log: {error}")));
            }
        };
        let entries = streams.remove(&self.log).unwrap_or_default();
        if entries.is_empty() {
            return Ok(None);
        }
        check(position, entries, events_max).map(Some)
    }
}

/// Turns raw entries into a batch, or says why they are not the continuation of `position`.
fn check(
    position: &Position,
    raw_entries: Vec<(String, HashMap<String, Bytes>)>,
    events_max: usize,
) -> Result<LogBatch, WriterError> {
    let stopped = |what: String| WriterError::Stopped(what);
    let mut batch = LogBatch { entries: Vec::new(), events: Vec::new(), end: position.clone(), full: false };
    let most_entries = raw_entries.len() as u64 >= ENTRIES_MAX;
    for (id, mut fields) in raw_entries {
        let mut field = |name: &str| {
            fields.remove(name).ok_or_else(|| WriterError::Stopped(format!("log entry {id} has no field {name}")))
        };
        let seq: u64 = id
            .strip_suffix("-0")
            .and_then(|seq| seq.parse().ok())
            .ok_or_else(|| stopped(format!("log entry {id} is not named by a sequence number")))?;
        if seq != batch.end.seq + 1 {
            return Err(stopped(format!("the log goes from {} to {seq}: a gap, or another history", batch.end.seq)));
        }
        let (prev, nonce) = (text(&field("prev")?), text(&field("nonce")?));
        if prev != batch.end.nonce {
            return Err(stopped(format!(
                "log entry {id} follows batch {prev:?}, not {:?}: history forked",
                batch.end.nonce
            )));
        }
        let events = field("events")?;
        let parts = split(&events).map_err(|e| stopped(format!("log entry {id}: {e}")))?;
        for (i, raw) in (seq..).zip(parts) {
            let event = Event::decode(raw);
            if let Err(unknown @ EventError::Unknown { .. }) = &event {
                return Err(stopped(format!("event {i}: {unknown}; a newer version of the service wrote it")));
            }
            batch.events.push(LoggedEvent { seq: i, raw: events.slice_ref(raw), event });
        }
        let last_seq = batch.events.last().map_or(seq, |event| event.seq);
        batch.entries.push(Entry { seq, last_seq, nonce: nonce.clone(), events });
        batch.end = Position { seq: last_seq, nonce };
        if batch.events.len() >= events_max {
            batch.full = true;
            break;
        }
    }
    batch.full |= most_entries;
    Ok(batch)
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Vec<u8> {
        let fields =
            serde_json::json!({"seq": seq, "at": 0, "user": "u", "amount": 1, "previous": 0, "balance": 1, "used": 0});
        rmp_serde::to_vec_named(&("fingerprint", "key", "balance_charged", 1, fields)).expect("plain data")
    }

    fn entry(seq: u64, prev: &str, nonce: &str, events: &[Vec<u8>]) -> (String, HashMap<String, Bytes>) {
        let texts = [("prev", prev), ("nonce", nonce)].map(|(k, v)| (k, v.as_bytes().to_vec()));
        let fields = texts.into_iter().chain([("events", events.concat())]);
        (format!("{seq}-0"), fields.map(|(k, v)| (k.to_owned(), Bytes::from(v))).collect())
    }

    fn stops(position: &Position, entries: Vec<(String, HashMap<String, Bytes>)>, word: &str) {
        match check(position, entries, 100) {
            Err(WriterError::Stopped(why)) => assert!(why.contains(word), "{why}"),
            other => panic!("not stopped: {other:?}"),
        }
    }

    #[test]
    fn a_continuation_is_accepted_and_bounded() {
        let start = Position { seq: 4, nonce: "a".into() };
        let entries = vec![entry(5, "a", "b", &[event(5), event(6)]), entry(7, "b", "c", &[event(7)])];
        let all = check(&start, entries.clone(), 100).expect("a continuation");
        assert_eq!(all.end, Position { seq: 7, nonce: "c".into() });
        assert_eq!(all.events.len(), 3);
        assert_eq!(check(&start, entries, 2).expect("a continuation").end.seq, 6);
    }

    #[test]
    fn gaps_forks_and_newer_events_stop_the_writer() {
        let start = Position { seq: 4, nonce: "a".into() };
        stops(&start, vec![entry(6, "a", "b", &[event(6)])], "gap");
        stops(&start, vec![entry(5, "z", "b", &[event(5)])], "fork");
        let newer = rmp_serde::to_vec_named(&("fingerprint", "key", "balance_charged", 2, ())).expect("plain data");
        stops(&start, vec![entry(5, "a", "b", &[newer])], "newer");
        stops(&start, vec![entry(5, "a", "b", &[vec![0xc1]])], "not an event");
    }

    #[test]
    fn a_malformed_event_keeps_its_place_among_the_others() {
        let start = Position { seq: 4, nonce: "a".into() };
        let bad = rmp_serde::to_vec_named(&("fingerprint", "key", "balance_charged", 1, serde_json::json!({"seq": 6})))
            .expect("plain data");
        let batch = check(&start, vec![entry(5, "a", "b", &[event(5), bad, event(7)])], 100).expect("a continuation");
        let readable: Vec<_> = batch.events.iter().map(|e| (e.seq, e.event.is_ok())).collect();
        assert_eq!(readable, [(5, true), (6, false), (7, true)]);
    }
}
