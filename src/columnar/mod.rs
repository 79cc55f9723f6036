//! The columnar table access method. docs/storage.md is its contract.

pub mod am;
mod blob;
mod block;
mod cache;
pub mod columns;
pub mod copy;
pub mod cursor;
mod dead_set;
mod dml;
pub mod encoding;
mod fetch;
mod health;
mod index_build;
mod insert;
mod inspect;
pub mod key;
mod lookup;
mod metapage;
pub mod mover;
mod numbers;
mod options;
mod ordering;
pub mod pressure;
mod read_ahead;
pub mod reader;
mod recent;
mod row;
mod row_values;
pub mod scan;
pub mod slot;
mod snapshot_stripes;
mod sql;
mod standing;
mod storage;
pub mod store;
pub mod stripe;
mod stripe_builder;
pub mod summaries;
mod tid;
mod transaction;
mod vacuum;
pub mod write_buffer;

pub use options::forget as forget_options;
pub use slot::took_ops;
pub use storage::ensure_companion;

/// Registers what the access method needs in every backend, and the mover.
pub fn init() {
    transaction::register();
    mover::register();
    options::register();
    crate::monitor::health::register(health::check);
    crate::monitor::metrics::register(pressure::measure);
}
