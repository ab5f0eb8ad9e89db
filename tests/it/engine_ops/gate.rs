//! Who is let in.

use super::*;

#[tokio::test]
async fn an_unknown_cell_is_closed() {
    let mut cell = TestCell::closed("ops").await;
    closed_because(&mut cell, ClosedReason::Empty).await;
    assert!(cell.key_names().await.is_empty());
}

#[tokio::test]
async fn another_epoch_is_closed() {
    let mut shop = shop().await;
    for epoch in [0, 2] {
        shop.epoch = epoch;
        closed_because(&mut shop, ClosedReason::Epoch).await;
    }
    shop.epoch = 1;
    shop.decided("alice", charge(100)).await;
}

#[tokio::test]
async fn a_fenced_cell_is_closed_and_cannot_be_opened() {
    let mut shop = shop().await;
    shop.set_meta("fenced", "by a test").await;
    closed_because(&mut shop, ClosedReason::Fenced).await;
    let status = shop.status().await;
    assert!(!shop.open_epoch(2, &status.server_run_id, status.seq).await);
}

#[tokio::test]
async fn a_sender_whose_clock_is_far_off_is_not_served() {
    let mut shop = shop().await;
    for skew_ms in [-3 * DAY_MS, -2 * DAY_MS, 2 * DAY_MS, 3 * DAY_MS] {
        shop.skew_ms = skew_ms;
        closed_because(&mut shop, ClosedReason::Clock).await;
    }
    for skew_ms in [-DAY_MS, DAY_MS] {
        shop.skew_ms = skew_ms;
        shop.decided("alice", buy(PENCIL, 1)).await;
    }
    assert_eq!(shop.sorted_set(&shop.keys.sales(TODAY)).await, texts(&[("1", "2")]));
}

#[tokio::test]
async fn another_server_process_is_closed_until_a_new_epoch_opens_it() {
    let mut shop = shop().await;
    let status = shop.status().await;
    let run_id = status.server_run_id.as_str();
    shop.set_meta("run_id", "0123456789abcdef").await;
    closed_because(&mut shop, ClosedReason::Restarted).await;

    assert!(!shop.open_epoch(1, run_id, status.seq).await, "an epoch that was");
    assert!(!shop.open_epoch(2, run_id, status.seq - 1).await, "another past");
    assert!(!shop.open_epoch(2, run_id, status.seq + 1).await, "a history that was lost");
    assert!(!shop.open_epoch(2, "0123456789abcdef", status.seq).await, "another process");
    closed_because(&mut shop, ClosedReason::Restarted).await;
    assert!(shop.open_epoch(2, run_id, status.seq).await);
    closed_because(&mut shop, ClosedReason::Epoch).await;
    shop.epoch = 2;
    let event = shop.decided("alice", charge(100)).await;
    assert_eq!((event.seq(), shop.status().await.epoch), (4, 2), "the sequence goes on");
    assert_eq!(shop.log_from(4).await[0].prev, shop.log_from(3).await[0].nonce, "and so does the log");
}

#[tokio::test]
async fn a_redis_that_has_less_than_was_answered_is_closed() {
    let mut cell = TestCell::open("ops").await;
    cell.one("ann", charge(100)).await;
    cell.acknowledged = 1;
    cell.one("ann", charge(100)).await;
    cell.acknowledged = 3;
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("ann", "next", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(ClosedReason::Behind)), "{reply:?}");
    assert_eq!(cell.dump().await, before);
}

#[tokio::test]
async fn a_sending_whose_time_is_over_does_nothing() {
    let mut cell = TestCell::open("ops").await;
    cell.one("ann", charge(100)).await;
    cell.not_after = cell.now_ms();
    cell.one("ann", charge(100)).await;
    cell.not_after = cell.now_ms() - 1;
    let before = cell.dump().await;
    let reply = cell.try_send(&[call("ann", "late", charge(100))]).await.expect("an answer");
    assert!(matches!(reply, BatchReply::Closed(ClosedReason::Late)), "{reply:?}");
    assert_eq!(cell.dump().await, before);
}
