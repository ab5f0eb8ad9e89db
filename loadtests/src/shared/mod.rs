//! What every kind of load needs: children, their CPU, a client for a few requests, the service's metrics.

pub mod accounting;
pub mod child;
pub mod http;
pub mod scrape;
pub mod setup;
