//! HTTP: one route table, thin handlers (decode, call, encode), limits on everything.

pub mod admin;
pub mod app;
pub mod auth;
pub mod balance;
pub mod code;
pub mod language;
pub mod object;
pub mod operations;
pub mod orders;
pub mod problem;
pub mod products;
pub mod reply;
pub mod request;
pub mod routes;
pub mod server;
pub mod token_cache;
