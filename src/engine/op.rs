//! Ops: the only things that change state. One variant here, one file in `lua/ops/`; `tests/it/headers.rs` holds the two
//! equal.

use serde::Serialize;

use super::refusal::Refused;

/// A product's number, minted by the engine.
pub type ProductId = u32;

/// What an op does, with its arguments as the Lua file's header names them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Op {
    /// Buy and pay from the balance.
    PlaceOrder(PlaceOrder),
    /// Credit a balance.
    ChargeBalance(ChargeBalance),
    /// Add stock or take it away.
    AdjustStock(AdjustStock),
    /// Create or change a product.
    PutProduct(PutProduct),
}

/// Arguments of `place_order`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaceOrder {
    /// 1 to 50 items, no product twice.
    pub items: Vec<OrderItem>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShippingAddress {
    /// Who receives it.
    pub recipient: String,
    /// How to reach them.
    pub phone: String,
    /// Street and number.
    pub line1: String,
    /// Flat, floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    /// City.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Postal code.
    pub postal_code: String,
    /// Country.
    pub country: String,
}

/// Arguments of `charge_balance`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChargeBalance {
    /// Minor units as the caller gave them; the engine judges them.
    pub amount: i64,
}

/// Arguments of `adjust_stock`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdjustStock {
    /// Which product.
    pub product: ProductId,
    /// Units to add (negative: to take away).
    pub delta: i64,
}

/// Arguments of `put_product`. `Some(Clear)` in an optional member removes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PutProduct {
    /// The product to change; `None` creates one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<u64>,
    /// Initial stock; only when creating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stock: Option<u64>,
    /// Units that one user may buy over all his orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Change<u64>>,
    /// Start of the sale window, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<Change<i64>>,
    /// End of the sale window, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<Change<i64>>,
    /// Whether it can be sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ProductStatus>,
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

/// Products are never physically deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProductStatus {
    /// For sale.
    Normal,
    /// Gone for buyers.
    Deleted,
}

impl ProductStatus {
    /// As Redis, the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Deleted => "DELETED",
        }
    }
}

impl Op {
    /// Every op's name, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["place_order", "charge_balance", "adjust_stock", "put_product"];

    /// The Lua function that decides it; also its label in metrics.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Position in [`Op::NAMES`].
    pub fn index(&self) -> usize {
        match self {
            Self::PlaceOrder(_) => 0,
            Self::ChargeBalance(_) => 1,
            Self::AdjustStock(_) => 2,
            Self::PutProduct(_) => 3,
        }
    }

    /// The closed list of refusals of an op, by name; those that any op can meet are [`Refused::COMMON`].
    pub fn refusals(name: &str) -> &'static [Refused] {
        use Refused as R;
        match name {
            "place_order" => &[
                R::ProductNotFound,
                R::SaleNotOpen,
                R::SaleClosed,
                R::ExceededLimitedQuantity,
                R::InsufficientStock,
                R::InvalidInput,
                R::AmountMismatch,
                R::InsufficientBalance,
            ],
            "charge_balance" => &[R::InvalidAmount],
            "adjust_stock" => &[R::ProductNotFound, R::InsufficientStock, R::InvalidInput],
            "put_product" => &[R::ProductNotFound, R::InvalidInput],
            _ => &[],
        }
    }

    /// Redis fields that the op reads, an upper bound: batches are capped by fields, which are what a call's time grows
    /// with.
    pub fn fields(&self) -> usize {
        // Two idempotency records and the account, always.
        3 + match self {
            Self::PlaceOrder(order) => 3 * order.items.len(),
            Self::ChargeBalance(_) => 0,
            Self::AdjustStock(_) | Self::PutProduct(_) => 2,
        }
    }
}
