//! `restock`: product → its round and how many wait in it; user and product → the round in which he asked last. The
//! table has requests and their states as they are now.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::{Fields, Page, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, PAGE_ROWS, signed};
use crate::verify::findings::Findings;
use crate::verify::report::Kind;

/// Who waits for a product, by round; `last_seq`: the last event that changed who does.
const WAITING: &str = "\
SELECT p.product_id, w.round, coalesce(w.waiting, 0) AS waiting,
    coalesce(greatest(w.last_seq, s.restocked_seq), 0) AS last_seq
FROM unnest($1::int4[]) AS p (product_id)
LEFT JOIN stock s ON s.cell = $2 AND s.product_id = p.product_id
LEFT JOIN (
    SELECT product_id, round, count(*) AS waiting, max(seq) AS last_seq FROM restock_notifications
    WHERE product_id = ANY($1::int4[]) AND cell = $2 AND state = 'WAITING' GROUP BY product_id, round
) w ON w.product_id = p.product_id";

/// The last request of a user for a product.
const LAST: &str = "\
SELECT DISTINCT ON (user_id, product_id) user_id, product_id, round, seq FROM restock_notifications
WHERE user_id = ANY($1::text[]) AND cell = $2 ORDER BY user_id, product_id, round DESC";

const PAGE: &str = "\
SELECT DISTINCT user_id, product_id FROM restock_notifications
WHERE (user_id, product_id) > ($1, $2) AND cell = $3 AND state = 'WAITING' ORDER BY user_id, product_id LIMIT $4";

/// A product as the column has it.
#[derive(Debug, Default, Deserialize)]
struct Waited {
    round: i64,
    waiting: i64,
}

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let mut changed = compare_products(books, fields, findings).await?;
    changed.extend(compare_users(books, fields, findings).await?);
    Ok(changed)
}

async fn compare_products(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let mut rounds: HashMap<String, Vec<Row>> = HashMap::new();
    for row in books.rows(WAITING, &[&fields.numbers(), &books.cell_number]).await? {
        rounds.entry(row.get::<_, i32>("product_id").to_string()).or_default().push(row);
    }
    let mut changed = Vec::new();
    for (product, value) in fields.values.iter().filter(|(field, _)| !field.contains(' ')) {
        let rows = rounds.remove(product).unwrap_or_default();
        if rows.iter().any(|row| row.get::<_, i64>("last_seq") > signed(fields.seq)) {
            changed.push(product.clone());
            continue;
        }
        let Ok(waited) = unpack::<Waited>("restock", product, value.as_ref(), findings) else { continue };
        let Waited { round, waiting } = waited.unwrap_or_default();
        let redis = if waiting > 0 { vec![(round, waiting)] } else { Vec::new() };
        let in_round = |row: &Row| Some((row.get::<_, Option<i64>>("round")?, row.get("waiting")));
        let postgres: Vec<(i64, i64)> = rows.iter().filter_map(in_round).collect();
        if redis != postgres {
            let show = |rounds: &[(i64, i64)]| -> Value {
                rounds.iter().map(|(round, waiting)| json!({"round": round, "waiting": waiting})).collect()
            };
            let detail = format!("who waits for it as of event {}", fields.seq);
            findings.add(Kind::Restock, product.as_str(), (Some(show(&redis)), Some(show(&postgres))), detail);
        }
    }
    Ok(changed)
}

async fn compare_users(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let users: BTreeSet<&str> = fields.values.keys().filter_map(|field| Some(field.split_once(' ')?.0)).collect();
    let users: Vec<&str> = users.into_iter().collect();
    let rows = books.rows(LAST, &[&users, &books.cell_number]).await?;
    let rows: HashMap<String, Row> = rows.into_iter().map(|row| (field_of(&row), row)).collect();
    let mut changed = Vec::new();
    for (field, value) in fields.values.iter().filter(|(field, _)| field.contains(' ')) {
        let row = rows.get(field);
        if row.is_some_and(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(field.clone());
        } else if let Ok(round) = unpack::<i64>("restock", field, value.as_ref(), findings) {
            let stored = row.map(|row| row.get::<_, i64>("round"));
            if round != stored {
                let detail = format!("the round in which the user asked last, as of event {}", fields.seq);
                findings.add(Kind::Restock, field.as_str(), (round.map(Value::from), stored.map(Value::from)), detail);
            }
        }
    }
    Ok(changed)
}

/// The field of a row's user and product.
fn field_of(row: &Row) -> String {
    format!("{} {}", row.get::<_, &str>("user_id"), row.get::<_, i32>("product_id"))
}

/// Users who wait, and what they wait for.
pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let (user, product) = after.split_once(' ').unwrap_or_default();
    let product: i32 = product.parse().unwrap_or_default();
    let limit = i64::try_from(PAGE_ROWS).expect("a page is short");
    let rows = books.rows(PAGE, &[&user, &product, &books.cell_number, &limit]).await?;
    let mut fields: Vec<String> = rows.iter().map(field_of).collect();
    let next = fields.last().filter(|_| fields.len() == PAGE_ROWS).cloned();
    let products: BTreeSet<i32> = rows.iter().map(|row| row.get("product_id")).collect();
    fields.extend(products.iter().map(ToString::to_string));
    Ok(Page { fields, next })
}
