//! Restock notices: whoever asked for a product that is back is told, many in one call.

use std::fmt::Write as _;

use jiff::Timestamp;
use metrics::{counter, gauge};
use rand::Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use super::alerts::{self, AlertKind};
use super::pauses::Pauses;
use super::webhook::Webhook;
use super::{RESTOCK, SINK, StartOver};
use crate::config::Config;
use crate::engine::ids::EntityId;
use crate::forwarder::breaker::Breaker;
use crate::forwarder::sink::Outcome;
use crate::metrics as names;
use crate::outbound::Outlet;

/// Bytes of the hash that names a call with several notices.
const BATCH_ID_BYTES: usize = 16;

/// Sends what is DUE in `restock_notifications`.
pub(super) struct RestockSender<'a> {
    webhook: Webhook<'a>,
    breaker: Breaker,
    pauses: Pauses,
    /// Notices in one call.
    batch_max: usize,
    /// Notices in the next call: halved when one is refused, so that what is wrong is found and the rest goes through.
    next_batch_max: usize,
    /// What could not be noted yet.
    unnoted: Option<Note>,
}

impl<'a> RestockSender<'a> {
    pub(super) fn new(outlet: &'a Outlet, config: &Config) -> Self {
        Self {
            webhook: Webhook::new(RESTOCK, outlet),
            breaker: Breaker::new(config.breaker_failures_max, config.breaker_open_ms),
            pauses: Pauses::new(&config.forward_retry_ms, config.forward_retry_jitter_percent),
            batch_max: config.notification_batch_max,
            next_batch_max: config.notification_batch_max,
            unnoted: None,
        }
    }

    /// Makes one call, if something is due and the webhook not spared; whether it was taken.
    pub(super) async fn send(&mut self, client: &mut Client) -> Result<bool, StartOver> {
        if self.breaker.retry_at().is_some_and(|at| at > Instant::now()) {
            return Ok(false);
        }
        let notices = self.load(client).await?;
        // In this order: what is admitted must be sent and reported.
        if notices.is_empty() || !self.breaker.admits(Instant::now()) {
            return Ok(false);
        }
        let body = Body { kind: RESTOCK, notices: &notices };
        let outcome = self.webhook.call(&call_id(&notices), &body, notices.len()).await;
        let is_taken = outcome == Outcome::Delivered;
        self.unnoted = self.judge(notices, outcome);
        gauge!(names::BREAKER_STATE, "sink" => SINK).set(self.breaker.state().as_gauge());
        self.note(client).await?;
        Ok(is_taken)
    }

    async fn load(&self, client: &Client) -> Result<Vec<Notice>, StartOver> {
        let limit = i64::try_from(self.next_batch_max).unwrap_or(i64::MAX);
        let rows = client.query(include_str!("../../sql/notifier/restock_due.sql"), &[&limit]).await?;
        rows.iter().map(Notice::from_row).collect()
    }

    /// What is to be noted after a call; `None`: nothing, as if it had not been made.
    fn judge(&mut self, notices: Vec<Notice>, outcome: Outcome) -> Option<Note> {
        match outcome {
            Outcome::Delivered => {
                self.breaker.succeeded();
                self.next_batch_max = (2 * self.next_batch_max).min(self.batch_max);
                Some(Note::sent(notices))
            }
            Outcome::Refused(reason) => {
                // Whoever refuses is there.
                self.breaker.succeeded();
                if notices.len() > 1 {
                    self.next_batch_max = notices.len() / 2;
                    return None;
                }
                Some(Note::failed(notices, reason, &self.pauses, &mut rand::rng()))
            }
            Outcome::Unavailable { reason, pause } => {
                if self.breaker.failed(Instant::now(), pause) {
                    return Some(Note::postponed(notices, reason));
                }
                Some(Note::failed(notices, reason, &self.pauses, &mut rand::rng()))
            }
        }
    }

    /// Notes what became of the last call, if that was not noted yet. People are alerted in the same commit that gives up a notice.
    pub(super) async fn note(&mut self, client: &mut Client) -> Result<(), StartOver> {
        let Some(note) = &self.unnoted else { return Ok(()) };
        let dead = note.dead();
        let transaction = client.transaction().await?;
        transaction
            .execute(
                include_str!("../../sql/notifier/restock_noted.sql"),
                &[
                    &note.users,
                    &note.products,
                    &note.rounds,
                    &note.seqs,
                    &note.states,
                    &note.attempts,
                    &note.pauses,
                    &note.error,
                ],
            )
            .await?;
        if dead > 0 {
            alerts::raise(&transaction, AlertKind::DeadLetters, SINK).await?;
        }
        transaction.commit().await?;
        if dead > 0 {
            tracing::error!(notices = dead, reason = note.error, "gave up restock notices; a person must look");
            counter!(names::DEAD_LETTERS_TOTAL, "sink" => SINK).increment(dead);
        }
        self.unnoted = None;
        Ok(())
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    notices: &'a [Notice],
}

/// A notice as the webhook gets it, and what its row is noted by. Has no `Debug`: addresses belong into no log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notice {
    /// Of the request that it answers.
    id: EntityId,
    product_id: i32,
    product_name: Option<String>,
    user_id: String,
    email: String,
    requested_at: Timestamp,
    #[serde(skip)]
    round: i64,
    #[serde(skip)]
    attempts: i32,
}

impl Notice {
    /// From `restock_due.sql`.
    fn from_row(row: &Row) -> Result<Self, StartOver> {
        let id: i64 = row.get("id");
        Ok(Self {
            id: EntityId::from_i64(id).ok_or_else(|| StartOver(format!("restock_notifications: {id} is no id")))?,
            product_id: row.get("product_id"),
            product_name: row.get("product_name"),
            user_id: row.get("user_id"),
            email: row.get("email"),
            requested_at: row.get("created_at"),
            round: row.get("round"),
            attempts: row.get("attempts"),
        })
    }
}

/// The same for the same notices in the same order, and for no others.
fn call_id(notices: &[Notice]) -> String {
    if let [notice] = notices {
        return format!("restock-{}", notice.id);
    }
    let ids: Vec<String> = notices.iter().map(|notice| notice.id.to_string()).collect();
    let hash = Sha256::digest(ids.join(",").as_bytes());
    hash.iter().take(BATCH_ID_BYTES).fold("restock-".to_owned(), |mut id, byte| {
        write!(id, "{byte:02x}").expect("a String takes every write");
        id
    })
}

/// What became of the notices of a call: the columns of `restock_noted.sql`.
#[derive(Default)]
struct Note {
    users: Vec<String>,
    products: Vec<i32>,
    rounds: Vec<i64>,
    seqs: Vec<i64>,
    states: Vec<&'static str>,
    attempts: Vec<i32>,
    /// In ms; `None`: now, or never again.
    pauses: Vec<Option<i64>>,
    error: Option<String>,
}

impl Note {
    /// The webhook has them.
    fn sent(notices: Vec<Notice>) -> Self {
        let mut note = Self::default();
        for notice in notices {
            let attempts = notice.attempts.saturating_add(1);
            note.push(notice, "SENT", attempts, None);
        }
        note
    }

    /// They failed, and each of them is sent again later, or never.
    fn failed(notices: Vec<Notice>, reason: String, pauses: &Pauses, rng: &mut impl Rng) -> Self {
        let mut note = Self { error: Some(reason), ..Self::default() };
        for notice in notices {
            let attempts = notice.attempts.saturating_add(1);
            let pause = pauses.after(attempts, rng);
            note.push(notice, if pause.is_some() { "DUE" } else { "DEAD" }, attempts, pause);
        }
        note
    }

    /// The webhook is not there, and is spared from now on: that uses up no try.
    fn postponed(notices: Vec<Notice>, reason: String) -> Self {
        let mut note = Self { error: Some(reason), ..Self::default() };
        for notice in notices {
            let attempts = notice.attempts;
            note.push(notice, "DUE", attempts, None);
        }
        note
    }

    fn push(&mut self, notice: Notice, state: &'static str, attempts: i32, pause: Option<i64>) {
        self.users.push(notice.user_id);
        self.products.push(notice.product_id);
        self.rounds.push(notice.round);
        self.seqs.push(i64::try_from(notice.id.seq()).expect("sequence numbers stay below 2^44"));
        self.states.push(state);
        self.attempts.push(attempts);
        self.pauses.push(pause);
    }

    /// How many were given up.
    fn dead(&self) -> u64 {
        self.states.iter().filter(|state| **state == "DEAD").count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::Secret;
    use crate::engine::ids::CellId;
    use crate::outbound::OutletSettings;

    const BATCH_MAX: usize = 8;

    fn notice(seq: u64, attempts: i32) -> Notice {
        Notice {
            id: EntityId::new(CellId::new(1).expect("a cell"), seq),
            product_id: 3,
            product_name: Some("Pin".to_owned()),
            user_id: format!("u{seq}"),
            email: "ann@example.com".to_owned(),
            requested_at: "2025-01-01T00:00:00.5Z".parse().expect("a time"),
            round: 2,
            attempts,
        }
    }

    fn notices(attempts: &[i32]) -> Vec<Notice> {
        (1..).zip(attempts).map(|(seq, attempts)| notice(seq, *attempts)).collect()
    }

    fn unavailable() -> Outcome {
        Outcome::Unavailable { reason: "HTTP 500".to_owned(), pause: None }
    }

    fn refused() -> Outcome {
        Outcome::Refused("HTTP 400".to_owned())
    }

    fn pauses() -> Pauses {
        Pauses::new(&"300,900".parse().expect("durations"), 0)
    }

    /// Nobody is called.
    fn any_outlet() -> Outlet {
        Outlet::new(OutletSettings {
            what: "the test",
            url: "http://127.0.0.1:1/",
            secret: Secret::default(),
            timeout: Duration::from_secs(1),
            connections_max: 1,
        })
        .expect("valid")
    }

    fn sender(outlet: &Outlet, failures_max: u32) -> RestockSender<'_> {
        RestockSender {
            webhook: Webhook::new(RESTOCK, outlet),
            breaker: Breaker::new(failures_max, Duration::from_secs(10)),
            pauses: pauses(),
            batch_max: BATCH_MAX,
            next_batch_max: BATCH_MAX,
            unnoted: None,
        }
    }

    #[test]
    fn a_body_says_what_the_receiver_needs_and_nothing_else() {
        let mut unnamed = notice(8, 1);
        unnamed.product_name = None;
        let body = serde_json::to_string(&Body { kind: RESTOCK, notices: &[notice(7, 0), unnamed] }).expect("JSON");
        let expected = json!({"type": "restock", "notices": [
            {
                "id": "17592186044423", "productId": 3, "productName": "Pin", "userId": "u7",
                "email": "ann@example.com", "requestedAt": "2025-01-01T00:00:00.5Z"
            },
            {
                "id": "17592186044424", "productId": 3, "productName": null, "userId": "u8",
                "email": "ann@example.com", "requestedAt": "2025-01-01T00:00:00.5Z"
            }
        ]});
        assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON"), expected);
    }

    #[test]
    fn a_call_has_an_id_that_stands_for_its_notices() {
        assert_eq!(call_id(&notices(&[0])), "restock-17592186044417");
        let two = call_id(&notices(&[0, 0]));
        // Computed with sha256sum, of `17592186044417,17592186044418`.
        assert_eq!(two, "restock-7a9920f7c9d4a6f9913e48e08f84a822");
        assert_eq!(call_id(&notices(&[1, 2])), two, "attempts are no part of it");
        assert_ne!(call_id(&[notice(2, 0), notice(1, 0)]), two);
        assert_ne!(call_id(&notices(&[0, 0, 0])), two);
    }

    #[test]
    fn what_was_sent_is_noted_row_by_row() {
        let note = Note::sent(notices(&[0, 2]));
        assert_eq!(
            (note.users, note.products, note.rounds),
            (vec!["u1".to_owned(), "u2".to_owned()], vec![3, 3], vec![2, 2])
        );
        assert_eq!((note.seqs, note.states, note.attempts), (vec![1, 2], vec!["SENT", "SENT"], vec![1, 3]));
        assert_eq!((note.pauses, note.error), (vec![None, None], None));
    }

    #[test]
    fn a_failure_has_its_pause_and_the_last_one_is_the_end() {
        let note = Note::failed(notices(&[0, 1, 2]), "HTTP 500".to_owned(), &pauses(), &mut rand::rng());
        assert_eq!(note.dead(), 1);
        assert_eq!((note.states, note.attempts), (vec!["DUE", "DUE", "DEAD"], vec![1, 2, 3]));
        assert_eq!((note.pauses, note.error.as_deref()), (vec![Some(300), Some(900), None], Some("HTTP 500")));
    }

    #[test]
    fn a_refused_batch_is_halved_until_what_is_wrong_is_found_and_grows_again() {
        let outlet = any_outlet();
        let mut sender = sender(&outlet, 1);
        for half in [4, 2, 1] {
            let batch = notices(&vec![0; sender.next_batch_max]);
            assert!(sender.judge(batch, refused()).is_none());
            assert_eq!(sender.next_batch_max, half);
        }
        let note = sender.judge(notices(&[0]), refused()).expect("noted");
        assert_eq!((note.states, note.attempts, note.pauses), (vec!["DUE"], vec![1], vec![Some(300)]));
        for double in [2, 4, 8, 8] {
            assert!(sender.judge(notices(&[0]), Outcome::Delivered).is_some());
            assert_eq!(sender.next_batch_max, double);
        }
        assert!(sender.breaker.admits(Instant::now()), "whoever refuses is there");
    }

    #[test]
    fn a_webhook_that_is_not_there_uses_up_tries_only_until_it_is_spared() {
        let outlet = any_outlet();
        let mut sender = sender(&outlet, 2);
        let first = sender.judge(notices(&[0]), unavailable()).expect("noted");
        assert_eq!((first.attempts, first.pauses), (vec![1], vec![Some(300)]));
        let second = sender.judge(notices(&[2]), unavailable()).expect("noted");
        assert_eq!((second.states, second.attempts, second.pauses), (vec!["DUE"], vec![2], vec![None]));
        assert_eq!(second.error.as_deref(), Some("HTTP 500"));
        assert!(!sender.breaker.admits(Instant::now()));
    }
}
