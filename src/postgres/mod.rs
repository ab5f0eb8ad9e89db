//! PostgreSQL: connections, migrations and the queries of the API. The writer has a connection and statements of its
//! own, in `writer/`.

pub mod dead_letters;
pub mod gate;
pub mod history;
pub mod migrate;
pub mod sync;

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::NoTls;

use crate::config::{Config, Secret};

/// Time for a TCP connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// PostgreSQL did not give an answer (503); the text is for operators.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL: {0}")]
pub struct DatabaseError(pub String);

impl From<deadpool_postgres::PoolError> for DatabaseError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self(error.to_string())
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(describe(&error))
    }
}

/// An error with the server's words, which `Display` leaves out.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}

/// Reads a database URL.
///
/// # Errors
/// One that cannot be read; the message does not quote it.
pub fn parse_url(url: &Secret) -> anyhow::Result<tokio_postgres::Config> {
    let mut config: tokio_postgres::Config =
        url.expose().parse().map_err(|_| anyhow::anyhow!("database_url is not a valid PostgreSQL URL"))?;
    config.connect_timeout(CONNECT_TIMEOUT);
    config.keepalives_idle(Duration::from_secs(10));
    config.tcp_user_timeout(Duration::from_secs(10));
    config.application_name("flashsale");
    Ok(config)
}

/// The pool for reads and heartbeats.
///
/// # Errors
/// An URL that cannot be read.
pub fn pool(config: &Config) -> anyhow::Result<Pool> {
    let timeout = config.database_timeout_ms;
    let mut postgres = parse_url(&config.database_url)?;
    postgres.options(format!("-c statement_timeout={}", timeout.as_millis()));
    // Verified: a connection that died while it lay in the pool must not cost a request.
    let manager = Manager::from_config(postgres, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Verified });
    Pool::builder(manager)
        .max_size(config.database_connections_max)
        .timeouts(Timeouts { wait: Some(timeout), create: Some(timeout), recycle: Some(timeout) })
        .runtime(Runtime::Tokio1)
        .build()
        .context("building the pool")
}

/// One connection of its own; its task ends with it. `statement_timeout`: the longest that one statement may take.
pub async fn connect(url: &Secret, statement_timeout: Option<Duration>) -> anyhow::Result<tokio_postgres::Client> {
    let mut config = parse_url(url)?;
    if let Some(timeout) = statement_timeout {
        config.options(format!("-c statement_timeout={}", timeout.as_millis()));
    }
    let connected = tokio::time::timeout(2 * CONNECT_TIMEOUT, config.connect(NoTls)).await;
    let (client, connection) =
        connected.context("PostgreSQL does not answer")?.map_err(|e| anyhow::anyhow!(describe(&e)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %describe(&error), "a connection to PostgreSQL ended");
        }
    });
    Ok(client)
}
