//! All products with their stock, at most `catalog_refresh_ms` (and one read) old while Redis answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gauges::Gauges;
use super::refreshed::Refreshed;
use crate::engine::Engine;
use crate::engine::op::{ItemStatus, ProductId};
use crate::engine::reads::{self, ReadError};
use crate::metrics as names;

/// A product with its stock. Times in ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Available units.
    pub stock: u64,
    /// Units that one user may buy.
    pub limit: Option<u64>,
    /// Start of the sale window.
    pub starts: Option<i64>,
    /// End of the sale window.
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ItemStatus,
}

/// All products at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The clock of Redis when it was read, ms since 1970.
    pub as_of_ms: i64,
    version: u64,
    products: BTreeMap<ProductId, Product>,
}

impl Snapshot {
    /// Products that buyers see, by id.
    pub fn on_sale(&self) -> impl Iterator<Item = &Product> {
        self.products.values().filter(|product| product.status == ItemStatus::Normal)
    }

    /// Products that buyers see: first those that are sold in a window or with a limit, which is what a hot sale has.
    fn hot_first(&self) -> impl Iterator<Item = &Product> {
        let is_hot = |product: &&Product| product.starts.or(product.ends).is_some() || product.limit.is_some();
        self.on_sale().filter(is_hot).chain(self.on_sale().filter(move |product| !is_hot(product)))
    }

    /// A product that buyers see.
    pub fn get_on_sale(&self, id: ProductId) -> Option<&Product> {
        self.products.get(&id).filter(|product| product.status == ItemStatus::Normal)
    }
}

/// The cache.
pub struct ProductCache {
    engine: Engine,
    products: Refreshed<Snapshot>,
    stock: Gauges,
}

impl ProductCache {
    /// Empty until the first refresh.
    pub fn new(engine: Engine) -> Self {
        Self { engine, products: Refreshed::new("products"), stock: Gauges::new(names::PRODUCT_STOCK, "product") }
    }

    /// The last good value; reads it when there is none yet.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, ReadError> {
        self.products.get(async |old| self.load(old).await).await
    }

    /// Whether there is a value.
    pub fn is_filled(&self) -> bool {
        self.products.current().is_some()
    }

    /// Reads anew. The last good value stays when that fails.
    pub async fn refresh(&self) {
        self.products.refresh(async |old| self.load(old).await).await;
        if let Some(snapshot) = self.products.current() {
            self.stock.show(snapshot.hot_first().map(|product| (product.id, product.name.as_str(), product.stock)));
        }
    }

    /// Refreshes for ever.
    pub async fn run(&self, pause: std::time::Duration) {
        loop {
            self.refresh().await;
            tokio::time::sleep(pause).await;
        }
    }

    async fn load(&self, old: Option<Arc<Snapshot>>) -> Result<Snapshot, ReadError> {
        let known_version = old.as_ref().map(|old| old.version);
        let read = reads::products(&self.engine.product_cell().shared, known_version).await?;
        Ok(merge(old.as_deref(), read))
    }
}

/// The new snapshot: the catalogue from the answer or, when it has not changed, from the old one; the stock always new.
fn merge(old: Option<&Snapshot>, read: reads::ProductsRead) -> Snapshot {
    let mut products: BTreeMap<ProductId, Product> = match read.catalog {
        None => old.map(|old| old.products.clone()).unwrap_or_default(),
        Some(catalog) => catalog.into_iter().map(|(id, p)| (id, product_of(id, p))).collect(),
    };
    for (id, stock) in read.stock {
        if let Some(product) = products.get_mut(&id) {
            product.stock = stock;
        }
    }
    Snapshot { as_of_ms: read.now_ms, version: read.version, products }
}

fn product_of(id: ProductId, product: reads::CatalogProduct) -> Product {
    let reads::CatalogProduct { name, price, limit, starts, ends, status } = product;
    Product { id, name, price, stock: 0, limit, starts, ends, status }
}
