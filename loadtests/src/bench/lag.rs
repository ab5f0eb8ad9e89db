//! How far the log is in Redis and how far PostgreSQL has it, seen from outside: the writer's lag is measured here, not
//! taken from the service's own word.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flashsale::redis::keys::CellKeys;
use fred::clients::Client as Redis;
use fred::interfaces::HashesInterface as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client as Postgres;

/// Pause between two samples of the sequence number: the resolution of the lag.
const SAMPLE_PAUSE: Duration = Duration::from_millis(20);

/// Pause between two looks while draining.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// A writer that needs longer than this is not catching up.
const DRAIN_MAX: Duration = Duration::from_mins(3);

/// The sequence number was (at least) `seq` at `at`.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    seq: u64,
}

/// Sequence number of the last event in the log.
pub async fn logged(redis: &Redis, keys: &CellKeys) -> Result<u64> {
    let seq: Option<u64> = redis.hget(keys.meta(), "seq").await?;
    Ok(seq.unwrap_or(0))
}

/// Sequence number of the last event in PostgreSQL.
pub async fn committed(postgres: &Postgres) -> Result<u64> {
    let row = postgres.query_opt("SELECT seq FROM writer_cursor WHERE cell = 0", &[]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0)).try_into()?)
}

/// Sequence number of the last event that the data platform has acknowledged, with all before it; `None`: nobody tells it.
pub async fn told(postgres: &Postgres) -> Result<Option<u64>> {
    let row = postgres.query_opt("SELECT seq FROM sink_cursors WHERE cell = 0 AND sink = 'platform'", &[]).await?;
    Ok(row.map(|row| row.get::<_, i64>(0).try_into()).transpose()?)
}

/// Waits until the data platform has everything that PostgreSQL has, if anybody tells it.
pub async fn drain_told(postgres: &Postgres) -> Result<()> {
    let deadline = Instant::now() + DRAIN_MAX;
    while let Some(told) = told(postgres).await? {
        let committed = committed(postgres).await?;
        if told >= committed {
            break;
        }
        if Instant::now() > deadline {
            bail!("the forwarder does not catch up: {told} of {committed} events told after {DRAIN_MAX:?}");
        }
        sleep(DRAIN_PAUSE).await;
    }
    Ok(())
}

/// Waits until PostgreSQL has everything that the log has.
pub async fn drain(redis: &Redis, keys: &CellKeys, postgres: &Postgres) -> Result<()> {
    let deadline = Instant::now() + DRAIN_MAX;
    loop {
        // In this order: the log may grow in between, and then PostgreSQL does not have everything.
        let logged = logged(redis, keys).await?;
        let committed = committed(postgres).await?;
        if committed >= logged {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the writer does not catch up: {committed} of {logged} events in PostgreSQL after {DRAIN_MAX:?}");
        }
        sleep(DRAIN_PAUSE).await;
    }
}

/// How far PostgreSQL was behind.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// Age of the oldest event that it did not have, give or take one sampling pause.
    pub seconds: f64,
    /// Events that it did not have.
    pub events: u64,
}

/// Notes the sequence number over time, so that the age of an event can be told later.
pub struct Sampler {
    stop: oneshot::Sender<()>,
    samples: JoinHandle<Result<Vec<Sample>>>,
}

impl Sampler {
    /// Samples until [`Sampler::lag`] is called, or until it is dropped.
    pub fn start(redis: Redis, keys: CellKeys) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let samples = tokio::spawn(async move {
            let mut samples = Vec::new();
            loop {
                // The time is taken first: what was logged by then is not older than said.
                let at = Instant::now();
                samples.push(Sample { at, seq: logged(&redis, &keys).await? });
                tokio::select! {
                    _ = &mut stopped => return anyhow::Ok(samples),
                    () = sleep(SAMPLE_PAUSE) => {}
                }
            }
        });
        Self { stop, samples }
    }

    /// The lag right now.
    pub async fn lag(self, redis: &Redis, keys: &CellKeys, postgres: &Postgres) -> Result<Lag> {
        let now = Instant::now();
        let committed = committed(postgres).await?;
        let logged = logged(redis, keys).await?;
        // The task may have failed already: then its own error is the one to tell.
        let _ = self.stop.send(());
        let samples = self.samples.await.context("the sampler panicked")??;
        Ok(Lag { seconds: age(&samples, committed, now).as_secs_f64(), events: logged.saturating_sub(committed) })
    }
}

/// At `now`, how old the first event above `committed` is: it came after the last sample that did not have it.
fn age(samples: &[Sample], committed: u64, now: Instant) -> Duration {
    let first_with_it = samples.iter().position(|sample| sample.seq > committed);
    let last_without = first_with_it.map(|index| samples[index.saturating_sub(1)].at);
    last_without.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_counted_from_the_last_moment_without_the_event() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let samples = [Sample { at: at(0), seq: 10 }, Sample { at: at(20), seq: 20 }, Sample { at: at(40), seq: 30 }];
        assert_eq!(age(&samples, 30, at(50)), Duration::ZERO);
        assert_eq!(age(&samples, 25, at(50)), Duration::from_millis(30));
        assert_eq!(age(&samples, 15, at(50)), Duration::from_millis(50));
        assert_eq!(age(&samples, 5, at(50)), Duration::from_millis(50));
        assert_eq!(age(&[], 5, at(50)), Duration::ZERO);
    }
}
