//! What holds for a batch as a whole.

use super::*;

#[tokio::test]
async fn ops_of_a_batch_see_the_ones_before_them() {
    let mut cell = TestCell::open("ops").await;
    let put = Op::PutProduct;
    let calls = [
        call("admin", "1", put(new_product("컵", 1_000, 2))),
        call("alice", "2", buy(1, 1)),
        call("alice", "3", charge(3_000)),
        call("alice", "4", buy(1, 1)),
        call("bob", "5", charge(10_000)),
        call("bob", "6", buy(1, 2)),
        call("admin", "7", adjust(1, 5)),
        call("admin", "8", put(PutProduct { price: Some(500), limit: Some(Change::Set(3)), ..patch(1) })),
        call("bob", "9", buy(1, 2)),
        call("bob", "10", buy(1, 2)),
    ];
    let answers = cell.send(&calls).await;
    let codes: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Decided(event) => event.name(),
            Answer::Replayed(_) => "replayed",
            Answer::Refused(refusal) => refusal.code.code(),
        })
        .collect();
    let expected = [
        "product_put",
        "INSUFFICIENT_BALANCE",
        "balance_charged",
        "order_confirmed",
        "balance_charged",
        "INSUFFICIENT_STOCK",
        "stock_adjusted",
        "product_put",
        "order_confirmed",
        "EXCEEDED_LIMITED_QUANTITY",
    ];
    assert_eq!(codes, expected);
    assert_eq!(stock_of(&cell, 1).await, "4");
    assert_eq!(account_of(&cell, "bob").await, Some(json!({ "balance": 9_000, "used": 1_000 })));
    assert_eq!(cell.sorted_set(&cell.keys.sales(TODAY)).await, texts(&[("1", "3")]));
    let log = cell.log_from(1).await;
    let seqs: Vec<u64> = log.iter().flat_map(|entry| &entry.events).map(|(_, event)| event.seq()).collect();
    assert_eq!((log.len(), seqs), (1, (1..=7).collect::<Vec<u64>>()), "one entry, and refusals have no number");
}

#[tokio::test]
async fn a_batch_may_touch_thousands_of_fields_of_one_column() {
    // 8,000 is beyond what Lua's `unpack` takes at once.
    for users in [2_000_usize, 8_000] {
        let mut cell = TestCell::open("ops").await;
        let calls: Vec<Call> = (0..users).map(|i| call(&format!("u{i}"), "k", charge(100))).collect();
        let answers = cell.send(&calls).await;
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Decided(_))));
        assert_eq!(cell.hash(&cell.keys.accounts()).await.len(), users);
        assert_eq!(cell.idem(START_MS / DAY_MS).await.len(), users);
        let repeats = cell.send(&calls).await;
        assert!(repeats.iter().all(|answer| matches!(answer, Answer::Replayed(_))));
        assert_eq!(cell.status().await.seq, users as u64);
    }
}

#[tokio::test]
async fn an_empty_batch_is_answered_and_writes_nothing() {
    let mut shop = shop().await;
    let before = shop.dump().await;
    assert!(shop.send(&[]).await.is_empty());
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_full_backlog_refuses_what_is_new_and_replays_what_is_old() {
    let mut shop = shop().await;
    shop.rules = Rules { backlog_max: 5, ..RULES };
    let full = refused(Refused::BacklogFull, json!({}));
    let calls: Vec<Call> = (0..4).map(|i| call("alice", &format!("k{i}"), charge(100))).collect();
    let answers = shop.send(&calls).await;
    assert!(
        matches!(&answers[..], [Answer::Decided(_), Answer::Decided(_), third, fourth] if *third == full && *fourth == full),
        "{answers:?}"
    );
    let before = shop.dump().await;
    let again = shop.send(&calls[..3]).await;
    assert!(matches!(&again[..], [Answer::Replayed(_), Answer::Replayed(_), third] if *third == full), "{again:?}");
    assert_eq!(shop.dump().await, before);

    shop.note_committed(6).await;
    assert_eq!(shop.status().await.committed, 0, "beyond the last event nothing can be committed");
    shop.note_committed(4).await;
    shop.note_committed(2).await;
    assert_eq!(shop.status().await.committed, 4, "and it never goes back");
    let answers = shop.send(&calls).await;
    assert!(
        matches!(answers[..], [Answer::Replayed(_), Answer::Replayed(_), Answer::Decided(_), Answer::Decided(_)]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn an_unknown_op_fails_the_whole_call_and_writes_nothing() {
    let mut shop = shop().await;
    let before = shop.dump().await;
    let good = call("alice", "good", charge(100)).encode();
    // As no version of the service would send it; the name is the first value, behind the byte that says how long it is.
    let mut unknown = call("alice", "unknown", charge(100)).encode();
    let name = unknown.get_mut(1..=14).expect("an encoded call");
    assert_eq!(name, b"charge_balance");
    name.copy_from_slice(b"charge_nothing");
    for batch in [[good.clone(), unknown.clone()], [unknown, good]] {
        let failed = shop.try_send_encoded(&batch).await;
        assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
        assert_eq!(shop.dump().await, before);
    }
}

#[tokio::test]
async fn a_column_that_cannot_be_read_fails_the_call_before_anything_is_written() {
    let mut shop = shop().await;
    shop.set_text(&shop.keys.accounts(), "not a hash").await;
    let before = shop.dump().await;
    let failed = shop.try_send(&[call("alice", "k", charge(100))]).await;
    assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_leaves_the_columns_alone() {
    let mut shop = shop().await;
    shop.set_text(&shop.keys.log(), "not a stream").await;
    let before = shop.dump().await;
    let failed = shop.try_send(&[call("alice", "k", buy(PENCIL, 1))]).await;
    assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
    assert_eq!(shop.dump().await, before);
}

#[tokio::test]
async fn a_cell_whose_columns_could_not_follow_the_log_is_fenced() {
    // The columns that are written without having been read.
    for is_reserved in [false, true] {
        let mut shop = shop().await;
        let (key, op) = if is_reserved {
            (shop.keys.due(), reserve(order(&[(PENCIL, 1)])))
        } else {
            (shop.keys.sales(TODAY), buy(PENCIL, 1))
        };
        shop.set_text(&key, "not a sorted set").await;
        let failed = shop.try_send(&[call("alice", "k", op)]).await;
        assert!(matches!(failed, Err(CallError::Script(_))), "{failed:?}");
        assert_ne!(shop.status().await.fenced, "");
        closed_because(&mut shop, ClosedReason::Fenced).await;
    }
}
