//! Fetching rows for index scans.

use super::store::Store;
use super::{cursor, lookup, slot, tid, write_buffer};
use crate::pg::horizon::Horizon;
use crate::pg::memory::ContextOwned;
use crate::pg::snapshot::Snap;
use crate::pg::{Rel, heap};
use pgrx::pg_sys;

/// A fetch: core's part, then ours.
#[repr(C)]
pub struct ColumnarFetch {
    base: pg_sys::IndexFetchTableData,
    state: ContextOwned<FetchState>,
}

struct FetchState {
    store: Option<Store>,
    checked: bool,
}

impl Drop for FetchState {
    fn drop(&mut self) {
        // Only reached with a store after an ERROR; `end` and `reset` close it otherwise.
        if let Some(store) = self.store.take() {
            store.abandon();
        }
    }
}

/// Begins fetching.
///
/// # Safety
/// `table` must stay open until [`end`].
pub unsafe fn begin(table: Rel) -> *mut pg_sys::IndexFetchTableData {
    // SAFETY: zeroed memory of the right size, filled before use.
    unsafe {
        let fetch = pg_sys::palloc0(size_of::<ColumnarFetch>()).cast::<ColumnarFetch>();
        (*fetch).base.rel = table.raw();
        (&raw mut (*fetch).state).write(ContextOwned::bind(FetchState { store: None, checked: false }));
        fetch.cast()
    }
}

/// Lets go of what is held between fetches.
///
/// # Safety
/// `fetch` must come from [`begin`].
pub unsafe fn reset(fetch: *mut pg_sys::IndexFetchTableData) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(state) = (*fetch.cast::<ColumnarFetch>()).state.get() {
            drop(state.store.take());
        }
    }
}

/// Ends fetching.
///
/// # Safety
/// `fetch` must come from [`begin`].
pub unsafe fn end(fetch: *mut pg_sys::IndexFetchTableData) {
    // SAFETY: the caller's promise.
    unsafe {
        reset(fetch);
        drop((*fetch.cast::<ColumnarFetch>()).state.take());
        pg_sys::pfree(fetch.cast());
    }
}

/// Fetches the row at a TID; false if the snapshot does not see it.
///
/// # Safety
/// `fetch` must come from [`begin`]; `slot` must be one of ours, of the table's row type.
pub unsafe fn fetch(
    fetch: *mut pg_sys::IndexFetchTableData,
    row_tid: pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    let Some(row) = tid::from_tid(row_tid) else { return false };
    // SAFETY: the caller's promise.
    unsafe {
        let table = Rel::new((*fetch).rel);
        let Some(state) = (*fetch.cast::<ColumnarFetch>()).state.get() else { return false };
        let snapshot = Snap::new(snapshot);
        write_buffer::settle_row(table, row);
        if state.store.is_none() {
            state.store = Store::open(table);
        }
        let Some(store) = &state.store else { return false };
        if !state.checked {
            state.checked = true;
            cursor::check_rewrite(store, snapshot);
        }
        heap::note_serializable_row_read(table, row_tid, snapshot);
        slot::fetch(store, row, snapshot, slot)
    }
}

/// True if no snapshot can see the row at a TID any more. The index then skips its entry in future, and drops it when it needs room.
///
/// # Safety
/// `fetch` must come from [`begin`], and [`fetch`](fn@fetch) must have been asked for the row.
pub unsafe fn is_dead_to_all(fetch: *mut pg_sys::IndexFetchTableData, row_tid: pg_sys::ItemPointerData) -> bool {
    let Some(row) = tid::from_tid(row_tid) else { return false };
    // SAFETY: the caller's promise.
    unsafe {
        let Some(state) = (*fetch.cast::<ColumnarFetch>()).state.get() else { return false };
        let Some(store) = &state.store else { return false };
        lookup::dead_to_all(store, row, Horizon::recent(store.table())).is_some()
    }
}
