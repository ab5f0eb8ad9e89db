//! Clients that do not trust the network: every order is sent two to five times under its key, some of them at once.

use anyhow::Result;
use futures::future::join_all;
use goose::prelude::*;
use rand::Rng as _;

use super::{ORDER, Plan, Story, one_unit};
use crate::load::books::{After, Rule};
use crate::load::goods::{Clerk, Goods, PLENTY};
use crate::load::tally::{Call, Expected};
use crate::load::user::{Ask, Reply, exchange, record, session};

const ONE_ORDER: &str = "every answer under a key is the same order, to the byte";
const ONE_FIRST: &str = "at most one answer under a key is the first, every other one says Idempotent-Replayed: true";

/// See the module.
pub struct RetryStorm;

impl Story for RetryStorm {
    const NAME: &'static str = "retry_storm";
    const MAIN: Call = ORDER;
    const EXPECTED: Expected = &[];

    async fn prepare(clerk: &mut Clerk<'_>, _: &Plan) -> Result<Goods> {
        Ok(Goods { products: vec![clerk.product("Retries", PLENTY, None).await?], ..Goods::default() })
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        Ok(scenario.register_transaction(transaction!(insist).set_name("insist")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let mut rules = after.goods().await?;
        rules.push(after.orders(after.run.tally.keys()).await?);
        // Counted while it ran; here so that one reads that it was looked at.
        let seen = after.run.tally.broken();
        for rule in [ONE_ORDER, ONE_FIRST].into_iter().filter(|rule| !seen.iter().any(|(broken, _)| broken == rule)) {
            rules.push(Rule::new(rule, 0));
        }
        Ok(rules)
    }
}

async fn insist(user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let body = one_unit(session.run.goods.products[0].id);
    let key = session.key();
    let order = Ask::post(ORDER, "/api/orders", &key, Some(&body));
    let (times, at_once) = {
        let mut rng = rand::rng();
        let times = rng.random_range(2..=5);
        (times, rng.random_range(1..=times))
    };
    let mut replies = {
        let user: &GooseUser = user;
        join_all((0..at_once).map(|_| exchange(user, order))).await
    };
    for _ in at_once..times {
        replies.push(exchange(user, order).await);
    }
    // First: goose may fail to count.
    judge(user, &replies);
    for reply in &replies {
        record(user, reply).await?;
    }
    Ok(())
}

/// Answers that are no order (503, 504) say nothing about the others.
fn judge(user: &mut GooseUser, replies: &[Reply]) {
    let tally = &session(user).run.tally;
    let orders: Vec<&Reply> = replies.iter().filter(|reply| reply.is_accepted()).collect();
    if replies.iter().any(Reply::may_have_done) {
        tally.note_key(!orders.is_empty());
    }
    if orders.windows(2).any(|two| two[0].body != two[1].body) {
        tally.note_broken(ONE_ORDER);
    }
    // None is fine: the lane may have sent the very first one twice.
    if orders.iter().filter(|order| !order.answered.replayed).count() > 1 {
        tally.note_broken(ONE_FIRST);
    }
}
