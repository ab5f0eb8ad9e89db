//! `open`: order or charge that is not finished → its last event. The tables have all of them as they are now.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::{Fields, Page, page_of, page_rows};
use crate::engine::event::Event;
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, signed};
use crate::verify::findings::{Findings, without_nulls};
use crate::verify::report::Kind;

/// An id is that of an order or of a charge, never of both.
const ROWS: &str = "\
SELECT order_id AS id, user_id, status, final_amount AS amount, seq,
    status IN ('PENDING_PAYMENT', 'HELD') OR coalesce(refund = 'PENDING', false) AS is_open
FROM orders WHERE order_id = ANY($1::int8[])
UNION ALL
SELECT charge_id, user_id, status, amount, seq, status = 'PENDING' FROM charges WHERE charge_id = ANY($1::int8[])";

/// Orders have an index for this; for charges it is one walk through all of them.
const PAGE: &str = "\
SELECT id FROM (
    (SELECT order_id AS id FROM orders WHERE (status IN ('PENDING_PAYMENT', 'HELD') OR refund = 'PENDING')
        AND order_id > $1 AND cell = $2 ORDER BY order_id LIMIT $3)
    UNION ALL
    (SELECT charge_id FROM charges WHERE status = 'PENDING' AND charge_id > $1 AND cell = $2
        ORDER BY charge_id LIMIT $3)
) o ORDER BY id LIMIT $3";

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let ids: Vec<i64> = fields.values.keys().filter_map(|field| books.id_of_field(field)).collect();
    let rows = books.rows(ROWS, &[&ids]).await?;
    let rows: HashMap<String, Row> = rows.into_iter().map(|row| (books.seq(row.get("id")).to_string(), row)).collect();
    let mut changed = Vec::new();
    for (field, value) in &fields.values {
        let row = rows.get(field);
        if row.is_some_and(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(field.clone());
            continue;
        }
        let postgres = row.filter(|row| row.get("is_open")).map(stored);
        match value.as_ref().map(|event| last_event(event)).transpose() {
            Ok(redis) => findings.compare_members(Kind::Open, field, redis, postgres, fields.seq),
            Err(error) => findings.add_unreadable("open", field, &error),
        }
    }
    Ok(changed)
}

/// What the event says of the order or charge now.
fn last_event(event: &[u8]) -> Result<Map<String, Value>, String> {
    match Event::decode(event).map_err(|e| e.to_string())? {
        Event::OrderChanged(order) => {
            Ok(members(order.status.as_str(), order.seq, order.user.as_str(), order.final_amount))
        }
        Event::ChargeOpened(charge) => Ok(members("PENDING", charge.seq, charge.user.as_str(), charge.amount)),
        other => Err(format!("{} opens nothing", other.name())),
    }
}

fn stored(row: &Row) -> Map<String, Value> {
    let (seq, amount): (i64, i64) = (row.get("seq"), row.get("amount"));
    members(row.get("status"), seq, row.get("user_id"), amount)
}

fn members(status: &str, seq: impl Into<Value>, user: &str, amount: impl Into<Value>) -> Map<String, Value> {
    let (seq, amount) = (seq.into(), amount.into());
    without_nulls(json!({"status": status, "seq": seq, "user": user, "amount": amount}))
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let after = books.id_of_field(after).unwrap_or_else(|| books.base());
    let rows = page_rows(books, PAGE, &after).await?;
    Ok(page_of(&rows, |row| books.seq(row.get(0)).to_string()))
}
