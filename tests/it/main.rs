//! Tests on real Redis and PostgreSQL, from single ops to the whole journey and its faults. One binary: one link, and one
//! pair of servers shared by all tests that do not break them.

mod carts;
mod compose;
mod contract;
mod coupons;
mod dashboards;
mod dev;
mod engine_ops;
mod faults;
mod forwarding;
mod forwarding_faults;
mod gateway_faults;
mod headers;
mod inspect;
mod journey;
mod lane;
mod migrations;
mod model;
mod notices;
mod openapi;
mod pages;
mod payments;
mod reservations;
mod restock;
mod settling;
mod support;
mod tidy;
mod tracing;
mod verify;
