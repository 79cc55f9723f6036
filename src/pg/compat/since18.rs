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

/// Fills the core part of a parallel scan's shared state.
///
/// # Safety
/// Both must be valid.
pub unsafe fn init_parallel_scan(relation: pg_sys::Relation, shared: *mut pg_sys::ParallelTableScanDescData) {
    // SAFETY: the caller's promise.
    unsafe {
        (*shared).phs_locator = (*relation).rd_locator;
        (*shared).phs_syncscan = false;
    }
}

/// From 18 on bitmap scans leave prefetching to the access method.
///
/// # Safety
/// None.
pub unsafe fn stop_bitmap_prefetch(_scan: *mut pg_sys::BitmapHeapScanState) {}

/// The front of `struct pg_locale_struct` (utils/pg_locale.h).
#[repr(C)]
struct LocaleFront {
    provider: std::ffi::c_char,
    deterministic: bool,
    collate_is_c: bool,
}

crate::pg::externs::guarded! {
    /// The locale of a collation, which is kept for the session (utils/pg_locale.h).
    fn pg_newlocale_from_collation(collation: pg_sys::Oid) -> *const std::ffi::c_void;
}

/// Whether a collation compares bytes.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn collation_is_c(collation: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise; the locale starts with these fields.
    unsafe {
        pg_newlocale_from_collation(collation).cast::<LocaleFront>().as_ref().is_some_and(|locale| locale.collate_is_c)
    }
}
