//! One variant of the service on a namespace and a database of its own: loaded, measured, and checked at the end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use flashsale::engine::ids::CellId;
use flashsale::metrics as names;
use flashsale::redis::keys::CellKeys;
use fred::clients::Client as Redis;
use fred::types::InfoKind;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client as Postgres;

use super::Bench;
use super::accounting::{Cpu, cpu};
use super::check::{self, Expected, Violation};
use super::progress::{self, Lag, Sampler};
use super::scrape::Scrape;
use super::servers::{self, Servers};
use super::service::{Service, Variant};
use super::shop::{self, Shop};
use super::wrk::{self, Wrk};

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
    /// Answers of 2xx to orders, of all loads.
    accepted: u64,
    /// Orders that may have been accepted without wrk seeing the answer.
    unseen_max: u64,
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
            accepted: 0,
            unseen_max: 0,
        })
    }

    async fn load(&mut self, products: &[u32], duration: Duration) -> Result<Wrk> {
        let wrk = self.service.explain(wrk::run(self.bench, self.service.public, products, duration).await)?;
        self.accepted += wrk.accepted();
        Ok(wrk)
    }

    async fn load_hot(&mut self, duration: Duration) -> Result<Wrk> {
        let hot = self.shop.hot.clone();
        let wrk = self.load(&hot, duration).await?;
        self.unseen_max += wrk.unseen_max();
        Ok(wrk)
    }

    async fn drain(&self) -> Result<()> {
        self.service.explain(progress::drain(&self.redis, &self.keys, &self.postgres).await)
    }

    async fn reading(&self) -> Result<Reading> {
        let memory = servers::info(&self.redis, InfoKind::Memory, "used_memory").await?;
        Ok(Reading {
            scrape: self.service.explain(Scrape::of(self.service.operations).await)?,
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

        let before = self.reading().await?;
        let sampler = Sampler::start(self.redis.clone(), self.keys.clone());
        let wrk = self.load_hot(window).await?;
        let ended = Instant::now();
        let lag = sampler.lag(&self.redis, &self.keys, &self.postgres).await?;
        self.drain().await?;
        let drain_s = ended.elapsed().as_secs_f64();
        let after = self.reading().await?;
        Ok(Measured::between(&before, &after, wrk, lag, drain_s))
    }

    /// Refusals per second of a product with none left.
    pub async fn sold_out(&mut self, window: Duration) -> Result<f64> {
        let before = self.refusals().await?;
        let wrk = self.load(&[self.shop.sold_out], window).await?;
        let refusals = self.refusals().await? - before;
        // The lesser of the two: wrk counts any answer that is no 2xx, the service counts what nobody waited for too.
        Ok(wrk.per_s(refusals.min(wrk.non_2xx as f64)))
    }

    async fn refusals(&self) -> Result<f64> {
        let scrape = self.service.explain(Scrape::of(self.service.operations).await)?;
        Ok(scrape.sum(names::LANE_REFUSALS, &[("op", "place_order"), ("code", "INSUFFICIENT_STOCK")]))
    }

    /// Compares everything with everything, ends the service and drops the database.
    pub async fn close(self) -> Result<Vec<Violation>> {
        sleep(SETTLE).await;
        self.drain().await?;
        let expected = Expected {
            stock: self.shop.initial_stock().collect(),
            accepted_min: self.accepted,
            accepted_max: self.accepted + self.unseen_max,
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
        let counted =
            |name: &str, labels: &[(&str, &str)]| after.scrape.sum(name, labels) - before.scrape.sum(name, labels);
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
        }
    }
}
