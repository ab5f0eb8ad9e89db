//! How long to wait before something that failed is sent again.

use std::time::Duration;

use rand::Rng;

use crate::config::Durations;

/// Longest pause in ms, ten years: an interval of PostgreSQL must hold it.
const PAUSE_MS_MAX: i64 = 10 * 366 * 24 * 3_600_000;

/// Of what is never given up, when no pauses are configured.
const ENDLESS_PAUSE: Duration = Duration::from_mins(5);

/// The pauses after the first failure, the second one and so on, each with a random part: what failed together need not come
/// again together.
pub(super) struct Pauses {
    pauses: Vec<Duration>,
    /// At most 100.
    jitter_percent: u32,
}

impl Pauses {
    pub(super) fn new(pauses: &Durations, jitter_percent: u32) -> Self {
        Self { pauses: pauses.0.clone(), jitter_percent }
    }

    /// Pause in ms after so many attempts; `None`: it is given up.
    pub(super) fn after(&self, attempts: i32, rng: &mut impl Rng) -> Option<i64> {
        let place = usize::try_from(attempts).ok()?.checked_sub(1)?;
        self.pauses.get(place).map(|pause| self.varied(*pause, rng))
    }

    /// Pause in ms after so many attempts of something that is never given up: the last one comes again and again.
    pub(super) fn after_endless(&self, attempts: i32, rng: &mut impl Rng) -> i64 {
        let last = self.pauses.last().copied().unwrap_or(ENDLESS_PAUSE);
        self.after(attempts, rng).unwrap_or_else(|| self.varied(last, rng))
    }

    fn varied(&self, pause: Duration, rng: &mut impl Rng) -> i64 {
        let ms = i64::try_from(pause.as_millis()).unwrap_or(PAUSE_MS_MAX).min(PAUSE_MS_MAX);
        let part = ms * i64::from(self.jitter_percent) / 100;
        rng.random_range(ms - part..=ms + part)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn pauses(ms: &str, jitter_percent: u32) -> Pauses {
        Pauses::new(&ms.parse().expect("durations"), jitter_percent)
    }

    #[test]
    fn every_failure_has_its_pause_and_after_the_last_one_it_is_over() {
        let mut rng = rand::rng();
        let pauses = pauses("300,900,700", 0);
        let after: Vec<Option<i64>> = (0..=5).map(|attempts| pauses.after(attempts, &mut rng)).collect();
        assert_eq!(after, [None, Some(300), Some(900), Some(700), None, None]);
        assert_eq!(pauses.after(-1, &mut rng), None);
        let endless: Vec<i64> = [1, 2, 3, 4, i32::MAX].map(|attempts| pauses.after_endless(attempts, &mut rng)).into();
        assert_eq!(endless, [300, 900, 700, 700, 700]);
    }

    #[test]
    fn without_pauses_everything_is_over_at_once_but_what_is_endless() {
        let pauses = pauses("", 0);
        assert_eq!(pauses.after(1, &mut rand::rng()), None);
        assert_eq!(pauses.after_endless(1, &mut rand::rng()), 300_000);
    }

    #[test]
    fn pauses_vary_by_their_random_part_and_no_more() {
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        for (percent, least, most) in [(0, 1_000, 1_000), (10, 900, 1_100), (100, 0, 2_000)] {
            let pauses = pauses("1000", percent);
            let drawn: Vec<i64> = (0..10_000).filter_map(|_| pauses.after(1, &mut rng)).collect();
            assert_eq!(drawn.len(), 10_000, "seed {seed}");
            assert!(drawn.iter().all(|ms| (least..=most).contains(ms)), "seed {seed}, {percent} %");
            let quarter = (most - least) / 4;
            let reaches = drawn.iter().any(|ms| *ms <= least + quarter) && drawn.iter().any(|ms| *ms >= most - quarter);
            assert!(reaches, "seed {seed}, {percent} %");
        }
    }

    #[test]
    fn pauses_stay_within_what_postgresql_can_hold() {
        let longest = pauses(&u64::MAX.to_string(), 100);
        let ms = longest.after(1, &mut rand::rng()).expect("a pause");
        assert!((0..=2 * PAUSE_MS_MAX).contains(&ms), "{ms}");
    }
}
