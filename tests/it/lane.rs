//! When a batch goes: seen from outside, on a Redis that answers nothing for a while.

use std::time::Duration;

use flashsale::dev::services::{PrivateRedis, RedisOptions};
use futures::future::join_all;

use crate::support::shop::{Backends, Shop, eventually};
use crate::support::{fresh_database, fresh_folder};

/// Batches sent so far, and ops in them.
async fn sent(shop: &Shop) -> (i64, i64) {
    let batches = shop.metric_count("flashsale_lane_batch_ops_count", "").await;
    (batches, shop.metric_count("flashsale_lane_batch_ops_sum", "").await)
}

#[tokio::test]
async fn while_a_batch_is_in_flight_few_ops_wait_and_enough_go_at_once() {
    let mut redis = PrivateRedis::start(&fresh_folder("lane"), &RedisOptions::default()).expect("redis-server starts");
    let backends =
        Backends { redis_url: redis.url(), namespace: "lane".to_owned(), database_url: fresh_database().await };
    let patient = [("OP_DEADLINE_MS", "10000"), ("REDIS_TIMEOUT_MS", "8000"), ("HTTP_HANDLER_TIMEOUT_MS", "120000")];
    let settings = [&patient[..], &[("LANE_NEXT_BATCH_OPS_MIN", "4")]].concat();
    let shop = Shop::start_on(backends, &settings).await;
    let product = shop.client.product("Hot", 1, 100).await;
    let users: Vec<String> = (0..5).map(|i| format!("user-{i}")).collect();
    for user in &users {
        shop.client.charge(user, 100).await;
    }

    // As many as are enough come while the first is in flight; then, in another round, fewer.
    for (round, rest, batches, ops) in [("enough", 4, 2, 5), ("few", 3, 1, 1)] {
        let before = sent(&shop).await;
        let more = |batches, ops| (before.0 + batches, before.1 + ops);
        redis.pause().expect("SIGSTOP");
        let order = |user: &String| {
            let (client, user) = (shop.client.clone(), user.clone());
            tokio::spawn(async move { client.order(&user, round, product, 1).await.status })
        };
        let mut orders = vec![order(&users[0])];
        eventually("the first goes alone", async || (sent(&shop).await == more(1, 1)).then_some(())).await;
        orders.extend(users[1..4].iter().map(order));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(sent(&shop).await, more(1, 1), "three wait");
        orders.extend(users[4..=rest].iter().map(order));
        eventually(round, async || (sent(&shop).await == more(batches, ops)).then_some(())).await;
        redis.resume().expect("SIGCONT");

        let statuses: Vec<_> = join_all(orders).await.into_iter().map(|status| status.expect("no panic")).collect();
        assert_eq!(statuses, vec![201; rest + 1]);
        assert_eq!(sent(&shop).await, more(2, 1 + i64::try_from(rest).expect("few")), "together");
    }
    shop.check_books().await;
}
