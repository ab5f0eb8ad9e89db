//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Source};
use crate::dev::{self, DevOptions};
use crate::http::auth::Minter;
use crate::inspect::InspectOptions;
use crate::logs::{self, LogFormat};
use crate::sandbox::SandboxOptions;
use crate::service::Service;

#[derive(Debug, Parser)]
#[command(name = "flashsale", version, about = "Flash sales: never oversold, never overdrawn, exactly once")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything for development: a private Redis and PostgreSQL, a demo catalogue, the service.
    Dev(DevOptions),
    /// Run the service against given servers, configured by FLASHSALE_… or a TOML file.
    Serve {
        /// TOML file with settings; the environment wins over it.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Parts to run, comma separated: api, writer, forwarder, sweeper.
        #[arg(long)]
        roles: Option<String>,
    },
    /// Bring the schema of PostgreSQL up to date.
    Migrate {
        /// TOML file with settings.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print a token: for the service that the environment configures (as in its container), or that `flashsale dev` set up.
    Token {
        /// Data folder of `flashsale dev`; without it the environment's settings count, if there are any, else the folder `data`.
        #[arg(long)]
        data: Option<PathBuf>,
        /// User id: 1 to 64 characters of A-Za-z0-9_|:.@-
        #[arg(long)]
        user: String,
        /// The only role there is: admin.
        #[arg(long, value_parser = ["admin"])]
        role: Option<String>,
        /// Lifetime in seconds.
        #[arg(long, default_value_t = dev::TOKEN_TTL_S)]
        ttl: u64,
    },
    /// Compare Redis with PostgreSQL, to the last unit; ends with 1 and says what differs.
    Verify {
        /// TOML file with settings.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what Redis, the log and PostgreSQL know about a user, an order or a product, side by side.
    Inspect(InspectOptions),
    /// Print a script with which a shell completes this program's arguments: `source <(flashsale completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Play the other side: a payment gateway and a data platform with faults to switch on, for development and tests.
    Sandbox(SandboxOptions),
    /// List every setting with its default and meaning.
    Settings,
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        // How it logs stands in its configuration.
        Command::Serve { .. } => {}
        Command::Dev(_) | Command::Sandbox(_) => logs::start(LogFormat::default(), logs::SERVICE),
        _ => logs::start(LogFormat::default(), logs::COMMAND),
    }
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flashsale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(options) => runtime()?.block_on(dev::run(options)),
        Command::Serve { config, roles } => {
            let mut source = Source::from_process(config.as_deref());
            if let Some(roles) = roles {
                source.set("roles", roles);
            }
            let config = Config::load(&source)?;
            logs::start(config.log_format, logs::SERVICE);
            #[cfg(feature = "otel")]
            crate::trace::otel::start()?;
            let served = runtime()?.block_on(serve(config));
            #[cfg(feature = "otel")]
            crate::trace::otel::stop();
            served
        }
        Command::Migrate { config } => {
            let database_url = Config::database_url(&Source::from_process(config.as_deref()))?;
            let applied = runtime()?.block_on(crate::postgres::migrate::migrate(&database_url))?;
            print_line(&format!("{} migration(s) applied", applied.len()));
            Ok(())
        }
        Command::Token { data, user, role, ttl } => {
            let source = Source::from_process(None);
            let minter = if data.is_none() && source.has("jwt_secret") {
                let config = Config::load(&source)?;
                Minter::new(&config.jwt_secret, &config.jwt_issuer, &config.jwt_audience)?
            } else {
                let folder = data.unwrap_or_else(|| PathBuf::from(dev::DATA_DEFAULT));
                let secret = dev::env_file::read(&folder, "JWT_SECRET")?;
                Minter::new(&secret.into(), dev::JWT_ISSUER, dev::JWT_AUDIENCE)?
            };
            print_line(&minter.mint(&user, role.is_some(), ttl)?);
            Ok(())
        }
        Command::Verify { config, json } => {
            let config = Config::load(&Source::from_process(config.as_deref()))?;
            let is_clean = runtime()?.block_on(crate::verify::command::run(&config, json))?;
            anyhow::ensure!(is_clean, "Redis and PostgreSQL differ");
            Ok(())
        }
        Command::Inspect(options) => runtime()?.block_on(crate::inspect::run(&options)),
        Command::Completions { shell } => {
            // Through a buffer: written straight to a pipe that is closed, it would panic.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "flashsale", &mut script);
            print_line(String::from_utf8(script)?.trim_end());
            Ok(())
        }
        Command::Sandbox(options) => runtime()?.block_on(crate::sandbox::run(options)),
        Command::Settings => {
            for setting in Config::reference() {
                let name = setting.name.to_ascii_uppercase();
                print_line(&format!("FLASHSALE_{name} [{}]", setting.default.unwrap_or("required")));
                print_line(&format!("    {}", setting.meaning));
            }
            Ok(())
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let prometheus = crate::metrics::install()?;
    let service = Service::start(Arc::new(config), prometheus).await?;
    tracing::info!(public = ?service.address, operations = %service.ops_address, "listening");
    stop.cancelled().await;
    tracing::info!("stopping");
    service.stop().await;
    Ok(())
}

/// Cancelled by SIGTERM and SIGINT.
pub(crate) fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(token)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}
