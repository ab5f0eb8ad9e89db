//! Ops about products and their stock.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Change;

/// A product's number, minted by the engine.
pub type ProductId = u32;

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
    pub status: Option<ItemStatus>,
}

/// Arguments of `request_restock`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestRestock {
    /// Which product.
    pub product: ProductId,
    /// Where to tell.
    pub email: String,
}

/// Products and coupons are never physically deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ItemStatus {
    /// Can be sold, can be issued.
    Normal,
    /// Gone for buyers.
    Deleted,
}

impl ItemStatus {
    /// As Redis, the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Deleted => "DELETED",
        }
    }
}
