//! One look at everything that the live page shows. Nothing in it is secret, and nobody is named.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::figures::{Figures, Histogram, LogFigures, SinkFigures, VerifyFigures};
use super::rush::{Progress, Recent};
use crate::catalog::coupons::Coupons;
use crate::catalog::popular::Ranking;
use crate::catalog::products::{Product, Snapshot as Products};
use crate::engine::cell::{Cell, GateState};
use crate::engine::op::{CouponId, ProductId};
use crate::http::app::App;

/// Samples that latency is measured over.
const WINDOW: usize = 10;

/// For the caches, which answer at once but for the very first time.
const CACHES_PATIENCE: Duration = Duration::from_millis(500);

/// Business days of the ranking.
const RANKING_DAYS: u32 = 3;

/// Products and coupons shown.
const SHOWN_MAX: usize = 8;

/// What the page shows. Rates are per second, since the snapshot before; `None`: not known, or nothing of this process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// The clock of this process, ms since 1970.
    at: i64,
    is_dev: bool,
    viewers: usize,
    /// Why this process should get no traffic; empty when it should.
    not_ready: Vec<String>,
    gates: Vec<GateView>,
    orders: OrdersView,
    latency: LatencyView,
    lane: LaneView,
    log: LogView,
    sinks: Vec<SinkView>,
    notices_due: BTreeMap<String, f64>,
    held_too_long: Option<f64>,
    verify: VerifyFigures,
    stock: Option<StockView>,
    ranking: Vec<RankedView>,
    coupons: Vec<CouponView>,
    rush: Option<Progress>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GateView {
    cell: String,
    is_open: bool,
    epoch: Option<u64>,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OrdersView {
    /// Since the process started.
    accepted: f64,
    accepted_per_s: Option<f64>,
    refused: f64,
    refused_per_s: Option<f64>,
    failed: f64,
    failed_per_s: Option<f64>,
    replayed_per_s: Option<f64>,
    refusals: Vec<CodeView>,
    failures: Vec<CodeView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeView {
    code: String,
    total: f64,
    per_s: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LatencyView {
    /// How far the window reaches back.
    window_s: f64,
    /// `POST /api/orders`, from the head of the request to the answer.
    orders: TimesView,
    /// Orders of a rush in the lane, until they are answered. Nobody else is timed there: they come over HTTP.
    rush: Recent,
    /// A batch in Redis, there and back.
    redis: TimesView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TimesView {
    count: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LaneView {
    queue: Option<f64>,
    ops_per_batch: Option<f64>,
    /// Ops that make the engine fail, since the process started: each is a bug.
    script_errors: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogView {
    entries: Option<f64>,
    lag_events: Option<f64>,
    lag_seconds: Option<f64>,
    committed_per_s: Option<f64>,
    parked: Option<f64>,
    is_stopped: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SinkView {
    sink: String,
    lag_events: Option<f64>,
    lag_seconds: Option<f64>,
    waiting: Option<f64>,
    dead_letters: Option<f64>,
    /// 0 closed, 1 half-open, 2 open.
    breaker: Option<f64>,
    is_stopped: Option<bool>,
    delivered_per_s: Option<f64>,
    undelivered_per_s: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StockView {
    /// The clock of Redis, ms since 1970.
    as_of: i64,
    products: Vec<ProductView>,
    /// Products that are not shown.
    more: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProductView {
    product_id: ProductId,
    name: String,
    stock: u64,
    /// Over the days of the ranking.
    sold: u64,
    window: Window,
    starts_at: Option<i64>,
    ends_at: Option<i64>,
}

/// Whether a product can be bought now; the hottest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Window {
    /// In its sale.
    Open,
    /// Before it.
    Upcoming,
    /// It has none.
    Always,
    /// After it.
    Over,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RankedView {
    product_id: ProductId,
    name: String,
    sold: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CouponView {
    coupon_id: CouponId,
    name: String,
    remaining: u64,
    total: u64,
}

/// Looks again and again, and tells what happened in between.
#[derive(Default)]
pub(super) struct Sampler {
    /// The oldest first.
    taken: VecDeque<Taken>,
}

struct Taken {
    at: Instant,
    figures: Figures,
}

impl Sampler {
    /// Looks.
    pub(super) async fn look(&mut self, app: &App) -> Snapshot {
        let now = Taken { at: Instant::now(), figures: Figures::read(&app.prometheus.render()) };
        let caches = tokio::time::timeout(CACHES_PATIENCE, Caches::read(app)).await.unwrap_or_default();
        let products = caches.products.as_deref();
        let ranking = caches.ranking.as_deref();
        let figures = &now.figures;
        let rates = Rates::new(self.taken.back(), &now);
        let rush = app.live.rush();
        let snapshot = Snapshot {
            at: Timestamp::now().as_millisecond(),
            is_dev: app.config.dev_pages,
            viewers: app.live.viewers(),
            not_ready: app.not_ready(),
            gates: app.engine.cells().iter().map(|cell| GateView::new(cell)).collect(),
            orders: OrdersView::new(figures, &rates),
            latency: LatencyView::new(self.taken.front().unwrap_or(&now), &now, rush.as_ref()),
            lane: LaneView::new(figures, &rates),
            log: LogView::new(&figures.log, &rates),
            sinks: figures.sinks.iter().map(|(name, sink)| SinkView::new(name, sink, &rates)).collect(),
            notices_due: figures.notices_due.clone(),
            held_too_long: figures.held_too_long,
            verify: figures.verify.clone(),
            stock: products.map(|products| StockView::new(products, ranking)),
            ranking: ranked(products, ranking),
            coupons: caches.coupons.as_deref().map(coupons).unwrap_or_default(),
            rush,
        };
        self.taken.push_back(now);
        if self.taken.len() > WINDOW {
            self.taken.pop_front();
        }
        snapshot
    }
}

/// What everybody looks at, as far as it was ever read.
#[derive(Default)]
struct Caches {
    products: Option<Arc<Products>>,
    ranking: Option<Arc<Ranking>>,
    coupons: Option<Arc<Coupons>>,
}

impl Caches {
    async fn read(app: &App) -> Self {
        Self {
            products: app.products.snapshot().await.ok(),
            ranking: app.popular.ranking(RANKING_DAYS).await.ok(),
            coupons: app.coupons.snapshot().await.ok(),
        }
    }
}

/// What happened between two looks.
struct Rates<'a> {
    before: Option<&'a Figures>,
    seconds: f64,
}

impl<'a> Rates<'a> {
    fn new(before: Option<&'a Taken>, now: &Taken) -> Self {
        let seconds = before.map_or(0.0, |before| now.at.duration_since(before.at).as_secs_f64());
        Self { before: before.map(|before| &before.figures).filter(|_| seconds > 0.0), seconds }
    }

    /// Per second, of a counter that was `of` the look before.
    fn per_s(&self, now: f64, of: impl FnOnce(&Figures) -> f64) -> Option<f64> {
        self.before.map(|before| (now - of(before)).max(0.0) / self.seconds)
    }

    fn by_code(&self, now: &BTreeMap<String, f64>, of: impl Fn(&Figures) -> &BTreeMap<String, f64>) -> Vec<CodeView> {
        let view = |(code, total): (&String, &f64)| CodeView {
            code: code.clone(),
            total: *total,
            per_s: self.per_s(*total, |before| of(before).get(code).copied().unwrap_or_default()),
        };
        now.iter().map(view).collect()
    }
}

impl GateView {
    fn new(cell: &Cell) -> Self {
        let (epoch, why) = match cell.shared.gate() {
            GateState::Open(epoch) => (Some(epoch), None),
            GateState::Closed(why) => (None, Some(why)),
        };
        Self { cell: cell.shared.id.to_string(), is_open: epoch.is_some(), epoch, why }
    }
}

impl OrdersView {
    fn new(figures: &Figures, rates: &Rates<'_>) -> Self {
        let (refused, failed) = (sum(&figures.refused), sum(&figures.failed));
        Self {
            accepted: figures.accepted,
            accepted_per_s: rates.per_s(figures.accepted, |before| before.accepted),
            refused,
            refused_per_s: rates.per_s(refused, |before| sum(&before.refused)),
            failed,
            failed_per_s: rates.per_s(failed, |before| sum(&before.failed)),
            replayed_per_s: rates.per_s(figures.replayed, |before| before.replayed),
            refusals: rates.by_code(&figures.refused, |figures| &figures.refused),
            failures: rates.by_code(&figures.failed, |figures| &figures.failed),
        }
    }
}

fn sum(counts: &BTreeMap<String, f64>) -> f64 {
    counts.values().fold(0.0, |sum, count| sum + count)
}

impl LatencyView {
    fn new(first: &Taken, now: &Taken, rush: Option<&Progress>) -> Self {
        Self {
            window_s: now.at.duration_since(first.at).as_secs_f64(),
            orders: TimesView::new(&now.figures.order_times.since(&first.figures.order_times)),
            rush: rush.map(|rush| rush.recent(now.at)).unwrap_or_default(),
            redis: TimesView::new(&now.figures.redis_times.since(&first.figures.redis_times)),
        }
    }
}

impl TimesView {
    fn new(times: &Histogram) -> Self {
        let ms = |share| times.quantile(share).map(|seconds| seconds * 1_000.0);
        Self { count: times.count(), p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

impl LaneView {
    fn new(figures: &Figures, rates: &Rates<'_>) -> Self {
        let batches = rates.per_s(figures.batches, |before| before.batches).filter(|batches| *batches > 0.0);
        let ops = rates.per_s(figures.batch_ops, |before| before.batch_ops);
        Self {
            queue: figures.queue,
            ops_per_batch: ops.zip(batches).map(|(ops, batches)| ops / batches),
            script_errors: figures.script_errors,
        }
    }
}

impl LogView {
    fn new(log: &LogFigures, rates: &Rates<'_>) -> Self {
        Self {
            entries: log.entries,
            lag_events: log.lag_events,
            lag_seconds: log.lag_seconds,
            committed_per_s: rates.per_s(log.committed, |before| before.log.committed),
            parked: log.parked,
            is_stopped: log.stopped.map(is_set),
        }
    }
}

impl SinkView {
    fn new(name: &str, sink: &SinkFigures, rates: &Rates<'_>) -> Self {
        let before = |all: &Figures, of: fn(&SinkFigures) -> f64| all.sinks.get(name).map_or(0.0, of);
        Self {
            sink: name.to_owned(),
            lag_events: sink.lag_events,
            lag_seconds: sink.lag_seconds,
            waiting: sink.waiting,
            dead_letters: sink.dead_letters,
            breaker: sink.breaker,
            is_stopped: sink.stopped.map(is_set),
            delivered_per_s: rates.per_s(sink.delivered, |all| before(all, |sink| sink.delivered)),
            undelivered_per_s: rates.per_s(sink.undelivered, |all| before(all, |sink| sink.undelivered)),
        }
    }
}

/// Gauges that are 0 or 1.
fn is_set(gauge: f64) -> bool {
    gauge > 0.0
}

impl StockView {
    fn new(products: &Products, ranking: Option<&Ranking>) -> Self {
        let sold: HashMap<ProductId, u64> =
            ranking.map(|ranking| ranking.sold.iter().copied().collect()).unwrap_or_default();
        let view = |product: &Product| ProductView {
            product_id: product.id,
            name: product.name.clone(),
            stock: product.stock,
            sold: sold.get(&product.id).copied().unwrap_or_default(),
            window: window(product.starts, product.ends, products.as_of_ms),
            starts_at: product.starts,
            ends_at: product.ends,
        };
        let mut shown: Vec<ProductView> = products.on_sale().map(view).collect();
        shown.sort_by_key(|product| (product.window, Reverse(product.sold), product.product_id));
        let more = shown.len().saturating_sub(SHOWN_MAX);
        shown.truncate(SHOWN_MAX);
        Self { as_of: products.as_of_ms, products: shown, more }
    }
}

fn window(starts: Option<i64>, ends: Option<i64>, now_ms: i64) -> Window {
    if starts.is_some_and(|starts| now_ms < starts) {
        Window::Upcoming
    } else if ends.is_some_and(|ends| now_ms >= ends) {
        Window::Over
    } else if starts.is_none() && ends.is_none() {
        Window::Always
    } else {
        Window::Open
    }
}

fn ranked(products: Option<&Products>, ranking: Option<&Ranking>) -> Vec<RankedView> {
    let (Some(products), Some(ranking)) = (products, ranking) else { return Vec::new() };
    let view = |(id, sold): &(ProductId, u64)| {
        let product = products.get_on_sale(*id)?;
        Some(RankedView { product_id: *id, name: product.name.clone(), sold: *sold })
    };
    ranking.sold.iter().filter_map(view).take(SHOWN_MAX).collect()
}

fn coupons(coupons: &Coupons) -> Vec<CouponView> {
    let offered = coupons.offered().take(SHOWN_MAX);
    offered
        .map(|(coupon_id, coupon)| CouponView {
            coupon_id,
            name: coupon.name.clone(),
            remaining: coupon.remaining,
            total: coupon.total,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(at: Instant, text: &str) -> Taken {
        Taken { at, figures: Figures::read(text) }
    }

    #[test]
    fn rates_are_of_what_came_since_the_look_before() {
        let start = Instant::now();
        let done = "flashsale_lane_ops_total{op=\"place_order\",outcome=\"done\"}";
        let refused = "flashsale_lane_refusals_total{op=\"place_order\",code=\"SALE_CLOSED\"}";
        let before = taken(start, &format!("{done} 100\n"));
        let now = taken(start + Duration::from_secs(2), &format!("{done} 130\n{refused} 8\n"));
        let json = |before| {
            let view = OrdersView::new(&now.figures, &Rates::new(before, &now));
            serde_json::to_value(&view).expect("plain data")
        };
        let known = json(Some(&before));
        assert_eq!((&known["accepted"], &known["acceptedPerS"]), (&130.0.into(), &15.0.into()));
        assert_eq!(known["refusals"], serde_json::json!([{"code": "SALE_CLOSED", "total": 8.0, "perS": 4.0}]));
        // The first look knows of no time before it.
        assert!(json(None)["acceptedPerS"].is_null());
    }

    #[test]
    fn sinks_and_batches_have_rates_of_their_own() {
        let start = Instant::now();
        let text = |n: u32| {
            format!(
                "flashsale_forward_deliveries_total{{sink=\"platform\",outcome=\"delivered\"}} {n}\n\
                flashsale_lane_batch_ops_sum {}\nflashsale_lane_batch_ops_count {n}\n",
                5 * n
            )
        };
        let (before, now) = (taken(start, &text(10)), taken(start + Duration::from_secs(1), &text(20)));
        let rates = Rates::new(Some(&before), &now);
        let sink = SinkView::new("platform", &now.figures.sinks["platform"], &rates);
        let lane = LaneView::new(&now.figures, &rates);
        let json =
            serde_json::json!([sink.delivered_per_s, sink.undelivered_per_s, sink.lag_events, lane.ops_per_batch]);
        assert_eq!(json, serde_json::json!([10.0, 0.0, null, 5.0]));
        let idle =
            LaneView::new(&now.figures, &Rates::new(Some(&now), &taken(start + Duration::from_secs(3), &text(20))));
        assert!(idle.ops_per_batch.is_none(), "no batch, no size");
    }

    #[test]
    fn a_window_has_a_beginning_and_an_end() {
        for (starts, ends, expected) in [
            (None, None, Window::Always),
            (Some(10), None, Window::Open),
            (Some(11), None, Window::Upcoming),
            (None, Some(11), Window::Open),
            (None, Some(10), Window::Over),
            (Some(5), Some(15), Window::Open),
        ] {
            assert_eq!(window(starts, ends, 10), expected, "{starts:?} {ends:?}");
        }
        assert!(Window::Open < Window::Upcoming && Window::Always < Window::Over);
    }
}
