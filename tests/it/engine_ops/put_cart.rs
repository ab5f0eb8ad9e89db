//! Carts.

use super::*;

const EMPTY: [CartLine; 0] = [];

fn cart_line(product: ProductId, name: &str, price: u64, quantity: u32) -> CartLine {
    CartLine { product, name: name.to_owned(), price, quantity }
}

/// Changes alice's cart: the whole cart afterwards, which is also what is read.
async fn cart(shop: &mut TestCell, op: Op) -> Vec<CartLine> {
    let event = shop.decided("alice", op).await;
    let Event::CartPut(CartPut { seq, at, user: owner, items }) = event else { panic!("{event:?}") };
    assert_eq!((seq, at, owner), (shop.status().await.seq, shop.now_ms(), user("alice")));
    assert_eq!(reads::cart(&shared(shop), &user("alice")).await.expect("a cart"), items);
    items
}

#[tokio::test]
async fn products_are_added_set_and_taken_out() {
    let mut shop = shop().await;
    let (pencils, notes) =
        (|quantity| cart_line(PENCIL, "연필", 1_000, quantity), |quantity| cart_line(NOTE, "노트", 2_500, quantity));
    assert_eq!(cart(&mut shop, add_to_cart(PENCIL, 2)).await, [pencils(2)]);
    assert_eq!(cart(&mut shop, add_to_cart(NOTE, 1)).await, [pencils(2), notes(1)]);
    assert_eq!(cart(&mut shop, add_to_cart(PENCIL, 3)).await, [pencils(5), notes(1)]);
    assert_eq!(cart(&mut shop, put_cart(PENCIL, 1)).await, [pencils(1), notes(1)]);
    let packed = json!([{ "product": 1, "quantity": 1 }, { "product": 2, "quantity": 1 }]);
    assert_eq!(shop.packed_hash(&shop.keys.carts()).await["alice"], packed);
    assert_eq!(cart(&mut shop, put_cart(PENCIL, 0)).await, [notes(1)]);
    assert_eq!(cart(&mut shop, put_cart(PENCIL, 10)).await, [notes(1), pencils(10)]);
    assert_eq!(cart(&mut shop, clear_cart()).await, EMPTY);
    assert_eq!(cart(&mut shop, clear_cart()).await, EMPTY, "also an empty one");
    assert_eq!(cart(&mut shop, put_cart(NOTE, 1)).await, [notes(1)]);
    assert_eq!(cart(&mut shop, put_cart(NOTE, 0)).await, EMPTY);
    assert!(shop.hash(&shop.keys.carts()).await.is_empty());
    assert_eq!(shop.text_hash(&shop.keys.stock()).await, texts(&[("1", "10"), ("2", "3")]), "it reserves nothing");
    assert_eq!(account_of(&shop, "carol").await, None);
    shop.decided("carol", put_cart(NOTE, 1)).await;
    assert_eq!(account_of(&shop, "carol").await, None, "and starts no account");
}

#[tokio::test]
async fn a_cart_shows_products_as_they_are_now() {
    let mut shop = shop().await;
    cart(&mut shop, put_cart(PENCIL, 1)).await;
    cart(&mut shop, put_cart(NOTE, 1)).await;
    let changes = PutProduct { price: Some(9), status: Some(ItemStatus::Deleted), ..patch(PENCIL) };
    put(&mut shop, changes).await;
    let lines = [cart_line(PENCIL, "연필", 9, 1), cart_line(NOTE, "노트", 2_500, 1)];
    assert_eq!(reads::cart(&shared(&shop), &user("alice")).await.expect("a cart"), lines);
    let details = json!({ "productId": PENCIL });
    for op in [add_to_cart(PENCIL, 1), put_cart(PENCIL, 1), Op::PlaceOrder(PlaceOrder::default())] {
        refuses(&mut shop, "alice", op, Refused::ProductNotFound, details.clone()).await;
    }
    let lines = [cart_line(PENCIL, "연필", 9, 1), cart_line(NOTE, "노트", 2_500, 2)];
    assert_eq!(cart(&mut shop, put_cart(NOTE, 2)).await, lines, "what is no longer sold stays until it is taken out");
    assert_eq!(cart(&mut shop, put_cart(PENCIL, 0)).await, lines[1..]);
    shop.decided("alice", Op::PlaceOrder(PlaceOrder::default())).await;
}

#[tokio::test]
async fn a_cart_takes_no_more_than_one_may_buy() {
    let mut shop = shop().await;
    put(&mut shop, PutProduct { limit: Some(Change::Set(5)), ..patch(PENCIL) }).await;
    put(&mut shop, new_product("컵", 1, 5_000)).await;
    shop.decided("alice", buy(PENCIL, 1)).await;
    cart(&mut shop, put_cart(PENCIL, 3)).await;
    let limited = json!({ "productId": PENCIL, "limitPerUser": 5, "alreadyBought": 1 });
    let short = json!({ "insufficientItems": [item(NOTE, "노트", 4, 3)] });
    let invalid = |reason: &str| (Refused::InvalidInput, json!({ "reason": reason }));
    let not_found = |id: ProductId| (Refused::ProductNotFound, json!({ "productId": id }));
    let out_of_range = "quantity must be from 1 to 1000";
    let cases = [
        (put_cart(PENCIL, 5), (Refused::ExceededLimitedQuantity, limited.clone())),
        (add_to_cart(PENCIL, 2), (Refused::ExceededLimitedQuantity, limited)),
        (put_cart(NOTE, 4), (Refused::InsufficientStock, short.clone())),
        (add_to_cart(NOTE, 4), (Refused::InsufficientStock, short)),
        (put_cart(3, 1_001), invalid(out_of_range)),
        (add_to_cart(3, u32::MAX), invalid(out_of_range)),
        (put_cart(UNKNOWN, 1), not_found(UNKNOWN)),
        (put_cart(UNKNOWN, 0), not_found(UNKNOWN)),
        (put_cart(NOTE, 0), not_found(NOTE)),
        (add_to_cart(NOTE, 0), not_found(NOTE)),
    ];
    for (op, (code, details)) in cases {
        refuses(&mut shop, "alice", op, code, details).await;
    }
    cart(&mut shop, add_to_cart(PENCIL, 1)).await;
    cart(&mut shop, put_cart(3, 1_000)).await;
    let (code, details) = invalid(out_of_range);
    refuses(&mut shop, "alice", add_to_cart(3, 1), code, details).await;

    shop.rules = Rules { items_max: 2, ..RULES };
    let (code, details) = invalid("a cart has at most 2 products");
    refuses(&mut shop, "alice", put_cart(NOTE, 1), code, details).await;
    cart(&mut shop, put_cart(3, 999)).await;
    cart(&mut shop, put_cart(3, 0)).await;
    cart(&mut shop, put_cart(NOTE, 1)).await;
}

#[tokio::test]
async fn an_order_without_items_takes_the_cart_and_empties_it() {
    let mut shop = shop().await;
    shop.decided("bob", put_cart(NOTE, 1)).await;
    for is_reserved in [false, true] {
        cart(&mut shop, put_cart(NOTE, 1)).await;
        cart(&mut shop, put_cart(PENCIL, 2)).await;
        let whole = PlaceOrder { final_amount: Some(4_500), ..PlaceOrder::default() };
        let items = vec![line(NOTE, "노트", 2_500, 1), line(PENCIL, "연필", 1_000, 2)];
        if is_reserved {
            let unpaid = changed(&mut shop, "alice", reserve(whole)).await;
            assert_eq!((unpaid.items, unpaid.cart), (items, Some(true)));
            // From here on it is an order like any other.
            let cancelled = changed(&mut shop, "alice", cancel(unpaid.order, None)).await;
            assert_eq!(cancelled.cart, None);
        } else {
            let event = shop.decided("alice", Op::PlaceOrder(whole)).await;
            let Event::OrderConfirmed(placed) = event else { panic!("{event:?}") };
            assert_eq!((placed.items, placed.cart, placed.coupons), (items, Some(true), None));
        }
        let carts = shop.packed_hash(&shop.keys.carts()).await;
        assert_eq!(carts, BTreeMap::from([("bob".to_owned(), json!([{ "product": 2, "quantity": 1 }]))]));
        for op in [Op::PlaceOrder(PlaceOrder::default()), reserve(PlaceOrder::default())] {
            refuses(&mut shop, "alice", op, Refused::CartEmpty, json!({})).await;
        }
    }
}

#[tokio::test]
async fn an_order_of_its_own_items_leaves_the_cart_and_so_does_a_refusal() {
    let mut shop = shop().await;
    cart(&mut shop, put_cart(NOTE, 3)).await;
    shop.decided("alice", Op::PlaceOrder(order(&[(NOTE, 1)]))).await;
    let short = json!({ "insufficientItems": [item(NOTE, "노트", 3, 2)] });
    for op in [Op::PlaceOrder(PlaceOrder::default()), reserve(PlaceOrder::default())] {
        refuses(&mut shop, "alice", op, Refused::InsufficientStock, short.clone()).await;
    }
    let lines = [cart_line(NOTE, "노트", 2_500, 3)];
    assert_eq!(reads::cart(&shared(&shop), &user("alice")).await.expect("a cart"), lines);
}

#[tokio::test]
async fn a_cart_is_ordered_with_coupons_and_in_the_batch_that_fills_it() {
    let mut shop = shop().await;
    let coupon = give(&mut shop, "alice", new_coupon("천 원", DiscountType::Fixed, 1_000)).await;
    let asked = || PlaceOrder { coupons: vec![coupon], ..PlaceOrder::default() };
    let calls = [
        call("alice", "fill", put_cart(PENCIL, 2)),
        call("alice", "order", Op::PlaceOrder(asked())),
        call("alice", "again", Op::PlaceOrder(asked())),
    ];
    let answers = shop.send(&calls).await;
    let Answer::Decided(Event::OrderConfirmed(placed)) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!((placed.final_amount, placed.cart, placed.coupons.as_ref()), (1_000, Some(true), Some(&vec![coupon])));
    assert_eq!(answers[2], refused(Refused::CartEmpty, json!({})));
}
