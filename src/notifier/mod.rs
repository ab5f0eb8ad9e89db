//! The notification sink: sends restock notices to `notification_webhook` and alerts to `alert_webhook`, as JSON.
//!
//! | `type` | other members |
//! |---|---|
//! | `restock` | `notices`, oldest first: `{id, productId, productName, userId, email, requestedAt}` each; `productName` is `null` while nobody knows it |
//! | `alert` | `id`, `kind`, `message` (for people), `since`; of `DEAD_LETTERS` also `sink` and `count` (of now); `clearedAt` when the reason is gone already |
//!
//! Each is sent once: with a 2xx the receiver has it for good, and that is noted in PostgreSQL. But a call and a commit are two
//! things: when the process dies between them, or the answer is lost, the same comes again, and nobody can do better. So whoever
//! must act once deduplicates by `id`, that of a notice or of an alert, which never changes. (The header `Idempotency-Key`
//! stands for the ids of one call; the next call may put the same notices together in another way.)

mod alert_sender;
pub mod alerts;
mod pauses;
mod restock;
mod webhook;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::gauge;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics as names;
use crate::outbound::{Outlet, OutletSettings};
use alert_sender::AlertSender;
use restock::RestockSender;

/// The name of this sink in tables and metrics.
pub const SINK: &str = "notification";

/// What webhooks take.
const RESTOCK: &str = "restock";
const ALERT: &str = "alert";

/// Pause after an error before the notifier starts over.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Time for one statement. A hung PostgreSQL must not hold the notifier for ever.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two looks at what is due and what was given up.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// Class of the advisory lock that keeps two notifiers from sending the same.
const NOTIFIER_LOCK: i32 = 0x666c_6e74;

/// PostgreSQL is away, or another notifier is at work: try again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct StartOver(String);

impl From<tokio_postgres::Error> for StartOver {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(crate::postgres::describe(&error))
    }
}

/// Sends notices and alerts.
pub struct Notifier {
    config: Arc<Config>,
    restock: Option<Outlet>,
    alerts: Option<Outlet>,
}

impl Notifier {
    /// Checks the settings; connects to nothing yet. `None`: no webhook is configured, so everything stays DUE.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: Arc<Config>) -> anyhow::Result<Option<Self>> {
        let restock = outlet("the notification webhook", config.notification_webhook.expose(), &config)?;
        let alerts = outlet("the alert webhook", config.alert_webhook.expose(), &config)?;
        if restock.is_none() && alerts.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { config, restock, alerts }))
    }

    /// Sends until told to stop, whatever comes and goes meanwhile. A call that is under way then is ended and noted: broken off,
    /// it would come again. It takes `webhook_timeout_ms` at most.
    pub async fn run(&self, stop: CancellationToken) {
        let mut senders = Senders {
            restock: self.restock.as_ref().map(|outlet| RestockSender::new(outlet, &self.config)),
            alerts: self.alerts.as_ref().map(|outlet| AlertSender::new(outlet, &self.config)),
        };
        // What went wrong last, so that a rival at work or a database that is away is told once, not twice a second.
        let mut told = String::new();
        while !stop.is_cancelled() {
            let sent = AssertUnwindSafe(self.send_until_error(&mut senders, &stop)).catch_unwind().await;
            if let Err(StartOver(why)) = sent.unwrap_or_else(|_| Err(StartOver("it panicked: a bug".to_owned())))
                && why != told
            {
                tracing::warn!(why, "the notifier starts over");
                told = why;
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn send_until_error(&self, senders: &mut Senders<'_>, stop: &CancellationToken) -> Result<(), StartOver> {
        let connect = crate::postgres::connect(&self.config.database_url, Some(STATEMENT_TIMEOUT));
        let mut client = connect.await.map_err(|e| StartOver(e.to_string()))?;
        // Before anything else, and whoever is at work now: what was sent must not be sent again.
        senders.note(&mut client).await?;
        let lock = client.query_one("SELECT pg_try_advisory_lock($1, 0)", &[&NOTIFIER_LOCK]).await?;
        if !lock.get::<_, bool>(0) {
            return Err(StartOver("another notifier is at work".to_owned()));
        }
        let mut look_at = Instant::now();
        while !stop.is_cancelled() {
            if look_at <= Instant::now() {
                look(&mut client).await?;
                look_at = Instant::now() + LOOK_PAUSE;
            }
            // After a failure as well: what is away is not asked without a pause.
            if !senders.send(&mut client).await? {
                tokio::select! {
                    () = tokio::time::sleep(self.config.forward_interval_ms) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        Ok(())
    }
}

/// `None`: there is no URL.
fn outlet(what: &'static str, url: &str, config: &Config) -> anyhow::Result<Option<Outlet>> {
    if url.is_empty() {
        return Ok(None);
    }
    let settings = OutletSettings {
        what,
        url,
        secret: config.webhook_secret.clone(),
        timeout: config.webhook_timeout_ms,
        connections_max: 1,
    };
    Outlet::new(settings).map(Some)
}

/// Sets the gauges, and takes back the alert of dead letters when there are none any more.
async fn look(client: &mut Client) -> Result<(), StartOver> {
    let row = client.query_one(include_str!("../../sql/notifier/counts.sql"), &[]).await?;
    let count = |column: &str| row.get::<_, i64>(column) as f64;
    gauge!(names::NOTICES_DUE, "kind" => RESTOCK).set(count("notices_due"));
    gauge!(names::NOTICES_DUE, "kind" => ALERT).set(count("alerts_due"));
    gauge!(names::DEAD_LETTERS, "sink" => SINK).set(count("notices_dead"));
    let transaction = client.transaction().await?;
    alerts::clear_dead_letters(&transaction, SINK).await?;
    transaction.commit().await?;
    Ok(())
}

/// What sends to which webhook; `None`: nothing does.
struct Senders<'a> {
    restock: Option<RestockSender<'a>>,
    alerts: Option<AlertSender<'a>>,
}

impl Senders<'_> {
    /// One call of each webhook for which something is due; whether one was taken, so that there may be more.
    async fn send(&mut self, client: &mut Client) -> Result<bool, StartOver> {
        let mut is_taken = false;
        if let Some(restock) = &mut self.restock {
            is_taken |= restock.send(client).await?;
        }
        if let Some(alerts) = &mut self.alerts {
            is_taken |= alerts.send(client).await?;
        }
        Ok(is_taken)
    }

    /// Notes what became of calls, if that could not be noted at once.
    async fn note(&mut self, client: &mut Client) -> Result<(), StartOver> {
        if let Some(restock) = &mut self.restock {
            restock.note(client).await?;
        }
        if let Some(alerts) = &mut self.alerts {
            alerts.note(client).await?;
        }
        Ok(())
    }
}
