//! What is under way to one sink: which events were read, which may be sent now, which wait. A plain state machine; the pump
//! brings it events and answers, and writes down what it says.
//!
//! The order of one user's events is kept like this: a user belongs to one lane, a lane has one request under way, and once an event
//! of a user has failed, everything of his that comes later waits behind it in a queue of its own.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::message::Message;
use crate::engine::ids::EntityId;
use crate::engine::user::UserId;

/// What bounds a window.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests under way.
    pub lanes: usize,
    /// Events in one request.
    pub batch_max: usize,
    /// Whether a request may hold only one event of a user: for sinks that could take the second of two without the first.
    pub one_per_user: bool,
    /// Events that wait for another try; beyond it nothing more is read.
    pub waiting_max: usize,
    /// Pauses before an event is sent again; after the last one it is dead.
    pub retries: Vec<Duration>,
    /// Random part of the pauses: up to so many percent more or less.
    pub jitter_percent: u32,
}

/// State of a row of `deliveries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// Waits for another try, or behind another event of its user.
    Pending,
    /// The sink has it.
    Delivered,
    /// Given up.
    Dead,
}

impl RowState {
    /// As PostgreSQL spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Dead => "DEAD",
        }
    }
}

/// A row of `deliveries` as it is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Sequence number of the event.
    pub seq: u64,
    /// Whose it is.
    pub user: String,
    /// What it means, see [`Topic`](super::message::Topic).
    pub topic: String,
    /// The order that it is about.
    pub order: Option<i64>,
    /// What became of it.
    pub state: RowState,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it failed the last time, if it was sent and failed now.
    pub error: Option<String>,
    /// When it is sent again; `None`: never, or as soon as those before it are done.
    pub retry_at: Option<Instant>,
}

/// A row that waits, as PostgreSQL has it.
#[derive(Clone, Debug)]
pub struct WaitingRow {
    /// Sequence number of the event.
    pub seq: u64,
    /// Whose it is.
    pub user: UserId,
    /// As in [`Row`].
    pub topic: String,
    /// As in [`Row`].
    pub order: Option<i64>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent again; `None`: as soon as those before it are done.
    pub retry_at: Option<Instant>,
}

/// A batch that is to be sent, or was.
#[derive(Debug)]
pub struct Batch {
    lane: usize,
    messages: Vec<Message>,
    /// Of each message.
    waited: Vec<Option<Waited>>,
}

impl Batch {
    fn new(lane: usize, items: Vec<Item>) -> Self {
        let (messages, waited) = items.into_iter().map(|item| (item.message, item.waited)).unzip();
        Self { lane, messages, waited }
    }

    fn items(self) -> impl DoubleEndedIterator<Item = Item> + ExactSizeIterator {
        self.messages.into_iter().zip(self.waited).map(|(message, waited)| Item { message, waited })
    }

    /// What is sent, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many of them were sent before.
    pub fn retries(&self) -> usize {
        self.waited.iter().flatten().filter(|waited| waited.attempts > 0).count()
    }
}

#[derive(Debug)]
struct Item {
    message: Message,
    /// Of an event that has a row; `None`: it came straight from the log.
    waited: Option<Waited>,
}

#[derive(Clone, Copy, Debug)]
struct Waited {
    /// Of its user's queue when it was handed out: one of an older round stays a row.
    round: u64,
    attempts: u32,
}

#[derive(Debug)]
struct Lane {
    items: VecDeque<Item>,
    is_busy: bool,
    /// Events in its next request: halved when one is refused, so that what is wrong is found and the rest goes through.
    batch_max: usize,
}

/// A user's events that wait, in order.
#[derive(Debug, Default)]
struct Queue {
    rows: VecDeque<WaitingRow>,
    /// Counts the times that rows were handed out or taken back.
    round: u64,
    /// Rows handed out to the lane in this round.
    handed_out: usize,
    /// Its place in `due`, while nothing is handed out.
    due: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    lanes: Vec<Lane>,
    /// Where the search for work goes on, so that no lane starves.
    next_lane: usize,
    /// Everything up to here was read.
    read_to: u64,
    /// What was read and is neither delivered nor a row.
    outstanding: BTreeSet<u64>,
    queues: HashMap<UserId, Queue>,
    /// When the first row of a queue can be handed out.
    due: BTreeSet<(Instant, UserId)>,
    waiting: usize,
    /// Users of whom an event was given up, and that is not written down yet. Until then nothing of theirs is sent: whoever comes after
    /// a crash would send the event again, behind those that came after it.
    giving_up: BTreeSet<UserId>,
    /// Rows that are to be written, by sequence number.
    changed: BTreeMap<u64, Row>,
}

impl Window {
    /// Goes on where `read_to` is, with the rows that wait (in the order of their sequence numbers).
    pub fn new(limits: Limits, read_to: u64, rows: Vec<WaitingRow>, now: Instant) -> Self {
        let lane = || Lane { items: VecDeque::new(), is_busy: false, batch_max: limits.batch_max };
        let lanes = (0..limits.lanes).map(|_| lane()).collect();
        let mut window = Self {
            lanes,
            limits,
            next_lane: 0,
            read_to,
            outstanding: BTreeSet::new(),
            queues: HashMap::new(),
            due: BTreeSet::new(),
            waiting: rows.len(),
            giving_up: BTreeSet::new(),
            changed: BTreeMap::new(),
        };
        let users: HashSet<UserId> = rows.iter().map(|row| row.user.clone()).collect();
        for row in rows {
            window.queues.entry(row.user.clone()).or_default().rows.push_back(row);
        }
        for user in users {
            window.schedule(&user, now);
        }
        window
    }

    /// Everything up to here was read.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Everything up to here is delivered, stands in a row, or is none of the sink's.
    pub fn done_to(&self) -> u64 {
        self.outstanding.first().map_or(self.read_to, |seq| seq - 1)
    }

    /// Events that wait for another try, and behind those.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether more should be read: enough for every lane to go on at once, and no more.
    pub fn has_room(&self) -> bool {
        !self.is_crowded() && self.waiting < self.limits.waiting_max
    }

    /// Whether the lanes have enough to do.
    pub fn is_crowded(&self) -> bool {
        let ready = self.lanes.iter().map(|lane| lane.items.len()).sum::<usize>();
        ready >= 2 * self.limits.lanes * self.limits.batch_max
    }

    /// Takes events that were read, in order, and notes that everything up to `to` was.
    pub fn read(&mut self, messages: impl IntoIterator<Item = Message>, to: u64) {
        for message in messages {
            let seq = message.seq();
            if self.queues.contains_key(message.user()) {
                self.park(&message, 0, None, None);
            } else {
                self.outstanding.insert(seq);
                self.give_to_lane(Item { message, waited: None });
            }
        }
        self.read_to = to;
    }

    /// Notes an event that cannot be read: a dead letter, and none waits behind it, because nobody knows whose it is.
    pub fn read_unreadable(&mut self, seq: u64, error: String) {
        let row = Row {
            seq,
            user: String::new(),
            topic: "unreadable".to_owned(),
            order: None,
            state: RowState::Dead,
            attempts: 0,
            error: Some(error),
            retry_at: None,
        };
        self.changed.insert(seq, row);
    }

    /// Notes an event that could not be read once, and that nobody need be told of now that it can be.
    pub fn read_nothing(&mut self, seq: u64) {
        self.read_unreadable(seq, String::new());
        self.changed.entry(seq).and_modify(|row| (row.state, row.error) = (RowState::Delivered, None));
    }

    /// The next batch that may be sent; its lane is busy until it comes back.
    pub fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        for _ in 0..self.lanes.len() {
            let lane = self.next_lane;
            self.next_lane = (lane + 1) % self.lanes.len();
            if self.lanes[lane].is_busy {
                continue;
            }
            let items = self.take_items(lane, now);
            if !items.is_empty() {
                self.lanes[lane].is_busy = true;
                return Some(Batch::new(lane, items));
            }
        }
        None
    }

    fn take_items(&mut self, lane: usize, now: Instant) -> Vec<Item> {
        let (mut items, mut users) = (Vec::new(), HashSet::new());
        let mut batch_max = self.lanes[lane].batch_max;
        while items.len() < batch_max {
            let Some(item) = self.lanes[lane].items.pop_front() else { break };
            let queue = self.queues.get(item.message.user());
            match (item.waited, queue) {
                (Some(waited), Some(queue)) if waited.round == queue.round => {}
                // Taken back meanwhile: its row says when it comes again.
                (Some(_), _) => continue,
                (None, None) => {}
                (None, Some(_)) => {
                    self.outstanding.remove(&item.message.seq());
                    self.park(&item.message, 0, None, None);
                    // What was handed out of his queue may come after this one.
                    self.take_back(item.message.user(), now);
                    continue;
                }
            }
            let with_it = batch_max.min(self.batch_max_of(&item));
            let is_second = self.limits.one_per_user && !users.insert(item.message.user().clone());
            if is_second || items.len() >= with_it {
                self.lanes[lane].items.push_front(item);
                break;
            }
            batch_max = with_it;
            items.push(item);
        }
        items
    }

    /// How many events may go together with this one. What has failed goes with fewer every time, and alone at last: one event that
    /// makes every request fail must not take others with it until they are dead.
    fn batch_max_of(&self, item: &Item) -> usize {
        let attempts = item.waited.map_or(0, |waited| waited.attempts);
        if attempts > 0 && attempts >= self.retries_max() {
            return 1;
        }
        self.limits.batch_max.checked_shr(attempts).unwrap_or_default().max(1)
    }

    /// The sink has all of it.
    pub fn delivered(&mut self, batch: Batch, now: Instant) {
        let lane = &mut self.lanes[batch.lane];
        lane.is_busy = false;
        lane.batch_max = (2 * lane.batch_max).min(self.limits.batch_max);
        for item in batch.items() {
            match item.waited {
                None => {
                    self.outstanding.remove(&item.message.seq());
                }
                Some(waited) => self.row_delivered(&item.message, waited.attempts + 1, now),
            }
        }
    }

    /// Nothing is known to be wrong with these events: they are sent again as if nothing had been.
    pub fn postponed(&mut self, batch: Batch) {
        let lane = &mut self.lanes[batch.lane];
        lane.is_busy = false;
        for item in batch.items().rev() {
            lane.items.push_front(item);
        }
    }

    /// The sink does not want them: smaller batches find out which.
    pub fn refused(&mut self, batch: Batch, error: &str, now: Instant) {
        if batch.len() == 1 {
            return self.failed(batch, error, now);
        }
        self.lanes[batch.lane].batch_max = batch.len() / 2;
        self.postponed(batch);
    }

    /// They failed, and each of them is sent again later, or never.
    pub fn failed(&mut self, batch: Batch, error: &str, now: Instant) {
        self.lanes[batch.lane].is_busy = false;
        let mut users = BTreeSet::new();
        let dead_from = self.retries_max();
        for item in batch.items() {
            let user = item.message.user().clone();
            if item.waited.map_or(0, |waited| waited.attempts) >= dead_from {
                self.queues.entry(user.clone()).or_default();
                self.giving_up.insert(user.clone());
            }
            match item.waited {
                None => {
                    self.outstanding.remove(&item.message.seq());
                    let retry_at = self.retry_at(1, now);
                    self.park(&item.message, 1, Some(error), retry_at);
                }
                Some(waited) => self.row_failed(&item.message, waited.attempts + 1, error, now),
            }
            users.insert(user);
        }
        for user in users {
            // What of his is still in the lane must not overtake what failed.
            self.take_back(&user, now);
        }
    }

    /// Sequence numbers of rows that are due, about `max` of them. Whoever asks brings their events with [`Self::retry`].
    pub fn take_due(&mut self, max: usize, now: Instant) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < max {
            let Some((_, user)) = self.due.first().filter(|(at, _)| *at <= now).cloned() else { break };
            let queue = self.queues.get_mut(&user).expect("who is due has a queue");
            self.due.remove(&(queue.due.take().expect("its place"), user));
            queue.round += 1;
            let ready = queue.rows.iter().take_while(|row| row.retry_at.is_none_or(|at| at <= now));
            let before = seqs.len();
            seqs.extend(ready.take(self.limits.batch_max).map(|row| row.seq));
            queue.handed_out = seqs.len() - before;
        }
        seqs
    }

    /// When rows are due next.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the events of rows that [`Self::take_due`] named, in the order of their sequence numbers.
    pub fn retry(&mut self, messages: Vec<Message>) {
        for message in messages {
            let Some(queue) = self.queues.get(message.user()) else { continue };
            let Some(row) = queue.rows.iter().find(|row| row.seq == message.seq()) else { continue };
            let waited = Some(Waited { round: queue.round, attempts: row.attempts });
            self.give_to_lane(Item { message, waited });
        }
    }

    /// Takes events that were given up and that a person wants to be sent again.
    pub fn replay(&mut self, messages: impl IntoIterator<Item = Message>, now: Instant) {
        for message in messages {
            let row = WaitingRow::new(&message, 0, None);
            let user = row.user.clone();
            let waits = self.queues.get(&user).is_some_and(|queue| queue.rows.iter().any(|other| other.seq == row.seq));
            if waits {
                continue;
            }
            self.changed.insert(row.seq, row.as_pending(None));
            self.wait(row);
            if self.queues[&user].handed_out == 0 {
                self.schedule(&user, now);
            }
        }
    }

    /// What is to be written since the last time.
    pub fn take_changes(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.changed).into_values().collect()
    }

    /// Notes that what [`Self::take_changes`] gave is written down.
    pub fn committed(&mut self, now: Instant) {
        for user in std::mem::take(&mut self.giving_up) {
            self.schedule(&user, now);
        }
    }

    /// Whether [`Self::take_changes`] would give something.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    fn give_to_lane(&mut self, item: Item) {
        let mut hasher = DefaultHasher::new();
        item.message.user().hash(&mut hasher);
        let lanes = u64::try_from(self.lanes.len()).expect("few lanes");
        let lane = usize::try_from(hasher.finish() % lanes).expect("few lanes");
        self.lanes[lane].items.push_back(item);
    }

    /// Makes an event a row in its user's queue, or a dead letter when it may not be sent again.
    fn park(&mut self, message: &Message, attempts: u32, error: Option<&str>, retry_at: Option<Instant>) {
        let row = WaitingRow::new(message, attempts, retry_at);
        let mut written = row.as_pending(error);
        if attempts > 0 && retry_at.is_none() {
            written.state = RowState::Dead;
        } else {
            self.wait(row);
        }
        self.changed.insert(written.seq, written);
    }

    /// Puts a row where it belongs in its user's queue.
    fn wait(&mut self, row: WaitingRow) {
        let rows = &mut self.queues.entry(row.user.clone()).or_default().rows;
        rows.insert(rows.partition_point(|other| other.seq < row.seq), row);
        self.waiting += 1;
    }

    fn row_delivered(&mut self, message: &Message, attempts: u32, now: Instant) {
        let Some(row) = self.take_row(message) else { return };
        let delivered = Row { state: RowState::Delivered, attempts, retry_at: None, ..row.as_pending(None) };
        self.changed.insert(row.seq, delivered);
        let queue = self.queues.get_mut(&row.user).expect("the row came from it");
        queue.handed_out = queue.handed_out.saturating_sub(1);
        if queue.handed_out == 0 {
            self.schedule(&row.user, now);
        }
    }

    fn row_failed(&mut self, message: &Message, attempts: u32, error: &str, now: Instant) {
        let retry_at = self.retry_at(attempts, now);
        let Some(mut row) = self.take_row(message) else { return };
        (row.attempts, row.retry_at) = (attempts, retry_at);
        let mut written = row.as_pending(Some(error));
        if retry_at.is_none() {
            written.state = RowState::Dead;
        } else {
            self.wait(row);
        }
        self.changed.insert(written.seq, written);
    }

    /// Takes a row out of its queue; the queue stays, even when it is empty.
    fn take_row(&mut self, message: &Message) -> Option<WaitingRow> {
        let queue = self.queues.get_mut(message.user())?;
        let place = queue.rows.iter().position(|row| row.seq == message.seq())?;
        self.waiting -= 1;
        queue.rows.remove(place)
    }

    /// Takes back what was handed out of a user's queue and not sent.
    fn take_back(&mut self, user: &UserId, now: Instant) {
        if let Some(queue) = self.queues.get_mut(user) {
            queue.round += 1;
            queue.handed_out = 0;
            self.schedule(user, now);
        }
    }

    /// Puts a user's queue where it is due, or forgets it when nothing waits.
    fn schedule(&mut self, user: &UserId, now: Instant) {
        let Some(queue) = self.queues.get_mut(user) else { return };
        if let Some(due) = queue.due.take() {
            self.due.remove(&(due, user.clone()));
        }
        if self.giving_up.contains(user) {
            return;
        }
        let Some(first) = queue.rows.front() else {
            self.queues.remove(user);
            return;
        };
        let due = first.retry_at.unwrap_or(now);
        queue.due = Some(due);
        self.due.insert((due, user.clone()));
    }

    /// How often an event is sent again.
    fn retries_max(&self) -> u32 {
        u32::try_from(self.limits.retries.len()).unwrap_or(u32::MAX)
    }

    /// When an event is sent again that was sent `attempts` times; `None`: never.
    fn retry_at(&self, attempts: u32, now: Instant) -> Option<Instant> {
        let pause = *self.limits.retries.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
        let jitter = f64::from(self.limits.jitter_percent) / 100.0;
        Some(now + pause.mul_f64(1.0 + rand::rng().random_range(-jitter..=jitter)))
    }
}

impl WaitingRow {
    fn new(message: &Message, attempts: u32, retry_at: Option<Instant>) -> Self {
        Self {
            seq: message.seq(),
            user: message.user().clone(),
            topic: message.topic().as_str().to_owned(),
            order: message.order().map(EntityId::as_i64),
            attempts,
            retry_at,
        }
    }

    fn as_pending(&self, error: Option<&str>) -> Row {
        Row {
            seq: self.seq,
            user: self.user.to_string(),
            topic: self.topic.clone(),
            order: self.order,
            state: RowState::Pending,
            attempts: self.attempts,
            error: error.map(str::to_owned),
            retry_at: self.retry_at,
        }
    }
}
