//! A rush of made-up buyers, for `flashsale dev`: through the same lane as everybody's orders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
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

/// Ops of a rush under way.
const OPS_MAX: usize = 64;

/// Charges that a buyer may need for one unit; what costs more is not bought.
const CHARGES_MAX: usize = 10;

/// What a rush is to do: every buyer charges his balance, and then all of them want one unit.
#[derive(Debug)]
pub struct Plan {
    product: ProductId,
    buyers: u32,
    charges: Vec<i64>,
}

impl Plan {
    /// For a product of this price.
    pub fn new(config: &Config, product: ProductId, price: u64, buyers: u32) -> Self {
        Self { product, buyers, charges: charges(price, config.charge_unit, config.charge_max) }
    }

    /// New ones every time: whoever bought in an earlier rush may have reached his limit.
    fn users(&self) -> Vec<UserId> {
        let run = format!("{:06x}", rand::random::<u32>() & 0x00ff_ffff);
        (1..=self.buyers).filter_map(|n| UserId::parse(&format!("rush-{run}-{n}"))).collect()
    }
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
    #[serde(skip)]
    times: Vec<Duration>,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        Self {
            product_id: plan.product,
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

    fn note(&mut self, code: Option<&'static str>, took: Duration) {
        self.answered += 1;
        self.times.push(took);
        match code {
            None => self.accepted += 1,
            Some(code) => *self.refused.entry(code).or_default() += 1,
        }
    }

    fn end(&mut self, took: Duration) {
        self.times.sort_unstable();
        self.is_over = true;
        self.seconds = Some(took.as_secs_f64());
        self.p50_ms = self.percentile(50);
        self.p99_ms = self.percentile(99);
    }

    /// Of the sorted times, in ms.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let place = (self.times.len() * percent).div_ceil(100).max(1) - 1;
        self.times.get(place).map(|time| time.as_secs_f64() * 1_000.0)
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
    let charges = Arc::new(plan.charges);
    stream::iter(users.clone())
        .for_each_concurrent(OPS_MAX, |user| charge(engine.clone(), user, charges.clone(), progress.clone()))
        .await;
    let started = Instant::now();
    let product = plan.product;
    stream::iter(users)
        .for_each_concurrent(OPS_MAX, |user| order(engine.clone(), user, product, progress.clone()))
        .await;
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
    change(&progress, |progress| progress.note(code, started.elapsed()));
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

    #[test]
    fn buyers_are_new_every_time() {
        let plan = Plan { product: 1, buyers: 3, charges: Vec::new() };
        let (first, second) = (plan.users(), plan.users());
        assert_eq!((first.len(), second.len()), (3, 3));
        assert!(first.iter().all(|user| user.as_str().starts_with("rush-") && !second.contains(user)));
    }

    #[test]
    fn progress_adds_up() {
        let plan = Plan { product: 7, buyers: 100, charges: Vec::new() };
        let mut progress = Progress::new(&plan);
        for ms in 1..=100 {
            let code = (ms > 40).then_some("INSUFFICIENT_STOCK");
            progress.note(code, Duration::from_millis(ms));
        }
        progress.end(Duration::from_millis(500));
        let json = serde_json::to_value(&progress).expect("plain data");
        assert_eq!(json["productId"], 7);
        assert_eq!((&json["accepted"], &json["refused"]["INSUFFICIENT_STOCK"]), (&40.into(), &60.into()));
        assert_eq!((&json["p50Ms"], &json["p99Ms"], &json["seconds"]), (&50.0.into(), &99.0.into(), &0.5.into()));
        assert!(json["isOver"] == true && json.get("times").is_none());
        assert!(Progress::new(&plan).percentile(99).is_none());
    }
}
