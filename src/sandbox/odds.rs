//! What all faults have in common: the share of the calls that they hit, how long they keep a caller waiting, and the
//! seed that repeats them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const PERCENT_MAX: u32 = 100;

const DELAY_DEFAULT_MS: u64 = 5_000;

/// Longer, and a connection would be kept for nothing: no client waits that long.
const DELAY_MAX_MS: u64 = 600_000;

/// Every call.
pub(super) fn percent_default() -> u32 {
    PERCENT_MAX
}

/// Longer than a careful client waits.
pub(super) fn delay_ms_default() -> u64 {
    DELAY_DEFAULT_MS
}

/// What is wrong with a setting.
pub(super) fn error(percent: u32, delay_ms: u64) -> Option<String> {
    if percent > PERCENT_MAX {
        return Some(format!("percent must be from 0 to {PERCENT_MAX}"));
    }
    (delay_ms > DELAY_MAX_MS).then(|| format!("delayMs must be from 0 to {DELAY_MAX_MS}"))
}

/// What draws for a setting, from its seed; one is drawn and kept when it has none.
pub(super) fn seeded(seed: &mut Option<u64>) -> StdRng {
    // 32 bits, which every JSON reader keeps as they are.
    StdRng::seed_from_u64(*seed.get_or_insert_with(|| u64::from(rand::random::<u32>())))
}

/// Draws whether the next call is hit.
pub(super) fn is_hit(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..PERCENT_MAX) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_a_seed_repeats_it() {
        let seed: u64 = rand::random();
        for (percent, hits) in [(0, 0..=0), (30, 150..=450), (100, 1000..=1000)] {
            let draw = || {
                let mut rng = seeded(&mut Some(seed));
                (0..1000).map(|_| is_hit(&mut rng, percent)).collect::<Vec<_>>()
            };
            let drawn = draw();
            let hit = drawn.iter().filter(|hit| **hit).count();
            assert!(hits.contains(&hit), "seed {seed}, {percent}: {hit}");
            assert_eq!(drawn, draw(), "seed {seed}");
        }
    }

    #[test]
    fn a_seed_that_was_drawn_is_kept() {
        let mut seed = None;
        let mut first = seeded(&mut seed);
        let mut again = seeded(&mut seed);
        assert!(seed.is_some_and(|seed| u32::try_from(seed).is_ok()), "{seed:?}");
        assert_eq!(first.random::<u64>(), again.random::<u64>(), "{seed:?}");
    }
}
