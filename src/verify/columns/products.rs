//! `catalog`: product → its terms. The table has the terms of now.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::{Fields, Page, page_of, page_rows, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, milliseconds, signed};
use crate::verify::findings::{Findings, without_nulls};
use crate::verify::report::Kind;

const ROWS: &str = "SELECT product_id, name, price, limit_per_user, sale_starts_at, sale_ends_at, status, version, seq \
     FROM products WHERE product_id = ANY($1::int4[]) AND cell = $2";

const PAGE: &str = "SELECT product_id FROM products WHERE product_id > $1 AND cell = $2 ORDER BY product_id LIMIT $3";

/// Members of the packed value that the table has too.
const MEMBERS: [&str; 7] = ["name", "price", "limit", "starts", "ends", "status", "version"];

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let rows = books.rows(ROWS, &[&fields.numbers(), &books.cell_number]).await?;
    let rows: HashMap<String, Row> =
        rows.into_iter().map(|row| (row.get::<_, i32>("product_id").to_string(), row)).collect();
    let mut changed = Vec::new();
    for (field, value) in &fields.values {
        let row = rows.get(field);
        if row.is_some_and(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(field.clone());
        } else if let Ok(redis) = unpack::<Map<String, Value>>("catalog", field, value.as_ref(), findings) {
            let redis = redis.map(|terms| picked(terms, &MEMBERS));
            findings.compare_members(Kind::Product, field, redis, row.map(terms), fields.seq);
        }
    }
    Ok(changed)
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let after: i32 = after.parse().unwrap_or_default();
    let rows = page_rows(books, PAGE, &after).await?;
    Ok(page_of(&rows, |row| row.get::<_, i32>(0).to_string()))
}

/// The members that are compared; a newer version of the service may have added others.
pub(super) fn picked(mut terms: Map<String, Value>, members: &[&str]) -> Map<String, Value> {
    terms.retain(|name, _| members.contains(&name.as_str()));
    terms
}

/// A row as the column spells it.
fn terms(row: &Row) -> Map<String, Value> {
    without_nulls(json!({
        "name": row.get::<_, String>("name"),
        "price": row.get::<_, i64>("price"),
        "limit": row.get::<_, Option<i64>>("limit_per_user"),
        "starts": milliseconds(row, "sale_starts_at"),
        "ends": milliseconds(row, "sale_ends_at"),
        "status": row.get::<_, String>("status"),
        "version": row.get::<_, i32>("version"),
    }))
}
