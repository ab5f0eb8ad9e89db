//! The cart: filled before the order, emptied by it, and by nothing else.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::shop::{Backends, Client, Reply, Shop, one_item, tally, unique};

/// Adds units of a product to a cart.
async fn add(client: &Client, user: &str, product: u64, quantity: u64) -> Reply {
    let body = json!({"productId": product, "quantity": quantity});
    client.post("/api/cart/items", user, &unique("add"), &body).await
}

/// A cart as its owner sees it.
async fn cart_of(client: &Client, user: &str) -> Value {
    client.get("/api/cart", Some(user)).await.expect(200).body
}

/// Product and quantity of every item.
async fn units_of(client: &Client, user: &str) -> Vec<(u64, u64)> {
    let body = cart_of(client, user).await;
    let number = |item: &Value, member: &str| item[member].as_u64().expect("a number");
    let items = body["items"].as_array().expect("a list").iter();
    items.map(|item| (number(item, "productId"), number(item, "quantity"))).collect()
}

/// Orders what is in the cart.
async fn check_out(client: &Client, user: &str, key: &str) -> Reply {
    client.post("/api/orders", user, key, &json!({})).await
}

#[tokio::test]
async fn what_is_put_into_the_cart_adds_up() {
    let shop = Shop::start("cart").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 100, 50).await, client.product("Cap", 700, 50).await);
    let empty = json!({"items": [], "totalAmount": 0});
    assert_eq!(cart_of(client, "ann").await, empty);
    add(client, "ann", pin, 2).await.expect(200);
    add(client, "ann", cap, 1).await.expect(200);
    let filled = add(client, "ann", pin, 3).await.expect(200).body;
    let expected = json!({
        "items": [
            {"productId": pin, "productName": "Pin", "unitPrice": 100, "quantity": 5, "amount": 500},
            {"productId": cap, "productName": "Cap", "unitPrice": 700, "quantity": 1, "amount": 700},
        ],
        "totalAmount": 1_200,
    });
    assert_eq!(filled, expected);
    assert_eq!(cart_of(client, "ann").await, expected);
    assert_eq!(cart_of(client, "bob").await, empty, "a cart is its owner's");

    let set = client.put(&format!("/api/cart/items/{pin}"), "ann", "set", &json!({"quantity": 1})).await.expect(200);
    assert_eq!((&set.body["items"][0]["quantity"], &set.body["totalAmount"]), (&json!(1), &json!(800)));
    client.delete(&format!("/api/cart/items/{pin}"), "ann", "take-out").await.expect(204);
    assert_eq!(units_of(client, "ann").await, [(cap, 1)]);
    client.delete("/api/cart", "ann", "clear").await.expect(204);
    assert_eq!(cart_of(client, "ann").await, empty);
    // A cart takes nothing from anybody.
    assert_eq!((shop.stock(pin).await, shop.stock(cap).await), (50, 50));
    shop.check_books().await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_put_in_or_taken_out() {
    let shop = Shop::start("cart-404").await;
    let client = &shop.client;
    let pin = client.product("Pin", 100, 50).await;
    add(client, "ann", 4242, 1).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    for id in ["4242", "0", "x", "99999999999"] {
        let path = format!("/api/cart/items/{id}");
        let put = client.put(&path, "ann", &unique("k"), &json!({"quantity": 1})).await;
        put.expect_problem(404, "PRODUCT_NOT_FOUND");
        client.delete(&path, "ann", &unique("k")).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    }
    client.delete(&format!("/api/cart/items/{pin}"), "ann", "k").await.expect_problem(404, "PRODUCT_NOT_FOUND");
    for body in [
        json!({}),
        json!({"productId": pin}),
        json!({"productId": pin, "quantity": 0}),
        json!({"productId": pin, "quantity": -1}),
        json!({"productId": pin, "quantity": 1.5}),
        json!({"productId": pin, "quantity": 1_001}),
        json!({"productId": "1", "quantity": 1}),
        json!({"productId": pin, "quantity": 1, "userId": "bob"}),
        json!([{"productId": pin, "quantity": 1}]),
    ] {
        let reply = client.post("/api/cart/items", "ann", &unique("k"), &body).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{body}: {}", reply.body);
    }
    assert!(units_of(client, "ann").await.is_empty());
}

#[tokio::test]
async fn a_cart_holds_no_more_than_could_be_bought() {
    let settings = [("ORDER_ITEMS_MAX", "2"), ("ORDER_QUANTITY_MAX", "9")];
    let shop = Shop::start_on(Backends::shared("cart-limits").await, &settings).await;
    let client = &shop.client;
    let scarce = client.product("Scarce", 100, 3).await;
    let refused = add(client, "ann", scarce, 4).await.expect_problem(400, "INSUFFICIENT_STOCK");
    assert_eq!(refused.body["number"], "P002");
    let short = json!([{"productId": scarce, "productName": "Scarce", "requestedQuantity": 4, "availableStock": 3}]);
    assert_eq!(refused.body["insufficientItems"], short);
    add(client, "ann", scarce, 2).await.expect(200);
    // What is there already counts, and a refusal leaves it.
    add(client, "ann", scarce, 2).await.expect_problem(400, "INSUFFICIENT_STOCK");
    assert_eq!(units_of(client, "ann").await, [(scarce, 2)]);

    let limited = client.limited_product(0, 50, 3).await;
    client.order("ann", "bought", limited, 2).await.expect(201);
    let refused = add(client, "ann", limited, 2).await.expect_problem(400, "EXCEEDED_LIMITED_QUANTITY");
    let told = (&refused.body["productId"], &refused.body["limitPerUser"], &refused.body["alreadyBought"]);
    assert_eq!(told, (&json!(limited), &json!(3), &json!(2)));
    add(client, "ann", limited, 1).await.expect(200);
    let path = format!("/api/cart/items/{limited}");
    let put = client.put(&path, "ann", "two", &json!({"quantity": 2})).await;
    put.expect_problem(400, "EXCEEDED_LIMITED_QUANTITY");

    let plenty = client.product("Plenty", 100, 50).await;
    add(client, "ann", plenty, 1).await.expect_problem(400, "INVALID_INPUT");
    add(client, "bob", plenty, 9).await.expect(200);
    add(client, "bob", plenty, 1).await.expect_problem(400, "INVALID_INPUT");
    assert_eq!(units_of(client, "ann").await, [(scarce, 2), (limited, 1)]);
    shop.check_books().await;
}

#[tokio::test]
async fn a_cart_survives_restarts_and_crashes() {
    let mut shop = Shop::start("cart-crash").await;
    let (pin, cap) = (shop.client.product("Pin", 100, 50).await, shop.client.product("Cap", 700, 50).await);
    add(&shop.client, "ann", pin, 2).await.expect(200);
    add(&shop.client, "ann", cap, 1).await.expect(200);
    let before = cart_of(&shop.client, "ann").await;
    assert!(shop.terminate().await.success());
    shop.restart().await;
    assert_eq!(cart_of(&shop.client, "ann").await, before);
    // Killed right behind the answer, before PostgreSQL can have it.
    add(&shop.client, "ann", pin, 1).await.expect(200);
    shop.kill().await;
    shop.restart().await;
    assert_eq!(units_of(&shop.client, "ann").await, [(pin, 3), (cap, 1)]);
    shop.check_books().await;
    let row = shop.database().await.query_one("SELECT items FROM carts WHERE user_id = 'ann'", &[]).await;
    let stored: Value = row.expect("a cart").get(0);
    assert_eq!(stored, json!([{"productId": pin, "quantity": 3}, {"productId": cap, "quantity": 1}]));
}

#[tokio::test]
async fn an_order_without_items_orders_the_cart_and_empties_it() {
    let shop = Shop::start("cart-order").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 100, 50).await, client.product("Cap", 700, 50).await);
    for user in ["ann", "bob"] {
        client.charge(user, 10_000).await;
        add(client, user, pin, 2).await.expect(200);
        add(client, user, cap, 1).await.expect(200);
    }
    // An order that names its items has nothing to do with the cart.
    client.post("/api/orders", "ann", "other", &one_item(pin, 1)).await.expect(201);
    assert_eq!(units_of(client, "ann").await, [(pin, 2), (cap, 1)]);

    let order = check_out(client, "ann", "k").await.expect(201);
    assert_eq!((&order.body["finalAmount"], &order.body["remainingBalance"]), (&json!(900), &json!(9_000)));
    let items = order.body["items"].as_array().expect("a list").iter();
    let ordered: Vec<Value> = items.map(|item| json!([item["productId"], item["quantity"]])).collect();
    assert_eq!(ordered, [json!([pin, 2]), json!([cap, 1])]);
    assert!(units_of(client, "ann").await.is_empty());
    assert_eq!(units_of(client, "bob").await, [(pin, 2), (cap, 1)], "the cart of another user");
    // The same key tells of the same order, whatever is in the cart by now.
    add(client, "ann", cap, 3).await.expect(200);
    let again = check_out(client, "ann", "k").await.expect(201);
    assert_eq!((again.is_replayed(), &again.body), (true, &order.body));
    assert_eq!(units_of(client, "ann").await, [(cap, 3)]);
    // Reserving empties it too.
    let reserved = client.post("/api/orders", "ann", "later", &json!({"payment": "LATER"})).await.expect(201);
    assert_eq!((&reserved.body["status"], &reserved.body["finalAmount"]), (&json!("PENDING_PAYMENT"), &json!(2_100)));
    assert!(units_of(client, "ann").await.is_empty());
    shop.check_books().await;
    assert_eq!(shop.count("SELECT count(*) FROM carts WHERE items = '[]'").await, 1);
}

#[tokio::test]
async fn an_empty_cart_cannot_be_ordered() {
    let shop = Shop::start("cart-empty").await;
    let client = &shop.client;
    let pin = client.product("Pin", 0, 50).await;
    check_out(client, "ann", "never-had-one").await.expect_problem(400, "CART_EMPTY");
    let later = json!({"payment": "LATER"});
    client.post("/api/orders", "ann", "later", &later).await.expect_problem(400, "CART_EMPTY");
    add(client, "ann", pin, 1).await.expect(200);
    client.delete(&format!("/api/cart/items/{pin}"), "ann", "out").await.expect(204);
    check_out(client, "ann", "k").await.expect_problem(400, "CART_EMPTY");
    // The refusal was not recorded: the same key may try again.
    add(client, "ann", pin, 1).await.expect(200);
    check_out(client, "ann", "k").await.expect(201);
}

#[tokio::test]
async fn a_refused_order_leaves_the_cart_as_it_was() {
    let shop = Shop::start("cart-refused").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 100, 5).await, client.product("Cap", 700, 5).await);
    add(client, "ann", pin, 3).await.expect(200);
    add(client, "ann", cap, 1).await.expect(200);
    let filled = cart_of(client, "ann").await;
    check_out(client, "ann", "poor").await.expect_problem(400, "INSUFFICIENT_BALANCE");
    client.charge("ann", 10_000).await;
    client.add_stock(pin, -3).await;
    let refused = check_out(client, "ann", "short").await.expect_problem(400, "INSUFFICIENT_STOCK");
    assert_eq!(refused.body["insufficientItems"][0]["availableStock"], 2);
    client.add_stock(pin, 3).await;
    // What it costs now is not what the buyer saw.
    let path = format!("/admin/products/{cap}");
    client.admin(Method::PATCH, &path, "price", &json!({"price": 800})).await.expect(200);
    let seen = json!({"finalAmount": 1_000});
    let mismatch = client.post("/api/orders", "ann", "seen", &seen).await.expect_problem(400, "AMOUNT_MISMATCH");
    assert_eq!(mismatch.body["finalAmount"], 1_100);
    let now = cart_of(client, "ann").await;
    assert_eq!((&now["items"][0], &now["totalAmount"]), (&filled["items"][0], &json!(1_100)));
    assert_eq!(units_of(client, "ann").await, [(pin, 3), (cap, 1)]);
    assert_eq!(client.balance("ann").await, (10_000, 0));
    assert_eq!((shop.stock(pin).await, shop.stock(cap).await), (5, 5));
    client.post("/api/orders", "ann", "seen", &json!({"finalAmount": 1_100})).await.expect(201);
    shop.check_books().await;
}

#[tokio::test]
async fn a_product_that_is_gone_blocks_the_order_until_it_is_taken_out() {
    let shop = Shop::start("cart-gone").await;
    let client = &shop.client;
    let (pin, cap) = (client.product("Pin", 0, 50).await, client.product("Cap", 0, 50).await);
    add(client, "ann", pin, 1).await.expect(200);
    add(client, "ann", cap, 1).await.expect(200);
    let path = format!("/admin/products/{cap}");
    client.admin(Method::PATCH, &path, "gone", &json!({"status": "DELETED"})).await.expect(200);
    // It is still to be seen, and the refusal names it.
    assert_eq!(units_of(client, "ann").await, [(pin, 1), (cap, 1)]);
    let refused = check_out(client, "ann", "k").await.expect_problem(404, "PRODUCT_NOT_FOUND");
    assert_eq!(refused.body["productId"], cap);
    add(client, "ann", cap, 1).await.expect_problem(404, "PRODUCT_NOT_FOUND");
    client.delete(&format!("/api/cart/items/{cap}"), "ann", "out").await.expect(204);
    check_out(client, "ann", "k").await.expect(201);
    shop.check_books().await;
}

#[tokio::test]
async fn sixteen_orders_at_once_order_one_cart_once() {
    let shop = Shop::start("cart-race").await;
    let client = &shop.client;
    let pin = client.product("Pin", 100, 50).await;
    client.charge("ann", 10_000).await;
    add(client, "ann", pin, 2).await.expect(200);
    let orders = (0..16).map(|i| async move { check_out(client, "ann", &format!("k{i}")).await });
    assert_eq!(tally(&join_all(orders).await), "1 x 201, 15 x 400 CART_EMPTY");
    assert_eq!((client.balance("ann").await, shop.stock(pin).await), ((9_800, 200), 48));
    shop.check_books().await;
}

#[tokio::test]
async fn sixteen_additions_at_once_all_count() {
    let shop = Shop::start("cart-adds").await;
    let client = &shop.client;
    let pin = client.product("Pin", 100, 50).await;
    let replies = join_all((0..16).map(|_| add(client, "ann", pin, 1))).await;
    assert_eq!(tally(&replies), "16 x 200");
    assert_eq!(units_of(client, "ann").await, [(pin, 16)]);
    // PostgreSQL ends up with the last of them.
    let last = "SELECT count(*) FROM carts WHERE (items->0->>'quantity')::bigint = 16";
    assert_eq!(shop.count(last).await, 1);
    shop.check_books().await;
}
