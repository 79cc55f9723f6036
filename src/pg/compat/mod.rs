//! What differs between PostgreSQL majors. No other module has version conditions.

pub mod workers;
