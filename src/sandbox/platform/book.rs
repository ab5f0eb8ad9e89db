//! What the played data platform has taken: every event once, however often it came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::NoRoom;
use super::event::Event;

/// Events in the book. It is in memory and forgets nothing by itself: about 400 bytes each, so some hundred megabytes
/// when it is full.
const EVENTS_MAX: usize = 2_000_000;

/// One event, as it came first.
#[derive(Debug)]
struct Entry {
    id: Arc<str>,
    source: Arc<str>,
    kind: Arc<str>,
    user: Arc<str>,
    sequence: u64,
    order_id: Option<Box<str>>,
    status: Option<Arc<str>>,
    final_amount: Option<i64>,
    balance_kind: Option<Arc<str>>,
    amount: Option<i64>,
    balance_after: Option<i64>,
    content: u64,
    arrivals: u64,
    first_request: u64,
    position: usize,
}

impl Entry {
    fn view(&self) -> EntryView<'_> {
        EntryView {
            id: &self.id,
            source: &self.source,
            kind: &self.kind,
            user_id: &self.user,
            sequence: format!("{:020}", self.sequence),
            order_id: self.order_id.as_deref(),
            status: self.status.as_deref(),
            final_amount: self.final_amount,
            balance_type: self.balance_kind.as_deref(),
            amount: self.amount,
            balance_after: self.balance_after,
            arrivals: self.arrivals,
            first_request: self.first_request,
            position: self.position,
        }
    }
}

/// An event in `GET /platform/book`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryView<'a> {
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: &'a str,
    sequence: String,
    order_id: Option<&'a str>,
    status: Option<&'a str>,
    final_amount: Option<i64>,
    balance_type: Option<&'a str>,
    amount: Option<i64>,
    balance_after: Option<i64>,
    /// How often it was taken.
    arrivals: u64,
    /// Which request brought it first; the first one since the book was empty is 1.
    first_request: u64,
    /// Where it stood among the events of that request; the first one is 0.
    position: usize,
}

/// An event that came too late.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LateView<'a> {
    user_id: &'a str,
    id: &'a str,
    /// The id of the event that it should have come before.
    after: &'a str,
}

/// Answer to `GET /platform/book`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BookView<'a> {
    /// In order of their first arrival.
    events: Vec<EntryView<'a>>,
    /// Those whose first arrival came after the first arrival of an event of the same source and user with a higher
    /// sequence.
    out_of_order: Vec<LateView<'a>>,
    /// Arrivals with another type or data than the first one under the same source and id.
    conflicts: u64,
}

/// Answer to `GET /platform/summary`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary<'a> {
    /// Requests with events, whatever became of them.
    requests: u64,
    /// Events that were taken, each as often as it came.
    taken: u64,
    /// Events in the book.
    events: usize,
    /// Arrivals of events that were in the book already: what was taken beyond `events`.
    duplicates: u64,
    out_of_order: usize,
    conflicts: u64,
    /// Events in the book.
    by_type: BTreeMap<&'a str, u64>,
}

/// Texts that come again and again, each kept once.
#[derive(Debug, Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn keep(&mut self, text: &str) -> Arc<str> {
        if let Some(kept) = self.0.get(text) {
            return kept.clone();
        }
        let kept: Arc<str> = text.into();
        self.0.insert(kept.clone());
        kept
    }
}

/// What events of one source are compared with. Numbers are places in the book.
#[derive(Debug, Default)]
struct Source {
    by_id: HashMap<Arc<str>, usize>,
    /// By user: the event with the highest sequence.
    highest: HashMap<Arc<str>, usize>,
}

/// All events since it was empty, in order of their first arrival.
#[derive(Debug)]
pub(super) struct Book {
    entries: Vec<Entry>,
    sources: HashMap<Arc<str>, Source>,
    texts: Texts,
    /// Places of an event that came too late, and of the one that it came after.
    late: Vec<(usize, usize)>,
    by_type: HashMap<Arc<str>, u64>,
    requests: u64,
    taken: u64,
    duplicates: u64,
    conflicts: u64,
    events_max: usize,
}

impl Book {
    /// Empty.
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            sources: HashMap::new(),
            texts: Texts::default(),
            late: Vec::new(),
            by_type: HashMap::new(),
            requests: 0,
            taken: 0,
            duplicates: 0,
            conflicts: 0,
            events_max: EVENTS_MAX,
        }
    }

    /// Counts a request with events, whatever becomes of it; returns its number.
    pub(super) fn count_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Takes all events of a request, or none.
    pub(super) fn take(&mut self, request: u64, events: &[Event]) -> Result<(), NoRoom> {
        let unknown: HashSet<(&str, &str)> =
            events.iter().filter(|event| !self.knows(event)).map(|event| (&*event.source, &*event.id)).collect();
        if self.entries.len() + unknown.len() > self.events_max {
            return Err(NoRoom);
        }
        for (position, event) in events.iter().enumerate() {
            self.enter(event, request, position);
        }
        Ok(())
    }

    fn knows(&self, event: &Event) -> bool {
        self.sources.get(event.source.as_str()).is_some_and(|source| source.by_id.contains_key(event.id.as_str()))
    }

    /// The only place where an event is taken: enters one that is new, counts one that is not.
    fn enter(&mut self, event: &Event, request: u64, position: usize) {
        self.taken += 1;
        let source = self.texts.keep(&event.source);
        let others = self.sources.entry(source.clone()).or_default();
        if let Some(&index) = others.by_id.get(event.id.as_str()) {
            let known = &mut self.entries[index];
            known.arrivals += 1;
            self.duplicates += 1;
            self.conflicts += u64::from(known.content != event.content);
            return;
        }
        let index = self.entries.len();
        let id: Arc<str> = event.id.as_str().into();
        others.by_id.insert(id.clone(), index);
        let user = self.texts.keep(&event.user);
        let highest = others.highest.entry(user.clone()).or_insert(index);
        match self.entries.get(*highest) {
            Some(known) if known.sequence > event.sequence => self.late.push((index, *highest)),
            _ => *highest = index,
        }
        let kind = self.texts.keep(&event.kind);
        *self.by_type.entry(kind.clone()).or_default() += 1;
        let Event { order, balance, .. } = event;
        let status = order.status.as_deref().map(|status| self.texts.keep(status));
        let balance_kind = balance.kind.as_deref().map(|kind| self.texts.keep(kind));
        self.entries.push(Entry {
            id,
            source,
            kind,
            user,
            sequence: event.sequence,
            order_id: order.order_id.as_deref().map(Box::from),
            status,
            final_amount: order.final_amount,
            balance_kind,
            amount: balance.amount,
            balance_after: balance.balance_after,
            content: event.content,
            arrivals: 1,
            first_request: request,
            position,
        });
    }

    /// All of it.
    pub(super) fn view(&self) -> BookView<'_> {
        let late = |&(late, highest): &(usize, usize)| {
            let (late, highest) = (&self.entries[late], &self.entries[highest]);
            LateView { user_id: &late.user, id: &late.id, after: &highest.id }
        };
        BookView {
            events: self.entries.iter().map(Entry::view).collect(),
            out_of_order: self.late.iter().map(late).collect(),
            conflicts: self.conflicts,
        }
    }

    /// Its counts.
    pub(super) fn summary(&self) -> Summary<'_> {
        Summary {
            requests: self.requests,
            taken: self.taken,
            events: self.entries.len(),
            duplicates: self.duplicates,
            out_of_order: self.late.len(),
            conflicts: self.conflicts,
            by_type: self.by_type.iter().map(|(kind, times)| (&**kind, *times)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::sandbox::platform::event::{BalancePart, OrderPart};

    /// Its id is its sequence number.
    fn event(source: &str, user: &str, sequence: u64) -> Event {
        Event {
            id: sequence.to_string(),
            source: source.to_owned(),
            kind: "order-completed".to_owned(),
            user: user.to_owned(),
            sequence,
            order: OrderPart::default(),
            balance: BalancePart::default(),
            content: 0,
        }
    }

    /// Ids in order, and how often each was taken.
    fn arrivals(book: &Book) -> Vec<(&str, u64)> {
        book.view().events.iter().map(|entry| (entry.id, entry.arrivals)).collect()
    }

    fn late(book: &Book) -> Vec<(&str, &str)> {
        book.view().out_of_order.iter().map(|late| (late.id, late.after)).collect()
    }

    #[test]
    fn an_event_is_shown_as_it_came_first() {
        let mut book = Book::new();
        let mut paid = event("/shop", "user-1", 9);
        paid.order =
            OrderPart { order_id: Some("9".to_owned()), status: Some("CONFIRMED".to_owned()), final_amount: Some(500) };
        paid.balance = BalancePart { kind: Some("PAYMENT".to_owned()), amount: Some(500), balance_after: Some(7) };
        let request = book.count_request();
        assert_eq!(book.take(request, &[event("/shop", "user-1", 8), paid.clone()]), Ok(()));
        paid.order.final_amount = None;
        let request = book.count_request();
        assert_eq!(book.take(request, &[paid]), Ok(()));
        let expected = EntryView {
            id: "9",
            source: "/shop",
            kind: "order-completed",
            user_id: "user-1",
            sequence: "00000000000000000009".to_owned(),
            order_id: Some("9"),
            status: Some("CONFIRMED"),
            final_amount: Some(500),
            balance_type: Some("PAYMENT"),
            amount: Some(500),
            balance_after: Some(7),
            arrivals: 2,
            first_request: 1,
            position: 1,
        };
        assert_eq!(book.view().events[1], expected);
    }

    #[test]
    fn what_comes_again_is_counted_and_changes_nothing_else() {
        let mut book = Book::new();
        let other_kind = Event { kind: "order-cancelled".to_owned(), content: 1, ..event("/shop", "user-1", 1) };
        for event in [&event("/shop", "user-1", 1), &event("/other", "user-1", 1), &other_kind] {
            for _ in 0..2 {
                assert_eq!(book.take(1, std::slice::from_ref(event)), Ok(()));
            }
        }
        assert_eq!(arrivals(&book), [("1", 4), ("1", 2)]);
        let expected = Summary {
            requests: 0,
            taken: 6,
            events: 2,
            duplicates: 4,
            out_of_order: 0,
            conflicts: 2,
            by_type: BTreeMap::from([("order-completed", 2)]),
        };
        assert_eq!(book.summary(), expected);
        assert_eq!(book.view().conflicts, 2);
    }

    #[test]
    fn an_event_is_late_after_a_higher_one_of_its_user_and_source() {
        let mut book = Book::new();
        let events = [
            event("/shop", "user-1", 5),
            event("/shop", "user-2", 4),
            event("/other", "user-1", 3),
            event("/shop", "user-1", 2),
            event("/shop", "user-1", 7),
            event("/shop", "user-1", 6),
            // Again: only the first arrival counts.
            event("/shop", "user-1", 5),
        ];
        assert_eq!(book.take(1, &events), Ok(()));
        assert_eq!(late(&book), [("2", "5"), ("6", "7")]);
        assert_eq!(book.view().out_of_order[0].user_id, "user-1");
    }

    #[test]
    fn a_full_book_takes_a_whole_request_or_nothing_and_still_knows_the_old_ones() {
        let mut book = Book { events_max: 2, ..Book::new() };
        let numbers = |numbers: &[u64]| numbers.iter().map(|n| event("/shop", "user-1", *n)).collect::<Vec<_>>();
        assert_eq!(book.take(1, &numbers(&[1, 2, 3])), Err(NoRoom));
        assert_eq!(book.summary().taken, 0);
        assert_eq!(book.take(1, &numbers(&[1, 1, 2, 2])), Ok(()));
        assert_eq!(book.take(1, &numbers(&[1, 3])), Err(NoRoom));
        assert_eq!(book.take(1, &numbers(&[2])), Ok(()));
        assert_eq!(arrivals(&book), [("1", 2), ("2", 3)]);
    }

    #[test]
    fn the_counts_are_those_of_a_plain_list_whatever_comes() {
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut book = Book::new();
        // First arrivals, and the ids of those that were late.
        let (mut firsts, mut lates): (Vec<Event>, Vec<String>) = (Vec::new(), Vec::new());
        let mut taken = 0;
        for _ in 0..500 {
            let request = book.count_request();
            let mut events = Vec::new();
            for _ in 0..rng.random_range(0..5) {
                // An event belongs to one user, as its sequence number tells.
                let sequence = rng.random_range(0..1_000);
                let source = if rng.random() { "/shop" } else { "/other" };
                events.push(event(source, &format!("user-{}", sequence % 7), sequence));
            }
            assert_eq!(book.take(request, &events), Ok(()), "seed {seed}");
            taken += events.len();
            for event in events {
                let mine = |first: &&Event| (&first.source, &first.user) == (&event.source, &event.user);
                let mut before = firsts.iter().filter(mine).map(|first| first.sequence);
                if before.clone().any(|sequence| sequence == event.sequence) {
                    continue;
                }
                if before.any(|sequence| sequence > event.sequence) {
                    lates.push(event.id.clone());
                }
                firsts.push(event);
            }
        }
        let ids: Vec<&str> = firsts.iter().map(|first| first.id.as_str()).collect();
        let in_book: Vec<&str> = book.view().events.iter().map(|entry| entry.id).collect();
        assert_eq!(in_book, ids, "seed {seed}");
        let late_ids: Vec<&str> = late(&book).iter().map(|(id, _)| *id).collect();
        assert_eq!(late_ids, lates, "seed {seed}");
        let arrivals: u64 = arrivals(&book).iter().map(|(_, times)| times).sum();
        assert_eq!(usize::try_from(arrivals), Ok(taken), "seed {seed}");
        let summary = book.summary();
        assert_eq!((summary.requests, summary.events, summary.out_of_order), (500, ids.len(), lates.len()));
        assert_eq!((summary.taken, summary.duplicates), (arrivals, arrivals - summary.by_type["order-completed"]));
    }
}
