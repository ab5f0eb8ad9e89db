//! Other sides that the bench plays itself, each in a process of its own, so that its CPU is nobody else's.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::Bench;
use crate::shared::child;

/// Longest time until a responder listens.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A running responder; killed when dropped: there is nothing to end in an orderly way.
pub struct Responder {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
}

impl Responder {
    /// Starts this program with a subcommand that takes `--port`, and waits until it listens.
    pub async fn start(bench: &Bench, subcommand: &str) -> Result<Self> {
        let port = child::free_port()?;
        let mut command = child::command(std::env::current_exe()?);
        command.args([subcommand, "--port", &port.to_string()]);
        let child = child::start(subcommand, &mut command, &bench.out.join(format!("{subcommand}.log")))?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, listening)
            .await
            .with_context(|| format!("{subcommand} does not listen"))?;
        Ok(Self { address, _child: child })
    }
}
