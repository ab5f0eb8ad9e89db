//! What the gateway says about charges.

use super::*;

fn settled(seq: u64, status: ChargeStatus, balance: u64) -> Event {
    Event::ChargeSettled(ChargeSettled {
        seq,
        at: START_MS,
        user: user("alice"),
        charge: 4,
        status,
        amount: 5_000,
        previous: 100_000,
        balance,
        used: 0,
    })
}

#[tokio::test]
async fn an_approved_charge_credits_the_balance_and_a_declined_one_does_not() {
    let cases =
        [(Verdict::Approved, ChargeStatus::Completed, 105_000), (Verdict::Declined, ChargeStatus::Failed, 100_000)];
    for (verdict, status, balance) in cases {
        let mut shop = shop().await;
        shop.decided("alice", open_charge(5_000)).await;
        let event = shop.decided("alice", settle_charge(4, verdict)).await;
        assert_eq!(event, settled(5, status, balance));
        assert_eq!(account_of(&shop, "alice").await, Some(json!({ "balance": balance, "used": 0 })));
        assert_eq!(open_of(&shop).await, BTreeMap::new());
        assert_eq!(due_of(&shop).await, texts(&[]));
        assert_eq!(shop.idem(START_MS / DAY_MS).await["charge/4"].1, event);
    }
}

#[tokio::test]
async fn what_is_settled_stays_so() {
    for first in [Verdict::Approved, Verdict::Declined] {
        let mut shop = shop().await;
        shop.decided("alice", open_charge(5_000)).await;
        let event = shop.decided("alice", settle_charge(4, first)).await;
        for now in [START_MS, START_MS + 2 * DAY_MS - 1] {
            shop.set_now(now).await;
            for verdict in [Verdict::Approved, Verdict::Declined] {
                replays(&mut shop, "alice", settle_charge(4, verdict), event.clone()).await;
            }
        }
        let unknown = settle_charge(4, first);
        refuses(&mut shop, "bob", unknown.clone(), Refused::InvalidOrderState, json!({})).await;
        shop.set_now(START_MS + 2 * DAY_MS).await;
        refuses(&mut shop, "alice", unknown, Refused::InvalidOrderState, json!({})).await;
    }
}

#[tokio::test]
async fn only_an_open_charge_of_that_user_can_be_settled() {
    let mut shop = shop().await;
    shop.decided("alice", charge(100)).await;
    reserved(&mut shop, "alice", &[(PENCIL, 1)]).await;
    shop.decided("bob", open_charge(100)).await;
    for charge in [3, 4, 5, 6, 99] {
        let op = settle_charge(charge, Verdict::Approved);
        refuses(&mut shop, "alice", op, Refused::InvalidOrderState, json!({})).await;
    }
    shop.decided("bob", settle_charge(6, Verdict::Approved)).await;
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 100, "used": 0 })));
}

#[tokio::test]
async fn charges_are_settled_in_any_order() {
    let mut shop = shop().await;
    for amount in [1_000, 2_000, 3_000] {
        shop.decided("bob", open_charge(amount)).await;
    }
    let verdicts = [(6, Verdict::Approved), (4, Verdict::Declined), (5, Verdict::Approved)];
    let calls = verdicts.map(|(charge, verdict)| call("bob", &charge.to_string(), settle_charge(charge, verdict)));
    let answers = shop.send(&calls).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Decided(_))), "{answers:?}");
    assert_eq!(account_of(&shop, "bob").await, Some(json!({ "balance": 5_000, "used": 0 })));
    assert_eq!(due_of(&shop).await, texts(&[]));
}
