//! HTTP: one route table, thin handlers (decode, call, encode), limits on everything.

mod access_log;
pub mod admin;
pub mod app;
pub mod auth;
pub mod balance;
pub mod cart;
pub mod code;
pub mod coupons;
pub mod find_order;
pub mod language;
pub mod live;
pub mod object;
pub mod openapi;
pub mod operations;
pub mod order_view;
pub mod orders;
pub mod pages;
pub mod payments;
pub mod problem;
pub mod products;
pub mod reply;
pub mod request;
pub mod routes;
pub mod server;
pub mod token_cache;
