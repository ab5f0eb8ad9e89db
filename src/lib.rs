//! flashsale: many people want the same few things in the same second, and every one of them gets a fast, final, correct
//! answer. Redis decides, the log remembers, PostgreSQL keeps.
//!
//! Follow one order: `http/orders.rs` → `engine/lane.rs` → `lua/apply.lua` → the log → `writer/` → PostgreSQL →
//! `forwarder/` → the data platform.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod dev;
pub mod engine;
pub mod forwarder;
pub mod gateway;
pub mod http;
pub mod inspect;
pub mod live;
pub mod logs;
pub mod metrics;
pub mod notifier;
pub mod outbound;
pub mod postgres;
pub mod progress;
pub mod redis;
pub mod sandbox;
pub mod service;
pub mod sweeper;
pub mod trace;
pub mod verify;
pub mod web;
pub mod writer;
