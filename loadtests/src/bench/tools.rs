//! The programs that the bench needs beside its own.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

/// Where Debian keeps the programs of each version of the server.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Paths of the programs.
#[derive(Debug)]
pub struct Tools {
    /// Makes the load.
    pub wrk: PathBuf,
    /// Runs the seed design.
    pub pgbench: PathBuf,
    /// Runs plain HSET.
    pub redis_benchmark: PathBuf,
    /// The service, built beside this program.
    pub flashsale: PathBuf,
}

impl Tools {
    /// Finds all of them, or says everything that is missing at once.
    pub fn find() -> Result<Self> {
        let wanted = [
            ("wrk", in_path("wrk"), "wrk"),
            ("pgbench", pgbench(), "postgresql"),
            ("redis-benchmark", in_path("redis-benchmark"), "redis-tools"),
        ];
        let missing: Vec<String> = wanted
            .iter()
            .filter(|(_, found, _)| found.is_none())
            .map(|(program, _, package)| format!("  {program}: apt-get install {package}"))
            .collect();
        let [(_, Some(wrk), _), (_, Some(pgbench), _), (_, Some(redis_benchmark), _)] = wanted else {
            bail!("these programs are not installed (scripts/setup does it):\n{}", missing.join("\n"));
        };
        let flashsale = std::env::current_exe()?.with_file_name("flashsale");
        ensure!(
            flashsale.is_file(),
            "{} does not exist; build it: cargo build --release --workspace",
            flashsale.display()
        );
        Ok(Self { wrk, pgbench, redis_benchmark, flashsale })
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The newest server's own pgbench. What Debian has in the PATH is a wrapper that looks for configured clusters first.
fn pgbench() -> Option<PathBuf> {
    let versions = std::fs::read_dir(Path::new(POSTGRES_VERSIONS)).ok();
    let newest = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .map(|version| (version, Path::new(POSTGRES_VERSIONS).join(version.to_string()).join("bin/pgbench")))
        .filter(|(_, file)| file.is_file())
        .max_by_key(|(version, _)| *version);
    newest.map(|(_, file)| file).or_else(|| in_path("pgbench"))
}
