//! Who gets which core when Redis and PostgreSQL share a small machine.
//!
//! Redis waits for the disk after every batch, PostgreSQL computes for milliseconds on end. Left to themselves they meet on
//! one core, and the kernel lets PostgreSQL use up its time slice (3 ms) before Redis goes on, whatever the other core
//! does: everybody waits. So each has cores that the other does not use; everything else may use all.

use std::fs;

/// On more than so many, the kernel finds an idle one; and which core is a fast one is not for us to guess.
const SMALL_MACHINE_CORES: usize = 4;

/// Lists of cores as `taskset` and `redis.conf` read them: `1`, `0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// One, for Redis alone of the two.
    pub redis: String,
    /// The others, for PostgreSQL and for what Redis does in the background.
    pub others: String,
}

impl Cores {
    /// How this machine is divided; `None` when it has one core or plenty.
    pub fn divided() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Self::of(&parse(allowed.trim())?)
    }

    fn of(allowed: &[usize]) -> Option<Self> {
        let (redis, others) = allowed.split_last()?;
        let others: Vec<_> = others.iter().map(usize::to_string).collect();
        (1..SMALL_MACHINE_CORES)
            .contains(&others.len())
            .then(|| Self { redis: redis.to_string(), others: others.join(",") })
    }
}

/// `0-2,5` as the kernel writes it.
fn parse(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(list: &str) -> Option<(String, String)> {
        Cores::of(&parse(list)?).map(|cores| (cores.redis, cores.others))
    }

    #[test]
    fn a_small_machine_is_divided() {
        assert_eq!(divided("0-1"), Some(("1".into(), "0".into())));
        assert_eq!(divided("0,2-4"), Some(("4".into(), "0,2,3".into())));
    }

    #[test]
    fn one_core_or_many_are_not() {
        assert_eq!(divided("3"), None);
        assert_eq!(divided("0-4"), None);
        assert_eq!(divided("none"), None);
    }
}
