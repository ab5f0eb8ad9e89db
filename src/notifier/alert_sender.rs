//! Sends alerts: one call each, again and again until it is taken. Also one whose reason is gone before it could be sent:
//! somebody should know that it was there.

use jiff::Timestamp;
use rand::Rng;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::alerts::AlertKind;
use super::pauses::Pauses;
use super::webhook::Webhook;
use super::{ALERT, SINK, StartOver};
use crate::config::Config;
use crate::forwarder::sink::Outcome;
use crate::outbound::Outlet;

/// Sends what is DUE in `alerts`.
pub(super) struct AlertSender<'a> {
    webhook: Webhook<'a>,
    pauses: Pauses,
    /// What could not be noted yet.
    unnoted: Option<Note>,
}

impl<'a> AlertSender<'a> {
    pub(super) fn new(outlet: &'a Outlet, config: &Config) -> Self {
        let pauses = Pauses::new(&config.forward_retry_ms, config.forward_retry_jitter_percent);
        Self { webhook: Webhook::new(ALERT, outlet), pauses, unnoted: None }
    }

    /// Makes one call, if an alert is due; whether it was taken.
    pub(super) async fn send(&mut self, client: &Client) -> Result<bool, StartOver> {
        let row = client.query_opt(include_str!("../../sql/notifier/alert_due.sql"), &[]).await?;
        let Some(alert) = row.as_ref().map(Alert::from_row) else { return Ok(false) };
        let body = alert.body();
        let outcome = self.webhook.call(&body.id, &body, 1).await;
        let is_taken = outcome == Outcome::Delivered;
        self.unnoted = Some(alert.note(outcome, &self.pauses, &mut rand::rng()));
        self.note(client).await?;
        Ok(is_taken)
    }

    /// Notes what became of the last call, if that was not noted yet.
    pub(super) async fn note(&mut self, client: &Client) -> Result<(), StartOver> {
        let Some(Note { alert_id, state, attempts, error, pause_ms }) = &self.unnoted else { return Ok(()) };
        let sql = include_str!("../../sql/notifier/alert_noted.sql");
        client.execute(sql, &[alert_id, state, attempts, error, pause_ms]).await?;
        self.unnoted = None;
        Ok(())
    }
}

/// An alert as PostgreSQL has it.
struct Alert {
    id: i64,
    kind: String,
    subject: String,
    attempts: i32,
    created_at: Timestamp,
    cleared_at: Option<Timestamp>,
    /// How many the sink has now; `None`: it is not about such.
    dead_letters: Option<i64>,
}

/// What became of a call: the parameters of `alert_noted.sql`.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    alert_id: i64,
    state: &'static str,
    attempts: i32,
    error: Option<String>,
    pause_ms: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(rename = "type")]
    message_kind: &'static str,
    id: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    message: String,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleared_at: Option<Timestamp>,
}

impl Alert {
    /// From `alert_due.sql`.
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.get("alert_id"),
            kind: row.get("kind"),
            subject: row.get("subject"),
            attempts: row.get("attempts"),
            created_at: row.get("created_at"),
            cleared_at: row.get("cleared_at"),
            dead_letters: row.get("dead_letters"),
        }
    }

    fn body(&self) -> Body<'_> {
        Body {
            message_kind: ALERT,
            id: format!("alert-{}", self.id),
            kind: &self.kind,
            sink: self.dead_letters.map(|_| self.subject.as_str()),
            count: self.dead_letters,
            message: self.message(),
            since: self.created_at,
            cleared_at: self.cleared_at,
        }
    }

    /// A sentence for people.
    fn message(&self) -> String {
        if let Some(count) = self.dead_letters {
            return dead_letters(&self.subject, count);
        }
        if self.kind != AlertKind::OrdersHeld.as_str() {
            // Of a newer service.
            return format!("{} {}", self.kind, self.subject);
        }
        let message = if self.cleared_at.is_some() {
            "orders or charges waited for the payment gateway for too long; now none does"
        } else {
            "orders or charges have waited for the payment gateway for too long; see flashsale_orders_held_too_long"
        };
        message.to_owned()
    }

    fn note(&self, outcome: Outcome, pauses: &Pauses, rng: &mut impl Rng) -> Note {
        let (alert_id, attempts) = (self.id, self.attempts.saturating_add(1));
        match outcome {
            Outcome::Delivered => Note { alert_id, state: "SENT", attempts, error: None, pause_ms: None },
            Outcome::Refused(reason) | Outcome::Unavailable { reason, .. } => {
                let pause_ms = Some(pauses.after_endless(attempts, rng));
                Note { alert_id, state: "DUE", attempts, error: Some(reason), pause_ms }
            }
        }
    }
}

/// `count`: how many there are now, which may be none any more.
fn dead_letters(sink: &str, count: i64) -> String {
    let (one, many) = if sink == SINK {
        ("restock notice".to_owned(), "restock notices".to_owned())
    } else {
        (format!("event for the sink {sink}"), format!("events for the sink {sink}"))
    };
    match count {
        0 => format!("{many} were given up; there are none any more"),
        1 => format!("1 {one} was given up; see GET /admin/dead-letters"),
        _ => format!("{count} {many} were given up; see GET /admin/dead-letters"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn alert(kind: AlertKind, subject: &str, dead_letters: Option<i64>) -> Alert {
        Alert {
            id: 7,
            kind: kind.as_str().to_owned(),
            subject: subject.to_owned(),
            attempts: 1,
            created_at: "2025-01-01T00:00:00Z".parse().expect("a time"),
            cleared_at: None,
            dead_letters,
        }
    }

    fn body(alert: &Alert) -> Value {
        serde_json::to_value(alert.body()).expect("JSON")
    }

    #[test]
    fn dead_letters_come_with_their_sink_and_count() {
        let expected = json!({
            "type": "alert", "id": "alert-7", "kind": "DEAD_LETTERS", "sink": "platform", "count": 12,
            "message": "12 events for the sink platform were given up; see GET /admin/dead-letters",
            "since": "2025-01-01T00:00:00Z"
        });
        assert_eq!(body(&alert(AlertKind::DeadLetters, "platform", Some(12))), expected);
    }

    #[test]
    fn held_orders_come_without_and_what_is_over_says_so() {
        let mut held = alert(AlertKind::OrdersHeld, "", None);
        let message =
            "orders or charges have waited for the payment gateway for too long; see flashsale_orders_held_too_long";
        let mut expected = json!({
            "type": "alert", "id": "alert-7", "kind": "ORDERS_HELD", "message": message,
            "since": "2025-01-01T00:00:00Z"
        });
        assert_eq!(body(&held), expected);
        held.cleared_at = Some("2025-01-01T01:00:00Z".parse().expect("a time"));
        expected["clearedAt"] = json!("2025-01-01T01:00:00Z");
        expected["message"] = json!("orders or charges waited for the payment gateway for too long; now none does");
        assert_eq!(body(&held), expected);
    }

    #[test]
    fn messages_are_sentences() {
        for (sink, count, expected) in [
            ("kafka", 0, "events for the sink kafka were given up; there are none any more"),
            ("kafka", 1, "1 event for the sink kafka was given up; see GET /admin/dead-letters"),
            (SINK, 0, "restock notices were given up; there are none any more"),
            (SINK, 1, "1 restock notice was given up; see GET /admin/dead-letters"),
            (SINK, 2, "2 restock notices were given up; see GET /admin/dead-letters"),
        ] {
            assert_eq!(alert(AlertKind::DeadLetters, sink, Some(count)).message(), expected);
        }
        let newer = Alert { kind: "DISK_FULL".to_owned(), ..alert(AlertKind::OrdersHeld, "sda", None) };
        assert_eq!(newer.message(), "DISK_FULL sda");
    }

    #[test]
    fn an_alert_is_never_given_up() {
        let pauses = Pauses::new(&"300,900".parse().expect("pauses"), 0);
        let mut alert = alert(AlertKind::OrdersHeld, "", None);
        let mut note = |attempts, outcome| {
            alert.attempts = attempts;
            alert.note(outcome, &pauses, &mut rand::rng())
        };
        for (attempts, pause_ms) in [(0, 300), (1, 900), (2, 900), (99, 900)] {
            let (error, pause_ms) = (Some("HTTP 400".to_owned()), Some(pause_ms));
            let expected = Note { alert_id: 7, state: "DUE", attempts: attempts + 1, error, pause_ms };
            assert_eq!(note(attempts, Outcome::Refused("HTTP 400".to_owned())), expected);
            let away = Outcome::Unavailable { reason: "HTTP 400".to_owned(), pause: None };
            assert_eq!(note(attempts, away), expected);
        }
        let sent = Note { alert_id: 7, state: "SENT", attempts: 3, error: None, pause_ms: None };
        assert_eq!(note(2, Outcome::Delivered), sent);
    }
}
