//! The figures: keys of the summary, units and meanings in one list.

use serde_json::{Map, Value};

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name in the summary.
    pub key: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

/// Declares the figures: the struct and its rows. The doc comment of a figure is its meaning in the table.
macro_rules! figures {
    ($(#[doc = $doc:literal] $key:ident: $unit:literal;)+) => {
        /// What the bench measured.
        #[derive(Clone, Debug)]
        pub struct Figures { $(#[doc = $doc] pub $key: f64,)+ }

        impl Figures {
            /// All of them, in the order in which they are told.
            pub fn rows(&self) -> Vec<Row> {
                vec![$(Row { key: stringify!($key), value: self.$key, unit: $unit, meaning: $doc.trim() },)+]
            }
        }
    };
}

figures! {
    /// bare hyper responder, constant answer to the same requests, nothing else running
    floor_per_s: "answers/s";
    /// orders answered 201
    accepted_orders_per_s: "orders/s";
    /// accepted orders for each answer of the floor
    orders_to_floor: "ratio";
    /// latency of an order, median, 128 connections
    p50_ms: "ms";
    /// latency of an order, 99th percentile
    p99_ms: "ms";
    /// ops per call of Redis
    batch_mean: "ops";
    /// CPU of Redis for an order, all of its path
    redis_us_per_order: "us";
    /// CPU of the service for an order, HTTP, lane and writer together
    api_us_per_order: "us";
    /// CPU of PostgreSQL for an order, all processes
    postgres_us_per_order: "us";
    /// CPU of Redis for one plain pipelined HSET of 100 bytes
    redis_hset_us: "us";
    /// memory of Redis that an order takes: idempotency record and log, until trimmed
    redis_bytes_per_order: "bytes";
    /// orders answered 201 by the same service with one op per call, 64 calls in flight
    one_op_per_call_orders_per_s: "orders/s";
    /// CPU of Redis for an order sent alone
    one_op_per_call_redis_us: "us";
    /// refusals of a product with none left
    sold_out_per_s: "answers/s";
    /// coupons issued (201), first come, first served, one hot coupon with enough left at a time
    coupons_per_s: "coupons/s";
    /// refusals of a coupon with none left
    coupons_sold_out_per_s: "answers/s";
    /// orders answered 201 while a forwarder tells a data platform that costs nothing, batches of 100
    forwarding_orders_per_s: "orders/s";
    /// events that the platform acknowledged in the same window
    forwarded_per_s: "events/s";
    /// events that it had not acknowledged when wrk's last answer was in
    forward_lag_events_at_end: "events";
    /// from then until it had acknowledged everything
    forward_drain_s: "s";
    /// CPU of the service for an order with the forwarder, all of it
    forwarding_api_us: "us";
    /// the seed documents' transaction (lock on stock, version check on balance), 8 or 32 clients, the better
    seed_design_orders_per_s: "orders/s";
    /// age of the oldest order that PostgreSQL did not have when wrk's last answer was in
    writer_lag_s_at_end: "s";
    /// from then until PostgreSQL had everything
    drain_s: "s";
    /// sold, paid, issued, balances and orders in Redis and PostgreSQL that do not agree
    violations: "count";
    /// latency of an order, 99.9th percentile
    p999_ms: "ms";
    /// latency of an order, the slowest
    max_ms: "ms";
    /// answers other than 201, broken connections and timeouts in the windows of orders and coupons
    wrk_errors: "count";
    /// orders that PostgreSQL did not have when wrk's last answer was in
    writer_lag_events_at_end: "events";
    /// CPU of the children that Redis forks to rewrite its log, for an order
    redis_rewrite_us_per_order: "us";
    /// CPU of the service for an order sent alone
    one_op_per_call_api_us: "us";
    /// latency of an order sent alone, 99th percentile
    one_op_per_call_p99_ms: "ms";
    /// clients of pgbench that gave the seed design's better result
    seed_design_clients: "count";
}

impl Figures {
    /// As members of the summary.
    pub fn to_json(&self) -> Map<String, Value> {
        self.rows().into_iter().map(|row| (row.key.to_owned(), number(row.value))).collect()
    }
}

/// Three decimals, and a whole number without any.
fn number(value: f64) -> Value {
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number, far below 2^53")]
        let whole = rounded as i64;
        Value::from(whole)
    } else {
        Value::from(rounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_decimals() {
        assert_eq!(number(0.0).to_string(), "0");
        assert_eq!(number(20_000.0).to_string(), "20000");
        assert_eq!(number(0.123_456).to_string(), "0.123");
    }
}
