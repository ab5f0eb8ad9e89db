//! Refusals: expected answers of an op that changed nothing. A closed list; a code that is not in it is an error.

use serde_json::{Map, Value};

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal,)+) => {
        /// Why an op was refused. The codes are the `code` of the answers, plus what only the service itself sees.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refused { $($(#[doc = $doc])+ $variant,)+ }

        impl Refused {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As Lua spells it.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The refusal with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

refusals! {
    /// No such product, or one that is no longer sold.
    ProductNotFound = "PRODUCT_NOT_FOUND",
    /// Before the sale window.
    SaleNotOpen = "SALE_NOT_OPEN",
    /// After the sale window.
    SaleClosed = "SALE_CLOSED",
    /// More than one user may buy over all his orders.
    ExceededLimitedQuantity = "EXCEEDED_LIMITED_QUANTITY",
    /// Fewer units available than asked for.
    InsufficientStock = "INSUFFICIENT_STOCK",
    /// The arguments contradict each other or the state.
    InvalidInput = "INVALID_INPUT",
    /// The buyer saw another amount.
    AmountMismatch = "AMOUNT_MISMATCH",
    /// Less balance than the order costs.
    InsufficientBalance = "INSUFFICIENT_BALANCE",
    /// A charge outside of the rules.
    InvalidAmount = "INVALID_AMOUNT",
    /// Nothing in the cart.
    CartEmpty = "CART_EMPTY",
    /// A coupon cannot be used for this order.
    InvalidCoupon = "INVALID_COUPON",
    /// No such coupon, or one that is no longer issued.
    CouponNotFound = "COUPON_NOT_FOUND",
    /// Outside of the issue window.
    CouponNotOpen = "COUPON_NOT_OPEN",
    /// All were issued.
    CouponSoldOut = "COUPON_SOLD_OUT",
    /// The user got one already.
    AlreadyIssued = "ALREADY_ISSUED",
    /// No such order of this user, as far as Redis knows.
    OrderNotFound = "ORDER_NOT_FOUND",
    /// The state of an order or charge does not allow it.
    InvalidOrderState = "INVALID_ORDER_STATE",
    /// The user has as many unpaid orders as one may have.
    TooManyOpenOrders = "TOO_MANY_OPEN_ORDERS",
    /// The key was used for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
    /// PostgreSQL is too far behind; answered as 503.
    BacklogFull = "BACKLOG_FULL",
}

impl Refused {
    /// Refusals that `apply` itself gives, whatever the op.
    pub const COMMON: [Self; 2] = [Self::IdempotencyKeyReused, Self::BacklogFull];
}

/// A refusal with its details (the extension members of the answer, in camelCase).
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub code: Refused,
    /// Extension members, such as `insufficientItems`.
    pub details: Map<String, Value>,
}
