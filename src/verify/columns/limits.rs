//! `bought`: user and product → units that count towards the limit: the lines that were counted, of orders that have
//! not given back.

use std::collections::{BTreeSet, HashMap};

use super::{Fields, Page, accounts, number};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, signed};
use crate::verify::findings::Findings;
use crate::verify::report::Kind;

/// As of event $2, whose id is $3; $4 lies below all of the cell's ids.
const SUMS: &str = "\
SELECT o.user_id, i.product_id, sum(i.quantity)::int8 AS units
FROM user_orders u JOIN orders o USING (order_id) JOIN order_items i USING (order_id)
WHERE u.user_id = ANY($1::text[]) AND u.order_id > $4 AND u.order_id <= $3
    AND (o.released_seq IS NULL OR o.released_seq > $2) AND i.counted
GROUP BY o.user_id, i.product_id";

/// Field → units, of all products of some users, as of event `seq`.
async fn sums(books: &Books<'_>, users: &[&str], seq: i64, id: i64) -> Result<HashMap<String, i64>, DatabaseError> {
    let rows = books.rows(SUMS, &[&users, &seq, &id, &books.base()]).await?;
    let field = |user: &str, product: i32| format!("{user} {product}");
    Ok(rows.iter().map(|row| (field(row.get("user_id"), row.get("product_id")), row.get("units"))).collect())
}

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let users: BTreeSet<&str> = fields.values.keys().filter_map(|field| Some(field.split_once(' ')?.0)).collect();
    let users: Vec<&str> = users.into_iter().collect();
    let sums = sums(books, &users, signed(fields.seq), books.id(fields.seq)).await?;
    for (field, value) in &fields.values {
        if let Ok(units) = number("bought", field, value.as_ref(), findings) {
            let expected = sums.get(field).copied().unwrap_or_default();
            let detail = format!("units that count towards the limit as of event {}", fields.seq);
            findings.compare_numbers(Kind::Limit, field, (units.unwrap_or_default(), expected), &detail);
        }
    }
    Ok(Vec::new())
}

/// A page is one of users, whoever has an account: all that each of them has bought.
pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    let users = accounts::page(books, after).await?;
    let names: Vec<&str> = users.fields.iter().map(String::as_str).collect();
    let sums = sums(books, &names, i64::MAX, books.last_id()).await?;
    Ok(Page { fields: sums.into_keys().collect(), next: users.next })
}
