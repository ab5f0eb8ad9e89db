//! An order as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::values::{SmallId, Time};
use super::reply;
use crate::engine::event::{Event, OrderChanged, OrderConfirmed, OrderLine, OrderStatus};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::{CouponId, PaymentMethod, ProductId, ShippingAddress};
use crate::postgres::history::{StoredLine, StoredOrder};
use crate::postgres::sync::StoredSync;

/// An order. Amounts in minor units, times RFC 3339.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub struct OrderView {
    order_id: EntityId,
    #[schema(value_type = OrderStatus)]
    status: String,
    items: Vec<LineView>,
    #[schema(value_type = Vec<SmallId>)]
    coupon_ids: Vec<CouponId>,
    total_amount: u64,
    discount_amount: u64,
    final_amount: u64,
    /// Null while nobody has paid.
    #[schema(value_type = Option<PaymentMethod>, required)]
    payment_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ShippingAddress)]
    shipping_address: Option<ShippingAddress>,
    #[schema(value_type = Time)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    paid_at: Option<String>,
    /// Until when it can be paid, or could have been; only of orders that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    expires_at: Option<String>,
    /// Only in answers to POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    remaining_balance: Option<u64>,
    /// Only in answers to GET; missing while PostgreSQL is away: then nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = SyncView)]
    sync: Option<SyncView>,
}

/// A line of an order, with name and price of that moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrderLine)]
struct LineView {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    product_name: String,
    unit_price: u64,
    quantity: u64,
    /// Of the coupon for this line; those for the whole order are in the order's discountAmount only.
    discount_amount: u64,
    amount: u64,
}

/// Whether the data platform was told that the order is what it is now.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Sync)]
struct SyncView {
    synced: bool,
    #[schema(value_type = Option<Time>, required)]
    synced_at: Option<String>,
    sync_attempts: u32,
    /// In a few words.
    #[schema(required)]
    last_sync_error: Option<String>,
    #[schema(value_type = Option<Time>, required)]
    next_retry_at: Option<String>,
}

impl From<StoredSync> for SyncView {
    fn from(sync: StoredSync) -> Self {
        Self {
            synced: sync.synced,
            synced_at: sync.synced_at.map(|at| at.to_string()),
            sync_attempts: u32::try_from(sync.attempts).unwrap_or_default(),
            last_sync_error: sync.last_error.as_deref().filter(|_| !sync.synced).map(for_buyers),
            next_retry_at: sync.next_retry_at.map(|at| at.to_string()),
        }
    }
}

/// What went wrong, without what it was: addresses and the platform's own words are for operators.
fn for_buyers(error: &str) -> String {
    let status = error.strip_prefix("HTTP ").and_then(|rest| rest.get(..3));
    let status = status.filter(|status| status.bytes().all(|b| b.is_ascii_digit()));
    status.map_or_else(|| "no clear answer".to_owned(), |status| format!("HTTP {status}"))
}

impl LineView {
    fn new(product_id: ProductId, product_name: String, unit_price: u64, quantity: u64, discount_amount: u64) -> Self {
        let amount = unit_price * quantity - discount_amount;
        Self { product_id, product_name, unit_price, quantity, discount_amount, amount }
    }

    fn of_event(line: &OrderLine) -> Self {
        Self::new(line.product, line.name.clone(), line.price, u64::from(line.quantity), line.discount)
    }

    fn stored(line: StoredLine) -> Self {
        let (price, quantity) = (unsigned(line.unit_price), unsigned(line.quantity));
        Self::new(line.product_id, line.product_name, price, quantity, unsigned(line.discount_amount))
    }
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or_default()
}

/// Only what was not paid shows when it expires.
fn shows_expiry(status: &str) -> bool {
    [OrderStatus::PendingPayment, OrderStatus::Held, OrderStatus::Expired].iter().any(|s| s.as_str() == status)
}

impl OrderView {
    /// The order that an event is about; `None` for other events.
    pub fn of_event(cell: CellId, event: &Event) -> Option<Self> {
        match event {
            Event::OrderConfirmed(order) => Some(Self::confirmed(cell, order)),
            Event::OrderChanged(order) => Some(Self::changed(cell, order)),
            _ => None,
        }
    }

    fn confirmed(cell: CellId, order: &OrderConfirmed) -> Self {
        let at = reply::time(order.at);
        Self {
            order_id: EntityId::new(cell, order.seq),
            status: OrderStatus::Confirmed.as_str().to_owned(),
            items: order.items.iter().map(LineView::of_event).collect(),
            coupon_ids: order.coupons.clone().unwrap_or_default(),
            total_amount: order.total,
            discount_amount: order.discount,
            final_amount: order.final_amount,
            payment_method: Some(order.method.as_str().to_owned()),
            shipping_address: order.address.clone(),
            created_at: at.clone(),
            paid_at: Some(at),
            expires_at: None,
            remaining_balance: Some(order.balance),
            sync: None,
        }
    }

    fn changed(cell: CellId, order: &OrderChanged) -> Self {
        let status = order.status.as_str();
        Self {
            order_id: EntityId::new(cell, order.order),
            status: status.to_owned(),
            items: order.items.iter().map(LineView::of_event).collect(),
            coupon_ids: order.coupons.clone().unwrap_or_default(),
            total_amount: order.total,
            discount_amount: order.discount,
            final_amount: order.final_amount,
            payment_method: order.method.map(PaymentMethod::as_str).map(str::to_owned),
            shipping_address: order.address.clone(),
            created_at: reply::time(order.created),
            paid_at: order.paid_at.map(reply::time),
            expires_at: order.expires.filter(|_| shows_expiry(status)).map(reply::time),
            remaining_balance: Some(order.balance),
            sync: None,
        }
    }

    /// As PostgreSQL has it.
    pub fn stored(order: StoredOrder) -> Self {
        let expires_at = order.expires_at.filter(|_| shows_expiry(&order.status)).map(|at| at.to_string());
        Self {
            order_id: order.id,
            status: order.status,
            items: order.items.into_iter().map(LineView::stored).collect(),
            coupon_ids: order.coupon_ids,
            total_amount: unsigned(order.total),
            discount_amount: unsigned(order.discount),
            final_amount: unsigned(order.final_amount),
            payment_method: order.method,
            shipping_address: order.address,
            created_at: order.created_at.to_string(),
            paid_at: order.paid_at.map(|at| at.to_string()),
            expires_at,
            remaining_balance: None,
            sync: Some(order.sync.into()),
        }
    }

    /// What it is now.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// For others than the buyer: without his balance.
    #[must_use]
    pub fn without_balance(mut self) -> Self {
        self.remaining_balance = None;
        self
    }

    /// For an answer to GET: whether the data platform was told, as far as that is known, instead of the balance of that moment.
    #[must_use]
    pub fn with_sync(self, sync: Option<StoredSync>) -> Self {
        Self { sync: sync.map(SyncView::from), ..self.without_balance() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyers_see_of_an_error_what_is_theirs() {
        for (stored, shown) in [
            ("HTTP 503: host db-7 is down", "HTTP 503"),
            ("HTTP 422", "HTTP 422"),
            ("tcp connect error: 10.0.0.7:443", "no clear answer"),
            ("HTTP 오류", "no clear answer"),
            ("HTTP 5", "no clear answer"),
        ] {
            let stored = StoredSync { attempts: 2, last_error: Some(stored.to_owned()), ..StoredSync::default() };
            let view = SyncView::from(stored);
            assert_eq!((view.last_sync_error.as_deref(), view.sync_attempts), (Some(shown), 2));
        }
    }
}
