//! What the steps say: how much the machine sustains, and what stopped it.

use std::fmt;

use serde::Serialize;

use super::processes::Cores;
use super::step::Step;

/// A step with this share of the best throughput is as good: more users only wait longer.
const NEARLY_BEST: f64 = 0.95;

/// Share of a core or of all of them from which on they are used up: kernels and neighbours take the rest.
const USED_UP: f64 = 0.9;

/// Share of all cores from which on others spoil the figures.
const OTHERS_MAX: f64 = 0.1;

/// What a step must not pass to count as sustained.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// 99th percentile of the latency.
    pub p99_ms: f64,
    /// Lag of the writer and of the forwarder.
    pub lag_s: f64,
    /// Cores of the machine.
    pub cores: usize,
}

/// Something that a step ran into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Answers that must not be: a bug, or a shop that is not ours alone.
    Unexpected(u64),
    /// 503 and 504.
    Unavailable(u64),
    /// Redis decides on one thread.
    Redis(f64),
    /// All cores.
    Machine(Cores),
    /// PostgreSQL falls behind.
    WriterLag(f64),
    /// The data platform falls behind.
    ForwardLag(f64),
    /// Buyers wait too long.
    P99(f64),
    /// Half of the users wait for a batch, and nobody's CPU is used up: it is the round trip, with the disk in it.
    Lane(f64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected(count) => write!(f, "{count} answers that must not be"),
            Self::Unavailable(count) => write!(f, "{count} answers of 503 or 504"),
            Self::Redis(cores) => write!(f, "Redis, which decides on one thread: {:.0} % of a core", cores * 100.0),
            Self::Machine(cores) => {
                let Cores { goose, service, redis, postgres, platform, machine } = cores;
                write!(
                    f,
                    "the machine's CPU: {machine:.2} cores busy, of them goose {goose:.2}, the service {service:.2}, \
                     Redis {redis:.2}, PostgreSQL {postgres:.2}, the platform {platform:.2}, others {:.2}",
                    cores.others()
                )
            }
            Self::WriterLag(seconds) => write!(f, "the writer: PostgreSQL is {seconds:.1} s behind"),
            Self::ForwardLag(seconds) => write!(f, "the forwarder: the data platform is {seconds:.1} s behind"),
            Self::P99(ms) => write!(f, "latency: p99 is {ms:.0} ms"),
            Self::Lane(ops) => write!(f, "the lane: up to {ops:.0} orders wait for a batch, and no CPU is used up"),
        }
    }
}

/// What the steps say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Index of the step with the fewest users that gives (nearly) the best throughput that is sustained.
    pub knee: Option<usize>,
    /// Index of the step that ran into it, and what it is. `None`: the steps ended first.
    pub limit: Option<(usize, Limit)>,
}

/// Why a step does not count as sustained.
fn breaks(step: &Step, bounds: &Bounds) -> Option<Limit> {
    if step.unexpected > 0 {
        Some(Limit::Unexpected(step.unexpected))
    } else if step.unavailable > 0 {
        Some(Limit::Unavailable(step.unavailable))
    } else if step.writer_lag_s_max > bounds.lag_s {
        Some(Limit::WriterLag(step.writer_lag_s_max))
    } else if step.forward_lag_s_max > bounds.lag_s {
        Some(Limit::ForwardLag(step.forward_lag_s_max))
    } else {
        (step.p99_ms > bounds.p99_ms).then_some(Limit::P99(step.p99_ms))
    }
}

/// What is used up in a step, be it sustained or not.
fn used_up(step: &Step, bounds: &Bounds) -> Option<Limit> {
    if step.cores.redis >= USED_UP {
        Some(Limit::Redis(step.cores.redis))
    } else if step.cores.machine >= USED_UP * bounds.cores as f64 {
        Some(Limit::Machine(step.cores))
    } else {
        None
    }
}

/// Finds the knee and the first limit.
pub fn find(steps: &[Step], bounds: &Bounds) -> Finding {
    let sustained = steps.iter().take_while(|step| breaks(step, bounds).is_none()).count();
    let best = steps[..sustained].iter().map(|step| step.accepted_per_s).fold(0.0, f64::max);
    let knee = steps[..sustained].iter().position(|step| step.accepted_per_s >= NEARLY_BEST * best);
    // At the knee something is used up already, or it is what a later step runs into.
    let from = knee.unwrap_or(0);
    let limits = steps.iter().enumerate().skip(from);
    let limit = limits.clone().find_map(|(index, step)| {
        let limit = used_up(step, bounds).or_else(|| breaks(step, bounds))?;
        Some((index, limit))
    });
    let waiting = || {
        let grows = knee.is_some_and(|knee| knee + 1 == steps.len());
        let waits = |(_, step): &(usize, &Step)| step.queue_ops_max >= f64::from(step.users) / 2.0;
        let (index, step) = limits.clone().find(waits).filter(|_| !grows)?;
        Some((index, Limit::Lane(step.queue_ops_max)))
    };
    Finding { knee, limit: limit.or_else(waiting) }
}

/// Cores that others took at the knee (without one: in the first step), if so many that the figures mean little.
pub fn spoiled_by_others(steps: &[Step], finding: &Finding, bounds: &Bounds) -> Option<f64> {
    let others = steps.get(finding.knee.unwrap_or(0))?.cores.others();
    (others > OTHERS_MAX * bounds.cores as f64).then_some(others)
}

/// One sentence for people.
pub fn sentence(steps: &[Step], finding: &Finding) -> String {
    let sustains = match finding.knee.map(|knee| &steps[knee]) {
        Some(step) => format!(
            "this machine sustains {:.0} accepted orders/s with p99 {:.1} ms ({} users)",
            step.accepted_per_s, step.p99_ms, step.users
        ),
        None => "this machine sustains none of these steps".to_owned(),
    };
    let limit = match &finding.limit {
        Some((index, limit)) => format!("{limit} (at {} users)", steps[*index].users),
        None => "not found, the steps ended first".to_owned(),
    };
    format!("{sustains}; first limit: {limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { p99_ms: 500.0, lag_s: 2.0, cores: 2 };

    fn step(users: u32, accepted_per_s: f64, machine: f64) -> Step {
        let cores = Cores { machine, redis: 0.3, ..Cores::default() };
        Step { users, accepted_per_s, p99_ms: 10.0, cores, ..Step::default() }
    }

    #[test]
    fn the_knee_is_where_more_users_bring_no_more_orders() {
        let steps = [step(8, 2_000.0, 1.2), step(16, 3_900.0, 1.7), step(32, 4_000.0, 1.9), step(64, 4_050.0, 1.95)];
        let finding = find(&steps, &BOUNDS);
        assert_eq!(finding.knee, Some(1));
        assert_eq!(finding.limit, Some((2, Limit::Machine(steps[2].cores))));
        let sentence = sentence(&steps, &finding);
        let begins =
            "this machine sustains 3900 accepted orders/s with p99 10.0 ms (16 users); first limit: the machine";
        assert!(sentence.starts_with(begins) && sentence.ends_with("(at 32 users)"), "{sentence}");
    }

    #[test]
    fn a_step_that_refuses_is_not_sustained_and_none_behind_it() {
        let mut steps = [step(8, 2_000.0, 1.0), step(16, 4_000.0, 1.0), step(32, 9_000.0, 1.0)];
        steps[1].unavailable = 5;
        assert_eq!(find(&steps, &BOUNDS), Finding { knee: Some(0), limit: Some((1, Limit::Unavailable(5))) });
        steps[0].p99_ms = 600.0;
        let finding = find(&steps, &BOUNDS);
        assert_eq!(finding, Finding { knee: None, limit: Some((0, Limit::P99(600.0))) });
        assert!(sentence(&steps, &finding).contains("none of these steps"));
    }

    #[test]
    fn others_are_told_of_when_they_take_much() {
        let mut steps = [step(8, 2_000.0, 1.9)];
        let spoiled = |steps: &[Step]| spoiled_by_others(steps, &find(steps, &BOUNDS), &BOUNDS).is_some();
        assert!(spoiled(&steps), "nobody else has an account");
        steps[0].cores.goose = 1.5;
        assert!(!spoiled(&steps) && !spoiled(&[]));
    }

    #[test]
    fn every_limit_is_found() {
        let run = |change: fn(&mut Step)| {
            let mut steps = [step(8, 2_000.0, 1.0), step(16, 2_010.0, 1.0)];
            change(&mut steps[1]);
            find(&steps, &BOUNDS).limit.map(|(_, limit)| limit)
        };
        assert_eq!(run(|step| step.cores.redis = 0.95), Some(Limit::Redis(0.95)));
        assert_eq!(run(|step| step.writer_lag_s_max = 3.0), Some(Limit::WriterLag(3.0)));
        assert_eq!(run(|step| step.forward_lag_s_max = 3.0), Some(Limit::ForwardLag(3.0)));
        assert_eq!(run(|step| step.unexpected = 1), Some(Limit::Unexpected(1)));
        assert_eq!(run(|step| step.queue_ops_max = 12.0), Some(Limit::Lane(12.0)));
        assert_eq!(run(|_| {}), None);
    }

    #[test]
    fn steps_that_end_too_early_find_no_limit() {
        let steps = [step(8, 2_000.0, 0.8), step(16, 4_000.0, 1.2)];
        let finding = find(&steps, &BOUNDS);
        assert_eq!(finding, Finding { knee: Some(1), limit: None });
        assert!(sentence(&steps, &finding).ends_with("the steps ended first"));
        assert_eq!(find(&[], &BOUNDS), Finding { knee: None, limit: None });
    }
}
