//! The data platform over HTTP: one request per message or batch, one attempt, one outcome.
//!
//! # The protocol
//! `POST {url}` with `CloudEvents` 1.0 in JSON: one message as an object (`application/cloudevents+json`), several as
//! an array (`application/cloudevents-batch+json`). The header `Idempotency-Key` is the id of the message, or a text
//! that stands for exactly the ids of the batch, in their order. With a secret it is signed as Standard Webhooks says.
//!
//! - 2xx `{accepted}`: it has all of them for good; `accepted` is how many the request had.
//! - 400, 413, 422 `{error?}`: it does not want these, however often they are sent.
//! - Everything else: not now. 429 and 503 may say for how long, in `Retry-After`.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::message::Message;
use super::sink::Outcome;
use crate::config::Config;
use crate::http::object::Object;
use crate::outbound::{Answer, Outlet, OutletSettings};

const ONE: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

/// Bytes of the hash that names a batch.
const BATCH_ID_BYTES: usize = 16;

/// Characters of an error that are kept: it is a foreign text that goes into logs and tables.
const ERROR_CHARS_MAX: usize = 200;

/// The platform, as the forwarder sends to it.
pub struct Platform {
    outlet: Outlet,
    /// Names the shop in every message.
    source: String,
}

impl Platform {
    /// Checks the settings; connects to nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let outlet = Outlet::new(OutletSettings {
            what: "the data platform",
            url: &config.platform_url,
            secret: config.platform_secret.clone(),
            timeout: config.platform_timeout_ms,
            connections_max: config.platform_in_flight_max,
        })?;
        Ok(Self { outlet, source: format!("/{}", config.redis_namespace) })
    }

    /// Sends them once, in one request.
    pub async fn send(&self, messages: &[Message]) -> Outcome {
        let Parcel { id, content_type, body } = Parcel::new(messages, &self.source);
        outcome(messages.len(), self.outlet.post(&id, content_type, body.into()).await)
    }
}

/// What a request carries.
struct Parcel {
    id: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Parcel {
    fn new(messages: &[Message], source: &str) -> Self {
        let mut body = Vec::new();
        if let [message] = messages {
            message.write_json(source, &mut body);
            return Self { id: message.id().to_string(), content_type: ONE, body };
        }
        body.push(b'[');
        for (index, message) in messages.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            message.write_json(source, &mut body);
        }
        body.push(b']');
        let ids: Vec<String> = messages.iter().map(|message| message.id().to_string()).collect();
        Self { id: batch_id(&ids), content_type: BATCH, body }
    }
}

/// The same for the same messages in the same order, and for no others: a platform that deduplicates by it must never
/// take two batches for one, not even when a batch is cut differently at the next try.
fn batch_id(ids: &[String]) -> String {
    let hash = Sha256::digest(ids.join(",").as_bytes());
    hash.iter().take(BATCH_ID_BYTES).fold("batch-".to_owned(), |mut id, byte| {
        write!(id, "{byte:02x}").expect("a String takes every write");
        id
    })
}

/// What an answer to `count` messages means.
///
/// Delivered is only what the platform acknowledges in its own words: a login page and a proxy say 200 too. Refused is
/// only what blames the messages. A wrong token, a wrong path or a redirect is no fault of theirs, and must not use up
/// their tries: it is as if the platform were not there, until somebody sets it right.
fn outcome(count: usize, answer: Result<Answer, String>) -> Outcome {
    let Answer { status, retry_after, body } = match answer {
        Ok(answer) => answer,
        Err(reason) => return Outcome::Unavailable { reason, pause: None },
    };
    match status {
        200..=299 => match read::<Receipt>(&body) {
            Some(Receipt { accepted }) if accepted == count => Outcome::Delivered,
            Some(Receipt { accepted }) => {
                let reason = format!("HTTP {status}: it accepted {accepted}, and {count} were sent");
                Outcome::Unavailable { reason, pause: None }
            }
            None => {
                let reason = format!("HTTP {status}: the body does not say how many were accepted");
                Outcome::Unavailable { reason, pause: None }
            }
        },
        400 | 413 | 422 => Outcome::Refused(reason(status, &body)),
        429 | 503 => Outcome::Unavailable { reason: reason(status, &body), pause: retry_after },
        _ => Outcome::Unavailable { reason: reason(status, &body), pause: None },
    }
}

#[derive(Deserialize)]
struct Receipt {
    accepted: usize,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// A JSON object; `None` for anything else.
fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    // As text first: members that are ignored are not checked for being UTF-8.
    let Object(members): Object<T> = serde_json::from_str(str::from_utf8(body).ok()?).ok()?;
    Some(members)
}

/// The status, and the platform's own words if it has any.
fn reason(status: u16, body: &[u8]) -> String {
    let error = read::<Failure>(body).map(|failure| failure.error).unwrap_or_default();
    let error: String = error.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect();
    if error.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {error}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::engine::event::{BalanceCharged, Event};
    use crate::engine::ids::CellId;
    use crate::engine::user::UserId;

    const PAUSE: Option<Duration> = Some(Duration::from_secs(7));

    fn answered(count: usize, status: u16, body: &str) -> Outcome {
        outcome(count, Ok(Answer { status, retry_after: PAUSE, body: body.as_bytes().to_vec() }))
    }

    fn unavailable(reason: &str, pause: Option<Duration>) -> Outcome {
        Outcome::Unavailable { reason: reason.to_owned(), pause }
    }

    fn message(seq: u64) -> Message {
        let user = UserId::parse("ann").expect("valid");
        let charged = BalanceCharged { seq, at: 0, user, amount: 5, previous: 0, balance: 5, used: 0 };
        let cell = CellId::new(0).expect("valid");
        Message::of_event(cell, Event::BalanceCharged(charged)).expect("the platform is told of it")
    }

    fn parcel(seqs: &[u64]) -> Parcel {
        let messages: Vec<Message> = seqs.iter().map(|seq| message(*seq)).collect();
        Parcel::new(&messages, "/shop")
    }

    #[test]
    fn each_status_has_its_outcome() {
        for status in 100..600 {
            let expected = match status {
                200..=299 => Outcome::Delivered,
                400 | 413 | 422 => Outcome::Refused(format!("HTTP {status}: no")),
                429 | 503 => unavailable(&format!("HTTP {status}: no"), PAUSE),
                _ => unavailable(&format!("HTTP {status}: no"), None),
            };
            assert_eq!(answered(2, status, r#"{"accepted":2,"error":"no"}"#), expected);
        }
    }

    #[test]
    fn what_never_answered_is_unavailable() {
        assert_eq!(outcome(1, Err("no answer within 1 ms".to_owned())), unavailable("no answer within 1 ms", None));
    }

    #[test]
    fn delivered_is_only_what_is_acknowledged_in_full() {
        for body in [r#"{"accepted":3}"#, r#" { "more": {"x": [1]}, "accepted": 3 } "#] {
            assert_eq!(answered(3, 200, body), Outcome::Delivered, "{body}");
        }
        for accepted in [0, 1, 2, 4, 100] {
            let expected = format!("HTTP 202: it accepted {accepted}, and 3 were sent");
            assert_eq!(answered(3, 202, &format!(r#"{{"accepted":{accepted}}}"#)), unavailable(&expected, None));
        }
        let garbage = [
            "",
            "OK",
            "3",
            "null",
            "[3]",
            r#"[{"accepted":3}]"#,
            "{}",
            r#"{"Accepted":3}"#,
            r#"{"accepted":"3"}"#,
            r#"{"accepted":3.0}"#,
            r#"{"accepted":-3}"#,
            r#"{"accepted":null}"#,
            r#"{"accepted":true}"#,
            r#"{"accepted":[1,2,3]}"#,
            r#"{"accepted":18446744073709551619}"#,
            r#"{"accepted":3,"accepted":3}"#,
            r#"{"accepted":3"#,
            r#"{"accepted":3}}"#,
            r#"{"accepted":3}{"accepted":3}"#,
            "<html>Please log in</html>",
            &"[".repeat(60_000),
        ];
        for body in garbage {
            let expected = unavailable("HTTP 200: the body does not say how many were accepted", None);
            assert_eq!(answered(3, 200, body), expected, "{body}");
        }
        let no_text = Answer { status: 200, retry_after: None, body: b"{\"accepted\":3,\"more\":\"\xff\"}".to_vec() };
        assert!(matches!(outcome(3, Ok(no_text)), Outcome::Unavailable { .. }));
    }

    #[test]
    fn the_platforms_words_are_tamed_and_may_be_missing() {
        for body in
            ["", "no", "[]", "{}", r#"{"error":""}"#, r#"{"error":"\n"}"#, r#"{"error":{"code":1}}"#, r#"["no"]"#]
        {
            assert_eq!(answered(1, 422, body), Outcome::Refused("HTTP 422".to_owned()), "{body}");
        }
        let long = format!(r#"{{"error":"a\n\u0000\u001b[31m{}"}}"#, "ㄱ".repeat(1000));
        let expected = format!("HTTP 400: a[31m{}", "ㄱ".repeat(ERROR_CHARS_MAX - 5));
        assert_eq!(answered(1, 400, &long), Outcome::Refused(expected));
    }

    #[test]
    fn one_message_is_an_object_under_its_own_id() {
        let parcel = parcel(&[17]);
        assert_eq!((parcel.id.as_str(), parcel.content_type), ("17", ONE));
        let mut alone = Vec::new();
        message(17).write_json("/shop", &mut alone);
        assert_eq!(parcel.body, alone);
        let object: Value = serde_json::from_slice(&parcel.body).expect("JSON");
        assert_eq!((&object["id"], &object["source"]), (&Value::from("17"), &Value::from("/shop")));
    }

    #[test]
    fn several_messages_are_an_array_in_their_order() {
        let parcel = parcel(&[17, 18, 3]);
        assert_eq!(parcel.content_type, BATCH);
        let array: Vec<Value> = serde_json::from_slice(&parcel.body).expect("a JSON array");
        let ids: Vec<&Value> = array.iter().map(|object| &object["id"]).collect();
        assert_eq!(ids, ["17", "18", "3"]);
    }

    #[test]
    fn a_batch_has_an_id_that_no_other_one_has() {
        // The first half of SHA-256 over "17,18".
        assert_eq!(parcel(&[17, 18]).id, "batch-e5d73c69778b46e432e96b88f833458c");
        assert_eq!(parcel(&[17, 18]).id, parcel(&[17, 18]).id);
        let batches: [&[u64]; 7] = [&[1, 2], &[2, 1], &[1, 2, 3], &[12], &[1, 23], &[12, 3], &[1, 2, 1]];
        let distinct: HashSet<String> = batches.iter().map(|seqs| parcel(seqs).id).collect();
        assert_eq!(distinct.len(), batches.len());
    }
}
