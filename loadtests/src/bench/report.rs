//! Tells the figures: a table for people, `summary.json` for programs, and what was promised against what was measured.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::check::Violation;
use super::figures::Figures;
use super::machine::Machine;
use super::plan::{CONNECTIONS, COUPON_USERS, USERS};

/// Everything that one run found out.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The figures.
    pub figures: Figures,
    /// The broken rules behind `violations`.
    pub violations: Vec<Violation>,
    /// Where it ran.
    pub machine: Machine,
    /// Short windows: the figures mean little.
    pub quick: bool,
    /// Products that the orders were spread over, evenly.
    pub hot_products: u32,
}

/// A promise of the project. Only `violations` decides whether the run fails: the rest depends on the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What was promised.
    pub text: &'static str,
    /// What was measured.
    pub measured: f64,
    /// Whether it holds here.
    pub met: bool,
}

impl Summary {
    /// The promises, in the order of their keys.
    pub fn targets(&self) -> Vec<Target> {
        let f = &self.figures;
        let to_seed = ratio(f.accepted_orders_per_s, f.seed_design_orders_per_s);
        let to_single = ratio(f.redis_us_per_order, f.one_op_per_call_redis_us);
        let target = |text, measured: f64, met| Target { text, measured: round(measured), met };
        vec![
            target("orders_to_floor >= 0.25", f.orders_to_floor, f.orders_to_floor >= 0.25),
            target("accepted_orders_per_s >= 20 x seed_design_orders_per_s", to_seed, to_seed >= 20.0),
            target("writer_lag_s_at_end <= 2", f.writer_lag_s_at_end, f.writer_lag_s_at_end <= 2.0),
            target("redis_us_per_order <= 1/3 x one_op_per_call_redis_us", to_single, to_single <= 1.0 / 3.0),
            target(
                "forwarded_per_s >= forwarding_orders_per_s (98 % counts: the window cuts off the last batches)",
                ratio(f.forwarded_per_s, f.forwarding_orders_per_s),
                f.forwarded_per_s >= 0.98 * f.forwarding_orders_per_s,
            ),
            target("violations = 0", f.violations, f.violations == 0.0),
        ]
    }

    /// Writes `summary.json`: the figures by their keys, and what is needed to judge them.
    pub fn write(&self, file: &Path) -> Result<()> {
        let mut members = self.figures.to_json();
        let context: Map<String, Value> = [
            ("targets", json!(self.targets())),
            ("violations_found", json!(self.violations)),
            ("machine", json!(self.machine)),
            ("quick", json!(self.quick)),
            ("hot_products", json!(self.hot_products)),
            ("users", json!(USERS)),
            ("coupon_users", json!(COUPON_USERS)),
            ("connections", json!(CONNECTIONS)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        members.extend(context);
        Ok(std::fs::write(file, serde_json::to_string_pretty(&members)? + "\n")?)
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "the table is what the command is run for")]
    pub fn print(&self) {
        println!();
        for row in self.figures.rows() {
            println!("{:<30} {:>12} {:<10} {}", row.key, show(row.value), row.unit, row.meaning);
        }
        println!();
        for target in self.targets() {
            let verdict = if target.met { "PASS" } else { "FAIL" };
            println!("{verdict}  {:<56} measured: {}", target.text, show(target.measured));
        }
        for Violation { rule, count } in &self.violations {
            println!("VIOLATED {count} times: {rule}");
        }
        let Machine { cpus, cpu_model, kernel, redis, postgres } = &self.machine;
        println!("\n{cpus} x {cpu_model}, Linux {kernel}, Redis {redis} (appendfsync always), PostgreSQL {postgres}");
        println!(
            "{CONNECTIONS} connections, {USERS} users, {} hot products, evenly; coupons: {COUPON_USERS} users",
            self.hot_products
        );
        if self.quick {
            println!("Short windows (--quick): the figures mean little.");
        }
    }
}

/// 0 when there is nothing to compare with.
fn ratio(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { 0.0 }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// As many decimals as mean something.
fn show(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn small_figures_keep_their_decimals() {
        assert_eq!([22_600.4, 31.25, 0.2468, 0.0, 128.0].map(show), ["22600", "31.2", "0.247", "0", "128"]);
    }
}
