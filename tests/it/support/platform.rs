//! A data platform that is played in the process of the test, with its faults to switch on and its book to look into.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::sandbox::PlayedSandbox;
use super::shop::{Backends, Shop, within};

/// Longest wait for everything to be told: half of it may fail.
const PATIENCE: Duration = Duration::from_mins(2);

/// Tried again soon: for tests that wait for it.
pub const QUICK: [(&str, &str); 5] = [
    ("PLATFORM_TIMEOUT_MS", "300"),
    ("FORWARD_RETRY_MS", "200,300,300"),
    ("FORWARD_INTERVAL_MS", "20"),
    ("FORWARD_COMMIT_INTERVAL_MS", "20"),
    ("BREAKER_OPEN_MS", "200"),
];

/// A running platform. It ends, with its book, when this is dropped.
pub struct PlayedPlatform {
    url: String,
    notification_webhook: String,
    alert_webhook: String,
    sandbox: PlayedSandbox,
}

impl PlayedPlatform {
    /// Starts one that knows nothing and takes everything.
    pub async fn start() -> Self {
        let sandbox = PlayedSandbox::start().await;
        Self {
            url: sandbox.at("/platform/events"),
            notification_webhook: sandbox.at("/platform/webhooks/notifications"),
            alert_webhook: sandbox.at("/platform/webhooks/alerts"),
            sandbox,
        }
    }

    /// Settings of a shop that tells this platform, soon.
    pub fn settings<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut settings = vec![
            ("PLATFORM_URL", self.url.as_str()),
            ("NOTIFICATION_WEBHOOK", self.notification_webhook.as_str()),
            ("ALERT_WEBHOOK", self.alert_webhook.as_str()),
        ];
        settings.extend(QUICK);
        settings.extend(more);
        settings
    }

    /// A shop of its own that tells this platform.
    pub async fn shop(&self, test: &str, more: &[(&str, &str)]) -> Shop {
        Shop::start_on(Backends::shared(test).await, &self.settings(more)).await
    }

    /// Switches faults on: `{mode, percent?, delayMs?, retryAfterS?, users?, seed?, paths?}`.
    pub async fn faults(&self, setting: &Value) {
        self.sandbox.put("/platform/faults", setting).await;
    }

    /// Switches one fault on, for every call.
    pub async fn fault(&self, mode: &str) {
        self.faults(&json!({"mode": mode, "delayMs": 1_000})).await;
    }

    /// Wants everything to be signed from now on.
    pub async fn want_signed(&self, secret: &str) {
        self.sandbox.put("/platform/secret", &json!({"secret": secret})).await;
    }

    /// Every event that it took, in order of the first arrival; none came too late, and none came twice with another content.
    pub async fn book(&self) -> Vec<Value> {
        let (events, out_of_order) = self.book_and_disorder().await;
        assert_eq!(out_of_order, BTreeSet::new(), "out of order");
        events
    }

    /// Every event that it took, in order of the first arrival, and the ids of those that came too late.
    pub async fn book_and_disorder(&self) -> (Vec<Value>, BTreeSet<String>) {
        let mut body = self.sandbox.get("/platform/book").await;
        assert_eq!(body["conflicts"], 0, "one id for two things");
        let late = body["outOfOrder"].as_array().expect("a list").iter();
        let late = late.map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
        (serde_json::from_value(body["events"].take()).expect("a list"), late)
    }

    /// Requests that came with events, whatever became of them.
    pub async fn requests(&self) -> u64 {
        self.sandbox.get("/platform/summary").await["requests"].as_u64().expect("a number")
    }

    /// What a webhook (`notifications`, `alerts`) got: the bodies, in order.
    pub async fn received(&self, webhook: &str) -> Vec<Value> {
        let mut body = self.sandbox.get(&format!("/platform/webhooks/{webhook}")).await;
        let received: Vec<Value> = serde_json::from_value(body["received"].take()).expect("a list");
        received.into_iter().map(|mut call| call["body"].take()).collect()
    }
}

/// Waits until the sink has passed or parked everything, and nothing waits for another try.
pub async fn wait_told(shop: &Shop) {
    shop.wait_written().await;
    let database = shop.database().await;
    let sql = "SELECT (SELECT coalesce(max(seq), 0) FROM writer_cursor) - (SELECT coalesce(max(seq), 0) FROM sink_cursors) \
               + (SELECT count(*) FROM deliveries WHERE state IN ('PENDING', 'REPLAY'))";
    within(PATIENCE, "everything is told", async || {
        let left: i64 = database.query_one(sql, &[]).await.expect(sql).get(0);
        (left == 0).then_some(())
    })
    .await;
}

/// What the platform must know at the end, by the id of the event: type, user, order, its amount, and what happened to the
/// balance.
pub type Told = BTreeMap<String, (String, String, Option<String>, Option<i64>, Option<(String, i64, i64)>)>;

/// The book as [`Told`].
pub fn in_the_book(book: &[Value]) -> Told {
    let text = |event: &Value, member: &str| event[member].as_str().map(str::to_owned);
    let told = book.iter().map(|event| {
        let balance = text(event, "balanceType").map(|kind| {
            (kind, event["amount"].as_i64().expect("an amount"), event["balanceAfter"].as_i64().expect("an amount"))
        });
        let facts = (
            text(event, "type").expect("a type"),
            text(event, "userId").expect("a user"),
            text(event, "orderId"),
            event["finalAmount"].as_i64(),
            balance,
        );
        (text(event, "id").expect("an id"), facts)
    });
    told.collect()
}

/// The same, worked out from the orders and the ledger in PostgreSQL.
pub async fn in_the_ledger(shop: &Shop) -> Told {
    shop.wait_written().await;
    // An order was told of when it was paid and when it was given up, and every transaction of a balance with it or alone.
    let sql = "
        WITH told AS (
            SELECT coalesce(confirmed_seq, order_id) AS id, 'order-completed' AS type, user_id, order_id, final_amount
            FROM orders WHERE status IN ('CONFIRMED', 'REFUNDED')
            UNION ALL
            SELECT released_seq, 'order-cancelled', user_id, order_id, final_amount
            FROM orders WHERE status IN ('CANCELLED', 'REFUNDED')
        )
        SELECT coalesce(o.id, t.transaction_id)::text, coalesce(o.type, 'balance-changed'), coalesce(o.user_id, t.user_id),
            o.order_id::text, o.final_amount, t.type, t.amount, t.balance_after
        FROM told o FULL JOIN balance_transactions t ON t.transaction_id = o.id";
    let rows = shop.database().await.query(sql, &[]).await.expect("orders and transactions");
    let told = rows.iter().map(|row| {
        let balance = row.get::<_, Option<String>>(5).map(|kind| (kind, row.get(6), row.get(7)));
        (row.get(0), (row.get(1), row.get(2), row.get(3), row.get(4), balance))
    });
    told.collect()
}
