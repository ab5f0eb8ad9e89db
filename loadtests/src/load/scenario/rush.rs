//! Everybody buys the hot product the moment the sale opens, one unit after the other, and goes on when it is sold out.

use anyhow::Result;
use flashsale::http::code::Code;
use goose::prelude::*;

use super::{ORDER, Plan, Story, one_unit};
use crate::load::books::{After, Rule};
use crate::load::goods::{Clerk, Goods};
use crate::load::tally::{Call, Expected};
use crate::load::user::{Ask, ask, session};

/// See the module.
pub struct Rush;

impl Story for Rush {
    const NAME: &'static str = "rush";
    const MAIN: Call = ORDER;
    // The first users are there a moment before it opens.
    const EXPECTED: Expected = &[(ORDER, &[Code::InsufficientStock, Code::SaleNotOpen])];

    async fn prepare(clerk: &mut Clerk<'_>, plan: &Plan) -> Result<Goods> {
        let product = clerk.product("Rush", plan.stock, Some(plan.opens)).await?;
        Ok(Goods { products: vec![product], ..Goods::default() })
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        Ok(scenario.register_transaction(transaction!(buy).set_name("buy")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let mut rules = after.goods().await?;
        rules.push(after.orders(after.run.tally.done(ORDER)).await?);
        let refused = after.run.tally.refused(ORDER, Code::InsufficientStock);
        let left = after.left(after.run.goods.products[0]).await?;
        rules.push(Rule::holds("nobody was refused while there were units left", refused == 0 || left == 0));
        Ok(rules)
    }
}

/// One unit of the first product; what the rehearsal does, too.
pub async fn buy(user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let body = one_unit(session.run.goods.products[0].id);
    let key = session.key();
    ask(user, Ask::post(ORDER, "/api/orders", &key, Some(&body))).await?;
    Ok(())
}
