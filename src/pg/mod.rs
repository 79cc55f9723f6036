//! The only door to PostgreSQL internals.
//!
//! Everything here is thin: a function wraps one PostgreSQL facility, states what it needs, and hands back a
//! guard or a plain value. Version conditions live in [`compat`] alone.

pub mod compat;
pub mod copy;
pub mod datum_sort;
pub mod error;
pub mod error_fields;
pub mod executor;
pub mod externs;
pub mod heap;
pub mod horizon;
pub mod keyscan;
pub mod label;
pub mod memory;
pub mod owned_values;
pub mod parallel;
pub mod read_ahead;
pub mod regclass;
pub mod relation;
pub mod room;
pub mod sample;
pub mod server;
pub mod snapshot;
pub mod sort;
pub mod statistic;
pub mod subtransaction;
pub mod temp_file;
pub mod tuple;
pub mod unguarded;
pub mod values;

pub use relation::{OpenRel, Rel};

/// True while a Rust panic (which carries a PostgreSQL ERROR) unwinds. A guard's `Drop` must then leave its
/// resource to transaction abort, because releasing it could raise a second error.
#[inline]
pub fn unwinding() -> bool {
    std::thread::panicking()
}
