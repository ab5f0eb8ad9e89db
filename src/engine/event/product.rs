//! Events of products and their stock.

use serde::{Deserialize, Serialize};

use crate::engine::op::{ItemStatus, ProductId};
use crate::engine::user::UserId;

/// `stock_adjusted` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StockAdjusted {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Which product.
    pub product: ProductId,
    /// Units added.
    pub delta: i64,
    /// Available units afterwards.
    pub stock: u64,
    /// The operator.
    pub by: UserId,
    /// Whether the product is back in stock by this, for those who asked to be told.
    #[serde(default)]
    pub restocked: Option<bool>,
}

/// `product_put` 1: the whole product as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductPut {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Which product.
    pub product: ProductId,
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    pub limit: Option<u64>,
    /// Start of the sale window.
    pub starts: Option<i64>,
    /// End of the sale window.
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ItemStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
    /// Whether this created it.
    pub created: bool,
    /// Available units afterwards (when created: the initial stock).
    pub stock: u64,
    /// The operator.
    pub by: UserId,
}

/// `restock_requested` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestockRequested {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Who wants to be told.
    pub user: UserId,
    /// Of which product.
    pub product: ProductId,
    /// Where to.
    pub email: String,
    /// Counts how often the product was back; everybody who asked in one round is told when it ends.
    pub round: u64,
}
