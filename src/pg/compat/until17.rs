//! PostgreSQL 15 to 17.

use pgrx::pg_sys;

/// `index_beginscan` without order-by keys.
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
    unsafe { pg_sys::index_beginscan(table, index, snapshot, keys, 0) }
}

/// Slots have no such operation before 18.
pub fn set_current_xact_test(
    _ops: &mut pg_sys::TupleTableSlotOps,
    _test: unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot) -> bool,
) {
}
