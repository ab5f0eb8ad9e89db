//! A shop on an ordinary day: most people look around, some fill a cart, few order it. [`STEPS`] says in which
//! proportions; everybody thinks for a moment between two steps.
//!
//! The steps are drawn here, not weighted in goose's own way: goose makes one list of them, and all users walk through
//! it in the same order.

use std::time::Duration;

use anyhow::Result;
use flashsale::http::code::Code;
use goose::prelude::*;
use rand::Rng as _;
use serde_json::json;

use super::coupon_storm::ISSUE;
use super::{ORDER, Plan, Story};
use crate::load::books::{After, Rule};
use crate::load::goods::{Clerk, Coupon, Goods, PLENTY};
use crate::load::tally::{Call, Expected};
use crate::load::user::{Ask, ask, ask_until_known, session};

const LIST: Call = "GET /api/products";
const DETAIL: Call = "GET /api/products/{id}";
const STOCK: Call = "GET /api/products/{id}/stock";
const POPULAR: Call = "GET /api/products/popular";
const PUT: Call = "POST /api/cart/items";
const COUPONS: Call = "GET /api/coupons";
const READ: Call = "GET /api/orders/{id}";
const HISTORY: Call = "GET /api/orders";

const READABLE: &str = "an order can be read the moment it was answered";

/// What somebody does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    List,
    Detail,
    Stock,
    Popular,
    Cart,
    Coupon,
    Order,
    History,
}

/// Of 100 steps so many are each of these.
const STEPS: [(Step, u32); 8] = [
    (Step::List, 15),
    (Step::Detail, 30),
    (Step::Stock, 15),
    (Step::Popular, 10),
    (Step::Cart, 15),
    (Step::Coupon, 3),
    (Step::Order, 6),
    (Step::History, 6),
];

impl Step {
    /// The step of a number below 100.
    fn of(mut dice: u32) -> Self {
        for (step, share) in STEPS {
            if dice < share {
                return step;
            }
            dice -= share;
        }
        Self::List
    }
}

/// Products of the shop.
const PRODUCTS: u32 = 20;

/// Coupons, each enough for everybody.
const KINDS_OF_COUPONS: u32 = 3;

/// Between two steps; at random.
const THINKS_MIN: Duration = Duration::from_millis(20);
/// See [`THINKS_MIN`].
const THINKS_MAX: Duration = Duration::from_millis(180);

/// See the module.
pub struct BrowseAndBuy;

impl Story for BrowseAndBuy {
    const NAME: &'static str = "browse_and_buy";
    const MAIN: Call = ORDER;
    const EXPECTED: Expected = &[(ISSUE, &[Code::AlreadyIssued])];

    async fn prepare(clerk: &mut Clerk<'_>, plan: &Plan) -> Result<Goods> {
        let mut goods = Goods::default();
        for number in 1..=PRODUCTS {
            goods.products.push(clerk.product(&format!("Browsed {number}"), PLENTY, None).await?);
        }
        for number in 1..=KINDS_OF_COUPONS {
            goods.coupons.push(clerk.coupon(&format!("Coupon {number}"), u64::from(plan.users)).await?);
        }
        Ok(goods)
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        let scenario = scenario.set_wait_time(THINKS_MIN, THINKS_MAX)?;
        Ok(scenario.register_transaction(transaction!(step).set_name("step")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let mut rules = after.goods().await?;
        rules.push(after.orders(after.run.tally.done(ORDER)).await?);
        let mut too_many = 0;
        for coupon in &after.run.goods.coupons {
            let (issued, counted) = after.books.issued(*coupon).await?;
            too_many += issued.saturating_sub(coupon.quantity) + issued.abs_diff(counted);
        }
        rules.push(Rule::new("no more coupons are issued than there are", too_many));
        if after.run.tally.broken().is_empty() {
            rules.push(Rule::new(READABLE, 0));
        }
        Ok(rules)
    }
}

async fn step(user: &mut GooseUser) -> TransactionResult {
    let next = Step::of(rand::rng().random_range(0..100));
    match next {
        Step::List => look(user, LIST, "/api/products?limit=20").await,
        Step::Detail => {
            let path = format!("/api/products/{}", some_product(user));
            look(user, DETAIL, &path).await
        }
        Step::Stock => {
            let path = format!("/api/products/{}/stock", some_product(user));
            look(user, STOCK, &path).await
        }
        Step::Popular => look(user, POPULAR, "/api/products/popular").await,
        Step::Cart => put_into_cart(user).await,
        Step::Coupon => take_coupon(user).await,
        Step::Order => order_cart(user).await,
        Step::History => look(user, HISTORY, "/api/orders?limit=10").await,
    }
}

async fn look(user: &mut GooseUser, call: Call, path: &str) -> TransactionResult {
    ask(user, Ask::get(call, path)).await?;
    Ok(())
}

/// Any product.
fn some_product(user: &mut GooseUser) -> u32 {
    let products = &session(user).run.goods.products;
    products[rand::rng().random_range(0..products.len())].id
}

async fn put_into_cart(user: &mut GooseUser) -> TransactionResult {
    let body = json!({"productId": some_product(user), "quantity": 1}).to_string();
    let key = session(user).key();
    let reply = ask_until_known(user, Ask::post(PUT, "/api/cart/items", &key, Some(&body))).await?;
    session(user).cart += u32::from(reply.is_accepted());
    Ok(())
}

/// A coupon that he does not have; whoever has all of them looks at the list.
async fn take_coupon(user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let Some(&Coupon { id, .. }) = session.run.goods.coupons.get(session.coupons_asked) else {
        return look(user, COUPONS, "/api/coupons").await;
    };
    session.coupons_asked += 1;
    let (path, key) = (format!("/api/coupons/{id}/issue"), session.key());
    if ask_until_known(user, Ask::post(ISSUE, &path, &key, None)).await?.is_accepted() {
        self::session(user).coupons.push(id);
    }
    Ok(())
}

/// The whole cart, with a coupon if he has one; then he looks at the order.
async fn order_cart(user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    if session.cart == 0 {
        return Ok(());
    }
    let coupon = session.coupons.pop();
    let body = json!({"couponIds": coupon.as_slice()}).to_string();
    let key = session.key();
    let reply = ask_until_known(user, Ask::post(ORDER, "/api/orders", &key, Some(&body))).await?;
    if !reply.is_accepted() {
        return Ok(());
    }
    self::session(user).cart = 0;
    let path = format!("/api/orders/{}", reply.text("orderId"));
    let order = ask(user, Ask::get(READ, &path)).await?;
    if order.answered.status == 404 {
        self::session(user).run.tally.note_broken(READABLE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_percent() {
        let all: Vec<Step> = (0..100).map(Step::of).collect();
        for (step, share) in STEPS {
            assert_eq!(all.iter().filter(|one| **one == step).count(), share as usize, "{step:?}");
        }
        assert_eq!(STEPS.iter().map(|(_, share)| share).sum::<u32>(), 100);
    }
}
