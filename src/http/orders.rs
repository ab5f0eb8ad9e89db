//! Orders.

use std::collections::HashSet;
use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::app::{App, problem_of};
use super::balance::cursor;
use super::object::Object;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::{Request, check_text};
use crate::engine::event::{Event, OrderConfirmed};
use crate::engine::ids::EntityId;
use crate::engine::op::{Op, OrderItem, PlaceOrder, ProductId, ShippingAddress};
use crate::engine::reads;
use crate::postgres::history::{self, StoredOrder};

const ADDRESS_CHARS_MAX: usize = 200;

/// States that an order can be asked for by.
const STATUSES: [&str; 7] =
    ["CONFIRMED", "PENDING_PAYMENT", "HELD", "PAYMENT_FAILED", "CANCELLED", "EXPIRED", "REFUNDED"];

/// Body of an order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrderBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Object<ItemBody>>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    coupon_ids: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipping_address: Option<Object<ShippingAddress>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment: Option<Payment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    final_amount: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ItemBody {
    product_id: ProductId,
    quantity: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Payment {
    Balance,
    Later,
}

/// POST /api/orders
pub async fn place(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: OrderBody = request.json(&app).await?;
    let op = Op::PlaceOrder(place_order(&app, &body)?);
    let call = request.call(key, &body, op);
    let key = call.key.clone();
    let outcome = app.engine.submit(call).await.map_err(|error| problem_of(error, &key))?;
    let Event::OrderConfirmed(order) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    let mut view = OrderView::confirmed(outcome.id(), order);
    view.remaining_balance = Some(order.balance);
    Ok(reply::decided(StatusCode::CREATED, &view, &key, outcome.replayed))
}

/// Checks the shape of a body; what needs state is checked in the engine.
fn place_order(app: &App, body: &OrderBody) -> Result<PlaceOrder, Problem> {
    let invalid = |reason: String| Problem::new(Code::InvalidInput).because(reason);
    // Carts, coupons and reservations are not there yet: nobody has a cart, and nobody owns a coupon.
    let Some(items) = &body.items else {
        return Err(Problem::new(Code::CartEmpty));
    };
    if let Some(coupon) = body.coupon_ids.first() {
        return Err(Problem::new(Code::InvalidCoupon).with("couponId", *coupon).with("reason", "NOT_OWNED"));
    }
    if matches!(body.payment, Some(Payment::Later)) {
        return Err(invalid("payment LATER is not offered yet".to_owned()));
    }
    let (items_max, quantity_max) = (app.config.order_items_max, app.config.order_quantity_max);
    if items.is_empty() || items.len() > items_max {
        return Err(invalid(format!("items must have 1 to {items_max} members")));
    }
    let mut seen = HashSet::with_capacity(items.len());
    for Object(item) in items {
        if !(1..=quantity_max).contains(&item.quantity) {
            return Err(invalid(format!("quantity must be from 1 to {quantity_max}")));
        }
        if !seen.insert(item.product_id) {
            return Err(invalid(format!("product {} appears twice", item.product_id)));
        }
    }
    match &body.shipping_address {
        Some(Object(address)) => check_address(address)?,
        None if app.config.shipping_address_required => {
            return Err(invalid("shippingAddress is required".to_owned()));
        }
        None => {}
    }
    Ok(PlaceOrder {
        items: items.iter().map(|Object(i)| OrderItem { product: i.product_id, quantity: i.quantity }).collect(),
        final_amount: body.final_amount,
        address: body.shipping_address.clone().map(|Object(address)| address),
    })
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

/// GET /api/orders?status=&limit=&cursor=
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let limit = request.limit()?;
    let before = cursor(&request)?;
    let status = request.query("status")?;
    if status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let reason = format!("status must be one of {}", STATUSES.join(", "));
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let user = request.user();
    let mut orders = history::orders(&app.pool, &user, status.as_deref(), before, limit + 1).await?;
    let more = orders.len() > limit as usize;
    orders.truncate(limit as usize);
    let next = orders.last().filter(|_| more).map(|order| order.id.to_string());
    let views = orders.into_iter().map(OrderView::stored).map(|view| serde_json::to_value(view).expect("plain data"));
    Ok(reply::page("orders", views.collect(), next))
}

/// GET /api/orders/{id}: from the log, which has it the moment the 201 was sent, else from PostgreSQL. 404 only when
/// PostgreSQL was asked and Redis could say that the order is not on its way there.
pub async fn get(app: Arc<App>, request: Request) -> Answer {
    let not_found = || Problem::new(Code::OrderNotFound);
    let id = request.params.first().and_then(|id| EntityId::parse(id)).ok_or_else(not_found)?;
    let cell = app.engine.cell(id.cell()).ok_or_else(not_found)?;
    let user = request.user();
    let logged = reads::event(&cell.shared, id).await;
    if let Ok(Some(event)) = &logged {
        return match event {
            Event::OrderConfirmed(order) if order.user == user => {
                Ok(reply::json(StatusCode::OK, &OrderView::confirmed(id, order).with_sync()))
            }
            _ => Err(not_found()),
        };
    }
    match (history::order(&app.pool, &user, id).await?, logged) {
        (Some(order), _) => Ok(reply::json(StatusCode::OK, &OrderView::stored(order))),
        (None, Err(error)) => Err(error.into()),
        // An order that PostgreSQL could not take is an order all the same.
        (None, Ok(_)) => match history::parked_event(&app.pool, id).await? {
            Some(Event::OrderConfirmed(order)) if order.user == user => {
                Ok(reply::json(StatusCode::OK, &OrderView::confirmed(id, &order).with_sync()))
            }
            _ => Err(not_found()),
        },
    }
}

/// An order as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderView {
    order_id: EntityId,
    status: String,
    items: Vec<LineView>,
    coupon_ids: Vec<u32>,
    total_amount: u64,
    discount_amount: u64,
    final_amount: u64,
    payment_method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipping_address: Option<ShippingAddress>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_balance: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LineView {
    product_id: ProductId,
    product_name: String,
    unit_price: u64,
    quantity: u64,
    discount_amount: u64,
    amount: u64,
}

impl LineView {
    fn new(product_id: ProductId, product_name: String, unit_price: u64, quantity: u64, discount_amount: u64) -> Self {
        let amount = unit_price * quantity - discount_amount;
        Self { product_id, product_name, unit_price, quantity, discount_amount, amount }
    }
}

impl OrderView {
    fn confirmed(id: EntityId, order: &OrderConfirmed) -> Self {
        let line = |line: &crate::engine::event::OrderLine| {
            LineView::new(line.product, line.name.clone(), line.price, u64::from(line.quantity), line.discount)
        };
        let at = reply::time(order.at);
        Self {
            order_id: id,
            status: "CONFIRMED".to_owned(),
            items: order.items.iter().map(line).collect(),
            coupon_ids: Vec::new(),
            total_amount: order.total,
            discount_amount: order.discount,
            final_amount: order.final_amount,
            payment_method: order.method.clone(),
            shipping_address: order.address.clone(),
            created_at: at.clone(),
            paid_at: Some(at),
            remaining_balance: None,
            sync: None,
        }
    }

    fn stored(order: StoredOrder) -> Self {
        let unsigned = |amount: i64| u64::try_from(amount).unwrap_or_default();
        let line = |line: history::StoredLine| {
            let (price, quantity) = (unsigned(line.unit_price), unsigned(line.quantity));
            LineView::new(line.product_id, line.product_name, price, quantity, unsigned(line.discount_amount))
        };
        Self {
            order_id: order.id,
            status: order.status,
            items: order.items.into_iter().map(line).collect(),
            coupon_ids: Vec::new(),
            total_amount: unsigned(order.total),
            discount_amount: unsigned(order.discount),
            final_amount: unsigned(order.final_amount),
            payment_method: order.method,
            shipping_address: order.address,
            created_at: order.created_at.to_string(),
            paid_at: order.paid_at.map(|at| at.to_string()),
            remaining_balance: None,
            sync: None,
        }
        .with_sync()
    }

    /// Whether the data platform was told; nobody tells it yet, and this says so.
    fn with_sync(mut self) -> Self {
        self.sync = Some(json!({"synced": false, "syncedAt": null, "syncAttempts": 0, "lastSyncError": null,
            "nextRetryAt": null}));
        self
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
