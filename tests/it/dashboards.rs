//! `grafana/`: dashboards, alerts and what provides them. They speak of metrics that exist, explain every panel and every
//! alert, and a Prometheus that scrapes a busy shop can answer all that they ask (`live.rs`).

mod board;
mod live;
mod picture;
mod pictures;
mod prometheus;
mod promql;

use std::collections::BTreeSet;

use flashsale::metrics;
use serde_json::{Value, json};

use board::{Board, read, rules, runnable, text, yaml};
use promql::analyse;

/// Metrics that every scrape and every process has (crate `metrics-process`), and those of Prometheus' own rules.
const FOREIGN: [&str; 9] = [
    "ALERTS",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "up",
];

/// Those that Grafana knows, and we use: it shows a unit that it does not know as if it were one.
const UNITS: [&str; 8] = ["bytes", "locale", "none", "ops", "percentunit", "reqps", "s", "short"];

/// The metric of ours that a name in an expression belongs to: histograms have three names each.
fn own_metric(name: &str) -> Option<&'static str> {
    let is_it = |kind: &str, metric: &str| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric)),
        _ => name == metric,
    };
    metrics::ALL.iter().find(|(kind, metric, _)| is_it(kind, metric)).map(|(_, metric, _)| *metric)
}

#[test]
fn every_panel_explains_itself() {
    let mut uids = BTreeSet::new();
    for Board { name, value } in &Board::all() {
        assert!(uids.insert(text(value, "uid")), "{name}: another dashboard has this uid");
        assert!(text(value, "title").starts_with("Flashsale") && !text(value, "description").is_empty(), "{name}");
        // Links between the dashboards go by tag.
        assert_eq!(
            (&value["tags"], &value["links"][0]["tags"]),
            (&json!(["flashsale"]), &json!(["flashsale"])),
            "{name}"
        );
        // Grafana 11 or newer; the id in a database is not ours to say.
        assert!(
            value["schemaVersion"].as_u64().is_some_and(|version| version >= 39) && value["id"].is_null(),
            "{name}"
        );
    }
    for board in &Board::all() {
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            let title = text(panel, "title");
            let place = format!("{}: {title}", board.name);
            assert!(titles.insert(title), "{place}: twice");
            let description = text(panel, "description");
            assert!(description.len() > 20 && description.ends_with('.'), "{place}: {description:?} explains nothing");
            let unit = text(&panel["fieldConfig"]["defaults"], "unit");
            assert!(UNITS.contains(&unit.as_str()), "{place}: {unit}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"], panel["datasource"], "{place}");
                let is_named = panel["type"] == "table" || !text(target, "legendFormat").is_empty();
                assert!(is_named, "{place}: a line without a name");
            }
            if panel["type"] == "timeseries" {
                assert_eq!(panel["options"]["legend"]["showLegend"], true, "{place}");
            }
        }
    }
}

#[test]
fn panels_have_their_own_place_and_number() {
    for board in &Board::all() {
        let all = board.value["panels"].as_array().expect("panels");
        let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
        assert_eq!(ids.len(), all.len(), "{}: two panels have one id", board.name);
        let mut taken = BTreeSet::new();
        for panel in all {
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
            assert!(side("x") + side("w") <= 24, "{}: {} leaves the grid", board.name, panel["title"]);
            for cell in
                (side("y")..side("y") + side("h")).flat_map(|y| (side("x")..side("x") + side("w")).map(move |x| (x, y)))
            {
                assert!(taken.insert(cell), "{}: {} covers another panel", board.name, panel["title"]);
            }
        }
    }
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let asked = Board::all().into_iter().flat_map(|board| board.queries()).map(|query| (query.place, query.expr, true));
    let rules = rules().into_iter().map(|rule| (rule.name, rule.expr, false));
    for (place, expr, is_on_dashboard) in asked.chain(rules) {
        let (selectors, _) = analyse(&runnable(&expr)).unwrap_or_else(|error| panic!("{place}: {error}"));
        for selector in selectors {
            let metric = selector.metric.as_str();
            assert!(own_metric(metric).is_some() || FOREIGN.contains(&metric), "{place}: {metric:?} is no metric");
            let matches = |label: &str, op: &str, value: &str| {
                selector.matchers.iter().any(|m| (m.label.as_str(), m.op, m.value.as_str()) == (label, op, value))
            };
            // Others have metrics of these names, too.
            let is_shared = metric == "up" || metric.starts_with("process_");
            assert!(!is_shared || matches("job", "=", "flashsale"), "{place}: {metric} of whom?");
            let is_of_instance = matches("instance", "=~", ".+");
            assert_eq!(
                is_of_instance,
                is_on_dashboard && metric != "ALERTS",
                "{place}: {metric}: instance=~\"$instance\""
            );
        }
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let mut shown = BTreeSet::new();
    for query in Board::all().iter().flat_map(Board::queries) {
        let (selectors, _) = analyse(&query.runnable()).expect(&query.place);
        shown.extend(selectors.iter().filter_map(|selector| own_metric(&selector.metric)));
    }
    let all: BTreeSet<&str> = metrics::ALL.iter().map(|(_, metric, _)| *metric).collect();
    let missing: Vec<&&str> = all.difference(&shown).collect();
    assert!(missing.is_empty(), "on no dashboard: {missing:?}");
}

#[test]
fn every_alert_says_what_is_wrong_and_where_to_read_on() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let anchors: BTreeSet<String> = readme.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let tests = read("rules_test.yml");
    let mut names = BTreeSet::new();
    for rule in rules() {
        let (name, annotations) = (&rule.name, &rule.value["annotations"]);
        assert!(name.starts_with("Flashsale") && names.insert(name.clone()), "{name}");
        assert!(["page", "ticket"].contains(&text(&rule.value["labels"], "severity").as_str()), "{name}");
        assert!(
            !text(annotations, "summary").ends_with('.') && text(annotations, "description").ends_with('.'),
            "{name}"
        );
        let runbook = text(annotations, "runbook");
        let heading = runbook.strip_prefix("README.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(anchors.contains(heading), "{name}: the README has no heading {heading}");
        assert!(tests.contains(name), "{name} has no test in grafana/rules_test.yml");
    }
    assert!(names.len() > 20, "{names:?}");
}

/// As GitHub makes it from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[test]
fn grafana_finds_the_dashboards_and_their_source() {
    let source = &yaml("provisioning/datasources/prometheus.yml")["datasources"][0];
    let scrape = yaml("prometheus.yml");
    // Grafana takes from it how short a step makes sense.
    assert_eq!(source["jsonData"]["timeInterval"], scrape["global"]["scrape_interval"]);
    assert_eq!(scrape["scrape_configs"][0]["job_name"], "flashsale");
    assert_eq!(scrape["rule_files"], json!(["rules.yml"]));
    for Board { name, value } in &Board::all() {
        let variables = value["templating"]["list"].as_array().expect("variables");
        let variable = |name: &str| variables.iter().find(|variable| variable["name"] == name).expect("a variable");
        assert_eq!(
            (&variable("datasource")["type"], &variable("datasource")["query"]),
            (&json!("datasource"), &source["type"])
        );
        assert_eq!(variable("instance")["query"]["query"], "label_values(up{job=\"flashsale\"}, instance)", "{name}");
        assert_eq!(variable("instance")["current"]["value"], json!(["$__all"]), "{name}");
        assert!(value["refresh"].is_string() && value["time"] != Value::Null, "{name}");
    }
}
