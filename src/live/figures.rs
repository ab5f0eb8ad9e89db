//! The figures of the live page, taken from the process's own metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exposition::{self, Series};
use crate::metrics as names;

/// The route whose latency is shown.
const ORDERS_ROUTE: &str = "POST /api/orders";

/// What metrics tell at one moment. What this process does not do has no figure.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Orders placed or reserved.
    pub(super) accepted: f64,
    /// Orders that were answered as before: the same key.
    pub(super) replayed: f64,
    /// Orders refused, by code.
    pub(super) refused: BTreeMap<String, f64>,
    /// Orders that the service failed, by code.
    pub(super) failed: BTreeMap<String, f64>,
    /// Times of `POST /api/orders`.
    pub(super) order_times: Histogram,
    /// Times of batches in Redis.
    pub(super) redis_times: Histogram,
    /// Batches sent.
    pub(super) batches: f64,
    /// Ops in them.
    pub(super) batch_ops: f64,
    /// Ops that wait for a batch.
    pub(super) queue: Option<f64>,
    /// Ops that make the engine fail.
    pub(super) script_errors: f64,
    /// The log, and how far PostgreSQL is behind it.
    pub(super) log: LogFigures,
    /// Who is told, by sink.
    pub(super) sinks: BTreeMap<String, SinkFigures>,
    /// Restock notices and alerts that are due, by kind.
    pub(super) notices_due: BTreeMap<String, f64>,
    /// What has been open for too long.
    pub(super) held_too_long: Option<f64>,
    /// The last comparison of Redis with PostgreSQL.
    pub(super) verify: VerifyFigures,
}

/// The log, and how far PostgreSQL is behind it.
#[derive(Debug, Default)]
pub(super) struct LogFigures {
    pub(super) entries: Option<f64>,
    pub(super) lag_events: Option<f64>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) committed: f64,
    pub(super) parked: Option<f64>,
    pub(super) stopped: Option<f64>,
}

/// Whoever is told what happened.
#[derive(Debug, Default)]
pub(super) struct SinkFigures {
    pub(super) lag_events: Option<f64>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) waiting: Option<f64>,
    pub(super) dead_letters: Option<f64>,
    /// 0 closed, 1 half-open, 2 open.
    pub(super) breaker: Option<f64>,
    pub(super) stopped: Option<f64>,
    pub(super) delivered: f64,
    /// Refused, failed and postponed.
    pub(super) undelivered: f64,
}

/// The last comparison of Redis with PostgreSQL.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct VerifyFigures {
    pub(super) differences: Option<f64>,
    pub(super) busy: Option<f64>,
    /// Seconds since 1970.
    pub(super) last: Option<f64>,
    pub(super) failures: f64,
}

impl Figures {
    /// From the text that `/metrics` answers.
    pub(super) fn read(text: &str) -> Self {
        let mut figures = Self::default();
        for series in exposition::series(text) {
            figures.take(&series);
        }
        figures
    }

    fn take(&mut self, series: &Series<'_>) {
        let value = series.value;
        let label = |name: &str| series.label(name).into_owned();
        let (name, part) = parts(series.name);
        match (name, part) {
            (names::LANE_OPS, "") if is_order(&label("op")) => self.take_outcome(&label("outcome"), value),
            // A full backlog counts as unavailable too.
            (names::LANE_REFUSALS, "") if is_order(&label("op")) && label("code") != "BACKLOG_FULL" => {
                count(&mut self.refused, &label("code"), value);
            }
            (names::HTTP_REQUESTS, "") if label("route") == ORDERS_ROUTE => match label("status").as_str() {
                // The lane never sees these.
                "401" => count(&mut self.refused, "UNAUTHORIZED", value),
                "429" => count(&mut self.refused, "TOO_MANY_REQUESTS", value),
                _ => {}
            },
            (names::HTTP_SECONDS, "_bucket") if label("route") == ORDERS_ROUTE => {
                self.order_times.note(&label("le"), value);
            }
            (names::REDIS_CALL_SECONDS, "_bucket") => self.redis_times.note(&label("le"), value),
            (names::LANE_BATCH_OPS, "_sum") => self.batch_ops += value,
            (names::LANE_BATCH_OPS, "_count") => self.batches += value,
            (names::LANE_QUEUE_OPS, "") => add(&mut self.queue, value),
            (names::LANE_SCRIPT_ERRORS, "") => self.script_errors += value,
            (names::ORDERS_HELD_TOO_LONG, "") => add(&mut self.held_too_long, value),
            (names::NOTICES_DUE, "") => *self.notices_due.entry(label("kind")).or_default() += value,
            _ => {
                self.log.take(name, value);
                self.verify.take(name, value);
                let sink = label("sink");
                if !sink.is_empty() && part.is_empty() {
                    self.sinks.entry(sink).or_default().take(name, &label("outcome"), value);
                }
            }
        }
    }

    fn take_outcome(&mut self, outcome: &str, value: f64) {
        match outcome {
            "done" => self.accepted += value,
            "replayed" => self.replayed += value,
            "unavailable" => count(&mut self.failed, "SERVICE_UNAVAILABLE", value),
            "unknown" => count(&mut self.failed, "OUTCOME_UNKNOWN", value),
            "failed" => count(&mut self.failed, "INTERNAL_ERROR", value),
            // Refusals are counted by their code.
            _ => {}
        }
    }
}

impl LogFigures {
    fn take(&mut self, name: &str, value: f64) {
        match name {
            names::LOG_ENTRIES => add(&mut self.entries, value),
            names::WRITER_LAG_EVENTS => add(&mut self.lag_events, value),
            names::WRITER_LAG_SECONDS => worst(&mut self.lag_seconds, value),
            names::WRITER_EVENTS => self.committed += value,
            names::WRITER_PARKED_NOW => add(&mut self.parked, value),
            names::WRITER_STOPPED => worst(&mut self.stopped, value),
            _ => {}
        }
    }
}

impl SinkFigures {
    fn take(&mut self, name: &str, outcome: &str, value: f64) {
        match name {
            names::FORWARD_LAG_EVENTS => add(&mut self.lag_events, value),
            names::FORWARD_LAG_SECONDS => worst(&mut self.lag_seconds, value),
            names::FORWARD_WAITING => add(&mut self.waiting, value),
            names::DEAD_LETTERS => add(&mut self.dead_letters, value),
            names::BREAKER_STATE => worst(&mut self.breaker, value),
            names::FORWARD_STOPPED => worst(&mut self.stopped, value),
            names::FORWARD_DELIVERIES if outcome == "delivered" => self.delivered += value,
            names::FORWARD_DELIVERIES => self.undelivered += value,
            _ => {}
        }
    }
}

impl VerifyFigures {
    fn take(&mut self, name: &str, value: f64) {
        match name {
            names::VERIFY_DIFFERENCES => add(&mut self.differences, value),
            names::VERIFY_BUSY => add(&mut self.busy, value),
            names::VERIFY_LAST_SECONDS => worst(&mut self.last, value),
            names::VERIFY_FAILURES => self.failures += value,
            _ => {}
        }
    }
}

/// Whether an op is an order, paid at once or later.
fn is_order(op: &str) -> bool {
    op == "place_order" || op == "reserve_order"
}

/// A metric's name, and which part of a histogram a series is.
fn parts(name: &str) -> (&str, &'static str) {
    let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| Some((name.strip_suffix(part)?, part)));
    part.unwrap_or((name, ""))
}

fn count(into: &mut BTreeMap<String, f64>, code: &str, value: f64) {
    if value > 0.0 {
        *into.entry(code.to_owned()).or_default() += value;
    }
}

/// Adds up what several cells tell.
fn add(into: &mut Option<f64>, value: f64) {
    *into = Some(into.unwrap_or(0.0) + value);
}

/// The largest of what several cells tell.
fn worst(into: &mut Option<f64>, value: f64) {
    *into = Some(into.map_or(value, |other| other.max(value)));
}

/// How many took how long: seconds, and how many took no longer.
#[derive(Debug, Default)]
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    fn note(&mut self, bound: &str, count: f64) {
        if let Ok(bound) = bound.parse::<f64>() {
            self.0.push((bound, count));
        }
    }

    /// Only what came after `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: &f64| {
            let same = earlier.0.iter().find(|(other, _)| other.total_cmp(bound).is_eq());
            same.map_or(0.0, |(_, count)| *count)
        };
        Self(self.0.iter().map(|(bound, count)| (*bound, (count - before(bound)).max(0.0))).collect())
    }

    /// How many in all.
    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The time that this share of all took at most: as near as the buckets tell. `None` when there was nothing.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count();
        if wanted <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= wanted {
                // Beyond the last bound nothing is known but that.
                let inside = if bound.is_finite() { (bound - lower) * (wanted - below) / (count - below) } else { 0.0 };
                return Some(lower + inside);
            }
            (lower, below) = (*bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 1e-9)
    }

    #[test]
    fn figures_come_from_the_lines_that_metrics_are_rendered_as() {
        let figures = Figures::read(concat!(
            "flashsale_lane_ops_total{op=\"place_order\",outcome=\"done\"} 5\n",
            "flashsale_lane_ops_total{op=\"reserve_order\",outcome=\"done\"} 2\n",
            "flashsale_lane_ops_total{op=\"charge_balance\",outcome=\"done\"} 90\n",
            "flashsale_lane_ops_total{op=\"place_order\",outcome=\"unavailable\"} 3\n",
            "flashsale_lane_ops_total{op=\"place_order\",outcome=\"failed\"} 0\n",
            "flashsale_lane_refusals_total{op=\"place_order\",code=\"INSUFFICIENT_STOCK\"} 8\n",
            "flashsale_lane_refusals_total{op=\"reserve_order\",code=\"INSUFFICIENT_STOCK\"} 1\n",
            "flashsale_lane_refusals_total{op=\"place_order\",code=\"BACKLOG_FULL\"} 3\n",
            "flashsale_lane_refusals_total{op=\"put_cart\",code=\"PRODUCT_NOT_FOUND\"} 4\n",
            "flashsale_http_requests_total{listener=\"public\",route=\"POST /api/orders\",status=\"429\"} 6\n",
            "flashsale_http_requests_total{listener=\"public\",route=\"POST /api/orders\",status=\"201\"} 7\n",
            "flashsale_lane_batch_ops_sum 12\n",
            "flashsale_lane_batch_ops_count 4\n",
            "flashsale_lane_queue_ops{cell=\"0\"} 1\n",
            "flashsale_lane_queue_ops{cell=\"1\"} 2\n",
            "flashsale_writer_lag_seconds{cell=\"0\"} 0.5\n",
            "flashsale_writer_lag_seconds{cell=\"1\"} 0.25\n",
            "flashsale_dead_letters{sink=\"platform\"} 2\n",
            "flashsale_breaker_state{sink=\"platform\"} 2\n",
            "flashsale_forward_deliveries_total{sink=\"platform\",outcome=\"delivered\"} 10\n",
            "flashsale_forward_deliveries_total{sink=\"platform\",outcome=\"failed\"} 1\n",
            "flashsale_notices_due{kind=\"alert\"} 1\n",
            "flashsale_verify_differences 0\n",
        ));
        assert_eq!((figures.accepted.to_string(), figures.batches.to_string()), ("7".into(), "4".into()));
        assert_eq!(format!("{:?}", figures.refused), "{\"INSUFFICIENT_STOCK\": 9.0, \"TOO_MANY_REQUESTS\": 6.0}");
        assert_eq!(format!("{:?}", figures.failed), "{\"SERVICE_UNAVAILABLE\": 3.0}");
        assert!(near(figures.queue, 3.0) && near(figures.log.lag_seconds, 0.5) && figures.log.entries.is_none());
        assert_eq!(figures.sinks.keys().collect::<Vec<_>>(), ["platform"]);
        let platform = &figures.sinks["platform"];
        assert!(near(platform.dead_letters, 2.0) && near(platform.breaker, 2.0) && platform.waiting.is_none());
        assert!(near(Some(platform.delivered), 10.0) && near(Some(platform.undelivered), 1.0));
        assert!(near(figures.verify.differences, 0.0) && figures.held_too_long.is_none());
        assert!(near(figures.notices_due.get("alert").copied(), 1.0));
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let read = |counts: [u32; 4]| {
            let bounds = ["0.001", "0.002", "0.004", "+Inf"];
            let mut histogram = Histogram::default();
            bounds.iter().zip(counts).for_each(|(bound, count)| histogram.note(bound, f64::from(count)));
            histogram
        };
        let all = read([100, 150, 200, 200]);
        assert!(
            near(all.quantile(0.5), 0.001) && near(all.quantile(0.75), 0.002) && near(all.quantile(0.99), 0.003_92)
        );
        let late = all.since(&read([100, 150, 190, 190]));
        assert!(near(Some(late.count()), 10.0) && near(late.quantile(0.5), 0.003));
        assert!(all.since(&all).quantile(0.5).is_none() && Histogram::default().quantile(0.5).is_none());
        // Beyond the last bound.
        assert!(near(read([0, 0, 1, 9]).quantile(0.5), 0.004));
        // What was never rendered before counts from 0.
        assert!(near(all.since(&Histogram::default()).quantile(0.5), 0.001));
    }
}
