//! Goose, configured in code.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction};
use goose::metrics::GooseMetrics;
use goose::{GooseAttack, is_killswitch_triggered};
use tokio::time::{Instant, sleep_until};

use super::run::Run;
use super::user::Session;

/// Shortest time until all users are there.
const HATCH_MIN: Duration = Duration::from_secs(1);

/// Goose starts no more users than one in this time.
const HATCH_ONE: Duration = Duration::from_millis(1);

/// From then until they begin.
const SPARE: Duration = Duration::from_secs(1);

/// Longest time for one answer: above what the service takes at most (`http_handler_timeout_ms`).
const ANSWER_TIMEOUT_S: u64 = 25;

/// How much of goose is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Attack<'a> {
    /// The public listener.
    pub url: &'a str,
    /// Users at the same time.
    pub users: usize,
    /// From the moment when they begin.
    pub time: Duration,
    /// Where goose's own report goes; without one goose counts no more than it must.
    pub report: Option<&'a Path>,
}

/// The scenario's first step: everybody gets his token, and waits until it begins.
pub fn arrive(run: Arc<Run>) -> Transaction {
    let arrive = Transaction::new(Arc::new(move |user| {
        let run = run.clone();
        Box::pin(async move {
            let begins = run.begins;
            user.set_session_data(Session::new(run, user.weighted_users_index));
            sleep_until(begins).await;
            Ok(())
        })
    }));
    arrive.set_name("arrive").set_on_start()
}

/// Time to start so many users.
fn hatch(users: usize) -> Duration {
    HATCH_MIN.max(HATCH_ONE * u32::try_from(users).unwrap_or(u32::MAX))
}

/// When so many users begin, all at once, if goose is started now.
pub fn beginning(users: usize) -> Instant {
    Instant::now() + hatch(users) + SPARE
}

/// Runs a scenario to its end. Ctrl-C ends it early, a second one ends this program.
pub async fn execute(scenario: Scenario, attack: &Attack<'_>) -> Result<GooseMetrics> {
    let configuration = GooseConfiguration::parse_args_default(&arguments(attack)?).context("goose's arguments")?;
    // One client for all, as many connections as there are requests on the way: goose's own clients would each read the
    // machine's certificates, for TLS that nobody speaks here.
    let client = GooseClientBuilder::new().without_cookies();
    let goose = GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(client)?
        .register_scenario(scenario);
    // Boxed, because it is a big future.
    Box::pin(goose.execute()).await.context("goose failed")
}

/// Whether somebody pressed Ctrl-C.
pub fn is_interrupted() -> bool {
    is_killswitch_triggered()
}

fn arguments(attack: &Attack<'_>) -> Result<Vec<String>> {
    let rate = attack.users as f64 / hatch(attack.users).as_secs_f64();
    // Goose counts from the moment when all are there.
    let time = attack.time + SPARE;
    let mut arguments: Vec<String> = [
        ("--host", attack.url.to_owned()),
        ("--users", attack.users.to_string()),
        ("--increase-rate", format!("{rate}")),
        ("--run-time", format!("{}s", time.as_secs().max(1))),
        ("--timeout", ANSWER_TIMEOUT_S.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    // Without its controllers (the other one, over WebSocket, is off unless asked for), its tables and its chatter.
    arguments
        .extend(["--no-telnet", "--no-reset-metrics", "--no-print-metrics", "--no-gzip", "--quiet"].map(str::to_owned));
    match attack.report {
        Some(report) => {
            let report = report.to_str().context("the report's path is not text")?;
            arguments.extend(["--co-mitigation", "average", "--report-file", report].map(str::to_owned));
        }
        None => arguments.extend(["--no-transaction-metrics", "--no-scenario-metrics"].map(str::to_owned)),
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goose_understands_its_arguments() {
        let report = Path::new("target/load/rush.html");
        for report in [None, Some(report)] {
            let time = Duration::from_secs(30);
            let attack = Attack { url: "http://127.0.0.1:8080", users: 200, time, report };
            let configuration = GooseConfiguration::parse_args_default(&arguments(&attack).expect("arguments"));
            let configuration = configuration.expect("goose knows these options");
            assert_eq!((configuration.users, configuration.run_time.as_deref()), (Some(200), Some("31s")));
            assert!(configuration.no_telnet && !configuration.websocket && configuration.no_reset_metrics);
            assert_eq!(configuration.report_file.len(), usize::from(report.is_some()));
        }
    }
}
