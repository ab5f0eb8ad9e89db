//! What a request leaves in the log when it has ended: every one at level debug; what failed, and orders that took long, as
//! warnings with where the time went. When everything is slow there are few such lines all the same.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use metrics::{Counter, counter};

use crate::metrics as names;
use crate::trace::{Step, Trace};

/// Warnings per second; those beyond are counted in the next one.
const WARNINGS_PER_S_MAX: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// What decides about orders.
const ORDER_ROUTES: [&str; 3] = ["POST /api/orders", "POST /api/payments", "POST /api/orders/{id}/cancel"];

/// Tells about requests that have ended.
pub struct AccessLog {
    /// From how long on an order is slow; `None`: none ever is.
    slow_after: Option<Duration>,
    warnings: DefaultDirectRateLimiter,
    /// Warnings that were one too many, since the last one.
    left_out: AtomicU64,
    slow: Counter,
}

impl AccessLog {
    /// With the setting `slow_order_ms`.
    pub fn new(slow_order: Duration) -> Self {
        Self {
            slow_after: Some(slow_order).filter(|limit| !limit.is_zero()),
            warnings: RateLimiter::direct(Quota::per_second(WARNINGS_PER_S_MAX)),
            left_out: AtomicU64::new(0),
            slow: counter!(names::SLOW_ORDERS),
        }
    }

    /// Tells about one, while it is still worked for.
    pub fn ended(&self, route: &'static str, trace: &Trace, status: StatusCode) {
        let took = trace.started().elapsed();
        tracing::debug!(status = status.as_u16(), total_ms = ms(took), "answered");
        // A body that comes slowly is not our slowness.
        let ours = took.saturating_sub(trace.spent(Step::Read));
        let is_slow = self.slow_after.is_some_and(|limit| ours >= limit) && ORDER_ROUTES.contains(&route);
        if is_slow {
            self.slow.increment(1);
        }
        let is_failed = matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT);
        if !is_failed && !is_slow {
            return;
        }
        if self.warnings.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let known: Duration = Step::ALL.iter().map(|step| trace.spent(*step)).sum();
        tracing::warn!(
            status = status.as_u16(),
            total_ms = ms(took),
            read_ms = ms(trace.spent(Step::Read)),
            find_ms = ms(trace.spent(Step::Find)),
            queue_ms = ms(trace.spent(Step::Queue)),
            redis_ms = ms(trace.spent(Step::Redis)),
            gateway_ms = ms(trace.spent(Step::Gateway)),
            encode_ms = ms(trace.spent(Step::Encode)),
            other_ms = ms(took.saturating_sub(known)),
            left_out = self.left_out.swap(0, Ordering::Relaxed),
            "{}",
            if is_failed { "a request failed" } else { "a slow order" }
        );
    }
}

/// With three digits behind the point: microseconds.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::routes::ROUTES;
    use super::*;

    #[test]
    fn what_decides_about_orders_is_in_the_route_table() {
        for name in ORDER_ROUTES {
            assert!(ROUTES.iter().any(|route| route.name == name), "{name}");
        }
    }
}
