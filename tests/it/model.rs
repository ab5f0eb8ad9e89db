//! The model test: long random sequences of ops on a real Redis, in batches of every size, against the plain model of
//! `engine/model.rs`: outcome by outcome, column by column, and the log entry by entry. Every seed is printed;
//! `FLASHSALE_TEST_SEED` repeats one.

use std::collections::BTreeMap;
use std::fmt::Debug;

use flashsale::engine::batch::Rules;
use flashsale::engine::call::{Call, Fingerprint};
use flashsale::engine::event::Event;
use flashsale::engine::model::{Answer, Model, NUMBER_MAX, Product};
use flashsale::engine::op::{Change, Op, PlaceOrder, ProductId, ProductStatus, PutProduct, ShippingAddress};
use flashsale::engine::reads::Account;
use flashsale::engine::refusal::Refused;
use flashsale::engine::user::UserId;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::engine::{
    DAY_MS, HOUR_MS, LogEntry, RULES, Request, START_MS, TestCell, adjust, business_day, call, charge, new_product,
    order, patch, request_of, user,
};

/// Every run sends one batch of each size up to this, in random order: 20,100 ops.
const BATCH_OPS_MAX: usize = 200;

/// Enough for 100,000 ops; consecutive seeds, so that every set of rules is among them.
const RUNS: u64 = 5;

/// Batches between two comparisons of all columns.
const CHECK_EVERY: usize = 20;

/// Few, so that all of them are hot.
const PRODUCTS_AT_FIRST: usize = 6;
const PRODUCTS_MAX: ProductId = 9;

/// Business days of the default zone end at 15:00 UTC.
const BUSINESS_DAY_ENDS_MS: i64 = 15 * HOUR_MS;

const STARTS_FROM_NOW_MS: [i64; 6] = [-HOUR_MS, -HOUR_MS, -1, 0, 1, HOUR_MS];
const ENDS_FROM_NOW_MS: [i64; 8] = [-1, 0, 1, HOUR_MS, 2 * HOUR_MS, DAY_MS, DAY_MS, 2 * DAY_MS];
const PRICES: [u64; 10] = [0, 1, 100, 100, 990, 990, 15_000, 1_000_000, NUMBER_MAX / 2, NUMBER_MAX];
const STOCKS: [u64; 6] = [0, 1, 10, 100, 1_000, NUMBER_MAX];

#[tokio::test]
async fn the_engine_answers_and_stores_what_the_model_does() {
    let first_seed = crate::support::seed("model");
    let mut tally = BTreeMap::new();
    for run in 0..RUNS {
        Run::start(first_seed.wrapping_add(run)).await.play(&mut tally).await;
    }
    let ops: u64 = tally.values().sum();
    eprintln!("model: {ops} ops: {tally:?}");
    assert!(ops >= 100_000, "{ops} ops are too few");
    // A generator that never reaches an outcome proves nothing about it.
    let refusals = Op::NAMES.iter().flat_map(|op| Op::refusals(op)).chain(&Refused::COMMON).map(|code| code.code());
    let events = ["order_confirmed", "balance_charged", "stock_adjusted", "product_put", "replayed"];
    for outcome in refusals.chain(events) {
        assert!(tally.contains_key(outcome), "seed {first_seed}: {outcome} never happened");
    }
}

/// Names the seed whatever it is that fails.
struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("model: this run failed; repeat it with FLASHSALE_TEST_SEED={}", self.0);
        }
    }
}

/// One seed, on one fresh cell.
struct Run {
    seed: PrintSeed,
    generator: Generator,
    cell: TestCell,
    model: Model,
    batches: usize,
    /// What the log must have gained since the last check.
    logged: Vec<LogEntry>,
    checked_seq: u64,
    last_nonce: String,
    ledger: Ledger,
    /// UTC day and idempotency record → the request that made it, as Redis spells it.
    requests: BTreeMap<(i64, String), Request>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let mut cell = TestCell::open("model").await;
        cell.rules = rules(seed);
        Self {
            seed: PrintSeed(seed),
            generator: Generator::new(seed),
            cell,
            model: Model::default(),
            batches: 0,
            logged: Vec::new(),
            checked_seq: 0,
            last_nonce: String::new(),
            ledger: Ledger::default(),
            requests: BTreeMap::new(),
        }
    }

    async fn play(mut self, tally: &mut BTreeMap<&'static str, u64>) {
        self.cell.set_now(START_MS + 7 * HOUR_MS).await;
        let calls: Vec<Call> = (0..PRODUCTS_AT_FIRST)
            .map(|i| call("admin", &format!("first-{i}"), Op::PutProduct(new_product("처음", 100, 100))))
            .collect();
        self.send(&calls, tally).await;
        let mut sizes: Vec<usize> = (1..=BATCH_OPS_MAX).collect();
        sizes.shuffle(&mut self.generator.rng);
        for size in sizes {
            let now_ms = self.generator.later(self.cell.now_ms());
            self.cell.set_now(now_ms).await;
            self.cell.skew_ms = self.generator.skew();
            let at = Situation { model: &self.model, rules: self.cell.rules, now_ms };
            let calls: Vec<Call> = (0..size).map(|_| self.generator.next_call(at)).collect();
            self.send(&calls, tally).await;
            self.commit_some().await;
            if self.batches.is_multiple_of(CHECK_EVERY) {
                self.check().await;
            }
        }
        self.check().await;
        self.check_key_names().await;
    }

    fn place(&self) -> String {
        format!("seed {}, batch {}", self.seed.0, self.batches)
    }

    /// Sends one batch and compares every outcome.
    async fn send(&mut self, calls: &[Call], tally: &mut BTreeMap<&'static str, u64>) {
        let answers = self.cell.send(calls).await;
        self.batches += 1;
        let (place, now_ms) = (self.place(), self.cell.now_ms());
        let day = business_day(now_ms);
        let mut events = Vec::new();
        for (i, (call, answer)) in calls.iter().zip(answers).enumerate() {
            let expected = self.model.apply(now_ms, &day, &self.cell.rules, call);
            assert_eq!(answer, expected, "{place}, op {i} at {now_ms}: Redis against model\n{call:?}");
            let outcome = match &expected {
                Answer::Decided(event) => event.name(),
                Answer::Replayed(_) => "replayed",
                Answer::Refused(refusal) => refusal.code.code(),
            };
            *tally.entry(outcome).or_default() += 1;
            if let Answer::Decided(event) = expected {
                let (record, request) = (format!("{} {}", call.user, call.key), request_of(call));
                self.requests.insert((now_ms.div_euclid(DAY_MS), record), request.clone());
                events.push((request, event));
            }
        }
        if let Some((_, first)) = events.first() {
            let (id, nonce) = (format!("{}-0", first.seq()), self.cell.nonce.clone());
            let prev = std::mem::replace(&mut self.last_nonce, nonce.clone());
            self.logged.push(LogEntry { id, prev, nonce, events });
        }
    }

    /// Moves `committed`, so that the backlog is sometimes full and sometimes not.
    async fn commit_some(&mut self) {
        if self.generator.chance(40) {
            let waiting = self.model.seq - self.model.committed;
            self.model.committed = self.model.seq - self.generator.rng.random_range(0..=waiting);
            self.cell.note_committed(self.model.committed).await;
        }
    }

    /// Compares every column, the log and the sums.
    async fn check(&mut self) {
        let place = self.place();
        let (model, keys) = (&self.model, &self.cell.keys);

        let status = self.cell.status().await;
        let meta = [status.epoch, status.seq, status.committed, status.product_last, status.catalog_version];
        let expected = [1, model.seq, model.committed, u64::from(model.product_last), model.catalog_version];
        assert_eq!(meta, expected, "{place}: epoch, seq, committed, product_last, catalog_version");
        assert_eq!(status.fenced, "", "{place}");

        let accounts = self.cell.packed_hash(&keys.accounts()).await;
        let account = |(user, account): (&UserId, &Account)| {
            (user.to_string(), json!({ "balance": account.balance, "used": account.used }))
        };
        same(&place, "accounts", &accounts, &model.accounts.iter().map(account).collect());
        let stock = self.cell.text_hash(&keys.stock()).await;
        same(&place, "stock", &stock, &as_text(&model.stock));
        let bought =
            model.bought.iter().map(|((user, product), units)| (format!("{user} {product}"), units.to_string()));
        same(&place, "bought", &self.cell.text_hash(&keys.bought()).await, &bought.collect());
        let catalog = model.catalog.iter().map(|(id, product)| (id.to_string(), packed_product(product)));
        same(&place, "catalog", &self.cell.packed_hash(&keys.catalog()).await, &catalog.collect());
        for (day, records) in &model.records {
            let records = records.iter().map(|((user, key), record)| {
                let name = format!("{user} {key}");
                let request = self.requests[&(*day, name.clone())].clone();
                (name, (request, record.event.clone()))
            });
            same(&place, "idem", &self.cell.idem(*day).await, &records.collect());
        }
        for (day, sold) in &model.sales {
            same(&place, "sales", &self.cell.sorted_set(&keys.sales(day)).await, &as_text(sold));
        }

        let log = self.cell.log_from(self.checked_seq + 1).await;
        assert_eq!(log.len(), self.logged.len(), "{place}: entries of the log");
        for (entry, expected) in log.iter().zip(&self.logged) {
            assert_eq!(entry, expected, "{place}: an entry of the log");
        }
        for (_, event) in log.iter().flat_map(|entry| &entry.events) {
            self.checked_seq += 1;
            assert_eq!(event.seq(), self.checked_seq, "{place}: sequence numbers have no gap");
            self.ledger.add(event);
        }
        self.logged.clear();
        self.ledger.check(&place, &stock, &accounts);
    }

    /// Nothing else was written.
    async fn check_key_names(&self) {
        let (model, keys) = (&self.model, &self.cell.keys);
        let mut expected = vec![keys.meta(), keys.log(), keys.stock(), keys.catalog()];
        expected.extend((!model.accounts.is_empty()).then(|| keys.accounts()));
        expected.extend((!model.bought.is_empty()).then(|| keys.bought()));
        expected.extend(model.records.keys().map(|day| keys.idem(*day)));
        expected.extend(model.sales.keys().map(|day| keys.sales(day)));
        expected.sort_unstable();
        assert_eq!(self.cell.key_names().await, expected, "{}: keys", self.place());
    }
}

/// Rules that bring the bounds near. By the seed's remainder, so that consecutive seeds have all of them.
fn rules(seed: u64) -> Rules {
    let rules = match seed % 3 {
        0 => Rules { balance_max: 20_000_000, ..RULES },
        1 => Rules { charge_unit: 1, charge_max: NUMBER_MAX, balance_max: NUMBER_MAX, ..RULES },
        _ => Rules { charge_unit: 1_000, charge_max: 50_000, balance_max: 1_000_000, ..RULES },
    };
    if seed.is_multiple_of(2) { rules } else { Rules { backlog_max: 200, ..rules } }
}

fn same<V: PartialEq + Debug>(place: &str, column: &str, redis: &BTreeMap<String, V>, model: &BTreeMap<String, V>) {
    for field in redis.keys().chain(model.keys()) {
        assert_eq!(redis.get(field), model.get(field), "{place}: {column} {field:?}: Redis against model");
    }
}

fn as_text(column: &BTreeMap<ProductId, u64>) -> BTreeMap<String, String> {
    column.iter().map(|(product, units)| (product.to_string(), units.to_string())).collect()
}

fn packed_product(product: &Product) -> Value {
    let mut packed = json!({
        "name": product.name,
        "price": product.price,
        "status": product.status.as_str(),
        "version": product.version,
    });
    let optional = [
        ("limit", product.limit.map(Value::from)),
        ("starts", product.starts.map(Value::from)),
        ("ends", product.ends.map(Value::from)),
    ];
    for (member, value) in optional {
        if let Some(value) = value {
            packed[member] = value;
        }
    }
    packed
}

/// What came and went, from the events of the log alone.
#[derive(Default)]
struct Ledger {
    given: BTreeMap<String, i128>,
    sold: BTreeMap<String, i128>,
    charged: BTreeMap<String, i128>,
    paid: BTreeMap<String, i128>,
}

impl Ledger {
    fn add(&mut self, event: &Event) {
        match event {
            Event::OrderConfirmed(order) => {
                for item in &order.items {
                    *self.sold.entry(item.product.to_string()).or_default() += i128::from(item.quantity);
                }
                *self.paid.entry(order.user.to_string()).or_default() += i128::from(order.final_amount);
            }
            Event::BalanceCharged(charge) => {
                *self.charged.entry(charge.user.to_string()).or_default() += i128::from(charge.amount);
            }
            Event::StockAdjusted(adjustment) => {
                *self.given.entry(adjustment.product.to_string()).or_default() += i128::from(adjustment.delta);
            }
            Event::ProductPut(product) if product.created => {
                *self.given.entry(product.product.to_string()).or_default() += i128::from(product.stock);
            }
            Event::ProductPut(_) => {}
        }
    }

    /// Initial + adjustments = available + sold; charged - paid = balance; paid = used.
    fn check(&self, place: &str, stock: &BTreeMap<String, String>, accounts: &BTreeMap<String, Value>) {
        let of = |sums: &BTreeMap<String, i128>, name: &str| sums.get(name).copied().unwrap_or_default();
        assert!(self.given.keys().eq(stock.keys()), "{place}: products with stock");
        for (product, available) in stock {
            let available: i128 = available.parse().expect("a number");
            let sum = available + of(&self.sold, product);
            assert_eq!(of(&self.given, product), sum, "{place}: initial + adjustments = available + sold of {product}");
        }
        assert!(self.charged.keys().chain(self.paid.keys()).all(|user| accounts.contains_key(user)), "{place}: users");
        for (user, account) in accounts {
            let member = |name: &str| account[name].as_i64().map(i128::from).expect("a number");
            let (charged, paid) = (of(&self.charged, user), of(&self.paid, user));
            assert_eq!(charged - paid, member("balance"), "{place}: charges - payments = balance of {user}");
            assert_eq!(paid, member("used"), "{place}: payments = used total of {user}");
        }
    }
}

/// What a new op may look at, so that it comes near the bounds.
#[derive(Clone, Copy)]
struct Situation<'a> {
    model: &'a Model,
    rules: Rules,
    now_ms: i64,
}

/// Makes ops up.
struct Generator {
    rng: StdRng,
    users: Vec<UserId>,
    history: Vec<Call>,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let longest = "x".repeat(64);
        let users = ["a", "b", "7", "auth0|7", "kakao:1", "a.b@c-d_e", "admin", &longest].map(user).to_vec();
        Self { rng: StdRng::seed_from_u64(seed), users, history: Vec::new() }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100_u32) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    fn user(&mut self) -> UserId {
        self.users[self.rng.random_range(0..self.users.len())].clone()
    }

    /// The next moment: often soon, sometimes at the very edge of a UTC day or of a business day, sometimes days later.
    fn later(&mut self, now_ms: i64) -> i64 {
        let edge = |offset: i64| ((now_ms - offset).div_euclid(DAY_MS) + 1) * DAY_MS + offset;
        let next = match self.rng.random_range(0..20) {
            0..11 => now_ms + self.rng.random_range(0..2_000_i64),
            11..15 => now_ms + self.rng.random_range(0..HOUR_MS),
            15 => now_ms + self.rng.random_range(0..DAY_MS),
            16 | 17 => edge(0) + self.rng.random_range(-1..=1_i64),
            18 => edge(BUSINESS_DAY_ENDS_MS) + self.rng.random_range(-1..=1_i64),
            _ => now_ms + DAY_MS * self.rng.random_range(1..=3_i64),
        };
        next.max(now_ms)
    }

    /// The sender's clock is usually right, sometimes almost a day off.
    fn skew(&mut self) -> i64 {
        if self.chance(80) { 0 } else { self.rng.random_range(-23 * HOUR_MS..=23 * HOUR_MS) }
    }

    fn next_call(&mut self, at: Situation<'_>) -> Call {
        if !self.history.is_empty() && self.chance(12) {
            return self.repeat();
        }
        let user = self.user();
        let op = match self.rng.random_range(0..100) {
            0..58 => Op::PlaceOrder(self.order(at, &user)),
            58..78 => self.charge(at, &user),
            78..91 => self.adjust(at),
            _ => Op::PutProduct(self.put(at)),
        };
        // Visible characters that mean something to Redis or to Lua must mean nothing here.
        let prefix = self.pick(&["k", "k", "{c9}:", "~!@#$%^&*()[]?\\\"'", "%d--"]);
        let call = call(user.as_str(), &format!("{prefix}{}", self.history.len()), op);
        self.history.push(again(&call));
        call
    }

    /// A key that was used before: as it was, with another fingerprint, or by another user.
    fn repeat(&mut self) -> Call {
        let reach = if self.chance(80) { 300 } else { usize::MAX };
        let oldest = self.history.len().saturating_sub(reach);
        let index = self.rng.random_range(oldest..self.history.len());
        let mut call = again(&self.history[index]);
        match self.rng.random_range(0..8) {
            0 => call.fingerprint = Fingerprint::new("another", "/", &call.op),
            1 => call.user = self.user(),
            _ => {}
        }
        call
    }

    fn order(&mut self, at: Situation<'_>, user: &UserId) -> PlaceOrder {
        let lines = if self.chance(60) { 1 } else { self.rng.random_range(1..=6) };
        let mut products: Vec<ProductId> = (1..=at.model.product_last).collect();
        products.shuffle(&mut self.rng);
        products.truncate(lines);
        if self.chance(3) {
            products.push(at.model.product_last + 50);
        }
        if self.chance(3) {
            products.push(products[0]);
        }
        let items: Vec<_> = products.into_iter().map(|product| (product, self.quantity(at, user, product))).collect();
        let price = |product: &ProductId| at.model.catalog.get(product).map_or(0, |product: &Product| product.price);
        let total: u128 =
            items.iter().map(|(product, quantity)| u128::from(price(product)) * u128::from(*quantity)).sum();
        let total = u64::try_from(total).unwrap_or(NUMBER_MAX).min(NUMBER_MAX);
        let mut order = order(&items);
        order.final_amount = match self.rng.random_range(0..10) {
            0..4 => Some(total),
            4 => Some(total ^ 1),
            _ => None,
        };
        order.address = self.chance(20).then(|| self.address());
        order
    }

    fn quantity(&mut self, at: Situation<'_>, user: &UserId, product: ProductId) -> u32 {
        let stock = at.model.stock_of(product);
        let limit = at.model.catalog.get(&product).and_then(|product| product.limit);
        let left = limit.map_or(stock, |limit| limit.saturating_sub(at.model.bought_by(user, product)));
        let quantity = match self.rng.random_range(0..12) {
            0 => left,
            1 => left + 1,
            2 => stock,
            3 => stock + 1,
            4 => self.rng.random_range(1..=1_000_u64),
            _ => self.rng.random_range(1..=3_u64),
        };
        u32::try_from(quantity.clamp(1, 1_000)).expect("at most 1,000")
    }

    fn address(&mut self) -> ShippingAddress {
        let text = |text: &str| text.to_owned();
        ShippingAddress {
            recipient: text("홍길동"),
            phone: text("010-0000-0000"),
            line1: text("세종대로 1 \"\\\n"),
            line2: self.chance(50).then(|| text("")),
            city: self.chance(50).then(|| text("서울")),
            postal_code: text("04524"),
            country: text("KR"),
        }
    }

    fn charge(&mut self, at: Situation<'_>, user: &UserId) -> Op {
        let Rules { charge_unit: unit, charge_max: max, balance_max, .. } = at.rules;
        let room = balance_max - at.model.account_of(user).balance;
        let fits = room - room % unit;
        let amount = |amount: u64| i64::try_from(amount.min(NUMBER_MAX)).expect("it is below 2^53");
        charge(match self.rng.random_range(0..14) {
            0 => -amount(unit),
            1 => 0,
            2 => amount(max),
            3 => amount(max + unit),
            4 => amount(unit + 1),
            5 => amount(fits),
            6 => amount(fits + unit),
            _ => amount(unit * self.rng.random_range(1..=(max / unit).min(2_000))),
        })
    }

    fn adjust(&mut self, at: Situation<'_>) -> Op {
        let unknown = u32::from(self.chance(3)) * 50;
        let product = self.rng.random_range(1..=at.model.product_last) + unknown;
        let signed = |units: u64| i64::try_from(units).expect("it is below 2^53");
        let stock = at.model.stock_of(product);
        let delta = match self.rng.random_range(0..20) {
            0 => -signed(stock),
            1 => -signed(stock) - 1,
            2 => signed(NUMBER_MAX - stock),
            3 => signed(NUMBER_MAX - stock) + 1,
            4 => 0,
            5 | 6 => self.rng.random_range(-5..=-1_i64),
            // Back to something that sells out.
            7 | 8 if stock > 100_000 => 10 - signed(stock),
            _ => self.rng.random_range(1..=300_i64),
        };
        adjust(product, delta)
    }

    fn put(&mut self, at: Situation<'_>) -> PutProduct {
        let (name, price) = (self.pick(&["상품", "a", "\"\\ ]] --"]), self.pick(&PRICES));
        let stock = self.pick(&STOCKS);
        let mut put = if at.model.product_last < PRODUCTS_MAX && self.chance(2) {
            new_product(name, price, stock)
        } else {
            let unknown = u32::from(self.chance(3)) * 50;
            let mut put = patch(self.rng.random_range(1..=at.model.product_last) + unknown);
            put.name = self.chance(20).then(|| name.to_owned());
            put.price = self.chance(40).then_some(price);
            // Only a new product takes it.
            put.stock = self.chance(5).then_some(stock);
            put.status = self.chance(50).then(|| {
                if self.rng.random_range(0..12) == 0 { ProductStatus::Deleted } else { ProductStatus::Normal }
            });
            put
        };
        if self.chance(30) {
            put.limit =
                Some(if self.chance(60) { Change::Clear } else { Change::Set(self.rng.random_range(0..=100_u64)) });
        }
        if self.chance(30) {
            put.starts = Some(self.edge(70, at.now_ms, &STARTS_FROM_NOW_MS));
        }
        if self.chance(30) {
            put.ends = Some(self.edge(80, at.now_ms, &ENDS_FROM_NOW_MS));
        }
        put
    }

    /// An edge of a sale window near now, or none: mostly none, so that something is for sale.
    fn edge(&mut self, none_percent: u32, now_ms: i64, from_now_ms: &[i64]) -> Change<i64> {
        if self.chance(none_percent) { Change::Clear } else { Change::Set(now_ms + self.pick(from_now_ms)) }
    }
}

fn again(call: &Call) -> Call {
    Call { user: call.user.clone(), key: call.key.clone(), fingerprint: call.fingerprint.clone(), op: call.op.clone() }
}
