//! `flashsale inspect`: what Redis, the log and PostgreSQL know about one thing, side by side, and never more than that.

use std::process::Output;
use std::time::Duration;

use fred::interfaces::HashesInterface;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::shop::{Backends, JWT_SECRET, Shop, free_port, redis, unique};

/// The program, to its end.
async fn flashsale(backends: &Backends, arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_flashsale"))
        .args(arguments)
        .env("FLASHSALE_REDIS_URL", &backends.redis_url)
        .env("FLASHSALE_REDIS_NAMESPACE", &backends.namespace)
        .env("FLASHSALE_DATABASE_URL", &backends.database_url)
        .env("FLASHSALE_JWT_SECRET", JWT_SECRET)
        .env_remove("FLASHSALE_TEST_SEED")
        .env("RUST_LOG", "warn,fred=error")
        .output();
    tokio::time::timeout(Duration::from_mins(1), command).await.expect("it ends").expect("the binary starts")
}

/// What it prints for people.
async fn text(backends: &Backends, kind: &str, id: &str) -> String {
    let output = flashsale(backends, &["inspect", kind, id]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What it prints for programs: the sheet of the one cell that there is.
async fn sheet(backends: &Backends, kind: &str, id: &str) -> Value {
    let output = flashsale(backends, &["inspect", kind, id, "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut whole: Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    assert_eq!((&whole["kind"], &whole["id"]), (&json!(kind), &json!(id)));
    assert_eq!(whole["pseudonym"].as_str().map(str::len), (kind == "user").then_some(16), "{whole}");
    whole["cells"][0].take()
}

/// Why it prints nothing: exit code 1 and a reason.
async fn refusal(backends: &Backends, kind: &str, id: &str) -> String {
    let output = flashsale(backends, &["inspect", kind, id]).await;
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(1), 0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[track_caller]
fn fact<'s>(sheet: &'s Value, section: &str, name: &str) -> &'s Value {
    let mut facts = sheet["facts"].as_array().expect("facts").iter();
    let found = facts.find(|fact| fact["section"] == section && fact["name"] == name);
    found.unwrap_or_else(|| panic!("no {section}, {name}: {sheet:#}"))
}

/// Both say the same, and it is this.
#[track_caller]
fn assert_both(sheet: &Value, section: &str, name: &str, value: &Value) {
    let fact = fact(sheet, section, name);
    assert_eq!((&fact["redis"], &fact["postgres"]), (value, value), "{section}, {name}");
    assert_eq!(fact["differs"], false, "{section}, {name}");
}

#[track_caller]
fn assert_verdict(sheet: &Value, verdict: &str) {
    assert_eq!(sheet["verdict"], verdict, "{sheet:#}");
}

#[tokio::test]
async fn an_order_is_shown_from_its_first_event_to_its_rows() {
    let shop = Shop::start("inspect-order").await;
    let product = shop.client.product("한정판 운동화", 59_000, 10).await;
    shop.client.charge("ann", 200_000).await;
    let order = shop.client.order("ann", "k", product, 2).await.expect(201).text("orderId");
    let reserved = shop.client.reserve("ann", product, 1).await;
    shop.wait_written().await;

    let paid = sheet(&shop.backends, "order", &order).await;
    assert_verdict(&paid, "AGREE");
    assert_eq!((&paid["eventsBehind"], &paid["faults"]), (&json!(0), &json!([])));
    assert_both(&paid, "order", "status", &json!("CONFIRMED"));
    assert_both(&paid, "order", "final amount", &json!(118_000));
    assert_both(&paid, "order", "payment id", &json!(order));
    assert_both(&paid, "order", "is open", &json!(false));
    let event = fact(&paid, "events", &format!("event {order}"));
    assert_eq!((&event["redis"]["type"], &event["redis"]), (&json!("order_confirmed"), &event["postgres"]));
    assert_eq!(fact(&paid, "lines", "line 1")["redis"]["product_name"], "한정판 운동화");
    let payment = fact(&paid, "payment", &format!("payment {order}"));
    assert_eq!((&payment["postgres"]["status"], payment.get("redis")), (&json!("COMPLETED"), None));
    assert_eq!(fact(&paid, "payment", &format!("transaction {order}"))["postgres"]["type"], "PAYMENT");
    assert_eq!(fact(&paid, "data platform", "sync")["postgres"]["synced"], false);

    let open = sheet(&shop.backends, "order", &reserved).await;
    assert_verdict(&open, "AGREE");
    assert_both(&open, "order", "status", &json!("PENDING_PAYMENT"));
    assert_both(&open, "order", "is open", &json!(true));
    assert_eq!(fact(&open, "order", "due")["redis"], fact(&open, "order", "expires at")["postgres"]);
    assert_eq!(fact(&open, "order", "record")["redis"]["status"], "PENDING_PAYMENT");

    let text = text(&shop.backends, "order", &order).await;
    assert!(text.starts_with(&format!("order {order} (cell 0): Redis is at event ")), "{text}");
    assert!(text.ends_with("\nRedis and PostgreSQL agree\n") && !text.contains("!="), "{text}");
}

#[tokio::test]
async fn a_user_is_shown_with_all_that_is_his() {
    let shop = Shop::start("inspect-user").await;
    let client = &shop.client;
    let product = client.limited_product(500, 10, 5).await;
    let coupon = client.coupon(&json!({})).await;
    client.charge("ann", 10_000).await;
    let issued = client.issue("ann", coupon).await;
    client.order("ann", "k", product, 2).await.expect(201);
    let reserved = client.reserve("ann", product, 1).await;
    let item = json!({"productId": product, "quantity": 2});
    client.post("/api/cart/items", "ann", &unique("cart"), &item).await.expect(200);
    shop.wait_written().await;

    let ann = sheet(&shop.backends, "user", "ann").await;
    assert_verdict(&ann, "AGREE");
    for (name, amount) in [("balance", 9_000), ("balance by the ledger", 9_000), ("used total", 1_000)] {
        assert_both(&ann, "money", name, &json!(amount));
    }
    assert_both(&ann, "money", "unpaid orders", &json!(1));
    assert_both(&ann, "units towards limits", &format!("product {product}"), &json!(3));
    assert_both(&ann, "cart", &format!("product {product}"), &json!(2));
    let held = fact(&ann, "coupons", &format!("coupon {coupon}"));
    assert_eq!((&held["redis"]["user_coupon_id"], &held["redis"]), (&json!(issued), &held["postgres"]));
    let open = fact(&ann, "open", &format!("order {reserved}"));
    assert_eq!((&open["redis"]["status"], &open["redis"]), (&json!("PENDING_PAYMENT"), &open["postgres"]));
    assert_eq!(fact(&ann, "orders by status", "CONFIRMED")["postgres"]["orders"], 1);

    let redis = redis::connect(&shop.backends.redis_url).await;
    let bought = format!("{}:{{c0}}:bought", shop.backends.namespace);
    redis.hset::<(), _, _>(bought.as_str(), (format!("ann {product}"), "4")).await.expect("HSET");
    let ann = sheet(&shop.backends, "user", "ann").await;
    assert_verdict(&ann, "DIFFER");
    assert_eq!(ann["summary"], format!("Redis and PostgreSQL differ: units towards limits, product {product}"));
}

#[tokio::test]
async fn a_product_is_shown_and_what_differs_is_marked() {
    let shop = Shop::start("inspect-product").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    shop.client.order("ann", "k", product, 1).await.expect(201);
    shop.client.reserve("ann", product, 2).await;
    shop.wait_written().await;
    let id = product.to_string();

    let pin = sheet(&shop.backends, "product", &id).await;
    assert_verdict(&pin, "AGREE");
    assert_both(&pin, "terms", "name", &json!("Pin"));
    assert_both(&pin, "stock", "available", &json!(7));
    assert_eq!(fact(&pin, "stock", "reserved")["postgres"], 2);
    assert_eq!(fact(&pin, "stock", "sold")["postgres"], 1);
    assert_eq!(fact(&pin, "stock", "brought in all")["postgres"], 10);
    let days = pin["facts"].as_array().expect("facts").iter().filter(|fact| fact["section"] == "sold");
    let sold: Vec<(&Value, &Value)> = days.map(|day| (&day["redis"], &day["postgres"])).collect();
    assert_eq!(sold, [(&json!(1), &json!(1))], "on one day, which both say");

    let redis = redis::connect(&shop.backends.redis_url).await;
    let stock = format!("{}:{{c0}}:stock", shop.backends.namespace);
    redis.hset::<(), _, _>(stock.as_str(), (id.as_str(), "8")).await.expect("HSET");
    let text = text(&shop.backends, "product", &id).await;
    assert!(text.lines().any(|line| line.starts_with("!= available ") && line.ends_with(" 7")), "{text}");
    assert!(text.ends_with("\nRedis and PostgreSQL differ: stock, available\n"), "{text}");
}

#[tokio::test]
async fn rows_that_contradict_each_other_are_told() {
    let shop = Shop::start("inspect-faults").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    let order = shop.client.reserve("ann", product, 1).await;
    shop.client.pay("ann", "k", &order, "BALANCE", 100).await.expect(200);
    shop.wait_written().await;
    let change = format!("UPDATE later_payments SET status = 'FAILED' WHERE order_id = {order}");
    shop.database().await.batch_execute(&change).await.expect(&change);
    let wrong = sheet(&shop.backends, "order", &order).await;
    assert_verdict(&wrong, "DIFFER");
    let summary = wrong["summary"].as_str().expect("a sentence");
    assert!(summary.starts_with("Redis and PostgreSQL agree, but something is wrong: "), "{summary}");
    assert!(summary.contains("the payment must be COMPLETED"), "{summary}");
}

#[tokio::test]
async fn a_writer_that_is_behind_explains_what_differs() {
    // Nobody writes.
    let shop = Shop::start_on(Backends::shared("inspect-behind").await, &[("ROLES", "api")]).await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    let order = shop.client.order("ann", "k", product, 1).await.expect(201).text("orderId");
    let behind = sheet(&shop.backends, "order", &order).await;
    assert_verdict(&behind, "BEHIND");
    assert_eq!((&behind["eventsBehind"], &behind["notes"]), (&json!(3), &json!(["PostgreSQL is 3 events behind"])));
    let status = fact(&behind, "order", "status");
    assert_eq!((&status["redis"], &status["postgres"]), (&json!("CONFIRMED"), &Value::Null));
    let unread = fact(&behind, "not in PostgreSQL yet", &format!("event {order}"));
    assert_eq!(unread["redis"]["type"], "order_confirmed");
    let summary = behind["summary"].as_str().expect("a sentence");
    assert!(summary.starts_with("PostgreSQL is 3 events behind, 1 of them about this: "), "{summary}");
}

#[tokio::test]
async fn what_nobody_knows_is_an_error_and_what_cannot_be_asked_is_never_guessed() {
    let shop = Shop::start("inspect-away").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    let order = shop.client.reserve("ann", product, 1).await;
    shop.wait_written().await;
    for (kind, id) in [("order", "999999"), ("user", "nobody"), ("product", "999")] {
        let error = refusal(&shop.backends, kind, id).await;
        assert!(error.contains(&format!("there is no {kind} {id}: neither Redis nor PostgreSQL knows it")), "{error}");
    }
    for (kind, id) in [("order", "x"), ("user", "a b"), ("product", "0")] {
        let error = refusal(&shop.backends, kind, id).await;
        assert!(error.contains(&format!("is no {kind} id")), "{error}");
    }

    let redis_url = format!("redis://127.0.0.1:{}", free_port());
    let database_url = format!("postgres://nobody@127.0.0.1:{}/nothing", free_port());
    let without_redis = Backends { redis_url: redis_url.clone(), ..shop.backends.clone() };
    let without_postgres = Backends { database_url: database_url.clone(), ..shop.backends.clone() };
    let things = [("order", order.as_str(), "status"), ("user", "ann", "balance")];
    for (kind, id, name) in things {
        let section = if kind == "user" { "money" } else { "order" };
        let half = sheet(&without_redis, kind, id).await;
        assert_verdict(&half, "INCOMPLETE");
        assert_eq!((&half["redis"]["asked"], &half["postgres"]["asked"]), (&json!(false), &json!(true)));
        let known = fact(&half, section, name);
        assert!(known.get("redis").is_none() && !known["postgres"].is_null(), "{known}");

        let half = sheet(&without_postgres, kind, id).await;
        assert_verdict(&half, "INCOMPLETE");
        assert_eq!((&half["redis"]["asked"], &half["postgres"]["asked"]), (&json!(true), &json!(false)));
        let known = fact(&half, section, name);
        assert!(known.get("postgres").is_none() && !known["redis"].is_null(), "{known}");
    }
    // Without PostgreSQL nobody names what is open: it is found all the same.
    let ann = sheet(&without_postgres, "user", "ann").await;
    assert_eq!(fact(&ann, "open", &format!("order {order}"))["redis"]["status"], "PENDING_PAYMENT");
    let error = refusal(&without_postgres, "order", "999999").await;
    assert!(error.contains("nobody can tell whether it exists"), "{error}");
    let nothing = Backends { redis_url, database_url, namespace: shop.backends.namespace.clone() };
    assert!(refusal(&nothing, "order", &order).await.contains("neither Redis ("));
}

#[tokio::test]
async fn a_closed_cell_is_shown_and_not_believed() {
    let shop = Shop::start("inspect-closed").await;
    shop.client.charge("ann", 1_000).await;
    shop.wait_written().await;
    let redis = redis::connect(&shop.backends.redis_url).await;
    let meta = format!("{}:{{c0}}:meta", shop.backends.namespace);
    redis.hset::<(), _, _>(meta.as_str(), ("fenced", "by a test")).await.expect("HSET");
    let ann = sheet(&shop.backends, "user", "ann").await;
    assert_verdict(&ann, "CLOSED");
    assert_eq!(ann["notes"], json!(["the cell is closed: it is fenced (by a test)"]));
    assert_eq!(fact(&ann, "money", "balance")["redis"], 1_000);
}

#[tokio::test]
async fn shells_can_complete_every_subcommand() {
    // It asks nobody.
    let nowhere = Backends { redis_url: String::new(), namespace: String::new(), database_url: String::new() };
    for shell in ["bash", "zsh", "fish"] {
        let output = flashsale(&nowhere, &["completions", shell]).await;
        let script = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && script.contains("inspect") && script.contains("verify"), "{shell}");
    }
}
