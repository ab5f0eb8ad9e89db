//! Redis: the connection, the keys and the Lua library.

pub mod client;
pub mod keys;
pub mod library;
pub mod requirements;
pub mod usage;
