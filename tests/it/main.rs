//! Tests on real Redis and PostgreSQL, from single ops to the whole journey and its faults. One binary: one link, and one
//! pair of servers shared by all tests that do not break them.

mod contract;
mod engine_ops;
mod faults;
mod headers;
mod journey;
mod model;
mod openapi;
mod support;
mod tidy;
