//! The dashboards as they look while a busy shop sells, drawn without Grafana: `target/dashboards/*.svg`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;

use super::super::support::shop::{tally, unique};
use super::board::{Board, runnable};
use super::live::Scene;
use super::picture::{Line, draw};
use super::prometheus::Prometheus;

/// Who sells, each on his own, all the time.
const SELLERS: [&str; 8] = ["ann", "ben", "cleo", "dan", "eve", "finn", "gus", "hana"];

/// Of each seller; more than he can sell in this time, for he pauses 50 ms after three.
const MUGS: u64 = 6_000;

/// Users who want the same thing at once.
const RUSH_USERS: u32 = 300;

const RUSH_UNITS: u64 = 100;

const UNTIL_RUSH: Duration = Duration::from_secs(50);

const AFTER_RUSH: Duration = Duration::from_secs(25);

/// How much of it is drawn.
const SECONDS: i64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test of anything: `make pictures` runs it"]
async fn draws_the_dashboards() {
    let scene = Scene::start("pictures").await;
    tokio::select! {
        _ = join_all(SELLERS.into_iter().map(|seller| scene.sell(seller, MUGS))) => unreachable!("they sell for ever"),
        () = rush(&scene) => {}
    }
    let end = jiff::Timestamp::now().as_second();
    let note = format!(
        "The last {SECONDS} s of a shop with {} busy sellers and a rush of {RUSH_USERS} users. Drawn without Grafana. \
         $__rate_interval: {}, $__range: {}.",
        SELLERS.len(),
        runnable("$__rate_interval"),
        runnable("$__range")
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dashboards");
    std::fs::create_dir_all(&folder).expect("a folder under target");
    for board in &Board::all() {
        let file = folder.join(&board.name).with_extension("svg");
        let found = look(&scene.prometheus, board, end).await;
        std::fs::write(&file, draw(&board.value, &note, &found)).expect("a file");
        eprintln!("{}", file.display());
    }
}

/// After a while, everybody orders within the same second.
async fn rush(scene: &Scene) {
    let client = &scene.shop.client;
    let product = client.product("Rush", 700, RUSH_UNITS).await;
    let users: Vec<String> = (1..=RUSH_USERS).map(|number| format!("rush-{number}")).collect();
    for user in &users {
        scene.charge(user, 1_000).await;
    }
    tokio::time::sleep(UNTIL_RUSH).await;
    let orders = users.iter().map(|user| async move {
        let key = unique("rush");
        client.order(user, &key, product, 1).await
    });
    let replies = join_all(orders).await;
    eprintln!("the rush: {}", tally(&replies));
    tokio::time::sleep(AFTER_RUSH).await;
}

/// What each panel of a board finds, by its id.
async fn look(prometheus: &Prometheus, board: &Board, end: i64) -> BTreeMap<u64, Vec<Line>> {
    let mut found = BTreeMap::new();
    for panel in board.panels() {
        let mut lines = Vec::new();
        for query in board.queries_of(panel) {
            let expr = query.runnable();
            let series = prometheus.query_range(&expr, end - SECONDS, end, 1).await;
            let series = series.unwrap_or_else(|error| panic!("{}: {expr}: {error}", query.place));
            lines.extend(series.into_iter().map(|series| Line::new(query.name(&series.labels), series.values)));
        }
        found.insert(panel["id"].as_u64().expect("an id"), lines);
    }
    found
}
