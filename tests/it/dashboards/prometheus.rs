//! A Prometheus of a test's own, and promtool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::super::support::fresh_folder;
use super::super::support::shop::{eventually, free_port};
use super::board;

/// How often a test's Prometheus scrapes and evaluates.
const PAUSE: &str = "500ms";

/// For one question, or one run of promtool.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A program of Debian's package.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    let found = folders.find(|folder| folder.join(name).is_file());
    found.unwrap_or_else(|| panic!("{name} not found: run scripts/setup (or apt-get install prometheus)")).join(name)
}

/// What was found over a time.
pub struct Series {
    pub labels: Value,
    /// One for each step; none where there was nothing.
    pub values: Vec<Option<f64>>,
}

/// A running Prometheus with the rules of `grafana/`; killed when dropped, and when the test's thread ends.
pub struct Prometheus {
    url: String,
    http: reqwest::Client,
    _child: Child,
}

impl Prometheus {
    /// Starts one as `grafana/prometheus.yml` says, but of these addresses and more often, and waits until it answers.
    pub async fn start(addresses: &[&str]) -> Self {
        let (folder, port) = (fresh_folder("prometheus"), free_port());
        let config = ["scrape_interval: 5s", "scrape_timeout: 4s", "evaluation_interval: 15s"].iter().fold(
            replaced(&board::read("prometheus.yml"), "flashsale:8081", &addresses.join("\", \"")),
            |config, setting| {
                let name = setting.split(' ').next().expect("a name");
                replaced(&config, setting, &format!("{name} {PAUSE}"))
            },
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("a file");
        std::fs::write(folder.join("rules.yml"), board::read("rules.yml")).expect("a file");
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build().expect("a client");
        let prometheus = Self { url: format!("http://127.0.0.1:{port}"), http, _child: spawn(&folder, port) };
        let ready = format!("{}/-/ready", prometheus.url);
        eventually("Prometheus is ready", async || {
            prometheus.http.get(&ready).send().await.ok().filter(|response| response.status() == 200)
        })
        .await;
        prometheus
    }

    /// The `data` of an answer of its API, or what it says instead.
    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let response = self.http.get(format!("{}/api/v1/{path}?{query}", self.url)).send().await.expect("an answer");
        let text = response.text().await.expect("a body");
        let mut body: Value = serde_json::from_str(&text).map_err(|_| text)?;
        if body["status"] == "success" { Ok(body["data"].take()) } else { Err(body["error"].to_string()) }
    }

    /// The series that an expression finds now: labels and value.
    pub async fn query(&self, expr: &str) -> Result<Vec<(Value, f64)>, String> {
        let data = self.get("query", &[("query", expr)]).await?;
        if data["resultType"] != "vector" {
            return Err(format!("it is a {}", data["resultType"]));
        }
        let series = data["result"].as_array().expect("a list").iter();
        let value = |series: &Value| series["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        Ok(series.map(|series| (series["metric"].clone(), value(series))).collect())
    }

    /// The series that an expression finds every `step` seconds from one second to another (since 1970).
    pub async fn query_range(&self, expr: &str, start: i64, end: i64, step: usize) -> Result<Vec<Series>, String> {
        let (from, to, every) = (start.to_string(), end.to_string(), step.to_string());
        let parameters = [("query", expr), ("start", from.as_str()), ("end", to.as_str()), ("step", every.as_str())];
        let data = self.get("query_range", &parameters).await?;
        let point = |point: &Value| {
            let value = point[1].as_str().and_then(|text| text.parse::<f64>().ok());
            (point[0].as_i64().expect("a whole second"), value.expect("a number"))
        };
        let series = |series: &Value| {
            let found: BTreeMap<i64, f64> = series["values"].as_array().expect("a list").iter().map(point).collect();
            let values = (start..=end).step_by(step).map(|second| found.get(&second).copied()).collect();
            Series { labels: series["metric"].clone(), values }
        };
        Ok(data["result"].as_array().expect("a list").iter().map(series).collect())
    }

    /// The labels of every series that a selector finds.
    pub async fn series(&self, selector: &str) -> Vec<Value> {
        let data = self.get("series", &[("match[]", selector)]).await.expect(selector);
        serde_json::from_value(data).expect("a list")
    }

    /// Every rule with its state.
    pub async fn rules(&self) -> Vec<Value> {
        let data = self.get("rules", &[("type", "alert")]).await.expect("rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }
}

/// `text` with its one `from` replaced.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

fn spawn(folder: &Path, port: u16) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new("setpriv");
    // The thread of a test lives as long as the test.
    command.args(["--pdeathsig", "KILL", "--"]).arg(program("prometheus"));
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn");
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().expect("setpriv runs")
}

/// Runs promtool in `grafana/`, with `input`, and returns what came of it.
pub async fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program("promtool"));
    command.args(arguments).current_dir(board::path("")).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    let mut stdin = child.stdin.take().expect("its input");
    let feed = async move {
        // It may not want it.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let run = async { tokio::join!(feed, child.wait_with_output()).1 };
    tokio::time::timeout(ANSWER_LIMIT, run).await.expect("promtool ends").expect("its output")
}

/// What promtool printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
