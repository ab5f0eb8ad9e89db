//! Rankings over the last days, at most `popular_refresh_ms` (and one read) old while Redis answers.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use jiff::{Timestamp, tz::TimeZone};
use metrics::{Counter, counter};
use tokio::sync::Mutex;

use crate::engine::Engine;
use crate::engine::op::ProductId;
use crate::engine::reads::{self, ReadError};
use crate::metrics as names;
use crate::redis::keys::SalesDay;

/// What the documents ask for; kept warm from the start.
const DAYS_ALWAYS: u32 = 3;

/// Units sold per product over some business days, most first.
#[derive(Debug)]
pub struct Ranking {
    /// First business day, `YYYY-MM-DD`.
    pub start_date: String,
    /// Last business day: today.
    pub end_date: String,
    /// When it was read, ms since 1970.
    pub as_of_ms: i64,
    /// Product and units, most units first, then lower ids first.
    pub sold: Vec<(ProductId, u64)>,
}

/// The cache: one ranking per number of days that anybody ever asked for.
pub struct PopularCache {
    engine: Engine,
    zone: TimeZone,
    rankings: RwLock<HashMap<u32, Arc<Ranking>>>,
    filling: Mutex<()>,
    hits: Counter,
    misses: Counter,
    failures: Counter,
}

impl PopularCache {
    /// Empty until the first refresh.
    pub fn new(engine: Engine, zone: TimeZone) -> Self {
        Self {
            engine,
            zone,
            rankings: RwLock::default(),
            filling: Mutex::new(()),
            hits: counter!(names::CACHE_HITS, "cache" => "popular"),
            misses: counter!(names::CACHE_MISSES, "cache" => "popular"),
            failures: counter!(names::CACHE_REFRESH_FAILURES, "cache" => "popular"),
        }
    }

    /// The last good ranking over `days` days, today included.
    pub async fn ranking(&self, days: u32) -> Result<Arc<Ranking>, ReadError> {
        if let Some(ranking) = self.cached(days) {
            self.hits.increment(1);
            return Ok(ranking);
        }
        self.misses.increment(1);
        let _one_at_a_time = self.filling.lock().await;
        match self.cached(days) {
            Some(ranking) => Ok(ranking),
            None => self.read(days).await,
        }
    }

    /// Refreshes for ever what was ever asked for: at most 30 rankings.
    pub async fn run(&self, pause: std::time::Duration) {
        loop {
            let mut all: Vec<u32> =
                self.rankings.read().expect("nobody panics while holding it").keys().copied().collect();
            if !all.contains(&DAYS_ALWAYS) {
                all.push(DAYS_ALWAYS);
            }
            for days in all {
                if let Err(error) = self.read(days).await {
                    self.failures.increment(1);
                    tracing::debug!(%error, days, "a ranking was not refreshed");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn cached(&self, days: u32) -> Option<Arc<Ranking>> {
        self.rankings.read().expect("nobody panics while holding it").get(&days).cloned()
    }

    async fn read(&self, days: u32) -> Result<Arc<Ranking>, ReadError> {
        let now = Timestamp::now();
        let day = |back: u32| SalesDay::of(now, &self.zone, -i64::from(back)).day;
        let names: Vec<String> = (0..days).rev().map(day).collect();
        let mut total: HashMap<ProductId, u64> = HashMap::new();
        for cell in self.engine.cells() {
            for (product, sold) in reads::sales(&cell.shared, &names).await? {
                *total.entry(product).or_default() += sold;
            }
        }
        let mut sold: Vec<_> = total.into_iter().filter(|(_, sold)| *sold > 0).collect();
        sold.sort_unstable_by_key(|(product, sold)| (std::cmp::Reverse(*sold), *product));
        let ranking = Arc::new(Ranking {
            start_date: names.first().cloned().unwrap_or_default(),
            end_date: names.last().cloned().unwrap_or_default(),
            as_of_ms: now.as_millisecond(),
            sold,
        });
        self.rankings.write().expect("nobody panics while holding it").insert(days, ranking.clone());
        Ok(ranking)
    }
}
