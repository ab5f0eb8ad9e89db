//! Everybody wants one limited coupon, of which there is one for every second user, and asks again and again.

use anyhow::Result;
use flashsale::http::code::Code;
use goose::prelude::*;

use super::{Plan, Story};
use crate::load::books::{After, Rule};
use crate::load::goods::{Clerk, Goods};
use crate::load::tally::{Call, Expected};
use crate::load::user::{Ask, ask, session};

/// A coupon, please.
pub const ISSUE: Call = "POST /api/coupons/{id}/issue";

/// See the module.
pub struct CouponStorm;

impl Story for CouponStorm {
    const NAME: &'static str = "coupon_storm";
    const MAIN: Call = ISSUE;
    const EXPECTED: Expected = &[(ISSUE, &[Code::CouponSoldOut, Code::AlreadyIssued])];

    async fn prepare(clerk: &mut Clerk<'_>, plan: &Plan) -> Result<Goods> {
        let coupon = clerk.coupon("Storm", u64::from(plan.users).div_ceil(2)).await?;
        Ok(Goods { coupons: vec![coupon], ..Goods::default() })
    }

    fn script(scenario: Scenario) -> Result<Scenario, GooseError> {
        Ok(scenario.register_transaction(transaction!(take).set_name("take")))
    }

    async fn rules(after: &After<'_>) -> Result<Vec<Rule>> {
        let coupon = after.run.goods.coupons[0];
        let (issued, counted) = after.books.issued(coupon).await?;
        let done = after.run.tally.done(ISSUE);
        let text = format!("{issued} coupons in PostgreSQL, {} answered, {} unknown", done.seen, done.unknown);
        let sold_out = after.run.tally.refused(ISSUE, Code::CouponSoldOut) > 0;
        Ok(vec![
            Rule::new(
                format!("at most {} coupons are issued", coupon.quantity),
                issued.saturating_sub(coupon.quantity),
            ),
            Rule::new("the coupon's own count is that of its rows", issued.abs_diff(counted)),
            Rule::new(text, done.missed_by(issued)),
            Rule::holds("nobody was refused while there were coupons left", !sold_out || issued == coupon.quantity),
        ])
    }
}

async fn take(user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let path = format!("/api/coupons/{}/issue", session.run.goods.coupons[0].id);
    let key = session.key();
    ask(user, Ask::post(ISSUE, &path, &key, None)).await?;
    Ok(())
}
