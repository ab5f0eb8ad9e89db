//! The played data platform, and the place that notices and alerts go to.
//!
//! What the service asks of it:
//! - `POST /platform/events`: one event as `application/cloudevents+json`, or up to 1,000 in an array as
//!   `application/cloudevents-batch+json`; see `event.rs`. 200 `{accepted}`, how many the request had. An event that
//!   came before is accepted and has no second effect. One that is no event: 400, and none of the others is taken.
//! - `POST /platform/webhooks/{name}`: any JSON. 200 `{}`.
//!
//! What tests ask of it:
//! - `GET`, `PUT /platform/faults`: `{mode, percent?, delayMs?, retryAfterS?, users?, paths?, seed?}`, what goes wrong;
//!   see `faults.rs`.
//! - `PUT /platform/secret`: `{secret}`; from now on every POST must be signed with it, see `signature.rs`, or gets
//!   401. Null, as it is at first: none.
//! - `GET /platform/book`: `{events[{id, source, type, userId, sequence, orderId, status, finalAmount, balanceType,
//!   amount, balanceAfter, arrivals, firstRequest, position}], outOfOrder[{userId, id, after}], conflicts}`, all in one
//!   answer; see `book.rs`. `DELETE` forgets everything but faults and secret, the webhooks too.
//! - `GET /platform/summary`: `{requests, taken, events, duplicates, outOfOrder, conflicts, byType}`.
//! - `GET /platform/webhooks/{name}`: `{received[{id, body, arrivals, createdAt}]}`, newest last.
//!
//! It holds its clients to the protocol: what is not signed or no event is refused, whatever the faults.

mod book;
mod event;
mod faults;
mod signature;
mod webhooks;

use std::iter;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Refusal, Reply, Request, claimed_json};
use crate::config::Secret;
use crate::http::reply;
use crate::outbound::signature::key_of;
use book::Book;
use event::read_events;
use faults::{Fault, FaultSetting, Faults, Path};
use signature::WEBHOOK_ID;
use webhooks::{WebhookView, Webhooks};

/// Where a redirect leads: nobody is there.
const ELSEWHERE: &str = "/platform/events/elsewhere";

/// Body of `PUT /platform/secret`, and its answer.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SecretBody {
    secret: Option<String>,
}

/// Nothing was taken: it is full.
#[derive(Debug, PartialEq, Eq)]
struct NoRoom;

impl From<NoRoom> for Refusal {
    fn from(NoRoom: NoRoom) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "there is no room for more")
    }
}

/// A data platform with its book and its faults.
pub(super) struct PlayedPlatform {
    state: Mutex<State>,
}

/// Under one lock: requests are counted, meet their faults and are taken in one order, whoever else calls.
struct State {
    book: Book,
    webhooks: Webhooks,
    faults: Faults,
    /// Signs every POST; `None`: unsigned.
    key: Option<Vec<u8>>,
}

impl PlayedPlatform {
    /// Knows nothing, and does what it should.
    pub(super) fn new() -> Self {
        let (book, webhooks, faults) = (Book::new(), Webhooks::new(), Faults::new());
        Self { state: Mutex::new(State { book, webhooks, faults, key: None }) }
    }

    /// Answers a request; `path` is what follows `/platform/`, cut at its slashes.
    pub(super) fn answer(&self, request: &Request, path: &[&str]) -> Reply {
        let reply = match (request.method.as_str(), path) {
            ("POST", ["events"]) => self.take_events(request),
            ("POST", ["webhooks", name]) => self.take_webhook(request, name),
            ("GET", ["webhooks", name]) => Ok(self.show_webhooks(name)),
            ("GET", ["book"]) => Ok(Reply::Now(reply::json(StatusCode::OK, &self.state().book.view()))),
            ("DELETE", ["book"]) => Ok(self.forget()),
            ("GET", ["summary"]) => Ok(Reply::Now(reply::json(StatusCode::OK, &self.state().book.summary()))),
            ("GET", ["faults"]) => Ok(self.show_faults()),
            ("PUT", ["faults"]) => self.set_faults(request),
            ("PUT", ["secret"]) => self.set_secret(request),
            (_, ["events" | "book" | "summary" | "faults" | "secret"] | ["webhooks", _]) => {
                Err(Refusal::unknown_method())
            }
            _ => Err(Refusal::unknown_path()),
        };
        reply.unwrap_or_else(Reply::from)
    }

    fn take_events(&self, request: &Request) -> Result<Reply, Refusal> {
        let events = self.check_signature(request).and_then(|()| read_events(request));
        let mut state = self.state();
        let State { book, faults, .. } = &mut *state;
        let number = book.count_request();
        let events = events?;
        let fault = faults.draw(Path::Events, events.iter().map(|event| event.user.as_str()));
        play(fault, || {
            book.take(number, &events)?;
            Ok(reply::json(StatusCode::OK, &json!({"accepted": events.len()})))
        })
    }

    fn take_webhook(&self, request: &Request, name: &str) -> Result<Reply, Refusal> {
        self.check_signature(request)?;
        let _: Value = request.json()?;
        let mut state = self.state();
        let State { webhooks, faults, .. } = &mut *state;
        let fault = faults.draw(Path::Webhooks, iter::empty());
        play(fault, || {
            webhooks.take(name, request.header(WEBHOOK_ID), &request.body, Timestamp::now())?;
            Ok(reply::json(StatusCode::OK, &json!({})))
        })
    }

    fn check_signature(&self, request: &Request) -> Result<(), Refusal> {
        let key = self.state().key.clone();
        key.map_or(Ok(()), |key| signature::check(request, &key, Timestamp::now().as_second()))
    }

    fn show_webhooks(&self, name: &str) -> Reply {
        #[derive(Serialize)]
        struct Received<'a> {
            received: Vec<WebhookView<'a>>,
        }
        let state = self.state();
        Reply::Now(reply::json(StatusCode::OK, &Received { received: state.webhooks.view(name) }))
    }

    fn forget(&self) -> Reply {
        let mut state = self.state();
        state.book = Book::new();
        state.webhooks = Webhooks::new();
        Reply::Now(reply::empty(StatusCode::NO_CONTENT))
    }

    fn show_faults(&self) -> Reply {
        Reply::Now(reply::json(StatusCode::OK, self.state().faults.setting()))
    }

    fn set_faults(&self, request: &Request) -> Result<Reply, Refusal> {
        let setting: FaultSetting = request.object()?;
        self.state().faults.set(setting).map_err(Refusal::invalid)?;
        Ok(self.show_faults())
    }

    fn set_secret(&self, request: &Request) -> Result<Reply, Refusal> {
        let body: SecretBody = request.object()?;
        // An empty one is none, as in the settings of the service.
        let secret = body.secret.as_deref().filter(|secret| !secret.is_empty());
        self.state().key = secret.map(|secret| key_of(&Secret::new(secret)));
        Ok(Reply::Now(reply::json(StatusCode::OK, &body)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

/// Takes a request, or does what a fault makes of it. `take` takes it and makes the answer; without room for it there
/// is no fault either.
fn play(fault: Fault, take: impl FnOnce() -> Result<Response<Full<Bytes>>, Refusal>) -> Result<Reply, Refusal> {
    match fault {
        Fault::None => take().map(Reply::Now),
        Fault::Error { takes } => {
            if takes {
                take()?;
            }
            Err(Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Fault::Unavailable => Err(Refusal::asked_for(StatusCode::SERVICE_UNAVAILABLE)),
        Fault::TooMany { retry_after_s } => {
            let mut response = Refusal::asked_for(StatusCode::TOO_MANY_REQUESTS).into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
            Ok(Reply::Now(response))
        }
        Fault::Slow(delay) => take().map(|answer| Reply::After(delay, answer)),
        Fault::Hang(delay) => {
            Ok(Reply::After(delay, Refusal::asked_for(StatusCode::SERVICE_UNAVAILABLE).into_response()))
        }
        Fault::Garbage(body) => take().map(|_| Reply::Now(claimed_json(body))),
        Fault::Reset => take().map(Reply::Cut),
        Fault::Redirect => {
            let mut response = Refusal::asked_for(StatusCode::TEMPORARY_REDIRECT).into_response();
            response.headers_mut().insert(LOCATION, HeaderValue::from_static(ELSEWHERE));
            Ok(Reply::Now(response))
        }
        Fault::LostRequest => Ok(Reply::HangUp),
        Fault::LostAnswer => take().map(|_| Reply::HangUp),
        Fault::Refuse => Err(Refusal::asked_for(StatusCode::UNPROCESSABLE_ENTITY)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Method;

    use super::*;
    use crate::outbound::signature::sign;
    use crate::sandbox::testing::{self, json_of, opened};

    const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json; charset=utf-8");

    /// Events of a user, in one request.
    fn events(user: &str, ids: &[u64]) -> String {
        let event = |id: &u64| {
            json!({
                "specversion": "1.0", "id": id.to_string(), "source": "/shop", "type": "order-completed",
                "sequence": format!("{id:020}"), "data": {"userId": user, "order": {"orderId": id.to_string()}},
            })
        };
        ids.iter().map(event).collect::<Value>().to_string()
    }

    fn post(platform: &PlayedPlatform, user: &str, ids: &[u64]) -> Reply {
        platform.answer(&testing::request(Method::POST, &[BATCH], &events(user, ids)), &["events"])
    }

    fn notify(platform: &PlayedPlatform, id: &str, body: &str) -> Reply {
        let request = testing::request(Method::POST, &[(WEBHOOK_ID, id)], body);
        platform.answer(&request, &["webhooks", "alerts"])
    }

    fn get(platform: &PlayedPlatform, path: &[&str]) -> Value {
        let (status, body) = json_of(platform.answer(&testing::request(Method::GET, &[], ""), path));
        assert_eq!(status, 200, "{path:?} {body}");
        body
    }

    fn put(platform: &PlayedPlatform, path: &str, body: &str) {
        let (status, body) = json_of(platform.answer(&testing::request(Method::PUT, &[], body), &[path]));
        assert_eq!(status, 200, "{body}");
    }

    /// Requests, arrivals, events.
    fn counts(platform: &PlayedPlatform) -> [Value; 3] {
        let mut summary = get(platform, &["summary"]);
        ["requests", "taken", "events"].map(|member| summary[member].take())
    }

    #[test]
    fn what_is_taken_is_accepted_counted_and_shown() {
        let platform = PlayedPlatform::new();
        assert_eq!(json_of(post(&platform, "user-1", &[1, 3])), (200, json!({"accepted": 2})));
        assert_eq!(json_of(post(&platform, "user-1", &[2, 3])), (200, json!({"accepted": 2})));
        assert_eq!(json_of(post(&platform, "user-1", &[])), (200, json!({"accepted": 0})));
        let book = get(&platform, &["book"]);
        let events = book["events"].as_array().expect("a list");
        let seen = events.iter().map(|e| json!([e["id"], e["arrivals"], e["firstRequest"], e["position"]]));
        assert_eq!(seen.collect::<Value>(), json!([["1", 1, 1, 0], ["3", 2, 1, 1], ["2", 1, 2, 0]]));
        let shown = json!({
            "id": "1", "source": "/shop", "type": "order-completed", "userId": "user-1",
            "sequence": "00000000000000000001", "orderId": "1", "status": null, "finalAmount": null,
            "balanceType": null, "amount": null, "balanceAfter": null, "arrivals": 1, "firstRequest": 1, "position": 0,
        });
        assert_eq!(events[0], shown);
        assert_eq!(book["outOfOrder"], json!([{"userId": "user-1", "id": "2", "after": "3"}]));
        assert_eq!(book["conflicts"], 0);
        let summary = json!({
            "requests": 3, "taken": 4, "events": 3, "duplicates": 1, "outOfOrder": 1, "conflicts": 0,
            "byType": {"order-completed": 3},
        });
        assert_eq!(get(&platform, &["summary"]), summary);
    }

    #[test]
    fn a_fault_takes_or_does_not_and_answers_as_it_should_not() {
        // Setting, status (0: none), what the answer's body begins with, and how many events are taken.
        for (setting, expected, start, taken) in [
            (r#"{"mode":"accept"}"#, 200, r#"{"accepted":2}"#, 2),
            (r#"{"mode":"unavailable"}"#, 503, r#"{"error":"#, 0),
            (r#"{"mode":"too_many","retryAfterS":9}"#, 429, r#"{"error":"#, 0),
            (r#"{"mode":"slow","delayMs":7}"#, 200, r#"{"accepted":2}"#, 2),
            (r#"{"mode":"hang","delayMs":7}"#, 503, r#"{"error":"#, 0),
            (r#"{"mode":"garbage"}"#, 200, "", 2),
            (r#"{"mode":"reset"}"#, 200, r#"{"accepted":2}"#, 2),
            (r#"{"mode":"huge"}"#, 200, r#"{"accepted":1,"padding":"xx"#, 2),
            (r#"{"mode":"redirect"}"#, 307, r#"{"error":"#, 0),
            (r#"{"mode":"lost_request"}"#, 0, "", 0),
            (r#"{"mode":"lost_answer"}"#, 0, "", 2),
            (r#"{"mode":"refuse"}"#, 422, r#"{"error":"#, 0),
            (r#"{"mode":"refuse","percent":0}"#, 200, r#"{"accepted":2}"#, 2),
            (r#"{"mode":"refuse","users":["user-2"]}"#, 200, r#"{"accepted":2}"#, 2),
            (r#"{"mode":"refuse","paths":["webhooks"]}"#, 200, r#"{"accepted":2}"#, 2),
        ] {
            let platform = PlayedPlatform::new();
            put(&platform, "faults", setting);
            let (delay, response) = match post(&platform, "user-1", &[1, 2]) {
                Reply::Now(response) => (0, Some(response)),
                Reply::After(delay, response) => (delay.as_millis(), Some(response)),
                Reply::Cut(response) => {
                    assert!(setting.contains("reset"), "{setting}");
                    (0, Some(response))
                }
                Reply::HangUp => (0, None),
            };
            assert_eq!(delay, if setting.contains("delayMs") { 7 } else { 0 }, "{setting}");
            let header = |name: &str| response.as_ref().and_then(|response| response.headers().get(name)).cloned();
            assert_eq!(header("retry-after"), (expected == 429).then(|| HeaderValue::from(9_u64)), "{setting}");
            assert_eq!(header("location"), (expected == 307).then(|| HeaderValue::from_static(ELSEWHERE)), "{setting}");
            let (status, body) = response.map(opened).unwrap_or_default();
            assert_eq!(status, expected, "{setting}");
            assert!(body.starts_with(start.as_bytes()), "{setting}");
            assert_eq!(counts(&platform), [json!(1), json!(taken), json!(taken)], "{setting}");
        }
    }

    #[test]
    fn an_error_may_come_before_or_after_the_work() {
        let mut seen = [false; 2];
        for seed in 0..100 {
            let platform = PlayedPlatform::new();
            put(&platform, "faults", &format!(r#"{{"mode":"error","seed":{seed}}}"#));
            assert_eq!(json_of(post(&platform, "user-1", &[1])).0, 500);
            seen[usize::from(counts(&platform)[1] == 1)] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn webhooks_are_remembered_unless_a_fault_loses_them() {
        let platform = PlayedPlatform::new();
        for body in [r#"{"n":1}"#, r#"{"n":2}"#] {
            assert_eq!(json_of(notify(&platform, "a", body)), (200, json!({})));
        }
        assert_eq!(json_of(notify(&platform, "b", "no JSON")).0, 400);
        put(&platform, "faults", r#"{"mode":"lost_request","paths":["webhooks"]}"#);
        assert!(matches!(notify(&platform, "c", "1"), Reply::HangUp));
        put(&platform, "faults", r#"{"mode":"lost_answer"}"#);
        assert!(matches!(notify(&platform, "d", "[]"), Reply::HangUp));
        let mut received = get(&platform, &["webhooks", "alerts"])["received"].take();
        for webhook in received.as_array_mut().expect("a list") {
            let created_at = webhook.as_object_mut().and_then(|w| w.remove("createdAt")).expect("a time");
            assert!(created_at.as_str().is_some_and(|at| at.parse::<Timestamp>().is_ok()), "{created_at}");
        }
        let expected = json!([
            {"id": "a", "body": {"n": 1}, "arrivals": 2},
            {"id": "d", "body": [], "arrivals": 1},
        ]);
        assert_eq!(received, expected);
        assert_eq!(get(&platform, &["webhooks", "other"]), json!({"received": []}));
    }

    #[test]
    fn with_a_secret_only_what_is_signed_is_taken() {
        let platform = PlayedPlatform::new();
        put(&platform, "secret", r#"{"secret":"whsec_c2VjcmV0"}"#);
        let (id, now, body) = ("batch-1", Timestamp::now().as_second(), events("user-1", &[1]));
        let (timestamp, signature) = (now.to_string(), sign(b"secret", id, now, body.as_bytes()));
        let signed = [
            BATCH,
            (WEBHOOK_ID, id),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        for (body, expected) in [(body, 200), (events("user-1", &[2]), 401)] {
            let request = testing::request(Method::POST, &signed, &body);
            assert_eq!(json_of(platform.answer(&request, &["events"])).0, expected, "{body}");
        }
        assert_eq!(json_of(post(&platform, "user-1", &[3])).0, 401);
        assert_eq!(json_of(notify(&platform, "a", "1")).0, 401);
        put(&platform, "secret", r#"{"secret":null}"#);
        assert_eq!(json_of(post(&platform, "user-1", &[4])).0, 200);
        assert_eq!(counts(&platform), [json!(4), json!(2), json!(2)]);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused_with_a_sentence_and_takes_nothing() {
        let platform = PlayedPlatform::new();
        put(&platform, "faults", r#"{"mode":"huge"}"#);
        let bad = events("user-1", &[1, 2]).replace("\"2\"", "2");
        let cases: [(Method, &str, &[&str], u16); 9] = [
            (Method::POST, &bad, &["events"], 400),
            (Method::PUT, "[]", &["events"], 405),
            (Method::GET, "", &["secret"], 405),
            (Method::GET, "", &["events", "elsewhere"], 404),
            (Method::POST, "", &["webhooks", "alerts"], 400),
            (Method::DELETE, "", &["webhooks", "alerts"], 405),
            (Method::PUT, r#"{"mode":"slow","delay":1}"#, &["faults"], 400),
            (Method::PUT, r#"{"mode":"slow","percent":101}"#, &["faults"], 400),
            (Method::PUT, r#"{"secret":1}"#, &["secret"], 400),
        ];
        for (method, body, path, expected) in cases {
            let request = testing::request(method, &[BATCH], body);
            let (status, answer) = json_of(platform.answer(&request, path));
            assert_eq!(status, expected, "{path:?} {body} {answer}");
            assert!(answer["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{answer}");
        }
        assert_eq!(counts(&platform), [json!(1), json!(0), json!(0)]);
    }

    #[test]
    fn it_forgets_everything_but_how_it_is_set() {
        let platform = PlayedPlatform::new();
        put(&platform, "faults", r#"{"mode":"slow","delayMs":7,"percent":0,"seed":5,"users":["user-1"]}"#);
        post(&platform, "user-1", &[1]);
        notify(&platform, "a", "1");
        let Reply::Now(response) = platform.answer(&testing::request(Method::DELETE, &[], ""), &["book"]) else {
            panic!("an answer at once");
        };
        assert_eq!(opened(response), (204, Bytes::new()));
        assert_eq!(get(&platform, &["book"]), json!({"events": [], "outOfOrder": [], "conflicts": 0}));
        assert_eq!(get(&platform, &["webhooks", "alerts"]), json!({"received": []}));
        assert_eq!(counts(&platform), [json!(0), json!(0), json!(0)]);
        let expected = json!({
            "mode": "slow", "percent": 0, "delayMs": 7, "retryAfterS": 1, "users": ["user-1"],
            "paths": ["events", "webhooks"], "seed": 5,
        });
        assert_eq!(get(&platform, &["faults"]), expected);
    }

    #[test]
    fn the_same_seed_meets_the_same_faults_in_order_of_arrival() {
        let seed: u32 = rand::random();
        let kinds = || {
            let platform = PlayedPlatform::new();
            put(&platform, "faults", &format!(r#"{{"mode":"chaos","delayMs":7,"seed":{seed}}}"#));
            let kind = |id| match post(&platform, "user-1", &[id]) {
                Reply::Now(response) => (Duration::ZERO, opened(response)),
                Reply::After(delay, response) => (delay, opened(response)),
                Reply::Cut(response) => (Duration::MAX, opened(response)),
                Reply::HangUp => (Duration::MAX, (0, Bytes::new())),
            };
            let kinds: Vec<_> = (1..=100).map(kind).collect();
            (kinds, counts(&platform))
        };
        let (first, again) = (kinds(), kinds());
        assert!(first == again, "seed {seed}");
    }
}
