//! Held orders that an operator settles, because the gateway does not clear them up.

use reqwest::Method;
use serde_json::json;

use crate::support::gateway::{PlayedGateway, QUICK};
use crate::support::shop::{Client, Reply, bearer, eventually, unique};

/// An operator's word about a held order.
async fn settle(client: &Client, key: &str, order: &str, outcome: &str) -> Reply {
    let body = json!({"outcome": outcome});
    client.admin(Method::POST, &format!("/admin/orders/{order}/settle"), key, &body).await
}

#[tokio::test]
async fn an_operator_settles_a_held_order_while_the_gateway_is_down() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("settle", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (good, bad) = (client.reserve("ann", product, 1).await, client.reserve("bob", product, 1).await);
    let unpaid = client.reserve("ann", product, 1).await;
    gateway.fault("lost_request").await;
    client.pay("ann", "k", &good, "CARD", 700).await.expect(202);
    client.pay("bob", "k", &bad, "CARD", 700).await.expect(202);

    let approved = settle(client, "a", &good, "APPROVED").await.expect(200);
    assert_eq!((&approved.body["status"], approved.header("idempotency-key")), (&json!("CONFIRMED"), "a"));
    let declined = settle(client, "d", &bad, "DECLINED").await.expect(200);
    assert_eq!(declined.body["status"], "PAYMENT_FAILED");
    // The buyer is told the same under his key.
    client.pay("ann", "k", &good, "CARD", 700).await.expect(200);
    client.pay("bob", "k", &bad, "CARD", 700).await.expect_problem(402, "PAYMENT_DECLINED");
    assert_eq!(shop.stock(product).await, 48);
    let again = settle(client, "a", &good, "APPROVED").await.expect(200);
    assert_eq!((again.is_replayed(), again.body), (true, approved.body));
    // What is settled stays so.
    settle(client, "x", &good, "DECLINED").await.expect_problem(400, "INVALID_ORDER_STATE");
    settle(client, "y", &bad, "APPROVED").await.expect_problem(400, "INVALID_ORDER_STATE");
    settle(client, "z", &unpaid, "APPROVED").await.expect_problem(400, "INVALID_ORDER_STATE");
    settle(client, "n", "4242424242", "APPROVED").await.expect_problem(404, "ORDER_NOT_FOUND");
    settle(client, "b", &unpaid, "MAYBE").await.expect_problem(400, "INVALID_INPUT");
    let path = format!("/admin/orders/{unpaid}/settle");
    let (token, body) = (bearer("ann", false), json!({"outcome": "APPROVED"}));
    let (url, headers) = (format!("{}{path}", client.ops_url), [("authorization", token.as_str())]);
    let foreign = client.try_send(Method::POST, &url, &headers, Some(&body)).await.expect("an answer");
    foreign.expect_problem(403, "FORBIDDEN");
    client.post(&path, "ann", "k", &body).await.expect_problem(404, "NOT_FOUND");
    shop.check_books().await;
}

#[tokio::test]
async fn what_an_operator_gives_up_while_the_gateway_is_down_is_given_back_when_it_was_taken() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("abandoned", &QUICK).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 2).await;
    let (taken, never) = (client.reserve("ann", product, 1).await, client.reserve("bob", product, 1).await);
    // The money is taken, but nobody hears of it; and the other way round.
    gateway.faults(&json!({"mode": "lost_answer"})).await;
    client.pay("ann", "k", &taken, "CARD", 700).await.expect(202);
    gateway.faults(&json!({"mode": "lost_request"})).await;
    client.pay("bob", "k", &never, "CARD", 700).await.expect(202);
    for order in [&taken, &never] {
        let given_up = settle(client, &unique("s"), order, "DECLINED").await.expect(200);
        assert_eq!(given_up.body["status"], "PAYMENT_FAILED");
    }
    assert_eq!(shop.stock(product).await, 2, "the units are free at once");
    gateway.fault("approve").await;
    let open = "SELECT count(*) FROM orders WHERE refund IS DISTINCT FROM 'DONE'";
    eventually("both are done with", async || (shop.count(open).await == 0).then_some(())).await;
    assert_eq!(gateway.payment_of(&taken).await, Some(("REFUNDED".to_owned(), 1, 1)));
    assert_eq!(gateway.payment_of(&never).await, Some(("VOIDED".to_owned(), 0, 0)));
    client.pay("bob", "k", &never, "CARD", 700).await.expect_problem(402, "PAYMENT_DECLINED");
    shop.check_books().await;
}

#[tokio::test]
async fn an_operator_cannot_contradict_the_gateway() {
    let gateway = PlayedGateway::start().await;
    let shop = gateway.shop("settle-against", &[]).await;
    let client = &shop.client;
    let product = client.product("Pin", 700, 50).await;
    let (taken, kept) = (client.reserve("ann", product, 1).await, client.reserve("bob", product, 1).await);
    gateway.faults(&json!({"mode": "lost_answer", "calls": ["charge"]})).await;
    client.pay("ann", "k", &taken, "CARD", 700).await.expect(202);
    settle(client, "d", &taken, "DECLINED").await.expect_problem(400, "INVALID_ORDER_STATE");
    assert_eq!(client.order_of("ann", &taken).await["status"], "HELD");
    settle(client, "a", &taken, "APPROVED").await.expect(200);
    client.becomes("ann", &taken, "CONFIRMED").await;
    // Before a decline counts, the payment is voided: a charge that is still on its way comes too late.
    gateway.faults(&json!({"mode": "lost_request", "calls": ["charge"]})).await;
    client.pay("bob", "k", &kept, "CARD", 700).await.expect(202);
    settle(client, "k", &kept, "DECLINED").await.expect(200);
    client.becomes("bob", &kept, "PAYMENT_FAILED").await;
    assert_eq!(gateway.payment_of(&kept).await, Some(("VOIDED".to_owned(), 0, 0)));
    assert_eq!(gateway.payment_of(&taken).await, Some(("APPROVED".to_owned(), 1, 0)));
    shop.check_books().await;
}
