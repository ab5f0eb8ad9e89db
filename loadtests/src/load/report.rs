//! What a load says at its end.

use std::path::PathBuf;
use std::sync::Arc;

use goose::metrics::GooseMetrics;

use super::books::Rule;
use super::run::Run;
use super::shop::Shop;
use super::table::{Row, decimals, per_s, render, thousands};
use super::tally::{Call, Verdict};
use super::times::{Times, ms};
use crate::shared::accounting::cpu;

/// CPU time, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    goose_s: f64,
    /// Of a private shop, its sandbox with it.
    service_s: Option<f64>,
}

impl Costs {
    /// Of the processes since they began; nothing of one that cannot be asked.
    pub fn so_far(shop: &Shop) -> Self {
        let of = |pid| cpu(pid).ok().map(|cpu| cpu.own_s);
        Self { goose_s: of(std::process::id()).unwrap_or(0.0), service_s: shop.pid().and_then(of) }
    }

    /// Since an earlier look.
    pub fn since(self, before: Self) -> Self {
        let service_s = self.service_s.zip(before.service_s).map(|(now, then)| now - then);
        Self { goose_s: self.goose_s - before.goose_s, service_s }
    }
}

/// Everything that one load found out.
pub struct Report {
    /// The scenario.
    pub name: &'static str,
    /// The request that it is about.
    pub main: Call,
    /// Users at the same time.
    pub users: u32,
    /// Whether the rules that need PostgreSQL were looked at.
    pub asked_postgres: bool,
    /// Somebody pressed Ctrl-C.
    pub interrupted: bool,
    /// Threshold.
    pub p99_max_ms: Option<f64>,
    /// Goose's own report.
    pub html: PathBuf,
    /// What must hold, and whether it does.
    pub rules: Vec<Rule>,
    /// CPU while it ran.
    pub costs: Costs,
    /// What the users were answered.
    pub run: Arc<Run>,
    /// How long it took.
    pub metrics: GooseMetrics,
}

impl Report {
    /// Whether every rule holds and no threshold is passed.
    pub fn is_good(&self) -> bool {
        self.rules.iter().chain(&self.threshold()).all(|rule| rule.broken == 0)
    }

    fn main_rows(&self) -> Vec<String> {
        let answers = self.run.tally.answers();
        answers.iter().filter(|(answered, _)| answered.call == self.main).map(|(answered, _)| answered.row()).collect()
    }

    fn threshold(&self) -> Option<Rule> {
        let p99_max_ms = self.p99_max_ms?;
        let p99_ms = ms(Times::of(&self.metrics, &self.main_rows()).p99);
        let text = format!("p99 of {} is at most {p99_max_ms} ms: {}", self.main, decimals(p99_ms));
        Some(Rule::holds(text, p99_ms <= p99_max_ms))
    }

    /// Prints it.
    #[expect(clippy::print_stdout, reason = "the table is what the command is run for")]
    pub fn print(&self) {
        let tally = &self.run.tally;
        let seconds = tally.seconds();
        let rows: Vec<Row> = tally
            .answers()
            .into_iter()
            .map(|(answered, count)| Row {
                call: answered.call.to_owned(),
                status: answered.status,
                outcome: answered.outcome(),
                count,
                times: Times::of(&self.metrics, &[answered.row()]),
            })
            .collect();
        println!("\n{}: {} users, {seconds:.1} s\n\n{}", self.name, self.users, render(&rows, seconds));

        let main = self.main_rows();
        let (times, adjusted) = (Times::of(&self.metrics, &main), Times::with_unsent(&self.metrics, &main));
        let [median, slow, slowest] = [times.p50, times.p95, times.p99].map(|time| decimals(ms(time)));
        println!("All of {}: p50 {median}, p95 {slow}, p99 {slowest} ms;", self.main);
        println!("p99 {} ms with the requests that stalls kept the users from sending.", decimals(ms(adjusted.p99)));

        let count = |verdict| thousands(tally.with_verdict(verdict));
        let accepted = tally.with_verdict(Verdict::Accepted);
        println!(
            "Accepted {} ({} per s), refused as expected {}, 503 and 504 {}, unexpected {}.",
            thousands(accepted),
            decimals(per_s(accepted, seconds)),
            count(Verdict::Refused),
            count(Verdict::Unavailable),
            count(Verdict::Unexpected),
        );
        println!("{}", self.told_costs(seconds));
        println!("Goose's report: {}\n", self.html.display());
        for rule in self.rules.iter().chain(&self.threshold()) {
            println!("{}", rule.lines());
        }
        if !self.asked_postgres {
            println!("      PostgreSQL was not asked: no DATABASE_URL");
        }
        if self.interrupted {
            println!("      It was interrupted: the figures are those of a shorter load.");
        }
    }

    fn told_costs(&self, seconds: f64) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = |cpu_s: f64| if seconds > 0.0 { cpu_s / seconds } else { 0.0 };
        let service = self
            .costs
            .service_s
            .map_or_else(String::new, |service_s| format!(", the service (with the sandbox) {:.2}", share(service_s)));
        let goose = share(self.costs.goose_s);
        format!("Of {cores} cores goose itself took {goose:.2}{service}: a machine that plays its own users is slower.")
    }
}
