//! Orders: placing, reserving and cancelling.

use std::collections::HashSet;
use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::find_order::find_order;
use super::object::Object;
use super::openapi::parameters::OptionalKey;
use super::openapi::values::{Amount, Quantity, SmallId};
use super::order_view::OrderView;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::engine::event::{Event, OrderConfirmed, OrderLine, OrderStatus, RefundStatus};
use crate::engine::op::{
    CancelOrder, CouponId, Op, OrderItem, PaidLine, PaidOrder, PlaceOrder, ProductId, ReserveOrder, ShippingAddress,
};
use crate::engine::refusal::Refused;
use crate::engine::{EngineError, Outcome};
use crate::trace::{self, Step};

const ADDRESS_CHARS_MAX: usize = 200;

/// Coupons of type CART in one order; those of type `CART_ITEM` are bounded by its items.
const CART_COUPONS_MAX: usize = 2;

/// Body of an order.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OrderRequest)]
struct OrderBody {
    /// No product twice. Without it: what is in the cart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ItemBody>>, min_items = 1, max_items = 50)]
    items: Option<Vec<Object<ItemBody>>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = HashSet<SmallId>, max_items = 52)]
    coupon_ids: Vec<CouponId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ShippingAddress>)]
    shipping_address: Option<Object<ShippingAddress>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment: Option<Payment>,
    /// What the buyer saw; another amount is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Amount>)]
    final_amount: Option<u64>,
}

/// One line of an order as asked for.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OrderItem)]
pub struct ItemBody {
    #[schema(value_type = SmallId)]
    product_id: ProductId,
    #[schema(value_type = Quantity)]
    quantity: u32,
}

/// When an order is paid: at once from the balance, or later over POST /api/payments.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = OrderPayment)]
enum Payment {
    /// At once, from the balance.
    Balance,
    /// Later, over POST /api/payments.
    Later,
}

/// POST /api/orders
#[utoipa::path(
    post, path = "/api/orders", tag = "orders", operation_id = "placeOrder",
    summary = "Buys, or reserves to be paid for later", params(OptionalKey),
    request_body(content = OrderBody, example = json!({
        "items": [{"productId": 1, "quantity": 1}],
        "shippingAddress": {
            "recipient": "Ann", "phone": "+82 10 1234 5678", "line1": "1 Sejong-daero", "city": "Seoul",
            "postalCode": "04524", "country": "KR"
        },
        "payment": "BALANCE",
        "finalAmount": 59_000
    })),
    responses((status = 201, description = "CONFIRMED, or PENDING_PAYMENT when paid later", body = OrderView))
)]
pub async fn place(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: OrderBody = request.json(&app).await?;
    let order = place_order(&app, &body)?;
    let op = match body.payment {
        Some(Payment::Later) => Op::ReserveOrder(ReserveOrder(order)),
        _ => Op::PlaceOrder(order),
    };
    let call = request.call(key, &body, op);
    let outcome = app.engine.submit(&call).await.map_err(|error| problem_of(error, &call.key))?;
    trace::about_order(outcome.id());
    decided(StatusCode::CREATED, &outcome, &call.key)
}

fn decided(status: StatusCode, outcome: &Outcome, key: &str) -> Answer {
    trace::timed(Step::Encode, || {
        let view = OrderView::of_event(outcome.cell, &outcome.event).ok_or(Problem::new(Code::InternalError))?;
        Ok(reply::decided(status, &view, key, outcome.replayed))
    })
}

/// Checks the shape of a body; what needs state is checked in the engine.
fn place_order(app: &App, body: &OrderBody) -> Result<PlaceOrder, Problem> {
    let items = body.items.as_ref().map(|items| check_items(app, items)).transpose()?;
    check_coupons(app, &body.coupon_ids)?;
    match &body.shipping_address {
        Some(Object(address)) => check_address(address)?,
        None if app.config.shipping_address_required => {
            return Err(Problem::new(Code::InvalidInput).because("shippingAddress is required"));
        }
        None => {}
    }
    Ok(PlaceOrder {
        items,
        coupons: body.coupon_ids.clone(),
        final_amount: body.final_amount,
        address: body.shipping_address.clone().map(|Object(address)| address),
    })
}

/// Checks the number of items, their quantities, and that no product comes twice.
pub fn check_items(app: &App, items: &[Object<ItemBody>]) -> Result<Vec<OrderItem>, Problem> {
    let items_max = app.config.order_items_max;
    if items.is_empty() || items.len() > items_max {
        return Err(Problem::new(Code::InvalidInput).because(format!("items must have 1 to {items_max} members")));
    }
    let mut seen = HashSet::with_capacity(items.len());
    for Object(item) in items {
        check_quantity(app, item.quantity)?;
        if !seen.insert(item.product_id) {
            let reason = format!("product {} appears twice", item.product_id);
            return Err(Problem::new(Code::InvalidInput).because(reason));
        }
    }
    Ok(items.iter().map(|Object(i)| OrderItem { product: i.product_id, quantity: i.quantity }).collect())
}

/// Checks the units of one product.
pub fn check_quantity(app: &App, quantity: u32) -> Result<(), Problem> {
    let quantity_max = app.config.order_quantity_max;
    if (1..=quantity_max).contains(&quantity) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidInput).because(format!("quantity must be from 1 to {quantity_max}")))
}

/// Checks the number of coupons, and that none comes twice.
pub fn check_coupons(app: &App, coupon_ids: &[CouponId]) -> Result<(), Problem> {
    let coupons_max = app.config.order_items_max + CART_COUPONS_MAX;
    if coupon_ids.len() > coupons_max {
        let reason = format!("couponIds must have at most {coupons_max} members");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let mut seen = HashSet::with_capacity(coupon_ids.len());
    match coupon_ids.iter().find(|id| !seen.insert(**id)) {
        Some(id) => Err(Problem::new(Code::InvalidInput).because(format!("coupon {id} appears twice"))),
        None => Ok(()),
    }
}

fn check_address(address: &ShippingAddress) -> Result<(), Problem> {
    let required = [
        ("recipient", &address.recipient),
        ("phone", &address.phone),
        ("line1", &address.line1),
        ("postalCode", &address.postal_code),
        ("country", &address.country),
    ];
    let optional = [("line2", address.line2.as_ref()), ("city", address.city.as_ref())];
    let given = optional.into_iter().filter_map(|(name, text)| Some((name, text?)));
    required
        .into_iter()
        .chain(given)
        .try_for_each(|(name, text)| check_text(&format!("shippingAddress.{name}"), text, ADDRESS_CHARS_MAX))
}

/// POST /api/orders/{id}/cancel: an unpaid order is cancelled, a paid one refunded.
#[utoipa::path(
    post, path = "/api/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    summary = "Cancels an unpaid order, refunds a paid one", params(OptionalKey),
    responses((status = 200, description = "CANCELLED or REFUNDED", body = OrderView))
)]
pub async fn cancel(app: Arc<App>, request: Request) -> Answer {
    App::to_the_end(cancel_to_the_end(app, request)).await?
}

async fn cancel_to_the_end(app: Arc<App>, mut request: Request) -> Answer {
    let id = request.order_id()?;
    let key = request.idempotency_key()?;
    request.no_body(&app).await?;
    let (status, paid) = match find_order(&app, &request.user(), id).await? {
        Event::OrderConfirmed(order) => (OrderStatus::Confirmed, Some(paid_at_once(&order))),
        Event::OrderChanged(order) => (order.status, None),
        _ => return Err(Problem::new(Code::OrderNotFound)),
    };
    let call = request.call(key, &(), CancelOrder { order: id.seq(), paid });
    match app.engine.submit(&call).await {
        Ok(outcome) => {
            refund_card(&app, &outcome);
            decided(StatusCode::OK, &outcome, &call.key)
        }
        // It is the user's, but was closed so long ago that Redis has forgotten it.
        Err(EngineError::Refused(refusal)) if refusal.code == Refused::OrderNotFound => {
            Err(Problem::new(Code::InvalidOrderState).with("orderStatus", status.as_str()))
        }
        Err(error) => Err(problem_of(error, &call.key)),
    }
}

fn lines(items: &[OrderLine]) -> Vec<PaidLine> {
    let line = |l: &OrderLine| PaidLine(l.product, l.name.clone(), l.price, l.quantity, l.discount, l.counted);
    items.iter().map(line).collect()
}

/// What must be given back of an order that no column of the engine has.
fn paid_at_once(order: &OrderConfirmed) -> PaidOrder {
    PaidOrder {
        user: order.user.clone(),
        created: order.at,
        expires: None,
        total: order.total,
        discount: order.discount,
        final_amount: order.final_amount,
        method: order.method,
        day: order.day.clone(),
        paid_at: order.at,
        payment: order.seq,
        address: order.address.clone(),
        coupons: order.coupons.clone(),
        items: lines(&order.items),
    }
}

/// Starts giving a card's money back. Nobody waits for it: what does not work at once is the sweeper's.
fn refund_card(app: &App, outcome: &Outcome) {
    let Event::OrderChanged(order) = &outcome.event else { return };
    if order.refund == Some(RefundStatus::Pending)
        && !outcome.replayed
        && let Some(settler) = app.settler.clone()
    {
        let (cell, event) = (outcome.cell, outcome.event.clone());
        tokio::spawn(trace::carry(async move { settler.continue_with(cell, &event).await }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::call::Fingerprint;

    fn fingerprint(body: &str) -> Fingerprint {
        let body: OrderBody = serde_json::from_str(body).expect("a valid body");
        Fingerprint::new("POST /api/orders", "/api/orders", &body)
    }

    #[test]
    fn a_key_stands_for_what_was_asked_not_for_how_it_was_written() {
        let address = |member: &str| {
            format!(
                r#"{{"items":[{{"productId":1,"quantity":2}}],"shippingAddress":{{"recipient":"a","phone":"b","line1":"c",
                {member},"postalCode":"d","country":"e"}}}}"#
            )
        };
        assert_ne!(fingerprint(&address(r#""line2":"x""#)), fingerprint(&address(r#""city":"x""#)));
        let plain = fingerprint(r#"{"items":[{"productId":1,"quantity":2}]}"#);
        assert_eq!(plain, fingerprint(r#"{ "couponIds": [], "items": [ {"quantity":2, "productId":1} ] }"#));
        assert_ne!(plain, fingerprint(r#"{"items":[{"productId":1,"quantity":2}],"finalAmount":1}"#));
    }

    #[test]
    fn a_new_version_finds_the_records_of_an_old_one() {
        // Should this change, a repeat across an upgrade is refused as KEY_REUSED instead of being answered.
        let plain = fingerprint(r#"{"items":[{"productId":1,"quantity":2}]}"#);
        assert_eq!(format!("{plain:?}"), "Fingerprint(\"uIGoJtYyirCT5HQVnaDJNQ\")");
    }
}
