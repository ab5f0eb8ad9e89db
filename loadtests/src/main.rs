//! Load against flashsale. `loadtests bench` (what `make bench` runs) measures orders and coupons on private servers and
//! compares the orders with bare HTTP, with a forwarder at work, with one op per call and with the lock-based design that the project started from.
//! `loadtests load` (`make load`) lets users of every kind loose on a shop and checks its books; `loadtests rehearsal`
//! (`make rehearsal`) finds out how many of them this machine takes.

mod bench;
mod load;
mod rehearsal;
mod shared;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "loadtests", about = "Load against flashsale")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure orders and coupons on private servers and compare the orders (about 3 minutes)
    Bench(bench::Options),
    /// Play users (with goose) against a shop, a private one unless told otherwise, and check its books
    Load(load::Options),
    /// Play more and more buyers against a private shop: how many orders does this machine sustain, and what is its first limit?
    Rehearsal(rehearsal::Options),
    /// Answer every request with a constant order: what HTTP alone costs (`bench` starts it as a process of its own)
    Floor {
        /// Port on the loopback address
        #[arg(long)]
        port: u16,
    },
    /// Play a data platform that does nothing but count (`bench` starts it as a process of its own)
    Platform {
        /// Port on the loopback address
        #[arg(long)]
        port: u16,
    },
}

// It must run on the main thread, which `#[tokio::main]` grants: see `shared::child`.
#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Bench(options) => bench::run(&options).await,
        Command::Load(options) => load::run(&options).await,
        Command::Rehearsal(options) => rehearsal::run(&options).await,
        Command::Floor { port } => bench::floor::serve(port).await.map(|()| ExitCode::SUCCESS),
        Command::Platform { port } => bench::platform::serve(port).await.map(|()| ExitCode::SUCCESS),
    }
}
