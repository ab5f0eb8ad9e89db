//! A user's cart.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::openapi::parameters::OptionalKey;
use super::openapi::values::{Quantity, SmallId};
use super::orders::check_quantity;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::engine::event::{CartLine, CartPut, Event};
use crate::engine::op::{ProductId, PutCart};
use crate::engine::reads;

/// A cart as its owner sees it. Amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Cart)]
struct CartView {
    items: Vec<CartItemView>,
    total_amount: u64,
}

/// A product in a cart, with name and price as they are now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CartItem)]
struct CartItemView {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    product_name: String,
    unit_price: u64,
    quantity: u32,
    amount: u64,
}

impl CartView {
    fn new(lines: &[CartLine]) -> Self {
        let item = |line: &CartLine| CartItemView {
            product_id: line.product,
            product_name: line.name.clone(),
            unit_price: line.price,
            quantity: line.quantity,
            // At most 2^53 × 1,000,000: no order can be that large, but a cart may be.
            amount: line.price.saturating_mul(u64::from(line.quantity)),
        };
        let items: Vec<CartItemView> = lines.iter().map(item).collect();
        let total_amount = items.iter().fold(0_u64, |sum, item| sum.saturating_add(item.amount));
        Self { items, total_amount }
    }
}

/// Body of an addition.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CartAddition)]
struct AddBody {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    #[schema(value_type = Quantity)]
    quantity: u32,
}

/// Body of a change.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CartQuantity)]
struct SetBody {
    #[schema(value_type = Quantity)]
    quantity: u32,
}

/// GET /api/cart
#[utoipa::path(
    get, path = "/api/cart", tag = "cart", operation_id = "getCart",
    summary = "The cart, with names and prices as they are now",
    responses((status = 200, description = "The cart", body = CartView))
)]
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let user = request.user();
    let lines = reads::cart(&app.engine.cell_of(&user).shared, &user).await?;
    Ok(reply::json(StatusCode::OK, &CartView::new(&lines)))
}

/// DELETE /api/cart
#[utoipa::path(
    delete, path = "/api/cart", tag = "cart", operation_id = "clearCart", summary = "Empties the cart",
    params(OptionalKey), responses((status = 204, description = "It is empty"))
)]
pub async fn clear(app: Arc<App>, request: Request) -> Answer {
    let (key, _, replayed) = put(&app, &request, &(), PutCart::default()).await?;
    Ok(emptied(&key, replayed))
}

/// POST /api/cart/items
#[utoipa::path(
    post, path = "/api/cart/items", tag = "cart", operation_id = "addToCart", summary = "Adds units of a product",
    params(OptionalKey), request_body(content = AddBody, example = json!({"productId": 1, "quantity": 1})),
    responses((status = 200, description = "The cart", body = CartView))
)]
pub async fn add(app: Arc<App>, mut request: Request) -> Answer {
    let body: AddBody = request.json(&app).await?;
    check_quantity(&app, body.quantity)?;
    let op = PutCart { product: Some(body.product_id), quantity: Some(body.quantity), add: true };
    let (key, cart, replayed) = put(&app, &request, &body, op).await?;
    Ok(reply::decided(StatusCode::OK, &CartView::new(&cart.items), &key, replayed))
}

/// PUT /api/cart/items/{productId}
#[utoipa::path(
    put, path = "/api/cart/items/{productId}", tag = "cart", operation_id = "setCartQuantity",
    summary = "Sets the units of a product", params(OptionalKey),
    request_body(content = SetBody, example = json!({"quantity": 2})),
    responses((status = 200, description = "The cart", body = CartView))
)]
pub async fn set(app: Arc<App>, mut request: Request) -> Answer {
    let product = request.product_id()?;
    let body: SetBody = request.json(&app).await?;
    check_quantity(&app, body.quantity)?;
    let op = PutCart { product: Some(product), quantity: Some(body.quantity), add: false };
    let (key, cart, replayed) = put(&app, &request, &body, op).await?;
    Ok(reply::decided(StatusCode::OK, &CartView::new(&cart.items), &key, replayed))
}

/// DELETE /api/cart/items/{productId}
#[utoipa::path(
    delete, path = "/api/cart/items/{productId}", tag = "cart", operation_id = "removeFromCart",
    summary = "Takes a product out of the cart", params(OptionalKey),
    responses((status = 204, description = "It is not in the cart"))
)]
pub async fn remove(app: Arc<App>, request: Request) -> Answer {
    let op = PutCart { product: Some(request.product_id()?), quantity: Some(0), add: false };
    let (key, _, replayed) = put(&app, &request, &(), op).await?;
    Ok(emptied(&key, replayed))
}

async fn put(
    app: &App,
    request: &Request,
    body: &impl Serialize,
    op: PutCart,
) -> Result<(String, CartPut, bool), Problem> {
    let call = request.call(request.idempotency_key()?, body, op);
    let outcome = app.engine.submit(&call).await.map_err(|error| problem_of(error, &call.key))?;
    match outcome.event {
        Event::CartPut(cart) => Ok((call.key, cart, outcome.replayed)),
        _ => Err(Problem::new(Code::InternalError)),
    }
}

fn emptied(key: &str, replayed: bool) -> Response<Full<Bytes>> {
    reply::named(reply::empty(StatusCode::NO_CONTENT), key, replayed)
}
