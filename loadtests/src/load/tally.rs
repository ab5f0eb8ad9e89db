//! What the users were answered: counts per request, status and code, and the rules that they saw broken.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flashsale::http::code::Code;
use tokio::time::Instant;

/// Method and route of a request, as tables and goose's report name it: `POST /api/orders`.
pub type Call = &'static str;

/// Refusals that are answers like any other, by request.
pub type Expected = &'static [(Call, &'static [Code])];

/// Different reasons why there was no answer that are kept.
const REASONS_MAX: usize = 5;

/// One kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    /// To which request.
    pub call: Call,
    /// HTTP status; 0: there was no answer.
    pub status: u16,
    /// The problem's code; empty: it was no problem, or none of ours.
    pub code: &'static str,
    /// An earlier answer again.
    pub replayed: bool,
}

/// What an answer means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Accepted,
    /// A refusal that the scenario expects.
    Refused,
    /// 503 or 504: nothing was done, or nobody knows yet. Overload, no bug.
    Unavailable,
    /// Anything else, or no answer at all.
    Unexpected,
}

impl Answered {
    /// What distinguishes it from a plain success.
    pub fn outcome(&self) -> String {
        match self.status {
            0 => "no answer".to_owned(),
            _ if !self.code.is_empty() => self.code.to_owned(),
            _ if self.replayed => "replayed".to_owned(),
            200 | 201 => String::new(),
            status => status.to_string(),
        }
    }

    /// Its row in goose's metrics: answers of one request that mean different things are timed apart.
    pub fn row(&self) -> String {
        format!("{} {}", self.call, self.outcome()).trim_end().to_owned()
    }

    /// What it means.
    pub fn verdict(&self, expected: Expected) -> Verdict {
        let is_expected = || {
            let mut refusals = expected.iter().filter(|(call, _)| *call == self.call).flat_map(|(_, codes)| *codes);
            refusals.any(|code| code.info().name == self.code && code.info().status.as_u16() == self.status)
        };
        match self.status {
            200..300 => Verdict::Accepted,
            503 | 504 => Verdict::Unavailable,
            _ if is_expected() => Verdict::Refused,
            _ => Verdict::Unexpected,
        }
    }
}

/// How often something was done, as its users saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Answers that say so.
    pub seen: u64,
    /// Requests of which nobody knows whether they did it: 504, HELD or PENDING (202), no answer.
    pub unknown: u64,
}

impl Done {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { seen: self.seen + other.seen, unknown: self.unknown + other.unknown }
    }

    /// By how many `done` is outside of what can have been done.
    pub fn missed_by(self, done: u64) -> u64 {
        self.seen.saturating_sub(done) + done.saturating_sub(self.seen + self.unknown)
    }
}

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<Answered, u64>,
    broken: BTreeMap<&'static str, u64>,
    keys: Done,
    reasons: Vec<String>,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// All counts of a run, shared by its users.
#[derive(Debug)]
pub struct Tally {
    expected: Expected,
    counts: Mutex<Counts>,
}

impl Tally {
    /// Nothing was asked yet.
    pub fn new(expected: Expected) -> Self {
        Self { expected, counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer to a request that was sent at `sent`.
    pub fn note(&self, answered: Answered, sent: Instant) -> Verdict {
        let mut counts = self.counts();
        *counts.answers.entry(answered).or_default() += 1;
        counts.first = Some(counts.first.map_or(sent, |first| first.min(sent)));
        counts.last = Some(Instant::now());
        answered.verdict(self.expected)
    }

    /// Keeps why there was no answer, for people.
    pub fn note_reason(&self, reason: &str) {
        let mut counts = self.counts();
        if counts.reasons.len() < REASONS_MAX && !counts.reasons.iter().any(|known| known == reason) {
            counts.reasons.push(reason.to_owned());
        }
    }

    /// Counts a rule that a user saw broken.
    pub fn note_broken(&self, rule: &'static str) {
        *self.counts().broken.entry(rule).or_default() += 1;
    }

    /// Counts a key under which something was asked for several times and may be done: whether any answer says so.
    pub fn note_key(&self, done: bool) {
        let mut counts = self.counts();
        let key = Done { seen: u64::from(done), unknown: u64::from(!done) };
        counts.keys = counts.keys.and(key);
    }

    /// What was done under the keys that were noted.
    pub fn keys(&self) -> Done {
        self.counts().keys
    }

    /// Every kind of answer with its count.
    pub fn answers(&self) -> Vec<(Answered, u64)> {
        self.counts().answers.iter().map(|(answered, count)| (*answered, *count)).collect()
    }

    /// Every broken rule with its count.
    pub fn broken(&self) -> Vec<(&'static str, u64)> {
        self.counts().broken.iter().map(|(rule, count)| (*rule, *count)).collect()
    }

    /// Why there was no answer, some of the reasons.
    pub fn reasons(&self) -> Vec<String> {
        self.counts().reasons.clone()
    }

    /// From the first request to the last answer.
    pub fn seconds(&self) -> f64 {
        let counts = self.counts();
        counts.first.zip(counts.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64())
    }

    /// Answers to which `matches` applies.
    pub fn count(&self, matches: impl Fn(&Answered) -> bool) -> u64 {
        self.counts().answers.iter().filter(|(answered, _)| matches(answered)).map(|(_, count)| count).sum()
    }

    /// Answers with this verdict.
    pub fn with_verdict(&self, verdict: Verdict) -> u64 {
        self.count(|answered| answered.verdict(self.expected) == verdict)
    }

    /// How often a request was refused with this code.
    pub fn refused(&self, call: Call, code: Code) -> u64 {
        self.count(|answered| answered.call == call && answered.code == code.info().name)
    }

    /// How often a request that has a key of its own did what it asks for. Who never asked before and gets an earlier answer
    /// gets it for a request that was repeated on his behalf, by the lane or after a 503 or 504.
    pub fn done(&self, call: Call) -> Done {
        let is_unknown = |a: &Answered| matches!(a.status, 0 | 202 | 504);
        Done {
            // Who asks again under a key stops at the first success, so one that is replayed is told of once too.
            seen: self.count(|a| a.call == call && matches!(a.status, 200 | 201)),
            unknown: self.count(|a| a.call == call && is_unknown(a)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Call = "POST /api/orders";
    const EXPECTED: Expected = &[(ORDER, &[Code::InsufficientStock])];

    fn answered(status: u16, code: &'static str) -> Answered {
        Answered { call: ORDER, status, code, replayed: false }
    }

    #[test]
    fn only_what_the_scenario_expects_is_a_refusal() {
        let verdict = |status, code| answered(status, code).verdict(EXPECTED);
        assert_eq!(verdict(201, ""), Verdict::Accepted);
        assert_eq!(verdict(400, "INSUFFICIENT_STOCK"), Verdict::Refused);
        assert_eq!(verdict(409, "INSUFFICIENT_STOCK"), Verdict::Unexpected, "the status is not the code's");
        assert_eq!(verdict(400, "INVALID_INPUT"), Verdict::Unexpected);
        assert_eq!(verdict(503, "SERVICE_UNAVAILABLE"), Verdict::Unavailable);
        assert_eq!([verdict(500, "INTERNAL_ERROR"), verdict(502, ""), verdict(0, "")], [Verdict::Unexpected; 3]);
        assert_eq!(answered(400, "INSUFFICIENT_STOCK").verdict(&[]), Verdict::Unexpected);
    }

    #[test]
    fn answers_that_mean_different_things_have_rows_of_their_own() {
        let replayed = Answered { replayed: true, ..answered(201, "") };
        let all = [answered(201, ""), replayed, answered(202, ""), answered(400, "CART_EMPTY"), answered(0, "")];
        let rows = ["", " replayed", " 202", " CART_EMPTY", " no answer"].map(|outcome| format!("{ORDER}{outcome}"));
        assert_eq!(all.map(|answered| answered.row()), rows);
    }

    #[test]
    fn what_nobody_knows_may_have_been_done() {
        let tally = Tally::new(EXPECTED);
        let sent = Instant::now();
        for (status, times) in [(201, 3), (400, 1), (504, 1), (0, 1)] {
            for _ in 0..times {
                tally.note(answered(status, ""), sent);
            }
        }
        tally.note(Answered { replayed: true, ..answered(201, "") }, sent);
        let done = tally.done(ORDER);
        assert_eq!(done, Done { seen: 4, unknown: 2 });
        assert_eq!([2, 4, 6, 8].map(|in_books| done.missed_by(in_books)), [2, 0, 0, 2]);
        assert_eq!(tally.with_verdict(Verdict::Accepted), 4);
        assert_eq!(tally.refused(ORDER, Code::InsufficientStock), 0);
        for done in [true, false, true] {
            tally.note_key(done);
        }
        assert_eq!(tally.keys(), Done { seen: 2, unknown: 1 });
    }

    #[test]
    fn a_reason_is_kept_once() {
        let tally = Tally::new(EXPECTED);
        for number in 0..20 {
            tally.note_reason(&format!("reason {}", number % 7));
        }
        assert_eq!(tally.reasons().len(), REASONS_MAX);
    }
}
