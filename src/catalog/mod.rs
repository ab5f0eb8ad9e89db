//! What everybody looks at: products, coupons and rankings, from caches that refresh themselves.

pub mod coupons;
mod gauges;
pub mod popular;
pub mod products;
mod refreshed;
