//! `loadtests rehearsal`: more and more buyers against a private shop, until it is known how many orders this machine
//! sustains and what stops it from more.

mod knee;
mod page;
mod processes;
mod step;
mod svg;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use flashsale::progress::Progress;
use serde_json::json;

use crate::load::attack::is_interrupted;
use crate::load::books::{self, Books, Rule};
use crate::load::goods::{Clerk, Goods, PLENTY, charge_all};
use crate::load::run::Users;
use crate::load::shop::{Shop, Target};
use crate::load::tally::Done;
use crate::load::{duration, until_interrupted};
use knee::{Bounds, find, sentence, spoiled_by_others};
use processes::{Platform, Processes};
use step::{Rehearsal, Step};

/// Shortest step: its first second is not counted.
const TIME_MIN: Duration = Duration::from_secs(3);

/// Arguments of `loadtests rehearsal`.
#[derive(Debug, Args)]
pub struct Options {
    /// Length of a step, such as 10s
    #[arg(long, default_value = "10s", value_parser = duration)]
    time_per_step: Duration,
    /// Users of each step
    #[arg(long, default_value = "8,16,32,64,128,256,512", value_delimiter = ',', value_parser = users)]
    steps: Vec<u32>,
    /// A step with a 99th percentile above this is not sustained
    #[arg(long, value_name = "MS", default_value_t = 500.0)]
    p99_ms: f64,
    /// A step in which PostgreSQL or the data platform falls behind by more than this is not sustained
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    lag_s: f64,
    /// Folder for rehearsal.html, rehearsal.json and the logs
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    /// A setting of the shop other than its default, such as `lane_ops_max=64`; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = crate::load::shop::setting)]
    set: Vec<(String, String)>,
}

/// How many users a step can have.
fn users(text: &str) -> Result<u32, String> {
    let users = text.trim().parse().ok().filter(|users| (1..=10_000).contains(users));
    users.ok_or_else(|| "expected numbers from 1 to 10000, such as 8,16,32".to_owned())
}

/// Runs it all. Fails when the books do not agree, or when something did not work; how fast it is decides nothing.
pub async fn run(options: &Options) -> Result<ExitCode> {
    until_interrupted(rehearse(options)).await
}

async fn rehearse(options: &Options) -> Result<ExitCode> {
    ensure!(options.time_per_step >= TIME_MIN, "a step takes at least {} s", TIME_MIN.as_secs());
    let cores = std::thread::available_parallelism()?.get();
    let bounds = Bounds { p99_ms: options.p99_ms, lag_s: options.lag_s, cores };
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot create {}", options.out.display()))?;
    let out = options.out.canonicalize()?;

    // The shop, the steps, the books.
    let progress = Progress::steps(options.steps.len() as u64 + 2, "");
    progress.step("the shop");
    let platform = Platform::start(&out.join("rehearsal-platform.log")).await?;
    let settings = [("FLASHSALE_PLATFORM_URL", platform.url.as_str())];
    let time = options.time_per_step * u32::try_from(options.steps.len())?;
    let target = Target::private(&options.set);
    let shop = Shop::open(&target, &out.join("rehearsal.log"), &settings, time).await?;
    let (steps, rules) = shop.explain(climb(options, &shop, &platform, &progress).await)?;
    shop.close().await?;
    drop(platform);
    drop(progress);

    tell(&out, &steps, &bounds, options.time_per_step, &rules)?;
    Ok(if rules.iter().all(|rule| rule.broken == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Step by step, and the books at the end.
async fn climb(
    options: &Options,
    shop: &Shop,
    platform: &Platform,
    progress: &Progress,
) -> Result<(Vec<Step>, Vec<Rule>)> {
    let most = options.steps.iter().copied().max().context("there is a step")?;
    let users = Users::mint(shop, most)?;
    charge_all(shop.public, &users.tokens).await?;
    let product = Clerk::of(shop).await?.product("Rehearsed", PLENTY, None).await?;
    let goods = Goods { products: vec![product], ..Goods::default() };
    let processes = Processes::of(shop.pid().context("the shop is a private one")?, platform)?;
    let rehearsal = Rehearsal { shop, users: &users, goods: &goods, processes, time: options.time_per_step };

    let (mut steps, mut done) = (Vec::new(), Done::default());
    for count in &options.steps {
        progress.step(format!("{count} users"));
        let measured = rehearsal.step(*count).await?;
        done = done.and(measured.done);
        if !is_interrupted() {
            steps.push(measured.step);
            rehearsal.drain().await?;
        }
        // Asked again: the next step would forget a Ctrl-C that came meanwhile.
        if is_interrupted() {
            eprintln!("interrupted: this step and those behind it are left out");
            break;
        }
    }

    progress.step("the books");
    let mut rules = vec![books::verify(shop).await?];
    let database_url = shop.database_url.as_deref().context("a private shop has a PostgreSQL")?;
    let rows = Books::open(database_url).await?;
    let orders = rows.orders(&goods.products).await?;
    let text = format!("{orders} orders in PostgreSQL, {} answered, {} unknown", done.seen, done.unknown);
    rules.push(Rule::new(text, done.missed_by(orders)));
    let wrong = rows.wrong_products(&goods.products).await?;
    rules.push(Rule::new("initial stock = available + reserved + sold, and orders say the same", wrong));
    let unexpected = steps.iter().map(|step| step.unexpected).sum();
    rules.push(Rule::new("every answer is 201, 503 or 504", unexpected));
    Ok((steps, rules))
}

/// Writes the page and the figures, and prints the summary.
#[expect(clippy::print_stdout, reason = "the summary is what the command is run for")]
fn tell(out: &Path, steps: &[Step], bounds: &Bounds, time: Duration, rules: &[Rule]) -> Result<()> {
    let finding = find(steps, bounds);
    let summary = sentence(steps, &finding);
    let (page, figures) = (out.join("rehearsal.html"), out.join("rehearsal.json"));
    std::fs::write(&page, page::render(steps, &finding, bounds, time.as_secs()))
        .with_context(|| format!("cannot write {}", page.display()))?;
    let summary_json = json!({
        "summary": summary,
        "sustained": finding.knee.map(|knee| &steps[knee]),
        "first_limit": finding.limit.map(|(index, limit)| json!({
            "users": steps[index].users,
            "limit": limit.to_string(),
        })),
        "bounds": bounds,
        "seconds_per_step": time.as_secs(),
        "violations": rules.iter().filter(|rule| rule.broken > 0).map(|rule| &rule.text).collect::<Vec<_>>(),
        "steps": steps,
    });
    std::fs::write(&figures, serde_json::to_string_pretty(&summary_json)? + "\n")
        .with_context(|| format!("cannot write {}", figures.display()))?;

    for rule in rules {
        println!("{}", rule.lines());
    }
    println!("{}\n{}", page.display(), figures.display());
    if let Some(others) = spoiled_by_others(steps, &finding, bounds) {
        println!("Others on this machine took {others:.2} cores meanwhile: the figures mean little.");
    }
    println!("{summary}");
    Ok(())
}
