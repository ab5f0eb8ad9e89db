//! Private Redis and PostgreSQL, of this run only.

use std::path::Path;

use anyhow::{Context as _, Result};
use flashsale::dev::cores::Cores;
use flashsale::dev::services::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use fred::clients::Client as Redis;
use fred::interfaces::ClientLike as _;
use fred::types::config::Config as RedisConfig;
use fred::types::{Builder, InfoKind};
use tokio::task::spawn_blocking;
use tokio_postgres::{Client as Postgres, NoTls};

/// Both servers. They end when dropped.
pub struct Servers {
    /// With `appendfsync always`, as the service requires.
    pub redis: PrivateRedis,
    /// With its defaults: `synchronous_commit` is on.
    pub postgres: PrivatePostgres,
}

impl Servers {
    /// Starts both on free ports with empty data, in folders of their own below `data`, and divides the cores of a small
    /// machine between them, as `flashsale dev` does.
    pub async fn start(data: &Path) -> Result<Self> {
        let cores = Cores::divided();
        let (for_redis, redis) = (data.to_owned(), RedisOptions { cores: cores.clone(), ..RedisOptions::default() });
        let redis = spawn_blocking(move || PrivateRedis::start(&for_redis, &redis));
        let postgres = start_postgres(data, PostgresOptions { cores, ..PostgresOptions::default() });
        let (redis, postgres) = tokio::join!(redis, postgres);
        Ok(Self { redis: redis?.context("a private Redis")?, postgres: postgres? })
    }

    /// Ends both and starts PostgreSQL again on the same `data`, alone and with every core.
    pub async fn leave_to_postgres(self, data: &Path) -> Result<PrivatePostgres> {
        let Self { redis, postgres } = self;
        spawn_blocking(move || {
            redis.stop();
            postgres.stop();
        })
        .await?;
        start_postgres(data, PostgresOptions::default()).await
    }

    /// A connection to Redis.
    pub async fn redis(&self) -> Result<Redis> {
        let client = Builder::from_config(RedisConfig::from_url(&self.redis.url())?).build()?;
        client.init().await?;
        Ok(client)
    }
}

async fn start_postgres(data: &Path, options: PostgresOptions) -> Result<PrivatePostgres> {
    let data = data.to_owned();
    spawn_blocking(move || PrivatePostgres::start(&data, &options)).await?.context("a private PostgreSQL")
}

/// Creates a database and says where it is.
pub async fn create_database(postgres: &PrivatePostgres, name: &str) -> Result<String> {
    let admin = connect(&postgres.url("postgres")).await?;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    Ok(postgres.url(name))
}

/// Drops a database: what it left behind (vacuum, dirty pages) must not weigh on what is measured next.
pub async fn drop_database(postgres: &PrivatePostgres, name: &str) -> Result<()> {
    let admin = connect(&postgres.url("postgres")).await?;
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    Ok(admin.batch_execute("CHECKPOINT").await?)
}

/// A connection to PostgreSQL.
pub async fn connect(url: &str) -> Result<Postgres> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends when `client` is dropped; what goes wrong shows up at the next query.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// One number or text of `INFO`.
pub async fn info(redis: &Redis, section: InfoKind, field: &str) -> Result<String> {
    let text: String = redis.info(Some(section)).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("INFO has no {field}"))?.trim().to_owned())
}
