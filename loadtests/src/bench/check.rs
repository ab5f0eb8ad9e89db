//! The books after a load: what was sold, paid, issued and answered, in Redis and in PostgreSQL, against each other.
//! Everything counted here is a bug.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flashsale::redis::keys::CellKeys;
use fred::clients::Client as Redis;
use fred::interfaces::HashesInterface as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client as Postgres;

use super::plan::CHARGE;
use super::tokens::user_ids;
use super::wrk::Wrk;

/// A broken rule and how often it is broken.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// What must hold.
    pub rule: String,
    /// Rows, users, products, coupons or orders that break it.
    pub count: u64,
}

/// What the books must say.
#[derive(Debug)]
pub struct Expected {
    /// Product and the stock it began with.
    pub stock: BTreeMap<u32, u64>,
    /// Orders.
    pub orders: Accepted,
    /// Coupon and its quantity.
    pub coupons: BTreeMap<u32, u64>,
    /// Coupons that were issued.
    pub issues: Accepted,
}

/// What was done, as its clients saw it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted {
    /// Answers of 201.
    pub seen: u64,
    /// What may have been done without an answer that wrk waited for.
    pub unseen_max: u64,
}

impl Accepted {
    /// Adds a load.
    pub fn note(&mut self, wrk: &Wrk) {
        self.seen += wrk.accepted();
        self.unseen_max += wrk.unseen_max();
    }

    /// By how many `done` is outside of what can have been done.
    fn missed_by(self, done: u64) -> u64 {
        self.seen.saturating_sub(done) + done.saturating_sub(self.seen + self.unseen_max)
    }
}

/// What an account is in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Account {
    balance: u64,
    used: u64,
}

/// What a coupon is in Redis.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Coupon {
    total: u64,
    remaining: u64,
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
    let orders = count(postgres, "orders").await?;
    note("as many orders as answers of 201", expected.orders.missed_by(orders));
    note(
        "initial stock = available in Redis + sold; stock in PostgreSQL and the rankings say the same",
        wrong_products(postgres, redis, keys, expected).await?,
    );
    let issued = count(postgres, "user_coupons").await?;
    note("as many coupons of users as answers of 201", expected.issues.missed_by(issued));
    note(
        "issued + remaining in Redis = quantity; the coupons of users in PostgreSQL say the same",
        wrong_coupons(postgres, redis, keys, expected).await?,
    );
    note(
        "charges - payments = balance, payments = used total, in Redis and in PostgreSQL",
        wrong_users(postgres, redis, keys).await?,
    );
    Ok(found)
}

async fn count(postgres: &Postgres, table: &str) -> Result<u64> {
    let count: i64 = postgres.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0);
    Ok(count.try_into()?)
}

/// A column of packed values, by their fields.
async fn unpacked<T: DeserializeOwned>(redis: &Redis, column: &str) -> Result<BTreeMap<String, T>> {
    let packed: BTreeMap<String, Bytes> = redis.hgetall(column).await?;
    let unpack = |(field, value): (String, Bytes)| {
        let value = rmp_serde::from_slice(&value).with_context(|| format!("{column}: {field}"))?;
        Ok((field, value))
    };
    packed.into_iter().map(unpack).collect()
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

async fn wrong_coupons(postgres: &Postgres, redis: &Redis, keys: &CellKeys, expected: &Expected) -> Result<u64> {
    let in_redis: BTreeMap<String, Coupon> = unpacked(redis, &keys.coupons()).await?;
    let rows = postgres
        .query(
            "SELECT coupon_id, coalesce(c.total_quantity, 0), coalesce(s.issued, 0)::bigint, coalesce(u.held, 0)
             FROM coupons c
             FULL JOIN (SELECT coupon_id, sum(issued) AS issued FROM coupon_stock GROUP BY coupon_id) s
                 USING (coupon_id)
             FULL JOIN (SELECT coupon_id, count(*) AS held FROM user_coupons GROUP BY coupon_id) u
                 USING (coupon_id)",
            &[],
        )
        .await?;
    let mut in_postgres = BTreeMap::new();
    for row in rows {
        let number = |column: usize| u64::try_from(row.get::<_, i64>(column));
        in_postgres.insert(u32::try_from(row.get::<_, i32>(0))?, (number(1)?, number(2)?, number(3)?));
    }
    let right = |coupon: &u32| {
        let (Some(left), Some(&(total, issued, held))) = (in_redis.get(&coupon.to_string()), in_postgres.get(coupon))
        else {
            return false;
        };
        expected.coupons.get(coupon) == Some(&total)
            && left.total == total
            && left.remaining + issued == total
            && issued == held
    };
    let all: BTreeSet<u32> = expected.coupons.keys().chain(in_postgres.keys()).copied().collect();
    Ok(all.iter().filter(|coupon| !right(coupon)).count() as u64)
}

/// Who only has coupons has an account without money, and no ledger.
async fn wrong_users(postgres: &Postgres, redis: &Redis, keys: &CellKeys) -> Result<u64> {
    let accounts: BTreeMap<String, Account> = unpacked(redis, &keys.accounts()).await?;
    let ledgers = ledgers(postgres).await?;
    let rows = postgres.query("SELECT DISTINCT user_id FROM user_coupons", &[]).await?;
    let holders: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let right = |user: &String| match (accounts.get(user), ledgers.get(user)) {
        (Some(account), Some(ledger)) => {
            ledger.charged == CHARGE
                && ledger.charged.checked_sub(ledger.paid) == Some(account.balance)
                && ledger.paid == account.used
                && ledger.last == *account
        }
        (Some(account), None) => holders.contains(user) && *account == Account { balance: 0, used: 0 },
        (None, _) => false,
    };
    let everybody: BTreeSet<String> = user_ids()
        .chain(accounts.keys().cloned())
        .chain(ledgers.keys().cloned())
        .chain(holders.iter().cloned())
        .collect();
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
    fn more_may_be_done_than_wrk_saw_by_what_it_cut_off() {
        let accepted = Accepted { seen: 100, unseen_max: 10 };
        assert_eq!([99, 100, 105, 110, 112].map(|done| accepted.missed_by(done)), [1, 0, 0, 0, 2]);
    }
}
