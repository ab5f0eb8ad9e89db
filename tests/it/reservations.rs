//! Orders that are paid later, expire or are given up: everything they took is given back, once.

use fred::interfaces::KeysInterface;
use futures::future::{join, join_all};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::gateway::PlayedGateway;
use crate::support::shop::{Backends, Client, Reply, Shop, eventually, later, payment, redis, tally, unique};

/// Requests under way at once in the crowded tests.
const CONCURRENT: usize = 64;

/// Reservations that are over soon, and swept soon after.
const SHORT: [(&str, &str); 2] = [("RESERVATION_TTL_MS", "1000"), ("SWEEP_INTERVAL_MS", "50")];

/// Waits until a time has passed, by the clock that Redis has too.
async fn pass(time: &Value) {
    let time: Timestamp = time.as_str().expect("a time").parse().expect("a time");
    let is_past = || Timestamp::now().as_millisecond() > time.as_millisecond() + 1;
    eventually("a time passes", async || is_past().then_some(())).await;
}

/// Ids of a user's orders of one status, newest first, as the list has them.
async fn listed(client: &Client, user: &str, status: &str) -> Vec<String> {
    let body = client.get(&format!("/api/orders?status={status}"), Some(user)).await.expect(200).body;
    let orders = body["orders"].as_array().expect("a list").iter();
    orders.map(|order| order["orderId"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_reservation_takes_everything_but_money_and_a_payment_keeps_it() {
    let shop = Shop::start_on(Backends::shared("reserve").await, &[("POPULAR_REFRESH_MS", "50")]).await;
    let client = &shop.client;
    let product = client.limited_product(500, 5, 2).await;
    let coupon = client.coupon(&json!({})).await;
    client.issue("ann", coupon).await;
    let mut body = later(product, 2);
    body["couponIds"] = json!([coupon]);
    body["finalAmount"] = json!(900);
    let reserved = client.post("/api/orders", "ann", "r", &body).await.expect(201);
    let order = &reserved.body;
    assert_eq!((&order["status"], &order["finalAmount"]), (&json!("PENDING_PAYMENT"), &json!(900)));
    assert_eq!((&order["paymentMethod"], &order["paidAt"]), (&Value::Null, &Value::Null));
    let time = |member: &str| reserved.text(member).parse::<Timestamp>().expect("a time").as_millisecond();
    assert_eq!(time("expiresAt") - time("createdAt"), 600_000);
    assert_eq!((shop.stock(product).await, client.coupons_of("ann", "used").await), (3, vec![coupon]));
    client.order("ann", "more", product, 1).await.expect_problem(400, "EXCEEDED_LIMITED_QUANTITY");
    assert_eq!(shop.count("SELECT reserved FROM stock").await, 2);

    let id = reserved.text("orderId");
    client.charge("ann", 1_000).await;
    let paid = client.pay("ann", "p", &id, "BALANCE", 900).await.expect(200);
    let payment_id = paid.text("paymentId");
    let expected = json!({"paymentId": payment_id, "orderId": id, "paymentMethod": "BALANCE", "amount": 900,
        "status": "COMPLETED", "remainingBalance": 100});
    assert_eq!(paid.body, expected);
    let order = client.order_of("ann", &id).await;
    assert_eq!((&order["status"], &order["paymentMethod"]), (&json!("CONFIRMED"), &json!("BALANCE")));
    assert!(order["paidAt"].is_string() && order["expiresAt"].is_null(), "{order}");
    assert_eq!((client.balance("ann").await, shop.stock(product).await), ((100, 900), 3));
    shop.ranked(product, 2).await;
    shop.check_books().await;
    assert_eq!(shop.count("SELECT sold - reserved FROM stock").await, 2);
    let stored = "SELECT payment_id FROM payments WHERE status = 'COMPLETED' AND amount = 900";
    assert_eq!(shop.count(stored).await.to_string(), payment_id);
}

/// PostgreSQL finds the ones in the ledger and the others by an index of their own.
#[tokio::test]
async fn a_list_has_orders_paid_at_once_and_reserved_ones_in_one_order() {
    let shop = Shop::start_on(Backends::shared("reserve-list").await, &[("MAX_OPEN_ORDERS", "9")]).await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 100).await;
    let mut placed = Vec::new();
    for _ in 0..2 {
        client.charge("ann", 1_000).await;
        placed.push(client.order("ann", &unique("order"), product, 1).await.expect(201).text("orderId"));
        placed.push(client.reserve("ann", product, 1).await);
        placed.push(client.order("ann", &unique("order"), product, 1).await.expect(201).text("orderId"));
        placed.push(client.reserve("ann", product, 1).await);
        client.order("bob", &unique("order"), product, 1).await.expect_problem(400, "INSUFFICIENT_BALANCE");
        client.reserve("bob", product, 1).await;
    }
    client.pay("ann", "pay", &placed[1], "BALANCE", 100).await.expect(200);
    client.cancel("ann", "cancel", &placed[2]).await.expect(200);
    shop.wait_written().await;

    let mut pages = Vec::new();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/orders?limit=3{cursor}");
        let body = client.get(&path, Some("ann")).await.expect(200).body;
        let page = body["orders"].as_array().expect("a list");
        pages.push(page.len());
        seen.extend(page.iter().map(|order| order["orderId"].as_str().expect("an id").to_owned()));
        match body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    placed.reverse();
    assert_eq!((seen, pages), (placed.clone(), vec![3, 3, 2]));
    let of = |places: &[usize]| places.iter().map(|place| placed[7 - place].clone()).collect::<Vec<_>>();
    assert_eq!(listed(client, "ann", "CONFIRMED").await, of(&[6, 4, 1, 0]));
    assert_eq!(listed(client, "ann", "PENDING_PAYMENT").await, of(&[7, 5, 3]));
    assert_eq!(listed(client, "ann", "REFUNDED").await, of(&[2]));
    assert_eq!(listed(client, "bob", "PENDING_PAYMENT").await.len(), 2);
    shop.check_books().await;
}

#[tokio::test]
async fn a_user_holds_three_unpaid_orders_at_most() {
    let shop = Shop::start("reserve-three").await;
    let client = &shop.client;
    let product = client.product("Pin", 0, 100).await;
    let requests =
        (0..64).map(|i| async move { client.post("/api/orders", "ann", &format!("k{i}"), &later(product, 1)).await });
    let replies: Vec<Reply> = stream::iter(requests).buffer_unordered(CONCURRENT).collect().await;
    assert_eq!(tally(&replies), "3 x 201, 61 x 400 TOO_MANY_OPEN_ORDERS");
    let refused = replies.iter().find(|reply| reply.status == 400).expect("a refusal");
    assert_eq!((&refused.body["openOrders"], &refused.body["maximum"]), (&json!(3), &json!(3)));
    assert_eq!(shop.stock(product).await, 97);
    // Other users, and orders that are paid at once, are not concerned.
    client.reserve("bob", product, 1).await;
    client.order("ann", "at-once", product, 1).await.expect(201);
    // One that is paid or given up makes room for another.
    let mut open = replies.iter().filter(|reply| reply.status == 201).map(|reply| reply.text("orderId"));
    client.pay("ann", "p", &open.next().expect("an order"), "BALANCE", 0).await.expect(200);
    client.reserve("ann", product, 1).await;
    client.cancel("ann", "c", &open.next().expect("an order")).await.expect(200);
    client.reserve("ann", product, 1).await;
    let full = client.post("/api/orders", "ann", "full", &later(product, 1)).await;
    full.expect_problem(400, "TOO_MANY_OPEN_ORDERS");
    shop.check_books().await;
}

#[tokio::test]
async fn a_payment_must_be_the_buyers_of_the_right_amount_and_covered() {
    let shop = Shop::start("pay-refused").await;
    let client = &shop.client;
    let product = client.product("Pin", 900, 5).await;
    let order = client.reserve("ann", product, 1).await;
    let mismatch = client.pay("ann", "k", &order, "BALANCE", 899).await.expect_problem(400, "AMOUNT_MISMATCH");
    assert_eq!(mismatch.body["finalAmount"], 900);
    client.charge("ann", 500).await;
    let poor = client.pay("ann", "k", &order, "BALANCE", 900).await.expect_problem(400, "INSUFFICIENT_BALANCE");
    let told = (&poor.body["requiredAmount"], &poor.body["currentBalance"], &poor.body["shortfall"]);
    assert_eq!(told, (&json!(900), &json!(500), &json!(400)));
    assert_eq!(poor.body["number"], "PAY001");
    client.pay("bob", "k", &order, "BALANCE", 900).await.expect_problem(404, "ORDER_NOT_FOUND");
    for id in ["4242424242", "0", "x", "-1", "99999999999999999999"] {
        client.pay("ann", "k", id, "BALANCE", 900).await.expect_problem(404, "ORDER_NOT_FOUND");
    }
    for bad in [
        json!({}),
        json!({"orderId": order, "paymentMethod": "BALANCE"}),
        json!({"orderId": order, "paymentMethod": "GOLD", "amount": 900}),
        json!({"orderId": 5, "paymentMethod": "BALANCE", "amount": 900}),
        json!({"orderId": order, "paymentMethod": "BALANCE", "amount": -900}),
        json!({"orderId": order, "paymentMethod": "BALANCE", "amount": 900, "userId": "bob"}),
    ] {
        let reply = client.post("/api/payments", "ann", "k", &bad).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (400, "INVALID_INPUT"), "{bad}: {}", reply.body);
    }
    assert_eq!(client.order_of("ann", &order).await["status"], "PENDING_PAYMENT");
    assert_eq!(client.balance("ann").await, (500, 0));
    // No refusal was recorded: the same key may try again.
    client.charge("ann", 500).await;
    client.pay("ann", "k", &order, "BALANCE", 900).await.expect(200);
    shop.check_books().await;
}

#[tokio::test]
async fn an_order_is_paid_once_however_often_it_is_paid() {
    let shop = Shop::start("pay-once").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 10).await;
    client.charge("ann", 10_000).await;
    let order = client.reserve("ann", product, 1).await;
    let first = client.pay("ann", "k", &order, "BALANCE", 100).await.expect(200);
    let again = client.pay("ann", "k", &order, "BALANCE", 100).await.expect(200);
    assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
    assert_eq!(first.body, again.body);
    let refused = client.pay("ann", "other", &order, "BALANCE", 100).await;
    assert_eq!(refused.expect_problem(400, "INVALID_ORDER_STATE").body["orderStatus"], "CONFIRMED");
    assert_eq!(client.balance("ann").await, (9_900, 100));

    let order = client.reserve("ann", product, 1).await;
    let order = order.as_str();
    let payments = (0..32).map(|i| async move { client.pay("ann", &format!("p{i}"), order, "BALANCE", 100).await });
    assert_eq!(tally(&join_all(payments).await), "1 x 200, 31 x 400 INVALID_ORDER_STATE");
    assert_eq!(client.balance("ann").await, (9_800, 200));
    // One that was paid when it was placed cannot be paid again either.
    let at_once = client.order("ann", "at-once", product, 1).await.expect(201).text("orderId");
    client.pay("ann", "late", &at_once, "BALANCE", 100).await.expect_problem(400, "INVALID_ORDER_STATE");
    shop.check_books().await;
}

#[tokio::test]
async fn two_sweepers_let_reservations_expire_once() {
    let first = Shop::start_on(Backends::shared("expire").await, &SHORT).await;
    let second = Shop::start_on(first.backends.clone(), &SHORT).await;
    let client = &first.client;
    let product = client.limited_product(100, 40, 2).await;
    let coupon = client.coupon(&json!({"totalQuantity": 20})).await;
    let reserve = |user: usize| async move {
        let user = format!("user-{user}");
        client.issue(&user, coupon).await;
        let mut body = later(product, 1);
        client.post("/api/orders", &user, "plain", &body).await.expect(201);
        body["couponIds"] = json!([coupon]);
        client.post("/api/orders", &user, "coupon", &body).await.expect(201).text("orderId")
    };
    let orders: Vec<String> = stream::iter((0..20).map(reserve)).buffered(20).collect().await;
    eventually("every reservation is swept", async || {
        let expired = first.count("SELECT count(*) FROM orders WHERE status = 'EXPIRED'").await;
        (expired == 40).then_some(())
    })
    .await;
    assert_eq!(first.stock(product).await, 40);
    let seen = second.client.order_of("user-7", &orders[7]).await;
    assert_eq!((&seen["status"], &seen["couponIds"]), (&json!("EXPIRED"), &json!([coupon])));
    assert!(seen["expiresAt"].is_string() && seen["paidAt"].is_null(), "{seen}");
    let list = client.get("/api/orders?status=EXPIRED", Some("user-7")).await.expect(200).body;
    assert!(list["orders"].as_array().is_some_and(|orders| orders.len() == 2 && orders.contains(&seen)), "{list}");
    // Limit and coupon are free again.
    let mut body = later(product, 2);
    body["couponIds"] = json!([coupon]);
    let again = client.post("/api/orders", "user-7", "again", &body).await.expect(201).text("orderId");
    client.cancel("user-7", "late", &orders[7]).await.expect_problem(400, "INVALID_ORDER_STATE");
    client.pay("user-7", "late", &orders[7], "BALANCE", 0).await.expect_problem(400, "INVALID_ORDER_STATE");
    client.becomes("user-7", &again, "EXPIRED").await;
    first.check_books().await;
    let swept = |shop: Shop| async move { shop.metric("flashsale_swept_total", "outcome=\"finished\"").await };
    let (by_first, by_second) = join(swept(first), swept(second)).await;
    assert!(by_first + by_second >= 40.0, "{by_first} and {by_second}");
}

#[tokio::test]
async fn past_its_time_an_order_cannot_be_paid_swept_or_not() {
    let backends = Backends::shared("unswept").await;
    let settings = [("RESERVATION_TTL_MS", "300"), ("ROLES", "api,writer")];
    let shop = Shop::start_on(backends.clone(), &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 5).await;
    client.charge("ann", 1_000).await;
    let order = client.reserve("ann", product, 2).await;
    pass(&client.order_of("ann", &order).await["expiresAt"]).await;
    for refused in [client.pay("ann", "p", &order, "BALANCE", 200).await, client.cancel("ann", "c", &order).await] {
        assert_eq!(refused.expect_problem(400, "INVALID_ORDER_STATE").body["orderStatus"], "EXPIRED");
    }
    // Nobody sweeps, so it still has what it took.
    assert_eq!((client.balance("ann").await, shop.stock(product).await), ((1_000, 0), 3));
    let _sweeper = Shop::start_on(backends, &SHORT).await;
    client.becomes("ann", &order, "EXPIRED").await;
    assert_eq!(shop.stock(product).await, 5);
    shop.check_books().await;
}

#[tokio::test]
async fn an_unpaid_order_that_is_cancelled_gives_everything_back() {
    let shop = Shop::start("cancel-unpaid").await;
    let client = &shop.client;
    let product = client.limited_product(500, 5, 2).await;
    let coupon = client.coupon(&json!({})).await;
    client.issue("ann", coupon).await;
    let mut body = later(product, 2);
    body["couponIds"] = json!([coupon]);
    let order = client.post("/api/orders", "ann", "r", &body).await.expect(201).text("orderId");
    let cancelled = client.cancel("ann", "c", &order).await.expect(200);
    assert_eq!((&cancelled.body["status"], cancelled.header("idempotency-key")), (&json!("CANCELLED"), "c"));
    assert!(cancelled.body["expiresAt"].is_null());
    assert_eq!(client.order_of("ann", &order).await["status"], "CANCELLED");
    assert_eq!((shop.stock(product).await, client.coupons_of("ann", "available").await), (5, vec![coupon]));
    client.pay("ann", "p", &order, "BALANCE", 900).await.expect_problem(400, "INVALID_ORDER_STATE");
    client.post("/api/orders", "ann", "again", &body).await.expect(201);
    shop.check_books().await;
    let ended = "SELECT count(*) FROM orders WHERE status = 'CANCELLED' AND released_seq IS NOT NULL";
    assert_eq!(shop.count(ended).await, 1);
}

#[tokio::test]
async fn a_paid_order_that_is_cancelled_is_refunded_with_everything_that_it_moved() {
    let shop = Shop::start_on(Backends::shared("refund").await, &[("POPULAR_REFRESH_MS", "50")]).await;
    let client = &shop.client;
    let product = client.limited_product(500, 10, 2).await;
    let coupon = client.coupon(&json!({"totalQuantity": 20})).await;
    for user in ["ann", "bob"] {
        client.charge(user, 1_000).await;
        client.issue(user, coupon).await;
    }
    // Ann pays when she orders, Bob later.
    let mut body = later(product, 2);
    body["couponIds"] = json!([coupon]);
    let later_paid = client.post("/api/orders", "bob", "o", &body).await.expect(201).text("orderId");
    client.pay("bob", "p", &later_paid, "BALANCE", 900).await.expect(200);
    body["payment"] = json!("BALANCE");
    let at_once = client.post("/api/orders", "ann", "o", &body).await.expect(201).text("orderId");
    shop.ranked(product, 4).await;
    assert_eq!((client.balance("ann").await, client.balance("bob").await), ((100, 900), (100, 900)));
    for (user, order) in [("ann", &at_once), ("bob", &later_paid)] {
        let cancelled = client.cancel(user, "c", order).await.expect(200);
        assert_eq!(
            (&cancelled.body["status"], &cancelled.body["remainingBalance"]),
            (&json!("REFUNDED"), &json!(1_000))
        );
        assert_eq!(client.balance(user).await, (1_000, 0));
        assert_eq!(client.coupons_of(user, "available").await, [coupon]);
        let read = client.order_of(user, order).await;
        assert_eq!((&read["status"], &read["paymentMethod"]), (&json!("REFUNDED"), &json!("BALANCE")));
        assert!(read["paidAt"].is_string(), "{read}");
    }
    assert_eq!(shop.stock(product).await, 10);
    shop.ranked(product, 0).await;
    shop.check_books().await;
    let ledger = client.get("/api/users/me/balance/transactions", Some("ann")).await.expect(200).body;
    let kinds: Vec<&Value> =
        ledger["transactions"].as_array().expect("a list").iter().map(|entry| &entry["type"]).collect();
    assert_eq!(kinds, [&json!("REFUND"), &json!("PAYMENT"), &json!("CHARGE")]);
    let newest = &ledger["transactions"][0];
    let told = (&newest["amount"], &newest["balanceAfter"], &newest["orderId"]);
    assert_eq!(told, (&json!(900), &json!(1_000), &json!(at_once)));
    assert_eq!(shop.count("SELECT count(*) FROM orders WHERE refund = 'DONE'").await, 2);
    assert_eq!(shop.count("SELECT count(*) FROM payments WHERE status = 'REFUNDED'").await, 2);
    // The limit is free again.
    client.order("ann", "again", product, 2).await.expect(201);
}

#[tokio::test]
async fn an_order_is_cancelled_once_however_often_it_is_cancelled() {
    let shop = Shop::start("cancel-once").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 50).await;
    client.charge("ann", 1_000).await;
    let at_once = client.order("ann", "o", product, 1).await.expect(201).text("orderId");
    let first = client.cancel("ann", "k", &at_once).await.expect(200);
    let again = client.cancel("ann", "k", &at_once).await.expect(200);
    assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
    assert_eq!(first.body, again.body);
    let refused = client.cancel("ann", "other", &at_once).await;
    assert_eq!(refused.expect_problem(400, "INVALID_ORDER_STATE").body["orderStatus"], "REFUNDED");

    let paid_at_once = client.order("ann", "p", product, 1).await.expect(201).text("orderId");
    let unpaid = client.reserve("ann", product, 1).await;
    let paid_later = client.reserve("ann", product, 1).await;
    client.pay("ann", "pay", &paid_later, "BALANCE", 100).await.expect(200);
    for order in [&paid_at_once, &unpaid, &paid_later] {
        let cancels = (0..32).map(|_| async move { client.cancel("ann", &unique("cancel"), order).await });
        assert_eq!(tally(&join_all(cancels).await), "1 x 200, 31 x 400 INVALID_ORDER_STATE");
    }
    assert_eq!((client.balance("ann").await, shop.stock(product).await), ((1_000, 0), 50));
    shop.check_books().await;
}

#[tokio::test]
async fn a_paid_order_can_be_cancelled_within_the_window_only() {
    let shop = Shop::start_on(Backends::shared("window").await, &[("CANCEL_WINDOW_MS", "1")]).await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 50).await;
    client.charge("ann", 1_000).await;
    let order = client.order("ann", "o", product, 1).await.expect(201).text("orderId");
    pass(&client.order_of("ann", &order).await["paidAt"]).await;
    client.cancel("ann", "c", &order).await.expect_problem(400, "INVALID_ORDER_STATE");
    assert_eq!(client.order_of("ann", &order).await["status"], "CONFIRMED");
    assert_eq!(client.balance("ann").await, (900, 100));
    // One that is not paid is not concerned.
    let reserved = client.reserve("ann", product, 1).await;
    client.cancel("ann", "r", &reserved).await.expect(200);
    shop.check_books().await;
}

#[tokio::test]
async fn somebody_elses_order_is_not_found() {
    let shop = Shop::start("foreign").await;
    let client = &shop.client;
    let product = client.product("Pin", 0, 50).await;
    let reserved = client.reserve("ann", product, 1).await;
    let paid = client.order("ann", "o", product, 1).await.expect(201).text("orderId");
    for order in [&reserved, &paid] {
        client.get(&format!("/api/orders/{order}"), Some("bob")).await.expect_problem(404, "ORDER_NOT_FOUND");
        client.cancel("bob", &unique("c"), order).await.expect_problem(404, "ORDER_NOT_FOUND");
        client.pay("bob", &unique("p"), order, "BALANCE", 0).await.expect_problem(404, "ORDER_NOT_FOUND");
    }
    for id in ["4242424242", "0", "x", "-1", "99999999999999999999"] {
        client.cancel("ann", &unique("c"), id).await.expect_problem(404, "ORDER_NOT_FOUND");
    }
    // The id of something else is no order's.
    client.charge("ann", 100).await;
    let ledger = shop.count("SELECT max(transaction_id) FROM balance_transactions WHERE type = 'CHARGE'").await;
    client.cancel("ann", "ledger", &ledger.to_string()).await.expect_problem(404, "ORDER_NOT_FOUND");
    assert_eq!(listed(client, "bob", "PENDING_PAYMENT").await, Vec::<String>::new());
    assert_eq!(listed(client, "ann", "PENDING_PAYMENT").await, [reserved]);
}

#[tokio::test]
async fn paying_and_cancelling_at_once_ends_one_way_or_the_other() {
    let shop = Shop::start("pay-cancel").await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 32).await;
    let race = |user: usize| async move {
        let user = format!("user-{user}");
        client.charge(&user, 100).await;
        let order = client.reserve(&user, product, 1).await;
        let (paid, cancelled) = join(
            client.post("/api/payments", &user, "p", &payment(&order, "BALANCE", 100)),
            client.cancel(&user, "c", &order),
        )
        .await;
        let ended = cancelled.expect(200).text("status");
        if paid.status == 200 {
            // First paid, then given up.
            assert_eq!(ended, "REFUNDED");
        } else {
            paid.expect_problem(400, "INVALID_ORDER_STATE");
            assert_eq!(ended, "CANCELLED");
        }
        assert_eq!(client.order_of(&user, &order).await["status"], ended);
        assert_eq!(client.balance(&user).await, (100, 0));
    };
    stream::iter((0..32).map(race)).buffer_unordered(32).collect::<Vec<()>>().await;
    assert_eq!(shop.stock(product).await, 32);
    shop.check_books().await;
}

#[tokio::test]
async fn an_order_reads_the_same_in_every_state_wherever_it_is_read() {
    let gateway = PlayedGateway::start().await;
    // No writer yet, so that only Redis has anything; and no sweeper, so that nothing is settled meanwhile.
    let settings = gateway.settings(&[("ROLES", "api"), ("MAX_OPEN_ORDERS", "9")]);
    let shop = Shop::start_on(Backends::shared("states").await, &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 50).await;
    let coupon = client.coupon(&json!({"discountValue": 30})).await;
    client.issue("ann", coupon).await;
    client.charge("ann", 1_000).await;
    let mut body = later(product, 2);
    body["shippingAddress"] =
        json!({"recipient": "Ann", "phone": "1", "line1": "Street 1", "postalCode": "12345", "country": "KR"});
    let reserved = client.post("/api/orders", "ann", "reserved", &body).await.expect(201).text("orderId");
    body["payment"] = json!("BALANCE");
    body["couponIds"] = json!([coupon]);
    let paid = client.post("/api/orders", "ann", "paid", &body).await.expect(201).text("orderId");
    let cancelled = client.reserve("ann", product, 1).await;
    client.cancel("ann", "cancel", &cancelled).await.expect(200);
    let refunded = client.order("ann", "refunded", product, 1).await.expect(201).text("orderId");
    client.cancel("ann", "refund", &refunded).await.expect(200);
    let by_card = client.reserve("ann", product, 1).await;
    client.pay("ann", "card", &by_card, "CARD", 100).await.expect(200);
    gateway.fault("decline").await;
    let declined = client.reserve("ann", product, 1).await;
    client.pay("ann", "declined", &declined, "CARD", 100).await.expect_problem(402, "PAYMENT_DECLINED");
    gateway.fault("lost_request").await;
    let held = client.reserve("ann", product, 1).await;
    client.pay("ann", "held", &held, "CARD", 100).await.expect(202);

    let orders = [
        (&held, "HELD"),
        (&declined, "PAYMENT_FAILED"),
        (&by_card, "CONFIRMED"),
        (&refunded, "REFUNDED"),
        (&cancelled, "CANCELLED"),
        (&paid, "CONFIRMED"),
        (&reserved, "PENDING_PAYMENT"),
    ];
    let mut seen = Vec::new();
    for (order, status) in orders {
        let read = client.order_of("ann", order).await;
        assert_eq!(read["status"], status);
        assert_eq!((&read["sync"]["synced"], &read["remainingBalance"]), (&json!(false), &Value::Null));
        seen.push(read);
    }
    let writer = Shop::start_on(shop.backends.clone(), &[("ROLES", "api,writer")]).await;
    writer.check_books().await;
    let all = client.get("/api/orders", Some("ann")).await.expect(200).body;
    assert_eq!(all["orders"], json!(seen), "newest first");
    for status in ["HELD", "PAYMENT_FAILED", "CONFIRMED", "REFUNDED", "CANCELLED", "PENDING_PAYMENT", "EXPIRED"] {
        let expected: Vec<&String> = orders.iter().filter(|(_, s)| *s == status).map(|(order, _)| *order).collect();
        assert_eq!(listed(client, "ann", status).await.iter().collect::<Vec<_>>(), expected, "{status}");
    }
    // What Redis forgets after two days, only PostgreSQL can tell.
    let plain = redis::connect(&shop.backends.redis_url).await;
    let today = Timestamp::now().as_second() / 86_400;
    let mut forgotten = vec![format!("{}:{{c0}}:log", shop.backends.namespace)];
    forgotten.extend((today - 1..=today + 1).map(|day| format!("{}:{{c0}}:idem:{day}", shop.backends.namespace)));
    plain.del::<i64, _>(forgotten).await.expect("DEL");
    for (order, read) in orders.iter().map(|(order, _)| order).zip(&seen) {
        assert_eq!(client.order_of("ann", order).await, *read);
    }
}
