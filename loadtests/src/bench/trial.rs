//! One variant of the service on a namespace and a database of its own: loaded, measured, and checked at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flashsale::engine::ids::CellId;
use flashsale::metrics as names;
use flashsale::redis::keys::CellKeys;
use fred::clients::Client as Redis;
use fred::types::InfoKind;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client as Postgres;

use super::Bench;
use super::check::{self, Accepted, Expected, Violation};
use super::lag::{self, Lag, Sampler};
use super::plan::{COUPON_USERS, Plan};
use super::platform;
use super::servers::{self, Servers};
use super::service::{Service, Variant};
use super::shop::{self, SOLD_OUT_QUANTITY, Shop};
use super::wrk::{self, Load, Wrk};
use crate::shared::accounting::{Cpu, cpu};
use crate::shared::scrape::Scrape;

/// Label of events that the data platform acknowledged.
const DELIVERED: (&str, &str) = ("outcome", "delivered");

/// What wrk left in flight has long been answered after this.
const SETTLE: Duration = Duration::from_millis(500);

/// A service under load.
pub struct Trial<'a> {
    bench: &'a Bench,
    servers: &'a Servers,
    name: &'a str,
    service: Service,
    redis: Redis,
    postgres: Postgres,
    keys: CellKeys,
    shop: Shop,
    /// Orders, of all loads.
    orders: Accepted,
    /// Every coupon with its quantity.
    coupons: BTreeMap<u32, u64>,
    /// Coupons that were issued, of all loads.
    issues: Accepted,
}

/// Everything that is compared between the beginning and the end of a window.
struct Reading {
    redis: Cpu,
    postgres: Cpu,
    api: Cpu,
    scrape: Scrape,
    used_memory_bytes: f64,
}

/// What a window gave. CPU is in microseconds per accepted order.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// wrk's own count.
    pub wrk: Wrk,
    /// Ops per batch.
    pub batch_mean: f64,
    /// Redis itself.
    pub redis_us: f64,
    /// The children that Redis forks to rewrite its log.
    pub redis_rewrite_us: f64,
    /// The service, writer included.
    pub api_us: f64,
    /// PostgreSQL, all processes.
    pub postgres_us: f64,
    /// Memory of Redis per order.
    pub redis_bytes: f64,
    /// The writer when wrk's last answer was in.
    pub lag: Lag,
    /// From then until PostgreSQL had everything.
    pub drain_s: f64,
    /// Events that the data platform acknowledged in the window; 0: nobody tells it.
    pub forwarded_per_s: f64,
    /// Events that it had not acknowledged when wrk's last answer was in.
    pub untold: u64,
    /// From then until it had everything.
    pub told_s: f64,
}

/// What coupons gave.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredCoupons {
    /// wrk's own count while there were enough.
    pub wrk: Wrk,
    /// Coupons issued.
    pub issued_per_s: f64,
    /// Refusals of a coupon with none left.
    pub sold_out_per_s: f64,
}

impl<'a> Trial<'a> {
    /// Starts the service and opens the shop.
    pub async fn open(
        bench: &'a Bench,
        servers: &'a Servers,
        name: &'a str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let database_url = servers::create_database(&servers.postgres, name).await?;
        let redis_url = servers.redis.url();
        let variant = Variant { name, settings, redis_url: &redis_url, database_url: &database_url };
        let service = Service::start(bench, &variant).await?;
        let shop = service.explain(shop::open(bench, &service).await)?;
        Ok(Self {
            bench,
            servers,
            name,
            service,
            redis: servers.redis().await?,
            postgres: servers::connect(&database_url).await?,
            keys: CellKeys::new(name, CellId::new(0).context("cell 0 exists")?),
            shop,
            orders: Accepted::default(),
            coupons: BTreeMap::new(),
            issues: Accepted::default(),
        })
    }

    async fn load(&self, load: Load<'_>, duration: Duration) -> Result<Wrk> {
        self.service.explain(wrk::run(self.bench, self.service.public, load, duration).await)
    }

    async fn load_hot(&mut self, duration: Duration) -> Result<Wrk> {
        let wrk = self.load(Load::Orders(&self.shop.hot), duration).await?;
        self.orders.note(&wrk);
        Ok(wrk)
    }

    async fn drain(&self) -> Result<()> {
        self.service.explain(lag::drain(&self.redis, &self.keys, &self.postgres).await)
    }

    async fn scrape(&self) -> Result<Scrape> {
        self.service.explain(Scrape::of(self.service.operations).await)
    }

    async fn reading(&self) -> Result<Reading> {
        let memory = servers::info(&self.redis, InfoKind::Memory, "used_memory").await?;
        Ok(Reading {
            scrape: self.scrape().await?,
            used_memory_bytes: memory.parse()?,
            redis: cpu(self.servers.redis.pid())?,
            postgres: cpu(self.servers.postgres.pid())?,
            api: cpu(self.service.pid)?,
        })
    }

    /// Orders of the hot products. The window's costs are counted until PostgreSQL has every order of it, so that a
    /// writer that lags does not look cheap.
    pub async fn measure(&mut self, warm_up: Duration, window: Duration) -> Result<Measured> {
        self.load_hot(warm_up).await?;
        sleep(SETTLE).await;
        self.drain().await?;
        lag::drain_told(&self.postgres).await?;

        let before = self.reading().await?;
        let sampler = Sampler::start(self.redis.clone(), self.keys.clone());
        let wrk = self.load_hot(window).await?;
        let ended = Instant::now();
        let forwarded = self.scrape().await?.counted_since(&before.scrape, names::FORWARD_DELIVERIES, &[DELIVERED]);
        let logged = lag::logged(&self.redis, &self.keys).await?;
        let untold = lag::told(&self.postgres).await?.map_or(0, |told| logged.saturating_sub(told));
        let lag = sampler.lag(&self.redis, &self.keys, &self.postgres).await?;
        self.drain().await?;
        let drain_s = ended.elapsed().as_secs_f64();
        lag::drain_told(&self.postgres).await?;
        let told_s = ended.elapsed().as_secs_f64();
        let after = self.reading().await?;
        let measured = Measured::between(&before, &after, wrk, lag, drain_s);
        Ok(Measured { forwarded_per_s: wrk.per_s(forwarded), untold, told_s, ..measured })
    }

    /// Refusals per second of a product with none left.
    pub async fn sold_out(&self, window: Duration) -> Result<f64> {
        let labels = [("op", "place_order"), ("code", "INSUFFICIENT_STOCK")];
        self.refusals_per_s(Load::Orders(&[self.shop.sold_out]), window, &labels).await
    }

    /// Refusals per second. What is accepted all the same is not noted, so that the books tell.
    async fn refusals_per_s(&self, load: Load<'_>, window: Duration, labels: &[(&str, &str)]) -> Result<f64> {
        let before = self.scrape().await?;
        let wrk = self.load(load, window).await?;
        let refusals = self.scrape().await?.counted_since(&before, names::LANE_REFUSALS, labels);
        // The lesser of the two: wrk counts any answer that is no 2xx, the service counts what nobody waited for too.
        Ok(wrk.per_s(refusals.min(wrk.non_2xx as f64)))
    }

    /// Coupons, first come, first served: while there are enough, and of one with none left.
    pub async fn coupons(&mut self, plan: &Plan) -> Result<MeasuredCoupons> {
        let coupons = self.service.explain(shop::open_coupons(self.bench, &self.service).await)?;
        self.coupons = coupons.quantities().collect();
        self.issues.seen += SOLD_OUT_QUANTITY;
        self.issue(&coupons.warm_up, plan.coupons_warm_up).await?;
        let (wrk, issued_per_s) = self.issue(&coupons.window, plan.coupons).await?;
        let labels = [("op", "issue_coupon"), ("code", "COUPON_SOLD_OUT")];
        let sold_out = Load::Coupons(&[coupons.sold_out]);
        let sold_out_per_s = self.refusals_per_s(sold_out, plan.coupons_sold_out, &labels).await?;
        Ok(MeasuredCoupons { wrk, issued_per_s, sold_out_per_s })
    }

    /// Has coupons issued that nobody has yet, and says how many per second (the lesser count again). Afterwards
    /// PostgreSQL has them all.
    async fn issue(&mut self, coupons: &[u32], duration: Duration) -> Result<(Wrk, f64)> {
        let before = self.scrape().await?;
        let wrk = self.load(Load::Coupons(coupons), duration).await?;
        let after = self.scrape().await?;
        self.issues.note(&wrk);
        let counted =
            |name: &str, label: (&str, &str)| after.counted_since(&before, name, &[("op", "issue_coupon"), label]);
        let twice = counted(names::LANE_REFUSALS, ("code", "ALREADY_ISSUED"));
        ensure!(
            twice == 0.0,
            "too few coupons: {} for {COUPON_USERS} users do not last for {duration:?} on this machine; {twice} of \
             {} requests came from users who had the coupon already (see loadtests/src/bench/plan.rs)",
            coupons.len(),
            wrk.requests
        );
        let issued = counted(names::LANE_OPS, ("outcome", "done"));
        sleep(SETTLE).await;
        self.drain().await?;
        Ok((wrk, wrk.per_s(issued.min(wrk.accepted() as f64))))
    }

    /// Whether the data platform knows every event that it must know, and no other.
    pub async fn untold(&self, platform: SocketAddr) -> Result<Option<Violation>> {
        sleep(SETTLE).await;
        self.drain().await?;
        lag::drain_told(&self.postgres).await?;
        let told = platform::told(platform).await?.distinct;
        // Here every event is a transaction of a balance: a charge, or an order that was paid.
        let row = self.postgres.query_one("SELECT count(*) FROM balance_transactions", &[]).await?;
        let count = told.abs_diff(row.get::<_, i64>(0).try_into()?);
        let rule = "the data platform was told of every order and charge, and of nothing else".to_owned();
        Ok((count > 0).then_some(Violation { rule, count }))
    }

    /// Compares everything with everything, ends the service and drops the database.
    pub async fn close(self) -> Result<Vec<Violation>> {
        sleep(SETTLE).await;
        self.drain().await?;
        let expected = Expected {
            stock: self.shop.initial_stock().collect(),
            orders: self.orders,
            coupons: self.coupons,
            issues: self.issues,
        };
        let violations = check::violations(&self.postgres, &self.redis, &self.keys, &expected).await?;
        self.service.stop().await?;
        drop(self.postgres);
        servers::drop_database(&self.servers.postgres, self.name).await?;
        Ok(violations)
    }
}

impl Measured {
    fn between(before: &Reading, after: &Reading, wrk: Wrk, lag: Lag, drain_s: f64) -> Self {
        let counted = |name: &str, labels: &[(&str, &str)]| after.scrape.counted_since(&before.scrape, name, labels);
        // The service's count, because the costs are the service's too: it has the orders that wrk cut off.
        let orders = counted(names::LANE_OPS, &[("op", "place_order"), ("outcome", "done")]).max(1.0);
        let batches = counted(&format!("{}_count", names::LANE_BATCH_OPS), &[]).max(1.0);
        let us_per_order = |after_s: f64, before_s: f64| (after_s - before_s) * 1e6 / orders;
        Self {
            wrk,
            batch_mean: counted(&format!("{}_sum", names::LANE_BATCH_OPS), &[]) / batches,
            redis_us: us_per_order(after.redis.own_s, before.redis.own_s),
            redis_rewrite_us: us_per_order(after.redis.children_s, before.redis.children_s),
            api_us: us_per_order(after.api.total_s(), before.api.total_s()),
            postgres_us: us_per_order(after.postgres.total_s(), before.postgres.total_s()),
            redis_bytes: (after.used_memory_bytes - before.used_memory_bytes) / orders,
            lag,
            drain_s,
            forwarded_per_s: 0.0,
            untold: 0,
            told_s: 0.0,
        }
    }
}
