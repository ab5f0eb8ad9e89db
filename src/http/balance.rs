//! A user's balance.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::openapi::parameters::{Page, RequiredKey};
use super::openapi::values::{ChargeAmount, Label, PendingStatus, Time, TransactionType};
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::engine::Outcome;
use crate::engine::event::{ChargeOpened, ChargeSettled, ChargeStatus, Event};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::{ChargeBalance, Op, OpenCharge};
use crate::engine::reads::{self, Entity};
use crate::engine::user::UserId;
use crate::gateway::settler::Attempt;
use crate::postgres::history::{self, StoredTransaction};

/// Characters of what a user calls a card or account.
pub const PAYMENT_METHOD_CHARS_MAX: usize = 64;

/// Body of a charge.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ChargeRequest)]
struct ChargeBody {
    #[schema(value_type = ChargeAmount)]
    amount: i64,
    /// Which card or account to charge; for the payment gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Label>)]
    payment_method: Option<String>,
}

/// A balance. Amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Balance)]
struct BalanceView {
    user_id: UserId,
    /// What can be spent.
    balance: u64,
    /// What was spent and not refunded.
    used_total: u64,
}

/// A charge that was credited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Charge)]
struct ChargedView {
    transaction_id: EntityId,
    previous_balance: u64,
    charged_amount: u64,
    current_balance: u64,
}

/// A charge that the gateway has not answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PendingCharge)]
struct PendingView {
    charge_id: EntityId,
    #[schema(value_type = PendingStatus)]
    status: &'static str,
}

/// A transaction of a balance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Transaction)]
struct TransactionView {
    transaction_id: EntityId,
    #[serde(rename = "type")]
    #[schema(value_type = TransactionType)]
    kind: String,
    /// Minor units; what its type does to the balance.
    amount: i64,
    balance_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = EntityId)]
    order_id: Option<EntityId>,
    #[schema(value_type = Time)]
    created_at: String,
}

/// A page of transactions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransactionPage)]
struct TransactionsView {
    transactions: Vec<TransactionView>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// GET /api/users/me/balance
#[utoipa::path(
    get, path = "/api/users/me/balance", tag = "balance", operation_id = "getBalance", summary = "The user's balance",
    responses((status = 200, description = "In minor units", body = BalanceView))
)]
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let user = request.user();
    let account = reads::account(&app.engine.cell_of(&user).shared, &user).await?;
    let view = BalanceView { user_id: user, balance: account.balance, used_total: account.used };
    Ok(reply::json(StatusCode::OK, &view))
}

/// POST /api/users/me/balance/charge: credited at once where no gateway is configured, else when it has approved.
#[utoipa::path(
    post, path = "/api/users/me/balance/charge", tag = "balance", operation_id = "chargeBalance",
    summary = "Charges the balance, over the payment gateway where there is one", params(RequiredKey),
    request_body(content = ChargeBody, example = json!({"amount": 200_000, "paymentMethod": "my-card"})),
    responses(
        (status = 200, description = "Credited", body = ChargedView),
        (status = 202, description = "The gateway gave no clear answer; repeat with the same key", body = PendingView)
    )
)]
pub async fn charge(app: Arc<App>, request: Request) -> Answer {
    App::to_the_end(charge_to_the_end(app, request)).await?
}

async fn charge_to_the_end(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.required_idempotency_key()?;
    let body: ChargeBody = request.json(&app).await?;
    if let Some(method) = &body.payment_method {
        check_text("paymentMethod", method, PAYMENT_METHOD_CHARS_MAX)?;
    }
    // Taken before anything is decided: without one nothing is done.
    let (slot, op) = match &app.settler {
        None => (None, Op::from(ChargeBalance { amount: body.amount })),
        Some(settler) => {
            let slot = settler.gateway().try_slot().ok_or(Problem::new(Code::Unavailable))?;
            (Some(slot), Op::from(OpenCharge { amount: body.amount, method: body.payment_method.clone() }))
        }
    };
    let call = request.call(Some(key.clone()), &body, op);
    let outcome = app.engine.submit(&call).await.map_err(|error| problem_of(error, &key))?;
    let last = match &outcome.event {
        Event::ChargeOpened(opened) => settle(&app, &outcome, opened.clone()).await?,
        event => event.clone(),
    };
    drop(slot);
    answer(outcome.cell, &last, &key, outcome.replayed)
}

/// The last event of a charge, after the gateway was asked if need be.
async fn settle(app: &App, outcome: &Outcome, opened: ChargeOpened) -> Result<Event, Problem> {
    let (cell, id) = (outcome.cell, outcome.id());
    let shared = &app.engine.cell(cell).ok_or(Problem::new(Code::InternalError))?.shared;
    if outcome.replayed
        && let Some(settled @ Event::ChargeSettled(_)) = reads::last_event(shared, Entity::Charge, id).await?
    {
        return Ok(settled);
    }
    let attempt = if outcome.replayed { Attempt::Again } else { Attempt::First };
    let settled = match &app.settler {
        Some(settler) => settler.charge(cell, &opened, attempt).await,
        None => None,
    };
    Ok(settled.map_or(Event::ChargeOpened(opened), Event::ChargeSettled))
}

fn answer(cell: CellId, last: &Event, key: &str, replayed: bool) -> Answer {
    let charged = |seq, previous, amount, balance| {
        let view = ChargedView {
            transaction_id: EntityId::new(cell, seq),
            previous_balance: previous,
            charged_amount: amount,
            current_balance: balance,
        };
        Ok(reply::decided(StatusCode::OK, &view, key, replayed))
    };
    match last {
        Event::BalanceCharged(c) => charged(c.seq, c.previous, c.amount, c.balance),
        Event::ChargeSettled(ChargeSettled { status: ChargeStatus::Failed, charge, .. }) => {
            let id = EntityId::new(cell, *charge).to_string();
            Err(Problem::new(Code::PaymentDeclined).with("chargeId", id).named(key))
        }
        Event::ChargeSettled(c) => charged(c.seq, c.previous, c.amount, c.balance),
        Event::ChargeOpened(c) => {
            let view = PendingView { charge_id: EntityId::new(cell, c.seq), status: "PENDING" };
            Ok(reply::decided(StatusCode::ACCEPTED, &view, key, replayed))
        }
        _ => Err(Problem::new(Code::InternalError)),
    }
}

/// GET /api/users/me/balance/transactions?limit=&cursor=
#[utoipa::path(
    get, path = "/api/users/me/balance/transactions", tag = "balance", operation_id = "listTransactions",
    summary = "Every change of the balance; may lag a moment", params(Page),
    responses((status = 200, description = "Newest first", body = TransactionsView))
)]
pub async fn transactions(app: Arc<App>, request: Request) -> Answer {
    let (limit, before) = (request.limit()?, request.cursor()?);
    let rows = history::transactions(&app.pool, &request.user(), before, limit + 1).await?;
    let view = |row: &StoredTransaction| {
        let view = TransactionView {
            transaction_id: row.id,
            kind: row.kind.clone(),
            amount: row.amount,
            balance_after: row.balance_after,
            order_id: row.order,
            created_at: row.created_at.to_string(),
        };
        (row.id, view)
    };
    let (transactions, next_cursor) = reply::first(rows.into_iter(), limit as usize, view);
    Ok(reply::json(StatusCode::OK, &TransactionsView { transactions, next_cursor }))
}
