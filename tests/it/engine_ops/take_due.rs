//! What the sweeper is given.

use super::*;

/// Shortest and longest pause.
const PAUSES_MS: (i64, i64) = (10_000, 100_000);

/// How soon a reservation that should have expired comes again.
const EXPIRE_AGAIN_MS: i64 = 5_000;

const NOTHING: [Event; 0] = [];

fn at(ms: i64) -> String {
    (START_MS + ms).to_string()
}

async fn takes(shop: &TestCell) -> Vec<Event> {
    shop.take_due(100, PAUSES_MS).await.expect("an open gate")
}

#[tokio::test]
async fn a_reservation_is_handed_out_when_its_time_is_over() {
    let mut shop = shop().await;
    let unpaid = Event::OrderChanged(reserved(&mut shop, "alice", &[(PENCIL, 1)]).await);
    let (ttl, log) = (RULES.reservation_ttl_ms, shop.log_from(1).await);
    wait(&mut shop, ttl - 1).await;
    assert_eq!(takes(&shop).await, NOTHING);
    wait(&mut shop, 1).await;
    assert_eq!(takes(&shop).await, std::slice::from_ref(&unpaid));
    assert_eq!(takes(&shop).await, NOTHING, "somebody else has it");
    assert_eq!(due_of(&shop).await, texts(&[("4", &at(ttl + EXPIRE_AGAIN_MS))]));
    wait(&mut shop, EXPIRE_AGAIN_MS - 1).await;
    assert_eq!(takes(&shop).await, NOTHING);
    wait(&mut shop, 1).await;
    assert_eq!(takes(&shop).await, [unpaid], "whoever took it did not finish");
    assert_eq!(shop.log_from(1).await, log, "it is no history");
    shop.decided("alice", expire(4)).await;
    wait(&mut shop, HOUR_MS).await;
    assert_eq!(takes(&shop).await, NOTHING);
}

#[tokio::test]
async fn what_the_gateway_has_not_answered_comes_again_after_growing_pauses() {
    let mut shop = shop().await;
    let opened = shop.decided("alice", open_charge(1_000)).await;
    let held = Event::OrderChanged(held(&mut shop, "alice", PENCIL, 1).await);
    // By now it is as old as it was when it was due first: the pause doubles what has passed, within the bounds.
    let recovery = RULES.recovery_ms;
    assert_eq!(recovery, 60_000);
    for (from, pause) in [(60_000, 60_000), (120_000, 100_000), (220_000, 100_000)] {
        shop.set_now(START_MS + from - 1).await;
        assert_eq!(takes(&shop).await, NOTHING);
        shop.set_now(START_MS + from).await;
        assert_eq!(takes(&shop).await, [opened.clone(), held.clone()]);
        let next = at(from + pause);
        assert_eq!(due_of(&shop).await, texts(&[("4", &next), ("5", &next)]));
    }
    shop.decided("alice", settle(5, Verdict::Approved)).await;
    shop.decided("alice", settle_charge(4, Verdict::Approved)).await;
    wait(&mut shop, HOUR_MS).await;
    assert_eq!(takes(&shop).await, NOTHING);
}

#[tokio::test]
async fn a_pause_is_never_shorter_than_the_least() {
    let mut shop = shop().await;
    shop.rules = Rules { recovery_ms: 1_000, ..RULES };
    shop.decided("alice", open_charge(1_000)).await;
    wait(&mut shop, 1_000).await;
    assert_eq!(takes(&shop).await.len(), 1);
    assert_eq!(due_of(&shop).await, texts(&[("4", &at(11_000))]));
}

#[tokio::test]
async fn an_open_refund_is_handed_out_until_it_is_done() {
    let mut shop = shop().await;
    held(&mut shop, "alice", PENCIL, 1).await;
    let confirmed = shop.decided("alice", settle(4, Verdict::Approved)).await;
    let refunded = shop.decided("alice", cancel(4, Some(paid(&confirmed)))).await;
    wait(&mut shop, RULES.recovery_ms).await;
    assert_eq!(takes(&shop).await, [refunded]);
    shop.decided("alice", settle(4, Verdict::Refunded)).await;
    wait(&mut shop, HOUR_MS).await;
    assert_eq!(takes(&shop).await, NOTHING);
}

#[tokio::test]
async fn no_more_is_taken_than_asked_for() {
    let mut shop = shop().await;
    for _ in 0..3 {
        reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
        wait(&mut shop, 1).await;
    }
    wait(&mut shop, RULES.reservation_ttl_ms).await;
    let seqs = |events: Vec<Event>| events.iter().map(Event::seq).collect::<Vec<_>>();
    assert_eq!(shop.take_due(2, PAUSES_MS).await.map(seqs), Ok(vec![4, 5]), "the oldest first");
    assert_eq!(shop.take_due(2, PAUSES_MS).await.map(seqs), Ok(vec![6]));
    assert_eq!(shop.take_due(2, PAUSES_MS).await.map(seqs), Ok(Vec::new()));
}

#[tokio::test]
async fn a_deadline_of_something_that_is_not_open_goes_away() {
    let mut shop = shop().await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    let second = Event::OrderChanged(reserved(&mut shop, "alice", &[(PENCIL, 1)]).await);
    shop.redis.plain().hdel::<(), _, _>(shop.keys.open(), "4").await.expect("HDEL");
    wait(&mut shop, RULES.reservation_ttl_ms).await;
    assert_eq!(takes(&shop).await, [second]);
    let again = at(RULES.reservation_ttl_ms + EXPIRE_AGAIN_MS);
    assert_eq!(due_of(&shop).await, texts(&[("5", &again)]));
}

#[tokio::test]
async fn nothing_is_handed_out_at_a_closed_gate() {
    let mut shop = shop().await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    wait(&mut shop, RULES.reservation_ttl_ms).await;
    shop.epoch = 2;
    let before = shop.dump().await;
    assert_eq!(shop.take_due(100, PAUSES_MS).await, Err(ClosedReason::Epoch));
    assert_eq!(shop.dump().await, before);
    shop.epoch = 1;
    shop.set_meta("fenced", "by a test").await;
    assert_eq!(shop.take_due(100, PAUSES_MS).await, Err(ClosedReason::Fenced));
}
