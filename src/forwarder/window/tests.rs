//! The window against a sink that fails in every way, and a process that dies.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::engine::event::{BalanceCharged, Event};
use crate::engine::ids::CellId;

fn message(seq: u64, user: &str) -> Message {
    let user = UserId::parse(user).expect("a user");
    let event = BalanceCharged { seq, at: 0, user, amount: 100, previous: 0, balance: 100, used: 0 };
    Message::of_event(CellId::new(0).expect("a cell"), Event::BalanceCharged(event)).expect("it is told")
}

fn limits(lanes: usize, batch_max: usize) -> Limits {
    Limits {
        lanes,
        batch_max,
        one_per_user: false,
        waiting_max: 1_000,
        retries: [10, 20, 20].map(Duration::from_secs).to_vec(),
        jitter_percent: 0,
    }
}

fn window(lanes: usize, batch_max: usize, now: Instant) -> Window {
    Window::new(limits(lanes, batch_max), 0, Vec::new(), now)
}

fn seqs(batch: &Batch) -> Vec<u64> {
    batch.messages().iter().map(Message::seq).collect()
}

/// What is to be written, without times and texts.
fn changes(window: &mut Window) -> Vec<(u64, RowState, u32)> {
    window.take_changes().iter().map(|row| (row.seq, row.state, row.attempts)).collect()
}

#[test]
fn what_is_delivered_moves_the_cursor_up_to_the_first_that_is_not() {
    let now = Instant::now();
    let mut window = window(1, 2, now);
    window.read((1..=3).map(|seq| message(seq, "u")), 5);
    let first = window.next_batch(now).expect("work");
    assert_eq!((seqs(&first), window.done_to()), (vec![1, 2], 0));
    assert!(window.next_batch(now).is_none(), "one request of a lane at a time");
    window.delivered(first, now);
    assert_eq!(window.done_to(), 2);
    let second = window.next_batch(now).expect("work");
    window.delivered(second, now);
    assert_eq!((window.done_to(), window.has_changes()), (5, false));
}

#[test]
fn what_fails_waits_and_the_users_later_events_wait_behind_it() {
    let now = Instant::now();
    let mut window = window(1, 1, now);
    window.read([message(1, "u"), message(2, "u"), message(3, "v")], 3);
    let batch = window.next_batch(now).expect("work");
    window.failed(batch, "no", now);
    let batch = window.next_batch(now).expect("another user's");
    assert_eq!(seqs(&batch), [3]);
    window.delivered(batch, now);
    assert_eq!((window.done_to(), window.waiting()), (3, 2));
    assert_eq!(changes(&mut window), [(1, RowState::Pending, 1), (2, RowState::Pending, 0)]);
    window.read([message(4, "u")], 4);
    assert!(window.next_batch(now).is_none() && window.take_due(10, now).is_empty());

    let later = now + Duration::from_secs(10);
    assert_eq!(window.next_due(), Some(later));
    // One at a time here: a batch holds one event.
    for seq in [1, 2, 4] {
        assert_eq!(window.take_due(10, later), [seq]);
        window.retry(vec![message(seq, "u")]);
        let batch = window.next_batch(later).expect("due");
        window.delivered(batch, later);
    }
    assert_eq!(window.waiting(), 0);
    assert_eq!(
        changes(&mut window),
        [(1, RowState::Delivered, 2), (2, RowState::Delivered, 1), (4, RowState::Delivered, 1)]
    );
    window.read([message(5, "u")], 5);
    assert_eq!(seqs(&window.next_batch(now).expect("straight from the log again")), [5]);
}

#[test]
fn after_the_last_retry_it_is_dead_and_its_user_goes_on() {
    let mut now = Instant::now();
    let mut window = window(1, 10, now);
    window.read([message(1, "u"), message(2, "u")], 2);
    let batch = window.next_batch(now).expect("work");
    window.refused(batch, "which?", now);
    let batch = window.next_batch(now).expect("the half of it");
    assert_eq!(seqs(&batch), [1]);
    window.refused(batch, "that one", now);
    for pause in [10, 20, 20] {
        assert!(window.next_batch(now).is_none());
        now += Duration::from_secs(pause);
        assert_eq!(window.take_due(10, now)[0], 1);
        window.retry(vec![message(1, "u")]);
        let batch = window.next_batch(now).expect("due");
        window.refused(batch, "that one", now);
    }
    let dead = window.take_changes();
    assert_eq!((dead[0].state, dead[0].attempts, dead[0].error.as_deref()), (RowState::Dead, 4, Some("that one")));
    assert!(window.take_due(10, now).is_empty(), "not before that is written down");
    window.committed(now);
    assert_eq!(window.take_due(10, now), [2], "released");
    window.retry(vec![message(2, "u")]);
    let batch = window.next_batch(now).expect("due");
    window.delivered(batch, now);
    // A person sends it again.
    window.replay([message(1, "u")], now);
    assert_eq!(window.take_due(10, now), [1]);
    window.retry(vec![message(1, "u")]);
    let batch = window.next_batch(now).expect("due");
    window.delivered(batch, now);
    assert_eq!(changes(&mut window), [(1, RowState::Delivered, 1), (2, RowState::Delivered, 1)]);
}

#[test]
fn what_is_postponed_counts_no_attempt_and_keeps_its_place() {
    let now = Instant::now();
    let mut window = window(1, 2, now);
    window.read((1..=4).map(|seq| message(seq, "u")), 4);
    for _ in 0..3 {
        let batch = window.next_batch(now).expect("work");
        assert_eq!(seqs(&batch), [1, 2]);
        window.postponed(batch);
    }
    assert!(!window.has_changes());
}

#[test]
fn one_event_that_makes_every_request_fail_takes_no_other_with_it() {
    let mut now = Instant::now();
    let mut window = window(1, 8, now);
    window.read((1..=8).map(|seq| message(seq, &format!("u{seq}"))), 8);
    let (mut requests, mut dead) = (0, Vec::new());
    while window.done_to() < 8 || window.waiting() > 0 {
        let mut due = window.take_due(100, now);
        due.sort_unstable();
        window.retry(due.into_iter().map(|seq| message(seq, &format!("u{seq}"))).collect());
        while let Some(batch) = window.next_batch(now) {
            requests += 1;
            // Its answer to everything that has 5 in it is 500.
            if seqs(&batch).contains(&5) { window.failed(batch, "500", now) } else { window.delivered(batch, now) }
        }
        dead.extend(changes(&mut window).into_iter().filter(|(_, state, _)| *state == RowState::Dead));
        window.committed(now);
        now += Duration::from_secs(1);
    }
    assert_eq!((dead, requests < 12), (vec![(5, RowState::Dead, 4)], true), "{requests}");
}

#[test]
fn a_sink_may_want_one_event_of_a_user_at_a_time() {
    let now = Instant::now();
    let mut window = Window::new(Limits { one_per_user: true, ..limits(1, 10) }, 0, Vec::new(), now);
    window.read([message(1, "u"), message(2, "v"), message(3, "u"), message(4, "w")], 4);
    let batch = window.next_batch(now).expect("work");
    assert_eq!(seqs(&batch), [1, 2]);
    window.delivered(batch, now);
    assert_eq!(seqs(&window.next_batch(now).expect("work")), [3, 4]);
}

#[test]
fn reading_stops_when_there_is_enough_to_do_or_too_much_waits() {
    let now = Instant::now();
    let mut window = Window::new(Limits { waiting_max: 2, ..limits(1, 2) }, 0, Vec::new(), now);
    window.read((1..=4).map(|seq| message(seq, "u")), 4);
    assert!(window.is_crowded() && !window.has_room());
    let batch = window.next_batch(now).expect("work");
    window.failed(batch, "no", now);
    assert!(!window.is_crowded() && !window.has_room(), "two wait");
}

/// What PostgreSQL would have.
#[derive(Default)]
struct Tables {
    cursor: u64,
    rows: BTreeMap<u64, Row>,
}

/// A world around a window: a log, tables, and a sink that notes what arrives.
struct World {
    rng: StdRng,
    limits: Limits,
    now: Instant,
    /// Users by sequence number - 1.
    log: Vec<String>,
    tables: Tables,
    window: Window,
    have_rows: BTreeSet<u64>,
    sending: Vec<Batch>,
    /// Sent by a process that died; may still arrive.
    stray: Vec<Vec<u64>>,
    /// First arrivals, in order.
    arrived: Vec<u64>,
    known: BTreeSet<u64>,
    /// Ever given up.
    dead: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let limits = Limits {
            one_per_user: rng.random_bool(0.3),
            waiting_max: rng.random_range(5..200),
            ..limits(rng.random_range(1..5), rng.random_range(1..12))
        };
        let users = rng.random_range(1..8);
        let log = (0..rng.random_range(50..300)).map(|_| format!("u{}", rng.random_range(0..users))).collect();
        let now = Instant::now();
        let window = Window::new(limits.clone(), 0, Vec::new(), now);
        Self {
            rng,
            limits,
            now,
            log,
            tables: Tables::default(),
            window,
            have_rows: BTreeSet::new(),
            sending: Vec::new(),
            stray: Vec::new(),
            arrived: Vec::new(),
            known: BTreeSet::new(),
            dead: BTreeSet::new(),
        }
    }

    fn message(&self, seq: u64) -> Message {
        message(seq, &self.log[usize::try_from(seq).expect("small") - 1])
    }

    fn arrive(&mut self, seqs: &[u64]) {
        for seq in seqs {
            if self.known.insert(*seq) {
                self.arrived.push(*seq);
            }
        }
    }

    fn read(&mut self) {
        let (from, end) = (self.window.read_to(), self.log.len() as u64);
        let may_read = if self.have_rows.is_empty() { self.window.has_room() } else { !self.window.is_crowded() };
        if !may_read || from == end {
            return;
        }
        let to = (from + self.rng.random_range(1..20)).min(end);
        let fresh: Vec<_> =
            (from + 1..=to).filter(|seq| !self.have_rows.contains(seq)).map(|seq| self.message(seq)).collect();
        self.window.read(fresh, to);
        self.have_rows.retain(|seq| *seq > to);
    }

    fn retry(&mut self) {
        if self.have_rows.is_empty() && !self.window.is_crowded() {
            let mut seqs = self.window.take_due(10, self.now);
            seqs.sort_unstable();
            let messages = seqs.iter().map(|seq| self.message(*seq)).collect();
            self.window.retry(messages);
        }
    }

    /// Ends one request. `works`: nothing goes wrong any more.
    fn settle(&mut self, works: bool) {
        if self.sending.is_empty() {
            return;
        }
        let batch = self.sending.swap_remove(self.rng.random_range(0..self.sending.len()));
        let sent = seqs(&batch);
        match if works { 0 } else { self.rng.random_range(0..6) } {
            0 | 1 => {
                self.arrive(&sent);
                self.window.delivered(batch, self.now);
            }
            2 => self.window.failed(batch, "lost request", self.now),
            3 => {
                self.arrive(&sent);
                self.window.failed(batch, "lost answer", self.now);
            }
            4 => self.window.postponed(batch),
            _ => self.window.refused(batch, "refused", self.now),
        }
    }

    fn commit(&mut self) {
        let before = std::mem::replace(&mut self.tables.cursor, self.window.done_to());
        for row in self.window.take_changes() {
            if row.state == RowState::Dead {
                self.dead.insert(row.seq);
            }
            self.tables.rows.insert(row.seq, row);
        }
        self.window.committed(self.now);
        for seq in before + 1..=self.tables.cursor {
            assert!(self.known.contains(&seq) || self.tables.rows.contains_key(&seq), "{seq} is lost");
        }
    }

    fn crash(&mut self) {
        self.stray.extend(self.sending.drain(..).map(|batch| seqs(&batch)));
        let pending = self.tables.rows.values().filter(|row| row.state == RowState::Pending);
        let waiting: Vec<_> = pending
            .map(|row| WaitingRow {
                seq: row.seq,
                user: UserId::parse(&row.user).expect("a user"),
                topic: row.topic.clone(),
                order: row.order,
                attempts: row.attempts,
                retry_at: row.retry_at,
            })
            .collect();
        self.have_rows = self.tables.rows.keys().copied().filter(|seq| *seq > self.tables.cursor).collect();
        self.window = Window::new(self.limits.clone(), self.tables.cursor, waiting, self.now);
    }

    fn replay(&mut self) {
        let dead = self.tables.rows.values().filter(|row| row.state == RowState::Dead).map(|row| row.seq);
        let dead: Vec<_> = dead.collect();
        let messages: Vec<_> = dead.iter().map(|seq| self.message(*seq)).collect();
        self.window.replay(messages, self.now);
        self.commit();
    }

    fn step(&mut self, works: bool) {
        match self.rng.random_range(0..100) {
            0..30 => self.read(),
            30..50 => {
                if let Some(batch) = self.window.next_batch(self.now) {
                    assert!(self.sending.len() < self.limits.lanes && batch.len() <= self.limits.batch_max);
                    self.sending.push(batch);
                }
            }
            50..75 => self.settle(works),
            75..83 => self.retry(),
            83..92 => self.commit(),
            92..96 => self.now += Duration::from_secs(self.rng.random_range(1..15)),
            96 if !works => self.crash(),
            97 => self.replay(),
            _ => {
                if !self.stray.is_empty() {
                    let stray = self.stray.swap_remove(0);
                    self.arrive(&stray);
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.tables.cursor == self.log.len() as u64
            && !self.window.has_changes()
            && self.tables.rows.values().all(|row| row.state == RowState::Delivered)
    }
}

#[test]
fn whatever_fails_everything_arrives_and_each_users_events_in_order() {
    let seed: u64 =
        std::env::var("FLASHSALE_TEST_SEED").map_or_else(|_| rand::random(), |s| s.parse().expect("a seed"));
    eprintln!("window: FLASHSALE_TEST_SEED={seed}");
    let (mut dead, mut waited) = (0, 0);
    for round in 0..200 {
        let mut world = World::new(seed.wrapping_add(round));
        for _ in 0..2_000 {
            world.step(false);
        }
        let mut steps = 0;
        while !world.is_done() {
            world.step(true);
            steps += 1;
            assert!(steps < 200_000, "seed {seed} round {round}: it does not end");
        }
        let mut last: HashMap<&str, u64> = HashMap::new();
        for seq in world.arrived.iter().filter(|seq| !world.dead.contains(seq)) {
            let user = world.log[usize::try_from(*seq).expect("small") - 1].as_str();
            let before = last.insert(user, *seq).unwrap_or_default();
            assert!(before < *seq, "seed {seed} round {round}: {user} had {before} before {seq}");
        }
        assert_eq!(world.arrived.len(), world.log.len(), "seed {seed} round {round}");
        dead += world.dead.len();
        waited += world.tables.rows.len();
    }
    assert!(dead > 100 && waited > 1_000, "nothing went wrong: this tests nothing ({dead}, {waited})");
}
