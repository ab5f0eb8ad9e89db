//! What happened: the last event of an order or charge, what is due, and whole columns for comparisons.

use bytes::Bytes;
use jiff::Timestamp;

use super::{Packed, ReadError, call, pairs, read, unpack};
use crate::engine::cell::CellShared;
use crate::engine::event::{Event, EventError, split};
use crate::engine::ids::EntityId;

const DAY_MS: i64 = 86_400_000;

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// An order.
    Order,
    /// A charge over the gateway.
    Charge,
}

/// The last event of an order or charge: what is open, else what was recorded in the last days, else what started it, if the log
/// still has it.
pub async fn last_event(cell: &CellShared, entity: Entity, id: EntityId) -> Result<Option<Event>, ReadError> {
    let today = (Timestamp::now().as_millisecond() + cell.clock_ahead_ms()).div_euclid(DAY_MS);
    let mut keys = vec![cell.keys.meta(), cell.keys.open(), cell.keys.log()];
    keys.extend((-2..=1).map(|shift| cell.keys.idem(today + shift)));
    let record = match entity {
        Entity::Order => format!("order/{}", id.seq()),
        Entity::Charge => format!("charge/{}", id.seq()),
    };
    read(cell, "read_last", &keys, vec![id.seq().to_string().into(), record.into()], |_, _, value| {
        let events: Packed = unpack(value)?;
        // The entry that starts at or below the sequence number need not reach up to it: it may be trimmed or not exist.
        for part in split(&events.0).map_err(|e| e.to_string())? {
            match Event::decode(part) {
                Ok(event) if starts_or_continues(&event, entity, id.seq()) => return Ok(Some(event)),
                // It might be the one, written by a newer version of the service.
                Err(unknown @ EventError::Unknown { .. }) => return Err(unknown.to_string()),
                _ => {}
            }
        }
        Ok(None)
    })
    .await
}

/// Whether an event is about the order or charge that event `first` started.
fn starts_or_continues(event: &Event, entity: Entity, first: u64) -> bool {
    match (entity, event) {
        (Entity::Order, Event::OrderConfirmed(order)) => order.seq == first,
        (Entity::Order, Event::OrderChanged(order)) => order.order == first,
        (Entity::Charge, Event::ChargeOpened(charge)) => charge.seq == first,
        (Entity::Charge, Event::ChargeSettled(charge)) => charge.charge == first,
        _ => false,
    }
}

/// Takes what is due, at most `count`, and moves its deadlines on: see `take_due` in `lua/control.lua`. Returns the last event of each.
pub async fn take_due(
    cell: &CellShared,
    count: usize,
    (pause_least_ms, pause_longest_ms): (u64, u64),
) -> Result<Vec<Event>, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.due(), cell.keys.open()];
    let args = vec![count.to_string().into(), pause_least_ms.to_string().into(), pause_longest_ms.to_string().into()];
    call(cell, "take_due", &keys, args, false, |_, _, value| {
        let events: Vec<Packed> = unpack(value)?;
        // One that cannot be read, perhaps of a newer version, must not stop the others; it comes again.
        let readable = |event: &Packed| {
            Event::decode(&event.0).inspect_err(|error| tracing::error!(%error, "something due cannot be read")).ok()
        };
        Ok(events.iter().filter_map(readable).collect())
    })
    .await
}

/// Some fields of a column, as of one sequence number.
#[derive(Debug)]
pub struct ColumnChunk {
    /// As of this event.
    pub seq: u64,
    /// Where to go on; 0: that was all.
    pub next: u64,
    /// Field and raw value. A field may come twice, and one that was added or removed meanwhile may or may not come.
    pub fields: Vec<(String, Bytes)>,
}

/// About `count` fields of the hash `key`, from `cursor` (0: the start).
pub async fn column(cell: &CellShared, key: String, cursor: u64, count: usize) -> Result<ColumnChunk, ReadError> {
    let args = vec![cursor.to_string().into(), count.to_string().into()];
    read(cell, "read_column", &[cell.keys.meta(), key], args, |_, seq, value| {
        let (next, flat): (Packed, Vec<Packed>) = unpack(value)?;
        let fields = pairs(&flat, |field, value| Ok((field.text()?.to_owned(), Bytes::copy_from_slice(&value.0))))?;
        Ok(ColumnChunk { seq, next: next.number()?, fields })
    })
    .await
}

/// Fields that [`fields`] asks for in one call: a thousand take Redis about a millisecond, and `unpack` in Lua takes
/// less than 8,000.
pub const FIELDS_MAX: usize = 1_000;

/// What the hash `key` has under `names` (1 to [`FIELDS_MAX`]); those that do not exist are left out.
pub async fn fields(cell: &CellShared, key: String, names: &[String]) -> Result<ColumnChunk, ReadError> {
    debug_assert!((1..=FIELDS_MAX).contains(&names.len()), "one call asks for a bounded number of fields");
    let args = names.iter().map(|name| name.as_str().into()).collect();
    read(cell, "read_fields", &[cell.keys.meta(), key], args, |_, seq, value| {
        let flat: Vec<Packed> = unpack(value)?;
        let fields = pairs(&flat, |field, value| Ok((field.text()?.to_owned(), Bytes::copy_from_slice(&value.0))))?;
        Ok(ColumnChunk { seq, next: 0, fields })
    })
    .await
}

/// A part of `due` or of `open`, compared with the other one.
#[derive(Debug)]
pub struct Unmatched {
    /// Where to go on; 0: that was all.
    pub next: u64,
    /// How many ids were looked at.
    pub count: u64,
    /// Those that the other one lacks.
    pub ids: Vec<String>,
}

/// Which of the two columns of open things [`unmatched`] walks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Deadlines.
    Due,
    /// Open orders and charges.
    Open,
}

/// About `count` deadlines without anything open, or open things without a deadline, from `cursor` (0: the start).
pub async fn unmatched(cell: &CellShared, walk: Walk, cursor: u64, count: usize) -> Result<Unmatched, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.due(), cell.keys.open()];
    let through = if walk == Walk::Due { "due" } else { "open" };
    let args = vec![cursor.to_string().into(), count.to_string().into(), through.into()];
    read(cell, "read_unmatched", &keys, args, |_, _, value| {
        let (next, count, ids): (Packed, u64, Vec<Packed>) = unpack(value)?;
        let ids = ids.iter().map(|id| id.text().map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Unmatched { next: next.number()?, count, ids })
    })
    .await
}

/// Units sold per product on one business day, and the sequence number that they are as of.
pub async fn day_sales(cell: &CellShared, day: &str) -> Result<(u64, Vec<(String, i64)>), ReadError> {
    read(cell, "read_sales", &[cell.keys.meta(), cell.keys.sales(day)], Vec::new(), |_, seq, value| {
        let flat: Vec<Packed> = unpack(value)?;
        let sold = pairs(&flat, |product, score| {
            let sold: f64 = score.number()?;
            #[expect(clippy::cast_possible_truncation, reason = "a score is an integer below 2^53")]
            Ok((product.text()?.to_owned(), sold as i64))
        })?;
        Ok((seq, sold))
    })
    .await
}
