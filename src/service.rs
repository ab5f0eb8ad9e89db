//! The service put together: cells, caches, writer and listeners, and their orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use jiff::tz::TimeZone;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::catalog::coupons::CouponCache;
use crate::catalog::popular::PopularCache;
use crate::catalog::products::ProductCache;
use crate::config::{Config, Role};
use crate::engine::Engine;
use crate::engine::cell::{Cell, CellShared};
use crate::engine::ids::CellId;
use crate::engine::keeper::Keeper;
use crate::engine::lane::{Lane, LaneConfig};
use crate::forwarder::sink::SinkKind;
use crate::forwarder::{self, Forwarder};
use crate::gateway::settler::Settler;
use crate::gateway::{Gateway, GatewaySettings};
use crate::http::app::{App, Caches, Parts};
use crate::http::auth::Verifier;
use crate::http::routes::Listener;
use crate::http::server::Server;
use crate::http::token_cache::TokenCache;
use crate::metrics as names;
use crate::notifier::Notifier;
use crate::redis::client::RedisClient;
use crate::redis::keys::CellKeys;
use crate::redis::library::Library;
use crate::sweeper::{Sweeper, watch_held};
use crate::verify::service::VerifyService;
use crate::writer::Writer;

/// Cells that a service has. Borrowing between cells is to come; until then there is one.
const CELLS: u16 = 1;

/// Pause between two housekeeping rounds (metrics, idle users).
const UPKEEP_PAUSE: Duration = Duration::from_secs(5);

/// A running service.
pub struct Service {
    /// Of the public listener; `None` without the role `api`.
    pub address: Option<SocketAddr>,
    /// Of the operations listener.
    pub ops_address: SocketAddr,
    /// What handlers use.
    pub app: Arc<App>,
    config: Arc<Config>,
    stop: CancellationToken,
    keepers: Vec<Arc<Keeper>>,
    /// End by themselves after `stop`.
    servers: Vec<JoinHandle<()>>,
    writers: Vec<JoinHandle<()>>,
    /// End by themselves after `stop`; nobody waits for what they do.
    forwarders: Vec<JoinHandle<()>>,
    sweepers: Vec<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
    /// Never end by themselves.
    background: Vec<JoinHandle<()>>,
}

impl Service {
    /// Starts everything; the gate opens and the caches fill in the background (see `readyz`).
    ///
    /// # Errors
    /// Addresses that cannot be bound, URLs and keys that cannot be read.
    pub async fn start(config: Arc<Config>, prometheus: PrometheusHandle) -> anyhow::Result<Self> {
        let tokens = TokenCache::new(Verifier::new(&config)?, config.jwt_cache_bytes_max);
        let pool = crate::postgres::pool(&config)?;
        let public =
            if config.roles.has(Role::Api) { Some(Server::bind(config.listen, Listener::Public).await?) } else { None };
        let operations = Server::bind(config.ops_listen, Listener::Operations).await?;

        // Connections of its own: a heartbeat that waits behind requests makes a living instance look dead.
        let keeper_pool = crate::postgres::pool(&config)?;
        let stop = CancellationToken::new();
        let instance = Uuid::new_v4();
        let (mut cells, mut keepers, mut lanes, mut background) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut servers, mut writers, mut sweepers) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..CELLS {
            let id = CellId::new(number).expect("below the bound of cells");
            let keys = CellKeys::new(&config.redis_namespace, id);
            let redis = RedisClient::start(&config.redis_url, Arc::new(Library::new()), config.redis_timeout_ms)?;
            let shared = CellShared::new(id, keys.clone(), redis);
            let (lane, task) = Lane::start(shared.clone(), LaneConfig::new(&config));
            lanes.push(task);
            let keeper = Arc::new(Keeper::new(shared.clone(), keeper_pool.clone(), instance, &config));
            keepers.push(keeper.clone());
            background.push(tokio::spawn(async move { keeper.run().await }));
            let watched = shared.clone();
            background.push(tokio::spawn(async move { crate::writer::lag::watch(&watched).await }));
            cells.push(Arc::new(Cell::new(shared, lane)));
            if config.roles.has(Role::Writer) {
                let writer = Writer::new(id, keys, config.clone())?;
                let stop = stop.clone();
                writers.push(tokio::spawn(async move { writer.run(stop).await }));
            }
        }

        let engine = Engine::new(cells);
        let zone = TimeZone::get(&config.business_timezone)?;
        let settler = settler(&config, &engine)?;
        if config.roles.has(Role::Sweeper) {
            for cell in engine.cells() {
                let sweeper = Sweeper::new(cell.clone(), engine.clone(), settler.clone(), config.clone());
                let stop = stop.clone();
                sweepers.push(tokio::spawn(async move { sweeper.run(stop).await }));
            }
            let (pool, alert_after) = (pool.clone(), config.held_alert_ms);
            background.push(tokio::spawn(async move { watch_held(&pool, alert_after).await }));
        }
        let mut forwarders = Vec::new();
        if config.roles.has(Role::Forwarder) {
            start_forwarders(&config, &engine, &pool, &stop, (&mut forwarders, &mut background))?;
        }
        // Connections of its own: its long scans must not hold up the keeper's heartbeats.
        let verify_pool = crate::postgres::pool(&config)?;
        let of_cell = |cell: &Arc<Cell>| crate::verify::Verifier::new(cell.shared.clone(), verify_pool.clone());
        let verify = VerifyService::new(engine.cells().iter().map(of_cell).collect());
        if config.roles.has(Role::Writer) {
            background.push(tokio::spawn(verify.clone().run_periodically(config.verify_interval_ms)));
        }
        let caches = start_caches(&config, &engine, zone, &mut background);
        let parts = Parts { config: config.clone(), engine, pool, caches, settler, verify, tokens, prometheus };
        let app = Arc::new(App::new(parts));
        background.push(tokio::spawn(keep_house(app.clone())));
        if let Some(cell) = app.engine.cells().first().cloned() {
            background.push(tokio::spawn(async move { crate::redis::usage::watch(&cell.shared.redis).await }));
        }

        let address = public.as_ref().map(Server::address).transpose()?;
        let ops_address = operations.address()?;
        for server in public.into_iter().chain([operations]) {
            servers.push(tokio::spawn(server.run(app.clone(), stop.clone())));
        }
        Ok(Self {
            address,
            ops_address,
            app,
            config,
            stop,
            keepers,
            servers,
            writers,
            forwarders,
            sweepers,
            lanes,
            background,
        })
    }

    /// Ends in order: no new connections, open requests answered, lanes flushed, a last report. Bounded in time.
    pub async fn stop(self) {
        self.app.stop();
        // Load balancers see `readyz` turn before connections are refused.
        tokio::time::sleep(self.config.shutdown_drain_ms).await;
        self.stop.cancel();
        for server in self.servers {
            let _ = server.await;
        }
        // Sweepers hold on to the lanes; what they and the forwarders do not finish now comes again.
        for mut worker in self.sweepers.into_iter().chain(self.forwarders) {
            if tokio::time::timeout(self.config.shutdown_timeout_ms, &mut worker).await.is_err() {
                worker.abort();
            }
        }
        for task in &self.background {
            task.abort();
        }
        for task in self.background {
            let _ = task.await;
        }
        // The lanes end when nobody can give them anything any more.
        drop(self.app);
        let flush = futures::future::join_all(self.lanes.into_iter().chain(self.writers));
        if tokio::time::timeout(self.config.shutdown_timeout_ms, flush).await.is_err() {
            tracing::warn!("lanes or writers did not end in time");
        }
        for keeper in &self.keepers {
            keeper.stop().await;
        }
    }
}

/// Metrics that must be asked for, and users who are gone.
async fn keep_house(app: Arc<App>) {
    let in_use = gauge!(names::DATABASE_POOL_IN_USE);
    loop {
        tokio::time::sleep(UPKEEP_PAUSE).await;
        app.prometheus.run_upkeep();
        app.forget_idle_users();
        let status = app.pool.status();
        in_use.set(status.size.saturating_sub(status.available) as f64);
    }
}

/// Payments over the gateway, if one is configured.
fn settler(config: &Config, engine: &Engine) -> anyhow::Result<Option<Settler>> {
    if config.gateway_url.is_empty() {
        return Ok(None);
    }
    let gateway = Gateway::new(GatewaySettings {
        url: config.gateway_url.clone(),
        api_key: config.gateway_api_key.clone(),
        timeout: config.gateway_timeout_ms,
        in_flight_max: config.gateway_in_flight_max,
    })?;
    Ok(Some(Settler::new(engine.clone(), gateway, &config.redis_namespace)))
}

/// Starts what tells others: the forwarders, and the notifier.
fn start_forwarders(
    config: &Arc<Config>,
    engine: &Engine,
    pool: &Pool,
    stop: &CancellationToken,
    (workers, background): (&mut Vec<JoinHandle<()>>, &mut Vec<JoinHandle<()>>),
) -> anyhow::Result<()> {
    for kind in SinkKind::configured(config) {
        for cell in engine.cells().iter().map(|cell| cell.shared.id) {
            let (forwarder, stop) = (Forwarder::new(cell, kind, config.clone())?, stop.clone());
            workers.push(tokio::spawn(async move { forwarder.run(stop).await }));
            let pool = pool.clone();
            background.push(tokio::spawn(async move { forwarder::lag::watch(&pool, kind, cell).await }));
        }
    }
    if let Some(notifier) = Notifier::new(config.clone())? {
        let stop = stop.clone();
        workers.push(tokio::spawn(async move { notifier.run(stop).await }));
    }
    Ok(())
}

/// Makes the caches and keeps them fresh in the background.
fn start_caches(config: &Config, engine: &Engine, zone: TimeZone, background: &mut Vec<JoinHandle<()>>) -> Caches {
    let products = Arc::new(ProductCache::new(engine.clone()));
    let coupons = Arc::new(CouponCache::new(engine.clone()));
    let popular = Arc::new(PopularCache::new(engine.clone(), zone));
    let (cache, pause) = (products.clone(), config.catalog_refresh_ms);
    background.push(tokio::spawn(async move { cache.run(pause).await }));
    let (cache, pause) = (coupons.clone(), config.catalog_refresh_ms);
    background.push(tokio::spawn(async move { cache.run(pause).await }));
    let (cache, pause) = (popular.clone(), config.popular_refresh_ms);
    background.push(tokio::spawn(async move { cache.run(pause).await }));
    Caches { products, coupons, popular }
}
