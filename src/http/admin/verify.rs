//! The reconciliation report.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::problem::{Code, Problem};
use crate::http::reply::{self, Answer};
use crate::http::request::Request;
use crate::verify::Report;

/// A comparison that takes longer than one may wait.
#[derive(Serialize, ToSchema)]
struct RunningView<'a> {
    #[schema(example = "RUNNING")]
    status: &'static str,
    /// The report of the comparison before; null when there was none.
    last: Option<&'a Report>,
}

/// GET /admin/verify: the report of a comparison of Redis with PostgreSQL, or 202 and the one before when it takes longer
/// than a handler may; it goes on, and who asks again waits for the same one.
#[utoipa::path(
    get, path = "/admin/verify", tag = "books", operation_id = "verify",
    summary = "Compares Redis with PostgreSQL and says what differs",
    responses(
        (status = 200, description = "What was compared, and every difference", body = Report),
        (status = 202, description = "It takes longer than one may wait: it goes on, and who asks again waits for it", body = RunningView)
    )
)]
pub async fn report(app: Arc<App>, _: Request) -> Answer {
    // Enough is left of the handler's time for the answer itself.
    let patience = app.config.http_handler_timeout_ms * 3 / 4;
    match tokio::time::timeout(patience, app.verify.report()).await {
        Ok(Ok(report)) => Ok(reply::json(StatusCode::OK, &*report)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "503");
            Err(Problem::new(Code::Unavailable))
        }
        Err(_) => {
            let last = app.verify.last();
            let view = RunningView { status: "RUNNING", last: last.as_deref() };
            Ok(reply::json(StatusCode::ACCEPTED, &view))
        }
    }
}
