//! A user: money, limits, coupons, cart, what is open and what he waits for.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{Logged, event_of, time, unpack};
use super::look::{Asked, Thing};
use super::redis_cell::RedisCell;
use super::sheet::Sheet;
use super::snapshot::{Row, Snapshot, Tables};
use crate::engine::event::{Event, OrderStatus};
use crate::engine::ids::EntityId;
use crate::engine::user::UserId;
use crate::postgres::DatabaseError;

/// Names of tables on a sheet, and what they hold of user $1 in cell $2.
const TABLES: [(&str, &str); 10] = [
    ("account", "SELECT balance, used_total FROM accounts WHERE user_id = $1 AND cell = $2"),
    ("ledger", LEDGER),
    ("open", OPEN),
    ("bought", BOUGHT),
    (
        "coupon",
        "SELECT coupon_id, user_coupon_id, status, order_id, expires_at FROM user_coupons \
         WHERE user_id = $1 AND cell = $2 ORDER BY coupon_id",
    ),
    ("cart", "SELECT items FROM carts WHERE user_id = $1 AND cell = $2"),
    (
        "waits",
        "SELECT DISTINCT ON (product_id) product_id, round, state FROM restock_notifications \
         WHERE user_id = $1 AND cell = $2 ORDER BY product_id, round DESC",
    ),
    (
        "orders",
        "SELECT o.status, count(*) AS orders, sum(o.final_amount)::int8 AS amount \
         FROM user_orders u JOIN orders o USING (order_id) \
         WHERE u.user_id = $1 AND u.cell = $2 GROUP BY o.status ORDER BY o.status",
    ),
    (
        "transaction",
        "SELECT transaction_id, type, amount, balance_after, order_id, created_at FROM balance_transactions \
         WHERE user_id = $1 AND cell = $2 ORDER BY transaction_id DESC LIMIT 20",
    ),
    ("delivery", DELIVERIES),
];

/// What the transactions make of both totals.
const LEDGER: &str = "\
SELECT sum(CASE type WHEN 'PAYMENT' THEN -amount ELSE amount END)::int8 AS balance,
    sum(CASE type WHEN 'PAYMENT' THEN amount WHEN 'REFUND' THEN -amount ELSE 0 END)::int8 AS used_total
FROM balance_transactions WHERE user_id = $1 AND cell = $2";

/// What is not finished; an order that was paid at once never is that. An id is that of an order or of a charge, never of both.
const OPEN: &str = "\
SELECT 'order' AS kind, order_id AS id, status, seq, final_amount AS amount FROM orders
WHERE user_id = $1 AND cell = $2 AND expires_at IS NOT NULL
    AND (status IN ('PENDING_PAYMENT', 'HELD') OR refund = 'PENDING')
UNION ALL
SELECT 'charge', charge_id, status, seq, amount FROM charges WHERE user_id = $1 AND cell = $2 AND status = 'PENDING'
ORDER BY id";

/// Units that count towards limits.
const BOUGHT: &str = "\
SELECT i.product_id, sum(i.quantity)::int8 AS units
FROM user_orders u JOIN orders o USING (order_id) JOIN order_items i USING (order_id)
WHERE u.user_id = $1 AND u.cell = $2 AND o.released_seq IS NULL AND i.counted GROUP BY i.product_id";

/// What waits to be told, and what was given up; each has an index that holds nothing else.
const DELIVERIES: &str = "\
SELECT sink || ' ' || seq AS name, type, order_id, state, attempts, last_error, next_retry_at FROM deliveries
WHERE state IN ('PENDING', 'REPLAY') AND user_id = $1 AND cell = $2
UNION ALL
SELECT sink || ' ' || seq, type, order_id, state, attempts, last_error, next_retry_at FROM deliveries
WHERE state = 'DEAD' AND user_id = $1 AND cell = $2";

/// A user.
#[derive(Debug)]
pub(super) struct User {
    pub id: UserId,
}

/// What Redis says of him.
#[derive(Debug, Default)]
pub(super) struct InRedis {
    account: Option<Row>,
    /// Product → units that count towards its limit.
    bought: BTreeMap<u64, Value>,
    /// Coupon → what he holds.
    wallet: BTreeMap<u64, Row>,
    /// Product → units.
    cart: BTreeMap<u64, Value>,
    /// Product → the round in which he asked last.
    waits: BTreeMap<u64, Value>,
    open: Vec<Open>,
    /// Why some of what is open may be missing.
    note: Option<&'static str>,
    faults: Vec<String>,
}

/// An order or charge that is not finished.
#[derive(Debug)]
struct Open {
    /// Sequence number of what started it.
    first: u64,
    /// Its last event.
    event: Event,
    /// When somebody must look at it, ms since 1970.
    due: Option<i64>,
}

/// A product in a cart.
#[derive(Debug, Deserialize)]
struct Item {
    product: u64,
    quantity: u64,
}

impl Thing for User {
    type InRedis = InRedis;

    fn is_about(&self, logged: &Logged) -> bool {
        logged.event.as_ref().is_ok_and(|event| user_of(event) == Some(&self.id))
    }

    async fn read_postgres(&self, snapshot: &Snapshot<'_>) -> Result<Tables, DatabaseError> {
        let mut tables = Tables::default();
        for (name, sql) in TABLES {
            tables.add(name, snapshot.rows(sql, &[&self.id.as_str(), &snapshot.cell_number]).await?);
        }
        Ok(tables)
    }

    async fn read_redis(&self, redis: &RedisCell, tables: Option<&Tables>) -> Asked<InRedis> {
        let (user, keys) = (self.id.as_str(), &redis.keys);
        let account = redis.field(keys.accounts(), user).await?;
        let wallet = redis.field(keys.wallets(), user).await?;
        let cart = redis.field(keys.carts(), user).await?;
        // Products are few, and nothing else says which of them he has bought or waits for.
        let products = redis.names(keys.catalog()).await?;
        let fields: Vec<String> = products.iter().map(|product| format!("{user} {product}")).collect();
        let bought = redis.fields(&keys.bought(), &fields).await?;
        let waits = redis.fields(&keys.restock(), &fields).await?;

        let mut faults = Vec::new();
        let account = unpack("accounts", account, &mut faults);
        let wallet: BTreeMap<String, Row> = unpack("wallets", wallet, &mut faults).unwrap_or_default();
        let cart: Vec<Item> = unpack("carts", cart, &mut faults).unwrap_or_default();
        let mut found = InRedis { account, ..InRedis::default() };
        found.wallet = wallet.into_iter().filter_map(|(coupon, held)| Some((coupon.parse().ok()?, held))).collect();
        found.cart = cart.iter().map(|item| (item.product, json!(item.quantity))).collect();
        for ((product, units), round) in products.iter().zip(bought).zip(waits) {
            let Ok(product) = product.parse() else { continue };
            found.bought.extend(units.map(|units| (product, number_as_text(&units))));
            found.waits.extend(unpack("restock", round, &mut faults).map(|round: u64| (product, json!(round))));
        }
        found.faults = faults;
        match tables {
            Some(tables) => self.find_open(redis, tables, &mut found).await?,
            None => self.walk_open(redis, &mut found).await?,
        }
        Ok(found)
    }

    fn fill(&self, sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
        fill_money(sheet, found, tables);
        sheet.section("units towards limits");
        let bought = tables.map(|tables| by_product(tables.rows("bought"), "units")).unwrap_or_default();
        sheet.both_by_key("product ", &found.map(|found| found.bought.clone()).unwrap_or_default(), &bought);
        sheet.section("coupons");
        let held = found.map(|found| held_coupons(sheet, &found.wallet)).unwrap_or_default();
        sheet.both_by_key("coupon ", &held, &tables.map(stored_coupons).unwrap_or_default());
        sheet.section("cart");
        let cart = tables.and_then(|tables| tables.first("cart")?.get("items")?.as_array()).map(|items| cart_of(items));
        sheet.both_by_key(
            "product ",
            &found.map(|found| found.cart.clone()).unwrap_or_default(),
            &cart.unwrap_or_default(),
        );
        fill_open(sheet, found, tables);
        sheet.section("waits for");
        let waits = tables.map(|tables| by_product(tables.rows("waits"), "round")).unwrap_or_default();
        sheet.both_by_key("round of product ", &found.map(|found| found.waits.clone()).unwrap_or_default(), &waits);
        if let Some(found) = found {
            for fault in &found.faults {
                sheet.fault(fault.as_str());
            }
            if let Some(note) = found.note {
                sheet.note(note);
            }
        }
        let Some(tables) = tables else { return };
        for row in tables.rows("waits") {
            let product = row.get("product_id").map(ToString::to_string).unwrap_or_default();
            sheet.postgres_only(format!("notice of product {product}"), row.get("state").cloned());
        }
        sheet.section("orders by status");
        sheet.rows("", tables.rows("orders"), "status");
        sheet.section("last transactions");
        sheet.rows("transaction ", tables.rows("transaction"), "transaction_id");
        sheet.section("data platform");
        sheet.rows("delivery ", tables.rows("delivery"), "name");
    }
}

impl User {
    /// What is open of that which PostgreSQL says is.
    async fn find_open(&self, redis: &RedisCell, tables: &Tables, found: &mut InRedis) -> Asked<()> {
        let ids = tables.rows("open").iter().filter_map(|row| row.get("id")?.as_i64().and_then(EntityId::from_i64));
        let names: Vec<String> = ids.map(|id| id.seq().to_string()).collect();
        let values = redis.fields(&redis.keys.open(), &names).await?;
        for (name, value) in names.iter().zip(values) {
            if let Some(packed) = value {
                self.note_open(redis, (name.as_str(), &packed), found).await?;
            }
        }
        Ok(())
    }

    /// What is open of everything that is.
    async fn walk_open(&self, redis: &RedisCell, found: &mut InRedis) -> Asked<()> {
        let (open, is_complete) = redis.walk_open().await?;
        for (name, packed) in &open {
            self.note_open(redis, (name.as_str(), packed), found).await?;
        }
        if !is_complete {
            found.note = Some("too much is open to look through all of it without PostgreSQL: some may be missing");
        }
        Ok(())
    }

    async fn note_open(&self, redis: &RedisCell, (name, packed): (&str, &Bytes), found: &mut InRedis) -> Asked<()> {
        match (name.parse::<u64>(), event_of(packed)) {
            (Ok(first), Ok(event)) if user_of(&event) == Some(&self.id) => {
                let due = redis.score(redis.keys.due(), name).await?;
                if due.is_none() {
                    found.faults.push(format!("{name} is open in Redis, but has no deadline"));
                }
                // A field may be met twice while a hash is walked through.
                if found.open.iter().all(|open| open.first != first) {
                    found.open.push(Open { first, event, due });
                }
            }
            (_, Err(error)) => found.faults.push(format!("what Redis has in open {name} cannot be read: {error}")),
            _ => {}
        }
        Ok(())
    }
}

/// Balances, and how much is open.
fn fill_money(sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
    let account = found.and_then(|found| found.account.as_ref());
    let in_redis = |name: &str| account.and_then(|account| account.get(name)).and_then(Value::as_i64);
    let stored = |table: &str, name: &str| -> Option<i64> {
        tables.and_then(|tables| tables.first(table)?.get(name)).and_then(Value::as_i64)
    };
    let open = tables.map(|tables| tables.rows("open")).unwrap_or_default();
    let is_charge = |row: &&Row| row.get("kind").is_some_and(|kind| kind == "charge");
    let unpaid = [OrderStatus::PendingPayment, OrderStatus::Held].map(OrderStatus::as_str);
    let is_unpaid = |row: &&Row| {
        !is_charge(row) && row.get("status").and_then(Value::as_str).is_some_and(|status| unpaid.contains(&status))
    };
    // What is none is absent in Redis.
    let some = |count: i64| (count != 0).then_some(count);
    let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let pending: i64 = open.iter().filter(is_charge).filter_map(|row| row.get("amount")?.as_i64()).sum();

    sheet.section("money");
    sheet.both_numbers("balance", in_redis("balance"), stored("account", "balance"));
    sheet.both_numbers("used total", in_redis("used"), stored("account", "used_total"));
    sheet.both_numbers("balance by the ledger", in_redis("balance"), stored("ledger", "balance"));
    sheet.both_numbers("used total by the ledger", in_redis("used"), stored("ledger", "used_total"));
    sheet.both_numbers("unpaid orders", in_redis("open"), some(count(open.iter().filter(is_unpaid).count())));
    sheet.both_numbers("pending charges", in_redis("charges"), some(count(open.iter().filter(is_charge).count())));
    sheet.both_numbers("amount of pending charges", in_redis("pending"), some(pending));
}

/// Orders and charges that are not finished.
fn fill_open(sheet: &mut Sheet, found: Option<&InRedis>, tables: Option<&Tables>) {
    let in_redis: Vec<&Open> = found.map(|found| found.open.iter().collect()).unwrap_or_default();
    let named = |open: &&Open| (open.name(sheet), open.state());
    let states: BTreeMap<String, Value> = in_redis.iter().map(named).collect();
    let state = |row: &Row| -> Option<(String, Value)> {
        let (kind, id) = (row.get("kind")?.as_str()?, row.get("id")?);
        Some((format!("{kind} {id}"), json!({"status": row.get("status")?, "event": row.get("seq")?})))
    };
    let stored: BTreeMap<String, Value> =
        tables.map(|tables| tables.rows("open").iter().filter_map(state).collect()).unwrap_or_default();
    sheet.section("open");
    sheet.both_by_key("", &states, &stored);
    for open in in_redis {
        let name = open.name(sheet);
        sheet.redis_only(format!("{name} is due"), open.due.map(|due| json!(time(due))));
    }
}

impl Open {
    fn name(&self, sheet: &Sheet) -> String {
        let kind = if matches!(self.event, Event::ChargeOpened(_)) { "charge" } else { "order" };
        format!("{kind} {}", EntityId::new(sheet.cell(), self.first))
    }

    fn state(&self) -> Value {
        let status = match &self.event {
            Event::OrderChanged(order) => order.status.as_str(),
            Event::ChargeOpened(_) => "PENDING",
            other => other.name(),
        };
        json!({"status": status, "event": self.event.seq()})
    }
}

/// Coupons in Redis as the rows spell them.
fn held_coupons(sheet: &Sheet, wallet: &BTreeMap<u64, Row>) -> BTreeMap<u64, Value> {
    let id = |held: &Row, name: &str| Some(EntityId::new(sheet.cell(), held.get(name)?.as_u64()?));
    let coupon = |(coupon, held): (&u64, &Row)| {
        let order = id(held, "order");
        let mut members = json!({
            "user_coupon_id": id(held, "id"),
            "status": if order.is_some() { "USED" } else { "AVAILABLE" },
            "expires_at": held.get("expires").and_then(Value::as_i64).map(time),
        });
        if order.is_some() {
            members["order_id"] = json!(order);
        }
        (*coupon, members)
    };
    wallet.iter().map(coupon).collect()
}

fn stored_coupons(tables: &Tables) -> BTreeMap<u64, Value> {
    let coupon = |row: &Row| {
        let mut row = row.clone();
        let coupon = row.shift_remove("coupon_id")?.as_u64()?;
        Some((coupon, row.into()))
    };
    tables.rows("coupon").iter().filter_map(coupon).collect()
}

/// Product → one column.
fn by_product(rows: &[Row], column: &str) -> BTreeMap<u64, Value> {
    rows.iter().filter_map(|row| Some((row.get("product_id")?.as_u64()?, row.get(column)?.clone()))).collect()
}

/// Product → units, of a cart as its row has it.
fn cart_of(items: &[Value]) -> BTreeMap<u64, Value> {
    items.iter().filter_map(|item| Some((item.get("productId")?.as_u64()?, item.get("quantity")?.clone()))).collect()
}

/// A number that Redis has as text; anything else shows as it is.
fn number_as_text(text: &Bytes) -> Value {
    let text = String::from_utf8_lossy(text);
    text.parse::<i64>().map_or_else(|_| json!(text), Value::from)
}

/// Whose event it is; what operators do is nobody's.
fn user_of(event: &Event) -> Option<&UserId> {
    match event {
        Event::OrderConfirmed(order) => Some(&order.user),
        Event::OrderChanged(order) => Some(&order.user),
        Event::BalanceCharged(charge) => Some(&charge.user),
        Event::ChargeOpened(charge) => Some(&charge.user),
        Event::ChargeSettled(charge) => Some(&charge.user),
        Event::CouponIssued(coupon) => Some(&coupon.user),
        Event::CartPut(cart) => Some(&cart.user),
        Event::RestockRequested(request) => Some(&request.user),
        Event::CouponPut(_) | Event::ProductPut(_) | Event::StockAdjusted(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::event::{ChargeOpened, StockAdjusted};
    use crate::engine::ids::CellId;

    use super::super::look::{Frame, Kept};
    use super::super::sheet::Verdict;
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a user id")
    }

    fn row(members: Value) -> Row {
        serde_json::from_value(members).expect("an object")
    }

    fn charge_opened() -> Event {
        Event::ChargeOpened(ChargeOpened { seq: 7, at: 0, user: user("ann"), amount: 500, method: None })
    }

    fn sheet() -> Sheet {
        let meta = super::super::redis_cell::Meta {
            epoch: 1,
            run_id: String::new(),
            server_run_id: String::new(),
            seq: 9,
            committed: 9,
            fenced: None,
        };
        let postgres = Ok(Kept { written: 9, epoch: Some(1) });
        let frame = Frame { redis: Ok(Some(meta)), postgres, unread: 0, is_tail_complete: true };
        Sheet::new(CellId::new(0).expect("a cell"), frame)
    }

    #[test]
    fn events_are_their_users_and_not_the_operators() {
        let ann = User { id: user("ann") };
        assert!(ann.is_about(&Logged { seq: 7, event: Ok(charge_opened()) }));
        assert!(!User { id: user("bob") }.is_about(&Logged { seq: 7, event: Ok(charge_opened()) }));
        let adjusted =
            StockAdjusted { seq: 8, at: 0, product: 1, delta: 1, stock: 1, by: user("ann"), restocked: None };
        assert!(!ann.is_about(&Logged { seq: 8, event: Ok(Event::StockAdjusted(adjusted)) }));
    }

    #[test]
    fn what_both_say_alike_agrees() {
        let account = row(json!({"balance": 500, "used": 0, "charges": 1, "pending": 500}));
        let held = row(json!({"id": 5, "issued": 0, "expires": 1_700_000_000_000_i64, "order": 6}));
        let found = InRedis {
            account: Some(account),
            bought: BTreeMap::from([(1, json!(2))]),
            wallet: BTreeMap::from([(1, held)]),
            cart: BTreeMap::from([(4, json!(2))]),
            open: vec![Open { first: 7, event: charge_opened(), due: Some(0) }],
            ..InRedis::default()
        };
        let mut tables = Tables::default();
        tables.add("account", vec![row(json!({"balance": 500, "used_total": 0}))]);
        tables.add("ledger", vec![row(json!({"balance": 500, "used_total": 0}))]);
        tables.add("bought", vec![row(json!({"product_id": 1, "units": 2}))]);
        let coupon = json!({"coupon_id": 1, "user_coupon_id": "5", "status": "USED", "order_id": "6",
            "expires_at": "2023-11-14T22:13:20Z"});
        tables.add("coupon", vec![row(coupon)]);
        tables.add("cart", vec![row(json!({"items": [{"productId": 4, "quantity": 2}]}))]);
        let charge = json!({"kind": "charge", "id": 7, "status": "PENDING", "seq": 7, "amount": 500});
        tables.add("open", vec![row(charge)]);
        let mut same = sheet();
        User { id: user("ann") }.fill(&mut same, Some(&found), Some(&tables));
        assert_eq!(same.verdict(), Verdict::Agree, "{}", same.to_text("user ann"));

        tables.add("cart", Vec::new());
        tables.add("open", Vec::new());
        let mut other = sheet();
        User { id: user("ann") }.fill(&mut other, Some(&found), Some(&tables));
        let expected = "Redis and PostgreSQL differ: money, pending charges; money, amount of pending charges; \
            cart, product 4; open, charge 7";
        assert_eq!(other.summary(), expected);
    }

    #[test]
    fn nobody_has_no_facts() {
        let mut tables = Tables::default();
        tables.add("ledger", vec![Row::new()]);
        let mut sheet = sheet();
        User { id: user("nobody") }.fill(&mut sheet, Some(&InRedis::default()), Some(&tables));
        assert!(!sheet.is_known(), "{}", sheet.to_text("user nobody"));
    }
}
