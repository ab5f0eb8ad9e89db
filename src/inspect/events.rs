//! Events of the log and packed values of Redis, as far as a person needs them.

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::look::Asked;
use crate::engine::event::{Event, split};
use crate::engine::ids::{CellId, EntityId};

/// Members of an event that are shown, in this order. Where somebody lives or can be reached is none of them.
const SHOWN: [&str; 12] =
    ["user", "order", "charge", "product", "coupon", "status", "refund", "final", "amount", "delta", "stock", "round"];

/// An event with its number; what it says, or why it cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub seq: u64,
    pub event: Asked<Event>,
}

/// The events of an entry of the log whose first one is `first`.
pub(super) fn events_of(first: u64, packed: &[u8]) -> Vec<Logged> {
    match split(packed) {
        Ok(parts) => (first..).zip(parts).map(|(seq, part)| Logged { seq, event: event_of(part) }).collect(),
        Err(error) => vec![Logged { seq: first, event: Err(error.to_string()) }],
    }
}

/// Reads one packed event.
pub(super) fn event_of(packed: &[u8]) -> Asked<Event> {
    Event::decode(packed).map_err(|error| error.to_string())
}

/// Reads a packed value. One that cannot be read is a fault.
pub(super) fn unpack<T: DeserializeOwned>(column: &str, packed: Option<Bytes>, faults: &mut Vec<String>) -> Option<T> {
    let unpacked = packed.map(|packed| rmp_serde::from_slice(&packed)).transpose();
    unpacked.unwrap_or_else(|error| {
        faults.push(format!("what Redis has in {column} cannot be read: {error}"));
        None
    })
}

/// An event in a few words: its type, when Redis decided it, and what it is about.
pub(super) fn brief(cell: CellId, event: &Asked<Event>) -> Value {
    let event = match event {
        Ok(event) => event,
        Err(error) => return json!(format!("cannot be read: {error}")),
    };
    let mut shown = Map::new();
    shown.insert("type".to_owned(), json!(event.name()));
    let Ok(Value::Object(fields)) = serde_json::to_value(event) else { return Value::Object(shown) };
    if let Some(at) = fields.get("at").and_then(Value::as_i64) {
        shown.insert("at".to_owned(), json!(time(at)));
    }
    for name in SHOWN {
        let value = fields.get(name).filter(|value| !value.is_null()).cloned();
        // Orders and charges are known by their ids, events by their numbers.
        let value = match (name, value.as_ref().and_then(Value::as_u64)) {
            ("order" | "charge", Some(seq)) => Some(json!(EntityId::new(cell, seq))),
            _ => value,
        };
        shown.extend(value.map(|value| (name.to_owned(), value)));
    }
    Value::Object(shown)
}

/// RFC 3339 in UTC from ms since 1970.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charged(seq: u64) -> Vec<u8> {
        let fields = (seq, 1_700_000_000_000_i64, "ann", 500, 0, 500, 0);
        rmp_serde::to_vec(&("fingerprint", "key", "balance_charged", 1, fields)).expect("plain data")
    }

    #[test]
    fn an_entry_is_a_row_of_numbered_events_and_what_cannot_be_read_keeps_its_place() {
        let unknown = rmp_serde::to_vec(&("fingerprint", "key", "balance_charged", 9, ())).expect("plain data");
        let events = events_of(7, &[charged(7), unknown, charged(9)].concat());
        let readable: Vec<(u64, bool)> = events.iter().map(|logged| (logged.seq, logged.event.is_ok())).collect();
        assert_eq!(readable, [(7, true), (8, false), (9, true)]);
        assert!(events_of(3, &[0xc1]).iter().all(|logged| logged.seq == 3 && logged.event.is_err()));
    }

    #[test]
    fn an_event_is_told_in_a_few_words() {
        let cell = CellId::new(0).expect("a cell");
        let told = brief(cell, &event_of(&charged(7)));
        let at = "2023-11-14T22:13:20Z";
        assert_eq!(told, json!({"type": "balance_charged", "at": at, "user": "ann", "amount": 500}));
        assert!(brief(cell, &event_of(&[0xc1])).as_str().is_some_and(|text| text.starts_with("cannot be read: ")));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_a_fault() {
        let mut faults = Vec::new();
        let packed = rmp_serde::to_vec(&5_i64).expect("plain data");
        assert_eq!(unpack::<i64>("stock", Some(packed.into()), &mut faults), Some(5));
        assert_eq!((unpack::<i64>("stock", None, &mut faults), faults.len()), (None, 0));
        assert_eq!(unpack::<i64>("stock", Some(Bytes::from_static(&[0xc1])), &mut faults), None);
        assert!(faults[0].starts_with("what Redis has in stock cannot be read: "), "{faults:?}");
    }
}
