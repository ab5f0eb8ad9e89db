//! In-process caches for what everybody reads: catalogue with stock, and rankings. Refreshed in the background, filled
//! once at a time, and good for their last value when Redis is away; the answers say as of when they are.

pub mod popular;
pub mod products;
