//! Requests as OpenTelemetry records them: a span each, and in it one for each step, sent over OTLP by HTTP.
//!
//! Everything is set by the standard variables of the environment (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>); without an endpoint nothing is
//! recorded. Spans wait in a bounded queue, and are dropped when it is full: a collector that is slow or away costs no order.
//!
//! OpenTelemetry's own API, and no bridge from `tracing`: where the time went is known only afterwards.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context as Recording, KeyValue};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, Protocol, SpanExporter, WithExportConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::context::{self, Context};
use super::{Step, Trace};
use crate::engine::user::Pseudonym;

/// What the collector calls this service, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "flashsale";

/// Longest time for the last spans to be sent at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

static EXPORT: OnceLock<(SdkTracerProvider, SdkTracer)> = OnceLock::new();

/// Begins to record, if the environment names where to; once per process, and outside of the async runtime.
///
/// # Errors
/// The endpoint or another variable makes no sense.
pub fn start() -> anyhow::Result<()> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if ![OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT].iter().any(is_set) {
        return Ok(());
    }
    let endpoints = [OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT].map(std::env::var);
    let is_secure = endpoints.into_iter().flatten().any(|endpoint| endpoint.starts_with("https:"));
    anyhow::ensure!(!is_secure, "the OpenTelemetry endpoint must be http: TLS to a collector is not built in");
    let mut exporter = SpanExporter::builder().with_http();
    if ![OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL].iter().any(is_set) {
        exporter = exporter.with_protocol(Protocol::HttpBinary);
    }
    let exporter = exporter.build().context("the OpenTelemetry exporter")?;
    let mut resource = Resource::builder();
    if !is_set(&"OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(SERVICE);
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let tracer = provider.tracer(SERVICE);
    // A second start would have nothing to record: the first one does.
    let _ = EXPORT.set((provider, tracer));
    Ok(())
}

/// Sends what is left; outside of the async runtime.
pub fn stop() {
    if let Some((provider, _)) = EXPORT.get()
        && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
    {
        tracing::warn!(%error, "the last traces were not exported");
    }
}

/// A request that is recorded, or was sampled out.
#[derive(Debug)]
pub(super) struct Recorded {
    recording: Recording,
    begun: SystemTime,
}

impl Recorded {
    /// A request that has just come, and how it goes on to others; `None`: nothing is recorded in this process.
    pub fn begin(parent: Option<&Context>) -> Option<(Self, Context)> {
        let (_, tracer) = EXPORT.get()?;
        let begun = SystemTime::now();
        let parent =
            parent.map_or_else(Recording::new, |parent| Recording::new().with_remote_span_context(span(parent)));
        let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server).with_start_time(begun);
        let recording = parent.with_span(tracer.build_with_context(builder, &parent));
        let ours = recording.span().span_context().clone();
        let state = Some(ours.trace_state().header()).filter(|state| !state.is_empty());
        let context = Context {
            trace: context::TraceId(u128::from_be_bytes(ours.trace_id().to_bytes())),
            span: u64::from_be_bytes(ours.span_id().to_bytes()),
            is_sampled: ours.is_sampled(),
            state: state.and_then(|state| HeaderValue::try_from(state).ok()),
        };
        // A provider that was shut down makes spans without ids.
        ours.is_valid().then_some((Self { recording, begun }, context))
    }

    /// The request has ended. A step that came in parts is shown as one, from its first beginning on.
    pub fn end(
        &self,
        trace: &Trace,
        method: &Method,
        status: StatusCode,
        matched: Option<(&'static str, Option<Pseudonym>)>,
    ) {
        let span = self.recording.span();
        let Some((_, tracer)) = EXPORT.get().filter(|_| span.is_recording()) else { return };
        for step in Step::ALL {
            let (after, taken) = (trace.begun(step), trace.spent(step));
            if !taken.is_zero() {
                let begun = self.begun + after;
                let builder = SpanBuilder::from_name(step.name()).with_start_time(begun);
                let step = self.recording.with_span(tracer.build_with_context(builder, &self.recording));
                step.span().end_with_timestamp(begun + taken);
            }
        }
        span.set_attribute(KeyValue::new("http.request.method", method.to_string()));
        if let Some((route, _)) = matched {
            span.update_name(route);
            span.set_attribute(KeyValue::new(
                "http.route",
                route.split_once(' ').map_or(route, |(_, pattern)| pattern),
            ));
        }
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(user) = matched.and_then(|(_, user)| user) {
            span.set_attribute(KeyValue::new("enduser.pseudo.id", user.to_string()));
        }
        if let Some(order) = trace.order() {
            span.set_attribute(KeyValue::new("flashsale.order_id", order.to_string()));
        }
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(self.begun + trace.started().elapsed());
    }
}

/// As OpenTelemetry has it.
fn span(context: &Context) -> SpanContext {
    let state = context.state.as_ref().and_then(|state| state.to_str().ok()?.parse::<TraceState>().ok());
    SpanContext::new(
        TraceId::from_bytes(context.trace.0.to_be_bytes()),
        SpanId::from_bytes(context.span.to_be_bytes()),
        TraceFlags::default().with_sampled(context.is_sampled),
        true,
        state.unwrap_or_default(),
    )
}
