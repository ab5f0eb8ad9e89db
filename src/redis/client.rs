//! One pipelined connection to Redis that calls functions of the library and says, when a call fails, whether it may
//! have been executed: the difference between 503 and 504.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, FunctionInterface};
use fred::types::config::{Config as FredConfig, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, ClientState, FromValue, Value};

use super::library::Library;
use crate::config::Secret;

/// Longest pause between two attempts to reach Redis again.
const RECONNECT_MAX_MS: u32 = 500;
const RECONNECT_MIN_MS: u32 = 20;

/// Commands that may wait inside the client library; the lane has its own, smaller, bound.
const BUFFERED_COMMANDS_MAX: usize = 10_000;

/// How much later than the client library this one gives up.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(50);

/// Calls in a row without an answer after which the connection is replaced.
const SILENT_CALLS_MAX: u32 = 2;

/// Server errors that are given before a command runs. Source: `server.c` (processCommand) and `script.c` of Redis 7.0.
const NOT_EXECUTED: [&str; 12] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "MISCONF",
    "OOM",
    "BUSY",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MOVED",
];

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It never left this process.
    #[error("Redis is unreachable")]
    NotSent,
    /// The server refused to run it (loading, read-only, out of memory).
    #[error("Redis refused the call: {0}")]
    NotExecuted(String),
    /// It was sent and no answer came: it may or may not have been executed.
    #[error("no answer from Redis: {0}")]
    Unanswered(String),
    /// The function ran into an error.
    #[error("a Redis function failed: {0}")]
    Script(String),
}

/// A connection with the library. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct RedisClient {
    client: Client,
    library: Arc<Library>,
    timeout: Duration,
    /// Calls in a row without an answer.
    silent_calls: Arc<AtomicU32>,
}

impl RedisClient {
    /// Starts connecting in the background and keeps reconnecting for ever.
    ///
    /// # Errors
    /// An URL that cannot be read; the message does not quote it. TLS is not built in, and asking for it must not end in
    /// plain text.
    pub fn start(url: &Secret, library: Arc<Library>, timeout: Duration) -> anyhow::Result<Self> {
        anyhow::ensure!(
            url.expose().starts_with("redis://"),
            "redis_url must start with redis:// (no TLS, no cluster)"
        );
        let config =
            FredConfig::from_url(url.expose()).map_err(|_| anyhow::anyhow!("redis_url is not a valid Redis URL"))?;
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.connection_timeout = timeout;
                connection.internal_command_timeout = timeout;
                // The lane sends an unanswered batch again itself; a replay behind its back would hide what happened.
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = BUFFERED_COMMANDS_MAX;
                // Such an answer would end every command in flight with its own words, executed or not.
                connection.reconnect_errors.clear();
                connection.tcp.nodelay = Some(true);
                connection.unresponsive = UnresponsiveConfig { max_timeout: Some(timeout * 2), interval: timeout };
            })
            .with_performance_config(|performance| performance.default_command_timeout = timeout)
            .set_policy(ReconnectPolicy::new_exponential(0, RECONNECT_MIN_MS, RECONNECT_MAX_MS, 2))
            .build()?;
        client.connect();
        Ok(Self { client, library, timeout, silent_calls: Arc::default() })
    }

    /// Whether a command given now would be sent now.
    pub fn is_connected(&self) -> bool {
        self.client.state() == ClientState::Connected
    }

    /// Waits for a connection, at most for the call timeout.
    pub async fn wait_connected(&self) -> bool {
        tokio::time::timeout(self.timeout, self.client.wait_for_connect()).await.is_ok_and(|done| done.is_ok())
    }

    /// The client itself, for plain commands.
    pub fn plain(&self) -> &Client {
        &self.client
    }

    /// Calls a function that writes. Loads the library first when this Redis does not have it.
    pub async fn call(&self, function: &str, keys: &[String], args: Vec<Value>) -> Result<Bytes, CallError> {
        self.call_any(function, keys, args, false).await
    }

    /// Calls a function that only reads.
    pub async fn read(&self, function: &str, keys: &[String], args: Vec<Value>) -> Result<Bytes, CallError> {
        self.call_any(function, keys, args, true).await
    }

    /// Has a batch decided. The answer is a list: one packed string would be made, and taken apart, for nothing.
    pub async fn apply(&self, keys: &[String], batch: Bytes) -> Result<Vec<Value>, CallError> {
        self.call_any("apply", keys, vec![Value::Bytes(batch)], false).await
    }

    async fn call_any<T: FromValue>(
        &self,
        function: &str,
        keys: &[String],
        args: Vec<Value>,
        read_only: bool,
    ) -> Result<T, CallError> {
        match self.call_once(function, keys, args.clone(), read_only).await {
            Err(CallError::Script(message)) if message.contains("Function not found") => {
                self.load_library().await?;
                self.call_once(function, keys, args, read_only).await
            }
            answer => answer,
        }
    }

    async fn call_once<T: FromValue>(
        &self,
        function: &str,
        keys: &[String],
        args: Vec<Value>,
        read_only: bool,
    ) -> Result<T, CallError> {
        if !self.is_connected() {
            return Err(CallError::NotSent);
        }
        let name = self.library.function(function);
        let call = async {
            if read_only {
                self.client.fcall_ro(name, keys.to_vec(), args).await
            } else {
                self.client.fcall(name, keys.to_vec(), args).await
            }
        };
        // fred's own timeout does not cover every state of a reconnect; but it comes first where it does, because only
        // then does fred throw away a command that still waits.
        let answer = match tokio::time::timeout(self.timeout + TIMEOUT_MARGIN, call).await {
            Ok(answer) => answer.map_err(|error| classify(&error)),
            Err(_) => Err(CallError::Unanswered("timeout".to_owned())),
        };
        self.watch_silence(matches!(answer, Err(CallError::Unanswered(_))));
        answer
    }

    /// A connection that died silently (a firewall forgot it) is noticed by nobody else: the client library does not
    /// look while a function is called.
    pub fn watch_silence(&self, unanswered: bool) {
        if !unanswered {
            self.silent_calls.store(0, Ordering::Relaxed);
        } else if self.silent_calls.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_CALLS_MAX {
            self.silent_calls.store(0, Ordering::Relaxed);
            tracing::warn!("Redis does not answer on this connection; making a new one");
            let client = self.client.clone();
            tokio::spawn(async move {
                let _ = client.force_reconnection().await;
            });
        }
    }

    async fn load_library(&self) -> Result<(), CallError> {
        let loaded: Result<String, _> = self.client.function_load(false, self.library.text.as_str()).await;
        match loaded {
            Ok(_) => Ok(()),
            // Another instance was faster.
            Err(error) if error.details().contains("already exists") => Ok(()),
            Err(error) => Err(match classify(&error) {
                // Loading changes no data, so an unanswered load leaves the call itself unsent.
                CallError::Unanswered(_) => CallError::NotSent,
                other => other,
            }),
        }
    }
}

/// Sorts an error of fred: the server's own words start with an upper-case word, fred's do not.
fn classify(error: &fred::error::Error) -> CallError {
    use fred::error::ErrorKind as Kind;
    let details = error.details();
    let first = details.split_whitespace().next().unwrap_or_default();
    if NOT_EXECUTED.contains(&first) {
        return CallError::NotExecuted(details.to_owned());
    }
    match error.kind() {
        Kind::Backpressure | Kind::Config | Kind::InvalidCommand => CallError::NotSent,
        Kind::Unknown | Kind::InvalidArgument | Kind::Auth
            if first.len() > 2 && first.bytes().all(|b| b.is_ascii_uppercase()) =>
        {
            CallError::Script(details.to_owned())
        }
        // Everything else may have happened after the bytes left.
        _ => CallError::Unanswered(format!("{error:?}")),
    }
}

#[cfg(test)]
mod tests {
    use fred::error::{Error, ErrorKind};

    use super::*;

    #[test]
    fn only_what_certainly_did_not_run_counts_as_not_run() {
        let classified = |kind, details: &'static str| classify(&Error::new(kind, details));
        assert!(matches!(classified(ErrorKind::Unknown, "LOADING Redis is loading"), CallError::NotExecuted(_)));
        assert!(matches!(classified(ErrorKind::Unknown, "ERR Function not found"), CallError::Script(_)));
        assert!(matches!(classified(ErrorKind::InvalidArgument, "WRONGTYPE Operation"), CallError::Script(_)));
        assert!(matches!(classified(ErrorKind::Unknown, "Connection lost"), CallError::Unanswered(_)));
        assert!(matches!(classified(ErrorKind::IO, "Connection reset"), CallError::Unanswered(_)));
        assert!(matches!(classified(ErrorKind::Canceled, "Canceled."), CallError::Unanswered(_)));
        assert!(matches!(classified(ErrorKind::Timeout, "Request timed out."), CallError::Unanswered(_)));
    }
}
