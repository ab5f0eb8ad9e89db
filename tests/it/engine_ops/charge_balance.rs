//! Charges.

use super::*;

#[tokio::test]
async fn a_charge_credits_the_balance() {
    let mut cell = TestCell::open("ops").await;
    let charged = |seq: u64, amount: u64, previous: u64| {
        let (user, balance) = (user("alice"), previous + amount);
        Event::BalanceCharged(BalanceCharged { seq, at: START_MS, user, amount, previous, balance, used: 0 })
    };
    assert_eq!(cell.decided("alice", charge(100)).await, charged(1, 100, 0));
    assert_eq!(cell.decided("alice", charge(1_000_000)).await, charged(2, 1_000_000, 100));
    assert_eq!(account_of(&cell, "alice").await, Some(json!({ "balance": 1_000_100, "used": 0 })));
}

#[tokio::test]
async fn a_charge_outside_of_the_rules_is_refused_with_the_reason() {
    let mut cell = TestCell::open("ops").await;
    cell.rules = Rules { balance_max: 1_500_000, ..RULES };
    cell.decided("alice", charge(1_000_000)).await;
    let cases = [
        (0, "NOT_POSITIVE"),
        (-100, "NOT_POSITIVE"),
        (1, "NOT_A_MULTIPLE_OF_UNIT"),
        (150, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_050, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_100, "ABOVE_MAXIMUM"),
        (9_007_199_254_740_900, "ABOVE_MAXIMUM"),
        (500_100, "ABOVE_BALANCE_CAP"),
    ];
    for (amount, reason) in cases {
        let details = json!({ "reason": reason, "amount": amount });
        refuses(&mut cell, "alice", charge(amount), Refused::InvalidAmount, details).await;
    }
    cell.decided("alice", charge(500_000)).await;
    // Beyond 2^53 the amount in the details is rounded; it is refused all the same.
    for amount in [i64::MAX, i64::MIN] {
        let before = cell.dump().await;
        let answer = cell.one("alice", charge(amount)).await;
        assert!(matches!(&answer, Answer::Refused(refusal) if refusal.code == Refused::InvalidAmount), "{answer:?}");
        assert_eq!(cell.dump().await, before);
    }
}
