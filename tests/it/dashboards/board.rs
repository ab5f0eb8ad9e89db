//! The dashboards and rules in `grafana/` as their readers see them.

use std::path::PathBuf;

use serde_json::Value;

/// A file below `grafana/`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("grafana").join(name)
}

/// A text file below `grafana/`.
pub fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("grafana/{name}: {error}"))
}

/// A YAML file below `grafana/`.
pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("grafana/{name}: {error}"))
}

/// One dashboard.
pub struct Board {
    /// Its file.
    pub name: String,
    pub value: Value,
}

impl Board {
    /// Every dashboard, by name of the file.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(path("dashboards")).expect("grafana/dashboards");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let load = |name: String| {
            let value = serde_json::from_str(&read(&format!("dashboards/{name}")));
            Self { value: value.unwrap_or_else(|error| panic!("{name}: {error}")), name }
        };
        names.into_iter().map(load).collect()
    }

    /// Its panels, without the rows that they stand in.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        let panels = self.value["panels"].as_array().expect("panels").iter();
        panels.filter(|panel| panel["type"] != "row")
    }

    /// What its panels and annotations ask.
    pub fn queries(&self) -> Vec<Query> {
        let annotations = self.value["annotations"]["list"].as_array().expect("annotations").iter();
        let of_annotation = |annotation: &Value| Query {
            place: format!("{}: annotation {}", self.name, text(annotation, "name")),
            expr: text(annotation, "expr"),
            legend: text(annotation, "textFormat"),
        };
        let asking = annotations.filter(|annotation| annotation["builtIn"] != 1).map(of_annotation);
        self.panels().flat_map(|panel| self.queries_of(panel)).chain(asking).collect()
    }

    /// What one of its panels asks.
    pub fn queries_of(&self, panel: &Value) -> Vec<Query> {
        let title = text(panel, "title");
        let targets = panel["targets"].as_array().expect("targets").iter();
        let ask = |target: &Value| Query {
            place: format!("{}: {title}: {}", self.name, text(target, "refId")),
            expr: text(target, "expr"),
            legend: text(target, "legendFormat"),
        };
        targets.map(ask).collect()
    }
}

/// What one line of a panel asks.
#[derive(Clone, Debug)]
pub struct Query {
    /// File, panel and letter, for messages.
    pub place: String,
    pub expr: String,
    /// The name of each series, with `{{label}}`.
    pub legend: String,
}

impl Query {
    /// As Prometheus is asked when all instances are chosen, in so short a time as that of a test.
    pub fn runnable(&self) -> String {
        runnable(&self.expr)
    }

    /// The labels that its legend shows.
    pub fn legend_labels(&self) -> Vec<&str> {
        let parts = self.legend.split("{{").skip(1);
        parts.map(|part| part.split_once("}}").expect("an end of {{").0.trim()).collect()
    }

    /// The name of a series with these labels; without a legend, what they say.
    pub fn name(&self, labels: &Value) -> String {
        if self.legend.is_empty() {
            let values = labels.as_object().expect("labels").values();
            return values.filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        }
        let mut parts = self.legend.split("{{");
        let mut name = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (label, rest) = part.split_once("}}").expect("an end of {{");
            name += labels[label.trim()].as_str().unwrap_or_default();
            name += rest;
        }
        name
    }
}

/// An expression with Grafana's variables filled in.
pub fn runnable(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "10s").replace("$__range", "30s").replace("$instance", ".+");
    assert!(!expr.contains('$'), "a variable that nobody knows: {expr}");
    expr
}

/// One alert of `rules.yml`.
pub struct Rule {
    pub name: String,
    pub expr: String,
    pub value: Value,
}

/// Every alert.
pub fn rules() -> Vec<Rule> {
    let file = yaml("rules.yml");
    let groups = file["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.map(|rule| Rule { name: text(rule, "alert"), expr: text(rule, "expr"), value: rule.clone() }).collect()
}

/// A member that is a text.
#[track_caller]
pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}")).to_owned()
}

#[test]
fn series_are_named_by_their_legend() {
    let named = |legend: &str| {
        let query = Query { place: String::new(), expr: String::new(), legend: legend.to_owned() };
        query.name(&serde_json::json!({"cell": "0", "sink": "events"}))
    };
    assert_eq!(named("behind: {{sink}}, cell {{ cell }} now"), "behind: events, cell 0 now");
    assert_eq!(named("p99"), "p99");
    assert_eq!(named("{{gone}}"), "");
    assert_eq!(named(""), "0, events");
}
