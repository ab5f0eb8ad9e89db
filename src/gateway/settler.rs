//! Brings what is open over the gateway to its end: asks the gateway and tells the engine what it said.
//!
//! The engine knows of the payment before the gateway does (the order is HELD, the charge pending), under a key that never
//! changes: so whatever dies when, somebody can ask again, and nothing is charged twice. "Not found" is no decline: the
//! payment may be on its way, so it is sent again under the same key.

use std::sync::Arc;

use metrics::counter;

use super::{Gateway, PaymentRequest, Verdict as Answer};
use crate::engine::call::{Call, Fingerprint};
use crate::engine::event::{ChargeOpened, ChargeSettled, Event, OrderChanged, OrderStatus, RefundStatus};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::{Op, SettleCharge, SettleOrder, Verdict};
use crate::engine::user::UserId;
use crate::engine::{Engine, EngineError};
use crate::metrics as names;

/// Whether the gateway was ever asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Right after it was opened: nobody has asked.
    First,
    /// Somebody may have.
    Again,
}

/// Settles orders and charges. Cheap to clone.
#[derive(Clone)]
pub struct Settler {
    engine: Engine,
    gateway: Gateway,
    /// In front of every key: two shops may share one gateway.
    shop: Arc<str>,
}

impl Settler {
    /// `shop`: what names this shop at the gateway.
    pub fn new(engine: Engine, gateway: Gateway, shop: &str) -> Self {
        Self { engine, gateway, shop: shop.into() }
    }

    /// The gateway, for its bound on calls in flight.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The key of an order's payment at the gateway.
    pub fn order_key(&self, id: EntityId) -> String {
        format!("{}:order:{id}", self.shop)
    }

    /// The key of a charge at the gateway.
    pub fn charge_key(&self, id: EntityId) -> String {
        format!("{}:charge:{id}", self.shop)
    }

    /// Asks about a held order and settles it. `None`: no clear answer, or the engine could not be told; it stays HELD.
    pub async fn order(&self, cell: CellId, order: &OrderChanged, attempt: Attempt) -> Option<OrderChanged> {
        let id = EntityId::new(cell, order.order);
        let key = self.order_key(id);
        let request = PaymentRequest { key: &key, user: order.user.as_str(), amount: order.final_amount, method: None };
        let verdict = self.ask(&request, attempt).await?;
        self.settle_order(cell, order, verdict).await
    }

    /// Tells the engine what was said about an order.
    pub async fn settle_order(&self, cell: CellId, order: &OrderChanged, verdict: Verdict) -> Option<OrderChanged> {
        let op = SettleOrder { order: order.order, verdict };
        let Event::OrderChanged(settled) = self.submit(cell, &order.user, op).await? else { return None };
        let is_taken = matches!(settled.status, OrderStatus::Confirmed | OrderStatus::Refunded);
        if matches!((verdict, is_taken), (Verdict::Approved, false) | (Verdict::Declined, true)) {
            counter!(names::SETTLE_CONTRADICTIONS).increment(1);
            let (order, status) = (settled.order, settled.status.as_str());
            tracing::error!(%cell, order, status, ?verdict, "the gateway contradicts what an order was settled as");
        }
        Some(settled)
    }

    /// Asks about a charge and settles it. `None`: as for an order; it stays pending.
    pub async fn charge(&self, cell: CellId, charge: &ChargeOpened, attempt: Attempt) -> Option<ChargeSettled> {
        let key = self.charge_key(EntityId::new(cell, charge.seq));
        let (user, method) = (charge.user.as_str(), charge.method.as_deref());
        let verdict = self.ask(&PaymentRequest { key: &key, user, amount: charge.amount, method }, attempt).await?;
        let op = SettleCharge { charge: charge.seq, verdict };
        match self.submit(cell, &charge.user, op).await? {
            Event::ChargeSettled(charge) => Some(charge),
            _ => None,
        }
    }

    /// Has the money of a card go back, if it was taken. Tried again by the sweeper until it is done.
    pub async fn refund(&self, cell: CellId, order: &OrderChanged) -> Option<OrderChanged> {
        let key = self.order_key(EntityId::new(cell, order.order));
        let mut answer = Answer::Approved;
        if order.status == OrderStatus::PaymentFailed {
            // Nobody knows whether it was taken: first make sure that it will not be.
            answer = self.gateway.void(&key, order.final_amount).await;
        }
        if matches!(answer, Answer::Approved) {
            answer = self.gateway.refund(&key, order.final_amount).await;
        }
        match answer {
            Answer::Refunded => self.settle_order(cell, order, Verdict::Refunded).await,
            Answer::Voided | Answer::Declined { .. } if order.status == OrderStatus::PaymentFailed => {
                self.settle_order(cell, order, Verdict::Refunded).await
            }
            other => {
                tracing::warn!(key, ?other, "a refund is not done yet");
                None
            }
        }
    }

    /// One more step for something that is due; `false`: it needs another one later.
    pub async fn continue_with(&self, cell: CellId, event: &Event) -> bool {
        let Some(_slot) = self.gateway.try_slot() else { return false };
        match event {
            Event::OrderChanged(order) if order.status == OrderStatus::Held => {
                self.order(cell, order, Attempt::Again).await.is_some()
            }
            Event::OrderChanged(order) if order.refund == Some(RefundStatus::Pending) => {
                self.refund(cell, order).await.is_some()
            }
            Event::ChargeOpened(charge) => self.charge(cell, charge, Attempt::Again).await.is_some(),
            _ => true,
        }
    }

    /// What the gateway clearly says about a payment that must be made if it was not.
    async fn ask(&self, request: &PaymentRequest<'_>, attempt: Attempt) -> Option<Verdict> {
        let mut answer = match attempt {
            Attempt::First => Answer::NotFound,
            Attempt::Again => self.gateway.find(request.key, request.amount).await,
        };
        if matches!(answer, Answer::NotFound) {
            answer = self.gateway.charge(request).await;
        }
        match answer {
            Answer::Approved => Some(Verdict::Approved),
            // Voided or given back: no money of this payment is left there.
            Answer::Declined { .. } | Answer::Voided | Answer::Refunded => Some(Verdict::Declined),
            Answer::NotFound | Answer::Unclear(_) => {
                tracing::info!(key = request.key, ?answer, "the gateway gave no clear answer");
                None
            }
        }
    }

    async fn submit(&self, cell: CellId, user: &UserId, op: impl Into<Op>) -> Option<Event> {
        match settle(&self.engine, cell, user, op).await {
            Ok(event) => Some(event),
            Err(EngineError::Refused(refusal)) => {
                // Somebody else came first with another state; nothing is left to do here.
                tracing::warn!(code = refusal.code.code(), "nothing to settle");
                None
            }
            Err(error) => {
                counter!(names::SETTLE_FAILURES).increment(1);
                tracing::warn!(%error, "the engine was not told; the sweeper will ask again");
                None
            }
        }
    }
}

/// Submits an op that the service itself decides on, in the cell where `user` lives, under a key of its own. Such ops find out
/// from the state whether they were done already, so a fresh key does no harm.
pub async fn settle(engine: &Engine, cell: CellId, user: &UserId, op: impl Into<Op>) -> Result<Event, EngineError> {
    let op = op.into();
    let submission = Call {
        user: user.clone(),
        key: uuid::Uuid::new_v4().to_string(),
        fingerprint: Fingerprint::new("internal", op.name(), &()),
        op,
    };
    let cell = engine.cell(cell).ok_or_else(|| EngineError::Unavailable("no such cell".to_owned()))?;
    cell.submit(&submission).await.map(|outcome| outcome.event)
}
