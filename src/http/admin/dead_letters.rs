//! Dead letters: what the data platform, or who waits for a product, could not be told.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::ids::EntityId;
use crate::http::app::App;
use crate::http::openapi::parameters::{DeadLetterPage, OptionalKey};
use crate::http::openapi::values::{DeadLetterType, Time};
use crate::http::problem::{Code, Problem};
use crate::http::reply::{self, Answer};
use crate::http::request::Request;
use crate::postgres::dead_letters::{self, DeadLetter, LetterId, Replay, Sink, Which};

/// What was given up after its last try.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
struct LetterView {
    id: LetterId,
    /// Whom it was meant for.
    sink: Sink,
    /// The event that could not be told; of a restock notice the request for it.
    event_id: EntityId,
    #[serde(rename = "type")]
    #[schema(value_type = DeadLetterType)]
    kind: String,
    /// Whose event it is.
    user_id: String,
    /// The order that it is about; null: none.
    #[schema(required)]
    order_id: Option<EntityId>,
    /// How often it was sent.
    attempts: u32,
    /// Why it failed the last time.
    #[schema(required)]
    last_error: Option<String>,
    /// When it was given up.
    #[schema(value_type = Time)]
    failed_at: String,
}

impl LetterView {
    fn new(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            sink: letter.id.sink,
            event_id: letter.id.event,
            kind: letter.kind.clone(),
            user_id: letter.user.clone(),
            order_id: letter.order,
            attempts: u32::try_from(letter.attempts).unwrap_or_default(),
            last_error: letter.last_error.clone(),
            failed_at: letter.failed_at.to_string(),
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterPage)]
struct LettersView {
    dead_letters: Vec<LetterView>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Body of a request to send all of them again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayRequest)]
struct ReplayBody {
    /// Only those that were meant for it.
    #[serde(default)]
    sink: Option<Sink>,
}

/// How many are sent again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replayed)]
struct ReplayedView {
    replayed: u64,
}

/// GET /admin/dead-letters?sink=&limit=&cursor=
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "forwarding", operation_id = "listDeadLetters",
    summary = "What was given up after its last try", params(DeadLetterPage),
    responses((status = 200, description = "By sink, and then the oldest first", body = LettersView))
)]
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let limit = request.limit()?;
    let (sink, after) = (sink(&request)?, cursor(&request)?);
    if after.is_some_and(|after| sink.is_some_and(|sink| sink != after.sink)) {
        return Err(strange_cursor());
    }
    let letters = dead_letters::list(&app.pool, sink, after, limit + 1).await?;
    let view = |letter: &DeadLetter| (letter.id, LetterView::new(letter));
    let (dead_letters, next_cursor) = reply::first(letters.into_iter(), limit as usize, view);
    Ok(reply::json(StatusCode::OK, &LettersView { dead_letters, next_cursor }))
}

fn sink(request: &Request) -> Result<Option<Sink>, Problem> {
    let bad = || {
        let reason = format!("sink must be one of {}", Sink::ALL.map(Sink::as_str).join(", "));
        Problem::new(Code::InvalidInput).because(reason)
    };
    request.query("sink")?.map(|text| Sink::parse(&text).ok_or_else(bad)).transpose()
}

fn cursor(request: &Request) -> Result<Option<LetterId>, Problem> {
    request.query("cursor")?.map(|text| LetterId::parse(&text).ok_or_else(strange_cursor)).transpose()
}

fn strange_cursor() -> Problem {
    Problem::new(Code::InvalidInput).because("cursor is not one of this list")
}

/// POST /admin/dead-letters/replay
#[utoipa::path(
    post, path = "/admin/dead-letters/replay", tag = "forwarding", operation_id = "replayDeadLetters",
    summary = "Sends all dead letters again, or all of one sink",
    description = "At most 10,000 events and as many restock notices at a time, the oldest first: who has more asks again \
        under another key.",
    params(OptionalKey), request_body(content = ReplayBody, example = json!({"sink": "platform"})),
    responses((status = 200, description = "So many are sent again", body = ReplayedView))
)]
pub async fn replay_all(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: ReplayBody = request.json(&app).await?;
    replay(&app, &request, key, Which::All(body.sink)).await
}

/// POST /admin/dead-letters/{id}/replay
#[utoipa::path(
    post, path = "/admin/dead-letters/{id}/replay", tag = "forwarding", operation_id = "replayDeadLetter",
    summary = "Sends a dead letter again", params(OptionalKey),
    responses((status = 200, description = "1: it is sent again", body = ReplayedView))
)]
pub async fn replay_one(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let id = request.params.first().and_then(|id| LetterId::parse(id));
    let id = id.ok_or(Problem::new(Code::DeadLetterNotFound))?;
    request.no_body(&app).await?;
    replay(&app, &request, key, Which::One(id)).await
}

async fn replay(app: &App, request: &Request, key: Option<String>, which: Which) -> Answer {
    let key = key.or_else(|| request.made_key.clone()).expect("the router makes a key for what changes something");
    // Neither has a space in it, so nobody's key can be taken for another's.
    let replay_key = format!("{} {key}", request.user());
    let replay = dead_letters::replay(&app.pool, which, &replay_key).await;
    let (replayed, is_repeated) = match replay.map_err(|error| Problem::from(error).named(key.as_str()))? {
        Replay::Done(replayed) => (replayed, false),
        Replay::Repeated(replayed) => (replayed, true),
        Replay::NotFound => return Err(Problem::new(Code::DeadLetterNotFound).named(key)),
        Replay::KeyReused => return Err(Problem::new(Code::IdempotencyKeyReused).named(key)),
        Replay::Unknown(error) => {
            tracing::warn!(%error, "504");
            return Err(Problem::new(Code::OutcomeUnknown).with("idempotencyKey", key.as_str()).named(key));
        }
    };
    Ok(reply::decided(StatusCode::OK, &ReplayedView { replayed }, &key, is_repeated))
}
