//! The scenarios: what users want, which refusals are answers like any other, and what must hold afterwards.

pub mod browse_and_buy;
pub mod coupon_storm;
pub mod reserve_and_pay;
pub mod retry_storm;
pub mod rush;
pub mod sold_out;

use anyhow::Result;
use goose::GooseError;
use goose::goose::Scenario;
use jiff::Timestamp;

use super::books::{After, Rule};
use super::goods::{Clerk, Goods};
use super::tally::{Call, Expected};

/// An order, paid at once.
pub const ORDER: Call = "POST /api/orders";

/// One kind of load.
pub trait Story {
    /// Its name on the command line.
    const NAME: &'static str;
    /// The request that it is about.
    const MAIN: Call;
    /// Refusals that are answers like any other.
    const EXPECTED: Expected;
    /// What a private shop is told beyond its defaults.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[];

    /// Creates what the users want.
    async fn prepare(clerk: &mut Clerk<'_>, plan: &Plan) -> Result<Goods>;

    /// Adds what the users do, in goose's words.
    fn script(scenario: Scenario) -> Result<Scenario, GooseError>;

    /// What must hold afterwards, beside what must hold after every load.
    async fn rules(after: &After<'_>) -> Result<Vec<Rule>>;
}

/// What is known before a load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Users at the same time.
    pub users: u32,
    /// Units on sale, where they are limited.
    pub stock: u64,
    /// When the sale opens, where one does; just behind the moment when the users begin.
    pub opens: Timestamp,
}

/// Body of an order of one unit.
pub fn one_unit(product: u32) -> String {
    format!(r#"{{"items":[{{"productId":{product},"quantity":1}}]}}"#)
}
