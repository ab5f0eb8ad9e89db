//! Paying for reserved orders.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::find_order::{find_any_order, find_order};
use super::openapi::parameters::OptionalKey;
use super::openapi::values::{Amount, CompletedStatus};
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::engine::EngineError;
use crate::engine::event::{Event, OrderChanged, OrderStatus};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::{PayOrder, PaymentMethod};
use crate::engine::refusal::Refused;
use crate::gateway::settler::Attempt;
use crate::trace::{self, Step};

/// Body of a payment.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PaymentRequest)]
struct PaymentBody {
    #[schema(value_type = EntityId)]
    order_id: String,
    payment_method: PaymentMethod,
    /// The order's finalAmount.
    #[schema(value_type = Amount)]
    amount: u64,
}

/// A payment that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
struct PaymentView {
    payment_id: EntityId,
    order_id: EntityId,
    payment_method: PaymentMethod,
    amount: u64,
    #[schema(value_type = CompletedStatus)]
    status: &'static str,
    remaining_balance: u64,
}

/// A payment whose end is not known yet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HeldPayment)]
struct HeldView {
    order_id: EntityId,
    status: OrderStatus,
}

/// POST /api/payments
#[utoipa::path(
    post, path = "/api/payments", tag = "orders", operation_id = "payOrder", summary = "Pays for a reserved order",
    params(OptionalKey),
    request_body(
        content = PaymentBody, example = json!({"orderId": "8", "paymentMethod": "BALANCE", "amount": 59_000})
    ),
    responses(
        (status = 200, description = "Paid", body = PaymentView),
        (status = 202, description = "The gateway gave no clear answer; repeat with the same key", body = HeldView)
    )
)]
pub async fn pay(app: Arc<App>, request: Request) -> Answer {
    App::to_the_end(pay_to_the_end(app, request)).await?
}

async fn pay_to_the_end(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: PaymentBody = request.json(&app).await?;
    let id = EntityId::parse(&body.order_id).ok_or(Problem::new(Code::OrderNotFound))?;
    trace::about_order(id);
    // Taken before anything is decided: without one nothing is done.
    let slot = match (&app.settler, body.payment_method) {
        // A final amount of 0 needs no gateway.
        (_, PaymentMethod::Card) if body.amount == 0 => None,
        (_, PaymentMethod::Balance) => None,
        (Some(settler), PaymentMethod::Card) => {
            Some(settler.gateway().try_slot().ok_or(Problem::new(Code::Unavailable))?)
        }
        (None, PaymentMethod::Card) => {
            return Err(Problem::new(Code::InvalidInput).because("this shop takes no cards"));
        }
    };
    let op = PayOrder { order: id.seq(), method: body.payment_method, amount: body.amount };
    let call = request.call(key, &body, op);
    if app.engine.cell_of(&call.user).shared.id != id.cell() {
        return Err(Problem::new(Code::OrderNotFound));
    }
    let outcome = match app.engine.submit(&call).await {
        // Redis knows open orders only; whether it is another one says who has all of them.
        Err(EngineError::Refused(refusal)) if refusal.code == Refused::OrderNotFound => {
            let status = match find_order(&app, &request.user(), id).await? {
                Event::OrderChanged(order) => order.status,
                _ => OrderStatus::Confirmed,
            };
            return Err(Problem::new(Code::InvalidOrderState).with("orderStatus", status.as_str()));
        }
        outcome => outcome.map_err(|error| problem_of(error, &call.key))?,
    };
    let Event::OrderChanged(order) = outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    let order = if order.status == OrderStatus::Held {
        let now = if outcome.replayed { current(&app, id).await? } else { order };
        let attempt = if outcome.replayed { Attempt::Again } else { Attempt::First };
        let settled = settle(&app, outcome.cell, &now, attempt).await;
        drop(slot);
        settled.unwrap_or(now)
    } else {
        order
    };
    trace::timed(Step::Encode, || answer(outcome.cell, &order, &call.key, outcome.replayed))
}

/// The order as it is now.
async fn current(app: &App, id: EntityId) -> Result<OrderChanged, Problem> {
    match find_any_order(app, id).await? {
        Event::OrderChanged(order) => Ok(order),
        _ => Err(Problem::new(Code::InternalError)),
    }
}

/// Asks the gateway about an order that is held.
async fn settle(app: &App, cell: CellId, order: &OrderChanged, attempt: Attempt) -> Option<OrderChanged> {
    if order.status != OrderStatus::Held {
        return None;
    }
    app.settler.as_ref()?.order(cell, order, attempt).await
}

/// What came of a payment: the first success again, also when the order was refunded since.
fn answer(cell: CellId, order: &OrderChanged, key: &str, replayed: bool) -> Answer {
    let order_id = EntityId::new(cell, order.order);
    match (order.status, order.method, order.payment) {
        (OrderStatus::Held, ..) => {
            let view = HeldView { order_id, status: OrderStatus::Held };
            Ok(reply::decided(StatusCode::ACCEPTED, &view, key, replayed))
        }
        (OrderStatus::Confirmed | OrderStatus::Refunded, Some(payment_method), Some(payment)) => {
            let view = PaymentView {
                payment_id: EntityId::new(cell, payment),
                order_id,
                payment_method,
                amount: order.final_amount,
                status: "COMPLETED",
                remaining_balance: order.balance,
            };
            Ok(reply::decided(StatusCode::OK, &view, key, replayed))
        }
        (OrderStatus::PaymentFailed, ..) => {
            Err(Problem::new(Code::PaymentDeclined).with("orderId", order_id.to_string()).named(key))
        }
        _ => Err(Problem::new(Code::InvalidOrderState).with("orderStatus", order.status.as_str())),
    }
}
