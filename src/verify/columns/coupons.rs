//! `coupons`: coupon → its terms and how many are left. The table has the terms of now; what was issued is counted, in
//! one pass over all coupons that users have: operators make few enough coupons for one chunk.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::products::picked;
use super::{Fields, Page, page_of, page_rows, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, milliseconds, signed};
use crate::verify::findings::{Findings, without_nulls};
use crate::verify::report::Kind;

/// `issued_at_seq`: as of the event whose id is $2; `issued`: as of now.
const ROWS: &str = "\
SELECT c.*, coalesce(i.issued_at_seq, 0) AS issued_at_seq, coalesce(i.issued, 0) AS issued,
    coalesce(s.issued, 0) AS table_issued
FROM coupons c
LEFT JOIN (
    SELECT coupon_id, count(*) FILTER (WHERE user_coupon_id <= $2) AS issued_at_seq, count(user_coupon_id) AS issued
    FROM user_coupons WHERE coupon_id = ANY($1::int4[]) AND cell = $3 GROUP BY coupon_id
) i USING (coupon_id)
LEFT JOIN coupon_stock s ON s.cell = $3 AND s.coupon_id = c.coupon_id
WHERE c.coupon_id = ANY($1::int4[]) AND c.cell = $3";

const PAGE: &str = "SELECT coupon_id FROM coupons WHERE coupon_id > $1 AND cell = $2 ORDER BY coupon_id LIMIT $3";

/// Members of the packed value that the table has too.
const MEMBERS: [&str; 13] = [
    "name",
    "type",
    "product",
    "discount",
    "value",
    "max_discount",
    "min_order",
    "total",
    "starts",
    "ends",
    "valid_days",
    "status",
    "version",
];

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let (coupons, id) = (fields.numbers(), books.id(fields.seq));
    let rows = books.rows(ROWS, &[&coupons, &id, &books.cell_number]).await?;
    let rows: HashMap<String, Row> =
        rows.into_iter().map(|row| (row.get::<_, i32>("coupon_id").to_string(), row)).collect();
    let mut changed = Vec::new();
    for (field, value) in &fields.values {
        let row = rows.get(field);
        if row.is_some_and(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(field.clone());
            continue;
        }
        let Ok(redis) = unpack::<Map<String, Value>>("coupons", field, value.as_ref(), findings) else { continue };
        if let Some(row) = row {
            compare_counts(field, row, redis.as_ref(), findings, fields.seq);
        }
        let redis = redis.map(|terms| picked(terms, &MEMBERS));
        findings.compare_members(Kind::Coupon, field, redis, row.map(terms), fields.seq);
    }
    Ok(changed)
}

/// What is left of a coupon, in Redis and in the table `coupon_stock`.
fn compare_counts(coupon: &str, row: &Row, redis: Option<&Map<String, Value>>, findings: &mut Findings, seq: u64) {
    let count = |name: &str| row.get::<_, i64>(name);
    if let Some(redis) = redis {
        let remaining = redis.get("remaining").cloned().unwrap_or(Value::Null);
        let expected = Value::from(count("total_quantity") - count("issued_at_seq"));
        if remaining != expected {
            let detail = format!("coupons that can still be issued as of event {seq}");
            findings.add(Kind::CouponRemaining, coupon, (Some(remaining), Some(expected)), detail);
        }
    }
    let (in_table, issued) = (count("table_issued"), count("issued"));
    if in_table != issued {
        let detail = format!("issued, in the table coupon_stock; {issued} are in user_coupons");
        findings.add(Kind::CouponCounts, coupon, (None, Some(in_table.into())), detail);
    }
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let after: i32 = after.parse().unwrap_or_default();
    let rows = page_rows(books, PAGE, &after).await?;
    Ok(page_of(&rows, |row| row.get::<_, i32>(0).to_string()))
}

/// A row as the column spells it.
fn terms(row: &Row) -> Map<String, Value> {
    without_nulls(json!({
        "name": row.get::<_, String>("name"),
        "type": row.get::<_, String>("type"),
        "product": row.get::<_, Option<i32>>("product_id"),
        "discount": row.get::<_, String>("discount_type"),
        "value": row.get::<_, i64>("discount_value"),
        "max_discount": row.get::<_, Option<i64>>("max_discount"),
        "min_order": row.get::<_, Option<i64>>("min_order_amount"),
        "total": row.get::<_, i64>("total_quantity"),
        "starts": milliseconds(row, "issue_starts_at"),
        "ends": milliseconds(row, "issue_ends_at"),
        "valid_days": row.get::<_, i32>("valid_days"),
        "status": row.get::<_, String>("status"),
        "version": row.get::<_, i32>("version"),
    }))
}
