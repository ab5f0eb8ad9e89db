//! The engine without the service: one open cell in a fresh namespace of the shared Redis, under a clock that the test
//! moves, and batches sent by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flashsale::engine::batch::{self, BatchReply, ClosedReason, Header, OpResult, Rules};
use flashsale::engine::call::{Call, Fingerprint};
use flashsale::engine::event::{Event, OrderLine, OrderStatus, split};
use flashsale::engine::ids::CellId;
use flashsale::engine::model::Answer;
use flashsale::engine::op::{
    AdjustStock, CancelOrder, ChargeBalance, CouponId, CouponType, DiscountType, ExpireOrder, IssueCoupon, Op,
    OpenCharge, OrderItem, PaidLine, PaidOrder, PayOrder, PaymentMethod, PlaceOrder, ProductId, PutCart, PutCoupon,
    PutProduct, RequestRestock, ReserveOrder, SettleCharge, SettleOrder, Verdict,
};
use flashsale::engine::refusal::{Refusal, Refused};
use flashsale::engine::user::UserId;
use flashsale::redis::client::{CallError, RedisClient};
use flashsale::redis::keys::{BatchKeys, CellKeys};
use flashsale::redis::library::Library;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface, SortedSetsInterface, StreamsInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use serde::Deserialize;

/// Where the clock of a test starts: 2100-01-01 00:00 UTC. Keys get deadlines from this clock but are expired by the real
/// one, so the test's time must lie ahead of it.
pub const START_MS: i64 = 4_102_444_800_000;

/// One hour.
pub const HOUR_MS: i64 = 3_600_000;

/// One UTC day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The defaults of the settings.
pub const RULES: Rules = Rules {
    charge_unit: 100,
    charge_max: 1_000_000,
    balance_max: 1_000_000_000_000,
    open_charges_max: 10,
    open_orders_max: 3,
    items_max: 50,
    quantity_max: 1_000,
    reservation_ttl_ms: 600_000,
    cancel_window_ms: 1_800_000,
    recovery_ms: 60_000,
    restock_threshold: 1,
    backlog_max: 1_000_000,
};

/// Longest wait for one answer of Redis; generous, because the machine may be busy with other tests.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The business day of the default zone, spelled without the code under test.
pub fn business_day(now_ms: i64) -> String {
    let seoul = TimeZone::fixed(offset(9));
    Timestamp::from_millisecond(now_ms).expect("a time").to_zoned(seoul).date().to_string()
}

/// What the function `status` says.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// Of the server process.
    pub server_run_id: String,
    /// The cell's.
    pub epoch: u64,
    /// Last event.
    pub seq: u64,
    /// As the writer said.
    pub committed: u64,
    /// Why the cell is fenced; empty when it is not.
    pub fenced: String,
    /// Last product id.
    pub product_last: u64,
    /// Last coupon id.
    pub coupon_last: u64,
    /// Last change of the catalogue.
    pub catalog_version: u64,
}

/// One entry of the log.
#[derive(Debug, PartialEq)]
pub struct LogEntry {
    /// `SEQ-0`.
    pub id: String,
    /// Nonce of the batch before.
    pub prev: String,
    /// Nonce of this batch.
    pub nonce: String,
    /// What happened, and under which request.
    pub events: Vec<(Request, Event)>,
}

/// The request that an event came from, as the event names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// Route, path and body.
    pub fingerprint: String,
    /// Idempotency key.
    pub key: String,
}

/// A cell of a test.
pub struct TestCell {
    /// Its connection.
    pub redis: RedisClient,
    /// Its keys.
    pub keys: CellKeys,
    /// Sent with every batch.
    pub epoch: u64,
    /// Sent with every batch: when its time is over.
    pub not_after: i64,
    /// Sent with every batch: what the sender was told; 0 is not checked.
    pub acknowledged: u64,
    /// Sent with every batch.
    pub rules: Rules,
    /// How far the sender's clock is from that of Redis.
    pub skew_ms: i64,
    /// Nonce of the last batch.
    pub nonce: String,
    namespace: String,
    zone: TimeZone,
    now_ms: i64,
    batches: u64,
}

impl TestCell {
    /// A cell that was never opened.
    pub async fn closed(prefix: &str) -> Self {
        let namespace = super::namespace(prefix);
        // The clock's name is part of the library's text: every test has a library, and so a clock, of its own.
        let clock =
            format!("local function now_ms()\n  return tonumber(redis.call('GET', 'clock:{namespace}'))\nend\n");
        let library = Arc::new(Library::with_clock(&clock));
        let redis = RedisClient::start(&super::shared_redis_url(), library, CALL_TIMEOUT).expect("a Redis URL");
        assert!(redis.wait_connected().await, "Redis is unreachable");
        let keys = CellKeys::new(&namespace, CellId::new(0).expect("a cell"));
        let zone = TimeZone::get("Asia/Seoul").expect("a zone");
        let (nonce, epoch) = (String::new(), 1);
        let mut cell = Self {
            redis,
            keys,
            epoch,
            not_after: i64::MAX,
            acknowledged: 0,
            rules: RULES,
            skew_ms: 0,
            nonce,
            namespace,
            zone,
            now_ms: START_MS,
            batches: 0,
        };
        cell.set_now(START_MS).await;
        cell
    }

    /// An open cell under epoch 1.
    pub async fn open(prefix: &str) -> Self {
        let cell = Self::closed(prefix).await;
        let status = cell.status().await;
        assert!(cell.open_epoch(1, &status.server_run_id, 0).await, "the cell opens");
        cell
    }

    /// Calls `open_epoch` and says whether it opened.
    pub async fn open_epoch(&self, epoch: u64, run_id: &str, seq: u64) -> bool {
        let args: Vec<Value> = vec![epoch.to_string().into(), run_id.into(), seq.to_string().into()];
        let answer = self.redis.call("open_epoch", &[self.keys.meta()], args).await.expect("an answer");
        answer.as_ref() == b"1"
    }

    /// Tells the cell how far PostgreSQL is.
    pub async fn note_committed(&self, seq: u64) {
        let args: Vec<Value> = vec![seq.to_string().into(), "0".into()];
        let keys = [self.keys.meta(), self.keys.log()];
        self.redis.call("note_committed", &keys, args).await.expect("an answer");
    }

    /// Takes what is due, at most `count`, with the shortest and the longest pause: the last event of each.
    pub async fn take_due(&self, count: u32, pauses_ms: (i64, i64)) -> Result<Vec<Event>, ClosedReason> {
        let keys = [self.keys.meta(), self.keys.due(), self.keys.open()];
        let acknowledged = "0".to_owned();
        let (least, longest) = (pauses_ms.0.to_string(), pauses_ms.1.to_string());
        let args = [self.epoch.to_string(), acknowledged, count.to_string(), least, longest];
        let args: Vec<Value> = args.into_iter().map(Value::from).collect();
        let reply = self.redis.call("take_due", &keys, args).await.expect("an answer");
        let (_, _, mut rest) = batch::split_reply(&reply).expect("a readable answer")?;
        let taken = rmp::decode::read_array_len(&mut rest).expect("a list");
        let next = |_| {
            let length = rmp::decode::read_str_len(&mut rest).expect("a packed event") as usize;
            let (event, behind) = rest.split_at(length);
            rest = behind;
            Event::decode(event).expect("an event")
        };
        Ok((0..taken).map(next).collect())
    }

    /// What the cell says of itself.
    pub async fn status(&self) -> Status {
        let reply =
            self.redis.read("status", &[self.keys.meta(), self.keys.log()], Vec::new()).await.expect("an answer");
        rmp_serde::from_slice(&reply).expect("a status")
    }

    /// The clock of Redis.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Moves the clock.
    pub async fn set_now(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.set_text(&format!("clock:{}", self.namespace), &now_ms.to_string()).await;
    }

    /// Makes a key a plain string, whatever it was.
    pub async fn set_text(&self, key: &str, text: &str) {
        self.redis.plain().set::<(), _, _>(key, text, None, None, false).await.expect("SET");
    }

    /// Sets one field of the cell's meta.
    pub async fn set_meta(&self, field: &str, text: &str) {
        self.redis.plain().hset::<(), _, _>(self.keys.meta(), (field, text)).await.expect("HSET");
    }

    /// Sends calls that are encoded already as one batch.
    pub async fn try_send_encoded(&mut self, encoded: &[Vec<u8>]) -> Result<BatchReply, CallError> {
        let around = Timestamp::from_millisecond(self.now_ms + self.skew_ms).expect("a time");
        let keys = BatchKeys::new(&self.keys, &self.zone, around);
        self.batches += 1;
        self.nonce = format!("batch-{}", self.batches);
        let header = Header {
            acknowledged: self.acknowledged,
            not_after: self.not_after,
            epoch: self.epoch,
            nonce: &self.nonce,
            rules: self.rules,
            first_idem_day: keys.first_idem_day,
            sales_days: &keys.sales_days,
        };
        let payload = batch::encode(&header, encoded);
        let reply = self.redis.apply(&keys.keys, payload.into()).await?;
        Ok(batch::decode(reply, encoded.len()).expect("a readable answer"))
    }

    /// Sends a batch, whatever comes of it.
    pub async fn try_send(&mut self, calls: &[Call]) -> Result<BatchReply, CallError> {
        let encoded: Vec<Vec<u8>> = calls.iter().map(Call::encode).collect();
        self.try_send_encoded(&encoded).await
    }

    /// Sends a batch to an open cell.
    pub async fn send(&mut self, calls: &[Call]) -> Vec<Answer> {
        match self.try_send(calls).await.expect("an answer") {
            BatchReply::Open { now_ms, results, .. } => {
                assert_eq!(now_ms, self.now_ms, "the clock of the test is the clock of Redis");
                results.into_iter().map(answer).collect()
            }
            BatchReply::Closed(reason) => panic!("the gate is closed: {reason:?}"),
        }
    }

    /// Sends one op under a fresh key.
    pub async fn one(&mut self, user: &str, op: Op) -> Answer {
        let key = format!("one-{}", self.batches);
        self.send(&[call(user, &key, op)]).await.pop().expect("one answer")
    }

    /// Sends one op that must be decided now, and returns its event.
    pub async fn decided(&mut self, user: &str, op: Op) -> Event {
        match self.one(user, op).await {
            Answer::Decided(event) => event,
            other => panic!("not decided: {other:?}"),
        }
    }

    /// A whole hash; empty when there is none.
    pub async fn hash(&self, key: &str) -> BTreeMap<String, Bytes> {
        self.redis.plain().hgetall(key).await.expect("HGETALL")
    }

    /// A hash whose values are packed, each as JSON.
    pub async fn packed_hash(&self, key: &str) -> BTreeMap<String, serde_json::Value> {
        let unpack = |(field, packed): (String, Bytes)| {
            (field, rmp_serde::from_slice::<serde_json::Value>(&packed).expect("MessagePack"))
        };
        self.hash(key).await.into_iter().map(unpack).collect()
    }

    /// A hash whose values are text.
    pub async fn text_hash(&self, key: &str) -> BTreeMap<String, String> {
        let text = |(field, value): (String, Bytes)| (field, String::from_utf8(value.to_vec()).expect("text"));
        self.hash(key).await.into_iter().map(text).collect()
    }

    /// The idempotency records of a UTC day, by user and key.
    pub async fn idem(&self, day: i64) -> BTreeMap<String, (Request, Event)> {
        let records = self.hash(&self.keys.idem(day)).await;
        records.into_iter().map(|(record, event)| (record, request_and_event(&event))).collect()
    }

    /// A sorted set, its scores as Redis spells them.
    pub async fn sorted_set(&self, key: &str) -> BTreeMap<String, String> {
        self.redis.plain().zrange(key, 0_i64, -1_i64, None, false, None, true).await.expect("ZRANGE")
    }

    /// The log from the entry that starts at `first_seq`.
    pub async fn log_from(&self, first_seq: u64) -> Vec<LogEntry> {
        let start = format!("{first_seq}-0");
        let raw: Vec<(String, Vec<Bytes>)> =
            self.redis.plain().xrange(self.keys.log(), start, "+", None).await.expect("XRANGE");
        raw.into_iter().map(|(id, fields)| log_entry(id, &fields)).collect()
    }

    /// Names of all keys of the namespace.
    pub async fn key_names(&self) -> Vec<String> {
        let command = CustomCommand::new_static("KEYS", ClusterHash::FirstKey, false);
        let pattern = format!("{}:*", self.namespace);
        let mut names: Vec<String> = self.redis.plain().custom(command, vec![pattern]).await.expect("KEYS");
        names.sort_unstable();
        names
    }

    /// What a key holds. A hash is read member by member: DUMP would tell of its order too, which changes while it grows.
    async fn content(&self, name: &str) -> Bytes {
        let plain = self.redis.plain();
        let kind: String = plain.r#type(name).await.expect("TYPE");
        if kind == "hash" {
            let members: BTreeMap<String, Bytes> = plain.hgetall(name).await.expect("HGETALL");
            return format!("{members:?}").into();
        }
        plain.dump(name).await.expect("DUMP")
    }

    /// Everything the cell has in Redis, byte for byte, with the deadline of each key (ms; -1: none).
    pub async fn dump(&self) -> BTreeMap<String, (Bytes, i64)> {
        let mut dump = BTreeMap::new();
        for name in self.key_names().await {
            let bytes = self.content(&name).await;
            let deadline: i64 = self.redis.plain().pexpire_time(name.as_str()).await.expect("PEXPIRETIME");
            dump.insert(name, (bytes, deadline));
        }
        dump
    }
}

fn log_entry(id: String, fields: &[Bytes]) -> LogEntry {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    // The order counts too: `read_last` takes the events by their position.
    assert_eq!(fields.len(), 6, "entry {id}");
    let names: Vec<String> = fields.iter().step_by(2).map(text).collect();
    assert_eq!(names, ["prev", "nonce", "events"], "entry {id}");
    let events = split(&fields[5]).expect("events");
    LogEntry {
        prev: text(&fields[1]),
        nonce: text(&fields[3]),
        events: events.into_iter().map(request_and_event).collect(),
        id,
    }
}

/// Both halves of a packed event `[fingerprint, key, type, version, [fields]]`.
fn request_and_event(packed: &[u8]) -> (Request, Event) {
    let mut rest = packed;
    let members = rmp::decode::read_array_len(&mut rest).expect("an array");
    assert_eq!(members, 5, "members of an event");
    let (fingerprint, rest) = rmp::decode::read_str_from_slice(rest).expect("a fingerprint");
    let (key, _) = rmp::decode::read_str_from_slice(rest).expect("a key");
    let request = Request { fingerprint: fingerprint.to_owned(), key: key.to_owned() };
    (request, Event::decode(packed).expect("an event"))
}

/// What a result says, decoded.
pub fn answer(result: OpResult) -> Answer {
    match result {
        OpResult::Done { event, replayed } => {
            let event = Event::decode(&event).expect("an event");
            if replayed { Answer::Replayed(event) } else { Answer::Decided(event) }
        }
        OpResult::Refused(refusal) => Answer::Refused(refusal),
        OpResult::Unknown(code) => panic!("{code} is in no list of refusals"),
    }
}

/// The answer to an op that was refused; `details` is an object.
pub fn refused(code: Refused, details: serde_json::Value) -> Answer {
    match details {
        serde_json::Value::Object(details) => Answer::Refused(Refusal { code, details }),
        other => panic!("details are an object, not {other}"),
    }
}

/// A user.
pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}

/// A call whose fingerprint is that of its op.
pub fn call(user_name: &str, key: &str, op: Op) -> Call {
    Call { user: user(user_name), key: key.to_owned(), fingerprint: Fingerprint::new("test", "/", &op), op }
}

/// A call's request, as events name it.
pub fn request_of(call: &Call) -> Request {
    Request { fingerprint: call.fingerprint.as_str().to_owned(), key: call.key.clone() }
}

/// What `place_order` and `reserve_order` take.
pub fn order(items: &[(ProductId, u32)]) -> PlaceOrder {
    let items = items.iter().map(|&(product, quantity)| OrderItem { product, quantity }).collect();
    PlaceOrder { items: Some(items), ..PlaceOrder::default() }
}

/// `place_order` of a single product.
pub fn buy(product: ProductId, quantity: u32) -> Op {
    Op::PlaceOrder(order(&[(product, quantity)]))
}

/// `reserve_order`.
pub fn reserve(order: PlaceOrder) -> Op {
    ReserveOrder(order).into()
}

/// `pay_order`.
pub fn pay(order: u64, method: PaymentMethod, amount: u64) -> Op {
    PayOrder { order, method, amount }.into()
}

/// `settle_order`.
pub fn settle(order: u64, verdict: Verdict) -> Op {
    SettleOrder { order, verdict }.into()
}

/// `cancel_order`.
pub fn cancel(order: u64, paid: Option<PaidOrder>) -> Op {
    CancelOrder { order, paid }.into()
}

/// `expire_order`.
pub fn expire(order: u64) -> Op {
    ExpireOrder { order }.into()
}

/// The order that an event confirmed, as `cancel_order` takes it.
pub fn paid(event: &Event) -> PaidOrder {
    let line = |line: &OrderLine| {
        PaidLine(line.product, line.name.clone(), line.price, line.quantity, line.discount, line.counted)
    };
    match event {
        Event::OrderConfirmed(order) => PaidOrder {
            user: order.user.clone(),
            created: order.at,
            expires: None,
            total: order.total,
            discount: order.discount,
            final_amount: order.final_amount,
            method: order.method,
            day: order.day.clone(),
            paid_at: order.at,
            payment: order.seq,
            address: order.address.clone(),
            coupons: order.coupons.clone(),
            items: order.items.iter().map(line).collect(),
        },
        Event::OrderChanged(order) if order.status == OrderStatus::Confirmed => PaidOrder {
            user: order.user.clone(),
            created: order.created,
            expires: order.expires,
            total: order.total,
            discount: order.discount,
            final_amount: order.final_amount,
            method: order.method.expect("it is paid"),
            day: order.day.clone().expect("it is paid"),
            paid_at: order.paid_at.expect("it is paid"),
            payment: order.payment.expect("it is paid"),
            address: order.address.clone(),
            coupons: order.coupons.clone(),
            items: order.items.iter().map(line).collect(),
        },
        other => panic!("this confirmed no order: {other:?}"),
    }
}

/// `charge_balance`.
pub fn charge(amount: i64) -> Op {
    Op::ChargeBalance(ChargeBalance { amount })
}

/// `open_charge`.
pub fn open_charge(amount: i64) -> Op {
    OpenCharge { amount, method: None }.into()
}

/// `settle_charge`.
pub fn settle_charge(charge: u64, verdict: Verdict) -> Op {
    SettleCharge { charge, verdict }.into()
}

/// `put_coupon` that creates: ten of them, each valid for a week.
pub fn new_coupon(name: &str, discount: DiscountType, value: u64) -> PutCoupon {
    PutCoupon {
        name: Some(name.to_owned()),
        kind: Some(CouponType::Cart),
        discount: Some(discount),
        value: Some(value),
        total: Some(10),
        valid_days: Some(7),
        ..PutCoupon::default()
    }
}

/// `put_coupon` that changes nothing yet.
pub fn patch_coupon(coupon: CouponId) -> PutCoupon {
    PutCoupon { coupon: Some(coupon), ..PutCoupon::default() }
}

/// `issue_coupon`.
pub fn issue(coupon: CouponId) -> Op {
    IssueCoupon { coupon }.into()
}

/// `put_cart` that sets the units of a product.
pub fn put_cart(product: ProductId, quantity: u32) -> Op {
    PutCart { product: Some(product), quantity: Some(quantity), add: false }.into()
}

/// `put_cart` that adds units of a product.
pub fn add_to_cart(product: ProductId, quantity: u32) -> Op {
    PutCart { product: Some(product), quantity: Some(quantity), add: true }.into()
}

/// `put_cart` that clears the cart.
pub fn clear_cart() -> Op {
    PutCart::default().into()
}

/// `request_restock`.
pub fn request_restock(product: ProductId, email: &str) -> Op {
    RequestRestock { product, email: email.to_owned() }.into()
}

/// `adjust_stock`.
pub fn adjust(product: ProductId, delta: i64) -> Op {
    Op::AdjustStock(AdjustStock { product, delta })
}

/// `put_product` that creates.
pub fn new_product(name: &str, price: u64, stock: u64) -> PutProduct {
    PutProduct { name: Some(name.to_owned()), price: Some(price), stock: Some(stock), ..PutProduct::default() }
}

/// `put_product` that changes nothing yet.
pub fn patch(product: ProductId) -> PutProduct {
    PutProduct { product: Some(product), ..PutProduct::default() }
}
