//! Ops: the only things that change state. One variant here, one file in `lua/ops/`; `tests/it/headers.rs` holds the two
//! equal.

mod coupon;
mod money;
mod order;
mod product;

use serde::Serialize;

pub use coupon::{CouponId, CouponType, DiscountType, IssueCoupon, PutCoupon};
pub use money::{ChargeBalance, OpenCharge, SettleCharge};
pub use order::{
    CancelOrder, ExpireOrder, OrderItem, PaidLine, PaidOrder, PayOrder, PaymentMethod, PlaceOrder, PutCart,
    SettleOrder, ShippingAddress, Verdict,
};
pub use product::{AdjustStock, ItemStatus, ProductId, PutProduct, RequestRestock};

use super::refusal::Refused;

/// Declares the ops: one variant each, with its name in Lua and the closed list of its refusals.
macro_rules! ops {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal refuses [$($refused:ident),*];)+) => {
        /// What an op does, with its arguments as the Lua file's header names them.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Op { $($(#[doc = $doc])+ $variant($variant),)+ }

        /// The variants without their arguments, for their numbers.
        enum Kind { $($variant,)+ }

        impl Op {
            /// Position in [`Op::NAMES`].
            pub fn index(&self) -> usize {
                let kind = match self { $(Self::$variant(_) => Kind::$variant,)+ };
                kind as usize
            }

            /// Every op's name, in the order of the variants.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// The Lua function that decides it; also its label in metrics.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// The closed list of refusals of an op, by name; those that any op can meet are [`Refused::COMMON`].
            pub fn refusals(name: &str) -> &'static [Refused] {
                match name { $($name => &[$(Refused::$refused),*],)+ _ => &[] }
            }
        }

        $(impl From<$variant> for Op {
            fn from(args: $variant) -> Self {
                Self::$variant(args)
            }
        })+
    };
}

/// `reserve_order` takes what `place_order` takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ReserveOrder(pub PlaceOrder);

ops! {
    /// Buy and pay from the balance.
    PlaceOrder = "place_order" refuses [CartEmpty, ProductNotFound, SaleNotOpen, SaleClosed, ExceededLimitedQuantity,
        InsufficientStock, InvalidInput, InvalidCoupon, AmountMismatch, InsufficientBalance];
    /// Reserve, to be paid for later.
    ReserveOrder = "reserve_order" refuses [CartEmpty, ProductNotFound, SaleNotOpen, SaleClosed, ExceededLimitedQuantity,
        InsufficientStock, InvalidInput, InvalidCoupon, AmountMismatch, TooManyOpenOrders];
    /// Pay for a reserved order, or hold it while the gateway is asked.
    PayOrder = "pay_order" refuses [OrderNotFound, InvalidOrderState, AmountMismatch, InvalidInput, InsufficientBalance];
    /// What the gateway said about an order.
    SettleOrder = "settle_order" refuses [OrderNotFound, InvalidOrderState];
    /// A buyer gives an order up.
    CancelOrder = "cancel_order" refuses [OrderNotFound, InvalidOrderState, InvalidInput];
    /// An order was not paid in time.
    ExpireOrder = "expire_order" refuses [OrderNotFound, InvalidOrderState];
    /// Credit a balance at once.
    ChargeBalance = "charge_balance" refuses [InvalidAmount];
    /// Note that the gateway is about to be asked for a charge.
    OpenCharge = "open_charge" refuses [InvalidAmount];
    /// What the gateway said about a charge.
    SettleCharge = "settle_charge" refuses [InvalidOrderState];
    /// Create or change a coupon.
    PutCoupon = "put_coupon" refuses [CouponNotFound, ProductNotFound, InvalidInput];
    /// Give a user a coupon, first come, first served.
    IssueCoupon = "issue_coupon" refuses [CouponNotFound, AlreadyIssued, CouponNotOpen, CouponSoldOut];
    /// Change a user's cart.
    PutCart = "put_cart" refuses [ProductNotFound, ExceededLimitedQuantity, InsufficientStock, InvalidInput];
    /// Ask to be told when a product is back.
    RequestRestock = "request_restock" refuses [ProductNotFound];
    /// Add stock or take it away.
    AdjustStock = "adjust_stock" refuses [ProductNotFound, InsufficientStock, InvalidInput];
    /// Create or change a product.
    PutProduct = "put_product" refuses [ProductNotFound, InvalidInput];
}

/// A new value for an optional member, or its removal (`false` in Lua, where nil is no value).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Set it.
    Set(T),
    /// Remove it.
    Clear,
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::Clear => serializer.serialize_bool(false),
        }
    }
}

/// Redis fields that the lines of a full cart read: product, stock and limit for each of the default of `order_items_max`.
const CART_FIELDS: usize = 3 * 50;

impl Op {
    /// Redis fields that the op reads, an upper bound: batches are capped by fields, which are what a call's time grows
    /// with.
    pub fn fields(&self) -> usize {
        // Two idempotency records and the account, always.
        3 + match self {
            Self::PlaceOrder(order) | Self::ReserveOrder(ReserveOrder(order)) => {
                let coupons = order.coupons.len();
                // Nobody knows yet what is in a cart.
                order.items.as_ref().map_or(CART_FIELDS, |items| 3 * items.len()) + coupons + 2
            }
            // The open order with its two records, and what giving back touches; the products of a cart, for their names.
            Self::CancelOrder(_) | Self::ExpireOrder(_) | Self::SettleOrder(_) | Self::PutCart(_) => 4 + CART_FIELDS,
            Self::PayOrder(_) | Self::SettleCharge(_) => 3,
            Self::ChargeBalance(_) | Self::OpenCharge(_) => 0,
            Self::RequestRestock(_) | Self::AdjustStock(_) => 4,
            Self::PutProduct(_) | Self::PutCoupon(_) | Self::IssueCoupon(_) => 2,
        }
    }
}
