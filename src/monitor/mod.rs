//! What Orochi tells about itself.

pub mod counters;
