//! PostgreSQL as a comparison sees it: snapshots that have everything up to some event.

use deadpool_postgres::{Client, Pool, Transaction};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

use crate::engine::ids::{CellId, EntityId};
use crate::postgres::DatabaseError;

/// Rows of one page: some ten milliseconds of work, and little memory.
pub(super) const PAGE_ROWS: usize = 1_000;

/// Longest statement: counting stock and sales reads all lines of all orders; the API's timeout is not meant for that.
const STATEMENT_TIMEOUT: &str = "SET LOCAL statement_timeout = '10min'";

/// First sequence number that no event of a cell can have: an id has so many for each cell.
const SEQ_END: u64 = 1 << 44;

/// For PostgreSQL.
pub(super) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).expect("sequence numbers stay below 2^44")
}

/// A parameter of a statement.
pub(super) type Parameter<'p> = &'p (dyn ToSql + Sync);

/// One snapshot of PostgreSQL, for one cell.
pub(super) struct Books<'c> {
    transaction: Transaction<'c>,
    cell: CellId,
    /// As statements take it.
    pub cell_number: i16,
}

impl<'c> Books<'c> {
    /// A snapshot of now. It ends when it is dropped: there is nothing to commit.
    pub(super) async fn open(client: &'c mut Client, cell: CellId) -> Result<Self, DatabaseError> {
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = snapshot.start().await?;
        transaction.batch_execute(STATEMENT_TIMEOUT).await?;
        Ok(Self { transaction, cell, cell_number: cell.as_i16() })
    }

    /// The id of what event `seq` of the cell started.
    pub(super) fn id(&self, seq: u64) -> i64 {
        EntityId::new(self.cell, seq).as_i64()
    }

    /// The last id below all of the cell's.
    pub(super) fn base(&self) -> i64 {
        self.id(0)
    }

    /// The last id that the cell can have.
    pub(super) fn last_id(&self) -> i64 {
        self.id(SEQ_END - 1)
    }

    /// The id of what an event started whose number is a field's name; `None`: it cannot be one.
    pub(super) fn id_of_field(&self, name: &str) -> Option<i64> {
        name.parse().ok().filter(|seq| (1..SEQ_END).contains(seq)).map(|seq| self.id(seq))
    }

    /// The sequence number in an id of this cell.
    pub(super) fn seq(&self, id: i64) -> i64 {
        id - self.base()
    }

    /// Runs a statement.
    pub(super) async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let statement = self.transaction.prepare_cached(sql).await?;
        Ok(self.transaction.query(&statement, parameters).await?)
    }

    /// Runs a statement that answers one row.
    pub(super) async fn row(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, DatabaseError> {
        let statement = self.transaction.prepare_cached(sql).await?;
        Ok(self.transaction.query_one(&statement, parameters).await?)
    }
}

/// The last event of the cell that PostgreSQL has.
pub(super) async fn written(pool: &Pool, cell: CellId) -> Result<u64, DatabaseError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached("SELECT seq FROM writer_cursor WHERE cell = $1").await?;
    let row = client.query_opt(&statement, &[&cell.as_i16()]).await?;
    Ok(row.map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or_default()))
}

/// Every cell that was ever opened.
pub(super) async fn opened_cells(pool: &Pool) -> Result<Vec<CellId>, DatabaseError> {
    let client = pool.get().await?;
    let rows = client.query("SELECT DISTINCT cell FROM epochs ORDER BY cell", &[]).await?;
    let cell = |row: &Row| u16::try_from(row.get::<_, i16>(0)).ok().and_then(CellId::new);
    Ok(rows.iter().filter_map(cell).collect())
}

/// A time as ms since 1970.
pub(super) fn milliseconds(row: &Row, column: &str) -> Option<i64> {
    row.get::<_, Option<Timestamp>>(column).map(Timestamp::as_millisecond)
}
