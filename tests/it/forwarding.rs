//! What the data platform is told, when all goes well.

use serde_json::{Value, json};

use super::support::gateway::PlayedGateway;
use super::support::platform::{PlayedPlatform, in_the_book, in_the_ledger, wait_told};
use super::support::proxy::Proxy;
use super::support::shop::{Backends, Shop, eventually, unique};

/// The events of one user, in order of arrival.
fn events_of<'a>(book: &'a [Value], user: &str) -> Vec<&'a Value> {
    book.iter().filter(|event| event["userId"] == user).collect()
}

/// An order's `sync` as its buyer sees it.
async fn sync_of(shop: &Shop, user: &str, order: &str) -> Value {
    // On a machine that is busy PostgreSQL may answer too late for it.
    eventually("sync", async || shop.client.order_of(user, order).await.get("sync").cloned()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_refunds_cancellations_and_balances_are_told_in_their_order() {
    let (platform, gateway) = (PlayedPlatform::start().await, PlayedGateway::start().await);
    let shop = platform.shop("told", &[("GATEWAY_URL", gateway.url())]).await;
    let client = &shop.client;
    let product = client.product("Mug", 500, 100).await;
    client.charge("ann", 10_000).await;
    let paid_at_once = client.order("ann", "buy", product, 2).await.expect(201).text("orderId");
    let given_up = client.reserve("ann", product, 1).await;
    client.cancel("ann", "cancel", &given_up).await.expect(200);
    let paid_later = client.reserve("ann", product, 1).await;
    client.pay("ann", "pay", &paid_later, "BALANCE", 500).await.expect(200);
    client.cancel("ann", "refund", &paid_at_once).await.expect(200);
    let by_card = client.reserve("bob", product, 3).await;
    client.pay("bob", "pay", &by_card, "CARD", 1_500).await.expect(200);
    client.cancel("bob", "refund", &by_card).await.expect(200);
    gateway.fault("decline").await;
    let declined = client.reserve("cid", product, 1).await;
    client.pay("cid", "pay", &declined, "CARD", 500).await.expect(402);
    wait_told(&shop).await;

    let book = platform.book().await;
    assert_eq!(in_the_book(&book), in_the_ledger(&shop).await);
    let told = |user: &str| {
        let events = events_of(&book, user).into_iter();
        let told = events.map(|event| json!([event["type"], event["orderId"], event["status"], event["balanceType"]]));
        Value::Array(told.collect())
    };
    let expected = json!([
        ["balance-changed", null, null, "CHARGE"],
        ["order-completed", paid_at_once, "CONFIRMED", "PAYMENT"],
        ["order-cancelled", given_up, "CANCELLED", null],
        ["order-completed", paid_later, "CONFIRMED", "PAYMENT"],
        ["order-cancelled", paid_at_once, "REFUNDED", "REFUND"],
    ]);
    assert_eq!(told("ann"), expected);
    let expected =
        json!([["order-completed", by_card, "CONFIRMED", null], ["order-cancelled", by_card, "REFUNDED", null]]);
    assert_eq!(told("bob"), expected);
    // What never was a sale is not told.
    assert_eq!(told("cid"), json!([]));
    assert!(book.iter().all(|event| event["arrivals"] == 1), "{book:?}");

    // Buyers see whether the present state of their order was told.
    for (user, order) in [("ann", &paid_at_once), ("ann", &given_up), ("ann", &paid_later), ("bob", &by_card)] {
        let sync = sync_of(&shop, user, order).await;
        assert_eq!((&sync["synced"], &sync["syncAttempts"]), (&json!(true), &json!(1)), "{order}: {sync}");
        assert!(sync["syncedAt"].is_string() && sync["lastSyncError"].is_null() && sync["nextRetryAt"].is_null());
    }
    assert_eq!(sync_of(&shop, "cid", &declined).await["synced"], false);
    let list = client.get("/api/orders", Some("ann")).await.expect(200).body;
    assert!(list["orders"].as_array().expect("a list").iter().all(|order| order["sync"]["synced"] == true), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_batches_of_one_every_order_is_a_request_and_with_larger_ones_few_are() {
    for (batch_max, most) in [("1", 40), ("1000", 20)] {
        let platform = PlayedPlatform::start().await;
        // Told only when everything is there: started without the forwarder.
        let quiet = platform.shop("batches", &[("ROLES", "api,writer")]).await;
        let product = quiet.client.product("Mug", 500, 100).await;
        for i in 0..20 {
            let user = format!("u{i}");
            quiet.client.charge(&user, 1_000).await;
            quiet.client.order(&user, "buy", product, 1).await.expect(201);
        }
        quiet.wait_written().await;
        let settings = platform.settings(&[("ROLES", "forwarder"), ("PLATFORM_BATCH_MAX", batch_max)]);
        let _forwarder = Shop::start_on(quiet.backends.clone(), &settings).await;
        wait_told(&quiet).await;
        assert_eq!(in_the_book(&platform.book().await), in_the_ledger(&quiet).await);
        let requests = platform.requests().await;
        assert!(requests <= most && (batch_max != "1" || requests == 40), "{requests} requests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_with_the_secret_is_taken_and_nothing_else() {
    let platform = PlayedPlatform::start().await;
    platform.want_signed("the right secret").await;
    let settings = [("PLATFORM_SECRET", "a wrong secret"), ("BREAKER_FAILURES_MAX", "1")];
    let mut shop = platform.shop("signed", &settings).await;
    shop.client.charge("ann", 1_000).await;
    // 401 is no fault of the event: nothing is given up.
    eventually("a few requests", async || (platform.requests().await >= 7).then_some(())).await;
    let dead = "SELECT count(*) FROM deliveries WHERE state = 'DEAD'";
    assert_eq!((platform.book().await.len(), shop.count(dead).await), (0, 0));
    shop.kill().await;
    let settings = platform.settings(&[("PLATFORM_SECRET", "the right secret")]);
    let shop = Shop::start_on(shop.backends.clone(), &settings).await;
    wait_told(&shop).await;
    assert_eq!(platform.book().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_forwarders_one_works_and_the_other_takes_over() {
    let platform = PlayedPlatform::start().await;
    let mut first = platform.shop("two", &[]).await;
    let settings = platform.settings(&[("ROLES", "api,writer,forwarder")]);
    let second = Shop::start_on(first.backends.clone(), &settings).await;
    for i in 0..30 {
        second.client.charge(&format!("u{i}"), 1_000).await;
        if i == 15 {
            first.kill().await;
        }
    }
    wait_told(&second).await;
    let book = platform.book().await;
    assert_eq!(in_the_book(&book), in_the_ledger(&second).await);
    assert_eq!(book.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_comes_later_is_told_everything_from_the_beginning() {
    let shop = Shop::start("late-sink").await;
    shop.client.charge("ann", 1_000).await;
    shop.wait_written().await;
    let platform = PlayedPlatform::start().await;
    let settings = platform.settings(&[]);
    let late = Shop::start_on(shop.backends.clone(), &settings).await;
    wait_told(&late).await;
    assert_eq!(platform.book().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_nobody_can_read_is_a_dead_letter_and_the_rest_goes_on() {
    let platform = PlayedPlatform::start().await;
    let quiet = platform.shop("unreadable", &[("ROLES", "api,writer")]).await;
    for user in ["ann", "bob", "cid"] {
        quiet.client.charge(user, 1_000).await;
    }
    quiet.wait_written().await;
    // Bob's event loses its fields: [fingerprint, key, type, version, []].
    let database = quiet.database().await;
    let row = database.query_one("SELECT seq, events FROM event_log ORDER BY seq OFFSET 1 LIMIT 1", &[]).await;
    let row = row.expect("an entry");
    let (seq, events): (i64, Vec<u8>) = (row.get(0), row.get(1));
    let name = b"balance_charged";
    let at = events.windows(name.len()).position(|part| part == name).expect("its type") + name.len();
    let mut broken = events[..=at].to_vec();
    broken.push(0x90);
    database.execute("UPDATE event_log SET events = $1 WHERE seq = $2", &[&broken, &seq]).await.expect("written");
    let forwarder = Shop::start_on(quiet.backends.clone(), &platform.settings(&[("ROLES", "forwarder")])).await;
    wait_told(&quiet).await;
    assert_eq!(platform.book().await.len(), 2);
    let letters = forwarder.client.admin_empty(reqwest::Method::GET, "/admin/dead-letters", "k").await;
    let letters = letters.expect(200).body;
    let letter = &letters["deadLetters"][0];
    assert_eq!((&letter["type"], &letter["eventId"]), (&json!("unreadable"), &json!(seq.to_string())), "{letters}");
    // Somebody mends it, and replays it.
    database.execute("UPDATE event_log SET events = $1 WHERE seq = $2", &[&events, &seq]).await.expect("written");
    let path = format!("/admin/dead-letters/{}/replay", letter["id"].as_str().expect("an id"));
    let replay = forwarder.client.admin_empty(reqwest::Method::POST, &path, &unique("replay")).await;
    assert_eq!(replay.expect(200).body, json!({"replayed": 1}));
    wait_told(&quiet).await;
    let (book, late) = platform.book_and_disorder().await;
    assert_eq!((book.len(), late.len()), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_an_order_says_nothing_about_its_sync() {
    let platform = PlayedPlatform::start().await;
    let backends = Backends::shared("no-sync").await;
    let (server, database) = backends.database_url.rsplit_once('/').expect("a path");
    let (host, port) = server.rsplit_once(':').expect("a port");
    let proxy = Proxy::start(port.parse().expect("a number")).await;
    let through = format!("{host}:{}/{database}", proxy.port());
    let through = Backends { database_url: through, ..backends.clone() };
    let shop = Shop::start_on(through, &platform.settings(&[("DATABASE_TIMEOUT_MS", "300")])).await;
    let product = shop.client.product("Mug", 500, 100).await;
    shop.client.charge("ann", 1_000).await;
    let order = shop.client.order("ann", "buy", product, 1).await.expect(201).text("orderId");
    wait_told(&shop).await;
    assert_eq!(sync_of(&shop, "ann", &order).await["synced"], true);
    proxy.swallow_replies(true);
    let seen = shop.client.order_of("ann", &order).await;
    assert!(seen["status"] == "CONFIRMED" && seen.get("sync").is_none(), "{seen}");
    proxy.swallow_replies(false);
    eventually("it says so again", async || (sync_of(&shop, "ann", &order).await["synced"] == true).then_some(()))
        .await;
    // The forwarder found its way back too.
    shop.client.charge("ann", 1_000).await;
    wait_told(&shop).await;
    assert_eq!(platform.book().await.len(), 3);
}
