//! What the data platform knows in the end, whatever it and the forwarder go through, and that no order waits for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join;
use futures::stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::platform::{PlayedPlatform, in_the_book, in_the_ledger, wait_told};
use super::support::seed;
use super::support::shop::{Backends, Shop, eventually, unique};

const USERS: u64 = 400;
const ORDERS_EACH: u64 = 50;
const PRICE: u64 = 100;

/// Clients at once.
const CLIENTS: usize = 32;

/// All orders of all users, every one of them answered 201 without a second try. Returns how long the slowest took.
async fn sell(shop: &Shop, product: u64) -> Duration {
    let orders = (0..ORDERS_EACH).flat_map(|number| (0..USERS).map(move |user| (user, number)));
    let slowest = stream::iter(orders).map(|(user, number)| async move {
        let started = Instant::now();
        let (user, key) = (format!("u{user}"), format!("order-{number}"));
        shop.client.order(&user, &key, product, 1).await.expect(201);
        started.elapsed()
    });
    slowest.buffer_unordered(CLIENTS).fold(Duration::ZERO, async |slowest, took| slowest.max(took)).await
}

/// A shop with the hot product, and money for everybody; nobody forwards.
async fn stocked(platform: &PlayedPlatform, test: &str) -> (Shop, u64) {
    let shop = platform.shop(test, &[("ROLES", "api,writer,sweeper")]).await;
    let product = shop.client.product("Hot", PRICE, USERS * ORDERS_EACH).await;
    let charges = stream::iter(0..USERS).map(|user| {
        let client = shop.client.clone();
        async move { client.charge(&format!("u{user}"), PRICE * ORDERS_EACH).await }
    });
    charges.buffer_unordered(CLIENTS).for_each(async |()| {}).await;
    (shop, product)
}

/// A forwarder in a process of its own.
async fn forwarder(platform: &PlayedPlatform, backends: &Backends, more: &[(&str, &str)]) -> Shop {
    let mut settings = vec![("ROLES", "forwarder")];
    settings.extend(more);
    Shop::start_on(backends.clone(), &platform.settings(&settings)).await
}

/// Replays all dead letters; returns how many.
async fn replay_all(shop: &Shop) -> u64 {
    let reply = shop.client.admin(Method::POST, "/admin/dead-letters/replay", &unique("replay"), &json!({})).await;
    reply.expect(200).body["replayed"].as_u64().expect("a number")
}

/// Ids of events that were given up at some time.
async fn given_up(shop: &Shop) -> BTreeSet<String> {
    let rows = shop.database().await.query("SELECT seq::text FROM deliveries WHERE state = 'DEAD'", &[]).await;
    rows.expect("dead letters").iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_orders_arrive_though_half_of_all_fails_and_the_forwarder_dies_three_times() {
    let mut dice = StdRng::seed_from_u64(seed("forwarding-faults"));
    let platform = PlayedPlatform::start().await;
    let (shop, product) = stocked(&platform, "chaos").await;
    let faults = json!({"mode": "chaos", "percent": 50, "delayMs": 1_000, "retryAfterS": 0, "seed": dice.random::<u32>(), "paths": ["events"]});
    platform.faults(&faults).await;
    let dying = async {
        // Dies at any time, while it works.
        let mut deaths = 0;
        while deaths < 3 {
            let mut forwarder = forwarder(&platform, &shop.backends, &[]).await;
            tokio::time::sleep(Duration::from_millis(dice.random_range(500..2_000))).await;
            forwarder.kill().await;
            deaths += 1;
        }
    };
    let (slowest, ()) = join(sell(&shop, product), dying).await;

    let forwarder = forwarder(&platform, &shop.backends, &[]).await;
    shop.wait_written().await;
    // Half of everything still fails: some of it is given up.
    wait_told(&shop).await;
    let mut late = given_up(&shop).await;
    let dead = late.len();
    platform.fault("accept").await;
    replay_all(&forwarder).await;
    wait_told(&shop).await;
    late.extend(given_up(&shop).await);

    let (book, out_of_order) = platform.book_and_disorder().await;
    assert_eq!(in_the_book(&book), in_the_ledger(&shop).await);
    assert!(out_of_order.is_subset(&late), "out of order, and never given up: {:?}", out_of_order.difference(&late));
    let sum = |member: &str| book.iter().map(|event| event[member].as_u64().unwrap_or_default()).sum::<u64>();
    let orders = book.iter().filter(|event| event["type"] == "order-completed").count() as u64;
    assert_eq!(orders, USERS * ORDERS_EACH);
    let rows = shop.count("SELECT count(*) FROM deliveries").await;
    eprintln!(
        "{orders} orders, the slowest {slowest:?}; {rows} tried again, {dead} given up, {} arrivals",
        sum("arrivals")
    );
    assert!(rows > 0 && sum("arrivals") > book.len() as u64, "nothing went wrong: this tests nothing");
    assert_eq!(shop.metric_count("flashsale_lane_ops_total", "op=\"place_order\"&outcome=\"done\"").await, 20_000);
    let unsynced = "SELECT count(*) FROM order_sync WHERE NOT synced OR synced_at IS NULL OR sync_attempts = 0";
    assert_eq!(shop.count(unsynced).await, 0);
    shop.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_down_for_the_whole_sale_costs_a_probe_now_and_then() {
    let platform = PlayedPlatform::start().await;
    let (shop, product) = stocked(&platform, "down").await;
    platform.fault("lost_request").await;
    let forwarder = forwarder(&platform, &shop.backends, &[("BREAKER_OPEN_MS", "500")]).await;
    let is_open = || async { forwarder.metric("flashsale_breaker_state", "platform").await > 0.0 };
    eventually("the breaker opens", async || is_open().await.then_some(())).await;
    let (before, started) = (platform.requests().await, Instant::now());
    let slowest = sell(&shop, product).await;
    let (probes, took) = (platform.requests().await - before, started.elapsed());
    let most = u64::try_from(took.as_millis()).expect("short") / 500 + 2;
    eprintln!("{took:?} of orders, the slowest {slowest:?}: {probes} probes");
    assert!((1..=most).contains(&probes), "{probes} requests in {took:?}");
    assert!(is_open().await);
    // Nothing was given up, whatever the number of probes; only what failed before it opened waits for its next try.
    shop.wait_written().await;
    let attempts = "SELECT coalesce(max(attempts), 0)::bigint FROM deliveries";
    assert!(shop.count(attempts).await <= 1);
    platform.fault("accept").await;
    wait_told(&shop).await;
    assert_eq!(in_the_book(&platform.book().await), in_the_ledger(&shop).await);
    assert_eq!(shop.count("SELECT count(*) FROM deliveries WHERE state = 'DEAD'").await, 0);
    assert_eq!(platform.received("alerts").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_often_enough_is_a_dead_letter_with_one_alert_and_can_be_replayed() {
    let platform = PlayedPlatform::start().await;
    // Without a breaker every try counts.
    let shop = platform.shop("dead", &[("BREAKER_FAILURES_MAX", "0")]).await;
    let (client, product) = (&shop.client, shop.client.product("Hot", PRICE, 100).await);
    platform.faults(&json!({"mode": "unavailable", "paths": ["events"]})).await;
    for user in ["ann", "bob", "cid"] {
        client.charge(user, 10 * PRICE).await;
        client.order(user, "buy", product, 1).await.expect(201);
    }
    let list = async |query: &str| {
        let reply = client.admin_empty(Method::GET, &format!("/admin/dead-letters{query}"), "k").await;
        reply.expect(200).body
    };
    eventually("all are given up", async || {
        (list("").await["deadLetters"].as_array().expect("a list").len() == 6).then_some(())
    })
    .await;
    eventually("one alert", async || (platform.received("alerts").await.len() == 1).then_some(())).await;
    let alert = &platform.received("alerts").await[0];
    assert_eq!((&alert["kind"], &alert["sink"]), (&json!("DEAD_LETTERS"), &json!("platform")), "{alert}");
    eventually("the metric", async || {
        (shop.metric_count("flashsale_dead_letters", "sink=\"platform\"").await == 6).then_some(())
    })
    .await;

    // A page after the other.
    let first = list("?limit=4&sink=platform").await;
    let cursor = first["nextCursor"].as_str().expect("there are more");
    let rest = list(&format!("?limit=4&sink=platform&cursor={cursor}")).await;
    let count = |page: &Value| page["deadLetters"].as_array().expect("a list").len();
    assert_eq!((count(&first), count(&rest), &rest["nextCursor"]), (4, 2, &Value::Null));
    assert_eq!(count(&list("?sink=kafka").await), 0);
    let letter = first["deadLetters"].as_array().expect("a list").iter().find(|l| l["type"] == "order-completed");
    let letter = letter.expect("an order");
    assert_eq!(
        (&letter["attempts"], &letter["lastError"]),
        (&json!(4), &json!("HTTP 503: a fault that was asked for")),
        "{letter}"
    );
    let (order, user) = (letter["orderId"].as_str().expect("an id"), letter["userId"].as_str().expect("a user"));
    let sync = client.order_of(user, order).await["sync"].clone();
    assert_eq!(
        sync,
        json!({"synced": false, "syncedAt": null, "syncAttempts": 4, "lastSyncError": "HTTP 503", "nextRetryAt": null})
    );

    // One is replayed, twice under the same key; then the rest.
    platform.fault("accept").await;
    let path = format!("/admin/dead-letters/{}/replay", letter["id"].as_str().expect("an id"));
    for is_again in [false, true] {
        let reply = client.admin_empty(Method::POST, &path, "replay-one").await.expect(200);
        assert_eq!((&reply.body, reply.is_replayed()), (&json!({"replayed": 1}), is_again));
    }
    client
        .admin(Method::POST, "/admin/dead-letters/replay", "replay-one", &json!({"sink": "kafka"}))
        .await
        .expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    client
        .admin_empty(Method::POST, "/admin/dead-letters/platform-999999/replay", "none")
        .await
        .expect_problem(404, "DEAD_LETTER_NOT_FOUND");
    eventually("its order is synced", async || {
        (client.order_of(user, order).await["sync"]["synced"] == true).then_some(())
    })
    .await;
    assert_eq!(platform.book_and_disorder().await.0.len(), 1);
    // The key stands for that one, though others are dead; and that one is dead no more.
    let sink = json!({"sink": "platform"});
    let all = client.admin(Method::POST, "/admin/dead-letters/replay", "replay-one", &sink).await;
    all.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    client.admin_empty(Method::POST, &path, "replay-again").await.expect_problem(404, "DEAD_LETTER_NOT_FOUND");
    let all =
        client.admin(Method::POST, "/admin/dead-letters/replay", "replay-all", &json!({"sink": "platform"})).await;
    assert_eq!(all.expect(200).body, json!({"replayed": 5}));
    wait_told(&shop).await;
    assert_eq!(in_the_book(&platform.book_and_disorder().await.0), in_the_ledger(&shop).await);
    assert_eq!(platform.received("alerts").await.len(), 1, "one alert");
    assert_eq!(count(&list("").await), 0);

    // It was over: the next dead letter alerts again.
    platform.faults(&json!({"mode": "refuse", "users": ["ann"]})).await;
    for user in ["ann", "bob"] {
        client.order(user, "again", product, 1).await.expect(201);
    }
    eventually("another alert", async || (platform.received("alerts").await.len() == 2).then_some(())).await;
    assert_eq!(count(&list("").await), 1, "only what was refused is given up");
    wait_told(&shop).await;
    assert!(platform.book_and_disorder().await.0.iter().filter(|event| event["userId"] == "bob").count() == 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_is_refused_holds_up_its_user_and_nobody_else() {
    let platform = PlayedPlatform::start().await;
    let quiet = platform.shop("refused", &[("ROLES", "api,writer")]).await;
    for user in 0..100 {
        quiet.client.charge(&format!("u{user}"), PRICE).await;
    }
    quiet.wait_written().await;
    platform.faults(&json!({"mode": "refuse", "users": ["u7", "u77"]})).await;
    let settings = [("FORWARD_RETRY_MS", "600000"), ("PLATFORM_IN_FLIGHT_MAX", "2")];
    let forwarder = forwarder(&platform, &quiet.backends, &settings).await;
    eventually("the others arrive", async || (platform.book().await.len() == 98).then_some(())).await;
    eventually("the two wait", async || {
        (forwarder.metric_count("flashsale_forward_waiting_events", "platform").await == 2).then_some(())
    })
    .await;
    assert!(platform.requests().await < 60, "batches are split, not sent one by one");
    // A refusal is an answer: the platform is there.
    assert_eq!(forwarder.metric_count("flashsale_breaker_state", "platform").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_fault_the_book_is_complete() {
    let platform = PlayedPlatform::start().await;
    // So often that nothing is given up, however slow this machine is.
    let retries = ["200"; 100].join(",");
    let shop = platform.shop("every-fault", &[("FORWARD_RETRY_MS", &retries)]).await;
    let modes = [
        "error",
        "unavailable",
        "too_many",
        "slow",
        "hang",
        "garbage",
        "reset",
        "huge",
        "redirect",
        "lost_request",
        "lost_answer",
    ];
    for (number, mode) in modes.into_iter().enumerate() {
        platform.fault(mode).await;
        let requests = platform.requests().await;
        let user = format!("u{number}");
        shop.client.charge(&user, 1_000).await;
        shop.client.charge(&user, 1_000).await;
        eventually(mode, async || (platform.requests().await > requests).then_some(())).await;
        // Nothing that went wrong counts as delivered.
        shop.wait_written().await;
        let cursor = "SELECT seq FROM sink_cursors";
        // One look: what is behind the cursor becomes a row at any moment.
        let untold = "SELECT (SELECT count(*) FROM deliveries WHERE state = 'PENDING') \
                      + (SELECT max(seq) FROM writer_cursor) - (SELECT max(seq) FROM sink_cursors)";
        assert!(shop.count(untold).await > 0, "{mode}: {}", shop.count(cursor).await);
        platform.fault("accept").await;
        wait_told(&shop).await;
    }
    let book = platform.book().await;
    assert_eq!(in_the_book(&book), in_the_ledger(&shop).await);
    assert_eq!(book.len(), 2 * modes.len());
    assert_eq!(shop.count("SELECT count(*) FROM deliveries WHERE state = 'DEAD'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_every_delivery() {
    let platform = PlayedPlatform::start().await;
    let shop = platform.shop("forward-metrics", &[("BREAKER_OPEN_MS", "1000")]).await;
    shop.client.charge("ann", 1_000).await;
    wait_told(&shop).await;
    platform.faults(&json!({"mode": "refuse", "users": ["bob"]})).await;
    shop.client.charge("bob", 1_000).await;
    wait_told(&shop).await;
    platform.fault("unavailable").await;
    for user in ["u1", "u2", "u3", "u4", "u5", "u6"] {
        shop.client.charge(user, 1_000).await;
        shop.wait_written().await;
    }
    let of_sink = "sink=\"platform\"";
    let reaches = async |name: &str, labels: &str, least: i64| {
        let labels = format!("{of_sink}&{labels}");
        eventually(&format!("{name} {labels}"), async || {
            (shop.metric_count(name, &labels).await >= least).then_some(())
        })
        .await;
    };
    reaches("flashsale_breaker_state", "", 1).await;
    reaches("flashsale_forward_lag_events", "cell=\"0\"", 1).await;
    reaches("flashsale_forward_waiting_events", "", 1).await;
    for outcome in ["delivered", "refused", "failed", "postponed"] {
        reaches("flashsale_forward_deliveries_total", &format!("outcome=\"{outcome}\""), 1).await;
    }
    for (name, least) in [
        ("flashsale_forward_retries_total", 3),
        ("flashsale_dead_letters", 1),
        ("flashsale_dead_letters_total", 1),
        ("flashsale_forward_request_seconds_count", 5),
    ] {
        reaches(name, "", least).await;
    }
    eventually("seconds behind", async || {
        (shop.metric("flashsale_forward_lag_seconds", of_sink).await > 0.0).then_some(())
    })
    .await;
    platform.fault("accept").await;
    wait_told(&shop).await;
    for name in ["flashsale_forward_lag_events", "flashsale_forward_waiting_events", "flashsale_breaker_state"] {
        eventually(name, async || (shop.metric_count(name, of_sink).await == 0).then_some(())).await;
    }
}
