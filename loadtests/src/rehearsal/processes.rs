//! The processes of a private shop, and how much of the machine each of them takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::shared::accounting::cpu;
use crate::shared::child;

/// Longest time until the platform listens.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A data platform that costs next to nothing, in a process of its own; killed when dropped.
pub struct Platform {
    /// What the service is told.
    pub url: String,
    child: Child,
}

impl Platform {
    /// Starts this program as a platform, and waits until it listens.
    pub async fn start(log: &Path) -> Result<Self> {
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, child::free_port()?).into();
        let mut command = child::command(std::env::current_exe()?);
        command.args(["platform", "--port", &address.port().to_string()]).process_group(0);
        let child = child::start("the platform", &mut command, log)?;
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, listening).await.context("the platform does not listen")?;
        Ok(Self { url: format!("http://{address}/"), child })
    }
}

/// Who is told apart.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    service: u32,
    redis: u32,
    postgres: u32,
    platform: u32,
}

/// CPU time so far in seconds or, between two looks, cores in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cores {
    /// This program: the users.
    pub goose: f64,
    /// `flashsale dev`: the service with all of its roles, and the gateway that it plays.
    pub service: f64,
    /// Redis itself, without the children that rewrite its log.
    pub redis: f64,
    /// PostgreSQL, all processes.
    pub postgres: f64,
    /// The data platform.
    pub platform: f64,
    /// Everything on this machine, whoever it is.
    pub machine: f64,
}

impl Processes {
    /// Finds them: `dev` starts its servers itself.
    pub fn of(service: u32, platform: &Platform) -> Result<Self> {
        Ok(Self {
            service,
            redis: child_of(service, "redis-server")?,
            postgres: child_of(service, "postgres")?,
            platform: child::pid(&platform.child)?,
        })
    }

    /// CPU time of each since it began.
    pub fn cpu_s(self) -> Result<Cores> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let ticks = busy_ticks(&stat).context("/proc/stat cannot be read")?;
        Ok(Cores {
            goose: cpu(std::process::id())?.own_s,
            service: cpu(self.service)?.own_s,
            redis: cpu(self.redis)?.own_s,
            postgres: cpu(self.postgres)?.total_s(),
            platform: cpu(self.platform)?.own_s,
            machine: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        })
    }
}

impl Cores {
    /// Everybody who has no business here: their share says how much the figures are worth.
    pub fn others(self) -> f64 {
        let Self { goose, service, redis, postgres, platform, machine } = self;
        (machine - goose - service - redis - postgres - platform).max(0.0)
    }

    /// Cores in use since an earlier look, so many seconds ago.
    pub fn since(self, before: Self, seconds: f64) -> Self {
        let cores = |now: f64, then: f64| (now - then) / seconds;
        Self {
            goose: cores(self.goose, before.goose),
            service: cores(self.service, before.service),
            redis: cores(self.redis, before.redis),
            postgres: cores(self.postgres, before.postgres),
            platform: cores(self.platform, before.platform),
            machine: cores(self.machine, before.machine),
        }
    }
}

/// The child of `parent` with this name.
fn child_of(parent: u32, name: &str) -> Result<u32> {
    let entries = std::fs::read_dir("/proc")?;
    let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is = |member: &str, value: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(":\t"));
            found == Some(value)
        };
        is("Name", name) && is("PPid", &parent.to_string())
    };
    pids.find(is_it).with_context(|| format!("process {parent} has no child {name}"))
}

/// Ticks of all cores that were not idle. Source of the positions: proc(5): user, nice, system, idle, iowait, irq,
/// softirq, steal; what follows is part of user and nice.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|number| number.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_idle() {
        assert_eq!(busy_ticks("cpu  10 20 30 1000 500 1 2 3 7 7\ncpu0 1 2 3 4 5 6 7 8\n"), Some(66));
        assert_eq!(busy_ticks("cpu  10\n"), None);
        assert_eq!(busy_ticks("intr 1\n"), None);
    }

    #[test]
    fn a_child_is_found_by_its_name() {
        let parent = std::process::id();
        assert!(child_of(parent, "nobody-has-this-name").is_err());
    }

    #[test]
    fn cores_are_seconds_of_cpu_per_second() {
        let then = Cores { redis: 1.0, machine: 10.0, ..Cores::default() };
        let now = Cores { redis: 3.5, machine: 20.0, ..Cores::default() };
        let cores = now.since(then, 5.0);
        assert!((cores.redis - 0.5).abs() < 1e-9 && (cores.machine - 2.0).abs() < 1e-9);
        assert!((cores.others() - 1.5).abs() < 1e-9);
    }
}
