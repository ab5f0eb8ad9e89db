//! What a person on call and their tools ask.
#![expect(clippy::unused_async, reason = "every handler has the same shape")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::reply::{self, Answer};
use super::request::Request;

/// A process that is up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
struct HealthView {
    status: &'static str,
}

/// Whether a process may take traffic, or why not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct ReadinessView {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// GET /metrics, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "process", operation_id = "getMetrics",
    summary = "Metrics, in Prometheus' text format",
    responses((status = 200, description = "All of them", body = String, content_type = "text/plain"))
)]
pub async fn metrics(app: Arc<App>, _: Request) -> Answer {
    app.process.collect();
    let mut response = Response::new(Full::new(Bytes::from(app.prometheus.render())));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    Ok(response)
}

/// GET /healthz: the process is up.
#[utoipa::path(
    get, path = "/healthz", tag = "process", operation_id = "getHealth", summary = "Whether the process is up",
    responses((status = 200, description = "It is", body = HealthView))
)]
pub async fn healthz(_: Arc<App>, _: Request) -> Answer {
    Ok(reply::json(StatusCode::OK, &HealthView { status: "up" }))
}

/// GET /readyz: the process may take traffic, or why not.
#[utoipa::path(
    get, path = "/readyz", tag = "process", operation_id = "getReadiness",
    summary = "Whether the process may take traffic",
    responses(
        (status = 200, description = "It may", body = ReadinessView),
        (status = 503, description = "It may not", body = ReadinessView)
    )
)]
pub async fn readyz(app: Arc<App>, _: Request) -> Answer {
    let reasons = app.not_ready();
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    Ok(reply::json(code, &ReadinessView { status, reasons }))
}
