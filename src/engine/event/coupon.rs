//! Events of coupons.

use serde::{Deserialize, Serialize};

use crate::engine::op::{CouponId, CouponType, DiscountType, ItemStatus, ProductId};
use crate::engine::user::UserId;

/// `coupon_put` 1: the whole coupon as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CouponPut {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Which coupon.
    pub coupon: CouponId,
    /// Display name.
    pub name: String,
    /// What it is applied to.
    #[serde(rename = "type")]
    pub kind: CouponType,
    /// The product of a `CART_ITEM` coupon.
    pub product: Option<ProductId>,
    /// How `value` counts.
    pub discount: DiscountType,
    /// Minor units, or percent.
    pub value: u64,
    /// Most that it takes off.
    pub max_discount: Option<u64>,
    /// Least total of the order, before discounts.
    pub min_order: Option<u64>,
    /// How many there are in all.
    pub total: u64,
    /// How many can still be issued.
    pub remaining: u64,
    /// Start of the issue window.
    pub starts: Option<i64>,
    /// End of the issue window.
    pub ends: Option<i64>,
    /// Days from issue to expiry.
    pub valid_days: u32,
    /// Whether it can be issued.
    pub status: ItemStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
    /// Whether this created it.
    pub created: bool,
    /// The operator.
    pub by: UserId,
}

/// `coupon_issued` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CouponIssued {
    /// Sequence number; with the cell the user coupon's id.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Who got it.
    pub user: UserId,
    /// Which coupon.
    pub coupon: CouponId,
    /// When it expires.
    pub expires: i64,
    /// How many can still be issued afterwards.
    pub remaining: u64,
}
