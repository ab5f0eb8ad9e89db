//! Dead letters: what was given up after its last try, to be looked at by a person and sent again when he says so. Events for the
//! data platform lie in `deliveries`, restock notices in `restock_notifications`.

use std::borrow::Cow;
use std::fmt;

use deadpool_postgres::Pool;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::DatabaseError;
use super::history::id_from;
use crate::engine::ids::{CellId, EntityId};

/// Key of the advisory lock under which dead letters are replayed: one request after the other. So no letter is counted twice, and
/// a repeat waits for the first.
const REPLAY_LOCK: i64 = 0x666c_6173_6802;

/// Events, and as many notices, that one request replays: what PostgreSQL does well within the time of a statement.
const REPLAY_MAX: i64 = 10_000;

/// Whom a dead letter was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sink {
    /// The data platform, over Kafka.
    Kafka,
    /// Users who wait for a product.
    Notification,
    /// The data platform, over HTTP.
    Platform,
}

impl Sink {
    /// Every sink, in the order of lists.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Notification, Self::Platform];

    /// As PostgreSQL and the API spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Notification => "notification",
            Self::Platform => "platform",
        }
    }

    /// The sink of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sink| sink.as_str() == text)
    }
}

/// Names a dead letter: its sink and its event, such as `platform-9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterId {
    /// Whom it was meant for.
    pub sink: Sink,
    /// The event that could not be told; of a notice the request for it.
    pub event: EntityId,
}

impl LetterId {
    /// How it is spelled.
    pub const PATTERN: &'static str = "^(kafka|notification|platform)-[1-9][0-9]{0,15}$";

    /// Reads an id; `None` for anything that cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (sink, event) = text.split_once('-')?;
        Some(Self { sink: Sink::parse(sink)?, event: EntityId::parse(event)? })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sink.as_str(), self.event)
    }
}

impl Serialize for LetterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for LetterId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(Self::PATTERN))
            .description(Some("Its sink and its event."))
            .into()
    }
}

impl ToSchema for LetterId {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("DeadLetterId")
    }
}

/// What was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its sink and its event.
    pub id: LetterId,
    /// As in `deliveries`, or `restock`.
    pub kind: String,
    /// Whose event it is.
    pub user: String,
    /// The order that it is about.
    pub order: Option<EntityId>,
    /// How often it was sent.
    pub attempts: i32,
    /// Why it failed the last time.
    pub last_error: Option<String>,
    /// When it was given up.
    pub failed_at: Timestamp,
}

const EVENTS: &str = "SELECT cell, seq, user_id, type, order_id, attempts, last_error, updated_at FROM deliveries \
     WHERE state = 'DEAD' AND sink = $4 AND (cell, seq) > ($1, $2) ORDER BY cell, seq LIMIT $3";

const NOTICES: &str = "SELECT cell, seq, user_id, 'restock' AS type, NULL::bigint AS order_id, attempts, last_error, \
     updated_at FROM restock_notifications WHERE state = 'DEAD' AND (cell, seq) > ($1, $2) ORDER BY cell, seq LIMIT $3";

/// Dead letters behind `after`, by sink and then as they happened in each cell, at most `limit`; of one sink or of all.
pub async fn list(
    pool: &Pool,
    sink: Option<Sink>,
    after: Option<LetterId>,
    limit: u32,
) -> Result<Vec<DeadLetter>, DatabaseError> {
    let client = pool.get().await?;
    let (rows_max, mut letters) = (i64::from(limit), Vec::new());
    for each in Sink::ALL {
        let is_passed = after.is_some_and(|after| each < after.sink) || letters.len() >= limit as usize;
        if is_passed || sink.is_some_and(|sink| sink != each) {
            continue;
        }
        // Sequence numbers start at 1.
        let (cell, seq) = after.filter(|after| after.sink == each).map_or((0, 0), |after| place(after.event));
        let rows = if each == Sink::Notification {
            let statement = client.prepare_cached(NOTICES).await?;
            client.query(&statement, &[&cell, &seq, &rows_max]).await?
        } else {
            let statement = client.prepare_cached(EVENTS).await?;
            client.query(&statement, &[&cell, &seq, &rows_max, &each.as_str()]).await?
        };
        for row in &rows {
            letters.push(letter_from(each, row)?);
        }
    }
    letters.truncate(limit as usize);
    Ok(letters)
}

/// Which dead letters are to be sent again.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// This one.
    One(LetterId),
    /// All, or all of one sink.
    All(Option<Sink>),
}

impl Which {
    /// As the statements want it: NULL is any.
    fn parts(self) -> (Option<&'static str>, Option<i16>, Option<i64>) {
        match self {
            Self::One(id) => {
                let (cell, seq) = place(id.event);
                (Some(id.sink.as_str()), Some(cell), Some(seq))
            }
            Self::All(sink) => (sink.map(Sink::as_str), None, None),
        }
    }
}

/// As a replay is remembered by: `platform-9`, `platform`, `all`.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(id) => id.fmt(f),
            Self::All(sink) => f.write_str(sink.map_or("all", Sink::as_str)),
        }
    }
}

/// What came of a request to send dead letters again.
#[derive(Debug)]
pub enum Replay {
    /// So many will be.
    Done(u64),
    /// The same request did it before, for so many.
    Repeated(u64),
    /// It is no dead letter, or not any more.
    NotFound,
    /// The key stands for another request.
    KeyReused,
    /// It was to be committed, and nobody said whether it was.
    Unknown(DatabaseError),
}

/// Hands dead letters to those who send them. Both take up rows in these states, and count their attempts anew.
const REPLAY: &str = "WITH events AS ( \
         UPDATE deliveries SET state = 'REPLAY', updated_at = now() \
         WHERE state = 'DEAD' AND (sink, cell, seq) IN ( \
             SELECT sink, cell, seq FROM deliveries WHERE state = 'DEAD' AND ($1::text IS NULL OR sink = $1) \
                 AND ($2::smallint IS NULL OR (cell, seq) = ($2, $3::bigint)) \
             ORDER BY sink, cell, seq LIMIT $4) \
         RETURNING 1 \
     ), notices AS ( \
         UPDATE restock_notifications SET state = 'DUE', attempts = 0, next_retry_at = NULL, updated_at = now() \
         WHERE state = 'DEAD' AND (cell, seq) IN ( \
             SELECT cell, seq FROM restock_notifications \
             WHERE state = 'DEAD' AND ($1::text IS NULL OR $1 = 'notification') \
                 AND ($2::smallint IS NULL OR (cell, seq) = ($2, $3::bigint)) \
             ORDER BY cell, seq LIMIT $4) \
         RETURNING 1 \
     ) SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM notices)";

/// Has dead letters sent again: all that are asked for or none, the oldest first when there are too many for one request.
/// `key`: operator and idempotency key; what it did is remembered in the same commit.
pub async fn replay(pool: &Pool, which: Which, key: &str) -> Result<Replay, DatabaseError> {
    let (request, (sink, cell, seq)) = (which.to_string(), which.parts());
    let mut client = pool.get().await?;
    // Whatever ends before the commit leaves everything as it was.
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&REPLAY_LOCK]).await?;
    // Read after the lock was taken: what a request before this one committed is seen.
    let known = "SELECT request, replayed FROM replays WHERE replay_key = $1";
    if let Some(row) = transaction.query_opt(&transaction.prepare_cached(known).await?, &[&key]).await? {
        let is_same = row.get::<_, &str>(0) == request;
        return Ok(if is_same { Replay::Repeated(count_from(&row, 1)) } else { Replay::KeyReused });
    }
    let statement = transaction.prepare_cached(REPLAY).await?;
    let asked: [&(dyn ToSql + Sync); 4] = [&sink, &cell, &seq, &REPLAY_MAX];
    let replayed: i64 = transaction.query_one(&statement, &asked).await?.get(0);
    if replayed == 0 && matches!(which, Which::One(_)) {
        return Ok(Replay::NotFound);
    }
    let note = "INSERT INTO replays (replay_key, request, replayed) VALUES ($1, $2, $3)";
    transaction.execute(&transaction.prepare_cached(note).await?, &[&key, &request, &replayed]).await?;
    Ok(match transaction.commit().await {
        Ok(()) => Replay::Done(u64::try_from(replayed).unwrap_or_default()),
        Err(error) => Replay::Unknown(error.into()),
    })
}

/// Where an event stands.
fn place(event: EntityId) -> (i16, i64) {
    (event.cell().as_i16(), i64::try_from(event.seq()).expect("sequence numbers stay below 2^44"))
}

fn event_from(cell: i16, seq: i64) -> Option<EntityId> {
    let cell = u16::try_from(cell).ok().and_then(CellId::new)?;
    Some(EntityId::new(cell, u64::try_from(seq).ok()?))
}

fn count_from(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or_default()
}

fn letter_from(sink: Sink, row: &Row) -> Result<DeadLetter, DatabaseError> {
    let (cell, seq): (i16, i64) = (row.get("cell"), row.get("seq"));
    let event = event_from(cell, seq).ok_or_else(|| DatabaseError(format!("{seq} of cell {cell} is no event")))?;
    Ok(DeadLetter {
        id: LetterId { sink, event },
        kind: row.get("type"),
        user: row.get("user_id"),
        order: row.get::<_, Option<i64>>("order_id").map(id_from).transpose()?,
        attempts: row.get("attempts"),
        last_error: row.get("last_error"),
        failed_at: row.get("updated_at"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_sink_and_event_and_nonsense_is_no_id() {
        let last_cell = CellId::new(511).expect("a cell");
        for sink in Sink::ALL {
            let id = LetterId { sink, event: EntityId::new(last_cell, 9) };
            assert_eq!(LetterId::parse(&id.to_string()), Some(id));
            let (cell, seq) = place(id.event);
            assert_eq!(event_from(cell, seq), Some(id.event));
        }
        let event = EntityId::parse("9").expect("an id");
        assert_eq!(LetterId { sink: Sink::Platform, event }.to_string(), "platform-9");
        for text in ["", "-", "9", "platform", "platform-", "platform-0", "platform-09", "other-9", "platform-9-9"] {
            assert_eq!(LetterId::parse(text), None, "{text}");
        }
        assert!(Sink::ALL.is_sorted_by_key(|sink| sink.as_str()) && Sink::ALL.is_sorted(), "lists are in this order");
    }
}
