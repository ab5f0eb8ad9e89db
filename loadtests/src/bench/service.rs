//! The service under test: the real program, in release build, as a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper::StatusCode;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::Bench;
use super::tokens::{AUDIENCE, ISSUER};
use crate::shared::{child, http};

/// Longest time until it may take traffic.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for an orderly end; above the service's own `shutdown_timeout_ms`.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What distinguishes one start from another.
#[derive(Debug)]
pub struct Variant<'a> {
    /// Names the log, the namespace in Redis and the database.
    pub name: &'a str,
    /// Settings beyond the defaults.
    pub settings: &'a [(&'a str, &'a str)],
    /// Where Redis is.
    pub redis_url: &'a str,
    /// Where its database is.
    pub database_url: &'a str,
}

/// A running service.
pub struct Service {
    child: Child,
    /// Its process.
    pub pid: u32,
    /// The public listener.
    pub public: SocketAddr,
    /// The operations listener.
    pub operations: SocketAddr,
    log: PathBuf,
}

impl Service {
    /// Creates the schema, starts the service and waits until it is ready.
    pub async fn start(bench: &Bench, variant: &Variant<'_>) -> Result<Self> {
        let public: SocketAddr = (Ipv4Addr::LOCALHOST, child::free_port()?).into();
        let operations: SocketAddr = (Ipv4Addr::LOCALHOST, child::free_port()?).into();
        let command = |subcommand: &str| -> Command {
            let mut command = child::command(&bench.tools.flashsale);
            command
                .arg(subcommand)
                .env("FLASHSALE_LISTEN", public.to_string())
                .env("FLASHSALE_OPS_LISTEN", operations.to_string())
                .env("FLASHSALE_REDIS_URL", variant.redis_url)
                .env("FLASHSALE_REDIS_NAMESPACE", variant.name)
                .env("FLASHSALE_DATABASE_URL", variant.database_url)
                .env("FLASHSALE_JWT_SECRET", &bench.tokens.secret)
                .env("FLASHSALE_JWT_ISSUER", ISSUER)
                .env("FLASHSALE_JWT_AUDIENCE", AUDIENCE)
                // A few thousand users stand for many: the limit per user would be what is measured.
                .env("FLASHSALE_HTTP_USER_REQUESTS_PER_S_MAX", "0")
                .envs(variant.settings.iter().copied());
            command
        };
        child::run("flashsale migrate", &mut command("migrate")).await?;
        let log = bench.out.join(format!("{}.log", variant.name));
        let child = child::start("flashsale serve", &mut command("serve"), &log)?;
        let mut service = Self { pid: child::pid(&child)?, child, public, operations, log };
        service.wait_ready().await?;
        Ok(service)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut reason = "it does not listen".to_owned();
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("flashsale serve ended ({status}):\n{}", child::log_tail(&self.log));
            }
            if let Ok(answer) = http::get(self.operations, "/readyz").await {
                if answer.status == StatusCode::OK {
                    return Ok(());
                }
                reason = answer.text();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("flashsale serve is not ready: {reason}\n{}", child::log_tail(&self.log))
    }

    /// Adds what the service said last to an error that it may have caused.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| format!("the end of {}:\n{}", self.log.display(), child::log_tail(&self.log)))
    }

    /// Ends it with SIGTERM.
    pub async fn stop(self) -> Result<()> {
        child::stop("flashsale serve", self.child, STOP_TIMEOUT).await
    }
}
