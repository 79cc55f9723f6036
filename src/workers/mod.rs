//! Background workers.

pub mod mover_xids;
