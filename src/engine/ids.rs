//! Identifiers. The engine mints an id from the cell and the sequence number of the event that starts the entity,
//! so an id says where its history stands in the log.

use std::borrow::Cow;
use std::fmt;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Bits of an id that hold the sequence number.
const SEQ_BITS: u32 = 44;

/// Cells are numbered from 0; the bound keeps every id below 2^53, so that it survives JavaScript and Lua.
pub const CELLS_MAX: u16 = 512;

/// A part of the users with a Redis hash tag, log, lane and sequence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId(u16);

impl CellId {
    /// `None` beyond [`CELLS_MAX`].
    pub fn new(number: u16) -> Option<Self> {
        (number < CELLS_MAX).then_some(Self(number))
    }

    /// As PostgreSQL stores it.
    pub fn as_i16(self) -> i16 {
        i16::try_from(self.0).expect("a cell is below 512")
    }

    /// Position in a list of all cells.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order, transaction or payment: `cell × 2^44 + seq` of its first event, shown as a string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntityId(u64);

impl EntityId {
    /// The id of the entity that event `seq` of `cell` started.
    pub fn new(cell: CellId, seq: u64) -> Self {
        debug_assert!(seq < 1 << SEQ_BITS, "sequence numbers stay below 2^44");
        Self(u64::from(cell.0) << SEQ_BITS | seq)
    }

    /// Reads the digits of a path or body; `None` for anything that the engine cannot have minted.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit());
        let id = plain.then(|| text.parse().ok()).flatten().map(Self)?;
        (id.to_string() == text && id.seq() > 0 && id.0 >> SEQ_BITS < u64::from(CELLS_MAX)).then_some(id)
    }

    /// From PostgreSQL.
    pub fn from_i64(id: i64) -> Option<Self> {
        u64::try_from(id).ok().map(Self)
    }

    /// For PostgreSQL.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).expect("an id is below 2^53")
    }

    /// The cell that minted it.
    pub fn cell(self) -> CellId {
        CellId(u16::try_from(self.0 >> SEQ_BITS).expect("parsed ids have a cell below 512"))
    }

    /// The sequence number of its first event.
    pub fn seq(self) -> u64 {
        self.0 & ((1 << SEQ_BITS) - 1)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for EntityId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for EntityId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[1-9][0-9]{0,15}$"))
            .description(Some("An id that the service minted: digits, also where it is large."))
            .into()
    }
}

impl ToSchema for EntityId {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EntityId")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_nonsense_is_no_id() {
        let cell = CellId::new(511).expect("a cell");
        let id = EntityId::new(cell, (1 << 44) - 1);
        assert_eq!(EntityId::parse(&id.to_string()), Some(id));
        assert_eq!((id.cell(), id.seq()), (cell, (1 << 44) - 1));
        assert!(id.as_i64() < 1 << 53);
        for text in ["", "0", "-1", "+1", "01", "1.0", "9007199254740992", "99999999999999999999", "abc", "１"] {
            assert_eq!(EntityId::parse(text), None, "{text}");
        }
    }
}
