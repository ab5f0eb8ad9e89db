//! The live page: what the sale does now.
#![expect(clippy::unused_async, reason = "every handler has the same shape")]

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::app::{App, problem_of};
use super::problem::{Code, Problem};
use super::reply::{self, Answer, Body};
use super::request::Request;
use crate::engine::call::{Call, Fingerprint};
use crate::engine::event::Event;
use crate::engine::op::{AdjustStock, ProductId};
use crate::engine::user::UserId;
use crate::live::rush::{BUYERS_MAX, Plan, SECONDS_MAX};
use crate::web::{LIVE, guard};

/// Seconds after which somebody who found no place may ask again.
const RETRY_S: u64 = 5;

/// Units that may be put back at once.
const UNITS_MAX: u32 = 1_000;

/// Who puts them back: nobody has a token here.
const RESTOCKER: &str = "live-page";

/// Tells nginx to pass on what comes as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// GET /: who opens the operations listener in a browser means this page.
pub async fn home(_: Arc<App>, _: Request) -> Answer {
    let mut response = reply::empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/live"));
    Ok(response)
}

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
    /// Over how long their orders come; 0: all at once.
    #[serde(default)]
    seconds: u32,
}

/// POST /live/rush {buyers, productId, seconds?}: in `flashsale dev` only.
pub async fn rush(app: Arc<App>, mut request: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    guard::own_page_only(&request.headers)?;
    let body: RushBody = request.json(&app).await?;
    if !(1..=BUYERS_MAX).contains(&body.buyers) {
        let reason = format!("buyers must be from 1 to {BUYERS_MAX}");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    if body.seconds > SECONDS_MAX {
        let reason = format!("seconds must be from 0 to {SECONDS_MAX}");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let id = body.product_id;
    let products = app.products.snapshot().await?;
    let product = products.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    let plan = Plan::new(&app.config, id, product.price, body.buyers, body.seconds);
    if !app.live.start_rush(&app, plan) {
        return Err(Problem::new(Code::RequestInProgress).because("a rush is under way"));
    }
    Ok(reply::json(StatusCode::ACCEPTED, &body))
}

/// Units to put back.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestockBody {
    product_id: ProductId,
    units: u32,
}

/// What can be sold after it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestockView {
    product_id: ProductId,
    stock: u64,
}

/// POST /live/restock {productId, units}: in `flashsale dev` only, so that there can be another rush.
pub async fn restock(app: Arc<App>, mut request: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    guard::own_page_only(&request.headers)?;
    let body: RestockBody = request.json(&app).await?;
    if !(1..=UNITS_MAX).contains(&body.units) {
        let reason = format!("units must be from 1 to {UNITS_MAX}");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let product_id = body.product_id;
    let call = Call {
        user: UserId::parse(RESTOCKER).expect("a plain name"),
        key: Uuid::new_v4().to_string(),
        fingerprint: Fingerprint::new(request.route, &request.path, &body),
        op: AdjustStock { product: product_id, delta: body.units.into() }.into(),
    };
    let outcome = app.engine.submit_product(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let Event::StockAdjusted(adjusted) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    // The catalogue shows it soon anyway: no long wait for that.
    let _ = tokio::time::timeout(app.config.catalog_refresh_ms, app.products.refresh()).await;
    Ok(reply::json(StatusCode::OK, &RestockView { product_id, stock: adjusted.stock }))
}
