//! CPU time from the processes' own accounting: `/proc/PID/stat`.

use std::path::Path;

use anyhow::{Context as _, Result};

/// CPU time that a process has used so far, user and system, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// By itself.
    pub own_s: f64,
    /// By its children, those that ended included.
    pub children_s: f64,
}

impl Cpu {
    /// Both together.
    pub fn total_s(self) -> f64 {
        self.own_s + self.children_s
    }
}

/// The members of a `stat` line that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

/// Reads the CPU time of `pid` and its children. A child's time moves to the parent's account when it ends and is
/// waited for, so nothing is lost in between.
pub fn cpu(pid: u32) -> Result<Cpu> {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let stat = read(pid).with_context(|| format!("no accounting for process {pid}"))?;
    let living: u64 = processes()?
        .filter_map(read)
        .filter(|child| child.parent == pid)
        .map(|child| child.own_ticks + child.ended_children_ticks)
        .sum();
    Ok(Cpu {
        own_s: stat.own_ticks as f64 / ticks_per_s,
        children_s: (stat.ended_children_ticks + living) as f64 / ticks_per_s,
    })
}

fn processes() -> Result<impl Iterator<Item = u32>> {
    Ok(std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// `None` when the process has gone.
fn read(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?)
}

/// Source of the positions: proc(5). The second field is the program's name in parentheses, which may hold anything.
fn parse(line: &str) -> Option<Stat> {
    let (_, after_name) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(11)? + number(12)?,
        ended_children_ticks: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_hold_anything() {
        let line = "42 (a ) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 0 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Stat { parent: 7, own_ticks: 120, ended_children_ticks: 3 }));
        assert_eq!(parse("42 (gone"), None);
    }

    #[test]
    fn every_running_process_has_an_account() {
        let used = cpu(std::process::id()).expect("this process runs");
        assert!(used.total_s() >= used.own_s);
        assert!(cpu(u32::MAX).is_err());
    }
}
