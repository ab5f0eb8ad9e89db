//! Private Redis and PostgreSQL, of this run only.

use std::path::Path;

use anyhow::{Context as _, Result};
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
    /// Starts both on free ports with empty data, in folders of their own below `data`.
    pub async fn start(data: &Path) -> Result<Self> {
        let (for_redis, for_postgres) = (data.to_owned(), data.to_owned());
        let redis = spawn_blocking(move || PrivateRedis::start(&for_redis, &RedisOptions::default()));
        let postgres = spawn_blocking(move || PrivatePostgres::start(&for_postgres, &PostgresOptions::default()));
        let redis = redis.await?.context("a private Redis")?;
        let postgres = postgres.await?.context("a private PostgreSQL")?;
        Ok(Self { redis, postgres })
    }

    /// A connection to Redis.
    pub async fn redis(&self) -> Result<Redis> {
        let client = Builder::from_config(RedisConfig::from_url(&self.redis.url())?).build()?;
        client.init().await?;
        Ok(client)
    }
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
