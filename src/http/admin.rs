//! What operators change: products and stock.

use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::app::{App, problem_of};
use super::problem::{Code, Problem};
use super::products::ProductView;
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::catalog::products::Product;
use crate::engine::event::{Event, ProductPut};
use crate::engine::op::{AdjustStock, Change, Op, ProductStatus, PutProduct};

const NAME_CHARS_MAX: usize = 200;

/// Largest amount and quantity: what a double holds exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The last ms of the year 9999.
const TIME_MAX_MS: i64 = 253_402_300_799_999;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    name: String,
    price: u64,
    stock: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_per_user: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sale_starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sale_ends_at: Option<Timestamp>,
}

/// Given or not, and when given possibly null: the two must stay apart.
type Given<T> = Option<Option<T>>;

/// `null` removes an optional member; a member that is not given stays as it is.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    limit_per_user: Given<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    sale_starts_at: Given<Timestamp>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    sale_ends_at: Given<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<ProductStatus>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StockBody {
    delta: i64,
}

/// Tells "given as null" from "not given".
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

fn change<T, U>(member: Given<T>, convert: impl FnOnce(T) -> U) -> Option<Change<U>> {
    member.map(|value| value.map_or(Change::Clear, |value| Change::Set(convert(value))))
}

fn check_number(name: &str, value: u64, least: u64) -> Result<(), Problem> {
    if (least..=NUMBER_MAX).contains(&value) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidInput).because(format!("{name} must be from {least} to {NUMBER_MAX}")))
}

/// POST /admin/products
pub async fn create_product(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: CreateBody = request.json(&app).await?;
    check_text("name", &body.name, NAME_CHARS_MAX)?;
    check_number("price", body.price, 0)?;
    check_number("stock", body.stock, 0)?;
    body.limit_per_user.map_or(Ok(()), |limit| check_number("limitPerUser", limit, 1))?;
    check_time("saleStartsAt", body.sale_starts_at)?;
    check_time("saleEndsAt", body.sale_ends_at)?;
    let op = PutProduct {
        product: None,
        name: Some(body.name.clone()),
        price: Some(body.price),
        stock: Some(body.stock),
        limit: body.limit_per_user.map(Change::Set),
        starts: body.sale_starts_at.map(|at| Change::Set(at.as_millisecond())),
        ends: body.sale_ends_at.map(|at| Change::Set(at.as_millisecond())),
        status: None,
    };
    put_product(&app, &request, key, &body, op, StatusCode::CREATED).await
}

/// PATCH /admin/products/{id}
pub async fn change_product(app: Arc<App>, mut request: Request) -> Answer {
    let id = request.product_id()?;
    let key = request.idempotency_key()?;
    let body: ChangeBody = request.json(&app).await?;
    body.name.as_ref().map_or(Ok(()), |name| check_text("name", name, NAME_CHARS_MAX))?;
    body.price.map_or(Ok(()), |price| check_number("price", price, 0))?;
    body.limit_per_user.flatten().map_or(Ok(()), |limit| check_number("limitPerUser", limit, 1))?;
    check_time("saleStartsAt", body.sale_starts_at.flatten())?;
    check_time("saleEndsAt", body.sale_ends_at.flatten())?;
    let op = PutProduct {
        product: Some(id),
        name: body.name.clone(),
        price: body.price,
        stock: None,
        limit: change(body.limit_per_user, |limit| limit),
        starts: change(body.sale_starts_at, Timestamp::as_millisecond),
        ends: change(body.sale_ends_at, Timestamp::as_millisecond),
        status: body.status,
    };
    put_product(&app, &request, key, &body, op, StatusCode::OK).await
}

/// Times of a sale: what PostgreSQL and everybody's calendar can hold.
fn check_time(name: &str, time: Option<Timestamp>) -> Result<(), Problem> {
    match time {
        Some(time) if !(0..=TIME_MAX_MS).contains(&time.as_millisecond()) => {
            Err(Problem::new(Code::InvalidInput).because(format!("{name} must be in the years 1970 to 9999")))
        }
        _ => Ok(()),
    }
}

async fn put_product(
    app: &App,
    request: &Request,
    key: Option<String>,
    body: &impl Serialize,
    op: PutProduct,
    status: StatusCode,
) -> Answer {
    let call = request.call(key, body, Op::PutProduct(op));
    let key = call.key.clone();
    let outcome = app.engine.submit_product(call).await.map_err(|error| problem_of(error, &key))?;
    let Event::ProductPut(put) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    show(app).await;
    Ok(reply::decided(status, &ProductView::from(&product_of(put)), &key, outcome.replayed))
}

/// Has the catalogue show what was changed, but does not wait long: it is done whatever happens now.
async fn show(app: &App) {
    let _ = tokio::time::timeout(app.config.catalog_refresh_ms, app.products.refresh()).await;
}

fn product_of(put: &ProductPut) -> Product {
    Product {
        id: put.product,
        name: put.name.clone(),
        price: put.price,
        stock: put.stock,
        limit: put.limit,
        starts: put.starts,
        ends: put.ends,
        status: put.status,
    }
}

/// POST /admin/products/{id}/stock
pub async fn adjust_stock(app: Arc<App>, mut request: Request) -> Answer {
    let product = request.product_id()?;
    let key = request.required_idempotency_key()?;
    let body: StockBody = request.json(&app).await?;
    if body.delta == 0 || body.delta.unsigned_abs() > NUMBER_MAX {
        return Err(Problem::new(Code::InvalidInput).because("delta must be a whole number other than 0, below 2^53"));
    }
    let op = Op::AdjustStock(AdjustStock { product, delta: body.delta });
    let outcome = app.engine.submit_product(request.call(Some(key.clone()), &body, op)).await;
    let outcome = outcome.map_err(|error| problem_of(error, &key))?;
    let Event::StockAdjusted(adjusted) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    show(&app).await;
    let body = json!({"productId": product, "stock": adjusted.stock});
    Ok(reply::decided(StatusCode::OK, &body, &key, outcome.replayed))
}
