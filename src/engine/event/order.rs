//! Events of orders and carts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::op::{CouponId, PaymentMethod, ProductId, ShippingAddress};
use crate::engine::user::UserId;

/// `order_confirmed` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// Sequence number; with the cell the ids of order, payment and transaction.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// The buyer.
    pub user: UserId,
    /// Business day that the ranking counts it on, `YYYY-MM-DD`.
    pub day: String,
    /// Sum of price × quantity.
    pub total: u64,
    /// Sum of the discounts.
    pub discount: u64,
    /// What was paid.
    #[serde(rename = "final")]
    pub final_amount: u64,
    /// From the balance.
    pub method: PaymentMethod,
    /// As given.
    pub address: Option<ShippingAddress>,
    /// The balance afterwards.
    pub balance: u64,
    /// The used total afterwards.
    pub used: u64,
    /// The lines.
    pub items: Vec<OrderLine>,
    /// Coupons that it used.
    #[serde(default)]
    pub coupons: Option<Vec<CouponId>>,
    /// Whether it came from the cart, which is empty since.
    #[serde(default)]
    pub cart: Option<bool>,
}

/// One line of an order, with name and price of that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Which product.
    pub product: ProductId,
    /// Its name.
    pub name: String,
    /// Its price.
    pub price: u64,
    /// Units.
    pub quantity: u32,
    /// Discount of the coupon for this line.
    pub discount: u64,
    /// Whether the limit per user counted it.
    #[serde(default)]
    pub counted: Option<bool>,
}

/// `order_changed` 1: the whole order as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderChanged {
    /// Sequence number of this change.
    pub seq: u64,
    /// When Redis decided it.
    pub at: i64,
    /// Sequence number of the order's first event; with the cell its id.
    pub order: u64,
    /// What it is now.
    pub status: OrderStatus,
    /// The buyer.
    pub user: UserId,
    /// When it was placed.
    pub created: i64,
    /// When it expires, or would have.
    pub expires: Option<i64>,
    /// Sum of price × quantity.
    pub total: u64,
    /// Sum of the discounts.
    pub discount: u64,
    /// What is to be paid.
    #[serde(rename = "final")]
    pub final_amount: u64,
    /// How it is paid.
    pub method: Option<PaymentMethod>,
    /// Business day that the ranking counts it on.
    pub day: Option<String>,
    /// When it was paid.
    pub paid_at: Option<i64>,
    /// Sequence number of the event that started the payment; with the cell its id.
    pub payment: Option<u64>,
    /// Of the money, once it is refunded.
    pub refund: Option<RefundStatus>,
    /// Where it goes.
    pub address: Option<ShippingAddress>,
    /// Coupons that it uses or used.
    pub coupons: Option<Vec<CouponId>>,
    /// Whether this change took it from the cart, which is empty since.
    pub cart: Option<bool>,
    /// The buyer's balance afterwards.
    pub balance: u64,
    /// His used total afterwards.
    pub used: u64,
    /// Products that are back in stock by this, for those who asked to be told.
    pub restocked: Option<Vec<ProductId>>,
    /// The lines.
    pub items: Vec<OrderLine>,
}

impl OrderChanged {
    /// Whether this change gives stock, limits and coupons back. When a card's money goes back it is told twice: when the order
    /// is given up and when the money is back; only the first does.
    pub fn gives_back(&self) -> bool {
        let over_gateway = self.method == Some(PaymentMethod::Card) && self.final_amount > 0;
        match self.status {
            OrderStatus::PendingPayment | OrderStatus::Held | OrderStatus::Confirmed => false,
            OrderStatus::Cancelled | OrderStatus::Expired => true,
            OrderStatus::PaymentFailed | OrderStatus::Refunded => {
                !(over_gateway && self.refund == Some(RefundStatus::Done))
            }
        }
    }

    /// The kind of the transaction that this change makes; a card's money is none of the balance's.
    pub fn transaction_kind(&self) -> Option<&'static str> {
        match (self.method, self.status) {
            (Some(PaymentMethod::Balance), OrderStatus::Confirmed) => Some("PAYMENT"),
            (Some(PaymentMethod::Balance), OrderStatus::Refunded) => Some("REFUND"),
            _ => None,
        }
    }
}

/// What an order can be. SPEC.md has the table of transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Reserved.
    PendingPayment,
    /// The gateway's answer is open.
    Held,
    /// Paid.
    Confirmed,
    /// The gateway declined.
    PaymentFailed,
    /// The buyer gave it up before paying.
    Cancelled,
    /// It was not paid in time.
    Expired,
    /// The buyer gave it up after paying.
    Refunded,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::PendingPayment,
        Self::Held,
        Self::Confirmed,
        Self::PaymentFailed,
        Self::Cancelled,
        Self::Expired,
        Self::Refunded,
    ];

    /// As Redis, the log, PostgreSQL and the API spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingPayment => "PENDING_PAYMENT",
            Self::Held => "HELD",
            Self::Confirmed => "CONFIRMED",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Refunded => "REFUNDED",
        }
    }
}

/// Whether a refunded order's money is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefundStatus {
    /// The gateway is being asked until it is.
    Pending,
    /// It is.
    Done,
}

/// `cart_put` 1: the whole cart as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CartPut {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Whose cart.
    pub user: UserId,
    /// What is in it.
    pub items: Vec<CartLine>,
}

/// A product in a cart, with name and price of that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartLine {
    /// Which product.
    pub product: ProductId,
    /// Its name.
    pub name: String,
    /// Its price.
    pub price: u64,
    /// Units.
    pub quantity: u32,
}
