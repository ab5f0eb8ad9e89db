//! What reads say.

use super::*;

#[tokio::test]
async fn reads_say_what_the_ops_did_and_close_with_the_gate() {
    let mut shop = shop().await;
    shop.decided("alice", buy(PENCIL, 4)).await;
    let shared = shared(&shop);

    let account = reads::account(&shared, &user("alice")).await.expect("an account");
    assert_eq!((account.balance, account.used), (96_000, 4_000));
    let account = reads::account(&shared, &user("nobody")).await.expect("an account");
    assert_eq!((account.balance, account.used), (0, 0));
    let mut products = reads::products(&shared, None).await.expect("products");
    products.stock.sort_unstable();
    assert_eq!((products.now_ms, products.version), (START_MS, 2));
    assert_eq!(products.stock, [(PENCIL, 6), (NOTE, 3)]);
    assert_eq!(products.catalog.as_ref().map(Vec::len), Some(2));
    let unchanged = reads::products(&shared, Some(2)).await.expect("products");
    assert_eq!((unchanged.catalog, unchanged.stock.len()), (None, 2));
    let days = [TODAY.to_owned(), "2100-01-02".to_owned()];
    assert_eq!(reads::sales(&shared, &days).await.expect("sales"), [(PENCIL, 4)]);
    let stock = reads::column(&shared, shop.keys.stock(), 0, 100).await.expect("a column");
    assert_eq!((stock.seq, stock.next), (4, 0));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields: Texts = stock.fields.iter().map(|(field, value)| (field.clone(), text(value))).collect();
    assert_eq!(fields, texts(&[("1", "6"), ("2", "3")]));

    shop.set_meta("run_id", "0123456789abcdef").await;
    assert!(reads::account(&shared, &user("alice")).await.is_err());
    assert!(matches!(shared.gate(), GateState::Closed(_)));
}

#[tokio::test]
async fn reads_say_what_is_pending_and_who_holds_what() {
    let mut shop = shop().await;
    let coupon = give(&mut shop, "alice", new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    let shared = shared(&shop);
    let held = |order| HeldCoupon { id: 5, issued: START_MS, expires: START_MS + 7 * DAY_MS, order };
    let wallet = reads::wallet(&shared, &user("alice")).await.expect("a wallet");
    assert_eq!(wallet, BTreeMap::from([(coupon, held(None))]));
    assert_eq!(reads::wallet(&shared, &user("nobody")).await.expect("a wallet"), BTreeMap::new());

    let asked = PlaceOrder { coupons: vec![coupon], ..order(&[(PENCIL, 2)]) };
    shop.decided("alice", reserve(asked)).await;
    shop.decided("alice", open_charge(5_000)).await;
    let account = reads::account(&shared, &user("alice")).await.expect("an account");
    assert_eq!((account.balance, account.used), (100_000, 0));
    assert_eq!((account.open, account.pending, account.charges), (1, 5_000, 1));
    let wallet = reads::wallet(&shared, &user("alice")).await.expect("a wallet");
    assert_eq!(wallet, BTreeMap::from([(coupon, held(Some(6)))]));
    let coupons = reads::coupons(&shared).await.expect("coupons");
    assert_eq!(coupons.len(), 1);
    assert_eq!((coupons[0].0, coupons[0].1.total, coupons[0].1.remaining), (coupon, 10, 9));
}

/// What is known of an order or charge.
async fn last(shared: &CellShared, entity: Entity, seq: u64) -> Option<Event> {
    // An answer tells the reader the clock of Redis, and with it in which days to look.
    reads::account(shared, &user("nobody")).await.expect("an account");
    reads::last_event(shared, entity, EntityId::new(shared.id, seq)).await.expect("an answer")
}

#[tokio::test]
async fn the_last_event_of_an_order_is_found_wherever_it_stands() {
    let mut shop = shop().await;
    let shared = shared(&shop);
    // In the log, in the middle of an entry.
    let calls = [call("bob", "1", charge(100)), call("alice", "2", buy(PENCIL, 1)), call("bob", "3", charge(100))];
    let placed = event_of(shop.send(&calls).await.remove(1));
    assert_eq!(last(&shared, Entity::Order, 5).await, Some(placed.clone()));
    for (entity, none) in [(Entity::Order, 4), (Entity::Order, 6), (Entity::Order, 99), (Entity::Charge, 5)] {
        assert_eq!(last(&shared, entity, none).await, None, "{entity:?} {none}");
    }
    // Open.
    let unpaid = shop.decided("alice", reserve(order(&[(PENCIL, 1)]))).await;
    assert_eq!(last(&shared, Entity::Order, 7).await, Some(unpaid));
    assert_eq!(last(&shared, Entity::Charge, 7).await, None);
    let held = shop.decided("alice", pay(7, PaymentMethod::Card, 1_000)).await;
    assert_eq!(last(&shared, Entity::Order, 7).await, Some(held));
    assert_eq!(last(&shared, Entity::Order, 8).await, None, "that is the payment, not the order");
    // Recorded.
    let confirmed = shop.decided("alice", settle(7, Verdict::Approved)).await;
    assert_eq!(last(&shared, Entity::Order, 7).await, Some(confirmed.clone()));
    let refunded = shop.decided("alice", cancel(5, Some(paid(&placed)))).await;
    shop.set_now(START_MS + 2 * DAY_MS - 1).await;
    assert_eq!(last(&shared, Entity::Order, 7).await, Some(confirmed));
    assert_eq!(last(&shared, Entity::Order, 5).await, Some(refunded), "and not what the log has of it");
}

#[tokio::test]
async fn the_last_event_of_a_charge_is_found_wherever_it_stands() {
    let mut shop = shop().await;
    let shared = shared(&shop);
    let opened = shop.decided("alice", open_charge(100)).await;
    assert_eq!(last(&shared, Entity::Charge, 4).await, Some(opened));
    assert_eq!(last(&shared, Entity::Order, 4).await, None);
    let settled = shop.decided("alice", settle_charge(4, Verdict::Declined)).await;
    assert_eq!(last(&shared, Entity::Charge, 4).await, Some(settled.clone()));
    assert_eq!(last(&shared, Entity::Charge, 5).await, None);
    shop.set_now(START_MS + 2 * DAY_MS - 1).await;
    assert_eq!(last(&shared, Entity::Charge, 4).await, Some(settled));
    let credited = shop.decided("alice", charge(100)).await;
    assert_eq!(last(&shared, Entity::Charge, credited.seq()).await, None, "it never was with the gateway");
}
