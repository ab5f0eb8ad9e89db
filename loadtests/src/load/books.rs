//! What must hold after a load: Redis against PostgreSQL by the service's own comparison, and the rows of the run's
//! goods against what its users were answered.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper::StatusCode;
use serde_json::Value;
use tokio::time::sleep;
use tokio_postgres::{Client as Postgres, NoTls};

use super::goods::{Coupon, Product};
use super::run::Run;
use super::shop::Shop;
use super::table::thousands;
use super::tally::Done;
use crate::shared::http::Http;

/// Differences between Redis and PostgreSQL that are shown; there are none.
const SHOWN_MAX: usize = 5;

/// How often an answer of 202 or 503 is asked again: a comparison of a big shop takes longer than one may wait.
const VERIFY_ATTEMPTS_MAX: u32 = 100;

/// Pause between two looks at something that settles by itself.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// How often it is looked at.
const LOOKS_MAX: u32 = 20;

/// Something that must hold, and how often it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What must hold.
    pub text: String,
    /// Rows, orders or answers that break it.
    pub broken: u64,
    /// What helps to find out why, if it is broken.
    pub details: Vec<String>,
}

impl Rule {
    /// A rule that is broken so often.
    pub fn new(text: impl Into<String>, broken: u64) -> Self {
        Self { text: text.into(), broken, details: Vec::new() }
    }

    /// As the lines that people read.
    pub fn lines(&self) -> String {
        let mut lines = match self.broken {
            0 => format!("ok    {}", self.text),
            broken => format!("FAIL  {} ({} times not)", self.text, thousands(broken)),
        };
        for detail in &self.details {
            lines = format!("{lines}\n      {detail}");
        }
        lines
    }

    /// A rule that holds or not.
    pub fn holds(text: impl Into<String>, holds: bool) -> Self {
        Self::new(text, u64::from(!holds))
    }
}

/// The rows of a shop.
pub struct Books {
    postgres: Postgres,
}

impl Books {
    /// Connects.
    pub async fn open(database_url: &str) -> Result<Self> {
        let (postgres, connection) = tokio_postgres::connect(database_url, NoTls).await.context("PostgreSQL")?;
        // It ends when `postgres` is dropped; what goes wrong shows up at the next query.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { postgres })
    }

    /// A count that a query gives for products or coupons.
    pub async fn count(&self, query: &str, ids: impl Iterator<Item = u32>) -> Result<u64> {
        let ids = ids.map(i32::try_from).collect::<Result<Vec<_>, _>>()?;
        let count: i64 = self.postgres.query_one(query, &[&ids]).await.with_context(|| query.to_owned())?.get(0);
        Ok(u64::try_from(count)?)
    }

    /// Orders of these products.
    pub async fn orders(&self, products: &[Product]) -> Result<u64> {
        Ok(self.orders_by_status(products).await?.values().sum())
    }

    /// Orders of these products, by status.
    pub async fn orders_by_status(&self, products: &[Product]) -> Result<BTreeMap<String, u64>> {
        let query = "SELECT o.status, count(*) FROM orders o WHERE EXISTS
                         (SELECT FROM order_items i WHERE i.order_id = o.order_id AND i.product_id = ANY($1))
                     GROUP BY o.status";
        let rows = self.postgres.query(query, &[&ids(products)?]).await?;
        rows.iter().map(|row| Ok((row.get(0), u64::try_from(row.get::<_, i64>(1))?))).collect()
    }

    /// Products whose units do not add up.
    pub async fn wrong_products(&self, products: &[Product]) -> Result<u64> {
        let query = "
            SELECT s.product_id, s.available + s.reserved + s.sold,
                   s.available >= 0 AND s.reserved = coalesce(i.unpaid, 0) AND s.sold = coalesce(i.paid, 0)
            FROM (SELECT product_id, sum(available)::bigint AS available, sum(reserved)::bigint AS reserved,
                         sum(sold)::bigint AS sold
                  FROM stock WHERE product_id = ANY($1) GROUP BY product_id) s
            LEFT JOIN (SELECT i.product_id,
                              sum(i.quantity) FILTER (WHERE o.status IN ('PENDING_PAYMENT', 'HELD')) AS unpaid,
                              sum(i.quantity) FILTER (WHERE o.status = 'CONFIRMED') AS paid
                       FROM order_items i JOIN orders o USING (order_id)
                       WHERE i.product_id = ANY($1) GROUP BY i.product_id) i USING (product_id)";
        let rows = self.postgres.query(query, &[&ids(products)?]).await?;
        let mut right = 0;
        for row in rows {
            let (id, units) = (u32::try_from(row.get::<_, i32>(0))?, u64::try_from(row.get::<_, i64>(1))?);
            let began_with = products.iter().find(|product| product.id == id).map(|product| product.stock);
            right += usize::from(began_with == Some(units) && row.get(2));
        }
        Ok((products.len() - right) as u64)
    }

    /// How often a coupon is in users' hands, by its rows and by its own count; they differ only in wrong books.
    pub async fn issued(&self, coupon: Coupon) -> Result<(u64, u64)> {
        let rows = "SELECT count(*) FROM user_coupons WHERE coupon_id = ANY($1)";
        let counted = "SELECT coalesce(sum(issued), 0)::bigint FROM coupon_stock WHERE coupon_id = ANY($1)";
        Ok((self.count(rows, [coupon.id].into_iter()).await?, self.count(counted, [coupon.id].into_iter()).await?))
    }
}

fn ids(products: &[Product]) -> Result<Vec<i32>> {
    Ok(products.iter().map(|product| i32::try_from(product.id)).collect::<Result<_, _>>()?)
}

/// `GET /admin/verify`, until it has compared everything that was there when it was asked.
pub async fn verify(shop: &Shop) -> Result<Rule> {
    // The first comparison may have been under way already; the second began behind it.
    finished_comparison(shop).await?;
    let report = finished_comparison(shop).await?;
    let differences =
        report["differencesTotal"].as_u64().with_context(|| format!("no differencesTotal in {report}"))?;
    let shown = report["differences"].as_array().into_iter().flatten().take(SHOWN_MAX);
    let details = shown.map(Value::to_string).collect();
    Ok(Rule { details, ..Rule::new("Redis and PostgreSQL agree (GET /admin/verify)", differences) })
}

async fn finished_comparison(shop: &Shop) -> Result<Value> {
    let mut last = StatusCode::ACCEPTED;
    for _ in 0..VERIFY_ATTEMPTS_MAX {
        let answer = Http::open(shop.operations).await?.get("/admin/verify", Some(&shop.admin)).await?;
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE => last = answer.status,
            _ => return answer.expect(StatusCode::OK).context("GET /admin/verify"),
        }
        sleep(LOOK_PAUSE).await;
    }
    bail!("GET /admin/verify answered {last} {VERIFY_ATTEMPTS_MAX} times")
}

/// Everything that can be asked when a load has ended.
pub struct After<'a> {
    /// Where it was.
    pub shop: &'a Shop,
    /// What its users were answered.
    pub run: &'a Run,
    /// The rows.
    pub books: Books,
}

impl After<'_> {
    /// The units of the run's products add up, and buyers are shown what is left.
    pub async fn goods(&self) -> Result<Vec<Rule>> {
        let products = &self.run.goods.products;
        let wrong = self.books.wrong_products(products).await?;
        let mut shown_wrong = 0;
        for product in products {
            // What is shown comes from a cache that is refreshed all the time.
            let is_shown = until(async || Ok(self.shown(*product).await? == self.left(*product).await?)).await?;
            shown_wrong += u64::from(!is_shown);
        }
        Ok(vec![
            Rule::new("initial stock = available + reserved + sold, and orders say the same", wrong),
            Rule::new("buyers are shown the stock that is left", shown_wrong),
        ])
    }

    /// There are as many orders of the run's products as answers that say so.
    pub async fn orders(&self, done: Done) -> Result<Rule> {
        let orders = self.books.orders(&self.run.goods.products).await?;
        let text = format!("{} orders in PostgreSQL, {} answered, {} unknown", orders, done.seen, done.unknown);
        Ok(Rule::new(text, done.missed_by(orders)))
    }

    /// Units of a product that can be sold, in PostgreSQL.
    pub async fn left(&self, product: Product) -> Result<u64> {
        let query = "SELECT coalesce(sum(available), 0)::bigint FROM stock WHERE product_id = ANY($1)";
        self.books.count(query, [product.id].into_iter()).await
    }

    async fn shown(&self, product: Product) -> Result<u64> {
        let path = format!("/api/products/{}/stock", product.id);
        let answer = Http::open(self.shop.public).await?.get(&path, Some(&self.shop.admin)).await?;
        let stock = answer.expect(StatusCode::OK)?;
        stock["stock"].as_u64().with_context(|| format!("no stock in {stock}"))
    }
}

/// Looks again and again until it is so; false when that takes too long.
pub async fn until(is_so: impl AsyncFn() -> Result<bool>) -> Result<bool> {
    for _ in 0..LOOKS_MAX {
        if is_so().await? {
            return Ok(true);
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_how_often_it_is_broken_and_what_helps() {
        assert_eq!(Rule::new("it holds", 0).lines(), "ok    it holds");
        let details = vec!["one".to_owned(), "two".to_owned()];
        let rule = Rule { details, ..Rule::new("it holds", 1_234) };
        assert_eq!(rule.lines(), "FAIL  it holds (1,234 times not)\n      one\n      two");
        assert_eq!([true, false].map(|holds| Rule::holds("it holds", holds).broken), [0, 1]);
    }
}
