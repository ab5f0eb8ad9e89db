//! All products with their stock, at most `catalog_refresh_ms` (and one read) old while Redis answers.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use metrics::{Counter, counter};
use tokio::sync::Mutex;

use crate::engine::Engine;
use crate::engine::op::{ProductId, ProductStatus};
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
    pub status: ProductStatus,
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
        self.products.values().filter(|product| product.status == ProductStatus::Normal)
    }

    /// A product that buyers see.
    pub fn get_on_sale(&self, id: ProductId) -> Option<&Product> {
        self.products.get(&id).filter(|product| product.status == ProductStatus::Normal)
    }
}

/// The cache.
pub struct ProductCache {
    engine: Engine,
    current: RwLock<Option<Arc<Snapshot>>>,
    /// Held while reading: one read at a time, however many wait for it.
    filling: Mutex<()>,
    hits: Counter,
    misses: Counter,
    failures: Counter,
}

impl ProductCache {
    /// Empty until the first refresh.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            current: RwLock::new(None),
            filling: Mutex::new(()),
            hits: counter!(names::CACHE_HITS, "cache" => "products"),
            misses: counter!(names::CACHE_MISSES, "cache" => "products"),
            failures: counter!(names::CACHE_REFRESH_FAILURES, "cache" => "products"),
        }
    }

    /// The last good value; reads it when there is none yet.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, ReadError> {
        if let Some(snapshot) = self.current() {
            self.hits.increment(1);
            return Ok(snapshot);
        }
        self.misses.increment(1);
        self.refresh().await;
        self.current().ok_or_else(|| ReadError("the catalogue was never read".to_owned()))
    }

    /// Whether there is a value.
    pub fn is_filled(&self) -> bool {
        self.current().is_some()
    }

    /// Reads anew. The last good value stays when that fails.
    pub async fn refresh(&self) {
        let _one_at_a_time = self.filling.lock().await;
        let old = self.current();
        match reads::products(&self.engine.product_cell().shared, old.as_ref().map(|old| old.version)).await {
            Ok(read) => {
                let new = Arc::new(merge(old.as_deref(), read));
                *self.current.write().expect("nobody panics while holding it") = Some(new);
            }
            Err(error) => {
                self.failures.increment(1);
                tracing::debug!(%error, "the catalogue was not refreshed");
            }
        }
    }

    /// Refreshes for ever.
    pub async fn run(&self, pause: std::time::Duration) {
        loop {
            self.refresh().await;
            tokio::time::sleep(pause).await;
        }
    }

    fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.read().expect("nobody panics while holding it").clone()
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
