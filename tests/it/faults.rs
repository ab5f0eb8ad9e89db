//! What happens when things die: nothing that was answered is lost, nothing happens twice, and what cannot be known is
//! refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flashsale::dev::services::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use fred::interfaces::{ClientLike, HashesInterface, StreamsInterface};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::proxy::Proxy;
use crate::support::shop::{Backends, Client, Shop, one_item, redis, unique};
use crate::support::{fresh_database, fresh_folder};

const BUYERS: usize = 24;

/// Buyers who order until told to stop; a buyer without an answer repeats the same key.
struct Load {
    stop: Arc<AtomicBool>,
    buyers: Vec<JoinHandle<HashMap<String, String>>>,
}

impl Load {
    async fn start(client: &Client, product: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut buyers = Vec::new();
        for i in 0..BUYERS {
            let user = format!("buyer-{i}");
            client.charge(&user, 1_000_000).await;
            buyers.push(tokio::spawn(buy(client.clone(), user, product, stop.clone())));
        }
        Self { stop, buyers }
    }

    /// Ends the load and returns order id by key, of every order that was answered with success.
    async fn finish(self) -> HashMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut answered = HashMap::new();
        for buyer in self.buyers {
            answered.extend(buyer.await.expect("a buyer ends"));
        }
        answered
    }
}

async fn buy(client: Client, user: String, product: u64, stop: Arc<AtomicBool>) -> HashMap<String, String> {
    let mut answered = HashMap::new();
    while !stop.load(Ordering::SeqCst) {
        let key = unique(&user);
        // The same key until there is an answer; 503 and 504 are answers that say "ask again".
        for _ in 0..2_000 {
            match client.try_post("/api/orders", &user, &key, &one_item(product, 1)).await {
                Ok(reply) if reply.status == 201 => {
                    answered.insert(key, reply.body["orderId"].as_str().expect("an id").to_owned());
                    break;
                }
                Ok(reply) if reply.status == 503 || reply.status == 504 => {}
                Ok(reply) => panic!("{}: {}", reply.status, reply.body),
                // The service was killed: no answer at all.
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    answered
}

/// Every answered order is in PostgreSQL exactly once, and the books agree.
async fn check_answered(shop: &Shop, answered: &HashMap<String, String>) {
    shop.check_books().await;
    let database = shop.database().await;
    let rows = database.query("SELECT order_id::text, count(*) FROM orders GROUP BY 1", &[]).await.expect("orders");
    let stored: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (key, id) in answered {
        assert_eq!(stored.get(id), Some(&1), "order {id} of key {key}");
    }
    // Every buyer repeats until answered, so there is nothing but answered orders.
    assert_eq!(stored.len(), answered.len(), "orders that nobody was told of, or two for one key");
}

#[tokio::test]
async fn the_service_killed_under_load_loses_and_doubles_nothing() {
    let mut shop = Shop::start("kill").await;
    let product = shop.client.product("Hot", 1, 1_000_000).await;
    let load = Load::start(&shop.client, product).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        shop.kill().await;
        shop.restart().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answered = load.finish().await;
    assert!(answered.len() > 100, "only {} orders", answered.len());
    check_answered(&shop, &answered).await;
}

/// A shop on a Redis of its own.
async fn shop_on_own_redis(test: &str, settings: &[(&str, &str)]) -> (Shop, PrivateRedis) {
    let redis = PrivateRedis::start(&fresh_folder(test), &RedisOptions::default()).expect("redis-server starts");
    let backends =
        Backends { redis_url: redis.url(), namespace: test.to_owned(), database_url: fresh_database().await };
    (Shop::start_on(backends, settings).await, redis)
}

#[tokio::test]
async fn redis_killed_under_load_comes_back_by_itself() {
    let (shop, mut redis) = shop_on_own_redis("redis-kill", &[]).await;
    let product = shop.client.product("Hot", 1, 1_000_000).await;
    let load = Load::start(&shop.client, product).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        redis = tokio::task::spawn_blocking(move || {
            redis.kill().expect("SIGKILL");
            redis.restart().expect("redis-server starts again");
            redis
        })
        .await
        .expect("no panic");
        shop.client.wait_ready().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answered = load.finish().await;
    assert!(answered.len() > 100, "only {} orders", answered.len());
    check_answered(&shop, &answered).await;
    let epochs = shop.database().await.query_one("SELECT max(epoch) FROM epochs", &[]).await.expect("epochs");
    assert_eq!(epochs.get::<_, i64>(0), 4, "one epoch per start of Redis");
}

#[tokio::test]
async fn redis_frozen_gives_504_and_the_key_finds_out() {
    let (shop, mut redis) =
        shop_on_own_redis("redis-freeze", &[("OP_DEADLINE_MS", "500"), ("REDIS_TIMEOUT_MS", "200")]).await;
    let product = shop.client.product("Hot", 1, 10).await;
    shop.client.charge("ann", 1_000).await;
    redis.pause().expect("SIGSTOP");
    let reply = shop.client.order("ann", "frozen", product, 1).await;
    redis.resume().expect("SIGCONT");
    // Sent and unanswered is unknown; only what was certainly never sent may be called undone.
    assert!([503, 504].contains(&reply.status.as_u16()), "{}", reply.body);
    shop.client.wait_ready().await;
    let found = shop.client.order("ann", "frozen", product, 1).await.expect(201);
    assert_eq!(found.body["remainingBalance"], 999);
    shop.check_books().await;
}

#[tokio::test]
async fn an_emptied_redis_sells_nothing_and_says_why() {
    let (shop, own_redis) = shop_on_own_redis("redis-empty", &[]).await;
    let product = shop.client.product("Hot", 1, 1_000_000).await;
    let load = Load::start(&shop.client, product).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let plain = redis::connect(&own_redis.url()).await;
    plain.flushall::<()>(false).await.expect("FLUSHALL");
    // The very next call finds the gate closed; from here on nothing is sold.
    for i in 0..20 {
        let reply = shop.client.order("buyer-0", &format!("after-{i}"), product, 1).await;
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(!reply.header("retry-after").is_empty());
    }
    let mut why = String::new();
    for _ in 0..100 {
        let ready = shop.client.readyz().await.expect("an answer");
        assert_eq!(ready.status, 503);
        why = ready.body.to_string();
        if why.contains("history was lost") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(why.contains("history was lost"), "{why}");
    shop.client.get("/api/users/me/balance", Some("buyer-0")).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    load.stop.store(true, Ordering::SeqCst);
    for buyer in load.buyers {
        buyer.abort();
    }
    let keys: i64 = plain.hget::<Option<i64>, _, _>("redis-empty:{c0}:meta", "seq").await.expect("Redis").unwrap_or(0);
    assert_eq!(keys, 0, "nothing was written into the empty Redis");
}

#[tokio::test]
async fn lost_replies_are_unknown_and_the_key_finds_out() {
    let own_redis = PrivateRedis::start(&fresh_folder("lost"), &RedisOptions::default()).expect("redis-server starts");
    let proxy = Proxy::start(own_redis.port()).await;
    let backends = Backends {
        redis_url: format!("redis://127.0.0.1:{}", proxy.port()),
        namespace: "lost".to_owned(),
        database_url: fresh_database().await,
    };
    // The writer's and the keeper's replies are swallowed too: everything must come back by itself.
    let shop = Shop::start_on(backends, &[("OP_DEADLINE_MS", "700"), ("REDIS_TIMEOUT_MS", "200")]).await;
    let product = shop.client.product("Hot", 1, 1_000).await;
    for i in 0..8 {
        shop.client.charge(&format!("user-{i}"), 1_000).await;
    }
    let mut unknown = 0;
    for round in 0..3 {
        proxy.swallow_replies(true);
        let orders = (0..8).map(|i| {
            let client = shop.client.clone();
            async move { client.order(&format!("user-{i}"), &format!("round-{round}"), product, 1).await }
        });
        let replies = futures::future::join_all(orders).await;
        proxy.swallow_replies(false);
        for reply in replies {
            if reply.status == 504 {
                assert_eq!(reply.code(), "OUTCOME_UNKNOWN");
                assert_eq!(reply.body["idempotencyKey"], format!("round-{round}"));
                unknown += 1;
            } else {
                assert_eq!(reply.status, 503, "{}", reply.body);
            }
        }
        shop.client.wait_ready().await;
        for i in 0..8 {
            let reply = shop.client.order(&format!("user-{i}"), &format!("round-{round}"), product, 1).await;
            assert_eq!(reply.status, 201, "{}", reply.body);
            assert_eq!(reply.body["remainingBalance"], 999 - round);
        }
    }
    assert!(unknown > 0 && proxy.swallowed() > 0, "no reply was lost: the test tests nothing");
    shop.check_books().await;
    let orders = shop.database().await.query_one("SELECT count(*) FROM orders", &[]).await.expect("orders");
    assert_eq!(orders.get::<_, i64>(0), 24);
}

#[tokio::test]
async fn orders_go_on_without_postgresql_and_reach_it_later() {
    let folder = fresh_folder("pg-away");
    let mut postgres = PrivatePostgres::start(&folder, &PostgresOptions::default()).expect("postgres starts");
    let backends = Backends {
        redis_url: crate::support::shared_redis_url().expose().to_owned(),
        namespace: crate::support::namespace("pg-away"),
        database_url: crate::support::fresh_database_on(&postgres).await,
    };
    let shop = Shop::start_on(backends, &[]).await;
    let product = shop.client.product("Hot", 1, 1_000_000).await;
    let load = Load::start(&shop.client, product).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    postgres.kill().expect("SIGKILL");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let during = shop.client.order("buyer-0", "during", product, 1).await.expect(201);
    let path = format!("/api/orders/{}", during.body["orderId"].as_str().expect("an id"));
    let read = shop.client.get(&path, Some("buyer-0")).await.expect(200);
    assert_eq!(read.body["status"], "CONFIRMED");
    // What only PostgreSQL could tell is refused, not guessed.
    shop.client.get("/api/orders/4242424242", Some("buyer-0")).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    shop.client.get("/api/orders", Some("buyer-0")).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _postgres = tokio::task::spawn_blocking(move || {
        postgres.restart().expect("postgres starts again");
        postgres
    })
    .await
    .expect("no panic");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut answered = load.finish().await;
    answered.insert("during".to_owned(), during.body["orderId"].as_str().expect("an id").to_owned());
    check_answered(&shop, &answered).await;
}

#[tokio::test]
async fn a_full_backlog_refuses_new_orders_and_replays_old_ones() {
    // Without a writer nothing is committed, so the backlog only grows.
    let shop = Shop::start_on(Backends::shared("backlog").await, &[("ROLES", "api"), ("LOG_BACKLOG_MAX", "10")]).await;
    let product = shop.client.product("Hot", 0, 100).await;
    for i in 0..9 {
        shop.client.order("ann", &format!("k{i}"), product, 1).await.expect(201);
    }
    let full = shop.client.order("ann", "k9", product, 1).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    assert!(!full.header("retry-after").is_empty());
    let again = shop.client.order("ann", "k3", product, 1).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    let writer = Shop::start_on(shop.backends.clone(), &[("LOG_BACKLOG_MAX", "10")]).await;
    writer.wait_written().await;
    for _ in 0..100 {
        if shop.client.order("ann", "k9", product, 1).await.status == 201 {
            return writer.check_books().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the backlog was written, but orders are still refused");
}

#[tokio::test]
async fn an_event_that_postgresql_cannot_take_is_parked_and_the_rest_goes_on() {
    let shop = Shop::start_on(Backends::shared("parked").await, &[("DEAD_EVENT_RETRY_MS", "200")]).await;
    let product = shop.client.product("Hot", 1, 100).await;
    shop.client.charge("ann", 1_000).await;
    shop.wait_written().await;
    // A row that the next order's will collide with stands for whatever PostgreSQL might not take.
    let plain = redis::connect(&shop.backends.redis_url).await;
    let meta = format!("{}:{{c0}}:meta", shop.backends.namespace);
    let next = redis::hget(&plain, &meta, "seq").await + 1;
    let database = shop.database().await;
    let squat = format!(
        "INSERT INTO order_items (order_id, line, product_id, product_name, unit_price, quantity, discount_amount, \
         created_at, updated_at) VALUES ({next}, 1, 1, '', 0, 0, 0, now(), now())"
    );
    database.batch_execute(&squat).await.expect("a squatter");
    shop.client.order("ann", "collides", product, 1).await.expect(201);
    shop.client.order("ann", "fine", product, 1).await.expect(201);
    shop.wait_written().await;
    let parked = "SELECT seq, reason FROM dead_events WHERE state = 'PARKED'";
    let rows = database.query(parked, &[]).await.expect("parked events");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, i64>(0), next);
    assert!(rows[0].get::<_, &str>(1).contains("order_items_pkey"), "{}", rows[0].get::<_, &str>(1));
    let orders = database.query_one("SELECT count(*) FROM orders", &[]).await.expect("orders");
    assert_eq!(orders.get::<_, i64>(0), 1, "the other order is there");
    assert!(shop.metric("flashsale_writer_parked_events_total", "").await >= 1.0);
    // Once what stood in the way is gone, the event is applied.
    database.batch_execute(&format!("DELETE FROM order_items WHERE order_id = {next}")).await.expect("gone");
    for _ in 0..100 {
        if database.query(parked, &[]).await.expect("parked events").is_empty() {
            return shop.check_books().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the event was not applied again");
}

#[tokio::test]
async fn a_forked_log_stops_the_writer_loudly() {
    let shop = Shop::start("fork").await;
    shop.client.product("Hot", 1, 100).await;
    shop.wait_written().await;
    let plain = redis::connect(&shop.backends.redis_url).await;
    let log = format!("{}:{{c0}}:log", shop.backends.namespace);
    let foreign = vec![("prev", "somebody else"), ("nonce", "x"), ("events", "")];
    let _: String = plain.xadd(log, false, None, "2-0", foreign).await.expect("XADD");
    for _ in 0..100 {
        if shop.metric("flashsale_writer_stopped", "").await >= 1.0 {
            let row = shop.database().await.query_one("SELECT seq FROM writer_cursor", &[]).await.expect("a cursor");
            assert_eq!(row.get::<_, i64>(0), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the writer did not stop");
}

#[tokio::test]
async fn the_log_is_trimmed_behind_the_commits_and_orders_stay_readable() {
    let shop = Shop::start_on(Backends::shared("trim").await, &[("LOG_KEEP_MS", "300")]).await;
    let product = shop.client.product("Hot", 0, 1_000).await;
    let first = shop.client.order("ann", "first", product, 1).await.expect(201);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        shop.client.order("ann", &unique("k"), product, 1).await.expect(201);
        let orders = shop.metric("flashsale_writer_events_total", "").await;
        if shop.metric("flashsale_log_entries", "").await < orders / 2.0 {
            let path = format!("/api/orders/{}", first.body["orderId"].as_str().expect("an id"));
            shop.client.get(&path, Some("ann")).await.expect(200);
            return shop.check_books().await;
        }
    }
    panic!("the log was not trimmed");
}

#[tokio::test]
async fn a_service_told_to_stop_answers_what_is_open_and_ends() {
    let mut shop = Shop::start("stop").await;
    let product = shop.client.product("Hot", 0, 1_000_000).await;
    let buyers: Vec<_> = (0..8).map(|i| tokio::spawn(order_until_refused(shop.client.clone(), i, product))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(shop.terminate().await.success());
    let mut answered = HashMap::new();
    for buyer in buyers {
        answered.extend(buyer.await.expect("a buyer ends"));
    }
    assert!(!answered.is_empty());
    shop.restart().await;
    shop.check_books().await;
    let database = shop.database().await;
    for id in answered.values() {
        let row = database.query_one("SELECT count(*) FROM orders WHERE order_id = $1::text::bigint", &[id]).await;
        assert_eq!(row.expect("orders").get::<_, i64>(0), 1, "order {id}");
    }
}

async fn order_until_refused(client: Client, buyer: usize, product: u64) -> HashMap<String, String> {
    let mut answered = HashMap::new();
    while let Ok(reply) =
        client.try_post("/api/orders", &format!("b{buyer}"), &unique("k"), &one_item(product, 1)).await
    {
        match reply.status.as_u16() {
            201 => answered.insert(unique("a"), reply.body["orderId"].as_str().expect("an id").to_owned()),
            503 => break,
            status => panic!("{status}: {}", reply.body),
        };
    }
    answered
}

#[tokio::test]
async fn a_redis_with_the_wrong_settings_is_not_used() {
    let options = RedisOptions { port: 0, extra: vec!["--appendfsync".into(), "everysec".into()] };
    let own_redis = PrivateRedis::start(&fresh_folder("settings"), &options).expect("redis-server starts");
    let backends =
        Backends { redis_url: own_redis.url(), namespace: "settings".to_owned(), database_url: fresh_database().await };
    let shop = Shop::spawn(backends.clone(), &[]);
    for _ in 0..200 {
        match shop.client.readyz().await {
            Some(reply) if reply.body.to_string().contains("appendfsync") => break,
            Some(reply) => assert_eq!(reply.status, 503, "{}", reply.body),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let body = json!({"name": "x", "price": 1, "stock": 1});
    shop.client.admin(Method::POST, "/admin/products", "k", &body).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    drop(shop);
    let waived = Shop::start_on(backends, &[("REDIS_REQUIREMENTS_WAIVED", "appendfsync")]).await;
    waived.client.product("x", 1, 1).await;
}

#[tokio::test]
async fn a_half_stored_batch_is_unknown_and_fences_the_cell() {
    let shop = Shop::start_on(Backends::shared("half").await, &[("OP_DEADLINE_MS", "400")]).await;
    let product = shop.client.product("Hot", 1, 100).await;
    shop.client.charge("ann", 1_000).await;
    // Only the ranking has the wrong type: it is written last, when the log has the order already.
    let plain = redis::connect(&shop.backends.redis_url).await;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Asia/Seoul").expect("a zone")).date();
    let sales = format!("{}:{{c0}}:sales:{today}", shop.backends.namespace);
    let () = fred::interfaces::KeysInterface::set(&plain, sales, "no ranking", None, None, false).await.expect("SET");
    let reply = shop.client.order("ann", "half", product, 1).await.expect_problem(504, "OUTCOME_UNKNOWN");
    assert_eq!(reply.body["idempotencyKey"], "half");
    shop.client.order("ann", "after", product, 1).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    let mut why = String::new();
    for _ in 0..100 {
        why = shop.client.readyz().await.expect("an answer").body.to_string();
        if why.contains("fenced") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("readyz does not say it: {why}");
}

#[tokio::test]
async fn a_stalled_redis_comes_back_while_postgresql_is_away() {
    let mut postgres = PrivatePostgres::start(&fresh_folder("both"), &PostgresOptions::default()).expect("it starts");
    let mut own_redis = PrivateRedis::start(&fresh_folder("both"), &RedisOptions::default()).expect("it starts");
    let backends = Backends {
        redis_url: own_redis.url(),
        namespace: "both".to_owned(),
        database_url: crate::support::fresh_database_on(&postgres).await,
    };
    let settings = [("OP_DEADLINE_MS", "500"), ("REDIS_TIMEOUT_MS", "200"), ("DATABASE_TIMEOUT_MS", "300")];
    let shop = Shop::start_on(backends, &settings).await;
    let product = shop.client.product("Hot", 0, 10).await;
    postgres.kill().expect("SIGKILL");
    own_redis.pause().expect("SIGSTOP");
    // Frozen for longer than the deadline: unknown, or never sent; and when Redis goes on, what was held up is too late.
    let frozen = shop.client.order("ann", "frozen", product, 1).await;
    assert!([503, 504].contains(&frozen.status.as_u16()), "{}", frozen.body);
    tokio::time::sleep(Duration::from_millis(700)).await;
    own_redis.resume().expect("SIGCONT");
    // The same process, as PostgreSQL named it last: nobody has to vouch for anything.
    shop.client.wait_ready().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let plain = redis::connect(&own_redis.url()).await;
    let left = redis::hget(&plain, "both:{c0}:stock", &product.to_string()).await;
    assert_eq!(left, 10, "a sending took effect after everybody had given it up");
    let found = shop.client.order("ann", "frozen", product, 1).await.expect(201);
    assert_eq!(found.header("idempotent-replayed"), "");
}

#[tokio::test]
async fn a_database_restored_to_an_older_state_closes_the_cell() {
    let shop = Shop::start_on(Backends::shared("restored").await, &[("LOG_KEEP_MS", "100")]).await;
    let product = shop.client.product("Hot", 0, 1_000).await;
    for i in 0..20 {
        shop.client.order("ann", &format!("k{i}"), product, 1).await.expect(201);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    shop.wait_written().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let database = shop.database().await;
    database.batch_execute("UPDATE writer_cursor SET seq = 2").await.expect("a cursor from the past");
    let mut why = String::new();
    for _ in 0..100 {
        why = shop.client.readyz().await.expect("an answer").body.to_string();
        if why.contains("older state") {
            let reply = shop.client.order("ann", "after", product, 1).await;
            reply.expect_problem(503, "SERVICE_UNAVAILABLE");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("readyz does not say it: {why}");
}
