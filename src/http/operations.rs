//! What a person on call and their tools ask.
#![expect(clippy::unused_async, reason = "every handler has the same shape")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::app::App;
use super::reply::{self, Answer};
use super::request::Request;

/// GET /metrics, in Prometheus' text format.
pub async fn metrics(app: Arc<App>, _: Request) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(app.prometheus.render())));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    Ok(response)
}

/// GET /healthz: the process is up.
pub async fn healthz(_: Arc<App>, _: Request) -> Answer {
    Ok(reply::json(StatusCode::OK, &json!({"status": "up"})))
}

/// GET /readyz: the process may take traffic, or why not.
pub async fn readyz(app: Arc<App>, _: Request) -> Answer {
    let reasons = app.not_ready();
    if reasons.is_empty() {
        Ok(reply::json(StatusCode::OK, &json!({"status": "ready"})))
    } else {
        Ok(reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "reasons": reasons})))
    }
}
