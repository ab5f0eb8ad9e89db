//! The model test: long random sequences of ops on a real Redis, in batches of every size, against the plain model of
//! `engine/model`: outcome by outcome, column by column, and the log entry by entry; and against a ledger that knows
//! nothing but the log. Every seed is printed; `FLASHSALE_TEST_SEED` repeats one.

mod columns;
mod generator;
mod ledger;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use flashsale::engine::batch::Rules;
use flashsale::engine::event::{Event, OrderStatus};
use flashsale::engine::model::NUMBER_MAX;
use flashsale::engine::op::Op;
use flashsale::engine::refusal::Refused;

use self::run::Run;
use crate::support::engine::{DAY_MS, HOUR_MS, RULES};

/// Enough for 100,000 ops; consecutive seeds, so that every set of rules is among them.
const RUNS: u64 = 5;

#[tokio::test]
async fn the_engine_answers_and_stores_what_the_model_does() {
    let first_seed = crate::support::seed("model");
    let mut tally = Tally::default();
    for run in 0..RUNS {
        let seed = first_seed.wrapping_add(run);
        Run::start(seed, rules(seed), &mut tally).await.play().await;
    }
    eprintln!("model: {} ops: {:?}", tally.ops, tally.outcomes);
    assert!(tally.ops >= 100_000, "{} ops are too few", tally.ops);
    // A generator that never reaches an outcome proves nothing about it.
    for op in Op::NAMES {
        for refused in Op::refusals(op) {
            let outcome = (op, refused.code());
            assert!(tally.outcomes.contains_key(&outcome), "seed {first_seed}: {outcome:?} never happened");
        }
    }
    let seen: BTreeSet<&str> = tally.outcomes.keys().map(|(_, outcome)| *outcome).collect();
    let anywhere = Refused::COMMON.iter().map(|refused| refused.code()).chain(Event::NAMES.iter().copied());
    let anywhere = anywhere.chain(OrderStatus::ALL.iter().map(|status| status.as_str()));
    for outcome in anywhere.chain(["replayed", "settled already", "restocked"]) {
        assert!(seen.contains(outcome), "seed {first_seed}: {outcome} never happened");
    }
}

/// How often what happened.
#[derive(Default)]
struct Tally {
    ops: u64,
    /// Op and outcome; an order that changed counts under its new status too.
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    fn add(&mut self, op: &Op, outcome: &'static str) {
        *self.outcomes.entry((op.name(), outcome)).or_default() += 1;
    }
}

/// Rules that bring the bounds near. By the seed's remainders, so that consecutive seeds have all of them.
fn rules(seed: u64) -> Rules {
    let mut rules = match seed % 3 {
        0 => Rules { balance_max: 20_000_000, ..RULES },
        1 => Rules { charge_unit: 1, charge_max: NUMBER_MAX, balance_max: NUMBER_MAX, ..RULES },
        _ => Rules { charge_unit: 1_000, charge_max: 50_000, balance_max: 1_000_000, ..RULES },
    };
    if !seed.is_multiple_of(2) {
        rules.backlog_max = 200;
    }
    match seed % 5 {
        0 => Rules { open_orders_max: 1, open_charges_max: 1, items_max: 2, quantity_max: 5, ..rules },
        1 => Rules { reservation_ttl_ms: 1_000, restock_threshold: 5, ..rules },
        2 => rules,
        3 => Rules { cancel_window_ms: DAY_MS - 1, restock_threshold: 5, open_orders_max: 10, ..rules },
        _ => Rules { reservation_ttl_ms: 2 * HOUR_MS, recovery_ms: 1_000, open_charges_max: 3, ..rules },
    }
}
