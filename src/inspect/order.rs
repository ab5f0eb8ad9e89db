//! An order: its last event as Redis knows it, its events in the log and in `event_log`, and its rows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::events::{Logged, brief, event_of, time};
use super::look::{Asked, Thing};
use super::redis_cell::RedisCell;
use super::sheet::Sheet;
use super::snapshot::{Row, Snapshot, Tables};
use super::table::spoken;
use crate::engine::event::{Event, OrderLine, OrderStatus};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::PaymentMethod;
use crate::postgres::DatabaseError;

const DAY_MS: i64 = 86_400_000;

/// What the last event and the row both say of an order.
const MEMBERS: [&str; 14] = [
    "status",
    "user_id",
    "total_amount",
    "discount_amount",
    "final_amount",
    "payment_method",
    "payment_id",
    "refund",
    "coupon_ids",
    "business_day",
    "created_at",
    "expires_at",
    "paid_at",
    "seq",
];

/// An order that was paid at once has the id of its payment too.
const ORDER: &str = "\
SELECT user_id, status, total_amount, discount_amount, final_amount, payment_method,
    CASE WHEN payment_method IS NOT NULL THEN coalesce(payment_id, order_id) END AS payment_id, refund, coupon_ids,
    business_day, created_at, expires_at, paid_at, seq, confirmed_seq, released_seq,
    status IN ('PENDING_PAYMENT', 'HELD') OR coalesce(refund = 'PENDING', false) AS is_open
FROM orders WHERE order_id = $1";

/// Names of tables on a sheet, and what they hold of order $1.
const TABLES: [(&str, &str); 6] = [
    ("order", ORDER),
    (
        "line",
        "SELECT line, product_id, product_name, unit_price, quantity, discount_amount, counted FROM order_items \
         WHERE order_id = $1 ORDER BY line",
    ),
    (
        "payment",
        "SELECT payment_id, method, amount, status, seq, created_at, updated_at FROM payments \
         WHERE payment_id IN ($1, (SELECT payment_id FROM orders WHERE order_id = $1)) AND order_id = $1",
    ),
    (
        "transaction",
        "SELECT transaction_id, type, amount, balance_after, used_after, created_at FROM balance_transactions \
         WHERE user_id = (SELECT user_id FROM orders WHERE order_id = $1) AND order_id = $1 ORDER BY transaction_id",
    ),
    (
        "coupon",
        "SELECT coupon_id, status, expires_at FROM user_coupons \
         WHERE user_id = (SELECT user_id FROM orders WHERE order_id = $1) AND order_id = $1 ORDER BY coupon_id",
    ),
    (
        "sync",
        "SELECT told_seq, synced, synced_at, sync_attempts, last_sync_error, next_retry_at FROM order_sync \
         WHERE order_id = $1",
    ),
];

/// What became of telling the data platform of events $2.
const DELIVERIES: &str = "\
SELECT sink || ' ' || seq AS name, type, state, attempts, last_error, next_retry_at, updated_at FROM deliveries
WHERE sink IN ('kafka', 'platform') AND cell = $1 AND seq = ANY($2::int8[]) ORDER BY sink, seq";

/// An order.
#[derive(Debug)]
pub(super) struct Order {
    pub id: EntityId,
}

/// What Redis says of it.
#[derive(Debug, Default)]
pub(super) struct InRedis {
    /// Its last event: what is open, else what was recorded in the last days, else the last one that the log still has.
    last: Option<Event>,
    is_open: bool,
    /// When somebody must look at it, ms since 1970.
    due: Option<i64>,
    /// Its idempotency record.
    record: Option<Event>,
    /// Its events in the log.
    events: Vec<Logged>,
    faults: Vec<String>,
}

impl Thing for Order {
    type InRedis = InRedis;

    fn is_about(&self, logged: &Logged) -> bool {
        match &logged.event {
            Ok(Event::OrderConfirmed(order)) => order.seq == self.id.seq(),
            Ok(Event::OrderChanged(order)) => order.order == self.id.seq(),
            Ok(_) => false,
            // Whatever it says: it has the order's number.
            Err(_) => logged.seq == self.id.seq(),
        }
    }

    fn order(&self) -> Option<EntityId> {
        Some(self.id)
    }

    async fn read_postgres(&self, snapshot: &Snapshot<'_>) -> Result<Tables, DatabaseError> {
        let id = self.id.as_i64();
        let mut tables = Tables::default();
        for (name, sql) in TABLES {
            tables.add(name, snapshot.rows(sql, &[&id]).await?);
        }
        let seqs = self.seqs(None, tables.first("order"));
        let seqs: Vec<i64> = seqs.into_iter().filter_map(|seq| i64::try_from(seq).ok()).collect();
        tables.events = snapshot.events(&seqs).await?;
        tables.events.retain(|logged| self.is_about(logged));
        tables.add("delivery", snapshot.rows(DELIVERIES, &[&snapshot.cell_number, &seqs]).await?);
        Ok(tables)
    }

    async fn read_redis(&self, redis: &RedisCell, tables: Option<&Tables>) -> Asked<InRedis> {
        let field = self.id.seq().to_string();
        let due = redis.score(redis.keys.due(), &field).await?;
        let open = redis.field(redis.keys.open(), &field).await?.map(|packed| event_of(&packed));
        let record = self.record(redis).await?.map(|packed| event_of(&packed));
        let mut found = InRedis { due, is_open: open.is_some(), ..InRedis::default() };
        match open {
            // The number is that of a charge.
            Some(Ok(Event::ChargeOpened(_))) => return Ok(InRedis::default()),
            Some(Ok(event)) => found.last = Some(event),
            Some(Err(error)) => found.faults.push(format!("what Redis has in open cannot be read: {error}")),
            None => {}
        }
        match record {
            Some(Ok(event)) => found.record = Some(event),
            Some(Err(error)) => found.faults.push(format!("the record in Redis cannot be read: {error}")),
            None => {}
        }
        if found.last.is_none() {
            found.last.clone_from(&found.record);
        }
        for seq in self.seqs(found.last.as_ref(), tables.and_then(|tables| tables.first("order"))) {
            found.events.extend(redis.logged(seq).await?.filter(|logged| self.is_about(logged)));
        }
        if found.last.is_none() {
            // In the order of their numbers, and the log is trimmed from its start.
            found.last = found.events.last().and_then(|logged| logged.event.clone().ok());
        }
        Ok(found)
    }

    fn fill(&self, sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
        let cell = self.id.cell();
        let last = found.and_then(|found| found.last.as_ref());
        let event = last.and_then(|event| members_of(cell, event));
        let row = tables.and_then(|tables| tables.first("order"));
        // Redis may forget an order that is finished.
        let has_redis = found.is_none() || event.is_some();
        sheet.section("order");
        for name in MEMBERS {
            let (redis, postgres) = (member(event.as_ref(), name), member(row, name));
            tell(sheet, has_redis, (spoken(name), redis, postgres));
        }
        if event.is_some() || row.is_some() {
            sheet.both("is open", found.map(|found| json!(found.is_open)), member(row, "is_open"));
        }
        if let Some(found) = found {
            fill_of_redis(sheet, cell, found);
            if row.is_some() && !has_redis {
                sheet.note("Redis has forgotten this order, as it does with what is finished");
            }
        }
        sheet.section("lines");
        let (sold, stored) = (last.map(lines_of).unwrap_or_default(), tables.map(stored_lines).unwrap_or_default());
        for line in sold.keys().chain(stored.keys()).collect::<BTreeSet<_>>() {
            let (redis, postgres) = (sold.get(line).cloned(), stored.get(line).cloned());
            tell(sheet, has_redis, (format!("line {line}"), redis, postgres));
        }
        fill_events(sheet, cell, found, tables);
        let Some(tables) = tables else { return };
        sheet.section("payment");
        sheet.rows("payment ", tables.rows("payment"), "payment_id");
        sheet.rows("transaction ", tables.rows("transaction"), "transaction_id");
        sheet.rows("coupon ", tables.rows("coupon"), "coupon_id");
        sheet.section("data platform");
        sheet.postgres_only("sync", tables.first("sync").map(|sync| sync.clone().into()));
        sheet.rows("delivery ", tables.rows("delivery"), "name");
    }
}

impl Order {
    /// Its idempotency record, of the last day that has one. Clocks may be a day apart.
    async fn record(&self, redis: &RedisCell) -> Asked<Option<Bytes>> {
        let field = format!("order/{}", self.id.seq());
        let today = Timestamp::now().as_millisecond().div_euclid(DAY_MS);
        for shift in [1, 0, -1, -2] {
            let record = redis.field(redis.keys.idem(today + shift), &field).await?;
            if record.is_some() {
                return Ok(record);
            }
        }
        Ok(None)
    }

    /// Numbers of its events, as far as its last one and its row name them.
    fn seqs(&self, last: Option<&Event>, row: Option<&Row>) -> BTreeSet<u64> {
        let mut seqs = BTreeSet::from([self.id.seq()]);
        seqs.extend(last.map(Event::seq));
        if let Some(Event::OrderChanged(order)) = last {
            seqs.extend(order.payment);
        }
        if let Some(row) = row {
            let numbers = ["seq", "confirmed_seq", "released_seq"];
            seqs.extend(numbers.iter().filter_map(|name| row.get(*name).and_then(Value::as_u64)));
            let payment = row.get("payment_id").and_then(Value::as_str).and_then(EntityId::parse);
            seqs.extend(payment.map(EntityId::seq));
        }
        seqs
    }
}

/// What both say, or, when Redis does not keep it, what PostgreSQL says.
fn tell(sheet: &mut Sheet, has_redis: bool, (name, redis, postgres): (String, Option<Value>, Option<Value>)) {
    if has_redis {
        sheet.both(name, redis, postgres);
    } else {
        sheet.postgres_only(name, postgres);
    }
}

fn fill_of_redis(sheet: &mut Sheet, cell: CellId, found: &InRedis) {
    sheet.redis_only("due", found.due.map(|due| json!(time(due))));
    sheet.redis_only("record", found.record.as_ref().map(|event| brief(cell, &Ok(event.clone()))));
    for fault in &found.faults {
        sheet.fault(fault.as_str());
    }
    match (found.is_open, found.due) {
        (true, None) => sheet.fault("it is open in Redis, but has no deadline"),
        (false, Some(_)) => sheet.fault("it has a deadline in Redis, but is not open"),
        _ => {}
    }
}

/// The log may have been trimmed; but what it has, `event_log` must have.
fn fill_events(sheet: &mut Sheet, cell: CellId, found: Option<&InRedis>, tables: Option<&Tables>) {
    let by_seq = |events: &[Logged]| -> BTreeMap<u64, Value> {
        events.iter().map(|logged| (logged.seq, brief(cell, &logged.event))).collect()
    };
    let in_log = found.map(|found| by_seq(&found.events)).unwrap_or_default();
    let kept = tables.map(|tables| by_seq(&tables.events)).unwrap_or_default();
    sheet.section("events");
    for seq in in_log.keys().chain(kept.keys()).collect::<BTreeSet<_>>() {
        let (redis, postgres) = (in_log.get(seq).cloned(), kept.get(seq).cloned());
        let has_redis = found.is_none() || redis.is_some();
        tell(sheet, has_redis, (format!("event {seq}"), redis, postgres));
    }
}

fn member(row: Option<&Row>, name: &str) -> Option<Value> {
    row?.get(name).cloned()
}

/// What an event says of its order, as the row spells it; `None`: it is about none.
fn members_of(cell: CellId, event: &Event) -> Option<Row> {
    let id = |seq: u64| EntityId::new(cell, seq);
    let members = match event {
        Event::OrderConfirmed(order) => json!({
            "status": OrderStatus::Confirmed.as_str(),
            "user_id": order.user,
            "total_amount": order.total,
            "discount_amount": order.discount,
            "final_amount": order.final_amount,
            "payment_method": order.method.as_str(),
            "payment_id": id(order.seq),
            "coupon_ids": order.coupons.as_ref().filter(|coupons| !coupons.is_empty()),
            "business_day": order.day,
            "created_at": time(order.at),
            "paid_at": time(order.at),
            "seq": order.seq,
        }),
        Event::OrderChanged(order) => json!({
            "status": order.status.as_str(),
            "user_id": order.user,
            "total_amount": order.total,
            "discount_amount": order.discount,
            "final_amount": order.final_amount,
            "payment_method": order.method.map(PaymentMethod::as_str),
            "payment_id": order.payment.map(id),
            "refund": order.refund,
            "coupon_ids": order.coupons.as_ref().filter(|coupons| !coupons.is_empty()),
            "business_day": order.day,
            "created_at": time(order.created),
            "expires_at": order.expires.map(time),
            "paid_at": order.paid_at.map(time),
            "seq": order.seq,
        }),
        _ => return None,
    };
    Some(without_nulls(members))
}

/// The lines in an event, by their position from 1, as the rows spell them.
fn lines_of(event: &Event) -> BTreeMap<u64, Value> {
    let lines: &[OrderLine] = match event {
        Event::OrderConfirmed(order) => &order.items,
        Event::OrderChanged(order) => &order.items,
        _ => &[],
    };
    let line = |line: &OrderLine| {
        json!({
            "product_id": line.product,
            "product_name": line.name,
            "unit_price": line.price,
            "quantity": line.quantity,
            "discount_amount": line.discount,
            "counted": line.counted.unwrap_or(false),
        })
    };
    (1..).zip(lines.iter().map(line)).collect()
}

/// The rows of the lines, by their position.
fn stored_lines(tables: &Tables) -> BTreeMap<u64, Value> {
    let line = |row: &Row| {
        let mut row = row.clone();
        let line = row.shift_remove("line")?.as_u64()?;
        Some((line, row.into()))
    };
    tables.rows("line").iter().filter_map(line).collect()
}

fn without_nulls(object: Value) -> Row {
    let Value::Object(mut members) = object else { return Map::new() };
    members.retain(|_, value| !value.is_null());
    members
}

#[cfg(test)]
mod tests {
    use crate::engine::event::OrderConfirmed;
    use crate::engine::user::UserId;

    use super::*;

    fn confirmed() -> Event {
        let line =
            OrderLine {
                product: 1, name: "운동화".to_owned(), price: 59_000, quantity: 2, discount: 0, counted: None
            };
        Event::OrderConfirmed(OrderConfirmed {
            seq: 9,
            at: 1_700_000_000_000,
            user: UserId::parse("ann").expect("a user id"),
            day: "2023-11-15".to_owned(),
            total: 118_000,
            discount: 0,
            final_amount: 118_000,
            method: PaymentMethod::Balance,
            address: None,
            balance: 82_000,
            used: 118_000,
            items: vec![line],
            coupons: None,
            cart: None,
        })
    }

    fn order(id: &str) -> Order {
        Order { id: EntityId::parse(id).expect("an id") }
    }

    #[test]
    fn an_event_says_what_the_rows_say() {
        let cell = CellId::new(0).expect("a cell");
        let row = json!({
            "status": "CONFIRMED", "user_id": "ann", "total_amount": 118_000, "discount_amount": 0,
            "final_amount": 118_000, "payment_method": "BALANCE", "payment_id": "9", "business_day": "2023-11-15",
            "created_at": "2023-11-14T22:13:20Z", "paid_at": "2023-11-14T22:13:20Z", "seq": 9,
        });
        assert_eq!(members_of(cell, &confirmed()).map(Value::Object), Some(row));
        let line = json!({"line": 1, "product_id": 1, "product_name": "운동화", "unit_price": 59_000, "quantity": 2,
            "discount_amount": 0, "counted": false});
        let mut tables = Tables::default();
        tables.add("line", vec![without_nulls(line)]);
        assert_eq!(lines_of(&confirmed()), stored_lines(&tables));
    }

    #[test]
    fn events_of_an_order_are_known_by_its_number() {
        let logged = Logged { seq: 9, event: Ok(confirmed()) };
        assert!(order("9").is_about(&logged) && !order("8").is_about(&logged));
        let unreadable = Logged { seq: 9, event: Err("garbled".to_owned()) };
        assert!(order("9").is_about(&unreadable) && !order("8").is_about(&unreadable));
    }

    #[test]
    fn the_row_names_the_events_to_look_for() {
        let row = without_nulls(json!({"seq": 13, "confirmed_seq": 12, "payment_id": "11", "released_seq": null}));
        assert_eq!(order("9").seqs(Some(&confirmed()), Some(&row)), BTreeSet::from([9, 11, 12, 13]));
        assert_eq!(order("9").seqs(None, None), BTreeSet::from([9]));
    }
}
