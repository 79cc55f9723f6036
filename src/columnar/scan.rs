//! Table scans: sequential, parallel, TID range, bitmap, sample and ANALYZE.

mod parts;

use super::block::BlockRows;
use super::cursor::{self, All, Cursor, Filter, Sequential, Units};
use super::key::{MAX_BLOCKS, RowNumber};
use super::store::Store;
use super::{metapage, tid, write_buffer};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::memory::ContextOwned;
use crate::pg::snapshot::Snap;
use crate::pg::{Rel, heap};
use pgrx::pg_sys;
use std::sync::atomic::{AtomicU64, Ordering};

pub use parts::{next_part, part_column, part_row};

/// A scan: core's part, then ours.
#[repr(C)]
pub struct ColumnarScan {
    /// Core's part.
    pub base: pg_sys::TableScanDescData,
    state: ContextOwned<ScanState>,
}

/// State that must not outlive the query, whichever way it ends.
pub struct ScanState {
    store: Option<Store>,
    snapshot: Snap,
    cursor: Option<AnyCursor>,
    filter: Option<Box<dyn Filter>>,
    block: BlockRows,
    /// Next row of the loaded block.
    index: usize,
    /// Row of the loaded block that a TID range scan has returned last; -1 before the first one.
    current: i64,
    range: Option<(RowNumber, RowNumber)>,
    sample_block: Option<u32>,
    blocks: u32,
}

impl Drop for ScanState {
    fn drop(&mut self) {
        // Only reached with a store after an ERROR; `end` closes it otherwise.
        if let Some(store) = self.store.take() {
            store.abandon();
        }
    }
}

/// What parallel workers share, behind core's part.
#[repr(C)]
pub struct SharedScan {
    base: pg_sys::ParallelTableScanDescData,
    next_block: u32,
    next_unit: AtomicU64,
}

/// Size of the shared part.
pub const SHARED_SIZE: usize = size_of::<SharedScan>();

/// Prepares the shared part for a scan.
///
/// # Safety
/// `shared` must point to [`SHARED_SIZE`] writable bytes.
pub unsafe fn initialize_shared(table: Rel, shared: pg_sys::ParallelTableScanDesc) {
    write_buffer::settle(table);
    // SAFETY: the caller's promise.
    unsafe {
        let shared = shared.cast::<SharedScan>();
        crate::pg::compat::init_parallel_scan(table.raw(), &raw mut (*shared).base);
        (*shared).next_block = metapage::next_block(table);
        (&raw mut (*shared).next_unit).write(AtomicU64::new(0));
    }
}

/// Starts the shared part over.
///
/// # Safety
/// `shared` must have been initialised.
pub unsafe fn reinitialize_shared(shared: pg_sys::ParallelTableScanDesc) {
    // SAFETY: the caller's promise.
    unsafe { (*shared.cast::<SharedScan>()).next_unit.store(0, Ordering::Relaxed) }
}

/// Takes units in turn with the other workers.
pub struct Shared(*const SharedScan);

impl Shared {
    /// # Safety
    /// `shared` must have been initialised and stay mapped.
    pub unsafe fn new(shared: pg_sys::ParallelTableScanDesc) -> Self {
        Self(shared.cast())
    }

    /// Where the row numbers end for all workers.
    pub fn next_block(&self) -> u32 {
        // SAFETY: `new` was promised an initialised descriptor.
        unsafe { (*self.0).next_block }
    }
}

impl Units for Shared {
    fn following(&mut self, _current: i64, _forward: bool) -> i64 {
        // SAFETY: `new` was promised an initialised descriptor.
        unsafe { (*self.0).next_unit.fetch_add(1, Ordering::Relaxed) as i64 }
    }
}

/// Alone without a shared part.
impl Units for Option<Shared> {
    fn following(&mut self, current: i64, forward: bool) -> i64 {
        match self {
            Some(shared) => shared.following(current, forward),
            None => Sequential.following(current, forward),
        }
    }
}

/// Begins a scan.
///
/// # Safety
/// Arguments as core passes them to `scan_begin`.
pub unsafe fn begin(
    table: Rel,
    snapshot: pg_sys::Snapshot,
    parallel: pg_sys::ParallelTableScanDesc,
    flags: u32,
) -> pg_sys::TableScanDesc {
    write_buffer::settle(table);
    // SAFETY: the caller's promise; the descriptor is zeroed and its fields set before use.
    unsafe {
        let seen = if snapshot.is_null() { Snap::latest() } else { Snap::new(snapshot) };
        // A bitmap scan notes the rows that it is about to read, a TID scan each row when it fetches it.
        if flags & (pg_sys::ScanOptions::SO_TYPE_BITMAPSCAN | pg_sys::ScanOptions::SO_TYPE_TIDSCAN) == 0 {
            heap::note_serializable_read(table, seen);
        }
        if flags & pg_sys::ScanOptions::SO_TYPE_SEQSCAN != 0 {
            crate::pg::compat::count_scan(table.raw());
        }
        let scan = pg_sys::palloc0(size_of::<ColumnarScan>()).cast::<ColumnarScan>();
        (*scan).base.rs_rd = table.raw();
        (*scan).base.rs_snapshot = snapshot;
        (*scan).base.rs_flags = flags;
        (*scan).base.rs_parallel = parallel;
        let store = Store::open(table);
        if let Some(store) = &store {
            cursor::check_rewrite(store, seen);
        }
        pg_sys::RelationIncrementReferenceCount(table.raw());
        (&raw mut (*scan).state).write(ContextOwned::bind(ScanState {
            store,
            snapshot: seen,
            cursor: None,
            filter: None,
            block: BlockRows::default(),
            index: 0,
            current: -1,
            range: None,
            sample_block: None,
            blocks: metapage::next_block(table),
        }));
        scan.cast()
    }
}

/// Makes a sequential or parallel scan that has not returned anything yet read only what a filter wants.
///
/// # Safety
/// As for [`state`].
pub unsafe fn set_filter(scan: pg_sys::TableScanDesc, filter: Box<dyn Filter>) {
    // SAFETY: the caller's promise.
    unsafe { state(scan) }.filter = Some(filter);
}

/// # Safety
/// `scan` must come from [`begin`] and not have ended.
unsafe fn state<'a>(scan: pg_sys::TableScanDesc) -> &'a mut ScanState {
    // SAFETY: the caller's promise.
    match unsafe { (*scan.cast::<ColumnarScan>()).state.get() } {
        Some(state) => state,
        None => OrochiError::Internal("a scan was used after its end".into()).raise(),
    }
}

/// Ends a scan.
///
/// # Safety
/// `scan` must come from [`begin`].
pub unsafe fn end(scan: pg_sys::TableScanDesc) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(mut state) = (*scan.cast::<ColumnarScan>()).state.take() {
            drop(state.store.take());
            pg_sys::RelationDecrementReferenceCount((*scan).rs_rd);
        }
        if (*scan).rs_flags & pg_sys::ScanOptions::SO_TEMP_SNAPSHOT != 0 {
            pg_sys::UnregisterSnapshot((*scan).rs_snapshot);
        }
        pg_sys::pfree(scan.cast());
    }
}

/// Starts a scan over.
///
/// # Safety
/// As for [`state`].
pub unsafe fn rescan(scan: pg_sys::TableScanDesc) {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    if let Some(cursor) = &mut state.cursor {
        cursor.rewind();
    }
    state.range = None;
    state.sample_block = None;
    // Nothing is left of the block: a bitmap scan goes on within it until it is used up.
    state.block.clear();
    state.index = 0;
}

/// A cursor with whatever filter the scan was given.
pub type AnyCursor = Cursor<Box<dyn Filter>>;

type Ready<'a> = (&'a Store, &'a mut AnyCursor, Option<Shared>);

/// What a sequential or parallel scan reads with: its store, its cursor, which is made if need be, and whoever gives out units. `None` for a table
/// without a store.
///
/// # Safety
/// As for [`state`].
unsafe fn ready<'a>(scan: pg_sys::TableScanDesc) -> Result<Option<Ready<'a>>, OrochiError> {
    // SAFETY: the caller's promise; the shared part was initialised.
    unsafe {
        let parallel = (*scan).rs_parallel;
        let units = (!parallel.is_null()).then(|| Shared::new(parallel));
        let ScanState { store, snapshot, cursor, filter, blocks, .. } = state(scan);
        let Some(store) = store else { return Ok(None) };
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => {
                let filter = filter.take().unwrap_or_else(|| Box::new(All));
                let next_block = units.as_ref().map_or(*blocks, Shared::next_block);
                cursor.insert(Cursor::new(store, *snapshot, filter, next_block)?)
            }
        };
        Ok(Some((store, cursor, units)))
    }
}

/// Next row of a sequential or parallel scan.
///
/// # Safety
/// As for [`state`]; `slot` must be one of ours, of the table's row type.
pub unsafe fn next(scan: pg_sys::TableScanDesc, forward: bool, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let found = match ready(scan).or_raise() {
            Some((store, cursor, mut units)) => cursor.next(store, &mut units, forward, slot).or_raise(),
            None => false,
        };
        if found {
            crate::pg::compat::count_scan_rows((*scan).rs_rd, 1);
        } else {
            pg_sys::ExecClearTuple(slot);
        }
        found
    }
}

/// Next row of a sequential or parallel scan if it is at hand; otherwise false, and [`next`] has to be called. Goes forward only, and calls
/// nothing that can fail.
///
/// # Safety
/// As for [`next`], which must have filled the slot last.
#[inline]
pub unsafe fn next_ready(scan: pg_sys::TableScanDesc, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    unsafe { counted(scan, |cursor| cursor.next_ready(slot)) }
}

/// The same for columns of a row that needs no further look at the filter's conditions: see [`Cursor::next_projected`].
///
/// # Safety
/// As for [`next_ready`], and as [`Cursor::next_projected`] says of the result.
#[inline]
pub unsafe fn next_projected(
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    result: *mut pg_sys::TupleTableSlot,
    places: &[Option<u16>],
) -> bool {
    // SAFETY: the caller's promise.
    unsafe { counted(scan, |cursor| cursor.next_projected(slot, result, places)) }
}

/// Takes a row from the cursor of a scan, if it has one, and counts it.
///
/// # Safety
/// As for [`state`].
#[inline]
unsafe fn counted(scan: pg_sys::TableScanDesc, take: impl FnOnce(&mut AnyCursor) -> bool) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let cursor = (*scan.cast::<ColumnarScan>()).state.get().and_then(|state| state.cursor.as_mut());
        let found = cursor.is_some_and(take);
        if found {
            crate::pg::compat::count_scan_rows((*scan).rs_rd, 1);
        }
        found
    }
}

/// Limits a TID range scan.
///
/// # Safety
/// As for [`state`]; both TIDs must be valid pointers.
pub unsafe fn set_range(scan: pg_sys::TableScanDesc, low: pg_sys::ItemPointer, high: pg_sys::ItemPointer) {
    // SAFETY: the caller's promise.
    unsafe {
        let state = state(scan);
        let (from, to) = (pgrx::itemptr::item_pointer_get_both(*low), pgrx::itemptr::item_pointer_get_both(*high));
        state.range = Some((lower_bound(from), upper_bound(to)));
        state.sample_block = None;
    }
}

fn lower_bound((block, offset): (u32, u16)) -> RowNumber {
    let start = super::key::block_start(block.min(MAX_BLOCKS)).0;
    RowNumber(start + u64::from(offset.saturating_sub(1)).min(super::key::ROWS_PER_BLOCK))
}

/// The first row number beyond the range.
fn upper_bound((block, offset): (u32, u16)) -> RowNumber {
    let start = super::key::block_start(block.min(MAX_BLOCKS)).0;
    RowNumber(start + u64::from(offset).min(super::key::ROWS_PER_BLOCK))
}

/// Next row of a TID range scan.
///
/// # Safety
/// As for [`next`].
pub unsafe fn next_in_range(scan: pg_sys::TableScanDesc, forward: bool, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    let (Some(store), Some((low, high))) = (&state.store, state.range) else { return false };
    let high = high.min(super::key::block_start(state.blocks));
    loop {
        let block = match state.sample_block {
            Some(block) => block,
            None if low >= high => return false,
            None => {
                let block = if forward { low.block() } else { RowNumber(high.0 - 1).block() };
                state.block.load(store, block, state.snapshot).or_raise();
                state.current = if forward { -1 } else { state.block.len() as i64 };
                state.sample_block = Some(block);
                block
            }
        };
        let current = if forward { state.current + 1 } else { state.current - 1 };
        if let Ok(index) = usize::try_from(current)
            && let Some(row) = state.block.number(index)
        {
            state.current = current;
            let fits = low <= row && row < high;
            // SAFETY: the caller's promise.
            if fits && unsafe { state.block.fetch(store, index, state.snapshot, slot) }.or_raise() {
                return true;
            }
            continue;
        }
        let next = if forward { Some(block + 1) } else { block.checked_sub(1) };
        let last = RowNumber(high.0 - 1).block();
        let Some(next) = next.filter(|b| (low.block()..=last).contains(b)) else {
            // Beyond the last row, so that the other direction finds it.
            state.current = current.clamp(-1, state.block.len() as i64);
            return false;
        };
        pgrx::check_for_interrupts!();
        state.block.load(store, next, state.snapshot).or_raise();
        state.current = if forward { -1 } else { state.block.len() as i64 };
        state.sample_block = Some(next);
    }
}

/// Loads a block, or only the listed offsets of it, for a bitmap, sample or ANALYZE; false if it has no rows.
///
/// # Safety
/// As for [`state`].
pub unsafe fn load_block(scan: pg_sys::TableScanDesc, block: u32, only: Option<&[u16]>) -> bool {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    let Some(store) = &state.store else { return false };
    if block >= MAX_BLOCKS {
        return false;
    }
    // SAFETY: the caller's promise.
    if unsafe { (*scan).rs_flags } & pg_sys::ScanOptions::SO_TYPE_BITMAPSCAN != 0 {
        note_bitmap_read(store.table(), block, only, state.snapshot);
    }
    state.block.load(store, block, state.snapshot).or_raise();
    if let Some(offsets) = only {
        state.block.retain(offsets);
    }
    state.index = 0;
    state.sample_block = Some(block);
    state.block.len() > 0
}

/// Notes what a serializable transaction is about to read of a block: the rows, or the whole table if they are not known.
fn note_bitmap_read(table: Rel, block: u32, only: Option<&[u16]>, snapshot: Snap) {
    let Some(offsets) = only else { return heap::note_serializable_read(table, snapshot) };
    if heap::is_serializable() {
        for row in offsets.iter().filter_map(|offset| RowNumber::from_block_offset(block, *offset)) {
            heap::note_serializable_row_read(table, tid::to_tid(row), snapshot);
        }
    }
}

/// Next row of the loaded block, whatever its offset.
///
/// # Safety
/// As for [`next`].
pub unsafe fn next_in_block(scan: pg_sys::TableScanDesc, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    let Some(store) = &state.store else { return false };
    while state.index < state.block.len() {
        state.index += 1;
        // SAFETY: the caller's promise.
        if unsafe { state.block.fetch(store, state.index - 1, state.snapshot, slot) }.or_raise() {
            return true;
        }
    }
    false
}

/// The row at an offset of the loaded block.
///
/// # Safety
/// As for [`next`].
pub unsafe fn at_offset(scan: pg_sys::TableScanDesc, offset: u16, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    let (Some(store), Some(block)) = (&state.store, state.sample_block) else { return false };
    let Some(row) = RowNumber::from_block_offset(block, offset) else { return false };
    let index = state.block.at_or_after(row);
    // SAFETY: the caller's promise.
    state.block.number(index) == Some(row)
        && unsafe { state.block.fetch(store, index, state.snapshot, slot) }.or_raise()
}

/// Number of virtual blocks of the table when the scan began.
///
/// # Safety
/// As for [`state`].
pub unsafe fn blocks(scan: pg_sys::TableScanDesc) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { state(scan) }.blocks
}

/// The loaded block.
///
/// # Safety
/// As for [`state`].
pub unsafe fn loaded_block(scan: pg_sys::TableScanDesc) -> Option<u32> {
    // SAFETY: the caller's promise.
    unsafe { state(scan) }.sample_block
}

/// Greatest offset that a row of the loaded block has, 0 if it has no rows.
///
/// # Safety
/// As for [`state`].
pub unsafe fn max_offset(scan: pg_sys::TableScanDesc) -> u16 {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    state.block.len().checked_sub(1).and_then(|last| state.block.number(last)).map_or(0, RowNumber::offset)
}

/// True if a TID could be that of a row.
///
/// # Safety
/// As for [`state`].
pub unsafe fn tid_valid(scan: pg_sys::TableScanDesc, row_tid: pg_sys::ItemPointerData) -> bool {
    // SAFETY: the caller's promise.
    let state = unsafe { state(scan) };
    tid::from_tid(row_tid).is_some_and(|row| row.block() < state.blocks.max(metapage_blocks(state)))
}

fn metapage_blocks(state: &ScanState) -> u32 {
    state.store.as_ref().map_or(0, |store| metapage::next_block(store.table()))
}
