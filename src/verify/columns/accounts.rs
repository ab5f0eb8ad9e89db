//! `accounts`: user → money and open things: the sums of the ledger, of unpaid orders and of pending charges.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use tokio_postgres::Row;

use super::{Fields, Page, page_of, page_rows, unpack};
use crate::postgres::DatabaseError;
use crate::verify::books::{Books, signed};
use crate::verify::findings::Findings;
use crate::verify::report::Kind;

/// All as of event $2, whose id is $3. $5 lies below all of the cell's ids.
const SUMS: &str = "\
SELECT u.user_id, coalesce(l.balance, 0)::int8 AS balance, coalesce(l.used, 0)::int8 AS used,
    coalesce(o.open, 0) AS open, coalesce(c.charges, 0) AS charges, coalesce(c.pending, 0)::int8 AS pending
FROM unnest($1::text[]) AS u (user_id)
LEFT JOIN (
    SELECT user_id, sum(CASE type WHEN 'PAYMENT' THEN -amount ELSE amount END) AS balance,
        sum(CASE type WHEN 'PAYMENT' THEN amount WHEN 'REFUND' THEN -amount ELSE 0 END) AS used
    FROM balance_transactions WHERE user_id = ANY($1::text[]) AND cell = $4 AND seq <= $2 GROUP BY user_id
) l ON l.user_id = u.user_id
LEFT JOIN (
    SELECT user_id, count(*) AS open FROM orders
    WHERE user_id = ANY($1::text[]) AND order_id > $5 AND order_id <= $3 AND expires_at IS NOT NULL
        AND coalesce(least(confirmed_seq, released_seq) > $2, true) GROUP BY user_id
) o ON o.user_id = u.user_id
LEFT JOIN (
    SELECT user_id, count(*) AS charges, sum(amount) AS pending FROM charges
    WHERE user_id = ANY($1::text[]) AND charge_id > $5 AND charge_id <= $3 AND (status = 'PENDING' OR seq > $2)
    GROUP BY user_id
) c ON c.user_id = u.user_id";

/// Where the ledger of a user first says something else than its transactions make so far.
const CHAIN: &str = "\
SELECT DISTINCT ON (user_id) user_id, transaction_id, balance_after, used_after, balance, used
FROM (
    SELECT user_id, transaction_id, balance_after, used_after,
        (sum(CASE type WHEN 'PAYMENT' THEN -amount ELSE amount END) OVER ledger)::int8 AS balance,
        (sum(CASE type WHEN 'PAYMENT' THEN amount WHEN 'REFUND' THEN -amount ELSE 0 END) OVER ledger)::int8 AS used
    FROM balance_transactions WHERE user_id = ANY($1::text[]) AND cell = $2
    WINDOW ledger AS (PARTITION BY user_id ORDER BY transaction_id)
) t
WHERE balance_after <> balance OR used_after <> used
ORDER BY user_id, transaction_id";

/// Everybody who has a ledger, a reservation or a charge: an order that was paid at once stands in the ledger.
const PAGE: &str = "\
SELECT user_id FROM (
    (SELECT DISTINCT user_id FROM balance_transactions WHERE user_id > $1 AND cell = $2 ORDER BY user_id LIMIT $3)
    UNION
    (SELECT DISTINCT user_id FROM orders WHERE expires_at IS NOT NULL AND user_id > $1 AND cell = $2
        ORDER BY user_id LIMIT $3)
    UNION
    (SELECT DISTINCT user_id FROM charges WHERE user_id > $1 AND cell = $2 ORDER BY user_id LIMIT $3)
) u ORDER BY user_id LIMIT $3";

/// An account as the column has it; none at all is one of zeros.
#[derive(Debug, Default, Deserialize)]
struct Account {
    balance: i64,
    used: i64,
    #[serde(default)]
    open: i64,
    #[serde(default)]
    pending: i64,
    #[serde(default)]
    charges: i64,
}

pub(super) async fn compare(
    books: &Books<'_>,
    fields: &Fields,
    findings: &mut Findings,
) -> Result<Vec<String>, DatabaseError> {
    let users = fields.names();
    let (seq, id, base) = (signed(fields.seq), books.id(fields.seq), books.base());
    let rows = books.rows(SUMS, &[&users, &seq, &id, &books.cell_number, &base]).await?;
    let sums: HashMap<String, Row> = rows.into_iter().map(|row| (row.get("user_id"), row)).collect();
    for (user, value) in &fields.values {
        let (Some(row), Ok(account)) = (sums.get(user), unpack::<Account>("accounts", user, value.as_ref(), findings))
        else {
            continue;
        };
        let (account, sum) = (account.unwrap_or_default(), |name: &str| row.get::<_, i64>(name));
        let at = format!("as of event {}", fields.seq);
        findings.compare_numbers(Kind::Balance, user, (account.balance, sum("balance")), &format!("the balance {at}"));
        findings.compare_numbers(Kind::UsedTotal, user, (account.used, sum("used")), &format!("the used total {at}"));
        let detail = format!("unpaid orders {at}");
        findings.compare_numbers(Kind::OpenOrders, user, (account.open, sum("open")), &detail);
        let (charges, pending) = (sum("charges"), sum("pending"));
        if (account.charges, account.pending) != (charges, pending) {
            let redis = json!({"charges": account.charges, "amount": account.pending});
            let postgres = json!({"charges": charges, "amount": pending});
            let detail = format!("charges that the gateway has not answered {at}");
            findings.add(Kind::PendingCharges, user.as_str(), (Some(redis), Some(postgres)), detail);
        }
    }
    compare_chain(books, &users, findings).await?;
    Ok(Vec::new())
}

/// The ledger in itself: every balance in it is the sum of what comes before.
async fn compare_chain(books: &Books<'_>, users: &[&str], findings: &mut Findings) -> Result<(), DatabaseError> {
    for row in books.rows(CHAIN, &[&users, &books.cell_number]).await? {
        let (user, transaction): (&str, i64) = (row.get("user_id"), row.get("transaction_id"));
        let number = |name: &str| row.get::<_, i64>(name);
        let stored = json!({"balanceAfter": number("balance_after"), "usedAfter": number("used_after")});
        let (balance, spent) = (number("balance"), number("used"));
        let detail = format!("the ledger; the transactions of {user} up to this one make {balance}, used {spent}");
        findings.add(Kind::Ledger, format!("{user} {transaction}"), (None, Some(stored)), detail);
    }
    Ok(())
}

pub(super) async fn page(books: &Books<'_>, after: &str) -> Result<Page, DatabaseError> {
    Ok(page_of(&page_rows(books, PAGE, &after).await?, |row| row.get(0)))
}
