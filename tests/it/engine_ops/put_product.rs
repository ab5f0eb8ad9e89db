//! Products.

use super::*;

#[tokio::test]
async fn products_are_created_with_the_next_id() {
    let mut shop = shop().await;
    let new = PutProduct {
        limit: Some(Change::Set(2)),
        starts: Some(Change::Set(START_MS)),
        ends: Some(Change::Set(START_MS + 1)),
        ..new_product("컵", 700, 5)
    };
    let created = put(&mut shop, new).await;
    let expected = ProductPut {
        seq: 4,
        at: START_MS,
        product: 3,
        name: "컵".to_owned(),
        price: 700,
        limit: Some(2),
        starts: Some(START_MS),
        ends: Some(START_MS + 1),
        status: ItemStatus::Normal,
        version: 1,
        created: true,
        stock: 5,
        by: user("admin"),
    };
    assert_eq!(created, expected);
    let packed = json!({
        "name": "컵", "price": 700, "limit": 2, "starts": START_MS, "ends": START_MS + 1, "status": "NORMAL", "version": 1,
    });
    assert_eq!(shop.packed_hash(&shop.keys.catalog()).await["3"], packed);
    assert_eq!(stock_of(&shop, 3).await, "5");
    let status = shop.status().await;
    assert_eq!((status.product_last, status.catalog_version), (3, 4));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut shop = shop().await;
    let window = PutProduct {
        limit: Some(Change::Set(2)),
        starts: Some(Change::Set(START_MS)),
        ends: Some(Change::Set(START_MS + 1)),
        ..patch(NOTE)
    };
    let first = put(&mut shop, window).await;
    assert_eq!((first.version, first.created, first.stock, first.price), (2, false, 3, 2_500));
    let second = put(&mut shop, PutProduct { name: Some("공책".to_owned()), stock: Some(77), ..patch(NOTE) }).await;
    let expected = ProductPut { seq: 5, name: "공책".to_owned(), version: 3, ..first };
    assert_eq!(second, expected, "and the stock of a product that exists is not for put_product");
    let clear = PutProduct {
        limit: Some(Change::Clear),
        starts: Some(Change::Clear),
        ends: Some(Change::Clear),
        ..patch(NOTE)
    };
    let third = put(&mut shop, clear).await;
    assert_eq!((third.limit, third.starts, third.ends, third.version), (None, None, None, 4));
    let packed = json!({ "name": "공책", "price": 2_500, "status": "NORMAL", "version": 4 });
    assert_eq!(shop.packed_hash(&shop.keys.catalog()).await["2"], packed);
    assert_eq!(shop.status().await.catalog_version, 6);
}

#[tokio::test]
async fn a_product_that_cannot_be_is_refused() {
    let mut shop = shop().await;
    let unknown = Op::PutProduct(patch(UNKNOWN));
    refuses(&mut shop, "admin", unknown, Refused::ProductNotFound, json!({ "productId": UNKNOWN })).await;
    let reason = json!({ "reason": "saleStartsAt must be before saleEndsAt" });
    for ends in [START_MS - 1, START_MS] {
        let (starts, ends) = (Some(Change::Set(START_MS)), Some(Change::Set(ends)));
        let new = Op::PutProduct(PutProduct { starts, ends, ..new_product("컵", 700, 5) });
        refuses(&mut shop, "admin", new, Refused::InvalidInput, reason.clone()).await;
    }
    put(&mut shop, PutProduct { starts: Some(Change::Set(START_MS)), ..patch(NOTE) }).await;
    let before_the_start_it_has = Op::PutProduct(PutProduct { ends: Some(Change::Set(START_MS)), ..patch(NOTE) });
    refuses(&mut shop, "admin", before_the_start_it_has, Refused::InvalidInput, reason).await;
    assert_eq!(put(&mut shop, new_product("컵", 700, 5)).await.product, 3, "a refusal mints no id");
}

#[tokio::test]
async fn numbers_that_lua_cannot_hold_are_refused_by_the_engine_itself() {
    let mut cell = TestCell::open("ops").await;
    for number in [1_u64 << 53, 1 << 63, u64::MAX] {
        for (member, put) in [
            ("price", PutProduct { price: Some(number), ..new_product("a", 1, 1) }),
            ("stock", PutProduct { stock: Some(number), ..new_product("a", 1, 1) }),
            ("limit", PutProduct { limit: Some(Change::Set(number)), ..new_product("a", 1, 1) }),
        ] {
            let reason = json!({"reason": format!("{member} is out of range")});
            assert_eq!(
                cell.one("admin", Op::PutProduct(put)).await,
                refused(Refused::InvalidInput, reason),
                "{number}"
            );
        }
    }
    let many = Op::PutProduct(new_product("a", 1, STOCK_MAX + 1));
    let reason = json!({"reason": "stock is out of range"});
    assert_eq!(cell.one("admin", many).await, refused(Refused::InvalidInput, reason), "what comes back must fit too");
    let nameless = PutProduct { name: None, ..new_product("a", 1, 1) };
    let reason = json!({"reason": "a new product needs name, price and stock"});
    assert_eq!(cell.one("admin", Op::PutProduct(nameless)).await, refused(Refused::InvalidInput, reason));
    put(&mut cell, new_product("a", NUMBER_MAX, STOCK_MAX)).await;
}
