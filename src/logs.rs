//! What operators read: one line per event on stderr, as text or as JSON. stdout belongs to what a command prints.
//!
//! A line that is written while a request is worked for says which one. No span does that: one per request would cost a
//! twentieth of the service's CPU, and hardly a request leaves a line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, Format, Full, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace;

/// What a service logs unless `RUST_LOG` says otherwise.
pub const SERVICE: &str = "info,fred=warn,refinery_core=warn,opentelemetry=off";

/// Likewise a command that is done soon, and says itself what came of it.
pub const COMMAND: &str = "warn,fred=error";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: an object per line, with `timestamp`, `level`, `target`, `message`, the event's own members, and those of
    /// the request: `request_id`, `route`, `user`, `order_id`.
    Json,
}

/// Starts logging, once per process: what `filter` lets through, or `RUST_LOG`. A panic is an event too.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    // It would complain on stderr when stderr cannot be written, which is a panic; and panics are logged.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            lines.with_ansi(ansi).event_format(text(ansi)).init();
        }
        LogFormat::Json => {
            lines.fmt_fields(JsonFields::new()).event_format(json()).init();
        }
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // A filter must not hide it.
        if tracing::event_enabled!(tracing::Level::ERROR) { panicked(panic) } else { usual(panic) }
    }));
}

fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let why = panic.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(place, why, %backtrace, "a panic");
    } else {
        tracing::error!(place, why, "a panic");
    }
}

/// The library's lines, and in each what is known of the request.
struct Lines<F> {
    library: Format<F>,
    format: LogFormat,
}

impl<F, S, N> FormatEvent<S, N> for Lines<F>
where
    Format<F>: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.library.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match self.format {
            LogFormat::Text => {
                to.write_str(line)?;
                trace::describe(|name, value| write!(to, " {name}={value}"))?;
            }
            LogFormat::Json => {
                to.write_str(line.strip_suffix('}').ok_or(fmt::Error)?)?;
                trace::describe(|name, value| write!(to, ",\"{name}\":{value}"))?;
                to.write_char('}')?;
            }
        }
        to.write_char('\n')
    }
}

fn text(ansi: bool) -> Lines<Full> {
    Lines { library: format::format().with_ansi(ansi), format: LogFormat::Text }
}

fn json() -> Lines<Json> {
    let library = format::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
    Lines { library, format: LogFormat::Json }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::engine::ids::EntityId;
    use crate::engine::user::UserId;
    use crate::trace::Trace;

    /// A log that is kept.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics while holding it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Kept {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().expect("nobody panics while holding it").clone());
            text.expect("text").lines().map(str::to_owned).collect()
        }
    }

    /// Logs twice: for nobody, and for a request.
    async fn log() -> Arc<Trace> {
        tracing::info!(count = 1, "for \"nobody\"");
        let trace = Trace::begin(None);
        trace.matched("POST /api/orders", UserId::parse("alice").map(|user| user.pseudonym()));
        trace
            .clone()
            .scope(async {
                trace::about_order(EntityId::parse("9").expect("an id"));
                tracing::info!("for a request");
            })
            .await;
        trace
    }

    #[tokio::test]
    async fn lines_of_a_request_name_it() {
        let kept = Kept::default();
        let lines = tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(json());
        let guard = tracing::subscriber::set_default(lines.with_writer(kept.clone()).finish());
        let trace = log().await;
        drop(guard);
        let objects: Vec<serde_json::Value> =
            kept.lines().iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!((&objects[0]["message"], &objects[0]["count"]), (&"for \"nobody\"".into(), &1.into()));
        assert!(objects[0].get("request_id").is_none());
        let expected = serde_json::json!({"request_id": trace.id().to_string(), "route": "POST /api/orders",
            "user": "2bd806c97f0e00af", "order_id": "9"});
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&objects[1][name], value, "{}", objects[1]);
        }

        let kept = Kept::default();
        let lines = tracing_subscriber::fmt().event_format(text(false));
        let guard = tracing::subscriber::set_default(lines.with_writer(kept.clone()).finish());
        let trace = log().await;
        drop(guard);
        let lines = kept.lines();
        assert!(lines[0].ends_with("for \"nobody\" count=1"), "{}", lines[0]);
        let id = trace.id();
        let end =
            format!(r#"for a request request_id="{id}" route="POST /api/orders" user="2bd806c97f0e00af" order_id="9""#);
        assert!(lines[1].ends_with(&end), "{}", lines[1]);
    }
}
