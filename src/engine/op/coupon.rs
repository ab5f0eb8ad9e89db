//! Ops about coupons.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Change, ItemStatus, ProductId};

/// A coupon's number, minted by the engine.
pub type CouponId = u32;

/// Arguments of `put_coupon`. `Some(Clear)` in an optional member removes it. What a coupon is worth (type, product, discount, value,
/// maximum, minimum order) is given when it is created and never changes: people hold it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PutCoupon {
    /// The coupon to change; `None` creates one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponId>,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is applied to.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<CouponType>,
    /// The product of a `CART_ITEM` coupon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// How `value` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<DiscountType>,
    /// Minor units, or percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Most that it takes off, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_discount: Option<u64>,
    /// Least total of the order before discounts, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_order: Option<u64>,
    /// How many there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Start of the issue window, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<Change<i64>>,
    /// End of the issue window, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<Change<i64>>,
    /// Days from issue to expiry, for those issued from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_days: Option<u32>,
    /// Whether it can be issued; those that were issued stay good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ItemStatus>,
}

/// Arguments of `issue_coupon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IssueCoupon {
    /// Which coupon.
    pub coupon: CouponId,
}

/// What a coupon is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CouponType {
    /// The whole order; at most two of them in one.
    Cart,
    /// One product; at most one per product in an order.
    CartItem,
}

impl CouponType {
    /// As Redis, the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cart => "CART",
            Self::CartItem => "CART_ITEM",
        }
    }
}

/// How a coupon's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DiscountType {
    /// Minor units.
    Fixed,
    /// Percent, 1 to 100; the discount is rounded down.
    Percent,
}

impl DiscountType {
    /// As Redis, the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "FIXED",
            Self::Percent => "PERCENT",
        }
    }
}
