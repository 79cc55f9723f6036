//! Fetching rows for index scans.

use super::reader::RowReader;
use super::snapshot_stripes::SnapshotStripes;
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
    stripes: SnapshotStripes,
    dead: Doubt,
    /// What has read the last row.
    last: Option<RowReader>,
}

/// Whether to ask if a row is dead to all. That costs as much as looking a row up, and while an old snapshot lives the answer is no for
/// most: after each no twice as many rows are not asked about, after a yes all are.
#[derive(Default)]
struct Doubt {
    skip: u32,
    skipped: u32,
}

impl Doubt {
    /// Rows that are not asked about between two that are, at most.
    const MOST: u32 = 64;

    fn asks(&mut self) -> bool {
        self.skipped += 1;
        self.skipped > self.skip
    }

    fn learn(&mut self, is_dead: bool) {
        self.skipped = 0;
        self.skip = if is_dead { 0 } else { (self.skip * 2).clamp(1, Self::MOST) };
    }
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
        (&raw mut (*fetch).state).write(ContextOwned::bind(FetchState {
            store: None,
            checked: false,
            stripes: SnapshotStripes::default(),
            dead: Doubt::default(),
            last: None,
        }));
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
        let stripes = &mut state.stripes;
        slot::fetch_with(store, row, slot, &mut state.last, || lookup::find_among(store, row, snapshot, stripes))
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
        // Core takes no notice of the answer on a standby.
        if !state.dead.asks() || crate::pg::server::in_recovery() {
            return false;
        }
        let horizon = Horizon::recent(store.table());
        let is_dead = lookup::dead_to_all_among(store, row, horizon, &mut state.stripes).is_some();
        state.dead.learn(is_dead);
        is_dead
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn asked(doubt: &mut Doubt, rows: u32, is_dead: bool) -> u32 {
        let mut asked = 0;
        for _ in 0..rows {
            if doubt.asks() {
                asked += 1;
                doubt.learn(is_dead);
            }
        }
        asked
    }

    #[test]
    fn asks_less_while_rows_live_and_always_when_they_are_dead() {
        let mut doubt = Doubt::default();
        assert_eq!(asked(&mut doubt, 100, true), 100);
        let few = asked(&mut doubt, 10_000, false);
        assert!((100..200).contains(&few), "{few}");
        let after_a_hit = asked(&mut doubt, 1000, true);
        assert!(after_a_hit >= 1000 - Doubt::MOST, "{after_a_hit}");
    }
}
