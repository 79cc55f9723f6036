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

/// ANALYZE prefetches blocks of the main fork, which a columnar table does not have; beyond the first gigabyte of virtual
/// blocks that is an error. In an autovacuum worker nobody but ANALYZE and VACUUM loses by prefetching nothing.
pub fn avoid_prefetch_in_autovacuum() {
    // SAFETY: a plain test and a plain variable of this process.
    unsafe {
        if is_autovacuum_worker() {
            pg_sys::maintenance_io_concurrency = 0;
        }
    }
}

/// # Safety
/// None beyond running in a backend.
unsafe fn is_autovacuum_worker() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::MyBackendType == pg_sys::BackendType::B_AUTOVAC_WORKER }
}

static SAVED_CONCURRENCY: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// Stops prefetching until [`restore_prefetch`], for the reason that [`avoid_prefetch_in_autovacuum`] gives.
pub fn stop_prefetch() {
    // SAFETY: a plain variable of this process.
    unsafe {
        let previous = pg_sys::maintenance_io_concurrency;
        if SAVED_CONCURRENCY.load(std::sync::atomic::Ordering::Relaxed) < 0 {
            SAVED_CONCURRENCY.store(previous, std::sync::atomic::Ordering::Relaxed);
        }
        pg_sys::maintenance_io_concurrency = 0;
    }
}

/// Undoes [`stop_prefetch`]: after the command, or when its transaction aborts.
pub fn restore_prefetch() {
    let saved = SAVED_CONCURRENCY.swap(-1, std::sync::atomic::Ordering::Relaxed);
    if saved >= 0 {
        // SAFETY: a plain variable of this process.
        unsafe { pg_sys::maintenance_io_concurrency = saved };
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
