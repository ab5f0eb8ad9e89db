//! Configuration: one flat list of settings, each read from the environment (`FLASHSALE_NAME`) or, failing that, from a
//! TOML file (`name = …`), else its default. Every error is reported at once, before a port opens.

mod contradictions;
mod source;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::logs::LogFormat;
pub use source::{ConfigErrors, Source};
pub use value::{Durations, JwtAlgorithm, Parse, Role, Roles, Secret};

/// Declares the settings: the struct, how it is loaded, and its reference for people, from one list.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// Everything that can be configured. Units are in the names.
        #[derive(Clone, Debug)]
        pub struct Config { $($(#[doc = $doc])+ pub $name: $type,)+ }

        impl Config {
            /// Reads all settings; unknown names in the environment or the file are errors too.
            pub fn load(source: &Source) -> Result<Self, ConfigErrors> {
                let mut errors = source.unknown_names(&[$(stringify!($name)),+]);
                $(let $name = source.get::<$type>(stringify!($name), $default, &mut errors);)+
                if !errors.is_empty() {
                    return Err(ConfigErrors(errors));
                }
                let config = Config { $($name: $name.expect("no errors, so every setting has a value"),)+ };
                let errors = config.contradictions();
                if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
            }

            /// One line per setting: environment name, default, meaning. Source: the doc comments above.
            pub fn reference() -> Vec<SettingReference> {
                vec![$(SettingReference {
                    name: stringify!($name),
                    default: $default,
                    meaning: concat!($($doc),+).trim(),
                },)+]
            }
        }
    };
}

/// One line of the reference that `flashsale settings` prints.
#[derive(Debug)]
pub struct SettingReference {
    /// Name in TOML; in the environment upper case behind `FLASHSALE_`.
    pub name: &'static str,
    /// Default as text; `None` when the setting is required.
    pub default: Option<&'static str>,
    /// What it does.
    pub meaning: &'static str,
}

settings! {
    /// Parts of the service that this process runs: api, writer, forwarder, sweeper.
    roles: Roles = Some("api,writer,forwarder,sweeper");
    /// How logs look on stderr: text, or json (an object per line). What is logged, `RUST_LOG` says.
    log_format: LogFormat = Some("text");
    /// An order, payment or cancellation that takes this long is logged with where its time went, in ms; at most ten a second. 0: none is.
    slow_order_ms: Duration = Some("500");
    /// Whether the `traceparent` of callers is believed: it names the request, decides with OpenTelemetry whether it is recorded, and goes on to the gateway. False where strangers can send one.
    http_traceparent_trusted: bool = Some("true");
    /// Address of the public listener.
    listen: SocketAddr = Some("127.0.0.1:8080");
    /// Address of the operations listener (metrics, health, admin); keep it off the internet.
    ops_listen: SocketAddr = Some("127.0.0.1:8081");
    /// Redis, as `redis://[user:password@]host:port[/db]`.
    redis_url: Secret = None;
    /// Prefix of every key in Redis; two services can share one Redis under two names.
    redis_namespace: String = Some("flashsale");
    /// PostgreSQL, as `postgres://user:password@host:port/database`.
    database_url: Secret = None;
    /// Connections to PostgreSQL for reads, beside the writer's own.
    database_connections_max: usize = Some("8");
    /// Longest time a read waits for PostgreSQL, in ms.
    database_timeout_ms: Duration = Some("2000");
    /// Redis settings that need not be as the service requires, by name (appendonly, appendfsync, no-appendfsync-on-rewrite, maxmemory-policy, lazyfree-lazy-expire), comma separated.
    redis_requirements_waived: String = Some("");

    /// Serves a shop to play in on the public listener, with tokens for whoever asks, and lets the live page start rushes. For `flashsale dev`.
    dev_pages: bool = Some("false");

    /// Algorithm of the tokens: HS256 or EdDSA. A token that names another one is refused.
    jwt_algorithm: JwtAlgorithm = Some("HS256");
    /// Secret of HS256 tokens, at least 32 bytes.
    jwt_secret: Secret = Some("");
    /// PEM file with the public key of EdDSA tokens.
    jwt_public_key_file: PathBuf = Some("");
    /// Required `iss` of a token.
    jwt_issuer: String = Some("flashsale");
    /// Required `aud` of a token.
    jwt_audience: String = Some("flashsale");
    /// Clock difference that exp and nbf forgive, in seconds.
    jwt_leeway_s: u64 = Some("5");
    /// Bytes of verified tokens that are remembered until they expire, so that their signature is checked once.
    jwt_cache_bytes_max: u64 = Some("33554432");

    /// Open connections; further ones wait in the kernel's backlog.
    http_connections_max: usize = Some("10000");
    /// Bytes of a request's head (and of the read buffer).
    http_header_bytes_max: usize = Some("16384");
    /// Header fields in a request.
    http_headers_max: usize = Some("64");
    /// Time for a request's head to arrive, and for an idle connection to live, in ms.
    http_header_timeout_ms: Duration = Some("15000");
    /// Bytes of a request's body (413 beyond).
    http_body_bytes_max: usize = Some("16384");
    /// Time for a request's body to arrive, in ms.
    http_body_timeout_ms: Duration = Some("5000");
    /// Time for a handler, in ms; above `op_deadline_ms`.
    http_handler_timeout_ms: Duration = Some("20000");
    /// Requests per second of one user (429 beyond); short bursts may take twice as many. 0: no limit.
    http_user_requests_per_s_max: u32 = Some("200");
    /// Time between "not ready" and the last new connection at shutdown, in ms; give load balancers theirs.
    shutdown_drain_ms: Duration = Some("0");
    /// Time that open requests get at shutdown, in ms.
    shutdown_timeout_ms: Duration = Some("10000");

    /// Ops in one batch.
    lane_ops_max: usize = Some("128");
    /// Redis fields in one batch, all its ops together: what bounds the time of one call.
    lane_fields_max: usize = Some("4000");
    /// Batches in flight per cell.
    lane_batches_in_flight_max: usize = Some("2");
    /// Ops that arrive while a batch is in flight wait until so many do, or until none is in flight (at most
    /// `lane_ops_max` and `lane_queue_max`). 1: they go at once, as long as there is room for a batch.
    lane_next_batch_ops_min: usize = Some("48");
    /// Ops waiting per cell (503 beyond).
    lane_queue_max: usize = Some("10000");
    /// Time for an op from arrival to answer (503 when never sent, 504 when sent), in ms.
    op_deadline_ms: Duration = Some("3000");
    /// Time for one call of Redis before it is sent again, in ms.
    redis_timeout_ms: Duration = Some("1000");

    /// A charge is a multiple of this, in minor units.
    charge_unit: u64 = Some("100");
    /// Largest single charge, in minor units.
    charge_max: u64 = Some("1000000");
    /// Largest balance, in minor units; charges that the gateway has not answered count.
    balance_max: u64 = Some("1000000000000");
    /// Charges of one user that the gateway has not answered.
    open_charges_max: u32 = Some("10");
    /// Items in one order, and in a cart.
    order_items_max: usize = Some("50");
    /// Units of one product in one order, and in a cart.
    order_quantity_max: u32 = Some("1000");
    /// Whether an order must carry a shipping address.
    shipping_address_required: bool = Some("false");
    /// How long a reserved order (payment LATER) can be paid before it expires, in ms.
    reservation_ttl_ms: Duration = Some("600000");
    /// How long a paid order can be cancelled, in ms; below 24 h.
    cancel_window_ms: Duration = Some("1800000");
    /// Unpaid orders of one user.
    max_open_orders: u32 = Some("3");
    /// Stock at which a product that was sold out is back, for those who asked to be told.
    restock_threshold: u64 = Some("1");
    /// Events that may wait for PostgreSQL (503 beyond).
    log_backlog_max: u64 = Some("5000000");
    /// Time zone of the business day that rankings count by (IANA name).
    business_timezone: String = Some("Asia/Seoul");

    /// Payment gateway, as `http(s)://host[:port]/path`. Empty: charges are credited at once, and nobody pays by card.
    gateway_url: String = Some("");
    /// Sent to the gateway as a bearer token.
    gateway_api_key: Secret = Some("");
    /// Time for one call of the gateway, in ms; without a clear answer by then the client gets 202.
    gateway_timeout_ms: Duration = Some("3000");
    /// Calls of the gateway under way (503 beyond).
    gateway_in_flight_max: usize = Some("64");
    /// How long the gateway's answer may be open before the sweeper asks again, in ms; then after twice the time, and so on.
    gateway_recovery_ms: Duration = Some("60000");
    /// Longest pause between two such questions, in ms.
    gateway_recovery_max_ms: Duration = Some("3600000");
    /// Age of a held order at which an operator is alerted, in ms.
    held_alert_ms: Duration = Some("3600000");
    /// Pause between two looks of the sweeper at what is due, in ms.
    sweep_interval_ms: Duration = Some("1000");
    /// Orders and charges that the sweeper takes at once.
    sweep_batch_max: usize = Some("64");
    /// Pause between two comparisons of Redis with PostgreSQL, in ms. 0: never.
    verify_interval_ms: Duration = Some("600000");

    /// Data platform that is told of orders and balances, as `http(s)://host[:port]/path` that events are posted to. Empty: none.
    platform_url: String = Some("");
    /// Signs what goes to the data platform, as Standard Webhooks says (HMAC-SHA256; `whsec_` and base64, or any text). Empty: unsigned.
    platform_secret: Secret = Some("");
    /// Time for one request to the data platform, in ms.
    platform_timeout_ms: Duration = Some("5000");
    /// Events in one request to the data platform; 1: one request per order.
    platform_batch_max: usize = Some("100");
    /// Requests to the data platform under way; the events of one user are always in one at a time.
    platform_in_flight_max: usize = Some("8");
    /// Kafka brokers, as `host:port,…`, that are told of orders and balances; needs a service built with the feature `kafka`. Empty: none.
    kafka_brokers: String = Some("");
    /// Put in front of the topics order-completed, order-cancelled and balance-changed.
    kafka_topic_prefix: String = Some("");
    /// Time for Kafka to acknowledge an event, in ms.
    kafka_timeout_ms: Duration = Some("10000");
    /// Pauses before an event that could not be delivered is sent again, in ms, comma separated; after the last one it is a dead letter.
    forward_retry_ms: Durations = Some("300000,900000,900000");
    /// Random part of these pauses, in percent: up to so much more or less.
    forward_retry_jitter_percent: u32 = Some("10");
    /// Pause between two looks for new events when there were none, in ms.
    forward_interval_ms: Duration = Some("100");
    /// Least time from one commit of the forwarder to the next, in ms.
    forward_commit_interval_ms: Duration = Some("500");
    /// Events that wait for another try, and behind those, per sink; beyond it the forwarder reads no further.
    forward_waiting_max: usize = Some("100000");
    /// Failed requests in a row after which a sink is spared. 0: never, unless it asks for a pause.
    breaker_failures_max: u32 = Some("3");
    /// How long a sink is spared before one request tries it again, in ms.
    breaker_open_ms: Duration = Some("10000");
    /// Gets restock notices, as `http(s)://…`. Empty: they stay DUE.
    notification_webhook: Secret = Some("");
    /// Gets alerts (dead letters, orders held for too long), once each, as `http(s)://…`. Empty: they stay DUE.
    alert_webhook: Secret = Some("");
    /// Signs both webhooks, as Standard Webhooks says. Empty: unsigned.
    webhook_secret: Secret = Some("");
    /// Time for one call of a webhook, in ms.
    webhook_timeout_ms: Duration = Some("5000");
    /// Restock notices in one call.
    notification_batch_max: usize = Some("100");

    /// Age of catalogue and stock in answers, in ms: the pause between two background refreshes.
    catalog_refresh_ms: Duration = Some("200");
    /// Age of rankings in answers, in ms: the pause between two background refreshes.
    popular_refresh_ms: Duration = Some("1000");

    /// Pause between two heartbeats of an instance into PostgreSQL, in ms.
    heartbeat_ms: Duration = Some("1000");
    /// Heartbeat age beyond which an instance counts as dead when a cell is opened again, in ms.
    instance_dead_after_ms: Duration = Some("5000");

    /// Events that the writer commits at once.
    writer_events_max: usize = Some("10000");
    /// Least time from one commit to the next, in ms, unless so much waits that a commit is full: under load fewer, larger commits.
    writer_commit_interval_ms: Duration = Some("100");
    /// How long the log keeps entries that PostgreSQL has, in ms.
    log_keep_ms: Duration = Some("600000");
    /// Bytes of committed events that the log keeps at most.
    log_keep_bytes_max: u64 = Some("1073741824");
    /// Pause between two attempts to apply parked events, in ms.
    dead_event_retry_ms: Duration = Some("60000");
}

impl Config {
    /// The one setting that a migration needs.
    pub fn database_url(source: &Source) -> Result<Secret, ConfigErrors> {
        let mut errors = Vec::new();
        source.get("database_url", None, &mut errors).ok_or(ConfigErrors(errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pairs: &[(&str, &str)], file: &str) -> Source {
        let env = pairs.iter().map(|(k, v)| (format!("FLASHSALE_{k}"), (*v).to_owned()));
        Source::new(env, Some(("test.toml".to_owned(), file.to_owned())))
    }

    const REQUIRED: [(&str, &str); 3] = [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("DATABASE_URL", "postgres://u:pw@127.0.0.1/d"),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
    ];

    #[test]
    fn environment_wins_over_the_file_and_the_file_over_defaults() {
        let mut env = REQUIRED.to_vec();
        env.push(("LANE_OPS_MAX", "7"));
        let config = Config::load(&source(&env, "lane_ops_max = 9\ncharge_unit = 50\n")).expect("valid");
        assert_eq!((config.lane_ops_max, config.charge_unit, config.charge_max), (7, 50, 1_000_000));
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let env = [("LANE_OPS_MAX", "many"), ("LISTEN", "nowhere"), ("SPELING", "1")];
        let error = Config::load(&source(&env, "also_unknown = 1\n")).expect_err("invalid").to_string();
        for part in ["lane_ops_max", "listen", "FLASHSALE_SPELING", "also_unknown", "redis_url", "database_url"] {
            assert!(error.contains(part), "{part} is missing in:\n{error}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_never_printed() {
        let mut env = REQUIRED.to_vec();
        env[2].1 = "hunter2";
        let error = Config::load(&source(&env, "")).expect_err("too short").to_string();
        assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
        let config = Config::load(&source(&REQUIRED, "")).expect("valid");
        let printed = format!("{config:?}");
        assert!(!printed.contains("0123456789abcdef") && !printed.contains("u:pw"), "{printed}");
    }
}
