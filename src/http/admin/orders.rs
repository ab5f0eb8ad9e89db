//! Held orders that the gateway does not clear up.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::call::Call;
use crate::engine::event::{Event, OrderChanged, OrderStatus};
use crate::engine::ids::EntityId;
use crate::engine::op::{SettleOrder, Verdict};
use crate::gateway::Verdict as GatewayAnswer;
use crate::http::app::{App, problem_of};
use crate::http::find_order::find_any_order;
use crate::http::openapi::parameters::OptionalKey;
use crate::http::order_view::OrderView;
use crate::http::problem::{Code, Problem};
use crate::http::reply::{self, Answer};
use crate::http::request::Request;

/// What the operator found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = SettlementOutcome)]
enum Word {
    Approved,
    Declined,
}

/// Body of a settlement.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Settlement)]
struct SettleBody {
    outcome: Word,
}

/// POST /admin/orders/{id}/settle: an operator ends what the gateway leaves open. What the gateway clearly says counts more than
/// his word: the two must not part.
#[utoipa::path(
    post, path = "/admin/orders/{id}/settle", tag = "orders", operation_id = "settleOrder",
    summary = "Ends a held order whose payment the gateway leaves open", params(OptionalKey),
    request_body(content = SettleBody, example = json!({"outcome": "APPROVED"})),
    responses((status = 200, description = "CONFIRMED or PAYMENT_FAILED", body = OrderView))
)]
pub async fn settle(app: Arc<App>, mut request: Request) -> Answer {
    let id = request.order_id()?;
    let key = request.idempotency_key()?;
    let body: SettleBody = request.json(&app).await?;
    let Event::OrderChanged(order) = find_any_order(&app, id).await? else {
        return Err(Problem::new(Code::InvalidOrderState).with("orderStatus", OrderStatus::Confirmed.as_str()));
    };
    let settled_as_told = match body.outcome {
        Word::Approved => OrderStatus::Confirmed,
        Word::Declined => OrderStatus::PaymentFailed,
    };
    if order.status != OrderStatus::Held && order.status != settled_as_told {
        return Err(Problem::new(Code::InvalidOrderState).with("orderStatus", order.status.as_str()));
    }
    let _slot = match &app.settler {
        Some(settler) => Some(settler.gateway().try_slot().ok_or(Problem::new(Code::Unavailable))?),
        None => None,
    };
    let verdict = match (heard(&app, id, &order, body.outcome).await, body.outcome) {
        (Heard::Agrees | Heard::Nothing, Word::Approved) => Verdict::Approved,
        (Heard::Agrees, Word::Declined) => Verdict::Declined,
        (Heard::Nothing, Word::Declined) => Verdict::Abandoned,
        (Heard::Contradicts, _) => {
            let reason = "the gateway says otherwise; the order will be settled as it says";
            return Err(Problem::new(Code::InvalidOrderState).with("orderStatus", "HELD").because(reason));
        }
    };
    let mut call = request.call(key, &body, SettleOrder { order: order.order, verdict });
    // The order is its buyer's, and so is the record of the key; a space keeps it apart from every key of his own.
    call.key = format!("admin {} {}", call.user, call.key);
    call = Call { user: order.user.clone(), ..call };
    let shown = call.key.rsplit(' ').next().unwrap_or_default().to_owned();
    let outcome = app.engine.submit(&call).await.map_err(|error| problem_of(error, &shown))?;
    let view = OrderView::of_event(outcome.cell, &outcome.event).ok_or(Problem::new(Code::InternalError))?;
    Ok(reply::decided(StatusCode::OK, &view, &shown, outcome.replayed))
}

/// How what the gateway clearly says goes with the operator's word.
enum Heard {
    Agrees,
    Contradicts,
    /// It says nothing clear, or there is none.
    Nothing,
}

/// Asks the gateway. Before a word of DECLINED counts, the payment is voided, so that it cannot be charged later. A payment
/// that the gateway does not know was not approved: it will be sent again.
async fn heard(app: &App, id: EntityId, order: &OrderChanged, word: Word) -> Heard {
    let Some(settler) = &app.settler else { return Heard::Nothing };
    let key = settler.order_key(id);
    let mut answer = settler.gateway().find(&key, order.final_amount).await;
    if matches!(answer, GatewayAnswer::NotFound) && word == Word::Declined {
        answer = settler.gateway().void(&key, order.final_amount).await;
    }
    match (answer, word) {
        (GatewayAnswer::Approved, Word::Approved)
        | (GatewayAnswer::Declined { .. } | GatewayAnswer::Voided | GatewayAnswer::Refunded, Word::Declined) => {
            Heard::Agrees
        }
        (GatewayAnswer::Unclear(_), _) | (GatewayAnswer::NotFound, Word::Declined) => Heard::Nothing,
        _ => Heard::Contradicts,
    }
}
