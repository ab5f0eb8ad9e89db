//! Runs wrk with one of the scripts in `wrk/` and reads its result.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Bench;
use super::plan::{CONNECTIONS, THREADS};
use crate::shared::child;

/// A script by its name.
type Script = (&'static str, &'static str);

const ORDERS: Script =
    ("orders.lua", concat!(include_str!("../../wrk/common.lua"), include_str!("../../wrk/orders.lua")));

const COUPONS: Script =
    ("coupons.lua", concat!(include_str!("../../wrk/common.lua"), include_str!("../../wrk/coupons.lua")));

/// Starts the line that the script prints at the end.
const RESULT_PREFIX: &str = "WRK ";

/// What the connections ask for.
#[derive(Clone, Copy, Debug)]
pub enum Load<'a> {
    /// Orders: one unit of one of these products.
    Orders(&'a [u32]),
    /// Coupons: everybody takes the first of these, then everybody the second, and so on.
    Coupons(&'a [u32]),
}

/// What one run counted. Times are in microseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Wrk {
    /// Answers of any status.
    pub requests: u64,
    /// Length of the run.
    pub duration_us: u64,
    /// Answers with a status of 400 or above.
    pub non_2xx: u64,
    /// Connections, reads and writes that failed.
    pub socket_errors: u64,
    /// Answers that took longer than wrk's patience; most come later and count as requests too.
    pub timeouts: u64,
    /// Median of the latency.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Wrk {
    /// Answers of 2xx (nothing under test redirects).
    pub fn accepted(&self) -> u64 {
        self.requests - self.non_2xx
    }

    /// Answers of 2xx per second.
    pub fn accepted_per_s(&self) -> f64 {
        self.per_s(self.accepted() as f64)
    }

    /// `count` per second of this run.
    pub fn per_s(&self, count: f64) -> f64 {
        count * 1e6 / self.duration_us as f64
    }

    /// Everything that was no answer of 2xx in time.
    pub fn errors(&self) -> u64 {
        self.non_2xx + self.socket_errors + self.timeouts
    }

    /// Requests whose outcome wrk did not see: those in flight when it stopped, and those of broken connections.
    pub fn unseen_max(&self) -> u64 {
        u64::from(CONNECTIONS) + self.socket_errors
    }
}

/// Writes the scripts for wrk to read.
pub fn write_scripts(data: &Path) -> Result<()> {
    for (name, text) in [ORDERS, COUPONS] {
        std::fs::write(data.join(name), text)?;
    }
    Ok(())
}

/// One run against `address`, with keys that no other run uses.
pub async fn run(bench: &Bench, address: SocketAddr, load: Load<'_>, duration: Duration) -> Result<Wrk> {
    let ((script, _), tokens, ids) = match load {
        Load::Orders(products) => (ORDERS, &bench.tokens.file, products),
        Load::Coupons(coupons) => (COUPONS, &bench.tokens.coupon_file, coupons),
    };
    let mut command = child::command(&bench.tools.wrk);
    command
        .args(["--threads", &THREADS.to_string(), "--connections", &CONNECTIONS.to_string(), "--timeout", "10s"])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .arg("--script")
        .arg(bench.data.join(script))
        .arg(format!("http://{address}"))
        .arg("--")
        .arg(tokens)
        .arg(format!("{:016x}", rand::random::<u64>()))
        .arg(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
        .arg(THREADS.to_string());
    let output = child::run("wrk", &mut command).await?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(output: &str) -> Result<Wrk> {
    let line = output.lines().find_map(|line| line.strip_prefix(RESULT_PREFIX));
    let line = line.with_context(|| format!("wrk printed no result:\n{output}"))?;
    serde_json::from_str(line).with_context(|| format!("wrk printed a result that cannot be read: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_script_s_line() {
        let output = "Running 2s test\n  Non-2xx or 3xx responses: 5\nWRK {\"requests\":105,\"duration_us\":2000000,\
                      \"non_2xx\":5,\"socket_errors\":1,\"timeouts\":0,\"p50_us\":570,\"p99_us\":7823,\
                      \"p999_us\":20367,\"max_us\":33170}\n";
        let wrk = parse(output).expect("a result");
        assert_eq!((wrk.accepted(), wrk.unseen_max()), (100, u64::from(CONNECTIONS) + 1));
        assert!((wrk.accepted_per_s() - 50.0).abs() < 1e-9);
        assert_eq!(wrk.errors(), 6);
        assert!(parse("unable to connect").is_err());
    }
}
