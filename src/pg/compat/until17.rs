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

/// Keeps bitmap scans of some tables from prefetching blocks of the main fork, which those tables do not have.
///
/// # Safety
/// `root` must be the initialised plan of a query.
pub unsafe fn stop_bitmap_prefetch(root: *mut pg_sys::PlanState, of: fn(pg_sys::Relation) -> bool) {
    #[pgrx::pg_guard]
    unsafe extern "C-unwind" fn visit(node: *mut pg_sys::PlanState, context: *mut std::ffi::c_void) -> bool {
        // SAFETY: the walker passes valid nodes, and the context is the predicate that it was started with.
        unsafe {
            let of = *context.cast::<fn(pg_sys::Relation) -> bool>();
            if (*node).type_ == pg_sys::NodeTag::T_BitmapHeapScanState {
                let scan = node.cast::<pg_sys::BitmapHeapScanState>();
                if of((*scan).ss.ss_currentRelation) {
                    (*scan).prefetch_maximum = 0;
                }
            }
            #[cfg(feature = "pg15")]
            return pg_sys::planstate_tree_walker(node, Some(visit), context);
            #[cfg(not(feature = "pg15"))]
            return pg_sys::planstate_tree_walker_impl(node, Some(visit), context);
        }
    }
    let mut of = of;
    // SAFETY: the caller's promise.
    unsafe {
        if !root.is_null() {
            visit(root, (&raw mut of).cast());
        }
    }
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
