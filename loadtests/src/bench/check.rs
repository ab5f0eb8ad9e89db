//! The books after a load: what was sold, paid and answered, in Redis and in PostgreSQL, against each other. Everything
//! counted here is a bug.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flashsale::redis::keys::CellKeys;
use fred::clients::Client as Redis;
use fred::interfaces::HashesInterface as _;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client as Postgres;

use super::plan::CHARGE;
use super::tokens::user_ids;

/// A broken rule and how often it is broken.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// What must hold.
    pub rule: String,
    /// Rows, users, products or orders that break it.
    pub count: u64,
}

/// What the books must say.
#[derive(Debug)]
pub struct Expected {
    /// Product and the stock it began with.
    pub stock: BTreeMap<u32, u64>,
    /// Orders that were answered with 201.
    pub accepted_min: u64,
    /// Those, and the ones whose answer wrk did not wait for.
    pub accepted_max: u64,
}

/// What an account is in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Account {
    balance: u64,
    used: u64,
}

/// A user's money in PostgreSQL.
#[derive(Debug)]
struct Ledger {
    charged: u64,
    paid: u64,
    /// Balance and used total as of the last transaction.
    last: Account,
}

/// Rules that PostgreSQL can judge alone; each query counts what breaks it.
const RULES: [(&str, &str); 5] = [
    ("no order id comes twice", "SELECT count(*) - count(DISTINCT order_id) FROM orders"),
    (
        "every order has its items, and they make its amount",
        "SELECT count(*) FROM orders o FULL JOIN
             (SELECT order_id, sum(unit_price * quantity) AS amount FROM order_items GROUP BY order_id) i
             USING (order_id)
         WHERE o.total_amount IS DISTINCT FROM i.amount OR o.final_amount <> o.total_amount - o.discount_amount",
    ),
    (
        "every order has one payment of its amount by its user",
        "SELECT count(*) FROM orders o FULL JOIN
             (SELECT order_id, count(*) AS payments, min(user_id) AS user_id, sum(amount) AS amount
              FROM payments WHERE status = 'COMPLETED' GROUP BY order_id) p USING (order_id)
         WHERE o.order_id IS NULL OR p.payments IS DISTINCT FROM 1 OR o.user_id <> p.user_id
            OR o.final_amount <> p.amount",
    ),
    (
        "every order has one transaction of its amount by its user",
        "SELECT count(*) FROM orders o FULL JOIN
             (SELECT order_id, count(*) AS transactions, min(user_id) AS user_id, sum(amount) AS amount
              FROM balance_transactions WHERE type = 'PAYMENT' GROUP BY order_id) t USING (order_id)
         WHERE o.order_id IS NULL OR t.transactions IS DISTINCT FROM 1 OR o.user_id <> t.user_id
            OR o.final_amount <> t.amount",
    ),
    ("every order is confirmed", "SELECT count(*) FROM orders WHERE status <> 'CONFIRMED'"),
];

/// All broken rules; none when the books agree. The service must be idle and PostgreSQL must have everything.
pub async fn violations(
    postgres: &Postgres,
    redis: &Redis,
    keys: &CellKeys,
    expected: &Expected,
) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    let mut note = |rule: &str, count: u64| {
        if count > 0 {
            found.push(Violation { rule: rule.to_owned(), count });
        }
    };
    for (rule, query) in RULES {
        let count: i64 = postgres.query_one(query, &[]).await.context(rule)?.get(0);
        note(rule, count.unsigned_abs());
    }
    let orders: i64 = postgres.query_one("SELECT count(*) FROM orders", &[]).await?.get(0);
    note("as many orders as answers of 201", outside(u64::try_from(orders)?, expected));
    note(
        "initial stock = available in Redis + sold; stock in PostgreSQL and the rankings say the same",
        wrong_products(postgres, redis, keys, expected).await?,
    );
    note(
        "charges - payments = balance, payments = used total, in Redis and in PostgreSQL",
        wrong_users(postgres, redis, keys).await?,
    );
    Ok(found)
}

/// By how many the orders miss the band of what wrk saw.
fn outside(orders: u64, expected: &Expected) -> u64 {
    expected.accepted_min.saturating_sub(orders) + orders.saturating_sub(expected.accepted_max)
}

async fn wrong_products(postgres: &Postgres, redis: &Redis, keys: &CellKeys, expected: &Expected) -> Result<u64> {
    let in_redis: BTreeMap<String, u64> = redis.hgetall(keys.stock()).await?;
    // Aggregated one by one: joined first, every item would be counted once per row of the other tables.
    let rows = postgres
        .query(
            "SELECT s.product_id, s.available, s.sold, coalesce(i.sold, 0)::bigint, coalesce(r.sold, 0)::bigint
             FROM (SELECT product_id, sum(available)::bigint AS available, sum(sold)::bigint AS sold
                   FROM stock GROUP BY product_id) s
             LEFT JOIN (SELECT product_id, sum(quantity) AS sold FROM order_items GROUP BY product_id) i
                 USING (product_id)
             LEFT JOIN (SELECT product_id, sum(quantity) AS sold FROM product_sales GROUP BY product_id) r
                 USING (product_id)",
            &[],
        )
        .await?;
    let mut seen = BTreeSet::new();
    let mut wrong = 0;
    for row in rows {
        let product = u32::try_from(row.get::<_, i32>(0))?;
        let [available, sold, in_items, in_rankings] = [1_usize, 2, 3, 4].map(|column| row.get::<_, i64>(column));
        let initial = expected.stock.get(&product).map(|stock| i64::try_from(*stock)).transpose()?;
        let left = in_redis.get(&product.to_string()).map(|stock| i64::try_from(*stock)).transpose()?;
        let agree =
            initial == Some(available + sold) && left == Some(available) && sold == in_items && sold == in_rankings;
        wrong += u64::from(!agree);
        seen.insert(product);
    }
    let absent = expected.stock.keys().filter(|product| !seen.contains(product)).count();
    Ok(wrong + absent as u64)
}

async fn wrong_users(postgres: &Postgres, redis: &Redis, keys: &CellKeys) -> Result<u64> {
    let packed: BTreeMap<String, Bytes> = redis.hgetall(keys.accounts()).await?;
    let mut accounts = BTreeMap::new();
    for (user, account) in packed {
        let account: Account = rmp_serde::from_slice(&account).with_context(|| format!("account of {user}"))?;
        accounts.insert(user, account);
    }
    let ledgers = ledgers(postgres).await?;
    let right = |user: &String| {
        let (Some(account), Some(ledger)) = (accounts.get(user), ledgers.get(user)) else {
            return false;
        };
        ledger.charged == CHARGE
            && ledger.charged.checked_sub(ledger.paid) == Some(account.balance)
            && ledger.paid == account.used
            && ledger.last == *account
    };
    let everybody: BTreeSet<String> =
        user_ids().chain(accounts.keys().cloned()).chain(ledgers.keys().cloned()).collect();
    Ok(everybody.iter().filter(|user| !right(user)).count() as u64)
}

async fn ledgers(postgres: &Postgres) -> Result<BTreeMap<String, Ledger>> {
    let rows = postgres
        .query(
            "SELECT t.user_id, t.charged, t.paid, l.balance_after, l.used_after
             FROM (SELECT user_id, max(transaction_id) AS last_id,
                          coalesce(sum(amount) FILTER (WHERE type = 'CHARGE'), 0)::bigint AS charged,
                          coalesce(sum(amount) FILTER (WHERE type = 'PAYMENT'), 0)::bigint AS paid
                   FROM balance_transactions GROUP BY user_id) t
             JOIN balance_transactions l ON l.user_id = t.user_id AND l.transaction_id = t.last_id",
            &[],
        )
        .await?;
    let mut ledgers = BTreeMap::new();
    for row in rows {
        let amount = |column: usize| u64::try_from(row.get::<_, i64>(column));
        let last = Account { balance: amount(3)?, used: amount(4)? };
        ledgers.insert(row.get(0), Ledger { charged: amount(1)?, paid: amount(2)?, last });
    }
    Ok(ledgers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_may_exceed_what_wrk_saw_by_what_it_cut_off() {
        let expected = Expected { stock: BTreeMap::new(), accepted_min: 100, accepted_max: 110 };
        assert_eq!([99, 100, 105, 110, 112].map(|orders| outside(orders, &expected)), [1, 0, 0, 0, 2]);
    }
}
