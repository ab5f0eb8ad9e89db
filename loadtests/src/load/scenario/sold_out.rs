//! What nearly all of a real sale is: orders of a product with none left.

use anyhow::Result;
use flashsale::http::code::Code;
use goose::prelude::*;

use super::rush::buy;
use super::{ORDER, Plan, Story};
use crate::load::books::{After, Rule};
use crate::load::goods::{Clerk, Goods};
use crate::load::tally::{Call, Expected};

/// See the module.
pub struct SoldOut;

impl Story for SoldOut {
    const NAME: &'static str = "sold_out";
    const MAIN: Call = ORDER;
    const EXPECTED: Expected = &[(ORDER, &[Code::InsufficientStock])];

    async fn prepare(clerk: &mut Clerk<'_>, _: &Plan) -> Result<Goods> {
        Ok(Goods { products: vec![clerk.product("Sold out", 0, None).await?], ..Goods::default() })
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        Ok(scenario.register_transaction(transaction!(buy).set_name("buy")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let mut rules = after.goods().await?;
        let orders = after.books.orders(&after.run.goods.products).await?;
        rules.push(Rule::new("nobody got a unit of what there was none of", orders + after.run.tally.done(ORDER).seen));
        Ok(rules)
    }
}
