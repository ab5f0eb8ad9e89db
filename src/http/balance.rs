//! A user's balance.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::app::{App, problem_of};
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::engine::event::Event;
use crate::engine::ids::EntityId;
use crate::engine::op::{ChargeBalance, Op};
use crate::engine::reads;
use crate::postgres::history;

const PAYMENT_METHOD_CHARS_MAX: usize = 64;

/// Body of a charge.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChargeBody {
    amount: i64,
    /// Which card or account to charge; for the payment gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_method: Option<String>,
}

/// GET /api/users/me/balance
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let user = request.user();
    let account = reads::account(&app.engine.cell_of(&user).shared, &user).await?;
    Ok(reply::json(StatusCode::OK, &json!({"userId": user, "balance": account.balance, "usedTotal": account.used})))
}

/// POST /api/users/me/balance/charge
pub async fn charge(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.required_idempotency_key()?;
    let body: ChargeBody = request.json(&app).await?;
    if let Some(method) = &body.payment_method {
        check_text("paymentMethod", method, PAYMENT_METHOD_CHARS_MAX)?;
    }
    let op = Op::ChargeBalance(ChargeBalance { amount: body.amount });
    let outcome = app.engine.submit(request.call(Some(key.clone()), &body, op)).await;
    let outcome = outcome.map_err(|error| problem_of(error, &key))?;
    let Event::BalanceCharged(charge) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    let body = json!({
        "transactionId": outcome.id(),
        "previousBalance": charge.previous,
        "chargedAmount": charge.amount,
        "currentBalance": charge.balance,
    });
    Ok(reply::decided(StatusCode::OK, &body, &key, outcome.replayed))
}

/// GET /api/users/me/balance/transactions?limit=&cursor=
pub async fn transactions(app: Arc<App>, request: Request) -> Answer {
    let limit = request.limit()?;
    let before = cursor(&request)?;
    let mut rows = history::transactions(&app.pool, &request.user(), before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let items = rows
        .into_iter()
        .map(|row| {
            let mut item = json!({
                "transactionId": row.id,
                "type": row.kind,
                "amount": row.amount,
                "balanceAfter": row.balance_after,
                "createdAt": row.created_at.to_string(),
            });
            if let Some(order) = row.order {
                item["orderId"] = json!(order);
            }
            item
        })
        .collect();
    Ok(reply::page("transactions", items, next))
}

/// The cursor of a list that is ordered by id.
pub fn cursor(request: &Request) -> Result<Option<EntityId>, Problem> {
    let bad = || Problem::new(Code::InvalidInput).because("cursor is not one of this list");
    request.query("cursor")?.map(|text| EntityId::parse(&text).ok_or_else(bad)).transpose()
}
