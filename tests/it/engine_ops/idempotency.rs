//! One key, one effect.

use super::*;

#[tokio::test]
async fn a_repeat_is_answered_from_the_record() {
    let mut shop = shop().await;
    let event = event_of(shop.send(&[call("alice", "k", buy(PENCIL, 1))]).await.remove(0));
    let before = shop.dump().await;
    let repeat = shop.send(&[call("alice", "k", buy(PENCIL, 1))]).await;
    assert_eq!(repeat, [Answer::Replayed(event)]);
    let reused = refused(Refused::IdempotencyKeyReused, json!({}));
    assert_eq!(shop.send(&[call("alice", "k", buy(PENCIL, 2))]).await, std::slice::from_ref(&reused));
    assert_eq!(shop.send(&[call("alice", "k", charge(100))]).await, [reused]);
    assert_eq!(shop.dump().await, before, "repeats write nothing");
    // Keys are scoped to the user.
    let other = shop.send(&[call("bob", "k", charge(100))]).await;
    assert!(matches!(other[..], [Answer::Decided(_)]), "{other:?}");
}

#[tokio::test]
async fn one_key_twice_in_one_batch_counts_once() {
    let mut shop = shop().await;
    let mut calls: Vec<Call> = (0..64).map(|_| call("alice", "k", buy(PENCIL, 1))).collect();
    calls[40].fingerprint = Fingerprint::new("another", "/", &());
    let answers = shop.send(&calls).await;
    let event = event_of(answers[0].clone());
    for (i, answer) in answers.iter().enumerate().skip(1) {
        let replayed = Answer::Replayed(event.clone());
        let expected = if i == 40 { refused(Refused::IdempotencyKeyReused, json!({})) } else { replayed };
        assert_eq!(*answer, expected, "op {i}");
    }
    assert_eq!(stock_of(&shop, PENCIL).await, "9");
    assert_eq!(shop.status().await.seq, 4);
}

#[tokio::test]
async fn a_refused_key_may_try_again() {
    let mut shop = shop().await;
    let asked = || call("bob", "k", buy(NOTE, 1));
    let refusal = shop.send(&[asked()]).await.remove(0);
    assert!(matches!(refusal, Answer::Refused(_)), "{refusal:?}");
    let answers = shop.send(&[asked(), call("bob", "money", charge(2_500)), asked(), asked()]).await;
    assert!(
        matches!(answers[..], [Answer::Refused(_), Answer::Decided(_), Answer::Decided(_), Answer::Replayed(_)]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_key_is_kept_over_midnight_and_its_day_has_a_deadline() {
    let mut cell = TestCell::open("ops").await;
    let day = START_MS / DAY_MS;
    cell.set_now(START_MS + DAY_MS - 1).await;
    let event = event_of(cell.send(&[call("alice", "k", charge(100))]).await.remove(0));
    let keys = (cell.keys.idem(day), cell.keys.idem(day + 1), cell.keys.idem(day + 2));
    assert_eq!(cell.dump().await[&keys.0].1, START_MS + 2 * DAY_MS + HOUR_MS);
    for now_ms in [START_MS + DAY_MS, START_MS + 2 * DAY_MS - 1] {
        cell.set_now(now_ms).await;
        // Whatever the sender's clock says, the day is that of Redis.
        for skew_ms in [0, -DAY_MS, DAY_MS] {
            cell.skew_ms = skew_ms;
            let repeat = cell.send(&[call("alice", "k", charge(100))]).await;
            assert_eq!(repeat, [Answer::Replayed(event.clone())]);
        }
    }
    cell.skew_ms = 0;
    let other = cell.send(&[call("alice", "other", charge(100))]).await;
    assert!(matches!(other[..], [Answer::Decided(_)]), "{other:?}");
    assert_eq!(cell.dump().await[&keys.1].1, START_MS + 3 * DAY_MS + HOUR_MS);

    cell.set_now(START_MS + 2 * DAY_MS).await;
    let late = cell.send(&[call("alice", "k", charge(100))]).await;
    assert!(matches!(late[..], [Answer::Decided(_)]), "after a whole day more the key is new: {late:?}");
    assert_eq!(cell.idem(day + 2).await.len(), 1);
    assert!(cell.dump().await.contains_key(&keys.2));
}

#[tokio::test]
async fn a_clock_set_back_over_midnight_still_finds_the_record() {
    let mut cell = TestCell::open("ops").await;
    let midnight = START_MS + DAY_MS;
    cell.set_now(midnight + 1).await;
    let first = cell.send(&[call("ann", "late", charge(100))]).await;
    cell.set_now(midnight - 1).await;
    let reply = cell.try_send(&[call("ann", "late", charge(100))]).await.expect("an answer");
    let BatchReply::Open { now_ms, results, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(now_ms, midnight - 1, "windows and times follow the clock");
    assert!(matches!(&results[0], OpResult::Done { replayed: true, .. }), "{first:?} {results:?}");
}
