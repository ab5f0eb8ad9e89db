//! Coupons: what is offered, what a user holds, and what it would take off an order.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, problem_of};
use super::object::Object;
use super::openapi::parameters::{CouponStatusFilter, OptionalKey, Page};
use super::openapi::values::{Amount, SmallId, Time};
use super::orders::{ItemBody, check_coupons, check_items};
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::engine::event::Event;
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::{CouponId, CouponType, DiscountType, IssueCoupon, ItemStatus, ProductId};
use crate::engine::reads::{self, CatalogCoupon, HeldCoupon, Quote};

/// Largest amount: what a double holds exactly.
const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// A coupon as everybody sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Coupon)]
pub struct CouponView {
    #[schema(value_type = SmallId)]
    coupon_id: CouponId,
    #[serde(flatten)]
    terms: TermsView,
    total_quantity: u64,
    remaining_quantity: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    issue_starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Time)]
    issue_ends_at: Option<String>,
    /// Days from issue to expiry.
    valid_days: u32,
    status: ItemStatus,
}

/// What a coupon is worth.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CouponTerms)]
struct TermsView {
    name: String,
    #[serde(rename = "type")]
    kind: CouponType,
    /// Of a `CART_ITEM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = SmallId)]
    product_id: Option<ProductId>,
    discount_type: DiscountType,
    discount_value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    max_discount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    min_order_amount: Option<u64>,
}

/// A page of coupons.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CouponPage)]
struct CouponsView {
    coupons: Vec<CouponView>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl CouponView {
    /// A coupon with this id.
    pub fn new(coupon_id: CouponId, coupon: &CatalogCoupon) -> Self {
        Self {
            coupon_id,
            terms: TermsView::from(coupon),
            total_quantity: coupon.total,
            remaining_quantity: coupon.remaining,
            issue_starts_at: coupon.starts.map(reply::time),
            issue_ends_at: coupon.ends.map(reply::time),
            valid_days: coupon.valid_days,
            status: coupon.status,
        }
    }
}

impl From<&CatalogCoupon> for TermsView {
    fn from(coupon: &CatalogCoupon) -> Self {
        Self {
            name: coupon.name.clone(),
            kind: coupon.kind,
            product_id: coupon.product,
            discount_type: coupon.discount,
            discount_value: coupon.value,
            max_discount: coupon.max_discount,
            min_order_amount: coupon.min_order,
        }
    }
}

/// GET /api/coupons?limit=&cursor=
#[utoipa::path(
    get, path = "/api/coupons", tag = "coupons", operation_id = "listCoupons",
    summary = "What is offered, with what is left", params(Page),
    responses((status = 200, description = "By couponId", body = CouponsView))
)]
pub async fn list(app: Arc<App>, request: Request) -> Answer {
    let (limit, after) = (request.limit()? as usize, request.small_cursor()?);
    let snapshot = app.coupons.snapshot().await?;
    let rest = snapshot.offered().filter(|(id, _)| *id > after);
    let (coupons, next_cursor) = reply::first(rest, limit, |(id, coupon)| (*id, CouponView::new(*id, coupon)));
    Ok(reply::json(StatusCode::OK, &CouponsView { coupons, next_cursor }))
}

/// What a user has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = UserCouponStatus)]
enum HeldStatus {
    Available,
    Used,
    Expired,
}

impl HeldStatus {
    /// Expiry is computed when read.
    fn of(held: &HeldCoupon, now_ms: i64) -> Self {
        match held.order {
            Some(_) => Self::Used,
            None if now_ms >= held.expires => Self::Expired,
            None => Self::Available,
        }
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        match text.to_ascii_lowercase().as_str() {
            "available" => Ok(Self::Available),
            "used" => Ok(Self::Used),
            "expired" => Ok(Self::Expired),
            _ => Err(Problem::new(Code::InvalidInput).because("status must be one of available, used, expired")),
        }
    }
}

/// A coupon that was issued just now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssuedCoupon)]
struct IssuedView {
    user_coupon_id: EntityId,
    #[schema(value_type = SmallId)]
    coupon_id: CouponId,
    status: HeldStatus,
    #[schema(value_type = Time)]
    issued_at: String,
    #[schema(value_type = Time)]
    expires_at: String,
}

/// A coupon that a user holds. What it is worth is missing for the moment that a new coupon takes to get around.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserCoupon)]
struct HeldView {
    user_coupon_id: EntityId,
    #[schema(value_type = SmallId)]
    coupon_id: CouponId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CouponType)]
    kind: Option<CouponType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = SmallId)]
    product_id: Option<ProductId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DiscountType)]
    discount_type: Option<DiscountType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    discount_value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    max_discount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    min_order_amount: Option<u64>,
    status: HeldStatus,
    #[schema(value_type = Time)]
    issued_at: String,
    #[schema(value_type = Time)]
    expires_at: String,
    /// The order that used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = EntityId)]
    order_id: Option<EntityId>,
}

impl HeldView {
    fn new(cell: CellId, coupon_id: CouponId, held: &HeldCoupon, terms: Option<&CatalogCoupon>, now_ms: i64) -> Self {
        Self {
            user_coupon_id: EntityId::new(cell, held.id),
            coupon_id,
            name: terms.map(|terms| terms.name.clone()),
            kind: terms.map(|terms| terms.kind),
            product_id: terms.and_then(|terms| terms.product),
            discount_type: terms.map(|terms| terms.discount),
            discount_value: terms.map(|terms| terms.value),
            max_discount: terms.and_then(|terms| terms.max_discount),
            min_order_amount: terms.and_then(|terms| terms.min_order),
            status: HeldStatus::of(held, now_ms),
            issued_at: reply::time(held.issued),
            expires_at: reply::time(held.expires),
            order_id: held.order.map(|order| EntityId::new(cell, order)),
        }
    }
}

/// A page of a user's coupons.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserCouponPage)]
struct HeldPageView {
    coupons: Vec<HeldView>,
    /// Null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// POST /api/coupons/{couponId}/issue
#[utoipa::path(
    post, path = "/api/coupons/{couponId}/issue", tag = "coupons", operation_id = "issueCoupon",
    summary = "Gives the user a coupon, first come, first served", params(OptionalKey),
    responses((status = 201, description = "It is the user's", body = IssuedView))
)]
pub async fn issue(app: Arc<App>, mut request: Request) -> Answer {
    let coupon = request.coupon_id()?;
    request.no_body(&app).await?;
    let call = request.call(request.idempotency_key()?, &(), IssueCoupon { coupon });
    let outcome = app.engine.submit(&call).await.map_err(|error| problem_of(error, &call.key))?;
    let Event::CouponIssued(issued) = &outcome.event else {
        return Err(Problem::new(Code::InternalError));
    };
    let view = IssuedView {
        user_coupon_id: outcome.id(),
        coupon_id: coupon,
        status: HeldStatus::Available,
        issued_at: reply::time(issued.at),
        expires_at: reply::time(issued.expires),
    };
    Ok(reply::decided(StatusCode::CREATED, &view, &call.key, outcome.replayed))
}

/// GET /api/users/me/coupons?status=&limit=&cursor=: newest first, from Redis: what was just issued is there.
#[utoipa::path(
    get, path = "/api/users/me/coupons", tag = "coupons", operation_id = "listUserCoupons",
    summary = "The user's coupons", params(CouponStatusFilter, Page),
    responses((status = 200, description = "Newest first", body = HeldPageView))
)]
pub async fn mine(app: Arc<App>, request: Request) -> Answer {
    let (limit, before) = (request.limit()? as usize, request.cursor()?);
    let status = request.query("status")?.as_deref().map(HeldStatus::parse).transpose()?;
    let user = request.user();
    let cell = &app.engine.cell_of(&user).shared;
    let wallet = reads::wallet(cell, &user).await?;
    let now_ms = cell.redis_clock_after(std::time::Duration::ZERO);
    let mut held: Vec<(CouponId, HeldCoupon)> = wallet.into_iter().collect();
    held.sort_unstable_by_key(|(_, held)| std::cmp::Reverse(held.id));
    held.retain(|(_, held)| {
        before.is_none_or(|before| EntityId::new(cell.id, held.id).as_i64() < before.as_i64())
            && status.is_none_or(|status| HeldStatus::of(held, now_ms) == status)
    });
    let terms = app.coupons.snapshot().await?;
    let view = |(coupon_id, held): &(CouponId, HeldCoupon)| {
        let view = HeldView::new(cell.id, *coupon_id, held, terms.get(*coupon_id), now_ms);
        (view.user_coupon_id, view)
    };
    let (coupons, next_cursor) = reply::first(held.into_iter(), limit, view);
    Ok(reply::json(StatusCode::OK, &HeldPageView { coupons, next_cursor }))
}

/// Body of a question: either `items` or `orderAmount`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DiscountRequest)]
struct ValidateBody {
    #[schema(value_type = HashSet<SmallId>, max_items = 52)]
    coupon_ids: Vec<CouponId>,
    /// No product twice.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ItemBody>>, min_items = 1, max_items = 50)]
    items: Option<Vec<Object<ItemBody>>>,
    #[serde(default)]
    #[schema(value_type = Option<Amount>)]
    order_amount: Option<u64>,
}

/// What the coupons would take off. Amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Discount)]
struct DiscountView {
    discount_amount: u64,
    final_amount: u64,
}

/// POST /api/coupons/validate: by the rules of an order, and without any effect.
#[utoipa::path(
    post, path = "/api/coupons/validate", tag = "coupons", operation_id = "validateCoupons",
    summary = "What coupons would take off an order, by the rules of an order and without any effect",
    request_body(
        content = ValidateBody, example = json!({"couponIds": [1], "items": [{"productId": 1, "quantity": 1}]})
    ),
    responses((status = 200, description = "All of them can be used together", body = DiscountView))
)]
pub async fn validate(app: Arc<App>, mut request: Request) -> Answer {
    let body: ValidateBody = request.json(&app).await?;
    let invalid = |reason: &str| Problem::new(Code::InvalidInput).because(reason.to_owned());
    check_coupons(&app, &body.coupon_ids)?;
    let items = match (&body.items, body.order_amount) {
        (Some(items), None) => Some(check_items(&app, items)?),
        (None, Some(amount)) if amount <= AMOUNT_MAX => None,
        (None, Some(_)) => return Err(invalid("orderAmount must be below 2^53")),
        _ => return Err(invalid("either items or orderAmount must be given")),
    };
    let user = request.user();
    let asked = Quote { coupons: body.coupon_ids, items, amount: body.order_amount };
    match reads::quote(&app.engine.cell_of(&user).shared, &user, &asked).await? {
        Ok((total, discount)) => {
            let view = DiscountView { discount_amount: discount, final_amount: total - discount };
            Ok(reply::json(StatusCode::OK, &view))
        }
        Err(refusal) => Err(super::app::refused(refusal)),
    }
}
