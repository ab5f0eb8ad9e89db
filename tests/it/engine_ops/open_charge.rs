//! Charges that the gateway is asked for.

use super::*;

#[tokio::test]
async fn an_open_charge_is_noted_before_the_gateway_is_asked() {
    let mut shop = shop().await;
    let asked = OpenCharge { amount: 5_000, method: Some("card-7".to_owned()) };
    let opened = shop.decided("alice", asked.into()).await;
    let (user, method) = (user("alice"), Some("card-7".to_owned()));
    let expected = Event::ChargeOpened(ChargeOpened { seq: 4, at: START_MS, user, amount: 5_000, method });
    assert_eq!(opened, expected);
    let pending = json!({ "balance": 100_000, "used": 0, "pending": 5_000, "charges": 1 });
    assert_eq!(account_of(&shop, "alice").await, Some(pending));
    assert_eq!(open_of(&shop).await, BTreeMap::from([("4".to_owned(), expected)]));
    assert_eq!(due_of(&shop).await, texts(&[("4", &(START_MS + RULES.recovery_ms).to_string())]));

    shop.decided("bob", open_charge(100)).await;
    shop.decided("bob", open_charge(200)).await;
    let pending = json!({ "balance": 0, "used": 0, "pending": 300, "charges": 2 });
    assert_eq!(account_of(&shop, "bob").await, Some(pending), "it starts an account");
}

#[tokio::test]
async fn what_cannot_be_charged_is_not_asked_for() {
    let mut cell = TestCell::open("ops").await;
    let cases = [
        (0, "NOT_POSITIVE"),
        (-100, "NOT_POSITIVE"),
        (150, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_050, "NOT_A_MULTIPLE_OF_UNIT"),
        (1_000_100, "ABOVE_MAXIMUM"),
    ];
    for (amount, reason) in cases {
        let details = json!({ "reason": reason, "amount": amount });
        refuses(&mut cell, "alice", open_charge(amount), Refused::InvalidAmount, details).await;
    }
}

#[tokio::test]
async fn the_balance_cap_counts_what_is_pending() {
    let mut cell = TestCell::open("ops").await;
    cell.rules = Rules { balance_max: 1_500_000, ..RULES };
    cell.decided("alice", charge(1_000_000)).await;
    cell.decided("alice", open_charge(300_000)).await;
    cell.decided("alice", open_charge(100_000)).await;
    let details = json!({ "reason": "ABOVE_BALANCE_CAP", "amount": 100_100 });
    for op in [open_charge(100_100), charge(100_100)] {
        refuses(&mut cell, "alice", op, Refused::InvalidAmount, details.clone()).await;
    }
    cell.decided("alice", settle_charge(2, Verdict::Declined)).await;
    cell.decided("alice", charge(100_100)).await;
    cell.decided("alice", settle_charge(3, Verdict::Approved)).await;
    let details = json!({ "reason": "ABOVE_BALANCE_CAP", "amount": 300_000 });
    refuses(&mut cell, "alice", open_charge(300_000), Refused::InvalidAmount, details).await;
    cell.decided("alice", open_charge(299_900)).await;
    let pending = json!({ "balance": 1_200_100, "used": 0, "pending": 299_900, "charges": 1 });
    assert_eq!(account_of(&cell, "alice").await, Some(pending));
}

#[tokio::test]
async fn nobody_has_more_open_charges_than_allowed() {
    let mut cell = TestCell::open("ops").await;
    for _ in 0..RULES.open_charges_max {
        cell.decided("alice", open_charge(100)).await;
    }
    let too_many = json!({ "reason": "TOO_MANY_PENDING", "amount": 100 });
    refuses(&mut cell, "alice", open_charge(100), Refused::InvalidAmount, too_many).await;
    cell.decided("alice", charge(100)).await;
    cell.decided("bob", open_charge(100)).await;
    cell.decided("alice", settle_charge(1, Verdict::Declined)).await;
    cell.decided("alice", open_charge(100)).await;
}
