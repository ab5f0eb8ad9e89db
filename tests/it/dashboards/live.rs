//! A real Prometheus scrapes a busy shop and is asked everything that dashboards and rules ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::support::gateway::PlayedGateway;
use super::super::support::platform::PlayedPlatform;
use super::super::support::shop::{Shop, unique};
use super::board::{Board, Query, rules};
use super::prometheus::{Prometheus, promtool, said};
use super::promql::{Selector, analyse};

/// Longest wait until everything was seen: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Panels that rightly find nothing in a shop where nothing is wrong.
const EMPTY: [(&str, &str); 5] = [
    ("sale.json: Alerts: A", "nothing is wrong, or not for long enough"),
    ("path.json: Answers that are not the client's fault, and slow orders: A", "there are none"),
    ("path.json: Held, failed, contradicted: B", "appears with the first failure"),
    ("path.json: Held, failed, contradicted: C", "appears with the first contradiction"),
    // Of every dashboard.
    ("annotation", "nothing was started or closed within the last minute"),
];

/// Values of labels that only something wrong brings about.
const ONLY_WHEN_WRONG: [(&str, &str); 1] = [("outcome", "failed")];

/// Labels that Prometheus itself adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// What comes after a while comes soon, and a busy machine has time enough for an answer.
const SETTINGS: [(&str, &str); 5] = [
    ("GATEWAY_TIMEOUT_MS", "2000"),
    ("GATEWAY_RECOVERY_MS", "2000"),
    ("SWEEP_INTERVAL_MS", "50"),
    ("RESERVATION_TTL_MS", "10000"),
    ("VERIFY_INTERVAL_MS", "500"),
];

/// A shop of two processes, and the Prometheus that scrapes both.
pub struct Scene {
    pub prometheus: Prometheus,
    _second: Shop,
    pub shop: Shop,
    /// Its fault is one for all who sell, so one of them pays at a time.
    gateway: Mutex<PlayedGateway>,
    _platform: PlayedPlatform,
}

impl Scene {
    pub async fn start(test: &str) -> Self {
        let (platform, gateway) = (PlayedPlatform::start().await, PlayedGateway::start().await);
        let settings = gateway.settings(&SETTINGS);
        let shop = platform.shop(test, &settings).await;
        // A second process, with every role: lines and alerts of two instances must not be taken for one.
        let second = Shop::start_on(shop.backends.clone(), &platform.settings(&settings)).await;
        let addresses = [&shop, &second].map(|shop| shop.client.ops_url.trim_start_matches("http://"));
        let prometheus = Prometheus::start(&addresses).await;
        Self { prometheus, _second: second, shop, gateway: Mutex::new(gateway), _platform: platform }
    }

    /// Charges a balance while nobody has switched the gateway's fault on.
    pub async fn charge(&self, user: &str, amount: u64) {
        let _gateway = self.gateway.lock().await;
        self.shop.client.charge(user, amount).await;
    }

    /// Everything that makes a metric move, for ever, with goods of its own, so several can sell at once. In each round a user
    /// of his own, whose name begins with `prefix`, takes three of the mugs.
    pub async fn sell(&self, prefix: &str, mugs: u64) {
        let client = &self.shop.client;
        let mug = client.product("Mug", 500, mugs).await;
        let rare = client.product("Rare", 900, 0).await;
        let coupon = client.coupon(&json!({"totalQuantity": 100_000})).await;
        for round in 0.. {
            let user = format!("{prefix}-{round}");
            let user = user.as_str();
            self.charge(user, 10_000).await;
            let paid = client.order(user, &unique("buy"), mug, 1).await.expect(201).text("orderId");
            client.order(user, &unique("buy"), rare, 1).await.expect_problem(400, "INSUFFICIENT_STOCK");
            client.cancel(user, &unique("refund"), &paid).await.expect(200);
            // Nobody pays for it, so it expires.
            client.reserve(user, mug, 1).await;
            let by_card = client.reserve(user, mug, 1).await;
            let held = client.reserve(user, mug, 1).await;
            let gateway = self.gateway.lock().await;
            client.pay(user, &unique("pay"), &by_card, "CARD", 500).await.expect(200);
            gateway.fault("lost_answer").await;
            client.pay(user, &unique("pay"), &held, "CARD", 500).await.expect(202);
            gateway.fault("approve").await;
            drop(gateway);

            client.issue(user, coupon).await;
            let again = client.post_empty(&format!("/api/coupons/{coupon}/issue"), user, &unique("issue")).await;
            again.expect_problem(409, "ALREADY_ISSUED");
            let request = json!({"email": "someone@example.com"});
            let path = format!("/api/products/{rare}/restock-notifications");
            client.post(&path, user, &unique("restock"), &request).await.expect(201);
            client.add_stock(rare, 1).await;
            client.order(user, &unique("buy"), rare, 1).await.expect(201);
            for path in ["/api/products", "/api/coupons", "/api/products/popular", "/api/orders", "/api/cart"] {
                client.get(path, Some(user)).await.expect(200);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_asked_is_answered() {
    let scene = Scene::start("dashboards").await;
    tokio::select! {
        () = scene.sell("user", 1_000_000) => unreachable!("it sells for ever"),
        () = ask(&scene.prometheus) => {}
    }
    lint(&scene.shop).await;
}

async fn ask(prometheus: &Prometheus) {
    every_panel_shows_something(prometheus).await;
    every_rule_is_evaluated(prometheus).await;
    every_label_exists(prometheus).await;
}

async fn every_panel_shows_something(prometheus: &Prometheus) {
    let started = Instant::now();
    let mut left: Vec<Query> = Board::all().iter().flat_map(Board::queries).collect();
    loop {
        let mut unseen = Vec::new();
        for query in left {
            if !shows_something(prometheus, &query).await {
                unseen.push(query);
            }
        }
        left = unseen;
        if left.is_empty() {
            return;
        }
        let places: Vec<&String> = left.iter().map(|query| &query.place).collect();
        assert!(started.elapsed() < PATIENCE, "nothing to see: {places:#?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Whether a query found what its panel can show; panics when it never will.
async fn shows_something(prometheus: &Prometheus, query: &Query) -> bool {
    let place = &query.place;
    let expr = query.runnable();
    let series = prometheus.query(&expr).await.unwrap_or_else(|error| panic!("{place}: {expr}: {error}"));
    for (labels, _) in &series {
        for label in query.legend_labels() {
            assert!(labels[label].is_string(), "{place}: the legend shows {label}, but {labels} does not have it");
        }
    }
    let names: BTreeSet<String> = series
        .iter()
        .map(|(labels, _)| query.legend_labels().iter().map(|label| labels[label].to_string()).collect())
        .collect();
    assert!(names.len() == series.len() || query.legend.is_empty(), "{place}: several lines have one name: {series:?}");
    let is_rightly_empty = EMPTY.iter().any(|(empty, _)| place == empty || place.contains(&format!(": {empty} ")));
    is_rightly_empty || series.iter().any(|(_, value)| !value.is_nan())
}

async fn every_rule_is_evaluated(prometheus: &Prometheus) {
    let rules = rules();
    for rule in &rules {
        prometheus.query(&rule.expr).await.unwrap_or_else(|error| panic!("{}: {error}", rule.name));
    }
    let started = Instant::now();
    loop {
        let evaluated = prometheus.rules().await;
        let names: BTreeSet<&str> = evaluated.iter().filter_map(|rule| rule["name"].as_str()).collect();
        assert_eq!(names, rules.iter().map(|rule| rule.name.as_str()).collect());
        let unhealthy: Vec<&Value> = evaluated.iter().filter(|rule| rule["health"] != "ok").collect();
        if unhealthy.is_empty() {
            let paging =
                evaluated.iter().filter(|rule| rule["state"] == "firing" && rule["labels"]["severity"] == "page");
            assert_eq!(paging.collect::<Vec<_>>(), Vec::<&Value>::new(), "somebody is woken up for nothing");
            return;
        }
        let is_waiting = unhealthy.iter().all(|rule| rule["health"] == "unknown");
        assert!(is_waiting && started.elapsed() < PATIENCE, "{unhealthy:#?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Every label in a selector or a grouping is one that the metric has, and every value that is named occurs. A metric that
/// is not there now has no labels to compare with.
async fn every_label_exists(prometheus: &Prometheus) {
    let asked = Board::all().into_iter().flat_map(|board| board.queries());
    let mut expressions: Vec<(String, String)> = asked.map(|query| (query.place.clone(), query.runnable())).collect();
    expressions.extend(rules().into_iter().map(|rule| (rule.name, rule.expr)));
    let mut known = BTreeMap::new();
    for (place, expr) in expressions {
        let (selectors, groupings) = analyse(&expr).expect(&place);
        for selector in &selectors {
            if !known.contains_key(&selector.metric) {
                known.insert(selector.metric.clone(), Labels::of(prometheus, selector).await);
            }
            known[&selector.metric].check(&place, selector);
        }
        for grouping in groupings {
            let has = |label: &String| {
                ADDED.contains(&label.as_str()) || grouping.metrics.iter().any(|m| known[m].has(label))
            };
            let unknown: Vec<&String> = grouping.labels.iter().filter(|label| !has(label)).collect();
            assert!(unknown.is_empty(), "{place}: grouped by {unknown:?}");
        }
    }
}

/// The labels of a metric, and their values.
struct Labels(BTreeMap<String, BTreeSet<String>>);

impl Labels {
    async fn of(prometheus: &Prometheus, selector: &Selector) -> Self {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for series in prometheus.series(&selector.metric).await {
            for (label, value) in series.as_object().expect("labels") {
                labels.entry(label.clone()).or_default().insert(value.as_str().expect("a text").to_owned());
            }
        }
        Self(labels)
    }

    fn has(&self, label: &str) -> bool {
        self.0.is_empty() || self.0.contains_key(label)
    }

    fn check(&self, place: &str, selector: &Selector) {
        // Alerts are as they happen to be.
        if self.0.is_empty() || selector.metric == "ALERTS" {
            return;
        }
        for matcher in &selector.matchers {
            let values = self.0.get(&matcher.label);
            let values =
                values.unwrap_or_else(|| panic!("{place}: {} has no label {}", selector.metric, matcher.label));
            for value in matcher.named_values() {
                let is_rare = ONLY_WHEN_WRONG.contains(&(matcher.label.as_str(), value));
                assert!(
                    is_rare || values.contains(value),
                    "{place}: {} is never {value:?}, but {values:?}",
                    matcher.label
                );
            }
        }
    }
}

/// What promtool thinks of the metrics of a busy shop.
async fn lint(shop: &Shop) {
    let url = format!("{}/metrics", shop.client.ops_url);
    let text = reqwest::get(url).await.expect("metrics").text().await.expect("text");
    let output = promtool(&["check", "metrics"], &text).await;
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_the_rules() {
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "rules.yml"],
        &["test", "rules", "rules_test.yml"],
    ] {
        let output = promtool(arguments, "").await;
        assert!(output.status.success(), "promtool {arguments:?}: {}", said(&output));
    }
}
