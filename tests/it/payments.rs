//! Payments by card and charges: the gateway approves, declines, or leaves open what it did.

use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::gateway::{PlayedGateway, QUICK};
use crate::support::seed;
use crate::support::shop::{Backends, Client, Reply, Shop, bearer, eventually, later, payment, tally, unique};

/// Every fault after which the gateway's answer is open.
const UNCLEAR: [&str; 5] = ["slow", "lost_answer", "lost_request", "error", "garbage"];

async fn charge(client: &Client, user: &str, key: &str, amount: u64) -> Reply {
    client.post("/api/users/me/balance/charge", user, key, &json!({"amount": amount})).await
}

/// Waits until the gateway's book has an order's payment in this state.
async fn booked(gateway: &PlayedGateway, order: &str, status: &str, (charges, refunds): (u64, u64)) {
    let expected = Some((status.to_owned(), charges, refunds));
    let what = format!("the book says {expected:?} of order {order}");
    eventually(&what, async || (gateway.payment_of(order).await == expected).then_some(())).await;
}

#[tokio::test]
async fn a_card_that_is_approved_confirms_the_order() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("card", &[("POPULAR_REFRESH_MS", "50")]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 5).await;
    let order = client.reserve("ann", product, 2).await;
    client.pay("ann", "k", &order, "CARD", 1_399).await.expect_problem(400, "AMOUNT_MISMATCH");
    assert!(gateway.book().await.is_empty());
    let paid = client.pay("ann", "k", &order, "CARD", 1_400).await.expect(200);
    let expected = json!({"paymentId": paid.text("paymentId"), "orderId": order, "paymentMethod": "CARD",
        "amount": 1_400, "status": "COMPLETED", "remainingBalance": 0});
    assert_eq!((paid.is_replayed(), &paid.body), (false, &expected));
    let read = client.order_of("ann", &order).await;
    assert_eq!((&read["status"], &read["paymentMethod"]), (&json!("CONFIRMED"), &json!("CARD")));
    assert!(read["paidAt"].is_string() && read["expiresAt"].is_null(), "{read}");
    // The card's money never was the balance's.
    assert_eq!((client.balance("ann").await, shop.stock(product).await), ((0, 0), 3));
    shop.ranked(product, 2).await;

    let again = client.pay("ann", "k", &order, "CARD", 1_400).await.expect(200);
    assert_eq!((again.is_replayed(), &again.body), (true, &expected));
    client.pay("ann", "other", &order, "CARD", 1_400).await.expect_problem(400, "INVALID_ORDER_STATE");
    client.pay("ann", "more", &order, "BALANCE", 1_400).await.expect_problem(400, "INVALID_ORDER_STATE");
    let book = gateway.book().await;
    assert_eq!(book.len(), 1);
    let key = format!("{}:order:{order}", shop.backends.namespace);
    let told = (&book[0]["key"], &book[0]["user"], &book[0]["amount"], &book[0]["charges"]);
    assert_eq!(told, (&json!(key), &json!("ann"), &json!(1_400), &json!(1)));
    shop.check_books().await;
}

#[tokio::test]
async fn thirty_two_payments_at_once_charge_the_card_once() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("card-race", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 5).await;
    let order = client.reserve("ann", product, 1).await;
    let order = order.as_str();
    let payments = (0..32).map(|i| async move { client.pay("ann", &format!("p{i}"), order, "CARD", 700).await });
    assert_eq!(tally(&join_all(payments).await), "1 x 200, 31 x 400 INVALID_ORDER_STATE");
    // Under one key all are told the same, though the first may still be on its way.
    let second = client.reserve("ann", product, 1).await;
    let second = second.as_str();
    let payments = (0..32).map(|_| async move { client.pay("ann", "same", second, "CARD", 700).await });
    assert_eq!(tally(&join_all(payments).await), "32 x 200");
    for order in [order, second] {
        assert_eq!(gateway.payment_of(order).await, Some(("APPROVED".to_owned(), 1, 0)));
    }
    shop.check_books().await;
}

#[tokio::test]
async fn a_card_that_is_declined_gives_everything_back() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("card-declined", &[]).await;
    let client = &shop.client;
    let product = client.limited_product(700, 5, 2).await;
    let coupon = client.coupon(&json!({})).await;
    client.issue("ann", coupon).await;
    let mut body = later(product, 2);
    body["couponIds"] = json!([coupon]);
    let order = client.post("/api/orders", "ann", "r", &body).await.expect(201).text("orderId");
    gateway.fault("decline").await;
    let declined = client.pay("ann", "k", &order, "CARD", 1_300).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!((&declined.body["orderId"], declined.header("idempotency-key")), (&json!(order), "k"));
    assert_eq!(client.order_of("ann", &order).await["status"], "PAYMENT_FAILED");
    assert_eq!((shop.stock(product).await, client.coupons_of("ann", "available").await), (5, vec![coupon]));
    // The decline is final, and recorded; a failed order is paid by no other key.
    gateway.fault("approve").await;
    client.pay("ann", "k", &order, "CARD", 1_300).await.expect_problem(402, "PAYMENT_DECLINED");
    let refused = client.pay("ann", "other", &order, "CARD", 1_300).await;
    assert_eq!(refused.expect_problem(400, "INVALID_ORDER_STATE").body["orderStatus"], "PAYMENT_FAILED");
    client.cancel("ann", "c", &order).await.expect_problem(400, "INVALID_ORDER_STATE");
    assert_eq!(gateway.payment_of(&order).await, Some(("DECLINED".to_owned(), 0, 0)));
    assert_eq!(shop.count("SELECT count(*) FROM payments WHERE status = 'FAILED'").await, 1);
    // Limit and coupon are free again.
    let again = client.post("/api/orders", "ann", "again", &body).await.expect(201).text("orderId");
    client.pay("ann", "pay", &again, "CARD", 1_300).await.expect(200);
    shop.check_books().await;
}

#[tokio::test]
async fn an_open_answer_holds_the_order_until_the_sweeper_finds_out() {
    let gateway = PlayedGateway::start().await;
    let mut settings = QUICK.to_vec();
    settings.push(("MAX_OPEN_ORDERS", "9"));
    let shop = gateway.shop("card-held", &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let mut held = Vec::new();
    for fault in UNCLEAR {
        let order = client.reserve("ann", product, 1).await;
        gateway.fault(fault).await;
        let open = client.pay("ann", fault, &order, "CARD", 700).await.expect(202);
        assert_eq!(open.body, json!({"orderId": order, "status": "HELD"}), "{fault}");
        let again = client.pay("ann", fault, &order, "CARD", 700).await.expect(202);
        assert_eq!((again.is_replayed(), again.body), (true, open.body), "{fault}");
        // It may be paid for, so it is neither paid again nor given up.
        client.pay("ann", &unique("k"), &order, "CARD", 700).await.expect_problem(400, "INVALID_ORDER_STATE");
        client.pay("ann", &unique("k"), &order, "BALANCE", 700).await.expect_problem(400, "INVALID_ORDER_STATE");
        let refused = client.cancel("ann", &unique("c"), &order).await;
        assert_eq!(refused.expect_problem(400, "INVALID_ORDER_STATE").body["orderStatus"], "HELD", "{fault}");
        assert_eq!(client.order_of("ann", &order).await["status"], "HELD", "{fault}");
        held.push((fault, order));
    }
    assert_eq!(shop.count("SELECT count(*) FROM payments WHERE status = 'PENDING'").await, 5);
    assert_eq!((shop.stock(product).await, shop.count("SELECT reserved FROM stock").await), (45, 5));
    gateway.fault("approve").await;
    for (fault, order) in &held {
        client.becomes("ann", order, "CONFIRMED").await;
        let settled = client.pay("ann", fault, order, "CARD", 700).await.expect(200);
        assert_eq!((settled.is_replayed(), &settled.body["status"]), (true, &json!("COMPLETED")), "{fault}");
        assert_eq!(gateway.payment_of(order).await, Some(("APPROVED".to_owned(), 1, 0)), "{fault}");
    }
    shop.check_books().await;
}

#[tokio::test]
async fn the_same_key_finds_out_before_the_sweeper_does() {
    let gateway = PlayedGateway::start().await;
    // Without a sweeper nobody but the buyer asks.
    let shop = gateway.shop("card-key", &[("ROLES", "api,writer")]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let order = client.reserve("ann", product, 1).await;
    gateway.fault("lost_answer").await;
    client.pay("ann", "k", &order, "CARD", 700).await.expect(202);
    assert_eq!(gateway.payment_of(&order).await, Some(("APPROVED".to_owned(), 1, 0)));
    gateway.fault("approve").await;
    let found = client.pay("ann", "k", &order, "CARD", 700).await.expect(200);
    assert_eq!((found.is_replayed(), &found.body["status"]), (true, &json!("COMPLETED")));
    assert_eq!(gateway.payment_of(&order).await, Some(("APPROVED".to_owned(), 1, 0)));
    shop.check_books().await;
}

#[tokio::test]
async fn a_payment_that_never_arrived_is_sent_again() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("card-lost", &QUICK).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (good, bad) = (client.reserve("ann", product, 1).await, client.reserve("bob", product, 1).await);
    gateway.fault("lost_request").await;
    client.pay("ann", "k", &good, "CARD", 700).await.expect(202);
    assert!(gateway.book().await.is_empty(), "not found is no decline, and no approval");
    gateway.fault("approve").await;
    client.becomes("ann", &good, "CONFIRMED").await;
    assert_eq!(gateway.payment_of(&good).await, Some(("APPROVED".to_owned(), 1, 0)));
    // A decline that is found later gives back what the order took.
    gateway.fault("lost_request").await;
    client.pay("bob", "k", &bad, "CARD", 700).await.expect(202);
    gateway.fault("decline").await;
    client.becomes("bob", &bad, "PAYMENT_FAILED").await;
    client.pay("bob", "k", &bad, "CARD", 700).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!(shop.stock(product).await, 49);
    shop.check_books().await;
}

#[tokio::test]
async fn a_held_order_outlives_its_time() {
    let gateway = PlayedGateway::start().await;
    let mut settings = QUICK.to_vec();
    settings.push(("RESERVATION_TTL_MS", "3000"));
    let shop = gateway.shop("card-late", &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (held, forgotten) = (client.reserve("ann", product, 1).await, client.reserve("ann", product, 1).await);
    gateway.fault("lost_answer").await;
    client.pay("ann", "k", &held, "CARD", 700).await.expect(202);
    // The one beside it, which nobody pays, shows that the sweeper was here.
    client.becomes("ann", &forgotten, "EXPIRED").await;
    assert_eq!(client.order_of("ann", &held).await["status"], "HELD");
    gateway.fault("approve").await;
    client.becomes("ann", &held, "CONFIRMED").await;
    assert_eq!(shop.stock(product).await, 49);
    shop.check_books().await;
}

#[tokio::test]
async fn a_cards_money_goes_back_even_if_the_gateway_fails_at_first() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("card-refund", &[&QUICK[..], &[("POPULAR_REFRESH_MS", "50")]].concat()).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (simple, hard) = (client.reserve("ann", product, 1).await, client.reserve("ann", product, 1).await);
    for order in [&simple, &hard] {
        client.pay("ann", &unique("k"), order, "CARD", 700).await;
        client.becomes("ann", order, "CONFIRMED").await;
    }
    shop.ranked(product, 2).await;
    let refunded = client.cancel("ann", "simple", &simple).await.expect(200);
    assert_eq!(refunded.body["status"], "REFUNDED");
    booked(&gateway, &simple, "REFUNDED", (1, 1)).await;

    gateway.faults(&json!({"mode": "lost_request", "calls": ["refund"]})).await;
    let refunded = client.cancel("ann", "hard", &hard).await.expect(200);
    assert_eq!(refunded.body["status"], "REFUNDED");
    let again = client.cancel("ann", "hard", &hard).await.expect(200);
    assert_eq!((again.is_replayed(), again.body), (true, refunded.body));
    client.cancel("ann", "other", &hard).await.expect_problem(400, "INVALID_ORDER_STATE");
    // Everything but the card's money is back at once.
    assert_eq!((shop.stock(product).await, client.balance("ann").await), (50, (0, 0)));
    shop.ranked(product, 0).await;
    assert_eq!(gateway.payment_of(&hard).await, Some(("APPROVED".to_owned(), 1, 0)));
    let pending = format!(
        "SELECT count(*) FROM orders o JOIN payments p USING (order_id) WHERE o.order_id = {hard} AND \
         o.status = 'REFUNDED' AND o.refund = 'PENDING' AND p.status = 'REFUND_PENDING'"
    );
    assert_eq!(shop.count(&pending).await, 1);
    // An answer that is lost on its way back makes no second refund.
    gateway.faults(&json!({"mode": "lost_answer", "calls": ["refund"]})).await;
    booked(&gateway, &hard, "REFUNDED", (1, 1)).await;
    gateway.fault("approve").await;
    let done = "SELECT count(*) FROM orders o JOIN payments p USING (order_id) WHERE o.refund = 'DONE' \
                AND p.status = 'REFUNDED'";
    eventually("the refund is done", async || (shop.count(done).await == 2).then_some(())).await;
    booked(&gateway, &hard, "REFUNDED", (1, 1)).await;
    assert_eq!(client.order_of("ann", &hard).await["status"], "REFUNDED");
    assert_eq!(shop.stock(product).await, 50);
    shop.check_books().await;
}

#[tokio::test]
async fn a_charge_is_credited_when_the_gateway_approves() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("charge", &[]).await;
    let client = &shop.client;
    charge(client, "ann", "a", 10_000).await.expect(200);
    let body = json!({"amount": 50_000, "paymentMethod": "my card"});
    let charged = client.post("/api/users/me/balance/charge", "ann", "b", &body).await.expect(200);
    let expected = json!({"transactionId": charged.text("transactionId"), "previousBalance": 10_000,
        "chargedAmount": 50_000, "currentBalance": 60_000});
    assert_eq!(charged.body, expected);
    let again = client.post("/api/users/me/balance/charge", "ann", "b", &body).await.expect(200);
    assert_eq!((again.is_replayed(), &again.body), (true, &expected));
    charge(client, "ann", "b", 50_000).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(client.balance("ann").await, (60_000, 0));

    gateway.fault("decline").await;
    charge(client, "ann", "c", 1_000).await.expect_problem(402, "PAYMENT_DECLINED");
    // Final and recorded, whatever the gateway would say now.
    gateway.fault("approve").await;
    charge(client, "ann", "c", 1_000).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!(client.balance("ann").await, (60_000, 0));
    // What the rules refuse never gets to the gateway.
    for amount in [json!(0), json!(-100), json!(150), json!(1_000_100)] {
        let reply = client.post("/api/users/me/balance/charge", "ann", &unique("k"), &json!({"amount": amount})).await;
        reply.expect_problem(400, "INVALID_AMOUNT");
    }
    assert_eq!(gateway.book().await.len(), 3);
    shop.check_books().await;
    let ends = "SELECT count(*) FROM charges WHERE (status = 'COMPLETED') = (transaction_id IS NOT NULL)";
    assert_eq!(shop.count(ends).await, 3);
    let ledger = client.get("/api/users/me/balance/transactions", Some("ann")).await.expect(200).body;
    assert_eq!(ledger["transactions"].as_array().map(Vec::len), Some(2));
    assert_eq!(ledger["transactions"][0]["transactionId"], expected["transactionId"]);
}

#[tokio::test]
async fn a_charge_with_an_open_answer_is_credited_once_when_it_is_found() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("charge-open", &QUICK).await;
    let client = &shop.client;
    for fault in UNCLEAR {
        gateway.fault(fault).await;
        let open = charge(client, fault, "k", 1_000).await.expect(202);
        assert_eq!(open.body, json!({"chargeId": open.text("chargeId"), "status": "PENDING"}));
        let again = charge(client, fault, "k", 1_000).await.expect(202);
        assert_eq!((again.is_replayed(), again.body), (true, open.body), "{fault}");
        assert_eq!(client.balance(fault).await, (0, 0));
    }
    assert_eq!(shop.count("SELECT count(*) FROM charges WHERE status = 'PENDING'").await, 5);
    gateway.fault("approve").await;
    for fault in UNCLEAR {
        let credited = async || (client.balance(fault).await == (1_000, 0)).then_some(());
        eventually("the sweeper finds the charge", credited).await;
        let found = charge(client, fault, "k", 1_000).await.expect(200);
        assert_eq!((found.is_replayed(), &found.body["currentBalance"]), (true, &json!(1_000)), "{fault}");
    }
    let book = gateway.book().await;
    assert!(book.len() == 5 && book.iter().all(|payment| payment["charges"] == 1), "{book:?}");
    shop.check_books().await;
}

#[tokio::test]
async fn the_same_key_finds_a_charge_before_the_sweeper_does() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("charge-key", &[("ROLES", "api,writer")]).await;
    let client = &shop.client;
    gateway.fault("lost_answer").await;
    charge(client, "ann", "k", 1_000).await.expect(202);
    gateway.fault("lost_request").await;
    charge(client, "bob", "k", 1_000).await.expect(202);
    gateway.fault("decline").await;
    // Approved before anybody declined; and never arrived, so it is sent now, and declined.
    charge(client, "ann", "k", 1_000).await.expect(200);
    charge(client, "bob", "k", 1_000).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!((client.balance("ann").await, client.balance("bob").await), ((1_000, 0), (0, 0)));
    shop.check_books().await;
}

#[tokio::test]
async fn open_charges_count_towards_the_cap() {
    let gateway = PlayedGateway::start().await;
    let settings = [("ROLES", "api,writer"), ("BALANCE_MAX", "10000"), ("OPEN_CHARGES_MAX", "2")];
    let shop = gateway.shop("charge-cap", &settings).await;
    let client = &shop.client;
    gateway.fault("lost_request").await;
    charge(client, "ann", "first", 6_000).await.expect(202);
    let refused = charge(client, "ann", "second", 6_000).await.expect_problem(400, "INVALID_AMOUNT");
    assert_eq!(refused.body["reason"], "ABOVE_BALANCE_CAP");
    charge(client, "ann", "third", 4_000).await.expect(202);
    // One that is declined counts no more, and the refusal was not recorded.
    gateway.fault("decline").await;
    charge(client, "ann", "first", 6_000).await.expect_problem(402, "PAYMENT_DECLINED");
    gateway.fault("approve").await;
    charge(client, "ann", "second", 6_000).await.expect(200);
    charge(client, "ann", "third", 4_000).await.expect(200);
    charge(client, "ann", "fourth", 100).await.expect_problem(400, "INVALID_AMOUNT");
    assert_eq!(client.balance("ann").await, (10_000, 0));
    // How many may be open is bounded too.
    gateway.fault("lost_request").await;
    charge(client, "bob", "first", 100).await.expect(202);
    charge(client, "bob", "second", 100).await.expect(202);
    let refused = charge(client, "bob", "third", 100).await.expect_problem(400, "INVALID_AMOUNT");
    assert_eq!(refused.body["reason"], "TOO_MANY_PENDING");
    shop.check_books().await;
}

#[tokio::test]
async fn a_shop_without_a_gateway_takes_no_cards_and_credits_charges_at_once() {
    let shop = Shop::start("no-gateway").await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let order = client.reserve("ann", product, 1).await;
    client.pay("ann", "k", &order, "CARD", 700).await.expect_problem(400, "INVALID_INPUT");
    assert_eq!(client.order_of("ann", &order).await["status"], "PENDING_PAYMENT");
    let charged = charge(client, "ann", "c", 1_000).await.expect(200);
    assert_eq!((&charged.body["previousBalance"], &charged.body["currentBalance"]), (&json!(0), &json!(1_000)));
    client.pay("ann", "k", &order, "BALANCE", 700).await.expect(200);
    shop.check_books().await;
    assert_eq!(shop.count("SELECT count(*) FROM charges").await, 0);
}

#[tokio::test]
async fn a_payment_goes_on_when_its_client_hangs_up() {
    let gateway = PlayedGateway::start().await;
    // The sweeper would come in a minute only.
    let shop = gateway.shop("hang-up", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 60).await;
    let mut dice = StdRng::seed_from_u64(seed("hang-up"));
    for i in 0..60 {
        let user = format!("user-{i}");
        let order = client.reserve(&user, product, 1).await;
        let body = payment(&order, "CARD", 700).to_string();
        let request = format!(
            "POST /api/payments HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            bearer(&user, false),
            body.len()
        );
        let mut stream = TcpStream::connect(client.url.trim_start_matches("http://")).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("written");
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..4_000))).await;
    }
    let held = "SELECT count(*) FROM orders WHERE status = 'HELD'";
    eventually("none is held", async || {
        shop.wait_written().await;
        (shop.count(held).await == 0).then_some(())
    })
    .await;
    assert!(shop.count("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'").await > 0, "nobody got through");
    shop.check_books().await;
}

#[tokio::test]
async fn a_gateway_with_all_hands_full_means_503_and_nothing_done() {
    // It takes a call, and says nothing until the test lets go.
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("an address"));
    let settings = [
        ("GATEWAY_URL", url.as_str()),
        ("GATEWAY_TIMEOUT_MS", "5000"),
        ("GATEWAY_IN_FLIGHT_MAX", "1"),
        ("HTTP_HANDLER_TIMEOUT_MS", "24000"),
    ];
    let shop = Shop::start_on(Backends::shared("full").await, &settings).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (first, second) = (client.reserve("ann", product, 1).await, client.reserve("bob", product, 1).await);
    let payer = client.clone();
    let body = payment(&first, "CARD", 700);
    let under_way = tokio::spawn(async move { payer.post("/api/payments", "ann", "k", &body).await });
    let (held, _) = socket.accept().await.expect("a call");
    let refused = client.pay("bob", "k", &second, "CARD", 700).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    assert!(!refused.header("retry-after").is_empty());
    charge(client, "bob", "c", 1_000).await.expect_problem(503, "SERVICE_UNAVAILABLE");
    assert_eq!(client.order_of("bob", &second).await["status"], "PENDING_PAYMENT");
    assert_eq!(shop.count("SELECT count(*) FROM charges").await, 0);
    // What needs no gateway goes on.
    client.cancel("bob", "cancel", &second).await.expect(200);
    drop(held);
    under_way.await.expect("no panic").expect(202);
    assert_eq!(client.order_of("ann", &first).await["status"], "HELD");
    shop.check_books().await;
}

/// A request that changes something: method, path and body.
type Change = (Method, String, Option<Value>);

async fn send(client: &Client, key: &str, (method, path, body): &Change) -> Reply {
    let token = bearer("ann", false);
    let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
    let url = format!("{}{path}", client.url);
    client.try_send(method.clone(), &url, &headers, body.as_ref()).await.expect("an answer")
}

#[tokio::test]
async fn a_key_stands_for_one_request_on_every_route() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("keys", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 100, 50).await;
    let (one, other) = (client.coupon(&json!({})).await, client.coupon(&json!({})).await);
    let (by_balance, by_card) = (client.reserve("ann", product, 1).await, client.reserve("ann", product, 1).await);
    let item = format!("/api/cart/items/{product}");
    let charge = "/api/users/me/balance/charge".to_owned();
    let restock = format!("/api/products/{product}/restock-notifications");
    let orders = || "/api/orders".to_owned();
    let pay = |order: &str, method: &str| Some(payment(order, method, 100));
    let changes: Vec<Change> = vec![
        (Method::POST, charge.clone(), Some(json!({"amount": 1_000}))),
        (Method::POST, charge, Some(json!({"amount": 1_000, "paymentMethod": "card"}))),
        (Method::POST, format!("/api/coupons/{one}/issue"), None),
        (Method::POST, format!("/api/coupons/{other}/issue"), None),
        (Method::POST, "/api/cart/items".to_owned(), Some(json!({"productId": product, "quantity": 2}))),
        (Method::PUT, item.clone(), Some(json!({"quantity": 2}))),
        (Method::DELETE, item, None),
        (Method::DELETE, "/api/cart".to_owned(), None),
        (Method::POST, orders(), Some(later(product, 1))),
        (Method::POST, orders(), Some(json!({"items": [{"productId": product, "quantity": 1}]}))),
        (Method::POST, "/api/payments".to_owned(), pay(&by_balance, "BALANCE")),
        (Method::POST, format!("/api/orders/{by_balance}/cancel"), None),
        (Method::POST, "/api/payments".to_owned(), pay(&by_card, "CARD")),
        (Method::POST, format!("/api/orders/{by_card}/cancel"), None),
        (Method::POST, restock, Some(json!({"email": "ann@example.com"}))),
    ];
    let mut firsts = Vec::new();
    for (i, change) in changes.iter().enumerate() {
        let first = send(client, &format!("key-{i}"), change).await;
        assert!(first.status.is_success() && first.status != 202, "{change:?}: {}", first.body);
        assert_eq!((first.header("idempotency-key"), first.is_replayed()), (format!("key-{i}").as_str(), false));
        firsts.push(first);
    }
    for (i, first) in firsts.iter().enumerate() {
        for (j, change) in changes.iter().enumerate() {
            let reply = send(client, &format!("key-{i}"), change).await;
            if i == j {
                assert_eq!((reply.status, &reply.body), (first.status, &first.body), "{change:?}");
                assert!(reply.is_replayed(), "{change:?}");
            } else {
                assert_eq!((reply.status.as_u16(), reply.code()), (422, "IDEMPOTENCY_KEY_REUSED"), "{change:?}");
            }
        }
    }
    // Nothing happened twice: charged twice 1,000, and one order of 100 is left.
    assert_eq!(client.balance("ann").await, (1_900, 100));
    shop.check_books().await;
}
