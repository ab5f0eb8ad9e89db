//! A rush of made-up buyers, for `flashsale dev`: through the same lane as everybody's orders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Config;
use crate::engine::call::{Call, Fingerprint};
use crate::engine::op::{ChargeBalance, Op, OrderItem, PlaceOrder, ProductId};
use crate::engine::user::UserId;
use crate::engine::{Engine, EngineError};

/// Buyers in one rush.
pub const BUYERS_MAX: u32 = 1_000;

/// Seconds over which the orders of one rush may come.
pub const SECONDS_MAX: u32 = 60;

/// Ops of a rush under way.
const OPS_MAX: usize = 64;

/// Charges that a buyer may need for one unit; what costs more is not bought.
const CHARGES_MAX: usize = 10;

/// How far back [`Recent`] looks: as far as the other times of the live page.
const RECENT: Duration = Duration::from_secs(10);

/// What a rush is to do: every buyer charges his balance, and then all of them want one unit, at once or over a time.
#[derive(Debug)]
pub struct Plan {
    product: ProductId,
    buyers: u32,
    charges: Vec<i64>,
    over: Duration,
}

impl Plan {
    /// For a product of this price; `seconds` is how long orders keep coming, 0 for all at once.
    pub fn new(config: &Config, product: ProductId, price: u64, buyers: u32, seconds: u32) -> Self {
        let charges = charges(price, config.charge_unit, config.charge_max);
        Self { product, buyers, charges, over: Duration::from_secs(seconds.into()) }
    }

    /// New ones every time: whoever bought in an earlier rush may have reached his limit.
    fn users(&self) -> Vec<UserId> {
        let run = format!("{:06x}", rand::random::<u32>() & 0x00ff_ffff);
        (1..=self.buyers).filter_map(|n| UserId::parse(&format!("rush-{run}-{n}"))).collect()
    }
}

/// When each buyer orders, counted from when the first may: everybody has an equal share of the time, and orders somewhere
/// in it (`chance` is from 0 to 1), so that orders come evenly but not like clockwork.
fn moments(buyers: u32, over: Duration, mut chance: impl FnMut() -> f64) -> Vec<Duration> {
    (0..buyers).map(|n| over.mul_f64((f64::from(n) + chance()) / f64::from(buyers))).collect()
}

/// Amounts that make up a price, each of which may be charged.
fn charges(price: u64, unit: u64, most: u64) -> Vec<i64> {
    let most = most - most % unit;
    let mut left = price.div_ceil(unit) * unit;
    let mut charges = Vec::new();
    while left > 0 && most > 0 && charges.len() < CHARGES_MAX {
        let amount = left.min(most);
        left -= amount;
        charges.push(i64::try_from(amount).unwrap_or(i64::MAX));
    }
    charges
}

/// How far a rush is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    product_id: ProductId,
    /// Tells one rush from another, ms since 1970.
    started_at: i64,
    buyers: u32,
    is_over: bool,
    /// Buyers who have charged.
    charged: u32,
    /// Buyers who have their answer.
    answered: u32,
    accepted: u32,
    /// By code; what the service failed too.
    refused: BTreeMap<&'static str, u32>,
    /// All orders together, once it is over.
    seconds: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// When each answer came, and how long it took.
    #[serde(skip)]
    times: Vec<(Instant, Duration)>,
}

/// How long the orders took that were answered lately.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recent {
    count: usize,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Recent {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { count: times.len(), p50_ms: percentile(&times, 50), p99_ms: percentile(&times, 99) }
    }
}

/// Of sorted times, in ms.
fn percentile(times: &[Duration], percent: usize) -> Option<f64> {
    let place = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(place).map(|time| time.as_secs_f64() * 1_000.0)
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        Self {
            product_id: plan.product,
            started_at: Timestamp::now().as_millisecond(),
            buyers: plan.buyers,
            is_over: false,
            charged: 0,
            answered: 0,
            accepted: 0,
            refused: BTreeMap::new(),
            seconds: None,
            p50_ms: None,
            p99_ms: None,
            times: Vec::new(),
        }
    }

    fn note(&mut self, code: Option<&'static str>, at: Instant, took: Duration) {
        self.answered += 1;
        self.times.push((at, took));
        match code {
            None => self.accepted += 1,
            Some(code) => *self.refused.entry(code).or_default() += 1,
        }
    }

    fn end(&mut self, took: Duration) {
        let all = Recent::new(self.times.iter().map(|(_, took)| *took).collect());
        self.is_over = true;
        self.seconds = Some(took.as_secs_f64());
        self.p50_ms = all.p50_ms;
        self.p99_ms = all.p99_ms;
    }

    /// What was answered within [`RECENT`] before `now`.
    pub(super) fn recent(&self, now: Instant) -> Recent {
        let is_recent = |at: Instant| now.saturating_duration_since(at) <= RECENT;
        Recent::new(self.times.iter().filter(|(at, _)| is_recent(*at)).map(|(_, took)| *took).collect())
    }
}

/// The rush that is under way, or the last one.
#[derive(Default)]
pub(super) struct Rushes(Mutex<Option<Rush>>);

struct Rush {
    progress: Arc<Mutex<Progress>>,
    task: JoinHandle<()>,
}

impl Rushes {
    /// Starts a rush unless one is under way.
    pub(super) fn start(&self, engine: Engine, plan: Plan, closed: CancellationToken) -> bool {
        let mut current = self.0.lock().expect("nobody panics while holding it");
        if current.as_ref().is_some_and(|rush| !rush.task.is_finished()) {
            return false;
        }
        let progress = Arc::new(Mutex::new(Progress::new(&plan)));
        let rush = run(engine, plan, progress.clone());
        // What holds on to the lanes must not outlive the listeners.
        let task = tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = rush => {}
            }
        });
        *current = Some(Rush { progress, task });
        true
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Option<Progress> {
        let current = self.0.lock().expect("nobody panics while holding it");
        current.as_ref().map(|rush| rush.progress.lock().expect("nobody panics while holding it").clone())
    }
}

async fn run(engine: Engine, plan: Plan, progress: Arc<Mutex<Progress>>) {
    let users = plan.users();
    let moments = moments(plan.buyers, plan.over, rand::random::<f64>);
    let charges = Arc::new(plan.charges);
    stream::iter(users.clone())
        .for_each_concurrent(OPS_MAX, |user| charge(engine.clone(), user, charges.clone(), progress.clone()))
        .await;
    let started = Instant::now();
    let product = plan.product;
    // Who is not due yet takes nobody's place: only those who order count for the bound.
    let due = stream::iter(users.into_iter().zip(moments)).then(|(user, moment)| async move {
        if !moment.is_zero() {
            tokio::time::sleep_until((started + moment).into()).await;
        }
        user
    });
    due.for_each_concurrent(OPS_MAX, |user| order(engine.clone(), user, product, progress.clone())).await;
    change(&progress, |progress| progress.end(started.elapsed()));
}

/// Who cannot charge is refused when he orders.
async fn charge(engine: Engine, user: UserId, charges: Arc<Vec<i64>>, progress: Arc<Mutex<Progress>>) {
    for amount in charges.as_slice() {
        if submit(&engine, &user, ChargeBalance { amount: *amount }).await.is_err() {
            return;
        }
    }
    change(&progress, |progress| progress.charged += 1);
}

async fn order(engine: Engine, user: UserId, product: ProductId, progress: Arc<Mutex<Progress>>) {
    let order = PlaceOrder { items: Some(vec![OrderItem { product, quantity: 1 }]), ..PlaceOrder::default() };
    let started = Instant::now();
    let code = submit(&engine, &user, order).await.err();
    let at = Instant::now();
    change(&progress, |progress| progress.note(code, at, at.duration_since(started)));
}

/// Has the engine decide, under a fresh key; an error is the code of the refusal.
async fn submit(engine: &Engine, user: &UserId, op: impl Into<Op>) -> Result<(), &'static str> {
    let call = Call {
        user: user.clone(),
        key: Uuid::new_v4().to_string(),
        fingerprint: Fingerprint::new("POST /live/rush", "/live/rush", &()),
        op: op.into(),
    };
    match engine.submit(&call).await {
        Ok(_) => Ok(()),
        Err(EngineError::Refused(refusal)) => Err(refusal.code.code()),
        Err(EngineError::Unavailable(_)) => Err("SERVICE_UNAVAILABLE"),
        Err(EngineError::OutcomeUnknown) => Err("OUTCOME_UNKNOWN"),
        Err(EngineError::Failed(_)) => Err("INTERNAL_ERROR"),
    }
}

fn change(progress: &Mutex<Progress>, change: impl FnOnce(&mut Progress)) {
    change(&mut progress.lock().expect("nobody panics while holding it"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_make_up_the_price_in_amounts_that_may_be_charged() {
        assert_eq!(charges(59_000, 100, 1_000_000), [59_000]);
        assert_eq!(charges(59_001, 100, 1_000_000), [59_100]);
        assert_eq!(charges(2_500, 100, 1_050), [1_000, 1_000, 500]);
        assert_eq!(charges(0, 100, 1_000_000), [0_i64; 0]);
        assert_eq!(charges(100, 100, 99), [0_i64; 0]);
        assert_eq!(charges(u64::from(u32::MAX), 1, 1).len(), CHARGES_MAX);
    }

    fn plan(product: ProductId, buyers: u32) -> Plan {
        Plan { product, buyers, charges: Vec::new(), over: Duration::ZERO }
    }

    #[test]
    fn orders_come_evenly_over_the_time_and_in_their_order() {
        let ms = |moments: &[Duration]| -> Vec<u128> { moments.iter().map(Duration::as_millis).collect() };
        let four = |over, chance: f64| ms(&moments(4, Duration::from_secs(over), || chance));
        assert_eq!(four(10, 0.0), [0, 2_500, 5_000, 7_500]);
        assert_eq!(four(10, 0.5), [1_250, 3_750, 6_250, 8_750]);
        // At once.
        assert_eq!(four(0, 0.5), [0; 4]);
        let over = Duration::from_secs(SECONDS_MAX.into());
        let all = moments(BUYERS_MAX, over, rand::random::<f64>);
        assert!(all.len() == 1_000 && all.is_sorted() && all.iter().all(|moment| *moment <= over));
        // Everybody keeps to his share of 60 ms.
        assert!(ms(&all).iter().zip(0..).all(|(at, n)| (60 * n..=60 * (n + 1)).contains(at)));
        assert!(moments(0, over, || 0.5).is_empty());
    }

    #[test]
    fn buyers_are_new_every_time() {
        let plan = plan(1, 3);
        let (first, second) = (plan.users(), plan.users());
        assert_eq!((first.len(), second.len()), (3, 3));
        assert!(first.iter().all(|user| user.as_str().starts_with("rush-") && !second.contains(user)));
    }

    #[test]
    fn progress_adds_up() {
        let mut progress = Progress::new(&plan(7, 100));
        let start = Instant::now();
        for ms in 1..=100 {
            let code = (ms > 40).then_some("INSUFFICIENT_STOCK");
            // One every second, the slower the later.
            progress.note(code, start + Duration::from_secs(ms), Duration::from_millis(ms));
        }
        let recent = |second| {
            let recent = progress.recent(start + Duration::from_secs(second));
            serde_json::to_value(&recent).expect("plain data")
        };
        assert_eq!(recent(100), serde_json::json!({"count": 11, "p50Ms": 95.0, "p99Ms": 100.0}));
        assert_eq!(recent(111), serde_json::json!({"count": 0, "p50Ms": null, "p99Ms": null}));
        progress.end(Duration::from_millis(500));
        let json = serde_json::to_value(&progress).expect("plain data");
        assert_eq!(json["productId"], 7);
        assert_eq!((&json["accepted"], &json["refused"]["INSUFFICIENT_STOCK"]), (&40.into(), &60.into()));
        assert_eq!((&json["p50Ms"], &json["p99Ms"], &json["seconds"]), (&50.0.into(), &99.0.into(), &0.5.into()));
        assert!(json["isOver"] == true && json.get("times").is_none());
        assert!(percentile(&[], 99).is_none());
    }
}
