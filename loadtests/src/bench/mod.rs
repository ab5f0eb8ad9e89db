//! The bench: one run, private servers, every figure that the project promises something about.
//!
//! The order of the phases matters. The floor runs before anything else is started; each variant of the service has a
//! database of its own, which is dropped before the next phase, so that nobody pays for another's vacuum; Redis is
//! stopped before the seed design gets the machine.

mod check;
mod figures;
pub mod floor;
mod hset;
mod lag;
mod machine;
mod plan;
pub mod platform;
mod report;
mod responder;
mod seed_design;
mod servers;
mod service;
mod shop;
mod tokens;
mod tools;
mod trial;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use flashsale::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use figures::Figures;
use machine::Machine;
use plan::Plan;
use report::Summary;
use responder::Responder;
use seed_design::SeedDesign;
use servers::Servers;
use tokens::Tokens;
use tools::Tools;
use trial::{Measured, MeasuredCoupons, Trial};
use wrk::Wrk;

/// One op per call, and as many calls in flight as keep Redis busy: what a service without lanes would do.
const ONE_OP_PER_CALL: [(&str, &str); 2] =
    [("FLASHSALE_LANE_OPS_MAX", "1"), ("FLASHSALE_LANE_BATCHES_IN_FLIGHT_MAX", "64")];

/// What is shown while it runs: so many phases.
const STEPS: u64 = 11;

/// Arguments of `loadtests bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Short windows: shows that everything works; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Folder for the summary, the logs and, during the run, the servers' data
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Hot products that the orders are spread over, evenly; the seed design gets as many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    products: u32,
    /// A setting of the batched orders other than its default, such as `lane_ops_max=64`; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

/// A setting as the environment spells it.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((format!("FLASHSALE_{}", name.to_ascii_uppercase()), value.to_owned()))
}

/// What every phase needs.
pub struct Bench {
    plan: Plan,
    hot_products: u32,
    /// Summary and logs; stays.
    out: PathBuf,
    /// Data of the servers and files for wrk and pgbench; goes.
    data: PathBuf,
    tools: Tools,
    tokens: Tokens,
}

/// What the phases gave, before it becomes figures.
struct Phases {
    floor_per_s: f64,
    batched: Measured,
    sold_out_per_s: f64,
    coupons: MeasuredCoupons,
    forwarded: Measured,
    redis_hset_us: f64,
    single: Measured,
    seed_design: SeedDesign,
    violations: u64,
}

/// Runs it all. Fails when the books do not agree, or when something did not work.
pub async fn run(options: &Options) -> Result<ExitCode> {
    // When a signal comes, the other future is dropped, and with it every child.
    let summary = tokio::select! {
        summary = Box::pin(measure(options)) => summary?,
        signal = interrupted() => {
            signal?;
            bail!("interrupted");
        }
    };
    let file = options.out.join("summary.json");
    summary.write(&file).with_context(|| format!("cannot write {}", file.display()))?;
    summary.print();
    Ok(if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Summary> {
    let tools = Tools::find()?;
    std::fs::create_dir_all(&options.out)?;
    let out = options.out.canonicalize()?;
    // Declared before the servers, so that it is removed after they have ended.
    let data = tempfile::Builder::new().prefix("data-").tempdir_in(&out)?;
    let tokens = Tokens::mint(data.path())?;
    wrk::write_scripts(data.path())?;
    let plan = if options.quick { Plan::quick() } else { Plan::full() };
    let data_path = data.path().to_path_buf();
    let bench = Bench { plan, hot_products: options.products, out, data: data_path, tools, tokens };

    let progress = Progress::steps(STEPS, "");
    progress.step("the floor: bare HTTP");
    let floor_per_s = floor::measure(&bench).await?;

    let servers = Servers::start(&bench.data).await?;
    let machine = Machine::look(&servers).await?;

    progress.step("orders in batches");
    let settings: Vec<_> = options.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut trial = Trial::open(&bench, &servers, "bench_batched", &settings).await?;
    let batched = trial.measure(plan.batched_warm_up, plan.batched).await?;
    progress.step("a product with none left");
    let sold_out_per_s = trial.sold_out(plan.sold_out).await?;
    progress.step("coupons, and one with none left");
    let coupons = trial.coupons(&plan).await?;
    progress.step("the books");
    let mut violations = trial.close().await?;

    progress.step("orders with the forwarder at work");
    let platform = Responder::start(&bench, "platform").await?;
    let platform_url = format!("http://{}/", platform.address);
    let settings = [("FLASHSALE_PLATFORM_URL", platform_url.as_str())];
    let mut trial = Trial::open(&bench, &servers, "bench_forwarded", &settings).await?;
    let forwarded = trial.measure(plan.forwarded_warm_up, plan.forwarded).await?;
    progress.step("the books");
    violations.extend(trial.untold(platform.address).await?);
    violations.extend(trial.close().await?);
    drop(platform);

    progress.step("plain HSET");
    let redis_hset_us = hset::measure(&bench, &servers).await?;

    progress.step("orders with one op per call");
    let mut trial = Trial::open(&bench, &servers, "bench_single", &ONE_OP_PER_CALL).await?;
    let single = trial.measure(plan.single_warm_up, plan.single).await?;
    progress.step("the books");
    violations.extend(trial.close().await?);

    progress.step("the seed design");
    let Servers { redis, postgres } = servers;
    drop(redis);
    let seed_design = seed_design::measure(&bench, &postgres).await?;

    let phases = Phases {
        floor_per_s,
        batched,
        sold_out_per_s,
        coupons,
        forwarded,
        redis_hset_us,
        single,
        seed_design,
        violations: violations.iter().map(|violation| violation.count).sum(),
    };
    let figures = phases.figures();
    Ok(Summary { figures, violations, machine, quick: options.quick, hot_products: options.products })
}

impl Phases {
    fn figures(&self) -> Figures {
        let Self { batched, single, coupons, forwarded, .. } = self;
        let ms = |us: u64| us as f64 / 1000.0;
        let accepted_orders_per_s = batched.wrk.accepted_per_s();
        let errors = [&batched.wrk, &single.wrk, &coupons.wrk, &forwarded.wrk].map(Wrk::errors);
        Figures {
            floor_per_s: self.floor_per_s,
            accepted_orders_per_s,
            orders_to_floor: accepted_orders_per_s / self.floor_per_s,
            p50_ms: ms(batched.wrk.p50_us),
            p99_ms: ms(batched.wrk.p99_us),
            batch_mean: batched.batch_mean,
            redis_us_per_order: batched.redis_us,
            api_us_per_order: batched.api_us,
            postgres_us_per_order: batched.postgres_us,
            redis_hset_us: self.redis_hset_us,
            redis_bytes_per_order: batched.redis_bytes,
            one_op_per_call_orders_per_s: single.wrk.accepted_per_s(),
            one_op_per_call_redis_us: single.redis_us,
            sold_out_per_s: self.sold_out_per_s,
            coupons_per_s: coupons.issued_per_s,
            coupons_sold_out_per_s: coupons.sold_out_per_s,
            forwarding_orders_per_s: forwarded.wrk.accepted_per_s(),
            forwarded_per_s: forwarded.forwarded_per_s,
            forward_lag_events_at_end: forwarded.untold as f64,
            forward_drain_s: forwarded.told_s,
            forwarding_api_us: forwarded.api_us,
            seed_design_orders_per_s: self.seed_design.orders_per_s,
            writer_lag_s_at_end: batched.lag.seconds,
            drain_s: batched.drain_s,
            violations: self.violations as f64,
            p999_ms: ms(batched.wrk.p999_us),
            max_ms: ms(batched.wrk.max_us),
            wrk_errors: errors.iter().sum::<u64>() as f64,
            writer_lag_events_at_end: batched.lag.events as f64,
            redis_rewrite_us_per_order: batched.redis_rewrite_us,
            one_op_per_call_api_us: single.api_us,
            one_op_per_call_p99_ms: ms(single.wrk.p99_us),
            seed_design_clients: f64::from(self.seed_design.clients),
        }
    }
}
