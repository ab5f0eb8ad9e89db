//! Ops about orders and carts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CouponId, ProductId};
use crate::engine::user::UserId;

/// Arguments of `place_order` and `reserve_order`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlaceOrder {
    /// 1 to 50 items, no product twice; `None`: what is in the cart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<OrderItem>>,
    /// Coupons to use, none twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coupons: Vec<CouponId>,
    /// The final amount that the buyer saw, in minor units.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_amount: Option<u64>,
    /// Kept with the order as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<ShippingAddress>,
}

/// One line of an order as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OrderItem {
    /// Which product.
    pub product: ProductId,
    /// Units, at least 1.
    pub quantity: u32,
}

/// Where an order goes. Each member has at most 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShippingAddress {
    /// Who receives it.
    #[schema(min_length = 1, max_length = 200)]
    pub recipient: String,
    /// How to reach them.
    #[schema(min_length = 1, max_length = 200)]
    pub phone: String,
    /// Street and number.
    #[schema(min_length = 1, max_length = 200)]
    pub line1: String,
    /// Flat, floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub line2: Option<String>,
    /// City.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub city: Option<String>,
    /// Postal code.
    #[schema(min_length = 1, max_length = 200)]
    pub postal_code: String,
    /// Country.
    #[schema(min_length = 1, max_length = 200)]
    pub country: String,
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum PaymentMethod {
    /// From the prepaid balance.
    Balance,
    /// Over the gateway.
    Card,
}

impl PaymentMethod {
    /// As Redis, the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "BALANCE",
            Self::Card => "CARD",
        }
    }
}

/// Arguments of `pay_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PayOrder {
    /// Sequence number of the order's first event.
    pub order: u64,
    /// From where.
    pub method: PaymentMethod,
    /// What the buyer means to pay, in minor units.
    pub amount: u64,
}

/// Arguments of `settle_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SettleOrder {
    /// Sequence number of the order's first event.
    pub order: u64,
    /// What the gateway said.
    pub verdict: Verdict,
}

/// What the gateway said about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The money was taken.
    Approved,
    /// It was not and will not be.
    Declined,
    /// The refund that was asked for is done.
    Refunded,
    /// An operator gives a held order up without a clear word of the gateway: should money have been taken, it must go back.
    Abandoned,
}

/// Arguments of `expire_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExpireOrder {
    /// Sequence number of the order's first event.
    pub order: u64,
}

/// Arguments of `cancel_order`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CancelOrder {
    /// Sequence number of the order's first event.
    pub order: u64,
    /// The order as it was confirmed, if it was paid at once: no column has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<PaidOrder>,
}

/// A confirmed order, as the event says that confirmed it. Times in ms since 1970, amounts in minor units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaidOrder {
    /// The buyer.
    pub user: UserId,
    /// When it was placed.
    pub created: i64,
    /// When it would have expired, had it not been paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Sum of price × quantity.
    pub total: u64,
    /// Sum of the discounts.
    pub discount: u64,
    /// What was paid.
    #[serde(rename = "final")]
    pub final_amount: u64,
    /// From where.
    pub method: PaymentMethod,
    /// Business day that the ranking counts it on.
    pub day: String,
    /// When it was paid.
    pub paid_at: i64,
    /// Sequence number of the event that started the payment.
    pub payment: u64,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<ShippingAddress>,
    /// Coupons that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupons: Option<Vec<CouponId>>,
    /// Its lines.
    pub items: Vec<PaidLine>,
}

/// A line of a confirmed order, by position as in its event: product, name, price, quantity, discount, whether the limit
/// per user counted it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaidLine(pub ProductId, pub String, pub u64, pub u32, pub u64, pub Option<bool>);

/// Arguments of `put_cart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PutCart {
    /// Which product; `None` clears the cart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// Units; 0 takes the product out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// Whether `quantity` is added to what is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub add: bool,
}
