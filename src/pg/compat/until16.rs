//! PostgreSQL 15 and 16.

use crate::pg::Rel;
use pgrx::pg_sys;

/// Slots have no such operation before 17.
pub fn set_current_xact_test(
    _ops: &mut pg_sys::TupleTableSlotOps,
    _test: unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot) -> bool,
) {
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

/// Before 17 nothing combines reads. Blocks that follow each other the system reads ahead by itself, and to be asked for each of them costs it
/// more than it gains.
pub const HAS_READ_STREAMS: bool = false;

/// Leaves it to the system what is read ahead: see [`HAS_READ_STREAMS`].
pub fn read_blocks(_relation: Rel, _blocks: &[pg_sys::BlockNumber]) {}

/// Whether what a snapshot sees may be removed before the snapshot is gone (`old_snapshot_threshold`).
pub fn snapshots_expire() -> bool {
    // SAFETY: a setting that is fixed while the server runs.
    unsafe { pg_sys::old_snapshot_threshold >= 0 }
}
