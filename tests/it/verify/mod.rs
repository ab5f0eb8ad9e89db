//! The comparison of Redis with PostgreSQL: silent about everything that can happen, also under load, and exact about
//! everything that cannot.

mod history;
mod load;
mod plants;

use std::process::Output;
use std::time::Duration;

use flashsale::config::{Config, Source};
use flashsale::engine::ids::CellId;
use flashsale::verify::command::open_for_reading;
use flashsale::verify::{Kind, Verifier};
use fred::interfaces::HashesInterface;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::shop::{Backends, JWT_SECRET, Shop, bearer, redis};
use history::{History, PlayedGateway};
use plants::Planter;

/// Asks for the report until it is done.
async fn report(shop: &Shop) -> Value {
    let token = bearer("admin", true);
    let url = format!("{}/admin/verify", shop.client.ops_url);
    for _ in 0..10 {
        let headers = [("authorization", token.as_str())];
        let reply = shop.client.try_send(Method::GET, &url, &headers, None).await.expect("an answer");
        if reply.status == 200 {
            return reply.body;
        }
        assert_eq!(reply.status.as_u16(), 202, "{}", reply.body);
    }
    panic!("the comparison does not end");
}

#[track_caller]
fn assert_clean(report: &Value) {
    assert_eq!(report["differencesTotal"], 0, "{report:#}");
    assert_eq!(report["differences"], json!([]), "{report:#}");
}

/// The settings of a shop's servers, as the program gets them.
fn settings(backends: &Backends) -> Vec<(String, String)> {
    let settings = [
        ("REDIS_URL", backends.redis_url.clone()),
        ("REDIS_NAMESPACE", backends.namespace.clone()),
        ("DATABASE_URL", backends.database_url.clone()),
        ("JWT_SECRET", JWT_SECRET.to_owned()),
    ];
    settings.map(|(name, value)| (format!("FLASHSALE_{name}"), value)).into()
}

/// `flashsale verify`, to its end.
async fn verify_command(backends: &Backends, arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_flashsale"))
        .arg("verify")
        .args(arguments)
        .envs(settings(backends))
        .env_remove("FLASHSALE_TEST_SEED")
        .env("RUST_LOG", "warn,fred=error")
        .output();
    tokio::time::timeout(Duration::from_mins(1), command).await.expect("it ends").expect("the binary starts")
}

#[tokio::test]
async fn after_all_that_can_happen_nothing_differs() {
    let gateway = PlayedGateway::start().await;
    let shop = history::start("verify-clean", &gateway).await;
    History::make(&shop, &gateway).await;
    let report = report(&shop).await;
    assert_clean(&report);
    assert_eq!(report["busy"], 0, "nothing moves: {report:#}");
    for (name, count) in report["checked"].as_object().expect("counts") {
        assert!(count.as_u64() > Some(0), "no {name} were compared: {report:#}");
    }
    let range = &report["cells"][0];
    assert_eq!(range["cell"], 0);
    assert!(range["seqFrom"].as_u64() > Some(0) && range["seqTo"].as_u64() >= range["seqFrom"].as_u64(), "{range}");
    assert!(shop.metric("flashsale_verify_last_seconds", "").await > 0.0, "when it was");
    assert!(shop.metric("flashsale_verify_differences", "").await < 1.0, "no differences");
}

#[tokio::test]
async fn under_load_nothing_differs() {
    let gateway = PlayedGateway::start().await;
    let shop = load::start("verify-load", &gateway).await;
    let load = load::Load::start(&shop.client).await;
    for round in 0..6 {
        let report = report(&shop).await;
        assert_clean(&report);
        let (busy, accounts) = (&report["busy"], &report["checked"]["accounts"]);
        eprintln!("round {round}: busy {busy}, accounts {accounts}, as of {}", report["cells"][0]);
    }
    let requests = load.finish().await;
    assert!(requests > 200, "only {requests} requests: that is no load");
    assert_clean(&report(&shop).await);
}

#[tokio::test]
async fn every_kind_of_difference_is_named_exactly() {
    let gateway = PlayedGateway::start().await;
    let shop = history::start("verify-plants", &gateway).await;
    let history = History::make(&shop, &gateway).await;
    shop.wait_written().await;
    let mut planter = Planter::new(&shop).await;
    planter.goods(&history).await;
    planter.money().await;
    planter.coupons(&history).await;
    planter.open_things(&history).await;
    planter.waiting(&history).await;
    planter.tables(&history).await;
    planter.in_the_ledger().await;
    assert_clean(&report(&shop).await);
    // What is left has a test of its own below.
    let missing: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| !planter.seen(*kind)).collect();
    assert_eq!(missing, [Kind::WriterBehind]);
}

#[tokio::test]
async fn the_command_tells_by_its_exit_code_and_says_what_differs() {
    let shop = Shop::start("verify-cli").await;
    let product = shop.client.product("Pin", 100, 10).await;
    shop.client.charge("ann", 1_000).await;
    shop.client.order("ann", "k", product, 1).await.expect(201);
    let clean = verify_command(&shop.backends, &[]).await;
    let text = String::from_utf8_lossy(&clean.stdout).into_owned();
    assert!(clean.status.success(), "{text}{}", String::from_utf8_lossy(&clean.stderr));
    assert!(text.trim_end().ends_with("no differences"), "{text}");

    let redis = redis::connect(&shop.backends.redis_url).await;
    let key = format!("{}:{{c0}}:stock", shop.backends.namespace);
    redis.hset::<(), _, _>(key.as_str(), (product.to_string(), "8")).await.expect("HSET");
    let different = verify_command(&shop.backends, &[]).await;
    let text = String::from_utf8_lossy(&different.stdout).into_owned();
    assert_eq!(different.status.code(), Some(1), "{text}");
    let line = format!("STOCK {product}: Redis 8, PostgreSQL 9, available units as of event ");
    assert!(text.lines().any(|l| l.starts_with(&line)), "{text}");
    assert!(text.trim_end().ends_with("1 difference"), "{text}");
    let json = verify_command(&shop.backends, &["--json"]).await;
    let report: Value = serde_json::from_slice(&json.stdout).expect("JSON on stdout");
    assert_eq!((&report["differences"][0]["kind"], &report["differencesTotal"]), (&json!("STOCK"), &json!(1)));
}

#[tokio::test]
async fn a_postgresql_that_does_not_get_there_is_what_is_told() {
    // Nobody writes, and the handler's patience is over before that of the comparison.
    let settings_of_shop = [
        ("ROLES", "api"),
        ("HTTP_BODY_TIMEOUT_MS", "500"),
        ("OP_DEADLINE_MS", "1000"),
        ("GATEWAY_TIMEOUT_MS", "500"),
        ("HTTP_HANDLER_TIMEOUT_MS", "6500"),
    ];
    let shop = Shop::start_on(Backends::shared("verify-behind").await, &settings_of_shop).await;
    shop.client.product("Pin", 100, 10).await;
    let token = bearer("admin", true);
    let url = format!("{}/admin/verify", shop.client.ops_url);
    let headers = [("authorization", token.as_str())];
    let reply = shop.client.try_send(Method::GET, &url, &headers, None).await.expect("an answer").expect(202);
    assert_eq!(reply.body, json!({"status": "RUNNING", "last": null}));

    let config = Config::load(&Source::new(settings(&shop.backends), None)).expect("a valid configuration");
    let pool = flashsale::postgres::pool(&config).expect("a pool");
    let cell = CellId::new(0).expect("a cell");
    let cell = open_for_reading(&config, &pool, cell).await.expect("an open cell");
    let verifier = Verifier::new(cell, pool).with_patience(Duration::from_millis(200));
    let report = verifier.run().await.expect("a report");
    assert_eq!((report.differences_total, report.differences.len()), (1, 1), "{report}");
    let difference = &report.differences[0];
    assert_eq!((difference.kind, difference.id.as_str()), (Kind::WriterBehind, "cell 0"));
    assert_eq!((&difference.redis, &difference.postgres), (&Some(json!(1)), &Some(json!(0))));
}

#[tokio::test]
async fn only_operators_see_the_report() {
    let shop = Shop::start("verify-access").await;
    let path = format!("{}/admin/verify", shop.client.ops_url);
    let token = bearer("ann", false);
    let headers = [("authorization", token.as_str())];
    let user = shop.client.try_send(Method::GET, &path, &headers, None).await.expect("an answer");
    user.expect_problem(403, "FORBIDDEN");
    shop.client.get("/admin/verify", Some("ann")).await.expect_problem(404, "NOT_FOUND");
}
