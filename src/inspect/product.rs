//! A product: its terms, its stock, who waits for it and how much of it was sold.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Value, json};

use super::events::{Logged, time, unpack};
use super::look::{Asked, Thing};
use super::redis_cell::RedisCell;
use super::sheet::Sheet;
use super::snapshot::{Row, Snapshot, Tables};
use super::table::spoken;
use crate::engine::event::{Event, OrderLine};
use crate::engine::op::ProductId;
use crate::postgres::DatabaseError;

/// What Redis calls a member of the terms, and what PostgreSQL does.
const TERMS: [(&str, &str); 7] = [
    ("name", "name"),
    ("price", "price"),
    ("limit", "limit_per_user"),
    ("starts", "sale_starts_at"),
    ("ends", "sale_ends_at"),
    ("status", "status"),
    ("version", "version"),
];

/// Names of tables on a sheet, and what they hold of product $1 in cell $2.
const TABLES: [(&str, &str); 5] = [
    (
        "terms",
        "SELECT name, price, limit_per_user, sale_starts_at, sale_ends_at, status, version FROM products \
         WHERE product_id = $1 AND cell = $2",
    ),
    ("stock", "SELECT available, reserved, sold FROM stock WHERE product_id = $1 AND cell = $2"),
    ("brought", "SELECT sum(delta)::int8 AS units FROM stock_movements WHERE product_id = $1 AND cell = $2"),
    (
        "movement",
        "SELECT seq, kind, delta, stock_after, made_by, created_at FROM stock_movements \
         WHERE product_id = $1 AND cell = $2 ORDER BY seq DESC LIMIT 20",
    ),
    ("notice", NOTICES),
];

/// Who waits, is to be told, or could not be told; each has an index that holds nothing else.
const NOTICES: &str = "\
SELECT 'WAITING' AS state, count(*) AS notices FROM restock_notifications
WHERE state = 'WAITING' AND product_id = $1 AND cell = $2
UNION ALL
SELECT state, count(*) FROM restock_notifications
WHERE state IN ('DUE', 'DEAD') AND product_id = $1 AND cell = $2 GROUP BY state";

const SALES: &str = "SELECT business_day, quantity FROM product_sales \
     WHERE product_id = $1 AND cell = $2 AND business_day = ANY($3::date[])";

/// A product.
#[derive(Debug)]
pub(super) struct Product {
    pub id: ProductId,
    /// Business days whose sales are shown, `YYYY-MM-DD`.
    pub days: Vec<String>,
}

/// What Redis says of it.
#[derive(Debug, Default)]
pub(super) struct InRedis {
    terms: Option<Row>,
    /// Available units.
    stock: Option<String>,
    /// Its round, and how many wait in it.
    restock: Option<Row>,
    /// Business day → units in the ranking; absent: none.
    sales: BTreeMap<String, i64>,
    faults: Vec<String>,
}

impl Thing for Product {
    type InRedis = InRedis;

    fn is_about(&self, logged: &Logged) -> bool {
        let has = |lines: &[OrderLine]| lines.iter().any(|line| line.product == self.id);
        match &logged.event {
            Ok(Event::OrderConfirmed(order)) => has(&order.items),
            Ok(Event::OrderChanged(order)) => has(&order.items),
            Ok(Event::RestockRequested(request)) => request.product == self.id,
            Ok(Event::StockAdjusted(adjusted)) => adjusted.product == self.id,
            Ok(Event::ProductPut(put)) => put.product == self.id,
            _ => false,
        }
    }

    async fn read_postgres(&self, snapshot: &Snapshot<'_>) -> Result<Tables, DatabaseError> {
        let id = i32::try_from(self.id).map_err(|_| DatabaseError(format!("{} is no product", self.id)))?;
        let mut tables = Tables::default();
        for (name, sql) in TABLES {
            tables.add(name, snapshot.rows(sql, &[&id, &snapshot.cell_number]).await?);
        }
        let days: Vec<Date> = self.days.iter().filter_map(|day| day.parse().ok()).collect();
        tables.add("sales", snapshot.rows(SALES, &[&id, &snapshot.cell_number, &days]).await?);
        Ok(tables)
    }

    async fn read_redis(&self, redis: &RedisCell, _tables: Option<&Tables>) -> Asked<InRedis> {
        let (field, keys) = (self.id.to_string(), &redis.keys);
        let terms = redis.field(keys.catalog(), &field).await?;
        let stock = redis.field(keys.stock(), &field).await?;
        let restock = redis.field(keys.restock(), &field).await?;
        let mut sales = BTreeMap::new();
        for day in &self.days {
            let sold = redis.score(keys.sales(day), &field).await?;
            sales.extend(sold.map(|sold| (day.clone(), sold)));
        }
        let mut faults = Vec::new();
        let terms = unpack("catalog", terms, &mut faults);
        let restock = unpack("restock", restock, &mut faults);
        let stock = stock.map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(InRedis { terms, stock, restock, sales, faults })
    }

    fn fill(&self, sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
        sheet.section("terms");
        let terms = found.and_then(|found| found.terms.as_ref());
        for (member, column) in TERMS {
            let redis = terms.and_then(|terms| terms.get(member)).cloned();
            // Times in ms since 1970.
            let redis = match redis.as_ref().and_then(Value::as_i64) {
                Some(at) if column.ends_with("_at") => Some(json!(time(at))),
                _ => redis,
            };
            sheet.both(spoken(column), redis, column_of(tables, "terms", column));
        }
        fill_stock(sheet, found, tables);
        fill_waiting(sheet, found, tables);
        sheet.section("sold");
        for day in &self.days {
            let ranked = found.and_then(|found| found.sales.get(day)).copied();
            let mut rows = tables.map(|tables| tables.rows("sales")).unwrap_or_default().iter();
            let row = rows.find(|row| row.get("business_day").is_some_and(|stored| stored == day.as_str()));
            let counted = row.and_then(|row| row.get("quantity")).and_then(Value::as_i64);
            // What was all refunded is not in the ranking any more.
            sheet.both_numbers(day.as_str(), ranked, counted);
        }
        for fault in found.iter().flat_map(|found| &found.faults) {
            sheet.fault(fault.as_str());
        }
    }
}

/// Units, and whether PostgreSQL's add up: what operators brought is available, reserved or sold.
fn fill_stock(sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
    let stored = |column: &str| column_of(tables, "stock", column);
    let units = |column: &str| stored(column).as_ref().and_then(Value::as_i64);
    let available = found.and_then(|found| found.stock.as_deref());
    // A number, unless it is none.
    let available = available.map(|text| text.parse::<i64>().map_or_else(|_| json!(text), Value::from));
    sheet.section("stock");
    sheet.both("available", available, stored("available"));
    sheet.postgres_only("reserved", stored("reserved"));
    sheet.postgres_only("sold", stored("sold"));
    let brought = column_of(tables, "brought", "units");
    sheet.postgres_only("brought in all", brought.clone());
    if let (Some(available), Some(reserved), Some(sold)) = (units("available"), units("reserved"), units("sold")) {
        let (brought, accounted) =
            (brought.as_ref().and_then(Value::as_i64).unwrap_or_default(), available + reserved + sold);
        if brought != accounted {
            sheet.fault(format!("{brought} units were brought, but {accounted} are available, reserved or sold"));
        }
    }
    if let Some(tables) = tables {
        sheet.rows("movement ", tables.rows("movement"), "seq");
    }
}

/// Who waits for it.
fn fill_waiting(sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
    let restock = found.and_then(|found| found.restock.as_ref());
    let notices = |state: &str| -> Option<i64> {
        let mut rows = tables?.rows("notice").iter();
        let row = rows.find(|row| row.get("state").is_some_and(|stored| stored == state))?;
        row.get("notices")?.as_i64().filter(|notices| *notices > 0)
    };
    sheet.section("restock");
    sheet.redis_only("round", restock.and_then(|restock| restock.get("round")).cloned());
    let waiting = restock.and_then(|restock| restock.get("waiting")).and_then(Value::as_i64);
    sheet.both_numbers("waiting", waiting, notices("WAITING"));
    for (name, state) in [("to be told", "DUE"), ("could not be told", "DEAD")] {
        sheet.postgres_only(name, notices(state).map(Value::from));
    }
}

/// A column of the one row of a table.
fn column_of(tables: Option<&Tables>, table: &str, column: &str) -> Option<Value> {
    tables?.first(table)?.get(column).cloned()
}

#[cfg(test)]
mod tests {
    use crate::engine::event::RestockRequested;
    use crate::engine::ids::CellId;
    use crate::engine::user::UserId;

    use super::super::look::{Frame, Kept};
    use super::super::redis_cell::Meta;
    use super::super::sheet::Verdict;
    use super::*;

    fn sheet() -> Sheet {
        let run_id = String::new();
        let server_run_id = String::new();
        let meta = Meta { epoch: 1, run_id, server_run_id, seq: 9, committed: 9, fenced: None };
        let postgres = Ok(Kept { written: 9, epoch: Some(1) });
        let frame = Frame { redis: Ok(Some(meta)), postgres, unread: 0, is_tail_complete: true };
        Sheet::new(CellId::new(0).expect("a cell"), frame)
    }

    fn product() -> Product {
        Product { id: 1, days: vec!["2026-11-20".to_owned(), "2026-11-21".to_owned()] }
    }

    fn row(members: Value) -> Row {
        serde_json::from_value(members).expect("an object")
    }

    fn both() -> (InRedis, Tables) {
        let terms = json!({"name": "운동화", "price": 59_000, "starts": 1_700_000_000_000_i64, "status": "NORMAL",
            "version": 1});
        let found = InRedis {
            terms: Some(row(terms)),
            stock: Some("7".to_owned()),
            restock: Some(row(json!({"round": 2, "waiting": 0}))),
            sales: BTreeMap::from([("2026-11-21".to_owned(), 2)]),
            faults: Vec::new(),
        };
        let mut tables = Tables::default();
        let terms = json!({"name": "운동화", "price": 59_000, "sale_starts_at": "2023-11-14T22:13:20Z",
            "status": "NORMAL", "version": 1});
        tables.add("terms", vec![row(terms)]);
        tables.add("stock", vec![row(json!({"available": 7, "reserved": 1, "sold": 2}))]);
        tables.add("brought", vec![row(json!({"units": 10}))]);
        tables.add("notice", vec![row(json!({"state": "WAITING", "notices": 0}))]);
        let sales = [("2026-11-20", 0), ("2026-11-21", 2)];
        let sales = sales.map(|(day, units)| row(json!({"business_day": day, "quantity": units})));
        tables.add("sales", sales.into());
        (found, tables)
    }

    #[test]
    fn what_both_say_alike_agrees() {
        let (mut found, mut tables) = both();
        let mut same = sheet();
        product().fill(&mut same, Some(&found), Some(&tables));
        assert_eq!(same.verdict(), Verdict::Agree, "{}", same.to_text("product 1"));

        found.stock = Some("8".to_owned());
        found.sales.clear();
        tables.add("brought", vec![row(json!({"units": 11}))]);
        let mut other = sheet();
        product().fill(&mut other, Some(&found), Some(&tables));
        let expected = "Redis and PostgreSQL differ: stock, available; sold, 2026-11-21; \
            11 units were brought, but 10 are available, reserved or sold";
        assert_eq!(other.summary(), expected);
    }

    #[test]
    fn no_product_has_no_facts() {
        let mut tables = Tables::default();
        tables.add("brought", vec![Row::new()]);
        tables.add("notice", vec![row(json!({"state": "WAITING", "notices": 0}))]);
        let mut sheet = sheet();
        product().fill(&mut sheet, Some(&InRedis::default()), Some(&tables));
        assert!(!sheet.is_known(), "{}", sheet.to_text("product 1"));
    }

    #[test]
    fn events_are_those_of_its_lines_its_stock_and_those_who_wait() {
        let user = UserId::parse("ann").expect("a user id");
        let request = RestockRequested { seq: 5, at: 0, user, product: 1, email: "a@b.kr".to_owned(), round: 1 };
        let logged = Logged { seq: 5, event: Ok(Event::RestockRequested(request)) };
        assert!(product().is_about(&logged));
        assert!(!Product { id: 2, ..product() }.is_about(&logged));
    }
}
