//! What the tests share: servers, a running shop, a client.

pub mod engine;
pub mod gateway;
pub mod platform;
pub mod proxy;
pub mod sandbox;
pub mod shop;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use flashsale::config::Secret;
use flashsale::dev::services::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};

/// A new folder for one test's servers; what earlier runs left is removed first.
pub fn fresh_folder(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let root = ROOT.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("servers");
        let _ = std::fs::remove_dir_all(&root);
        root
    });
    let folder = root.join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).expect("a folder under target");
    folder
}

/// The Redis that tests share; they keep apart by namespace. It ends with the process.
fn shared_redis() -> &'static PrivateRedis {
    static REDIS: OnceLock<PrivateRedis> = OnceLock::new();
    REDIS.get_or_init(|| {
        PrivateRedis::start(&fresh_folder("redis"), &RedisOptions::default()).expect("redis-server starts")
    })
}

/// The PostgreSQL that tests share; they keep apart by database. It ends with the process.
fn shared_postgres() -> &'static PrivatePostgres {
    static POSTGRES: OnceLock<PrivatePostgres> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        PrivatePostgres::start(&fresh_folder("postgres"), &PostgresOptions::default()).expect("postgres starts")
    })
}

/// URL of the shared Redis.
pub fn shared_redis_url() -> Secret {
    Secret::new(shared_redis().url())
}

/// The port of the Redis that tests share.
pub fn shared_redis_port() -> u16 {
    shared_redis().port()
}

/// A namespace of one's own in the shared Redis.
pub fn namespace(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A new, migrated database on the shared PostgreSQL.
pub async fn fresh_database() -> String {
    fresh_database_on(shared_postgres()).await
}

/// A new, migrated database.
pub async fn fresh_database_on(postgres: &PrivatePostgres) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("shop_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = connect(&postgres.url("flashsale")).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
    let url = postgres.url(&name);
    flashsale::postgres::migrate::migrate(&Secret::new(url.clone())).await.expect("migrations");
    url
}

/// A connection to PostgreSQL.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    flashsale::postgres::connect(&Secret::new(url), None).await.expect("PostgreSQL answers")
}

/// The seed of a random test: from the environment, else new; printed, so that a failure can be repeated.
pub fn seed(test: &str) -> u64 {
    let seed =
        std::env::var("FLASHSALE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("{test}: FLASHSALE_TEST_SEED={seed}");
    seed
}
