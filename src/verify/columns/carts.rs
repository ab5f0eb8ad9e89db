//! `carts`: user → what is in his cart. The table has it as it is now.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::{Fields, Page, page_of, page_rows, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, signed};
use crate::verify::findings::Findings;
use crate::verify::report::Kind;

const ROWS: &str = "SELECT user_id, items, seq FROM carts WHERE user_id = ANY($1::text[]) AND cell = $2";

const PAGE: &str =
    "SELECT user_id FROM carts WHERE user_id > $1 AND cell = $2 AND items <> '[]' ORDER BY user_id LIMIT $3";

/// A product in a cart.
#[derive(Debug, Deserialize)]
struct Item {
    product: i64,
    quantity: i64,
}

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let rows = books.rows(ROWS, &[&fields.names(), &books.cell_number]).await?;
    let rows: HashMap<String, Row> = rows.into_iter().map(|row| (row.get("user_id"), row)).collect();
    let mut changed = Vec::new();
    for (user, value) in &fields.values {
        let row = rows.get(user);
        if row.is_some_and(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(user.clone());
            continue;
        }
        let Ok(items) = unpack::<Vec<Item>>("carts", user, value.as_ref(), findings) else { continue };
        let item = |item: &Item| json!({"productId": item.product, "quantity": item.quantity});
        // No cart and an empty one are the same.
        let redis: Value = items.unwrap_or_default().iter().map(item).collect();
        let postgres = row.map_or_else(|| json!([]), |row| row.get("items"));
        if redis != postgres {
            let detail = format!("the cart as of event {}", fields.seq);
            findings.add(Kind::Cart, user.as_str(), (Some(redis), Some(postgres)), detail);
        }
    }
    Ok(changed)
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    Ok(page_of(&page_rows(books, PAGE, &after).await?, |row| row.get(0)))
}
