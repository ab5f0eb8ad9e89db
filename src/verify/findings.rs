//! What a comparison has found so far.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::report::{Checked, DIFFERENCES_MAX, Difference, Kind, Range, Report};
use crate::engine::ids::CellId;

/// What Redis and what PostgreSQL says; `None`: nothing, or it is not asked.
pub(super) type Sides = (Option<Value>, Option<Value>);

/// Gathers differences and counts.
#[derive(Debug)]
pub(super) struct Findings {
    cell: i16,
    started_at: Timestamp,
    /// First and last sequence number that something was compared at.
    range: Option<(u64, u64)>,
    pub checked: Checked,
    pub busy: u64,
    differences: Vec<Difference>,
    differences_total: u64,
}

impl Findings {
    pub(super) fn new(cell: CellId) -> Self {
        Self {
            cell: cell.as_i16(),
            started_at: Timestamp::now(),
            range: None,
            checked: Checked::default(),
            busy: 0,
            differences: Vec::new(),
            differences_total: 0,
        }
    }

    pub(super) fn into_report(self) -> Report {
        let (seq_from, seq_to) = self.range.unwrap_or_default();
        Report {
            started_at: self.started_at,
            finished_at: Timestamp::now(),
            cells: vec![Range { cell: self.cell, seq_from, seq_to }],
            checked: self.checked,
            busy: self.busy,
            differences_total: self.differences_total,
            differences: self.differences,
        }
    }

    /// Something is compared as of event `seq`.
    pub(super) fn note_seq(&mut self, seq: u64) {
        let (from, to) = self.range.unwrap_or((seq, seq));
        self.range = Some((from.min(seq), to.max(seq)));
    }

    /// Notes a difference. A field may be looked at twice, because a walk through a hash may meet it twice.
    pub(super) fn add(&mut self, kind: Kind, id: impl Into<String>, sides: Sides, detail: impl Into<String>) {
        let id = id.into();
        if self.differences.iter().any(|known| known.kind == kind && known.id == id) {
            return;
        }
        self.differences_total += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            let (redis, postgres) = sides;
            let detail = detail.into();
            self.differences.push(Difference { cell: self.cell, kind, id, redis, postgres, detail });
        }
    }

    /// Two numbers that must be equal.
    pub(super) fn compare_numbers(&mut self, kind: Kind, id: &str, (redis, postgres): (i64, i64), detail: &str) {
        if redis != postgres {
            self.add(kind, id, (Some(redis.into()), Some(postgres.into())), detail);
        }
    }

    /// Two objects that must be equal; only the members that differ are told. `seq`: as of which event.
    pub(super) fn compare_members(
        &mut self,
        kind: Kind,
        id: &str,
        redis: Option<Map<String, Value>>,
        postgres: Option<Map<String, Value>>,
        seq: u64,
    ) {
        let (redis, postgres) = match (redis, postgres) {
            (None, None) => return,
            (Some(redis), None) => {
                let detail = format!("PostgreSQL has none as of event {seq}");
                return self.add(kind, id, (Some(redis.into()), None), detail);
            }
            (None, Some(postgres)) => {
                let detail = format!("Redis has none as of event {seq}");
                return self.add(kind, id, (None, Some(postgres.into())), detail);
            }
            (Some(redis), Some(postgres)) => (redis, postgres),
        };
        let all: BTreeSet<&String> = redis.keys().chain(postgres.keys()).collect();
        let differing: Vec<&String> = all.into_iter().filter(|name| redis.get(*name) != postgres.get(*name)).collect();
        if differing.is_empty() {
            return;
        }
        let part = |of: &Map<String, Value>| -> Value {
            let member = |name: &&String| ((*name).clone(), of.get(*name).cloned().unwrap_or(Value::Null));
            Value::Object(differing.iter().map(member).collect())
        };
        let names: Vec<&str> = differing.iter().map(|name| name.as_str()).collect();
        let detail = format!("{} differ as of event {seq}", names.join(", "));
        let sides = (Some(part(&redis)), Some(part(&postgres)));
        self.add(kind, id, sides, detail);
    }

    /// A value that cannot be read.
    pub(super) fn add_unreadable(&mut self, column: &str, field: &str, error: &str) {
        self.add(
            Kind::Unreadable,
            format!("{column} {field}"),
            (None, None),
            format!("the value cannot be read: {error}"),
        );
    }
}

/// An object without the members that are null.
pub(super) fn without_nulls(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(mut members) => {
            members.retain(|_, value| !value.is_null());
            members
        }
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings() -> Findings {
        Findings::new(CellId::new(0).expect("a cell"))
    }

    fn object(value: Value) -> Map<String, Value> {
        without_nulls(value)
    }

    #[test]
    fn only_the_members_that_differ_are_told() {
        let mut found = findings();
        found.compare_members(
            Kind::Product,
            "1",
            Some(object(json!({"a": 1, "b": null}))),
            Some(object(json!({"a": 1}))),
            5,
        );
        found.compare_members(Kind::Product, "2", None, None, 5);
        assert!(found.differences.is_empty());
        let (redis, postgres) = (json!({"a": 1, "b": 2, "c": 3}), json!({"a": 1, "b": 4}));
        found.compare_members(Kind::Product, "3", Some(object(redis)), Some(object(postgres)), 5);
        found.compare_members(Kind::Product, "4", Some(object(json!({"a": 1}))), None, 5);
        let texts: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"PRODUCT 3: Redis {"b":2,"c":3}, PostgreSQL {"b":4,"c":null}, b, c differ as of event 5 (cell 0)"#,
                r#"PRODUCT 4: Redis {"a":1}, PostgreSQL has none as of event 5 (cell 0)"#,
            ]
        );
    }

    #[test]
    fn a_field_that_is_met_twice_counts_once_and_the_list_is_bounded() {
        let mut found = findings();
        for user in ["ann", "bob", "ann"] {
            found.compare_numbers(Kind::Balance, user, (1, 2), "as of event 1");
        }
        assert_eq!((found.differences.len(), found.differences_total), (2, 2));
        for user in 0..DIFFERENCES_MAX {
            found.compare_numbers(Kind::Limit, &user.to_string(), (1, 2), "as of event 1");
        }
        let report = found.into_report();
        assert_eq!((report.differences.len(), report.differences_total), (DIFFERENCES_MAX, 1_002));
        assert!(report.to_string().ends_with("and 2 more\n1002 differences"), "{report}");
    }
}
