//! Reserve now, pay later: of 20 reservations 9 are paid from the balance, 6 by card over the gateway, 3 are cancelled,
//! and 2 are left to expire.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use flashsale::http::code::Code;
use goose::prelude::*;
use hyper::StatusCode;
use rand::Rng as _;
use tokio::time::sleep;

use super::{Plan, Story};
use crate::load::books::{After, Rule, until};
use crate::load::goods::{Clerk, Goods, PLENTY, PRICE};
use crate::load::tally::{Call, Expected};
use crate::load::user::{Ask, ask, ask_until_known, session};
use crate::shared::http;

const RESERVE: Call = "POST /api/orders (LATER)";
const PAY: Call = "POST /api/payments";
const CANCEL: Call = "POST /api/orders/{id}/cancel";
const LOOK: Call = "GET /api/orders/{id}";

/// Orders that a user leaves unpaid; below `max_open_orders`, so that he can go on.
const UNPAID_MAX: usize = 2;

/// What somebody waits who could not reserve.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// States in which an order can be when everybody has gone.
const STATES: [&str; 5] = ["CONFIRMED", "CANCELLED", "EXPIRED", "PENDING_PAYMENT", "HELD"];

/// What a user does with a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Balance,
    Card,
    Cancel,
    Leave,
}

impl Choice {
    /// Of 20, as the module says.
    fn of(dice: u32) -> Self {
        match dice {
            0..9 => Self::Balance,
            9..15 => Self::Card,
            15..18 => Self::Cancel,
            _ => Self::Leave,
        }
    }
}

/// See the module.
pub struct ReserveAndPay;

impl Story for ReserveAndPay {
    const NAME: &'static str = "reserve_and_pay";
    const MAIN: Call = PAY;
    // Whoever is slow finds his reservation expired; and whoever could not pay or cancel, for a while, too many of them.
    const EXPECTED: Expected = &[
        (RESERVE, &[Code::TooManyOpenOrders]),
        (PAY, &[Code::InvalidOrderState]),
        (CANCEL, &[Code::InvalidOrderState]),
    ];
    // Short enough to be seen in half a minute.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("FLASHSALE_RESERVATION_TTL_MS", "3000")];

    async fn prepare(clerk: &mut Clerk<'_>, _: &Plan) -> Result<Goods> {
        Ok(Goods { products: vec![clerk.product("Reserved", PLENTY, None).await?], ..Goods::default() })
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        Ok(scenario.register_transaction(transaction!(reserve).set_name("reserve, and then")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let products = &after.run.goods.products;
        let overdue = "SELECT count(*) FROM orders o WHERE o.status = 'PENDING_PAYMENT' AND o.expires_at < now()
                       AND EXISTS (SELECT FROM order_items i WHERE i.order_id = o.order_id AND i.product_id = ANY($1))";
        let ids = || products.iter().map(|product| product.id);
        let swept = until(async || Ok(after.books.count(overdue, ids()).await? == 0)).await?;
        let mut rules = after.goods().await?;
        rules.push(after.orders(after.run.tally.done(RESERVE)).await?);
        rules.push(Rule::holds("what is not paid in time expires", swept));

        let by_status = after.books.orders_by_status(products).await?;
        let count = |status: &str| by_status.get(status).copied().unwrap_or(0);
        let others: u64 =
            by_status.iter().filter(|(status, _)| !STATES.contains(&status.as_str())).map(|(_, n)| n).sum();
        rules.push(Rule::new(format!("orders are {}", STATES.join(", ")), others));
        let tally = &after.run.tally;
        for (what, call, status) in [("paid", PAY, "CONFIRMED"), ("cancelled", CANCEL, "CANCELLED")] {
            let (done, orders) = (tally.done(call), count(status));
            let text =
                format!("{orders} orders {what} in PostgreSQL, {} answered, {} unknown", done.seen, done.unknown);
            rules.push(Rule::new(text, done.missed_by(orders)));
        }
        if let Some(sandbox) = after.shop.sandbox {
            rules.push(Rule::new("no card was charged twice (the gateway's book)", charged_twice(sandbox).await?));
        }
        Ok(rules)
    }
}

async fn charged_twice(sandbox: SocketAddr) -> Result<u64> {
    let book = http::get(sandbox, "/gateway/book").await?.expect(StatusCode::OK)?;
    let payments = book["payments"].as_array().into_iter().flatten();
    let twice = payments.filter(|payment| payment["charges"].as_u64().is_none_or(|charges| charges > 1));
    Ok(twice.count() as u64)
}

async fn reserve(user: &mut GooseUser) -> TransactionResult {
    let mut choice = Choice::of(rand::rng().random_range(0..20));
    if choice == Choice::Leave && !may_leave(user).await? {
        choice = Choice::Cancel;
    }
    let session = session(user);
    let product = session.run.goods.products[0].id;
    let body = format!(r#"{{"items":[{{"productId":{product},"quantity":1}}],"payment":"LATER"}}"#);
    let key = session.key();
    let reply = ask_until_known(user, Ask::post(RESERVE, "/api/orders", &key, Some(&body))).await?;
    if !reply.is_accepted() {
        sleep(REFUSED_PAUSE).await;
        return Ok(());
    }
    let order = reply.text("orderId");
    let done = match choice {
        Choice::Balance => pay(user, &order, "BALANCE").await?,
        Choice::Card => pay(user, &order, "CARD").await?,
        Choice::Cancel => cancel(user, &order).await?,
        Choice::Leave => false,
    };
    if !done {
        self::session(user).unpaid.push_back(order);
    }
    Ok(())
}

/// Whether one more unpaid order is allowed: looks whether the oldest that he left is still open.
async fn may_leave(user: &mut GooseUser) -> Result<bool, Box<TransactionError>> {
    let session = session(user);
    if session.unpaid.len() < UNPAID_MAX {
        return Ok(true);
    }
    let path = format!("/api/orders/{}", session.unpaid[0]);
    let reply = ask(user, Ask::get(LOOK, &path)).await?;
    let is_over = reply.is_accepted() && !matches!(reply.text("status").as_str(), "PENDING_PAYMENT" | "HELD");
    if is_over {
        self::session(user).unpaid.pop_front();
    }
    Ok(is_over)
}

/// Whether it is paid; while the answer is HELD nobody knows.
async fn pay(user: &mut GooseUser, order: &str, method: &str) -> Result<bool, Box<TransactionError>> {
    let body = format!(r#"{{"orderId":"{order}","paymentMethod":"{method}","amount":{PRICE}}}"#);
    let key = session(user).key();
    let reply = ask_until_known(user, Ask::post(PAY, "/api/payments", &key, Some(&body))).await?;
    Ok(reply.answered.status == StatusCode::OK.as_u16())
}

async fn cancel(user: &mut GooseUser, order: &str) -> Result<bool, Box<TransactionError>> {
    let path = format!("/api/orders/{order}/cancel");
    let key = session(user).key();
    Ok(ask_until_known(user, Ask::post(CANCEL, &path, &key, None)).await?.is_accepted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_as_documented() {
        let all: Vec<Choice> = (0..20).map(Choice::of).collect();
        let share = |choice| all.iter().filter(|one| **one == choice).count();
        let shares = [Choice::Balance, Choice::Card, Choice::Cancel, Choice::Leave].map(share);
        assert_eq!(shares, [9, 6, 3, 2]);
    }
}
