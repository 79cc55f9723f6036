//! PostgreSQL 17 and 18.

use pgrx::pg_sys;

/// Sets the slot operation that tells whether a row was inserted by the current transaction.
pub fn set_current_xact_test(
    ops: &mut pg_sys::TupleTableSlotOps,
    test: unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot) -> bool,
) {
    ops.is_current_xact_tuple = Some(test);
}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn avoid_prefetch_in_autovacuum() {}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn stop_prefetch() {}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn restore_prefetch() {}
