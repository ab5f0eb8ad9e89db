//! Differences that a test makes by hand, each alone: it must be the one that is told. Then it is put right again.

use bytes::Bytes;
use flashsale::verify::Kind;
use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface, SortedSetsInterface};
use fred::types::{ClusterHash, CustomCommand, Value as RedisValue};
use serde_json::{Value, json};

use super::history::History;
use super::report;
use crate::support::shop::{Shop, redis};

/// The one difference that there must be.
struct Expected {
    kind: Kind,
    id: String,
    redis: Option<Value>,
    postgres: Option<Value>,
}

impl Expected {
    fn new(kind: Kind, id: impl Into<String>, redis: Option<Value>, postgres: Option<Value>) -> Self {
        Self { kind, id: id.into(), redis, postgres }
    }

    fn numbers(kind: Kind, id: impl Into<String>, redis: i64, postgres: i64) -> Self {
        Self::new(kind, id, Some(json!(redis)), Some(json!(postgres)))
    }
}

/// Makes differences in one shop.
pub struct Planter<'s> {
    shop: &'s Shop,
    redis: Client,
    database: tokio_postgres::Client,
    seen: Vec<Kind>,
}

// How it is done.
impl<'s> Planter<'s> {
    pub async fn new(shop: &'s Shop) -> Self {
        let redis = redis::connect(&shop.backends.redis_url).await;
        Self { shop, redis, database: shop.database().await, seen: Vec::new() }
    }

    /// Whether this kind was planted and found.
    pub fn seen(&self, kind: Kind) -> bool {
        self.seen.contains(&kind)
    }

    async fn check(&mut self, expected: Expected) {
        let Expected { kind, id, redis, postgres } = expected;
        let report = report(self.shop).await;
        assert_eq!(report["differencesTotal"], 1, "{kind} {id}: {report:#}");
        let found = &report["differences"][0];
        assert_eq!((&found["kind"], &found["id"]), (&json!(kind.as_str()), &json!(id)), "{found:#}");
        assert_eq!((found.get("redis"), found.get("postgres")), (redis.as_ref(), postgres.as_ref()), "{found:#}");
        assert!(found["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{found:#}");
        self.seen.push(kind);
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{{c0}}:{name}", self.shop.backends.namespace)
    }

    async fn command(&self, name: &'static str, key: &str, arguments: Vec<RedisValue>) {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let arguments = [vec![RedisValue::from(key)], arguments].concat();
        self.redis.custom::<RedisValue, _>(command, arguments).await.expect(name);
    }

    async fn value(&self, column: &str, field: &str) -> Option<Bytes> {
        self.redis.hget(self.key(column), field).await.expect("HGET")
    }

    async fn set(&self, column: &str, field: &str, value: Option<Bytes>) {
        let key = self.key(column);
        match value {
            Some(value) => self.command("HSET", &key, vec![field.into(), value.into()]).await,
            None => self.command("HDEL", &key, vec![field.into()]).await,
        }
    }

    /// A field of a hash that holds something else, or nothing.
    async fn field(&mut self, column: &str, field: &str, value: Option<Bytes>, expected: Expected) {
        let before = self.value(column, field).await;
        self.set(column, field, value).await;
        self.check(expected).await;
        self.set(column, field, before).await;
    }

    /// What a packed field holds.
    async fn packed(&self, column: &str, field: &str) -> Value {
        let packed = self.value(column, field).await.expect("it is there");
        rmp_serde::from_slice(&packed).expect("MessagePack")
    }

    /// A packed field with one member changed.
    async fn member(&mut self, (column, field): (&str, &str), member: &str, value: i64, expected: Expected) {
        let mut packed = self.packed(column, field).await;
        packed[member] = json!(value);
        self.field(column, field, Some(pack(&packed)), expected).await;
    }

    /// A member of a sorted set with another score; `None`: gone.
    async fn score(&mut self, key: &str, member: &str, score: Option<f64>, expected: Expected) {
        let key = self.key(key);
        let before = self.redis.zscore::<Option<f64>, _, _>(key.as_str(), member).await.expect("ZSCORE");
        self.set_score(&key, member, score).await;
        self.check(expected).await;
        self.set_score(&key, member, before).await;
    }

    async fn set_score(&self, key: &str, member: &str, score: Option<f64>) {
        match score {
            Some(score) => self.command("ZADD", key, vec![score.into(), member.into()]).await,
            None => self.command("ZREM", key, vec![member.into()]).await,
        }
    }

    /// Rows that say something else.
    async fn rows(&mut self, plant: &str, undo: &str, expected: Expected) {
        self.database.batch_execute(plant).await.expect(plant);
        self.check(expected).await;
        self.database.batch_execute(undo).await.expect(undo);
    }

    /// The day on which most of a product was sold (a test may run over midnight), and how much.
    async fn sales_of(&self, product: u64) -> (String, i64) {
        let sql = format!(
            "SELECT business_day::text, quantity FROM product_sales WHERE product_id = {product} \
             ORDER BY quantity DESC LIMIT 1"
        );
        let row = self.database.query_one(&sql, &[]).await.expect("sales");
        (row.get(0), row.get(1))
    }

    /// A number that PostgreSQL has.
    async fn stored(&self, sql: &str) -> i64 {
        self.database.query_one(sql, &[]).await.expect(sql).get(0)
    }
}

fn pack(value: &Value) -> Bytes {
    rmp_serde::to_vec_named(value).expect("plain data").into()
}

fn text(number: i64) -> Bytes {
    number.to_string().into()
}

// What is made.
impl Planter<'_> {
    /// Products, their stock, limits and rankings.
    pub async fn goods(&mut self, history: &History) {
        let (pin, lamp) = (history.pin.to_string(), history.lamp.to_string());
        let units = self.stored(&format!("SELECT available FROM stock WHERE product_id = {pin}")).await;
        let stock = Expected::numbers(Kind::Stock, pin.as_str(), units + 1, units);
        self.field("stock", &pin, Some(text(units + 1)), stock).await;
        let stock = Expected::new(Kind::Stock, pin.as_str(), None, Some(json!(units)));
        self.field("stock", &pin, None, stock).await;

        let terms = (Some(json!({"price": 100})), Some(json!({"price": 101})));
        let product = Expected::new(Kind::Product, pin.as_str(), terms.0, terms.1);
        let price = |by: &str| format!("UPDATE products SET price = price {by} WHERE product_id = {pin}");
        self.rows(&price("+ 1"), &price("- 1"), product).await;

        let bought = format!("ann {lamp}");
        self.field("bought", &bought, Some(text(5)), Expected::numbers(Kind::Limit, bought.as_str(), 5, 2)).await;
        self.field("bought", &bought, None, Expected::numbers(Kind::Limit, bought.as_str(), 0, 2)).await;
        let nobody = format!("nobody {pin}");
        self.field("bought", &nobody, Some(text(1)), Expected::numbers(Kind::Limit, nobody.as_str(), 1, 0)).await;

        let (day, sold) = self.sales_of(history.pin).await;
        let (key, id) = (format!("sales:{day}"), format!("{day} {pin}"));
        let sales = Expected::numbers(Kind::Sales, id.as_str(), sold + 2, sold);
        self.score(&key, &pin, Some((sold + 2) as f64), sales).await;
        self.score(&key, &pin, None, Expected::numbers(Kind::Sales, id, 0, sold)).await;
    }

    /// Accounts.
    pub async fn money(&mut self) {
        let (ann, fay) = (self.packed("accounts", "ann").await, self.packed("accounts", "fay").await);
        let member = |account: &Value, name: &str| account[name].as_i64().expect("a number");
        let (balance, used) = (member(&ann, "balance"), member(&ann, "used"));
        let more = Expected::numbers(Kind::Balance, "ann", balance + 5, balance);
        self.member(("accounts", "ann"), "balance", balance + 5, more).await;
        let less = Expected::numbers(Kind::UsedTotal, "ann", used - 1, used);
        self.member(("accounts", "ann"), "used", used - 1, less).await;
        self.member(("accounts", "fay"), "open", 2, Expected::numbers(Kind::OpenOrders, "fay", 2, 1)).await;
        assert_eq!((member(&fay, "pending"), member(&fay, "charges")), (500, 1));
        let (redis, postgres) = (json!({"charges": 1, "amount": 600}), json!({"charges": 1, "amount": 500}));
        let pending = Expected::new(Kind::PendingCharges, "fay", Some(redis), Some(postgres));
        self.member(("accounts", "fay"), "pending", 600, pending).await;
        // Kim has nothing but what she charged.
        self.field("accounts", "kim", None, Expected::numbers(Kind::Balance, "kim", 0, 100_000)).await;
        let unreadable = Expected::new(Kind::Unreadable, "accounts kim", None, None);
        self.field("accounts", "kim", Some(Bytes::from_static(b"\xc1")), unreadable).await;
    }

    /// Coupons, and who has them.
    pub async fn coupons(&mut self, history: &History) {
        let coupon = history.coupon.to_string();
        let rename = |name: &str| format!("UPDATE coupons SET name = '{name}' WHERE coupon_id = {coupon}");
        let names = (Some(json!({"name": "Ten off"})), Some(json!({"name": "Other"})));
        let renamed = Expected::new(Kind::Coupon, coupon.as_str(), names.0, names.1);
        self.rows(&rename("Other"), &rename("Ten off"), renamed).await;
        let remaining = Expected::numbers(Kind::CouponRemaining, coupon.as_str(), 47, 48);
        self.member(("coupons", coupon.as_str()), "remaining", 47, remaining).await;

        let mut wallet = self.packed("wallets", "ann").await;
        let order = wallet[&coupon]["order"].take().as_i64().expect("the order that uses it");
        let id = format!("ann {coupon}");
        wallet[&coupon]["order"] = json!(order + 1);
        let (redis, postgres) = (json!({"order": order + 1}), json!({"order": order}));
        let used = Expected::new(Kind::Wallet, id, Some(redis), Some(postgres));
        self.field("wallets", "ann", Some(pack(&wallet)), used).await;
        let mut held = self.packed("wallets", "bob").await[&coupon].take();
        held.as_object_mut().expect("a coupon").retain(|name, _| name != "issued");
        let lost = Expected::new(Kind::Wallet, format!("bob {coupon}"), None, Some(held));
        self.field("wallets", "bob", None, lost).await;

        let issue = |by: &str| format!("UPDATE coupon_stock SET issued = issued {by} WHERE coupon_id = {coupon}");
        let issued = Expected::new(Kind::CouponCounts, coupon.as_str(), None, Some(json!(3)));
        self.rows(&issue("+ 1"), &issue("- 1"), issued).await;
    }

    /// Orders and charges that are not finished.
    pub async fn open_things(&mut self, history: &History) {
        // In cell 0 an id is the sequence number of the first event.
        let held = history.held.as_str();
        let due = self.key("due");
        let deadline: Option<f64> = self.redis.zscore(due.as_str(), held).await.expect("ZSCORE");
        self.score("due", held, None, Expected::new(Kind::Due, held, None, None)).await;
        self.score("due", "999999", deadline, Expected::new(Kind::Due, "999999", None, None)).await;

        let of_order = |what: &str| format!("SELECT {what} FROM orders WHERE order_id = {held}");
        let (seq, amount) = (self.stored(&of_order("seq")).await, self.stored(&of_order("final_amount")).await);
        let stored = json!({"status": "HELD", "seq": seq, "user": "fay", "amount": amount});
        // Both are gone: only one of them is a deadline of nothing.
        self.set_score(&due, held, None).await;
        self.field("open", held, None, Expected::new(Kind::Open, held, None, Some(stored))).await;
        self.set_score(&due, held, deadline).await;

        let charge = history.charge.as_str();
        let deadline: Option<f64> = self.redis.zscore(due.as_str(), charge).await.expect("ZSCORE");
        let stored =
            json!({"status": "PENDING", "seq": charge.parse::<i64>().expect("an id"), "user": "fay", "amount": 500});
        self.set_score(&due, charge, None).await;
        self.field("open", charge, None, Expected::new(Kind::Open, charge, None, Some(stored))).await;
        self.set_score(&due, charge, deadline).await;
    }

    /// Carts, and who waits for a product.
    pub async fn waiting(&mut self, history: &History) {
        let cart = json!([{"productId": history.pin, "quantity": 2}]);
        let lost = Expected::new(Kind::Cart, "gus", Some(json!([])), Some(cart.clone()));
        self.field("carts", "gus", None, lost).await;
        let emptied = Expected::new(Kind::Cart, "gus", Some(cart.clone()), Some(json!([])));
        let put = |items: &Value| format!("UPDATE carts SET items = '{items}' WHERE user_id = 'gus'");
        self.rows(&put(&json!([])), &put(&cart), emptied).await;

        let rare = history.rare.to_string();
        let round = |waiting: i64| Some(json!([{"round": 2, "waiting": waiting}]));
        let more = Expected::new(Kind::Restock, rare.as_str(), round(3), round(2));
        self.member(("restock", rare.as_str()), "waiting", 3, more).await;
        let ian = format!("ian {rare}");
        let again = Expected::numbers(Kind::Restock, ian.as_str(), 1, 2);
        self.field("restock", &ian, Some(pack(&json!(1))), again).await;
        let forgotten = Expected::new(Kind::Restock, ian.as_str(), None, Some(json!(2)));
        self.field("restock", &ian, None, forgotten).await;
    }

    /// What PostgreSQL counts, and orders in themselves.
    pub async fn tables(&mut self, history: &History) {
        let (pin, order) = (history.pin, history.order.as_str());
        let of_pin = |what: &str| format!("SELECT {what} FROM stock WHERE product_id = {pin}");
        let mut counts = json!({});
        for name in ["available", "reserved", "sold"] {
            counts[name] = json!(self.stored(&of_pin(name)).await);
        }
        counts["sold"] = json!(counts["sold"].as_i64().expect("a number") + 1);
        let shift = |by: &str| format!("UPDATE stock SET sold = sold {by} WHERE product_id = {pin}");
        let sold = Expected::new(Kind::StockCounts, pin.to_string(), None, Some(counts));
        self.rows(&shift("+ 1"), &shift("- 1"), sold).await;

        let (day, quantity) = self.sales_of(pin).await;
        let rank = |by: &str| {
            format!(
                "UPDATE product_sales SET quantity = quantity {by} WHERE product_id = {pin} AND business_day = '{day}'"
            )
        };
        let sales = Expected::new(Kind::SalesCounts, format!("{day} {pin}"), None, Some(json!(quantity + 1)));
        self.rows(&rank("+ 1"), &rank("- 1"), sales).await;

        let total = |by: &str| format!("UPDATE orders SET total_amount = total_amount {by} WHERE order_id = {order}");
        let wrong = json!({"total": 1_301, "discount": 0, "final": 1_300});
        self.rows(&total("+ 1"), &total("- 1"), Expected::new(Kind::Order, order, None, Some(wrong))).await;
        // An order that was paid at once is its own payment: nothing there could contradict it.
        let order = history.paid.as_str();
        let payment = self.stored(&format!("SELECT payment_id FROM later_payments WHERE order_id = {order}")).await;
        let payment = payment.to_string();
        let pay = |by: &str| format!("UPDATE later_payments SET amount = amount {by} WHERE order_id = {order}");
        let wrong = json!({"payment": payment, "amount": 189, "status": "COMPLETED"});
        self.rows(&pay("- 1"), &pay("+ 1"), Expected::new(Kind::Payment, order, None, Some(wrong))).await;
        let unpay = format!("UPDATE later_payments SET status = 'FAILED' WHERE order_id = {order}");
        let repay = format!("UPDATE later_payments SET status = 'COMPLETED' WHERE order_id = {order}");
        let wrong = json!({"payment": payment, "amount": 190, "status": "FAILED"});
        self.rows(&unpay, &repay, Expected::new(Kind::Payment, order, None, Some(wrong))).await;
    }

    /// The ledger in itself, and events that are parked.
    pub async fn in_the_ledger(&mut self) {
        let kim = "FROM balance_transactions WHERE user_id = 'kim'";
        let transaction = self.stored(&format!("SELECT transaction_id {kim}")).await;
        let change = |by: &str| {
            format!("UPDATE balance_transactions SET balance_after = balance_after {by} WHERE user_id = 'kim'")
        };
        let stored = json!({"balanceAfter": 100_001, "usedAfter": 0});
        let ledger = Expected::new(Kind::Ledger, format!("kim {transaction}"), None, Some(stored));
        self.rows(&change("+ 1"), &change("- 1"), ledger).await;

        let park = "INSERT INTO dead_events (cell, seq, state, reason, attempts, event) \
                    VALUES (0, 1, 'PARKED', 'planted', 1, '\\x00')";
        let parked = Expected::new(Kind::ParkedEvents, "1", None, Some(json!({"count": 1, "seqs": [1]})));
        self.rows(park, "DELETE FROM dead_events", parked).await;
    }
}
