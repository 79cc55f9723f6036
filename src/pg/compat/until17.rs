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

/// Fills the core part of a parallel scan's shared state.
///
/// # Safety
/// Both must be valid.
pub unsafe fn init_parallel_scan(relation: pg_sys::Relation, shared: *mut pg_sys::ParallelTableScanDescData) {
    // SAFETY: the caller's promise.
    unsafe {
        (*shared).phs_relid = (*relation).rd_id;
        (*shared).phs_syncscan = false;
    }
}

/// Keeps a bitmap scan from prefetching blocks of the main fork, which some tables do not have.
///
/// # Safety
/// `scan` must be valid.
pub unsafe fn stop_bitmap_prefetch(scan: *mut pg_sys::BitmapHeapScanState) {
    // SAFETY: the caller's promise.
    unsafe { (*scan).prefetch_maximum = 0 };
}

crate::pg::externs::guarded! {
    /// Whether a collation compares bytes (utils/pg_locale.h).
    fn lc_collate_is_c(collation: pg_sys::Oid) -> bool;
}

/// Whether a collation compares bytes.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn collation_is_c(collation: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise.
    unsafe { lc_collate_is_c(collation) }
}
