//! Chromium without a window, and its driver. Both end with the test.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for something that must appear.
const PATIENCE: Duration = Duration::from_secs(20);

const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A running driver.
pub struct Driver {
    url: String,
    _child: Child,
}

impl Driver {
    /// Starts chromedriver on a port of its own choice.
    pub async fn start() -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver: make test-browser installs it");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = async {
            loop {
                let line = lines.next_line().await.expect("readable").expect("it says its port");
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    break port.trim_end_matches('.').to_owned();
                }
            }
        };
        let port = tokio::time::timeout(PATIENCE, port).await.expect("it starts in time");
        // Whoever stops reading lets it hang.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url: format!("http://127.0.0.1:{port}"), _child: child }
    }

    /// A browser with a profile of its own.
    pub async fn browser(&self, width: u32, height: u32) -> Browser {
        let profile = tempfile::tempdir().expect("a folder");
        let mut capabilities = serde_json::Map::new();
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en",
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ]);
        capabilities.insert("goog:chromeOptions".to_owned(), json!({"args": arguments}));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&self.url).await.expect("a browser");
        Browser { client, _profile: profile }
    }
}

/// One browser window.
pub struct Browser {
    client: Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect(url);
    }

    /// The text of an element.
    pub async fn text(&self, id: &str) -> String {
        let css = format!("[data-testid='{id}']");
        let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(&css)).await.expect(id);
        element.text().await.unwrap_or_default()
    }

    /// Clicks, and again where the page drew the element anew or something lay over it: such a click did nothing.
    pub async fn click(&self, id: &str) {
        let css = format!("[data-testid='{id}']");
        let started = Instant::now();
        loop {
            let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(&css)).await.expect(id);
            match element.click().await {
                Ok(()) => return,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{id}: {error}"),
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    pub async fn write(&self, id: &str, text: &str) {
        let css = format!("[data-testid='{id}']");
        let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(&css)).await.expect(id);
        element.clear().await.expect(id);
        element.send_keys(text).await.expect(id);
    }

    /// Waits until the text of an element is as it should be, and returns it.
    pub async fn becomes(&self, id: &str, is_right: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = self.text(id).await;
            if is_right(&text) {
                return text;
            }
            assert!(started.elapsed() < PATIENCE, "{id} is still {text:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> serde_json::Value {
        self.client.execute(script, Vec::new()).await.expect(script)
    }

    /// A picture under `target/browser`.
    pub async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/browser");
        std::fs::create_dir_all(&folder).expect("a folder under target");
        let png = self.client.screenshot().await.expect("a picture");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("written");
    }

    /// The page is as wide as the window, and no wider.
    pub async fn fits(&self) {
        let wider = self.run("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(wider.as_i64().is_some_and(|pixels| pixels <= 0), "{wider} pixels too wide");
    }

    pub async fn close(self) {
        self.client.close().await.expect("it closes");
    }
}
