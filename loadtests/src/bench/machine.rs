//! What the figures were measured on: they mean nothing without it.

use anyhow::Result;
use fred::types::InfoKind;
use serde::Serialize;

use super::servers::{self, Servers};

/// Hardware and versions.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cpus: usize,
    /// As the kernel names it.
    pub cpu_model: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Version of Redis.
    pub redis: String,
    /// Version of PostgreSQL.
    pub postgres: String,
}

impl Machine {
    /// Asks the kernel and the servers.
    pub async fn look(servers: &Servers) -> Result<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let postgres = servers::connect(&servers.postgres.url("postgres")).await?;
        Ok(Self {
            cpus: std::thread::available_parallelism()?.get(),
            cpu_model: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            redis: servers::info(&servers.redis().await?, InfoKind::Server, "redis_version").await?,
            postgres: postgres.query_one("SHOW server_version", &[]).await?.get(0),
        })
    }
}
