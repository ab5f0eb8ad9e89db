//! What every handler may use.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Pool;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics_exporter_prometheus::PrometheusHandle;

use super::problem::{Code, Problem};
use super::token_cache::TokenCache;
use crate::catalog::coupons::CouponCache;
use crate::catalog::popular::PopularCache;
use crate::catalog::products::ProductCache;
use crate::config::Config;
use crate::engine::cell::GateState;
use crate::engine::refusal::Refusal;
use crate::engine::user::UserId;
use crate::engine::{Engine, EngineError};
use crate::gateway::settler::Settler;
use crate::postgres::DatabaseError;
use crate::trace;
use crate::verify::service::VerifyService;

/// What an [`App`] is made of.
pub struct Parts {
    /// Settings.
    pub config: Arc<Config>,
    /// Ops.
    pub engine: Engine,
    /// History.
    pub pool: Pool,
    /// What everybody looks at.
    pub caches: Caches,
    /// Payments over the gateway.
    pub settler: Option<Settler>,
    /// Comparisons of Redis with PostgreSQL.
    pub verify: Arc<VerifyService>,
    /// Tokens.
    pub tokens: TokenCache,
    /// Metrics, to be rendered.
    pub prometheus: PrometheusHandle,
}

/// The caches that refresh themselves.
#[derive(Clone)]
pub struct Caches {
    /// Catalogue and stock.
    pub products: Arc<ProductCache>,
    /// Coupons.
    pub coupons: Arc<CouponCache>,
    /// Rankings.
    pub popular: Arc<PopularCache>,
}

/// Shared by all requests.
pub struct App {
    /// Settings.
    pub config: Arc<Config>,
    /// Ops.
    pub engine: Engine,
    /// History.
    pub pool: Pool,
    /// Catalogue and stock.
    pub products: Arc<ProductCache>,
    /// Coupons.
    pub coupons: Arc<CouponCache>,
    /// Rankings.
    pub popular: Arc<PopularCache>,
    /// Payments over the gateway; `None`: no gateway is configured.
    pub settler: Option<Settler>,
    /// Comparisons of Redis with PostgreSQL.
    pub verify: Arc<VerifyService>,
    /// Tokens.
    pub tokens: TokenCache,
    /// Metrics, to be rendered.
    pub prometheus: PrometheusHandle,
    /// Who watches the live page.
    pub live: crate::live::Live,
    /// Metrics of the process itself: CPU, memory, file descriptors.
    pub process: metrics_process::Collector,
    limiter: Option<DefaultKeyedRateLimiter<UserId>>,
    stopping: AtomicBool,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { config, engine, pool, caches, settler, verify, tokens, prometheus } = parts;
        let limiter = NonZeroU32::new(config.http_user_requests_per_s_max).map(|per_second| {
            RateLimiter::keyed(Quota::per_second(per_second).allow_burst(per_second.saturating_mul(BURST_FACTOR)))
        });
        let Caches { products, coupons, popular } = caches;
        let stopping = AtomicBool::new(false);
        Self {
            config,
            engine,
            pool,
            products,
            coupons,
            popular,
            settler,
            verify,
            tokens,
            prometheus,
            live: crate::live::Live::default(),
            process: metrics_process::Collector::default(),
            limiter,
            stopping,
        }
    }

    /// Runs something to its end even if the client who waits for it goes away: what was begun with the engine must be taken to
    /// the gateway.
    pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
        // Only a panic ends it early.
        tokio::spawn(trace::carry(work)).await.map_err(|_| Problem::new(Code::InternalError))
    }

    /// Refuses a user who asks too often.
    pub fn check_rate(&self, user: &UserId) -> Result<(), Problem> {
        match &self.limiter {
            Some(limiter) if limiter.check_key(user).is_err() => {
                Err(Problem::new(Code::TooManyRequests).retry_after(1))
            }
            _ => Ok(()),
        }
    }

    /// Forgets users who have not asked for a while; call it now and then.
    pub fn forget_idle_users(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// From now on not ready.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.live.close();
    }

    /// Why this process should get no traffic; empty when it should.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.load(Ordering::Acquire) {
            reasons.push("stopping".to_owned());
        }
        for cell in self.engine.cells() {
            if let GateState::Closed(why) = cell.shared.gate() {
                reasons.push(format!("cell {}: {why}", cell.shared.id));
            }
        }
        if !self.products.is_filled() {
            reasons.push("the catalogue was never read".to_owned());
        }
        reasons
    }
}

/// A short burst may take this many seconds' worth of requests at once.
const BURST_FACTOR: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

/// How engine errors look to clients. `idempotency_key` is what finds out after a 504, and what may try again after a refusal.
pub fn problem_of(error: EngineError, idempotency_key: &str) -> Problem {
    let problem = match error {
        EngineError::Refused(refusal) => refused(refusal),
        EngineError::Unavailable(why) => {
            tracing::debug!(why, "503");
            Problem::new(Code::Unavailable)
        }
        EngineError::OutcomeUnknown => Problem::new(Code::OutcomeUnknown).with("idempotencyKey", idempotency_key),
        EngineError::Failed(why) => {
            tracing::error!(why, "500");
            Problem::new(Code::InternalError)
        }
    };
    problem.named(idempotency_key)
}

/// How a refusal of the engine looks to clients.
pub fn refused(refusal: Refusal) -> Problem {
    let code = Code::from_name(refusal.code.code()).unwrap_or(Code::InternalError);
    super::reply::refusal_problem(code, refusal.details)
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        tracing::warn!(%error, "503");
        Self::new(Code::Unavailable)
    }
}

impl From<crate::engine::reads::ReadError> for Problem {
    fn from(error: crate::engine::reads::ReadError) -> Self {
        tracing::debug!(%error, "503");
        Self::new(Code::Unavailable)
    }
}
