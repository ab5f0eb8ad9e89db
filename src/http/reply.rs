//! Answers: JSON, times, and what travels beside the body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::problem::{Code, Problem};
use super::request::IDEMPOTENCY_KEY;

/// What every handler answers.
pub type Answer = Result<Response<Full<Bytes>>, Problem>;

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// One that goes on.
    Stream(UnsyncBoxBody<Bytes, Infallible>),
}

impl From<Full<Bytes>> for Body {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A JSON answer.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("answers are plain data");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a decided op.
pub fn decided(status: StatusCode, body: &impl Serialize, key: &str, replayed: bool) -> Response<Full<Bytes>> {
    named(json(status, body), key, replayed)
}

/// Names the key of an answer, and says when it is an earlier answer again.
pub fn named(mut response: Response<Full<Bytes>>, key: &str, replayed: bool) -> Response<Full<Bytes>> {
    if let Ok(key) = HeaderValue::from_str(key) {
        response.headers_mut().insert(IDEMPOTENCY_KEY, key);
    }
    if replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// RFC 3339 in UTC from ms since 1970.
pub fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}

/// A refusal of the engine as clients see it: times are written out, and `reason` says what exactly is wrong.
pub fn refusal_problem(code: Code, details: Map<String, Value>) -> Problem {
    let mut problem = Problem::new(code);
    for (key, value) in details {
        problem = match (key.as_str(), value) {
            ("opensAt" | "closedAt", Value::Number(ms)) => problem.with(key, time(ms.as_i64().unwrap_or_default())),
            ("reason", Value::String(reason)) if code == Code::InvalidInput => problem.because(reason),
            (_, value) => problem.with(key, value),
        };
    }
    problem
}

/// The first `limit` of `rest`, and the cursor that goes on behind them when there is more. `view`: an item's id and
/// how it looks.
pub fn first<T, I: ToString, V>(
    rest: impl Iterator<Item = T>,
    limit: usize,
    view: impl Fn(&T) -> (I, V),
) -> (Vec<V>, Option<String>) {
    let mut rest = rest.peekable();
    let (mut items, mut last) = (Vec::new(), None);
    while let Some(item) = rest.next_if(|_| items.len() < limit) {
        let (id, view) = view(&item);
        items.push(view);
        last = Some(id.to_string());
    }
    let more = rest.peek().is_some();
    (items, last.filter(|_| more))
}
