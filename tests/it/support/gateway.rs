//! A payment gateway that is played in the process of the test, with its faults to switch on and its book to look into.

use serde_json::Value;

use super::sandbox::PlayedSandbox;
use super::shop::{Backends, Shop};

/// Asked again soon: for tests that wait for the sweeper.
pub const QUICK: [(&str, &str); 4] = [
    ("GATEWAY_TIMEOUT_MS", "300"),
    ("GATEWAY_RECOVERY_MS", "300"),
    ("GATEWAY_RECOVERY_MAX_MS", "1000"),
    ("SWEEP_INTERVAL_MS", "50"),
];

/// A running gateway. It ends, with its book, when this is dropped.
pub struct PlayedGateway {
    url: String,
    sandbox: PlayedSandbox,
}

impl PlayedGateway {
    /// Starts one that knows nobody and does what it should.
    pub async fn start() -> Self {
        let sandbox = PlayedSandbox::start().await;
        Self { url: sandbox.at("/gateway"), sandbox }
    }

    /// For the setting `GATEWAY_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Settings of a shop that takes cards over this gateway.
    pub fn settings<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut settings = vec![("GATEWAY_URL", self.url())];
        settings.extend(more);
        settings
    }

    /// A shop of its own that takes cards over this gateway.
    pub async fn shop(&self, test: &str, more: &[(&str, &str)]) -> Shop {
        Shop::start_on(Backends::shared(test).await, &self.settings(more)).await
    }

    /// Switches faults on: `{mode, percent?, delayMs?, calls?, seed?}`.
    pub async fn faults(&self, setting: &Value) {
        self.sandbox.put("/gateway/faults", setting).await;
    }

    /// Switches one fault on for every call.
    pub async fn fault(&self, mode: &str) {
        // Slow means: not within the time of any test.
        self.faults(&serde_json::json!({"mode": mode, "delayMs": 600_000})).await;
    }

    /// Every payment that the gateway knows, in order of arrival.
    pub async fn book(&self) -> Vec<Value> {
        let mut body = self.sandbox.get("/gateway/book").await;
        serde_json::from_value(body["payments"].take()).expect("a list")
    }

    /// What the gateway knows of an order's payment: its status, how often it was charged and how often refunded.
    pub async fn payment_of(&self, order: &str) -> Option<(String, u64, u64)> {
        let end = format!(":order:{order}");
        let book = self.book().await;
        let payment = book.iter().find(|payment| payment["key"].as_str().is_some_and(|key| key.ends_with(&end)))?;
        let times = |member: &str| payment[member].as_u64().expect("a number");
        Some((payment["status"].as_str().expect("a status").to_owned(), times("charges"), times("refunds")))
    }
}
