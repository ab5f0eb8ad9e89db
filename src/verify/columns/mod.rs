//! The columns of a cell: each file knows what a field of one must be, going by the rows of PostgreSQL.

mod accounts;
mod carts;
mod coupons;
mod limits;
mod open;
mod products;
mod restock;
mod stock;
mod wallets;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::books::{Books, PAGE_ROWS, Parameter};
use super::findings::Findings;
use super::report::Checked;
use crate::engine::reads::ColumnChunk;
use crate::postgres::DatabaseError;
use crate::redis::keys::CellKeys;

/// Fields of one chunk: reading them takes Redis about a millisecond, in which nobody can order.
const CHUNK_FIELDS: usize = 1_000;

/// For the stock, whose values are short, and of which every chunk costs a pass over all orders: in most shops there is
/// but one.
const CHUNK_STOCK: usize = 10_000;

/// For what is open, whose values are whole orders.
const CHUNK_OPEN: usize = 200;

/// A hash of Redis that can be compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Products,
    Stock,
    Accounts,
    Limits,
    Coupons,
    Wallets,
    Carts,
    Open,
    Restock,
}

/// Fields of a column as Redis had them at one moment; `None`: it has none of that name.
#[derive(Debug)]
pub(super) struct Fields {
    /// As of this event.
    pub seq: u64,
    pub values: BTreeMap<String, Option<Bytes>>,
}

/// Names of fields that PostgreSQL says there are, and where to go on.
#[derive(Debug)]
pub(super) struct Page {
    pub fields: Vec<String>,
    /// `None`: that was all.
    pub next: Option<String>,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Products,
        Self::Stock,
        Self::Accounts,
        Self::Limits,
        Self::Coupons,
        Self::Wallets,
        Self::Carts,
        Self::Open,
        Self::Restock,
    ];

    /// For people who watch.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Stock => "stock",
            Self::Accounts => "balances",
            Self::Limits => "limits",
            Self::Coupons => "coupons",
            Self::Wallets => "users' coupons",
            Self::Carts => "carts",
            Self::Open => "unpaid orders and charges",
            Self::Restock => "restock notices",
        }
    }

    pub(super) fn key(self, keys: &CellKeys) -> String {
        match self {
            Self::Products => keys.catalog(),
            Self::Stock => keys.stock(),
            Self::Accounts => keys.accounts(),
            Self::Limits => keys.bought(),
            Self::Coupons => keys.coupons(),
            Self::Wallets => keys.wallets(),
            Self::Carts => keys.carts(),
            Self::Open => keys.open(),
            Self::Restock => keys.restock(),
        }
    }

    /// About how many fields are read at once.
    pub(super) fn chunk_fields(self) -> usize {
        match self {
            Self::Stock => CHUNK_STOCK,
            Self::Open => CHUNK_OPEN,
            _ => CHUNK_FIELDS,
        }
    }

    /// Where its fields are counted.
    pub(super) fn count(self, checked: &mut Checked) -> &mut u64 {
        match self {
            Self::Products => &mut checked.products,
            Self::Stock => &mut checked.stock,
            Self::Accounts => &mut checked.accounts,
            Self::Limits => &mut checked.limits,
            Self::Coupons => &mut checked.coupons,
            Self::Wallets => &mut checked.wallets,
            Self::Carts => &mut checked.carts,
            Self::Open => &mut checked.open,
            Self::Restock => &mut checked.restock,
        }
    }

    /// Compares fields with `books`, which have everything up to their event. Returns the fields that changed since: only
    /// a newer reading of them can be compared.
    pub(super) async fn compare(
        self,
        books: &Books<'_>,
        fields: &Fields,
        findings: &mut Findings,
    ) -> Result<Vec<String>, DatabaseError> {
        match self {
            Self::Products => products::compare(books, fields, findings).await,
            Self::Stock => stock::compare(books, fields, findings).await,
            Self::Accounts => accounts::compare(books, fields, findings).await,
            Self::Limits => limits::compare(books, fields, findings).await,
            Self::Coupons => coupons::compare(books, fields, findings).await,
            Self::Wallets => wallets::compare(books, fields, findings).await,
            Self::Carts => carts::compare(books, fields, findings).await,
            Self::Open => open::compare(books, fields, findings).await,
            Self::Restock => restock::compare(books, fields, findings).await,
        }
    }

    /// The next fields behind `after` (empty: from the start) that PostgreSQL says there are.
    pub(super) async fn page(self, books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
        match self {
            Self::Products => products::page(books, after).await,
            Self::Stock => stock::page(books, after).await,
            Self::Accounts => accounts::page(books, after).await,
            Self::Limits => limits::page(books, after).await,
            Self::Coupons => coupons::page(books, after).await,
            Self::Wallets => wallets::page(books, after).await,
            Self::Carts => carts::page(books, after).await,
            Self::Open => open::page(books, after).await,
            Self::Restock => restock::page(books, after).await,
        }
    }
}

impl Fields {
    /// What a walk found.
    pub(super) fn found(chunk: ColumnChunk) -> Self {
        let values = chunk.fields.into_iter().map(|(field, value)| (field, Some(value))).collect();
        Self { seq: chunk.seq, values }
    }

    /// What was found of the fields that were asked for.
    pub(super) fn asked(names: &[String], chunk: ColumnChunk) -> Self {
        let mut values: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), None)).collect();
        values.extend(chunk.fields.into_iter().map(|(field, value)| (field, Some(value))));
        Self { seq: chunk.seq, values }
    }

    /// The names as statements take them.
    fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// The names that are numbers. Others have no row, and show as what PostgreSQL lacks.
    fn numbers(&self) -> Vec<i32> {
        self.values.keys().filter_map(|name| name.parse().ok()).collect()
    }
}

/// Reads a packed value, if there is one. One that cannot be read is noted.
fn unpack<T: DeserializeOwned>(
    column: &str,
    field: &str,
    value: Option<&Bytes>,
    findings: &mut Findings,
) -> Result<Option<T>, Noted> {
    let unpacked = value.map(|packed| rmp_serde::from_slice(packed)).transpose();
    unpacked.map_err(|error| {
        findings.add_unreadable(column, field, &error.to_string());
        Noted
    })
}

/// Reads a value that is a number as text, as [`unpack`] does.
fn number(column: &str, field: &str, value: Option<&Bytes>, findings: &mut Findings) -> Result<Option<i64>, Noted> {
    let parse = |text: &Bytes| str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    let parsed = value.map(|text| parse(text).ok_or(Noted)).transpose();
    parsed.inspect_err(|_| findings.add_unreadable(column, field, "it is no number"))
}

/// It was found that a value cannot be read: there is nothing more to compare.
#[derive(Clone, Copy, Debug)]
struct Noted;

/// The rows of a page: what a statement answers that takes what comes before the page, the cell and how many rows.
async fn page_rows(books: &Books<'_>, sql: &str, after: Parameter<'_>) -> Result<Vec<Row>, DatabaseError> {
    let limit = i64::try_from(PAGE_ROWS).expect("a page is short");
    books.rows(sql, &[after, &books.cell_number, &limit]).await
}

/// A page of one field for each row.
fn page_of(rows: &[Row], name: impl Fn(&Row) -> String) -> Page {
    let fields: Vec<String> = rows.iter().map(name).collect();
    let next = fields.last().filter(|_| fields.len() == PAGE_ROWS).cloned();
    Page { fields, next }
}
