//! Products and stock.

use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Given, NAME_CHARS_MAX, NUMBER_MAX, QUANTITY_MAX, change, check_number, check_time, given};
use crate::catalog::products::Product;
use crate::engine::event::{Event, ProductPut};
use crate::engine::op::{AdjustStock, Change, ItemStatus, ProductId, PutProduct};
use crate::http::app::{App, problem_of};
use crate::http::openapi::parameters::{OptionalKey, RequiredKey};
use crate::http::openapi::values::{Amount, Count, Name, PositiveNumber, SmallId, StockDelta, Time};
use crate::http::problem::{Code, Problem};
use crate::http::products::ProductView;
use crate::http::reply::{self, Answer};
use crate::http::request::{Request, check_text};

/// A product to be sold.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewProduct)]
struct CreateBody {
    #[schema(value_type = Name)]
    name: String,
    #[schema(value_type = Amount)]
    price: u64,
    #[schema(value_type = Count)]
    stock: u64,
    /// Units that one user may buy over all his orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PositiveNumber>)]
    limit_per_user: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sale_starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sale_ends_at: Option<Timestamp>,
}

/// `null` removes an optional member; a member that is not given stays as it is.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ProductChange)]
struct ChangeBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Amount>)]
    price: Option<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PositiveNumber>)]
    limit_per_user: Given<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sale_starts_at: Given<Timestamp>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sale_ends_at: Given<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<ItemStatus>,
}

/// Units to add (negative: to take away).
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StockChange)]
struct StockBody {
    #[schema(value_type = StockDelta)]
    delta: i64,
}

/// POST /admin/products
#[utoipa::path(
    post, path = "/admin/products", tag = "catalogue", operation_id = "createProduct",
    summary = "Puts a product on sale", params(OptionalKey),
    request_body(content = CreateBody, example = json!({
        "name": "Limited sneaker", "price": 59_000, "stock": 100, "limitPerUser": 2,
        "saleStartsAt": "2025-01-01T00:00:00Z", "saleEndsAt": "2099-01-01T00:00:00Z"
    })),
    responses((status = 201, description = "The product", body = ProductView<'static>))
)]
pub async fn create_product(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: CreateBody = request.json(&app).await?;
    check_text("name", &body.name, NAME_CHARS_MAX)?;
    check_number("price", body.price, (0, NUMBER_MAX))?;
    check_number("stock", body.stock, (0, QUANTITY_MAX))?;
    body.limit_per_user.map_or(Ok(()), |limit| check_number("limitPerUser", limit, (1, NUMBER_MAX)))?;
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
#[utoipa::path(
    patch, path = "/admin/products/{id}", tag = "catalogue", operation_id = "changeProduct",
    summary = "Changes a product",
    description = "`null` removes an optional member; a member that is not given stays as it is. The status `DELETED` \
        takes the product off the shop.",
    params(OptionalKey), request_body(content = ChangeBody, example = json!({"price": 49_000, "saleEndsAt": null})),
    responses((status = 200, description = "The product", body = ProductView<'static>))
)]
pub async fn change_product(app: Arc<App>, mut request: Request) -> Answer {
    let id = request.product_id()?;
    let key = request.idempotency_key()?;
    let body: ChangeBody = request.json(&app).await?;
    body.name.as_ref().map_or(Ok(()), |name| check_text("name", name, NAME_CHARS_MAX))?;
    body.price.map_or(Ok(()), |price| check_number("price", price, (0, NUMBER_MAX)))?;
    body.limit_per_user.flatten().map_or(Ok(()), |limit| check_number("limitPerUser", limit, (1, NUMBER_MAX)))?;
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

async fn put_product(
    app: &App,
    request: &Request,
    key: Option<String>,
    body: &impl Serialize,
    op: PutProduct,
    status: StatusCode,
) -> Answer {
    let call = request.call(key, body, op);
    let outcome = app.engine.submit_product(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let Event::ProductPut(put) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    show(app).await;
    Ok(reply::decided(status, &ProductView::from(&product_of(put)), &call.key, outcome.replayed))
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
#[utoipa::path(
    post, path = "/admin/products/{id}/stock", tag = "catalogue", operation_id = "adjustStock",
    summary = "Adds stock or takes it away", params(RequiredKey),
    request_body(content = StockBody, example = json!({"delta": 50})),
    responses((status = 200, description = "The stock after it", body = StockView))
)]
pub async fn adjust_stock(app: Arc<App>, mut request: Request) -> Answer {
    let product = request.product_id()?;
    let key = request.required_idempotency_key()?;
    let body: StockBody = request.json(&app).await?;
    if body.delta == 0 || body.delta.unsigned_abs() > QUANTITY_MAX {
        let reason = format!("delta must be a whole number other than 0, at most {QUANTITY_MAX}");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let op = AdjustStock { product, delta: body.delta };
    let call = request.call(Some(key), &body, op);
    let outcome = app.engine.submit_product(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let Event::StockAdjusted(adjusted) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    show(&app).await;
    let body = StockView { product_id: product, stock: adjusted.stock };
    Ok(reply::decided(StatusCode::OK, &body, &call.key, outcome.replayed))
}

/// The stock of a product after a change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProductStock)]
struct StockView {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    stock: u64,
}
