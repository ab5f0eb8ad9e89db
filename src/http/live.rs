//! The live page: what the sale does now.
#![expect(clippy::unused_async, reason = "every handler has the same shape")]

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::app::App;
use super::problem::{Code, Problem};
use super::reply::{self, Answer, Body};
use super::request::Request;
use crate::engine::op::ProductId;
use crate::live::rush::{BUYERS_MAX, Plan};
use crate::web::{LIVE, guard};

/// Seconds after which somebody who found no place may ask again.
const RETRY_S: u64 = 5;

/// Tells nginx to pass on what comes as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// GET /live
pub async fn page(_: Arc<App>, _: Request) -> Answer {
    Ok(LIVE.page())
}

/// GET /live/{file}
pub async fn file(_: Arc<App>, request: Request) -> Answer {
    LIVE.file(request.params.first().map_or("", String::as_str))
}

/// GET /live/events: a snapshot every second, as server-sent events.
pub async fn events(app: Arc<App>, _: Request) -> Result<Response<Body>, Problem> {
    let full = |why: &'static str| Problem::new(Code::Unavailable).because(why).retry_after(RETRY_S);
    let mut response = Response::new(Body::Stream(app.live.watch(&app).map_err(full)?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// A rush as asked for.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RushBody {
    buyers: u32,
    product_id: ProductId,
}

/// POST /live/rush {buyers, productId}: in `flashsale dev` only.
pub async fn rush(app: Arc<App>, mut request: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    guard::own_page_only(&request.headers)?;
    let body: RushBody = request.json(&app).await?;
    if !(1..=BUYERS_MAX).contains(&body.buyers) {
        let reason = format!("buyers must be from 1 to {BUYERS_MAX}");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let id = body.product_id;
    let products = app.products.snapshot().await?;
    let product = products.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    if !app.live.start_rush(&app, Plan::new(&app.config, id, product.price, body.buyers)) {
        return Err(Problem::new(Code::RequestInProgress).because("a rush is under way"));
    }
    Ok(reply::json(StatusCode::ACCEPTED, &body))
}
