//! `verify`: money, stock, coupons and limits of everything, Redis against PostgreSQL, while load runs.
//!
//! A chunk of a column is read together with the sequence number `s` that it is as of. Once PostgreSQL has everything up
//! to `s`, the chunk must be what the rows with numbers up to `s` make: exact, whatever happens meanwhile. Where a row
//! only says what is now (a cart, a wallet, what is open) and changed after `s`, Redis is asked for that field again, a
//! few times; what still does not stand still is counted as busy, and is no difference. Then the other way round: pages
//! of what PostgreSQL has are looked for in Redis. Last, PostgreSQL in itself.
//!
//! One chunk or page is in memory at a time, and the rankings. `lua/README.md` says what the columns hold,
//! `sql/README.md` what the tables do.

mod books;
mod columns;
pub mod command;
mod findings;
mod report;
mod sales;
pub mod service;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::engine::cell::CellShared;
use crate::engine::reads::{self, FIELDS_MAX, ReadError, Walk};
use crate::postgres::DatabaseError;
use crate::progress::Progress;
use books::Books;
use columns::{Column, Fields};
use findings::Findings;

pub use report::{Checked, DIFFERENCES_MAX, Difference, Kind, Range, Report};

/// How long PostgreSQL may take to get to an event: many times what the writer needs, and soon enough to be told.
const WRITER_PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at how far PostgreSQL is: a fraction of the writer's own.
const WRITER_PAUSE: Duration = Duration::from_millis(20);

/// How often a field that changes is looked at. Each round takes as long as the writer is behind.
const ROUNDS: usize = 6;

/// Deadlines and open things in one look at both.
const DUE_CHUNK: usize = 1_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Redis did not answer, or the cell is closed.
    #[error(transparent)]
    Redis(#[from] ReadError),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A bug.
    #[error("the comparison ended without a report")]
    Died,
}

/// Why a comparison ends before its end.
enum Stop {
    /// PostgreSQL is at `written` and did not get to `seq` in time.
    Behind {
        seq: u64,
        written: u64,
    },
    Failed(VerifyError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<DatabaseError> for Stop {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error.into())
    }
}

/// Compares one cell.
#[derive(Clone)]
pub struct Verifier {
    cell: Arc<CellShared>,
    pool: Pool,
    patience: Duration,
    progress: Option<Arc<Progress>>,
}

impl Verifier {
    /// Steps of a comparison, for who shows how far it is: each column, deadlines, what is open, rankings, tables.
    pub const STEPS: u64 = Column::ALL.len() as u64 + 4;

    /// Compares `cell`, which only has to be open for reading. Takes one connection of `pool` at a time.
    pub fn new(cell: Arc<CellShared>, pool: Pool) -> Self {
        Self { cell, pool, patience: WRITER_PATIENCE, progress: None }
    }

    /// With another bound on waiting for the writer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Shows how far it is, in [`Verifier::STEPS`] steps.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Compares everything.
    pub async fn run(&self) -> Result<Report, VerifyError> {
        let mut findings = Findings::new(self.cell.id);
        match self.compare(&mut findings).await {
            Ok(()) => {}
            Err(Stop::Behind { seq, written }) => {
                let detail = format!(
                    "PostgreSQL did not get to event {seq} within {} ms; what comes after was not compared",
                    self.patience.as_millis()
                );
                let id = format!("cell {}", self.cell.id);
                findings.add(Kind::WriterBehind, id, (Some(seq.into()), Some(written.into())), detail);
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(findings.into_report())
    }

    async fn compare(&self, findings: &mut Findings) -> Result<(), Stop> {
        for column in Column::ALL {
            self.begin(column.name());
            self.compare_from_redis(column, findings).await?;
            self.compare_from_postgres(column, findings).await?;
        }
        self.begin("deadlines");
        self.compare_due(Walk::Due, findings).await?;
        self.begin("what is open");
        self.compare_due(Walk::Open, findings).await?;
        self.begin("rankings");
        self.compare_sales(findings).await?;
        self.begin("tables");
        self.compare_tables(findings).await
    }

    fn begin(&self, step: &str) {
        if let Some(progress) = &self.progress {
            progress.step(format!("cell {}: {step}", self.cell.id));
        }
    }

    /// Every field that Redis has.
    async fn compare_from_redis(&self, column: Column, findings: &mut Findings) -> Result<(), Stop> {
        let mut cursor = 0;
        loop {
            let key = column.key(&self.cell.keys);
            let chunk = reads::column(&self.cell, key, cursor, column.chunk_fields()).await?;
            cursor = chunk.next;
            *column.count(&mut findings.checked) += chunk.fields.len() as u64;
            self.settle(column, Fields::found(chunk), findings).await?;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// What PostgreSQL has and Redis has not.
    async fn compare_from_postgres(&self, column: Column, findings: &mut Findings) -> Result<(), Stop> {
        let mut after = String::new();
        loop {
            let page = {
                let mut client = self.client().await?;
                let books = Books::open(&mut client, self.cell.id).await?;
                column.page(&books, &after).await?
            };
            for names in page.fields.chunks(FIELDS_MAX) {
                let mut fields = self.ask(column, names).await?;
                fields.values.retain(|_, value| value.is_none());
                *column.count(&mut findings.checked) += fields.values.len() as u64;
                self.settle(column, fields, findings).await?;
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    /// Compares fields, and again those that changed before PostgreSQL could be asked about them.
    async fn settle(&self, column: Column, fields: Fields, findings: &mut Findings) -> Result<(), Stop> {
        let mut pending = vec![fields];
        for round in 1..=ROUNDS {
            let mut changed = Vec::new();
            for fields in std::mem::take(&mut pending) {
                findings.note_seq(fields.seq);
                if fields.values.is_empty() {
                    continue;
                }
                self.wait_for(fields.seq).await?;
                let mut client = self.client().await?;
                let books = Books::open(&mut client, self.cell.id).await?;
                changed.extend(column.compare(&books, &fields, findings).await?);
            }
            if changed.is_empty() || round == ROUNDS {
                findings.busy += changed.len() as u64;
                break;
            }
            for names in changed.chunks(FIELDS_MAX) {
                pending.push(self.ask(column, names).await?);
            }
        }
        Ok(())
    }

    async fn ask(&self, column: Column, names: &[String]) -> Result<Fields, ReadError> {
        let chunk = reads::fields(&self.cell, column.key(&self.cell.keys), names).await?;
        Ok(Fields::asked(names, chunk))
    }

    /// Open things without a deadline, and deadlines of nothing. Both are in Redis, and read in one moment.
    async fn compare_due(&self, walk: Walk, findings: &mut Findings) -> Result<(), Stop> {
        let mut cursor = 0;
        loop {
            let part = reads::unmatched(&self.cell, walk, cursor, DUE_CHUNK).await?;
            findings.checked.due += part.count;
            for id in part.ids {
                let detail = match walk {
                    Walk::Due => "it has a deadline, but is not open",
                    Walk::Open => "it is open, but has no deadline",
                };
                findings.add(Kind::Due, id, (None, None), detail);
            }
            cursor = part.next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn compare_sales(&self, findings: &mut Findings) -> Result<(), Stop> {
        let now_ms = self.cell.redis_clock_after(Duration::ZERO);
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_else(|_| Timestamp::now());
        let mut days = Vec::new();
        for day in sales::days(now) {
            let (seq, sold) = reads::day_sales(&self.cell, &day.to_string()).await?;
            findings.note_seq(seq);
            days.push(sales::Day { date: day, seq, sold: sold.into_iter().collect() });
        }
        self.wait_for(days.iter().map(|day| day.seq).max().unwrap_or_default()).await?;
        let mut client = self.client().await?;
        let books = Books::open(&mut client, self.cell.id).await?;
        sales::compare(&books, &days, findings).await?;
        Ok(())
    }

    /// PostgreSQL in itself, as far as it is now. A page is one snapshot: what belongs together is committed together.
    async fn compare_tables(&self, findings: &mut Findings) -> Result<(), Stop> {
        let written = books::written(&self.pool, self.cell.id).await?;
        let (mut order, mut payment) = (None, None);
        loop {
            let mut client = self.client().await?;
            let books = Books::open(&mut client, self.cell.id).await?;
            let last = books.id(written);
            order = tables::compare_orders(&books, (order.unwrap_or(books.base()), last), findings).await?;
            if order.is_none() {
                break;
            }
        }
        loop {
            let mut client = self.client().await?;
            let books = Books::open(&mut client, self.cell.id).await?;
            let last = books.id(written);
            payment = tables::compare_payments(&books, (payment.unwrap_or(books.base()), last), findings).await?;
            if payment.is_none() {
                break;
            }
        }
        let mut client = self.client().await?;
        let books = Books::open(&mut client, self.cell.id).await?;
        tables::compare_parked(&books, findings).await?;
        Ok(())
    }

    /// Waits until PostgreSQL has everything up to `seq`.
    async fn wait_for(&self, seq: u64) -> Result<(), Stop> {
        let started = Instant::now();
        loop {
            let written = books::written(&self.pool, self.cell.id).await?;
            if written >= seq {
                return Ok(());
            }
            if started.elapsed() >= self.patience {
                return Err(Stop::Behind { seq, written });
            }
            tokio::time::sleep(WRITER_PAUSE).await;
        }
    }

    async fn client(&self) -> Result<Client, DatabaseError> {
        Ok(self.pool.get().await?)
    }
}
