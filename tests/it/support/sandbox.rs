//! The other side, played in the process of the test: a payment gateway and a data platform.

use flashsale::sandbox::Sandbox;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running sandbox. It ends, with its books, when this is dropped.
pub struct PlayedSandbox {
    url: String,
    http: reqwest::Client,
    _running: DropGuard,
}

impl PlayedSandbox {
    /// Starts one that knows nobody and does what it should.
    pub async fn start() -> Self {
        let sandbox = Sandbox::bind(0).await.expect("a free port");
        let url = format!("http://{}", sandbox.address());
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.run(stop.clone()));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, http, _running: stop.drop_guard() }
    }

    /// Where `path` is.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Switches something.
    pub async fn put(&self, path: &str, body: &Value) {
        let request = self.http.put(self.at(path)).body(body.to_string());
        let response = request.send().await.expect("the sandbox answers");
        assert_eq!(response.status(), 200, "{body}");
    }

    /// What it shows.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(self.at(path)).send().await.expect("the sandbox answers");
        assert_eq!(response.status(), 200, "{path}");
        let text = response.text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }
}
