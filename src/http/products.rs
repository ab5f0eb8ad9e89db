//! Products, stock and rankings, from the caches.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::app::App;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::catalog::products::Product;
use crate::engine::op::{ProductId, ProductStatus};

const DAYS_DEFAULT: u32 = 3;
const DAYS_MAX: u32 = 30;
const POPULAR_LIMIT_DEFAULT: u32 = 5;
const POPULAR_LIMIT_MAX: u32 = 100;

/// A product as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductView<'a> {
    product_id: ProductId,
    name: &'a str,
    price: u64,
    stock: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_per_user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sale_starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sale_ends_at: Option<String>,
    status: ProductStatus,
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
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let limit = request.limit()? as usize;
    let after = match request.query("cursor")? {
        None => 0,
        Some(cursor) => cursor
            .parse::<ProductId>()
            .map_err(|_| Problem::new(Code::InvalidInput).because("cursor is not one of this list"))?,
    };
    let snapshot = app.products.snapshot().await?;
    let mut rest = snapshot.on_sale().filter(|product| product.id > after).peekable();
    let mut products = Vec::new();
    let mut last = 0;
    while let Some(product) = rest.next_if(|_| products.len() < limit) {
        last = product.id;
        products.push(serde_json::to_value(ProductView::from(product)).expect("a product is plain data"));
    }
    let next = rest.peek().map(|_| last.to_string());
    Ok(reply::page("products", products, next))
}

/// GET /api/products/{id}
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let id = request.product_id()?;
    let snapshot = app.products.snapshot().await?;
    let product = snapshot.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    Ok(reply::json(StatusCode::OK, &ProductView::from(product)))
}

/// GET /api/products/{id}/stock
pub async fn stock(app: Arc<App>, request: Request) -> Answer {
    let id = request.product_id()?;
    let snapshot = app.products.snapshot().await?;
    let product = snapshot.get_on_sale(id).ok_or_else(|| Problem::new(Code::ProductNotFound).with("productId", id))?;
    let body = json!({"productId": id, "stock": product.stock, "asOf": reply::time(snapshot.as_of_ms)});
    Ok(reply::json(StatusCode::OK, &body))
}

/// GET /api/products/popular?days=&limit=
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
        .map(|((product, sold), rank)| {
            json!({"rank": rank, "productId": product.id, "name": product.name, "price": product.price,
                "stock": product.stock, "soldQuantity": sold})
        })
        .collect();
    let body = json!({
        "period": {"days": days, "startDate": ranking.start_date, "endDate": ranking.end_date},
        "products": products,
        "asOf": reply::time(ranking.as_of_ms),
    });
    Ok(reply::json(StatusCode::OK, &body))
}
