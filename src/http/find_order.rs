//! Finding orders: one from Redis or else PostgreSQL, lists from PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::openapi::parameters::{OrderStatusFilter, Page};
use super::order_view::OrderView;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::engine::event::{Event, OrderStatus};
use crate::engine::ids::EntityId;
use crate::engine::reads::{self, Entity};
use crate::engine::user::UserId;
use crate::postgres::history;
use crate::postgres::sync::{self, StoredSync};
use crate::trace::{self, Step};

/// Longest wait for what became of telling the data platform: the order itself is there already.
const SYNC_PATIENCE: Duration = Duration::from_millis(250);

/// The last event of an order, whoever's it is: from Redis, which has it the moment it was answered, else from PostgreSQL. 404 only
/// when PostgreSQL was asked and Redis could say that the order is not on its way there; else 503.
pub async fn find_any_order(app: &App, id: EntityId) -> Result<Event, Problem> {
    trace::about_order(id);
    trace::awaited(Step::Find, find(app, id)).await
}

async fn find(app: &App, id: EntityId) -> Result<Event, Problem> {
    let not_found = || Problem::new(Code::OrderNotFound);
    let cell = app.engine.cell(id.cell()).ok_or_else(not_found)?;
    let in_redis = reads::last_event(&cell.shared, Entity::Order, id).await;
    if let Ok(Some(event)) = in_redis {
        return Ok(event);
    }
    // One deadline for all that PostgreSQL is asked here: who wants to change the order has a deadline too.
    let in_postgres = async {
        match history::last_event(&app.pool, id).await? {
            // An order that PostgreSQL could not take is an order all the same.
            None => history::parked_event(&app.pool, id).await,
            found => Ok(found),
        }
    };
    let in_postgres = tokio::time::timeout(app.config.database_timeout_ms, in_postgres).await;
    match (in_postgres.map_err(|_| Problem::new(Code::Unavailable))??, in_redis) {
        (Some(event), _) => Ok(event),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(not_found()),
    }
}

/// As [`find_any_order`]; somebody else's is not found.
pub async fn find_order(app: &App, user: &UserId, id: EntityId) -> Result<Event, Problem> {
    let event = find_any_order(app, id).await?;
    match &event {
        Event::OrderConfirmed(order) if order.user == *user => Ok(event),
        Event::OrderChanged(order) if order.user == *user => Ok(event),
        _ => Err(Problem::new(Code::OrderNotFound)),
    }
}

/// GET /api/orders/{id}
#[utoipa::path(
    get, path = "/api/orders/{id}", tag = "orders", operation_id = "getOrder",
    summary = "One of the user's orders, readable the moment it was answered",
    description = "`sync` is missing while PostgreSQL is away: whether the data platform was told is not known then.",
    responses((status = 200, description = "The order", body = OrderView))
)]
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let id = request.order_id()?;
    let event = find_order(&app, &request.user(), id).await?;
    let view = OrderView::of_event(id.cell(), &event).ok_or(Problem::new(Code::OrderNotFound))?;
    let sync = sync_of(&app, id, view.status()).await;
    Ok(reply::json(StatusCode::OK, &view.with_sync(sync)))
}

/// What became of telling the data platform that the order has this status; `None`: PostgreSQL is away, and nobody knows.
async fn sync_of(app: &App, id: EntityId, status: &str) -> Option<StoredSync> {
    let patience = app.config.database_timeout_ms.min(SYNC_PATIENCE);
    match tokio::time::timeout(patience, sync::of_order(&app.pool, id)).await {
        // PostgreSQL speaks of the status that it has; of a newer one nobody was told yet.
        Ok(Ok(stored)) => Some(stored.and_then(|(told, sync)| (told == status).then_some(sync)).unwrap_or_default()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "an order without sync");
            None
        }
        Err(_) => None,
    }
}

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrderPage)]
struct OrdersView {
    orders: Vec<OrderView>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// GET /api/orders?status=&limit=&cursor=
#[utoipa::path(
    get, path = "/api/orders", tag = "orders", operation_id = "listOrders",
    summary = "The user's orders; may lag a moment", params(OrderStatusFilter, Page),
    responses((status = 200, description = "Newest first", body = OrdersView))
)]
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let (limit, before) = (request.limit()?, request.cursor()?);
    let status = request.query("status")?;
    let statuses = OrderStatus::ALL.map(OrderStatus::as_str);
    if status.as_deref().is_some_and(|status| !statuses.contains(&status)) {
        let reason = format!("status must be one of {}", statuses.join(", "));
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let orders = history::orders(&app.pool, &request.user(), status.as_deref(), before, limit + 1).await?;
    let view = |order: &history::StoredOrder| (order.id, OrderView::stored(order.clone()));
    let (orders, next_cursor) = reply::first(orders.into_iter(), limit as usize, view);
    Ok(reply::json(StatusCode::OK, &OrdersView { orders, next_cursor }))
}
