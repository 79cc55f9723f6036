//! PostgreSQL 18.

use pgrx::pg_sys;

/// `index_beginscan` without order-by keys and without instrumentation.
///
/// # Safety
/// As for `index_beginscan`.
pub unsafe fn index_beginscan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe { pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0) }
}

/// Sets the slot operation that tells whether a row was inserted by the current transaction.
pub fn set_current_xact_test(
    ops: &mut pg_sys::TupleTableSlotOps,
    test: unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot) -> bool,
) {
    ops.is_current_xact_tuple = Some(test);
}
