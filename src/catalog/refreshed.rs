//! A value that is read again and again in the background: everybody gets the last good one at once.

use std::sync::{Arc, RwLock};

use metrics::{Counter, counter};
use tokio::sync::Mutex;

use crate::engine::reads::ReadError;
use crate::metrics as names;

/// The last good value of something, and how to get a newer one.
pub(super) struct Refreshed<T> {
    name: &'static str,
    current: RwLock<Option<Arc<T>>>,
    /// Held while reading: one read at a time, however many wait for it.
    filling: Mutex<()>,
    hits: Counter,
    misses: Counter,
    failures: Counter,
}

impl<T> Refreshed<T> {
    /// Empty. `name`: its label in metrics.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            current: RwLock::new(None),
            filling: Mutex::new(()),
            hits: counter!(names::CACHE_HITS, "cache" => name),
            misses: counter!(names::CACHE_MISSES, "cache" => name),
            failures: counter!(names::CACHE_REFRESH_FAILURES, "cache" => name),
        }
    }

    /// The last good value, if there ever was one.
    pub(super) fn current(&self) -> Option<Arc<T>> {
        self.current.read().expect("nobody panics while holding it").clone()
    }

    /// The last good value; reads it when there is none yet.
    pub(super) async fn get(
        &self,
        load: impl AsyncFnOnce(Option<Arc<T>>) -> Result<T, ReadError>,
    ) -> Result<Arc<T>, ReadError> {
        if let Some(value) = self.current() {
            self.hits.increment(1);
            return Ok(value);
        }
        self.misses.increment(1);
        self.refresh(load).await;
        self.current().ok_or_else(|| ReadError(format!("{} were never read", self.name)))
    }

    /// Reads anew; `load` is given the value so far. The last good value stays when that fails.
    pub(super) async fn refresh(&self, load: impl AsyncFnOnce(Option<Arc<T>>) -> Result<T, ReadError>) {
        let _one_at_a_time = self.filling.lock().await;
        match load(self.current()).await {
            Ok(new) => *self.current.write().expect("nobody panics while holding it") = Some(Arc::new(new)),
            Err(error) => {
                self.failures.increment(1);
                tracing::debug!(%error, cache = self.name, "not refreshed");
            }
        }
    }
}
