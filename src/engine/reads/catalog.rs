//! What everybody sees: products, stock, coupons and rankings.

use serde::Deserialize;

use super::{Packed, ReadError, pairs, read, unpack};
use crate::engine::cell::CellShared;
use crate::engine::op::{CouponId, CouponType, DiscountType, ItemStatus, ProductId};

/// A product as the column `catalog` has it. Times in ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CatalogProduct {
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Start of the sale window.
    #[serde(default)]
    pub starts: Option<i64>,
    /// End of the sale window.
    #[serde(default)]
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ItemStatus,
}

/// What `read_products` found.
#[derive(Debug)]
pub struct ProductsRead {
    /// The clock of Redis, ms since 1970.
    pub now_ms: i64,
    /// Version of the catalogue.
    pub version: u64,
    /// All products, or `None` when the caller has this version.
    pub catalog: Option<Vec<(ProductId, CatalogProduct)>>,
    /// Available units of every product.
    pub stock: Vec<(ProductId, u64)>,
}

/// A coupon as the column `coupons` has it. Times in ms since 1970, amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CatalogCoupon {
    /// Display name.
    pub name: String,
    /// What it is applied to.
    #[serde(rename = "type")]
    pub kind: CouponType,
    /// The product of a `CART_ITEM` coupon.
    #[serde(default)]
    pub product: Option<ProductId>,
    /// How `value` counts.
    pub discount: DiscountType,
    /// Minor units, or percent.
    pub value: u64,
    /// Most that it takes off.
    #[serde(default)]
    pub max_discount: Option<u64>,
    /// Least total of the order, before discounts.
    #[serde(default)]
    pub min_order: Option<u64>,
    /// How many there are in all.
    pub total: u64,
    /// How many can still be issued.
    pub remaining: u64,
    /// Start of the issue window.
    #[serde(default)]
    pub starts: Option<i64>,
    /// End of the issue window.
    #[serde(default)]
    pub ends: Option<i64>,
    /// Days from issue to expiry.
    pub valid_days: u32,
    /// Whether it can be issued.
    pub status: ItemStatus,
}

/// All products and their stock.
///
/// `known_version` is the catalogue's version that the caller has already.
pub async fn products(cell: &CellShared, known_version: Option<u64>) -> Result<ProductsRead, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.catalog(), cell.keys.stock()];
    let args = vec![known_version.map_or("-1".to_owned(), |version| version.to_string()).into()];
    read(cell, "read_products", &keys, args, |now_ms, _, value| {
        let (version, catalog, stock): (u64, Vec<Packed>, Vec<Packed>) = unpack(value)?;
        let known = Some(version) == known_version;
        let catalog = (!known).then(|| pairs(&catalog, |id, product| Ok((id.number()?, unpack(&product.0)?))));
        let stock = pairs(&stock, |id, units| Ok((id.number()?, units.number()?)))?;
        Ok(ProductsRead { now_ms, version, catalog: catalog.transpose()?, stock })
    })
    .await
}

/// All coupons.
pub async fn coupons(cell: &CellShared) -> Result<Vec<(CouponId, CatalogCoupon)>, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.coupons()];
    read(cell, "read_coupons", &keys, Vec::new(), |_, _, value| {
        let flat: Vec<Packed> = unpack(value)?;
        pairs(&flat, |id, coupon| Ok((id.number()?, unpack(&coupon.0)?)))
    })
    .await
}

/// Units sold per product, summed over the given business days.
pub async fn sales(cell: &CellShared, days: &[String]) -> Result<Vec<(ProductId, u64)>, ReadError> {
    let mut keys = vec![cell.keys.meta()];
    keys.extend(days.iter().map(|day| cell.keys.sales(day)));
    read(cell, "read_sales", &keys, Vec::new(), |_, _, value| {
        let flat: Vec<Packed> = unpack(value)?;
        pairs(&flat, |product, score| {
            let sold: f64 = score.number()?;
            // A score is an integer below 2^53; more refunded than sold cannot be, and would not be shown.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer, see above")]
            Ok((product.number()?, sold.max(0.0) as u64))
        })
    })
    .await
}
