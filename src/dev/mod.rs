//! `flashsale dev`: everything on one machine, under one data folder, for development and for a first look.

mod catalogue;
pub mod env_file;
mod process;
pub mod services;
mod spawner;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::cli::{print_line, stop_signal};
use crate::config::{Config, Secret, Source};
use crate::http::auth::Minter;
use crate::postgres::migrate;
use crate::sandbox::Sandbox;
use crate::service::Service;
use services::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};

/// Data folder when none is given.
pub const DATA_DEFAULT: &str = "data";

/// Lifetime of tokens when none is given: a week.
pub const TOKEN_TTL_S: u64 = 7 * 86_400;

/// `iss` and `aud` of tokens: the defaults of the settings.
pub const JWT_ISSUER: &str = "flashsale";
/// See [`JWT_ISSUER`].
pub const JWT_AUDIENCE: &str = "flashsale";

/// Whoever plays a sale wants to see soon that the books agree.
const VERIFY_INTERVAL_MS: &str = "10000";

const READY_TIMEOUT: Duration = Duration::from_mins(1);

const JWT_SECRET_CHARS: usize = 48;

/// Options of `flashsale dev`.
#[derive(Debug, clap::Args)]
pub struct DevOptions {
    /// Folder of all data; kept between runs.
    #[arg(long, default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// Port of the public listener; 0: any free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the operations listener; 0: any free one.
    #[arg(long, default_value_t = 8081)]
    ops_port: u16,
    /// Throw the data away and start over.
    #[arg(long)]
    fresh: bool,
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(options: DevOptions) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    check_ports(&options)?;
    let data = prepare_folder(&options)?;
    let secret = jwt_secret(&data)?;
    let (redis, postgres) = start_servers(&data).await?;
    let database_url = postgres.url("flashsale");
    migrate::migrate(&Secret::new(database_url.clone())).await?;

    let mut source = Source::from_process(None);
    source.set("redis_url", redis.url());
    source.set("database_url", database_url.as_str());
    source.set("jwt_secret", secret.expose());
    source.set("jwt_issuer", JWT_ISSUER);
    source.set("jwt_audience", JWT_AUDIENCE);
    source.set("listen", format!("127.0.0.1:{}", options.port));
    source.set("ops_listen", format!("127.0.0.1:{}", options.ops_port));
    source.set("dev_pages", "true");
    if !source.has("verify_interval_ms") {
        source.set("verify_interval_ms", VERIFY_INTERVAL_MS);
    }
    // On a port of its own: what a gateway and a data platform would be.
    let sandbox = Sandbox::bind(0).await?;
    let sandbox_url = format!("http://{}", sandbox.address());
    let sandbox = tokio::spawn(sandbox.run(stop.clone()));
    if !source.has("gateway_url") {
        source.set("gateway_url", format!("{sandbox_url}/gateway"));
    }
    if !source.has("platform_url") {
        source.set("platform_url", format!("{sandbox_url}/platform/events"));
    }
    for webhook in ["notification", "alert"] {
        if !source.has(&format!("{webhook}_webhook")) {
            source.set(&format!("{webhook}_webhook"), format!("{sandbox_url}/platform/webhooks/{webhook}s"));
        }
    }
    let prometheus = crate::metrics::install()?;
    let service = Service::start(Arc::new(Config::load(&source)?), prometheus).await?;
    wait_ready(&service).await?;
    catalogue::put_if_empty(&service.app).await?;

    let address = service.address.context("dev runs the role api; see FLASHSALE_ROLES")?;
    let minter = Minter::new(&secret, JWT_ISSUER, JWT_AUDIENCE)?;
    let facts = env_file::Facts {
        url: format!("http://{address}"),
        ops_url: format!("http://{}", service.ops_address),
        sandbox_url,
        user_token: minter.mint("user-1", false, TOKEN_TTL_S)?,
        admin_token: minter.mint("admin", true, TOKEN_TTL_S)?,
        redis_url: redis.url(),
        database_url,
        jwt_secret: secret.expose().to_owned(),
    };
    let path = env_file::write(&data, &facts)?;
    print_welcome(&facts, &path);

    stop.cancelled().await;
    tracing::info!("stopping");
    env_file::remove(&data);
    service.stop().await;
    let _ = sandbox.await;
    tokio::task::spawn_blocking(move || {
        redis.stop();
        postgres.stop();
    })
    .await?;
    Ok(())
}

/// Before anything is made or started; whoever takes a port in between is noticed later.
fn check_ports(options: &DevOptions) -> anyhow::Result<()> {
    anyhow::ensure!(options.port == 0 || options.port != options.ops_port, "--port and --ops-port must differ");
    for port in [options.port, options.ops_port].into_iter().filter(|port| *port != 0) {
        std::net::TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!(
                "port {port} cannot be used. Is flashsale running already (http://127.0.0.1:{port}/)? On other ports, and with data \
                 of its own: make run ARGS=\"--data other --port 9000 --ops-port 9001\""
            )
        })?;
    }
    Ok(())
}

fn prepare_folder(options: &DevOptions) -> anyhow::Result<PathBuf> {
    if options.fresh && options.data.exists() {
        // Only a folder that this program made: a slip of the hand must not empty a home directory.
        anyhow::ensure!(
            options.data.join("jwt-secret").exists(),
            "{} was not made by flashsale dev: not removing it",
            options.data.display()
        );
        // Nor one that somebody sells from.
        let servers = ["redis", "postgres"].map(|server| options.data.join(server));
        let _claims: Vec<_> = servers.iter().map(|folder| spawner::claim(folder)).collect::<anyhow::Result<_>>()?;
        std::fs::remove_dir_all(&options.data).with_context(|| format!("removing {}", options.data.display()))?;
    }
    std::fs::create_dir_all(&options.data).with_context(|| format!("creating {}", options.data.display()))?;
    options.data.canonicalize().context("finding the data folder")
}

/// The secret that tokens are signed with: random, made once per data folder.
fn jwt_secret(data: &Path) -> anyhow::Result<Secret> {
    let path = data.join("jwt-secret");
    if let Ok(secret) = std::fs::read_to_string(&path) {
        return Ok(Secret::new(secret.trim()));
    }
    let secret: String = rand::rng().sample_iter(Alphanumeric).take(JWT_SECRET_CHARS).map(char::from).collect();
    env_file::write_private(&path, &secret)?;
    Ok(Secret::new(secret))
}

async fn start_servers(data: &Path) -> anyhow::Result<(PrivateRedis, PrivatePostgres)> {
    let (for_redis, for_postgres) = (data.to_owned(), data.to_owned());
    let redis = tokio::task::spawn_blocking(move || PrivateRedis::start(&for_redis, &RedisOptions::default()));
    let postgres =
        tokio::task::spawn_blocking(move || PrivatePostgres::start(&for_postgres, &PostgresOptions::default()));
    Ok((redis.await??, postgres.await??))
}

async fn wait_ready(service: &Service) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let reasons = service.app.not_ready();
        if reasons.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < READY_TIMEOUT, "not ready: {}", reasons.join("; "));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn print_welcome(facts: &env_file::Facts, path: &Path) {
    let (url, env) = (&facts.url, path.display());
    print_line(&format!(
        "\nflashsale is ready.\n\n  \
         storefront  {url}/\n  \
         live page   {}/live\n  \
         products    {url}/api/products\n  \
         operations  {}/readyz  /metrics\n  \
         sandbox     {}/gateway/book  /platform/book\n  \
         user token  {}\n  \
         admin token {}\n\n\
         Open the storefront, or in another shell (the first lines of \"A first order\" in the README):\n\n  \
         . {env}\n  \
         curl -s $FLASHSALE_URL/api/products/1; echo\n  \
         curl -s -X POST $FLASHSALE_URL/api/users/me/balance/charge -H \"Authorization: Bearer $USER_TOKEN\" \\\n    \
         -H \"Idempotency-Key: first-charge\" -d '{{\"amount\": 200000}}'; echo\n  \
         curl -s -X POST $FLASHSALE_URL/api/orders -H \"Authorization: Bearer $USER_TOKEN\" \\\n    \
         -H \"Idempotency-Key: first-order\" -d '{{\"items\": [{{\"productId\": 1, \"quantity\": 2}}]}}'; echo\n\n\
         Ctrl-C ends it; the data stays.\n",
        facts.ops_url, facts.ops_url, facts.sandbox_url, facts.user_token, facts.admin_token,
    ));
}
