//! What is known of a thing in one cell: facts, each as Redis and as PostgreSQL says it, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::{Value, json};

use super::look::{Frame, count_of};
use super::snapshot::Row;
use super::table::{self, Line};
use crate::engine::ids::CellId;

/// Differences that the last line names; all of them are marked.
const NAMED_MAX: usize = 8;

/// What one of the two says about a fact.
#[derive(Clone, Debug, PartialEq)]
enum Side {
    /// It does not keep such a thing.
    Blank,
    /// It could not be asked.
    Unknown,
    /// It has none.
    Nothing,
    Says(Value),
}

impl Side {
    fn is_answer(&self) -> bool {
        matches!(self, Self::Nothing | Self::Says(_))
    }

    /// For people.
    fn show(&self) -> String {
        match self {
            Self::Blank => String::new(),
            Self::Unknown => "?".to_owned(),
            Self::Nothing => "-".to_owned(),
            Self::Says(value) => table::plain(value),
        }
    }

    /// For programs; `None`: it is left out.
    fn to_json(&self) -> Option<Value> {
        match self {
            Self::Blank | Self::Unknown => None,
            Self::Nothing => Some(Value::Null),
            Self::Says(value) => Some(value.clone()),
        }
    }
}

#[derive(Debug)]
struct Fact {
    section: &'static str,
    name: String,
    redis: Side,
    postgres: Side,
    /// Whether both must say the same.
    is_compared: bool,
}

impl Fact {
    fn differs(&self) -> bool {
        self.is_compared && self.redis.is_answer() && self.postgres.is_answer() && self.redis != self.postgres
    }
}

/// What follows from a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing differs, and nothing else is wrong.
    Agree,
    /// Something does, or is.
    Differ,
    /// It does, but PostgreSQL is on its way.
    Behind,
    /// What Redis says is no answer of the shop.
    Closed,
    /// One of the two could not be asked.
    Incomplete,
}

impl Verdict {
    /// For programs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "AGREE",
            Self::Differ => "DIFFER",
            Self::Behind => "BEHIND",
            Self::Closed => "CLOSED",
            Self::Incomplete => "INCOMPLETE",
        }
    }
}

/// Facts about a thing.
#[derive(Debug)]
pub(super) struct Sheet {
    cell: CellId,
    pub frame: Frame,
    section: &'static str,
    facts: Vec<Fact>,
    /// What is wrong beside differences, a sentence each.
    faults: Vec<String>,
    notes: Vec<String>,
}

// How it is filled. Nothing is written of what neither side knows.
impl Sheet {
    pub(super) fn new(cell: CellId, frame: Frame) -> Self {
        let notes = frame.notes();
        Self { cell, frame, section: "", facts: Vec::new(), faults: Vec::new(), notes }
    }

    pub(super) fn cell(&self) -> CellId {
        self.cell
    }

    /// What comes next belongs under this heading.
    pub(super) fn section(&mut self, name: &'static str) {
        self.section = name;
    }

    /// Something that both must say alike.
    pub(super) fn both(&mut self, name: impl Into<String>, redis: Option<Value>, postgres: Option<Value>) {
        if redis.is_some() || postgres.is_some() {
            let (redis, postgres) = (self.of_redis(redis), self.of_postgres(postgres));
            self.push(name.into(), (redis, postgres), true);
        }
    }

    /// The same for numbers of which none is 0.
    pub(super) fn both_numbers(&mut self, name: impl Into<String>, redis: Option<i64>, postgres: Option<i64>) {
        if redis.is_some() || postgres.is_some() {
            self.both(name, Some(redis.unwrap_or_default().into()), Some(postgres.unwrap_or_default().into()));
        }
    }

    /// The same for everything that has a key; `prefix` stands in front of it.
    pub(super) fn both_by_key<K: Ord + Display>(
        &mut self,
        prefix: &str,
        redis: &BTreeMap<K, Value>,
        postgres: &BTreeMap<K, Value>,
    ) {
        let keys: BTreeSet<&K> = redis.keys().chain(postgres.keys()).collect();
        for key in keys {
            self.both(format!("{prefix}{key}"), redis.get(key).cloned(), postgres.get(key).cloned());
        }
    }

    /// Something that only Redis keeps.
    pub(super) fn redis_only(&mut self, name: impl Into<String>, value: Option<Value>) {
        if value.is_some() {
            let redis = self.of_redis(value);
            self.push(name.into(), (redis, Side::Blank), false);
        }
    }

    /// Something that only PostgreSQL keeps.
    pub(super) fn postgres_only(&mut self, name: impl Into<String>, value: Option<Value>) {
        if value.is_some() {
            let postgres = self.of_postgres(value);
            self.push(name.into(), (Side::Blank, postgres), false);
        }
    }

    /// Rows that only PostgreSQL keeps; each is known by its column `key`.
    pub(super) fn rows(&mut self, prefix: &str, rows: &[Row], key: &str) {
        for row in rows {
            let mut row = row.clone();
            let name = row.shift_remove(key).map(|value| table::plain(&value)).unwrap_or_default();
            self.postgres_only(format!("{prefix}{name}"), Some(row.into()));
        }
    }

    /// Something that must not be.
    pub(super) fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Something that a reader should know.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn push(&mut self, name: String, (redis, postgres): (Side, Side), is_compared: bool) {
        self.facts.push(Fact { section: self.section, name, redis, postgres, is_compared });
    }

    fn of_redis(&self, value: Option<Value>) -> Side {
        side(self.frame.redis.is_ok(), value)
    }

    fn of_postgres(&self, value: Option<Value>) -> Side {
        side(self.frame.postgres.is_ok(), value)
    }
}

fn side(is_asked: bool, value: Option<Value>) -> Side {
    if is_asked { value.map_or(Side::Nothing, Side::Says) } else { Side::Unknown }
}

// What follows.
impl Sheet {
    /// Whether anybody knows the thing.
    pub(super) fn is_known(&self) -> bool {
        !self.facts.is_empty()
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.frame.redis.is_err() || self.frame.postgres.is_err() {
            Verdict::Incomplete
        } else if self.frame.closed().is_some() {
            Verdict::Closed
        } else if self.problems().is_empty() {
            Verdict::Agree
        } else if self.frame.unread > 0 || !self.frame.is_tail_complete {
            Verdict::Behind
        } else {
            Verdict::Differ
        }
    }

    /// What differs, by name, and what else is wrong.
    fn problems(&self) -> Vec<String> {
        let differing = self.facts.iter().filter(|fact| fact.differs());
        differing.map(|fact| format!("{}, {}", fact.section, fact.name)).chain(self.faults.iter().cloned()).collect()
    }

    /// The verdict as a sentence.
    pub(super) fn summary(&self) -> String {
        let problems = self.problems();
        let named = problems.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
        let what = match problems.len().saturating_sub(NAMED_MAX) {
            0 => named,
            more => format!("{named}; and {more} more"),
        };
        match self.verdict() {
            Verdict::Agree => "Redis and PostgreSQL agree".to_owned(),
            Verdict::Differ if self.facts.iter().any(Fact::differs) => {
                format!("Redis and PostgreSQL differ: {what}")
            }
            Verdict::Differ => format!("Redis and PostgreSQL agree, but something is wrong: {what}"),
            Verdict::Behind => {
                let behind = count_of(self.frame.behind(), "event");
                let about = match (self.frame.unread, self.frame.is_tail_complete) {
                    (unread, true) => format!("{unread} of them about this"),
                    (unread, false) => format!("at least {unread} of them about this"),
                };
                format!("PostgreSQL is {behind} behind, {about}: differences are expected ({what})")
            }
            Verdict::Closed => "Redis does not speak for the shop: the cell is closed".to_owned(),
            Verdict::Incomplete => "nothing was compared: only one of the two could be asked".to_owned(),
        }
    }

    /// For people; `thing` is the title.
    pub(super) fn to_text(&self, thing: &str) -> String {
        let title = format!("{thing} (cell {}): {}", self.cell, self.frame.position());
        let head: Vec<String> = [title].iter().chain(&self.notes).map(|line| table::clean(line)).collect();
        let line = |fact: &Fact| Line {
            section: fact.section,
            is_marked: fact.differs(),
            cells: [table::clean(&fact.name), fact.redis.show(), fact.postgres.show()],
        };
        let lines: Vec<Line> = self.facts.iter().map(line).collect();
        format!("{}\n\n{}\n{}", head.join("\n"), table::lay_out(&lines), table::clean(&self.summary()))
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let facts: Vec<Value> = self.facts.iter().map(fact_to_json).collect();
        let (redis, postgres) = self.frame.to_json();
        json!({
            "cell": self.cell.as_i16(),
            "verdict": self.verdict().as_str(),
            "summary": self.summary(),
            "redis": redis,
            "postgres": postgres,
            "eventsBehind": self.frame.behind(),
            "notes": self.notes,
            "faults": self.faults,
            "facts": facts,
        })
    }
}

fn fact_to_json(fact: &Fact) -> Value {
    let mut members = json!({"section": fact.section, "name": fact.name, "differs": fact.differs()});
    for (name, side) in [("redis", &fact.redis), ("postgres", &fact.postgres)] {
        if let Some(value) = side.to_json() {
            members[name] = value;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::super::look::Kept;
    use super::super::redis_cell::Meta;
    use super::*;

    fn sheet(seq: u64, written: u64) -> Sheet {
        let run_id = "a".repeat(40);
        let server_run_id = run_id.clone();
        let meta = Meta { epoch: 1, run_id, server_run_id, seq, committed: 0, fenced: None };
        let postgres = Ok(Kept { written, epoch: Some(1) });
        let frame = Frame { redis: Ok(Some(meta)), postgres, unread: 0, is_tail_complete: true };
        Sheet::new(CellId::new(0).expect("a cell"), frame)
    }

    #[test]
    fn only_what_both_must_say_alike_can_differ() {
        let mut sheet = sheet(9, 9);
        sheet.section("money");
        sheet.both("nobody knows", None, None);
        assert!(!sheet.is_known());
        sheet.both_numbers("none is 0", None, Some(0));
        sheet.redis_only("only here", Some(json!(1)));
        sheet.postgres_only("only there", Some(json!(2)));
        assert_eq!((sheet.verdict(), sheet.summary().as_str()), (Verdict::Agree, "Redis and PostgreSQL agree"));
        sheet.both("balance", Some(json!(5)), Some(json!(6)));
        sheet.both("used total", None, Some(json!(6)));
        assert_eq!(sheet.verdict(), Verdict::Differ);
        assert_eq!(sheet.summary(), "Redis and PostgreSQL differ: money, balance; money, used total");
        let marked: Vec<bool> = sheet.facts.iter().map(Fact::differs).collect();
        assert_eq!(marked, [false, false, false, true, true]);
    }

    #[test]
    fn a_difference_is_expected_while_events_about_it_are_on_their_way() {
        let mut behind = sheet(9, 7);
        behind.both("balance", Some(json!(5)), Some(json!(6)));
        assert_eq!(behind.verdict(), Verdict::Differ, "none of the two events is about this");
        behind.frame.unread = 1;
        assert_eq!(behind.verdict(), Verdict::Behind);
        assert!(behind.summary().starts_with("PostgreSQL is 2 events behind, 1 of them about this: "));
        behind.frame.unread = 0;
        behind.frame.is_tail_complete = false;
        assert_eq!(behind.verdict(), Verdict::Behind, "nobody has looked through all of them");
    }

    #[test]
    fn what_could_not_be_asked_is_never_guessed() {
        let mut sheet = sheet(9, 9);
        sheet.frame.postgres = Err("no route".to_owned());
        sheet.both("balance", Some(json!(5)), None);
        sheet.both_numbers("used total", Some(5), None);
        assert_eq!(sheet.verdict(), Verdict::Incomplete);
        let json = sheet.to_json();
        assert_eq!(json["facts"][0], json!({"section": "", "name": "balance", "differs": false, "redis": 5}));
        assert_eq!((&json["facts"][1]["redis"], json["facts"][1].get("postgres")), (&json!(5), None));
        assert!(sheet.to_text("user ann").contains("  balance     5      ?\n"), "{}", sheet.to_text("user ann"));
    }

    #[test]
    fn faults_count_although_nothing_differs_and_a_closed_cell_is_not_compared() {
        let mut sheet = sheet(9, 9);
        sheet.both("balance", Some(json!(5)), Some(json!(5)));
        sheet.fault("event 3 is parked");
        assert_eq!(sheet.verdict(), Verdict::Differ);
        assert_eq!(sheet.summary(), "Redis and PostgreSQL agree, but something is wrong: event 3 is parked");
        sheet.frame.redis = Ok(None);
        assert_eq!(sheet.verdict(), Verdict::Closed);
    }

    #[test]
    fn long_lists_of_differences_are_cut() {
        let mut sheet = sheet(9, 9);
        for key in 0..=NAMED_MAX {
            sheet.both(key.to_string(), Some(json!(key)), None);
        }
        assert!(sheet.summary().ends_with("; and 1 more"), "{}", sheet.summary());
    }
}
