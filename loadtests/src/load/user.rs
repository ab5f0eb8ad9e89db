//! What a goose user does: sends a request with his token, looks at the whole answer, and tells goose and the tally.
//!
//! Requests go over goose's client, but are recorded by hand: an answer of 400 that the scenario expects is no failure,
//! is timed apart from a success, and is not recorded twice; and one user can have several requests on the way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flashsale::http::code::Code;
use goose::goose::{GooseMethod, GooseUser, TransactionResult};
use goose::prelude::TransactionError;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::run::Run;
use super::tally::{Answered, Call, Verdict};

/// How often a request is sent under its key until somebody knows what became of it.
const ATTEMPTS_MAX: u32 = 10;

/// Pause before the next attempt: what `Retry-After` says would be 1 s.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A user: who he is, and what he has in mind.
#[derive(Clone)]
pub struct Session {
    /// What all users share.
    pub run: Arc<Run>,
    /// `Bearer` and his token.
    authorization: HeaderValue,
    number: usize,
    keys: u64,
    /// Units in his cart.
    pub cart: u32,
    /// Coupons that he asked for.
    pub coupons_asked: usize,
    /// Coupons that he can use.
    pub coupons: Vec<u32>,
    /// Orders that he left unpaid.
    pub unpaid: VecDeque<String>,
}

impl Session {
    /// The user with this number.
    pub fn new(run: Arc<Run>, number: usize) -> Self {
        let authorization = run.authorization(number);
        let (coupons, unpaid) = (Vec::new(), VecDeque::new());
        Self { run, authorization, number, keys: 0, cart: 0, coupons_asked: 0, coupons, unpaid }
    }

    /// An idempotency key that no other request has.
    pub fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}-{}", self.run.id, self.number, self.keys)
    }
}

/// The session of a user; every scenario begins with making it.
pub fn session(user: &mut GooseUser) -> &mut Session {
    user.get_session_data_unchecked_mut::<Session>()
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Method and route.
    pub call: Call,
    /// The route with its parameters.
    pub path: &'a str,
    /// Its idempotency key.
    pub key: Option<&'a str>,
    /// JSON.
    pub body: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request without key and body.
    pub fn get(call: Call, path: &'a str) -> Self {
        Self { call, path, key: None, body: None }
    }

    /// A request that changes something.
    pub fn post(call: Call, path: &'a str, key: &'a str, body: Option<&'a str>) -> Self {
        Self { call, path, key: Some(key), body }
    }
}

/// An answer, or that there was none.
#[derive(Debug)]
pub struct Reply {
    /// What came.
    pub answered: Answered,
    /// What it means.
    pub verdict: Verdict,
    /// The body.
    pub body: Bytes,
    took: Duration,
}

impl Reply {
    /// Whether it did or told what was asked for.
    pub fn is_accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    /// Whether what was asked for is or may be done: a refusal and 503 say that it is not.
    pub fn may_have_done(&self) -> bool {
        self.is_accepted() || matches!(self.answered.status, 0 | 504)
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A member of the body that is a text, such as an id; empty when it is not there.
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }
}

/// The member of a problem that matters here.
#[derive(Deserialize)]
struct Problem<'a> {
    code: &'a str,
}

/// Sends a request and counts its answer. Goose is told by [`record`], which wants the user for itself.
pub async fn exchange(user: &GooseUser, ask: Ask<'_>) -> Reply {
    let session = user.get_session_data_unchecked::<Session>();
    let sent = Instant::now();
    let answer = send(user, session, ask).await;
    let took = sent.elapsed();
    let (status, replayed, body) = answer.unwrap_or_else(|reason| {
        session.run.tally.note_reason(&reason);
        (0, false, Bytes::new())
    });
    let problem = (status >= 400).then(|| serde_json::from_slice::<Problem<'_>>(&body).ok()).flatten();
    let code = problem.and_then(|problem| Code::from_name(problem.code)).map_or("", |code| code.info().name);
    let answered = Answered { call: ask.call, status, code, replayed };
    Reply { answered, verdict: session.run.tally.note(answered, sent), body, took }
}

/// Status, whether it is an earlier answer again, and the whole body; or why there is none.
async fn send(user: &GooseUser, session: &Session, ask: Ask<'_>) -> Result<(u16, bool, Bytes), String> {
    let method = if ask.call.starts_with("POST ") { GooseMethod::Post } else { GooseMethod::Get };
    let request = user.get_request_builder(&method, ask.path).map_err(|error| error.to_string())?;
    let mut request = request.header("authorization", &session.authorization);
    if let Some(key) = ask.key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = ask.body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let response = request.send().await.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    let body = response.bytes().await.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    Ok((status, replayed, body))
}

/// Tells goose of an answer.
pub async fn record(user: &mut GooseUser, reply: &Reply) -> TransactionResult {
    let row = reply.answered.row();
    let (method, name) = row.split_once(' ').unwrap_or(("", &row));
    let (status, outcome) = (reply.answered.status, reply.answered.outcome());
    let good = matches!(reply.verdict, Verdict::Accepted | Verdict::Refused);
    let error = format!("{status} {outcome}");
    user.record_custom_request_duration(method, name, reply.took, good, Some(status), Some(&error)).await
}

/// Sends a request, once.
pub async fn ask(user: &mut GooseUser, ask: Ask<'_>) -> Result<Reply, Box<TransactionError>> {
    let reply = exchange(user, ask).await;
    record(user, &reply).await?;
    Ok(reply)
}

/// Sends a request until somebody knows what became of it, as whoever has something in mind with it must do: after 503,
/// 504 or no answer again, under the same key.
pub async fn ask_until_known(user: &mut GooseUser, request: Ask<'_>) -> Result<Reply, Box<TransactionError>> {
    let mut reply = ask(user, request).await?;
    for _ in 1..ATTEMPTS_MAX {
        if reply.verdict != Verdict::Unavailable && reply.answered.status != 0 {
            break;
        }
        sleep(RETRY_PAUSE).await;
        reply = ask(user, request).await?;
    }
    Ok(reply)
}
