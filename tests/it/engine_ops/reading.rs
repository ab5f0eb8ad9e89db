//! What reads say.

use super::*;

#[tokio::test]
async fn reads_say_what_the_ops_did_and_close_with_the_gate() {
    let mut shop = shop().await;
    let ordered = shop.decided("alice", buy(PENCIL, 4)).await;
    let id = CellId::new(0).expect("a cell");
    let shared = CellShared::new(id, shop.keys.clone(), shop.redis.clone());
    shared.set_gate(GateState::Open(1));

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
    assert_eq!(reads::event(&shared, EntityId::new(id, 4)).await.expect("an answer"), Some(ordered));
    assert_eq!(reads::event(&shared, EntityId::new(id, 5)).await.expect("an answer"), None);

    shop.set_meta("run_id", "0123456789abcdef").await;
    assert!(reads::account(&shared, &user("alice")).await.is_err());
    assert!(matches!(shared.gate(), GateState::Closed(_)));
}
