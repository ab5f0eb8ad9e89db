//! All coupons with how many are left, at most `catalog_refresh_ms` (and one read) old while Redis answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gauges::Gauges;
use super::refreshed::Refreshed;
use crate::engine::Engine;
use crate::engine::op::{CouponId, ItemStatus};
use crate::engine::reads::{self, CatalogCoupon, ReadError};
use crate::metrics as names;

/// All coupons at one moment.
#[derive(Debug, Default)]
pub struct Coupons(BTreeMap<CouponId, CatalogCoupon>);

impl Coupons {
    /// Coupons that are issued, by id.
    pub fn offered(&self) -> impl Iterator<Item = (CouponId, &CatalogCoupon)> {
        self.0.iter().filter(|(_, coupon)| coupon.status == ItemStatus::Normal).map(|(id, coupon)| (*id, coupon))
    }

    /// A coupon, offered or not: people may hold it.
    pub fn get(&self, id: CouponId) -> Option<&CatalogCoupon> {
        self.0.get(&id)
    }
}

/// The cache.
pub struct CouponCache {
    engine: Engine,
    coupons: Refreshed<Coupons>,
    remaining: Gauges,
}

impl CouponCache {
    /// Empty until the first refresh.
    pub fn new(engine: Engine) -> Self {
        Self { engine, coupons: Refreshed::new("coupons"), remaining: Gauges::new(names::COUPON_REMAINING, "coupon") }
    }

    /// The last good value; reads it when there is none yet.
    pub async fn snapshot(&self) -> Result<Arc<Coupons>, ReadError> {
        self.coupons.get(async |_| self.load().await).await
    }

    /// Reads anew. The last good value stays when that fails.
    pub async fn refresh(&self) {
        self.coupons.refresh(async |_| self.load().await).await;
        if let Some(coupons) = self.coupons.current() {
            self.remaining.show(coupons.offered().map(|(id, coupon)| (id, coupon.name.as_str(), coupon.remaining)));
        }
    }

    /// Refreshes for ever.
    pub async fn run(&self, pause: std::time::Duration) {
        loop {
            self.refresh().await;
            tokio::time::sleep(pause).await;
        }
    }

    async fn load(&self) -> Result<Coupons, ReadError> {
        reads::coupons(&self.engine.product_cell().shared).await.map(|all| Coupons(all.into_iter().collect()))
    }
}
