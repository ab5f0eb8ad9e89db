//! The one list of metrics. The doc comment of a name is its help text.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

macro_rules! metrics_list {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident = $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        fn describe_all() {
            $(metrics_list!(@describe $kind $text, concat!($($doc),+));)+
        }

        /// Kind, name and help of every metric.
        pub const ALL: &[(&str, &str, &str)] = &[$((stringify!($kind), $text, concat!($($doc),+)),)+];
    };
    (@describe counter $text:literal, $help:expr) => { metrics::describe_counter!($text, $help.trim()) };
    (@describe gauge $text:literal, $help:expr) => { metrics::describe_gauge!($text, $help.trim()) };
    (@describe histogram $text:literal, $help:expr) => { metrics::describe_histogram!($text, $help.trim()) };
}

metrics_list! {
    /// Requests answered, by listener, route and status.
    counter HTTP_REQUESTS = "flashsale_http_requests_total";
    /// Time from a request's head to its answer, by listener and route, in seconds.
    histogram HTTP_SECONDS = "flashsale_http_request_seconds";
    /// Orders, payments and cancellations that took longer than `slow_order_ms`.
    counter SLOW_ORDERS = "flashsale_slow_orders_total";
    /// Open connections, by listener.
    gauge HTTP_CONNECTIONS = "flashsale_http_connections";
    /// Answers from an in-process cache, by cache.
    counter CACHE_HITS = "flashsale_cache_hits_total";
    /// Answers that had to wait for a cache to be filled, by cache.
    counter CACHE_MISSES = "flashsale_cache_misses_total";
    /// Background refreshes of a cache that failed, by cache; its last good value goes on.
    counter CACHE_REFRESH_FAILURES = "flashsale_cache_refresh_failures_total";
    /// Ops by name and outcome: done, replayed, refused, unavailable, unknown, failed.
    counter LANE_OPS = "flashsale_lane_ops_total";
    /// Refusals by op and code.
    counter LANE_REFUSALS = "flashsale_lane_refusals_total";
    /// Ops in one batch.
    histogram LANE_BATCH_OPS = "flashsale_lane_batch_ops";
    /// Ops waiting for a batch, by cell.
    gauge LANE_QUEUE_OPS = "flashsale_lane_queue_ops";
    /// Batches sent again because no answer came, by cell.
    counter LANE_RESENDS = "flashsale_lane_resends_total";
    /// Ops that make the engine itself fail; each is a bug.
    counter LANE_SCRIPT_ERRORS = "flashsale_lane_script_errors_total";
    /// Time of one batch in Redis, there and back, in seconds.
    histogram REDIS_CALL_SECONDS = "flashsale_redis_call_seconds";
    /// 1 when this instance may use the cell, else 0, by cell.
    gauge GATE_OPEN = "flashsale_gate_open";
    /// The epoch that this instance uses, by cell.
    gauge GATE_EPOCH = "flashsale_gate_epoch";
    /// Entries in the log, by cell.
    gauge LOG_ENTRIES = "flashsale_log_entries";
    /// Events in the log that PostgreSQL does not have yet, by cell.
    gauge WRITER_LAG_EVENTS = "flashsale_writer_lag_events";
    /// Age of the oldest event that PostgreSQL does not have yet, by cell, in seconds.
    gauge WRITER_LAG_SECONDS = "flashsale_writer_lag_seconds";
    /// Events committed to PostgreSQL, by cell.
    counter WRITER_EVENTS = "flashsale_writer_events_total";
    /// Time of one commit, from BEGIN to its answer, in seconds.
    histogram WRITER_COMMIT_SECONDS = "flashsale_writer_commit_seconds";
    /// Orders that came to a status (confirmed, refunded, cancelled, expired, payment failed), by status, counted when they are written.
    counter ORDERS = "flashsale_orders_total";
    /// What confirmed orders came to, in minor units.
    counter REVENUE = "flashsale_revenue_minor_total";
    /// What refunded orders had come to, in minor units.
    counter REFUNDED = "flashsale_refunded_minor_total";
    /// Units that can be sold now, by product: the first of those that are sold in a window or with a limit, then of the others.
    gauge PRODUCT_STOCK = "flashsale_product_stock";
    /// Coupons that can still be issued, by coupon: the first of those that are offered.
    gauge COUPON_REMAINING = "flashsale_coupon_remaining";
    /// Memory that Redis uses, in bytes.
    gauge REDIS_MEMORY = "flashsale_redis_memory_bytes";
    /// Connections that Redis has.
    gauge REDIS_CLIENTS = "flashsale_redis_clients";
    /// Connections to PostgreSQL that are in use, of those for reads.
    gauge DATABASE_POOL_IN_USE = "flashsale_database_pool_in_use";
    /// Events parked because PostgreSQL could not take them, by cell.
    counter WRITER_PARKED = "flashsale_writer_parked_events_total";
    /// Events parked right now, by cell.
    gauge WRITER_PARKED_NOW = "flashsale_writer_parked_events";
    /// Calls of the payment gateway, by call and verdict.
    counter GATEWAY_CALLS = "flashsale_gateway_calls_total";
    /// Time of one call of the payment gateway, by call, in seconds.
    histogram GATEWAY_SECONDS = "flashsale_gateway_seconds";
    /// Verdicts of the gateway that the engine could not be told; the sweeper asks again.
    counter SETTLE_FAILURES = "flashsale_settle_failures_total";
    /// Verdicts of the gateway about orders that were settled otherwise before; each wants a person to look.
    counter SETTLE_CONTRADICTIONS = "flashsale_settle_contradictions_total";
    /// Orders and charges that were due, by outcome: finished, postponed.
    counter SWEPT = "flashsale_swept_total";
    /// Orders that have been held, cards that have waited for their money back, and charges that have been pending for longer than `held_alert_ms`.
    gauge ORDERS_HELD_TOO_LONG = "flashsale_orders_held_too_long";
    /// Orders that wait for their payment, or for the gateway's answer, by status.
    gauge OPEN_ORDERS = "flashsale_open_orders";
    /// Events that a sink has not passed yet, by sink and cell.
    gauge FORWARD_LAG_EVENTS = "flashsale_forward_lag_events";
    /// Age of the oldest event that a sink has not passed yet, by sink and cell, in seconds.
    gauge FORWARD_LAG_SECONDS = "flashsale_forward_lag_seconds";
    /// Events sent, by sink and outcome: delivered, refused, failed, postponed (the sink was not there, and they count no attempt).
    counter FORWARD_DELIVERIES = "flashsale_forward_deliveries_total";
    /// Events sent again after a failure, by sink.
    counter FORWARD_RETRIES = "flashsale_forward_retries_total";
    /// Time of one request to a sink, in seconds.
    histogram FORWARD_SECONDS = "flashsale_forward_request_seconds";
    /// Events that wait for another try, and behind those, by sink.
    gauge FORWARD_WAITING = "flashsale_forward_waiting_events";
    /// Events given up that nobody has replayed, by sink; the notification sink's are restock notices.
    gauge DEAD_LETTERS = "flashsale_dead_letters";
    /// Events given up, by sink.
    counter DEAD_LETTERS_TOTAL = "flashsale_dead_letters_total";
    /// State of a sink's circuit breaker: 0 closed, 1 half-open, 2 open.
    gauge BREAKER_STATE = "flashsale_breaker_state";
    /// 1 while a forwarder is stopped by something that a person must look at, by sink and cell.
    gauge FORWARD_STOPPED = "flashsale_forward_stopped";
    /// Restock notices and alerts sent, by kind (restock, alert) and outcome (sent, failed).
    counter NOTICES = "flashsale_notices_total";
    /// Restock notices and alerts that are due, by kind.
    gauge NOTICES_DUE = "flashsale_notices_due";
    /// Differences between Redis and PostgreSQL that the last comparison found.
    gauge VERIFY_DIFFERENCES = "flashsale_verify_differences";
    /// Fields that changed too fast for the last comparison.
    gauge VERIFY_BUSY = "flashsale_verify_busy_fields";
    /// When the last comparison ended, in seconds since 1970.
    gauge VERIFY_LAST_SECONDS = "flashsale_verify_last_seconds";
    /// Comparisons of Redis with PostgreSQL that could not be made.
    counter VERIFY_FAILURES = "flashsale_verify_failures_total";
    /// 1 while the writer is stopped by something that a person must look at, by cell.
    gauge WRITER_STOPPED = "flashsale_writer_stopped";
}

/// Buckets of times in seconds: an op takes under a millisecond, a stalled disk seconds.
const SECONDS: [f64; 15] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.5, 5.0];

const BATCH_OPS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Installs the process's recorder and describes every metric.
///
/// # Errors
/// A recorder is installed already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(LANE_BATCH_OPS.to_owned()), &BATCH_OPS)?
        .install_recorder()?;
    describe_all();
    metrics_process::Collector::default().describe();
    Ok(handle)
}
