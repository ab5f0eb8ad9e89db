//! Requests and answers for the unit tests.

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Response};
use serde_json::Value;

use super::{Reply, Request};

/// As it has arrived.
pub(super) fn request(method: Method, headers: &[(&'static str, &str)], body: &str) -> Request {
    let header = |&(name, text): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(text).expect("a header's value"))
    };
    Request { method, headers: headers.iter().map(header).collect(), body: Bytes::from(body.to_owned()) }
}

/// Status and body of an answer.
pub(super) fn opened(response: Response<Full<Bytes>>) -> (u16, Bytes) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().now_or_never().expect("it is all there").expect("it cannot fail");
    (status, body.to_bytes())
}

/// Of an answer that comes whole and at once.
pub(super) fn now(reply: Reply) -> (u16, Bytes) {
    let Reply::Now(response) = reply else { panic!("an answer at once") };
    opened(response)
}

/// The same in JSON.
pub(super) fn json_of(reply: Reply) -> (u16, Value) {
    let (status, body) = now(reply);
    (status, serde_json::from_slice(&body).expect("JSON"))
}
