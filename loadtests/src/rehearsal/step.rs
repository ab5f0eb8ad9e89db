//! One step: so many users, for so long, and what was measured meanwhile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flashsale::metrics as names;
use goose::prelude::*;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::processes::{Cores, Processes};
use crate::load::attack::{self, Attack};
use crate::load::goods::Goods;
use crate::load::run::{Run, Users};
use crate::load::shop::Shop;
use crate::load::tally::{Done, Verdict};
use crate::load::times::{Times, ms};
use crate::load::{ORDER, buy};
use crate::shared::scrape::Scrape;

/// At the beginning of a step, before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Pause between two looks at the metrics.
const SAMPLE_PAUSE: Duration = Duration::from_millis(250);

/// Longest wait until nothing lags any more.
const DRAIN_MAX: Duration = Duration::from_mins(1);

/// Label of the data platform's metrics.
const PLATFORM: (&str, &str) = ("sink", "platform");

/// What one step gave.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Step {
    /// Users at the same time; each sends his next order when the last one is answered.
    pub users: u32,
    /// Orders that the service accepted.
    pub accepted_per_s: f64,
    /// Latency of all answers, median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Answers of 503 and 504.
    pub unavailable: u64,
    /// Answers that must not be.
    pub unexpected: u64,
    /// Cores in use.
    pub cores: Cores,
    /// Ops per call of Redis.
    pub batch_mean: f64,
    /// Ops that waited for a batch, at most.
    pub queue_ops_max: f64,
    /// Age of the oldest event that PostgreSQL did not have, at most.
    pub writer_lag_s_max: f64,
    /// Age of the oldest event that the data platform did not have, at most.
    pub forward_lag_s_max: f64,
}

/// A step, and what was done in it as its users saw it.
pub struct Measured {
    /// The figures.
    pub step: Step,
    /// Orders.
    pub done: Done,
}

/// Where and who.
pub struct Rehearsal<'a> {
    /// A private one.
    pub shop: &'a Shop,
    /// Enough for the biggest step.
    pub users: &'a Users,
    /// What they buy.
    pub goods: &'a Goods,
    /// Whose CPU is measured.
    pub processes: Processes,
    /// Length of a step.
    pub time: Duration,
}

impl Rehearsal<'_> {
    /// Runs a step.
    pub async fn step(&self, users: u32) -> Result<Measured> {
        let run = self.users.begin(
            usize::try_from(users)?,
            self.goods.clone(),
            attack::beginning(usize::try_from(users)?),
            &[],
        )?;
        let script = script(&run);
        let attack = Attack { url: &self.shop.url, users: usize::try_from(users)?, time: self.time, report: None };
        // On this task, so that children can be started from it still: see `child::command`.
        let (metrics, window) = tokio::join!(attack::execute(script, &attack), self.watch(run.begins));
        let (metrics, window) = (metrics?, window?);
        let answers = run.tally.answers();
        let rows: Vec<String> = answers.iter().map(|(answered, _)| answered.row()).collect();
        let times = Times::of(&metrics, &rows);
        let step = Step {
            users,
            p50_ms: ms(times.p50),
            p95_ms: ms(times.p95),
            p99_ms: ms(times.p99),
            unavailable: run.tally.with_verdict(Verdict::Unavailable),
            unexpected: run.tally.with_verdict(Verdict::Unexpected),
            ..window
        };
        Ok(Measured { step, done: run.tally.done(ORDER) })
    }

    /// Measures from outside what the users cannot see.
    async fn watch(&self, begins: Instant) -> Result<Step> {
        let ends = begins + self.time;
        sleep_until(begins + WARM_UP).await;
        let (before, cpu_before, began) = (self.scrape().await?, self.processes.cpu_s()?, Instant::now());
        let mut step = Step::default();
        let mut last = Scrape::default();
        while Instant::now() + SAMPLE_PAUSE < ends && !attack::is_interrupted() {
            sleep(SAMPLE_PAUSE).await;
            last = self.scrape().await?;
            step.queue_ops_max = step.queue_ops_max.max(last.sum(names::LANE_QUEUE_OPS, &[]));
            step.writer_lag_s_max = step.writer_lag_s_max.max(last.sum(names::WRITER_LAG_SECONDS, &[]));
            step.forward_lag_s_max = step.forward_lag_s_max.max(last.sum(names::FORWARD_LAG_SECONDS, &[PLATFORM]));
        }
        let cpu_after = self.processes.cpu_s()?;
        let seconds = began.elapsed().as_secs_f64();
        step.cores = cpu_after.since(cpu_before, seconds);
        let counted = |name: &str, labels: &[(&str, &str)]| last.counted_since(&before, name, labels).max(0.0);
        step.accepted_per_s = counted(names::LANE_OPS, &[("op", "place_order"), ("outcome", "done")]) / seconds;
        let batches = counted(&format!("{}_count", names::LANE_BATCH_OPS), &[]).max(1.0);
        step.batch_mean = counted(&format!("{}_sum", names::LANE_BATCH_OPS), &[]) / batches;
        Ok(step)
    }

    /// Waits until PostgreSQL and the platform have everything, so that a step does not pay for the one before.
    pub async fn drain(&self) -> Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        while Instant::now() < deadline && !attack::is_interrupted() {
            let scrape = self.scrape().await?;
            let behind = scrape.sum(names::WRITER_LAG_EVENTS, &[]) + scrape.sum(names::FORWARD_LAG_EVENTS, &[PLATFORM]);
            if behind == 0.0 {
                return Ok(());
            }
            sleep(SAMPLE_PAUSE).await;
        }
        Ok(())
    }

    async fn scrape(&self) -> Result<Scrape> {
        Scrape::of(self.shop.operations).await.context("the service's metrics")
    }
}

fn script(run: &Arc<Run>) -> Scenario {
    Scenario::new("rehearsal")
        .register_transaction(attack::arrive(run.clone()))
        .register_transaction(transaction!(buy).set_name("buy"))
}
