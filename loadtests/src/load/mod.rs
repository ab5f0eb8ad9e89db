//! `loadtests load`: users played by goose against a shop, and then its books.
//!
//! The order: a shop, users with money, what the scenario needs, the load, the service's own comparison of its books,
//! the rules that must hold, the report. Figures are told; only broken rules and thresholds fail a run.

pub mod attack;
pub mod books;
pub mod goods;
mod report;
pub mod run;
mod scenario;
pub mod shop;
pub mod table;
pub mod tally;
pub mod times;
pub mod user;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use flashsale::progress::Progress;
use goose::goose::Scenario;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use attack::Attack;
use books::{After, Books, Rule};
use goods::Clerk;
use report::{Costs, Report};
use run::Users;
use scenario::browse_and_buy::BrowseAndBuy;
use scenario::coupon_storm::CouponStorm;
use scenario::reserve_and_pay::ReserveAndPay;
use scenario::retry_storm::RetryStorm;
use scenario::rush::Rush;
pub use scenario::rush::buy;
use scenario::sold_out::SoldOut;
pub use scenario::{ORDER, Plan, Story};
use shop::{Shop, Target};
use tally::Verdict;
use watch::Watch;

/// The sale opens this much behind the first requests: some people are always too early.
const TOO_EARLY: Duration = Duration::from_millis(100);

/// Arguments of `loadtests load`.
#[derive(Debug, Args)]
pub struct Options {
    /// What the users do
    #[arg(long, value_enum)]
    scenario: Name,
    /// Users at the same time, each with a token of his own
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,
    /// How long, such as 30s or 2m
    #[arg(long, default_value = "30s", value_parser = duration)]
    time: Duration,
    /// Units on sale in `rush`
    #[arg(long, default_value_t = 50_000)]
    stock: u64,
    /// The run fails when the 99th percentile of the scenario's main request is above this
    #[arg(long, value_name = "MS")]
    p99_ms: Option<f64>,
    /// Folder for goose's report and the log of a private shop
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// The scenarios, as the command line spells them.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Name {
    /// Everybody buys the hot product the moment the sale opens
    Rush,
    /// Most people look around, some fill a cart, few order it
    BrowseAndBuy,
    /// Everybody wants one limited coupon
    CouponStorm,
    /// Orders of a product with none left
    SoldOut,
    /// Every order is sent two to five times under its key, some of them at once
    RetryStorm,
    /// Reservations are paid, cancelled or left to expire
    ReserveAndPay,
}

/// `30s`, `2m` or `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "s")) => (number, 1),
        Some((number, "m")) => (number, 60),
        Some((number, "h")) => (number, 3600),
        _ => return Err("expected something like 30s, 2m or 1h".to_owned()),
    };
    let seconds = number.parse::<u32>().ok().filter(|number| *number > 0).and_then(|number| number.checked_mul(factor));
    let seconds = seconds.ok_or("expected a whole number above 0 in front of s, m or h")?;
    Ok(Duration::from_secs(seconds.into()))
}

/// Runs a scenario. Fails when a rule is broken or a threshold is passed, or when something did not work.
pub async fn run(options: &Options) -> Result<ExitCode> {
    until_interrupted(async {
        let report = match options.scenario {
            Name::Rush => load::<Rush>(options).await,
            Name::BrowseAndBuy => load::<BrowseAndBuy>(options).await,
            Name::CouponStorm => load::<CouponStorm>(options).await,
            Name::SoldOut => load::<SoldOut>(options).await,
            Name::RetryStorm => load::<RetryStorm>(options).await,
            Name::ReserveAndPay => load::<ReserveAndPay>(options).await,
        }?;
        report.print();
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

/// When a signal comes, the work is dropped, and with it every child. From goose's start on Ctrl-C is its own: the load
/// ends early, and the rest is done as usual.
pub async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = Box::pin(work) => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}

async fn load<S: Story>(options: &Options) -> Result<Report> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot create {}", options.out.display()))?;
    let out = options.out.canonicalize()?;
    let log = out.join(format!("{}.log", S::NAME));
    let progress = Progress::start("the shop");
    let shop = Shop::open(&options.target, &log, S::SETTINGS, options.time).await?;
    let report =
        shop.explain(load_shop::<S>(options, &shop, progress, &out.join(format!("{}.html", S::NAME))).await)?;
    shop.close().await?;
    Ok(report)
}

async fn load_shop<S: Story>(
    options: &Options,
    shop: &Shop,
    progress: Progress,
    html: &std::path::Path,
) -> Result<Report> {
    progress.phase(format!("{} users and their money", options.users));
    let users = Users::mint(shop, options.users)?;
    goods::charge_all(shop.public, &users.tokens).await?;

    let begins = attack::beginning(users.tokens.len());
    let opens = Timestamp::now().checked_add(begins.saturating_duration_since(Instant::now()) + TOO_EARLY)?;
    let plan = Plan { users: options.users, stock: options.stock, opens };
    let goods = S::prepare(&mut Clerk::of(shop).await?, &plan).await?;
    let run = users.begin(users.tokens.len(), goods, begins, S::EXPECTED)?;

    drop(progress);
    let before = Costs::so_far(shop);
    let watch = Watch::start(&run, S::NAME, options.time);
    let script = S::script(Scenario::new(S::NAME).register_transaction(attack::arrive(run.clone())))?;
    let attack = Attack { url: &shop.url, users: users.tokens.len(), time: options.time, report: Some(html) };
    let metrics = attack::execute(script, &attack).await?;
    drop(watch);
    let costs = Costs::so_far(shop).since(before);

    let _progress = Progress::start("the books");
    let mut rules = answered(&run, S::MAIN);
    rules.push(books::verify(shop).await?);
    if let Some(url) = &shop.database_url {
        let after = After { shop, run: &run, books: Books::open(url).await? };
        rules.extend(S::rules(&after).await?);
    }
    rules.extend(run.tally.broken().into_iter().map(|(rule, count)| Rule::new(rule, count)));
    Ok(Report {
        name: S::NAME,
        main: S::MAIN,
        users: options.users,
        asked_postgres: shop.database_url.is_some(),
        interrupted: attack::is_interrupted(),
        p99_max_ms: options.p99_ms,
        html: html.to_owned(),
        rules,
        costs,
        run,
        metrics,
    })
}

/// What must hold of the answers of every load.
fn answered(run: &run::Run, main: tally::Call) -> Vec<Rule> {
    let tally = &run.tally;
    let unexpected = tally.with_verdict(Verdict::Unexpected);
    let limited = tally.count(|answered| answered.status == 429);
    let mut details: Vec<String> = tally.reasons().iter().map(|reason| format!("no answer: {reason}")).collect();
    if limited > 0 {
        details
            .push("429 is the limit per user: start the shop with FLASHSALE_HTTP_USER_REQUESTS_PER_S_MAX=0".to_owned());
    }
    let text = "every answer is 2xx, a refusal that belongs to the scenario, 503 or 504";
    let decided = tally.count(|answered| answered.call == main && (200..500).contains(&answered.status));
    vec![
        Rule::holds("the shop decided, and did not only refuse to (503, 504)", decided > 0),
        Rule { details, ..Rule::new(text, unexpected) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(
            [duration("30s"), duration("2m"), duration("1h")],
            [30, 120, 3600].map(|s| Ok(Duration::from_secs(s)))
        );
        for wrong in ["", "s", "30", "-1s", "0s", "1.5s", "30 s", "5000000h", "ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_the_stories() {
        let names: Vec<String> = Name::value_variants()
            .iter()
            .filter_map(|name| Some(name.to_possible_value()?.get_name().to_owned()))
            .collect();
        let stories =
            [Rush::NAME, BrowseAndBuy::NAME, CouponStorm::NAME, SoldOut::NAME, RetryStorm::NAME, ReserveAndPay::NAME];
        assert_eq!(names, stories);
    }
}
