//! Products, stock and rankings, from the caches.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::openapi::parameters::{OptionalKey, Page, PopularWindow};
use super::openapi::values::{Date, Email, SmallId, Time};
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::catalog::products::Product;
use crate::engine::op::{ItemStatus, ProductId, RequestRestock};

/// Days of a ranking when `days` is not given.
pub const DAYS_DEFAULT: u32 = 3;

/// Days of a ranking at most.
pub const DAYS_MAX: u32 = 30;

/// Products of a ranking when `limit` is not given.
pub const POPULAR_LIMIT_DEFAULT: u32 = 5;

/// Products of a ranking at most.
pub const POPULAR_LIMIT_MAX: u32 = 100;

/// A product as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Product)]
pub struct ProductView<'a> {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    name: &'a str,
    /// Minor units.
    price: u64,
    /// Units available.
    stock: u64,
    /// Units that one user may buy over all his orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    limit_per_user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    sale_starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    sale_ends_at: Option<String>,
    status: ItemStatus,
}

/// A page of products.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProductPage)]
struct ProductsView<'a> {
    products: Vec<ProductView<'a>>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The stock of a product at one moment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stock)]
struct StockView {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    /// Units available.
    stock: u64,
    #[schema(value_type = Time)]
    as_of: String,
}

impl<'a> From<&'a Product> for ProductView<'a> {
    fn from(product: &'a Product) -> Self {
        Self {
            product_id: product.id,
            name: &product.name,
            price: product.price,
            stock: product.stock,
            limit_per_user: product.limit,
            sale_starts_at: product.starts.map(reply::time),
            sale_ends_at: product.ends.map(reply::time),
            status: product.status,
        }
    }
}

/// GET /api/products?limit=&cursor=
#[utoipa::path(
    get, path = "/api/products", tag = "products", operation_id = "listProducts",
    summary = "What is on sale, with live stock", params(Page),
    responses((status = 200, description = "By productId", body = ProductsView<'static>))
)]
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let limit = request.limit()? as usize;
    let after = request.small_cursor()?;
    let snapshot = app.products.snapshot().await?;
    let rest = snapshot.on_sale().filter(|product| product.id > after);
    let (products, next_cursor) = reply::first(rest, limit, |product| (product.id, ProductView::from(*product)));
    Ok(reply::json(StatusCode::OK, &ProductsView { products, next_cursor }))
}

/// GET /api/products/{id}
#[utoipa::path(
    get, path = "/api/products/{id}", tag = "products", operation_id = "getProduct", summary = "One product",
    responses((status = 200, description = "The product", body = ProductView<'static>))
)]
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let id = request.product_id()?;
    let snapshot = app.products.snapshot().await?;
    let product = snapshot.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    Ok(reply::json(StatusCode::OK, &ProductView::from(product)))
}

/// GET /api/products/{id}/stock
#[utoipa::path(
    get, path = "/api/products/{id}/stock", tag = "products", operation_id = "getStock",
    summary = "One product's stock",
    responses((status = 200, description = "At most a moment old", body = StockView))
)]
pub async fn stock(app: Arc<App>, request: Request) -> Answer {
    let id = request.product_id()?;
    let snapshot = app.products.snapshot().await?;
    let product = snapshot.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    let view = StockView { product_id: id, stock: product.stock, as_of: reply::time(snapshot.as_of_ms) };
    Ok(reply::json(StatusCode::OK, &view))
}

/// Characters of an e-mail address (RFC 5321 section 4.5.3.1.3, without the brackets).
pub const EMAIL_CHARS_MAX: usize = 254;

/// Whom to tell.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RestockRequest)]
struct RestockBody {
    #[schema(value_type = Email)]
    email: String,
}

/// A user who will be told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RestockNotification)]
struct RestockView {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    email: String,
}

/// POST /api/products/{id}/restock-notifications
#[utoipa::path(
    post, path = "/api/products/{id}/restock-notifications", tag = "products",
    operation_id = "requestRestockNotification",
    summary = "Asks to be told, once, when a product is back in stock", params(OptionalKey),
    request_body(content = RestockBody, example = json!({"email": "ann@example.com"})),
    responses((status = 201, description = "The user will be told", body = RestockView))
)]
pub async fn request_restock(app: Arc<App>, mut request: Request) -> Answer {
    let product = request.product_id()?;
    let key = request.idempotency_key()?;
    let body: RestockBody = request.json(&app).await?;
    check_email(&body.email)?;
    let op = RequestRestock { product, email: body.email.clone() };
    let call = request.call(key, &body, op);
    let outcome = app.engine.submit_product(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let view = RestockView { product_id: product, email: body.email };
    Ok(reply::decided(StatusCode::CREATED, &view, &call.key, outcome.replayed))
}

/// Something that a mail server may take; whether it does shows when it is written to.
fn check_email(email: &str) -> Result<(), Problem> {
    check_text("email", email, EMAIL_CHARS_MAX)?;
    let parts = email.split_once('@').filter(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.contains('@') && host.split('.').all(|label| !label.is_empty())
    });
    if parts.is_none() || email.contains(char::is_whitespace) {
        return Err(Problem::new(Code::InvalidInput).because("email must be an address such as name@example.com"));
    }
    Ok(())
}

/// What sold best over some business days, today included.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PopularProducts)]
struct PopularView<'a> {
    period: PeriodView<'a>,
    products: Vec<RankedView<'a>>,
    #[schema(value_type = Time)]
    as_of: String,
}

/// Business days.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Period)]
struct PeriodView<'a> {
    days: u32,
    #[schema(value_type = Date)]
    start_date: &'a str,
    #[schema(value_type = Date)]
    end_date: &'a str,
}

/// A place in the ranking.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PopularProduct)]
struct RankedView<'a> {
    /// From 1.
    rank: u32,
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    name: &'a str,
    /// Minor units.
    price: u64,
    /// Units available.
    stock: u64,
    /// Units confirmed and not refunded.
    sold_quantity: u64,
}

/// GET /api/products/popular?days=&limit=
#[utoipa::path(
    get, path = "/api/products/popular", tag = "products", operation_id = "listPopularProducts",
    summary = "What sells best", params(PopularWindow),
    responses((status = 200, description = "Most units first", body = PopularView<'static>))
)]
pub async fn popular(app: Arc<App>, request: Request) -> Answer {
    let days = request.query_number("days", DAYS_DEFAULT, DAYS_MAX)?;
    let limit = request.query_number("limit", POPULAR_LIMIT_DEFAULT, POPULAR_LIMIT_MAX)? as usize;
    let ranking = app.popular.ranking(days).await?;
    let snapshot = app.products.snapshot().await?;
    let products: Vec<_> = ranking
        .sold
        .iter()
        .filter_map(|(id, sold)| Some((snapshot.get_on_sale(*id)?, sold)))
        .take(limit)
        .zip(1..)
        .map(|((product, sold), rank)| RankedView {
            rank,
            product_id: product.id,
            name: &product.name,
            price: product.price,
            stock: product.stock,
            sold_quantity: *sold,
        })
        .collect();
    let period = PeriodView { days, start_date: &ranking.start_date, end_date: &ranking.end_date };
    let view = PopularView { period, products, as_of: reply::time(ranking.as_of_ms) };
    Ok(reply::json(StatusCode::OK, &view))
}
