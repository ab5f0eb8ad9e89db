//! `wallets`: user → the coupons that he holds. The table has them as they are now.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::products::picked;
use super::{Fields, Page, page_of, page_rows, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, milliseconds, signed};
use crate::verify::findings::{Findings, without_nulls};
use crate::verify::report::Kind;

const ROWS: &str = "SELECT user_id, coupon_id, user_coupon_id, order_id, expires_at, seq FROM user_coupons \
     WHERE user_id = ANY($1::text[]) AND cell = $2";

const PAGE: &str =
    "SELECT DISTINCT user_id FROM user_coupons WHERE user_id > $1 AND cell = $2 ORDER BY user_id LIMIT $3";

/// Members of a packed coupon that the table has too.
const MEMBERS: [&str; 3] = ["id", "expires", "order"];

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let mut wallets: HashMap<String, Vec<Row>> = HashMap::new();
    for row in books.rows(ROWS, &[&fields.names(), &books.cell_number]).await? {
        wallets.entry(row.get("user_id")).or_default().push(row);
    }
    let mut changed = Vec::new();
    for (user, value) in &fields.values {
        let rows = wallets.remove(user).unwrap_or_default();
        if rows.iter().any(|row| row.get::<_, i64>("seq") > signed(fields.seq)) {
            changed.push(user.clone());
            continue;
        }
        let held = unpack::<BTreeMap<String, Map<String, Value>>>("wallets", user, value.as_ref(), findings);
        let Ok(held) = held else { continue };
        let mut held = held.unwrap_or_default();
        let mut stored: BTreeMap<String, Map<String, Value>> = rows.iter().map(|row| coupon(books, row)).collect();
        let coupons: BTreeSet<String> = held.keys().chain(stored.keys()).cloned().collect();
        for id in coupons {
            let (redis, postgres) = (held.remove(&id), stored.remove(&id));
            let redis = redis.map(|coupon| picked(coupon, &MEMBERS));
            findings.compare_members(Kind::Wallet, &format!("{user} {id}"), redis, postgres, fields.seq);
        }
    }
    Ok(changed)
}

/// A row as the column spells it, by coupon.
fn coupon(books: &Books<'_>, row: &Row) -> (String, Map<String, Value>) {
    let seq_of = |name: &str| row.get::<_, Option<i64>>(name).map(|id| books.seq(id));
    let members = json!({
        "id": seq_of("user_coupon_id"),
        "expires": milliseconds(row, "expires_at"),
        "order": seq_of("order_id"),
    });
    (row.get::<_, i32>("coupon_id").to_string(), without_nulls(members))
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    Ok(page_of(&page_rows(books, PAGE, &after).await?, |row| row.get(0)))
}
