//! The only door to PostgreSQL internals.

pub mod compat;
pub mod server;
