//! Coupons.

use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Given, NAME_CHARS_MAX, NUMBER_MAX, QUANTITY_MAX, change, check_number, check_time, given};
use crate::engine::event::{CouponPut, Event};
use crate::engine::op::{Change, CouponType, DiscountType, ItemStatus, ProductId, PutCoupon};
use crate::engine::reads::CatalogCoupon;
use crate::http::app::{App, problem_of};
use crate::http::coupons::CouponView;
use crate::http::openapi::parameters::OptionalKey;
use crate::http::openapi::values::{Amount, Name, PositiveCount, PositiveNumber, SmallId, Time, ValidDays};
use crate::http::problem::{Code, Problem};
use crate::http::reply::{self, Answer};
use crate::http::request::{Request, check_text};

/// Longest validity of an issued coupon: a hundred years.
pub(in crate::http) const VALID_DAYS_MAX: u64 = 36_500;

/// A coupon to be issued.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewCoupon)]
struct CreateBody {
    #[schema(value_type = Name)]
    name: String,
    #[serde(rename = "type")]
    kind: CouponType,
    /// Of a `CART_ITEM`, and only of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SmallId>)]
    product_id: Option<ProductId>,
    discount_type: DiscountType,
    /// Minor units, or percent up to 100.
    #[schema(value_type = PositiveNumber)]
    discount_value: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PositiveNumber>)]
    max_discount: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Amount>)]
    min_order_amount: Option<u64>,
    #[schema(value_type = PositiveCount)]
    total_quantity: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    issue_starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    issue_ends_at: Option<Timestamp>,
    #[schema(value_type = ValidDays)]
    valid_days: u32,
}

/// `null` removes an optional member; a member that is not given stays as it is. What a coupon is worth is not among them: people
/// hold it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CouponChange)]
struct ChangeBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PositiveCount>)]
    total_quantity: Option<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    issue_starts_at: Given<Timestamp>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    issue_ends_at: Given<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ValidDays>)]
    valid_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<ItemStatus>,
}

/// POST /admin/coupons
#[utoipa::path(
    post, path = "/admin/coupons", tag = "catalogue", operation_id = "createCoupon", summary = "Offers a coupon",
    params(OptionalKey),
    request_body(content = CreateBody, example = json!({
        "name": "Ten percent off", "type": "CART", "discountType": "PERCENT", "discountValue": 10,
        "maxDiscount": 10_000, "minOrderAmount": 20_000, "totalQuantity": 1_000,
        "issueStartsAt": "2025-01-01T00:00:00Z", "validDays": 30
    })),
    responses((status = 201, description = "The coupon", body = CouponView))
)]
pub async fn create(app: Arc<App>, mut request: Request) -> Answer {
    let key = request.idempotency_key()?;
    let body: CreateBody = request.json(&app).await?;
    check_text("name", &body.name, NAME_CHARS_MAX)?;
    let value_max = if body.discount_type == DiscountType::Percent { 100 } else { NUMBER_MAX };
    check_number("discountValue", body.discount_value, (1, value_max))?;
    body.max_discount.map_or(Ok(()), |most| check_number("maxDiscount", most, (1, NUMBER_MAX)))?;
    body.min_order_amount.map_or(Ok(()), |least| check_number("minOrderAmount", least, (0, NUMBER_MAX)))?;
    check_number("totalQuantity", body.total_quantity, (1, QUANTITY_MAX))?;
    check_number("validDays", body.valid_days.into(), (1, VALID_DAYS_MAX))?;
    check_time("issueStartsAt", body.issue_starts_at)?;
    check_time("issueEndsAt", body.issue_ends_at)?;
    let op = PutCoupon {
        coupon: None,
        name: Some(body.name.clone()),
        kind: Some(body.kind),
        product: body.product_id,
        discount: Some(body.discount_type),
        value: Some(body.discount_value),
        max_discount: body.max_discount,
        min_order: body.min_order_amount,
        total: Some(body.total_quantity),
        starts: body.issue_starts_at.map(|at| Change::Set(at.as_millisecond())),
        ends: body.issue_ends_at.map(|at| Change::Set(at.as_millisecond())),
        valid_days: Some(body.valid_days),
        status: None,
    };
    put(&app, &request, key, &body, op, StatusCode::CREATED).await
}

/// PATCH /admin/coupons/{id}
#[utoipa::path(
    patch, path = "/admin/coupons/{id}", tag = "catalogue", operation_id = "changeCoupon", summary = "Changes a coupon",
    description = "`null` removes an optional member; a member that is not given stays as it is. What a coupon is \
        worth never changes: people hold it.",
    params(OptionalKey),
    request_body(content = ChangeBody, example = json!({"totalQuantity": 2_000, "issueEndsAt": null})),
    responses((status = 200, description = "The coupon", body = CouponView))
)]
pub async fn update(app: Arc<App>, mut request: Request) -> Answer {
    let id = request.coupon_id()?;
    let key = request.idempotency_key()?;
    let body: ChangeBody = request.json(&app).await?;
    body.name.as_ref().map_or(Ok(()), |name| check_text("name", name, NAME_CHARS_MAX))?;
    body.total_quantity.map_or(Ok(()), |total| check_number("totalQuantity", total, (1, QUANTITY_MAX)))?;
    body.valid_days.map_or(Ok(()), |days| check_number("validDays", days.into(), (1, VALID_DAYS_MAX)))?;
    check_time("issueStartsAt", body.issue_starts_at.flatten())?;
    check_time("issueEndsAt", body.issue_ends_at.flatten())?;
    let op = PutCoupon {
        coupon: Some(id),
        name: body.name.clone(),
        total: body.total_quantity,
        starts: change(body.issue_starts_at, Timestamp::as_millisecond),
        ends: change(body.issue_ends_at, Timestamp::as_millisecond),
        valid_days: body.valid_days,
        status: body.status,
        ..PutCoupon::default()
    };
    put(&app, &request, key, &body, op, StatusCode::OK).await
}

async fn put(
    app: &App,
    request: &Request,
    key: Option<String>,
    body: &impl Serialize,
    op: PutCoupon,
    status: StatusCode,
) -> Answer {
    let call = request.call(key, body, op);
    let outcome = app.engine.submit_product(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let Event::CouponPut(coupon) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    // Has the list show what was changed, but does not wait long: it is done whatever happens now.
    let _ = tokio::time::timeout(app.config.catalog_refresh_ms, app.coupons.refresh()).await;
    Ok(reply::decided(status, &CouponView::new(coupon.coupon, &terms(coupon)), &call.key, outcome.replayed))
}

fn terms(put: &CouponPut) -> CatalogCoupon {
    CatalogCoupon {
        name: put.name.clone(),
        kind: put.kind,
        product: put.product,
        discount: put.discount,
        value: put.value,
        max_discount: put.max_discount,
        min_order: put.min_order,
        total: put.total,
        remaining: put.remaining,
        starts: put.starts,
        ends: put.ends,
        valid_days: put.valid_days,
        status: put.status,
    }
}
