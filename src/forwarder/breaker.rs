//! A circuit breaker: spares a platform that is not there, and finds out when it is back.
//!
//! A plain state machine, one per platform. Who sends asks [`Breaker::admits`] first, and reports afterwards. What
//! failed because of the events themselves is a success here: it says that the platform is up.

use std::time::Duration;

use tokio::time::Instant;

/// Longest pause that a platform may ask for: beyond it we look for ourselves, so that one wrong header stops nothing
/// for days.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Shortest pause: somebody who asks for none has asked for one all the same.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// A probe that is not reported within `open_for` and this counts as lost.
const PROBE_GRACE: Duration = Duration::from_mins(1);

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every request is sent.
    Closed,
    /// None is.
    Open,
    /// One was sent, the probe; the others wait for what comes of it.
    HalfOpen,
}

impl State {
    /// As the gauge shows it: 0 closed, 1 half-open, 2 open.
    pub fn as_gauge(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    Open {
        /// Then a probe may be sent.
        until: Instant,
    },
    HalfOpen {
        /// Then the probe counts as lost.
        lost_at: Instant,
    },
}

/// The breaker in front of one platform.
#[derive(Debug)]
pub struct Breaker {
    /// 0: failures alone never open it.
    failures_max: u32,
    open_for: Duration,
    phase: Phase,
}

impl Breaker {
    /// Closed. Opens for `open_for` after `failures_max` failures in a row; with 0 only when the platform asks for a
    /// pause.
    pub fn new(failures_max: u32, open_for: Duration) -> Self {
        Self { failures_max, open_for, phase: Phase::Closed { failures: 0 } }
    }

    /// Whether a request may be sent now. When it was open for long enough, exactly one may: the probe, which must be
    /// reported. If it is not, within `open_for` and a minute, another one may: a task that died must not shut the
    /// platform out for ever.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until: at } | Phase::HalfOpen { lost_at: at } => {
                let admits = now >= at;
                if admits {
                    self.phase = Phase::HalfOpen { lost_at: now + self.open_for + PROBE_GRACE };
                }
                admits
            }
        }
    }

    /// Reports an answer of a platform that is up: forgets the failures, and closes after a probe.
    ///
    /// While it is open this changes nothing. The answer is to a request that was sent before, among others that
    /// failed: one late answer proves little, and the probe will tell soon. (While it is half-open, an old answer
    /// cannot be told from the probe's and closes it; if that was wrong, the next failures open it again.)
    pub fn succeeded(&mut self) {
        if self.state() != State::Open {
            self.phase = Phase::Closed { failures: 0 };
        }
    }

    /// Reports a request that failed because the platform was not there; tells whether it is open now. It opens after
    /// `failures_max` of them in a row, after a probe that failed (both only if that many is above 0), and when the
    /// platform asks for a `pause`: then it stays open for that long, from 100 ms to 5 minutes, and not for `open_for`. Who
    /// limits the rate knows best when to go on.
    ///
    /// While it is open this changes nothing: the request was sent before, and many that fail late must not keep it
    /// open for longer than one would.
    pub fn failed(&mut self, now: Instant, pause: Option<Duration>) -> bool {
        let failures = match self.phase {
            Phase::Open { .. } => return true,
            // One is as good as all of them: nothing else was sent.
            Phase::HalfOpen { .. } => self.failures_max,
            Phase::Closed { failures } => failures.saturating_add(1),
        };
        let is_enough = self.failures_max > 0 && failures >= self.failures_max;
        let opens = is_enough || pause.is_some();
        self.phase = if opens {
            let open_for = pause.map_or(self.open_for, |pause| pause.clamp(PAUSE_MIN, PAUSE_MAX));
            Phase::Open { until: now + open_for }
        } else {
            Phase::Closed { failures }
        };
        opens
    }

    /// What it does with requests.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// While it is open: when [`Self::admits`] will say yes; may be over. `None` while it is closed (now) and half-open
    /// (when the probe is reported; look again from time to time in case it never is).
    pub fn retry_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } => Some(until),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const FAILURES_MAX: u32 = 3;
    const OPEN_FOR: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(1);

    fn closed() -> (Breaker, Instant) {
        (Breaker::new(FAILURES_MAX, OPEN_FOR), Instant::now())
    }

    /// Open since the second instant.
    fn open() -> (Breaker, Instant) {
        let (mut breaker, now) = closed();
        for _ in 1..FAILURES_MAX {
            assert!(!breaker.failed(now, None));
        }
        assert!(breaker.failed(now, None));
        (breaker, now)
    }

    /// With a probe under way since the second instant.
    fn half_open() -> (Breaker, Instant) {
        let (mut breaker, since) = open();
        let now = since + OPEN_FOR;
        assert!(breaker.admits(now));
        (breaker, now)
    }

    #[test]
    fn closed_it_admits_everything() {
        let (mut breaker, now) = closed();
        assert!((0..100).all(|_| breaker.admits(now)));
        assert_eq!((breaker.state(), breaker.retry_at()), (State::Closed, None));
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (mut breaker, now) = closed();
        for _ in 0..10 {
            for _ in 1..FAILURES_MAX {
                assert!(!breaker.failed(now, None));
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), State::Closed);
        let (mut breaker, now) = open();
        assert_eq!((breaker.state(), breaker.retry_at()), (State::Open, Some(now + OPEN_FOR)));
        assert!(!breaker.admits(now));
    }

    #[test]
    fn after_its_time_it_admits_one_probe() {
        let (mut breaker, since) = open();
        assert!(!breaker.admits(since + OPEN_FOR - MOMENT));
        assert_eq!(breaker.state(), State::Open);
        assert!(breaker.admits(since + OPEN_FOR));
        assert!((0..100).all(|_| !breaker.admits(since + OPEN_FOR)));
        assert_eq!((breaker.state(), breaker.retry_at()), (State::HalfOpen, None));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_forgets_the_failures() {
        let (mut breaker, now) = half_open();
        breaker.succeeded();
        assert_eq!(breaker.state(), State::Closed);
        for _ in 1..FAILURES_MAX {
            assert!(breaker.admits(now) && !breaker.failed(now, None));
        }
        assert!(breaker.failed(now, None));
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_at_once() {
        let (mut breaker, now) = half_open();
        assert!(breaker.failed(now, None));
        assert_eq!((breaker.state(), breaker.retry_at()), (State::Open, Some(now + OPEN_FOR)));
        let (mut breaker, now) = half_open();
        assert!(breaker.failed(now, Some(2 * OPEN_FOR)));
        assert_eq!(breaker.retry_at(), Some(now + 2 * OPEN_FOR));
    }

    #[test]
    fn a_probe_that_is_never_reported_is_followed_by_another_one() {
        let (mut breaker, sent) = half_open();
        let lost_at = sent + OPEN_FOR + PROBE_GRACE;
        assert!(!breaker.admits(lost_at - MOMENT));
        assert!(breaker.admits(lost_at));
        assert!(!breaker.admits(lost_at));
        assert_eq!(breaker.state(), State::HalfOpen);
    }

    #[test]
    fn a_pause_that_is_asked_for_opens_it_at_once_but_not_for_ever() {
        for (pause, expected) in [
            (Duration::ZERO, PAUSE_MIN),
            (MOMENT, PAUSE_MIN),
            (2 * PAUSE_MIN, 2 * PAUSE_MIN),
            (2 * OPEN_FOR, 2 * OPEN_FOR),
            (PAUSE_MAX + MOMENT, PAUSE_MAX),
            (Duration::MAX, PAUSE_MAX),
        ] {
            let (mut breaker, now) = closed();
            assert!(breaker.failed(now, Some(pause)), "{pause:?}");
            assert_eq!(breaker.retry_at(), Some(now + expected), "{pause:?}");
        }
    }

    #[test]
    fn switched_off_it_opens_for_a_pause_only() {
        let (mut breaker, now) = (Breaker::new(0, OPEN_FOR), Instant::now());
        assert!((0..1_000).all(|_| breaker.admits(now) && !breaker.failed(now, None)));
        assert!(breaker.failed(now, Some(OPEN_FOR)));
        assert!(!breaker.admits(now) && breaker.admits(now + OPEN_FOR));
        assert!(!breaker.failed(now + OPEN_FOR, None));
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn late_reports_change_nothing_while_it_is_open() {
        let (mut breaker, since) = open();
        let later = since + MOMENT;
        breaker.succeeded();
        assert!(breaker.failed(later, None) && breaker.failed(later, Some(PAUSE_MAX)));
        assert_eq!((breaker.state(), breaker.retry_at()), (State::Open, Some(since + OPEN_FOR)));
        assert!(!breaker.admits(later));
    }

    #[test]
    fn the_gauge_rises_with_what_is_shut() {
        let shown = [State::Closed, State::HalfOpen, State::Open].map(|state| state.as_gauge().to_string());
        assert_eq!(shown, ["0", "1", "2"]);
    }

    #[test]
    fn whatever_is_reported_in_whatever_order_one_probe_goes_at_a_time() {
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        for run in 0..500 {
            let failures_max = rng.random_range(0..4);
            let mut breaker = Breaker::new(failures_max, OPEN_FOR);
            let mut now = Instant::now();
            // In a row while it was closed; and when a probe was sent that nobody has reported.
            let (mut failures, mut probe) = (0, None::<Instant>);
            for step in 0..200 {
                let place = format!("seed {seed}, run {run}, step {step}");
                now += Duration::from_secs(rng.random_range(0..20));
                let (before, retry_at) = (breaker.state(), breaker.retry_at());
                match rng.random_range(0..4) {
                    0 | 1 => {
                        let expected = match before {
                            State::Closed => true,
                            State::Open => retry_at.is_some_and(|until| now >= until),
                            State::HalfOpen => probe.is_some_and(|sent| now >= sent + OPEN_FOR + PROBE_GRACE),
                        };
                        assert_eq!(breaker.admits(now), expected, "{place}");
                        if expected && before != State::Closed {
                            assert_eq!(breaker.state(), State::HalfOpen, "{place}");
                            probe = Some(now);
                        }
                    }
                    2 => {
                        breaker.succeeded();
                        let expected = if before == State::Open { State::Open } else { State::Closed };
                        assert_eq!(breaker.state(), expected, "{place}");
                        (failures, probe) = (0, None);
                    }
                    _ => {
                        let pause = rng.random_bool(0.1).then(|| Duration::from_secs(rng.random_range(0..1_000)));
                        failures += u32::from(before == State::Closed);
                        let is_enough = failures_max > 0 && (before == State::HalfOpen || failures >= failures_max);
                        let opens = before == State::Open || is_enough || pause.is_some();
                        assert_eq!(breaker.failed(now, pause), opens, "{place}");
                        assert_eq!(breaker.state(), if opens { State::Open } else { State::Closed }, "{place}");
                        if before == State::Open {
                            assert_eq!(breaker.retry_at(), retry_at, "{place}");
                        } else if opens {
                            let until = breaker.retry_at().expect("it is open");
                            assert!((now + PAUSE_MIN..=now + PAUSE_MAX).contains(&until), "{place}");
                            failures = 0;
                        }
                        probe = None;
                    }
                }
            }
        }
    }
}
