//! `stock`: product → available units: what operators brought, less the lines of orders that have not given back.
//!
//! Counting them is one pass over all lines of all orders, which is why the chunks of this column are large.

use std::collections::HashMap;

use serde_json::json;
use tokio_postgres::Row;

use super::{Fields, Page, number, page_of, page_rows};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, signed};
use crate::verify::findings::Findings;
use crate::verify::report::Kind;

/// `at_seq`: as of event $2, whose id is $3; the rest as of now, which is one moment for all tables. $5 and $6 enclose
/// the cell's ids.
const COUNTS: &str = "\
WITH moved AS (
    SELECT product_id, coalesce(sum(delta) FILTER (WHERE seq <= $2), 0) AS at_seq, sum(delta) AS now
    FROM stock_movements WHERE cell = $4 AND product_id = ANY($1::int4[]) GROUP BY product_id
), taken AS (
    SELECT i.product_id,
        coalesce(sum(i.quantity) FILTER (WHERE i.order_id <= $3
            AND (o.released_seq IS NULL OR o.released_seq > $2)), 0) AS at_seq,
        coalesce(sum(i.quantity) FILTER (WHERE o.status IN ('PENDING_PAYMENT', 'HELD')), 0) AS reserved,
        coalesce(sum(i.quantity) FILTER (WHERE o.status = 'CONFIRMED'), 0) AS sold
    FROM order_items i JOIN orders o USING (order_id)
    WHERE i.order_id > $5 AND i.order_id <= $6 AND i.product_id = ANY($1::int4[]) GROUP BY i.product_id
)
SELECT p.product_id, (coalesce(m.at_seq, 0) - coalesce(t.at_seq, 0))::int8 AS at_seq,
    (coalesce(m.now, 0) - coalesce(t.reserved, 0) - coalesce(t.sold, 0))::int8 AS available,
    coalesce(t.reserved, 0)::int8 AS reserved, coalesce(t.sold, 0)::int8 AS sold,
    s.available AS table_available, s.reserved AS table_reserved, s.sold AS table_sold
FROM unnest($1::int4[]) AS p (product_id)
LEFT JOIN moved m USING (product_id) LEFT JOIN taken t USING (product_id)
LEFT JOIN stock s ON s.cell = $4 AND s.product_id = p.product_id";

const PAGE: &str = "SELECT product_id FROM stock WHERE product_id > $1 AND cell = $2 ORDER BY product_id LIMIT $3";

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let (seq, id) = (signed(fields.seq), books.id(fields.seq));
    let products = fields.numbers();
    let (base, last) = (books.base(), books.last_id());
    let rows = books.rows(COUNTS, &[&products, &seq, &id, &books.cell_number, &base, &last]).await?;
    let rows: HashMap<String, Row> =
        rows.into_iter().map(|row| (row.get::<_, i32>("product_id").to_string(), row)).collect();
    for (field, value) in &fields.values {
        let Some(row) = rows.get(field) else {
            findings.add_unreadable("stock", field, "its name is no product's");
            continue;
        };
        compare_counts(field, row, findings);
        let expected: i64 = row.get("at_seq");
        match number("stock", field, value.as_ref(), findings) {
            Ok(Some(units)) => {
                let detail = format!("available units as of event {}", fields.seq);
                findings.compare_numbers(Kind::Stock, field, (units, expected), &detail);
            }
            Ok(None) => {
                let detail = format!("Redis has no stock of it as of event {}", fields.seq);
                findings.add(Kind::Stock, field.as_str(), (None, Some(expected.into())), detail);
            }
            Err(_) => {}
        }
    }
    Ok(Vec::new())
}

/// The table `stock` against what it is counted from.
fn compare_counts(product: &str, row: &Row, findings: &mut Findings) {
    let counts = |names: [&str; 3]| names.map(|name| row.get::<_, Option<i64>>(name).unwrap_or_default());
    let table = counts(["table_available", "table_reserved", "table_sold"]);
    let [available, reserved, sold] = counts(["available", "reserved", "sold"]);
    if table != [available, reserved, sold] {
        let stored = json!({"available": table[0], "reserved": table[1], "sold": table[2]});
        let detail = format!(
            "in the table stock; movements and orders make {available} available, {reserved} reserved, {sold} sold"
        );
        findings.add(Kind::StockCounts, product, (None, Some(stored)), detail);
    }
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let after: i32 = after.parse().unwrap_or_default();
    let rows = page_rows(books, PAGE, &after).await?;
    Ok(page_of(&rows, |row| row.get::<_, i32>(0).to_string()))
}
