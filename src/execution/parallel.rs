//! Sharing a scan among workers: who takes which part, and what all of them have read.

use super::node;
use super::zone_filter::Counts;
use crate::columnar::scan;
use crate::pg::error::OrochiError;
use pgrx::pg_guard;
use pgrx::pg_sys::*;
use std::ffi::c_void;

/// The counts come first in shared memory, the access method's part after them, aligned as PostgreSQL's allocators align.
const SCAN_OFFSET: usize = size_of::<Counts>().next_multiple_of(8);

#[pg_guard]
pub unsafe extern "C-unwind" fn estimate(node: *mut CustomScanState, _context: *mut ParallelContext) -> Size {
    // SAFETY: core's arguments.
    unsafe {
        let snapshot = (*(*node).ss.ps.state).es_snapshot;
        SCAN_OFFSET + table_parallelscan_estimate((*node).ss.ss_currentRelation, snapshot)
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn initialize(
    node: *mut CustomScanState,
    _context: *mut ParallelContext,
    shared: *mut c_void,
) {
    // SAFETY: core's arguments; the memory is as large as `estimate` said.
    unsafe {
        shared.cast::<Counts>().write(Counts::default());
        let snapshot = (*(*node).ss.ps.state).es_snapshot;
        table_parallelscan_initialize((*node).ss.ss_currentRelation, scan_part(shared), snapshot);
        attach(node, shared);
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn reinitialize(
    _node: *mut CustomScanState,
    _context: *mut ParallelContext,
    shared: *mut c_void,
) {
    // SAFETY: core's arguments; initialised before. What was read so far still counts.
    unsafe { scan::reinitialize_shared(scan_part(shared)) }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn initialize_worker(node: *mut CustomScanState, _toc: *mut shm_toc, shared: *mut c_void) {
    // SAFETY: core's arguments; the leader has initialised the memory.
    unsafe { attach(node, shared) }
}

/// Called when no more rows are wanted, before the shared memory goes.
#[pg_guard]
pub unsafe extern "C-unwind" fn shutdown(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        let desc = (*node).ss.ss_currentScanDesc;
        if !desc.is_null() && !(*desc).rs_parallel.is_null() {
            let state = node::state(node);
            state.filter.0.borrow_mut().unshare();
            state.finished = true;
        }
    }
}

/// # Safety
/// `shared` must be the node's shared memory.
unsafe fn scan_part(shared: *mut c_void) -> ParallelTableScanDesc {
    // SAFETY: the caller's promise.
    unsafe { shared.byte_add(SCAN_OFFSET).cast() }
}

/// Begins this process's part of the scan.
///
/// # Safety
/// `shared` must be the node's shared memory, initialised.
unsafe fn attach(node: *mut CustomScanState, shared: *mut c_void) {
    // SAFETY: the caller's promise. The counts outlive their use: `shutdown` comes before the memory goes.
    unsafe {
        node::end_scan(node);
        let old = MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
        let desc = table_beginscan_parallel((*node).ss.ss_currentRelation, scan_part(shared));
        MemoryContextSwitchTo(old);
        (*node).ss.ss_currentScanDesc = desc;
        let state = node::state(node);
        state.finished = false;
        match shared.cast::<Counts>().as_ref() {
            Some(counts) => state.filter.0.borrow_mut().share(counts),
            None => OrochiError::Internal("a parallel scan has no shared memory".into()).raise(),
        }
        scan::set_filter(desc, Box::new(state.filter.clone()));
    }
}
