//! Building and validating indexes.

use super::block::BlockRows;
use super::cursor::{All, Cursor, Plan, Sequential, Unit, Units};
use super::dead_set::DeadSet;
use super::key::{Item, KeyRange, MAX_BLOCKS, RowNumber};
use super::reader::RowReader;
use super::scan::Shared;
use super::slot::{self, OwnSlot};
use super::store::{Store, Stored};
use super::{lookup, metapage, row, stripe, tid, write_buffer};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::executor::IndexEval;
use crate::pg::horizon::Horizon;
use crate::pg::snapshot::{Kind, Snap};
use crate::pg::{Rel, compat};
use pgrx::pg_sys;

/// What core passes to an index build.
pub struct Build {
    /// The table.
    pub table: Rel,
    /// The index.
    pub index: pg_sys::Relation,
    /// Its description.
    pub info: *mut pg_sys::IndexInfo,
    /// Takes one entry.
    pub callback: pg_sys::IndexBuildCallback,
    /// Passed to the callback.
    pub state: *mut std::ffi::c_void,
}

/// Hands rows to the index.
struct Sink<'a> {
    build: &'a Build,
    eval: IndexEval,
    slot: OwnSlot,
    alive: f64,
}

impl Sink<'_> {
    /// Hands over the row in the slot.
    fn take(&mut self, row: RowNumber, alive: bool) {
        if alive {
            self.alive += 1.0;
        }
        if !self.eval.form() {
            return;
        }
        let mut row_tid = tid::to_tid(row);
        if let Some(callback) = self.build.callback {
            let (values, nulls) = (self.eval.values.as_mut_ptr(), self.eval.nulls.as_mut_ptr());
            // SAFETY: core's callback, with what it expects.
            unsafe {
                pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
                    callback(self.build.index, &mut row_tid, values, nulls, alive, self.build.state)
                });
            }
        }
    }
}

/// The rows to index.
pub enum Extent {
    /// All; `shared` and its snapshot if workers share the build.
    Whole(Option<(Shared, pg_sys::Snapshot)>),
    /// The virtual blocks `first..first + count`, whoever sees their rows.
    Blocks(u32, u32),
}

/// Builds an index; returns the number of living rows.
///
/// # Safety
/// `build` must hold what core passed.
pub unsafe fn build(build: &Build, extent: Extent) -> f64 {
    write_buffer::settle(build.table);
    let Some(store) = Store::open(build.table) else { return 0.0 };
    // TRUNCATE has emptied the companion, but not yet its index.
    if store.companion().physical_blocks() == 0 {
        return 0.0;
    }
    let slot = OwnSlot::new(&store);
    // SAFETY: the caller's promise; the slot outlives the evaluator.
    let eval = unsafe { IndexEval::new(build.info, slot.raw()) };
    let mut sink = Sink { build, eval, slot, alive: 0.0 };
    match extent {
        Extent::Blocks(first, count) => blocks(&store, &mut sink, first, count).or_raise(),
        // Sorted stripes have their rows in any order, and BRIN takes it that blocks ascend.
        // SAFETY: the caller's promise; an open index has its pg_class row.
        Extent::Whole(None) if unsafe { (*(*build.index).rd_rel).relam } == pg_sys::BRIN_AM_OID => {
            blocks(&store, &mut sink, 0, MAX_BLOCKS).or_raise();
        }
        Extent::Whole(shared) => {
            // SAFETY: the caller's promise.
            let concurrent = unsafe { (*build.info).ii_Concurrent };
            whole(&store, &mut sink, shared, concurrent).or_raise();
        }
    }
    let Sink { eval, alive, .. } = sink;
    eval.end();
    alive
}

fn whole(
    store: &Store,
    sink: &mut Sink,
    shared: Option<(Shared, pg_sys::Snapshot)>,
    concurrent: bool,
) -> Result<(), OrochiError> {
    match shared {
        Some((mut units, snapshot)) => {
            let next_block = units.next_block();
            // SAFETY: the scan that workers share keeps its snapshot.
            let snapshot = unsafe { Snap::new(snapshot) };
            if snapshot.kind() == Kind::Mvcc {
                visible(store, sink, snapshot, &mut units, next_block)
            } else {
                everything(store, sink, &mut units, next_block)
            }
        }
        None if concurrent => {
            // SAFETY: registered and unregistered around the scan; after an ERROR the resource owner does it.
            let raw = unsafe { pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) };
            // SAFETY: just registered.
            let snapshot = unsafe { Snap::new(raw) };
            visible(store, sink, snapshot, &mut Sequential, metapage::next_block(store.table()))?;
            // SAFETY: as above.
            unsafe { pg_sys::UnregisterSnapshot(raw) };
            Ok(())
        }
        None => everything(store, sink, &mut Sequential, metapage::next_block(store.table())),
    }
}

/// Indexes what an MVCC snapshot sees.
fn visible(
    store: &Store,
    sink: &mut Sink,
    snapshot: Snap,
    units: &mut impl Units,
    next_block: u32,
) -> Result<(), OrochiError> {
    let mut cursor = Cursor::new(store, snapshot, All, next_block)?;
    // SAFETY: the slot is one of ours, of the table's row type.
    while unsafe { cursor.next(store, units, true, sink.slot.raw())? } {
        // SAFETY: the cursor has set the slot's TID.
        if let Some(row) = tid::from_tid(unsafe { (*sink.slot.raw()).tts_tid }) {
            sink.take(row, true);
        }
    }
    Ok(())
}

/// Indexes every row that somebody may still see.
fn everything(store: &Store, sink: &mut Sink, units: &mut impl Units, next_block: u32) -> Result<(), OrochiError> {
    let horizon = Horizon::oldest(store.table());
    let plan = Plan::new(store, Snap::latest(), next_block)?;
    let mut current = -1;
    loop {
        current = units.following(current, true);
        match u64::try_from(current).ok().and_then(|unit| plan.unit(unit)) {
            None => return Ok(()),
            Some(Unit::Stripe(index)) => stripe_rows(store, sink, plan.describe(index))?,
            Some(Unit::Rows(first, last)) => row_store(store, sink, horizon, KeyRange::rows(first, last))?,
        }
    }
}

fn stripe_rows(store: &Store, sink: &mut Sink, described: stripe::Described) -> Result<(), OrochiError> {
    let stripe = stripe::open_described(store, described)?;
    let dead = DeadSet::of_stripe(store, &stripe.meta, Snap::latest());
    let mut reader = RowReader::for_scan(stripe.clone(), None);
    stripe.each_row(store, |row, at| {
        if stripe.is_deleted(store, at)? {
            return Ok(());
        }
        // SAFETY: the slot is one of ours, of the table's row type.
        unsafe {
            reader.fill(store, at, sink.slot.raw())?;
            (*sink.slot.raw()).tts_tid = tid::to_tid(row);
        }
        sink.take(row, !dead.contains(row));
        Ok(())
    })
}

fn row_store(store: &Store, sink: &mut Sink, horizon: Horizon, range: KeyRange) -> Result<(), OrochiError> {
    let mut items = store.scan(range, Snap::any());
    while let Some(mut stored) = items.next_any() {
        pgrx::check_for_interrupts!();
        let Item::Row { row, part: 0 } = stored.item else { continue };
        if let Some(alive) = indexable(store, &mut stored, row, horizon) {
            // SAFETY: the tuple is made in the slot's own context and handed to the slot.
            unsafe {
                let old = pg_sys::MemoryContextSwitchTo((*sink.slot.raw()).tts_mcxt);
                let tuple = row::tuple(store, row, &stored);
                pg_sys::MemoryContextSwitchTo(old);
                slot::store_tuple(sink.slot.raw(), tuple?);
            }
            sink.take(row, alive);
        }
    }
    Ok(())
}

/// Whether a row of the row store needs an index entry, and if so whether it is alive.
fn indexable(store: &Store, stored: &mut Stored, row: RowNumber, horizon: Horizon) -> Option<bool> {
    use pg_sys::HTSV_Result::*;
    match stored.pinned.vacuum_state(horizon) {
        HEAPTUPLE_DEAD => None,
        HEAPTUPLE_LIVE | HEAPTUPLE_INSERT_IN_PROGRESS => Some(true),
        // A row that the mover took away is indexed as a stripe row.
        _ if lookup::in_stripe_now(store, row) => None,
        _ => Some(false),
    }
}

/// Indexes the rows of some blocks, whoever sees them (BRIN summarises ranges so).
fn blocks(store: &Store, sink: &mut Sink, first: u32, count: u32) -> Result<(), OrochiError> {
    let end = first.saturating_add(count).min(MAX_BLOCKS).min(metapage::next_block(store.table()));
    let mut rows = BlockRows::default();
    for block in first..end {
        pgrx::check_for_interrupts!();
        rows.load(store, block, Snap::any())?;
        for index in 0..rows.len() {
            let Some(row) = rows.number(index) else { break };
            // SAFETY: the slot is one of ours, of the table's row type.
            if unsafe { rows.fetch(store, index, Snap::any(), sink.slot.raw())? } {
                sink.take(row, true);
            }
        }
    }
    Ok(())
}

/// Inserts the entries that a concurrently built index misses: second table scan of CREATE INDEX CONCURRENTLY.
///
/// # Safety
/// Arguments as core passes them to `index_validate_scan`.
pub unsafe fn validate(
    table: Rel,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    snapshot: pg_sys::Snapshot,
    state: *mut pg_sys::ValidateIndexState,
) {
    write_buffer::settle(table);
    let Some(store) = Store::open(table) else { return };
    // SAFETY: the caller's promise.
    let snapshot = unsafe { Snap::new(snapshot) };
    let slot = OwnSlot::new(&store);
    // SAFETY: the caller's promise; the slot outlives the evaluator.
    let mut eval = unsafe { IndexEval::new(info, slot.raw()) };
    // SAFETY: the sort holds the index's TIDs in order.
    let mut known = Known { sort: unsafe { (*state).tuplesort }, head: None, done: false };
    let mut rows = BlockRows::default();
    for block in 0..metapage::next_block(table) {
        pgrx::check_for_interrupts!();
        rows.load(&store, block, snapshot).or_raise();
        for position in 0..rows.len() {
            let Some(row) = rows.number(position) else { break };
            // SAFETY: `state` is core's.
            unsafe { (*state).htups += 1.0 };
            if known.contains(row) {
                continue;
            }
            // SAFETY: the slot is one of ours; the index is open for insertion.
            unsafe {
                if rows.fetch(&store, position, snapshot, slot.raw()).or_raise() && eval.form() {
                    insert_entry(index, table, info, row, &mut eval);
                    (*state).tups_inserted += 1.0;
                }
            }
        }
    }
    eval.end();
}

/// # Safety
/// Arguments must be those of [`validate`].
unsafe fn insert_entry(
    index: pg_sys::Relation,
    table: Rel,
    info: *mut pg_sys::IndexInfo,
    row: RowNumber,
    eval: &mut IndexEval,
) {
    use pg_sys::IndexUniqueCheck::{UNIQUE_CHECK_NO, UNIQUE_CHECK_YES};
    let mut row_tid = tid::to_tid(row);
    // SAFETY: the caller's promise.
    unsafe {
        let check = if (*info).ii_Unique { UNIQUE_CHECK_YES } else { UNIQUE_CHECK_NO };
        let (values, nulls) = (eval.values.as_mut_ptr(), eval.nulls.as_mut_ptr());
        pg_sys::index_insert(index, values, nulls, &mut row_tid, table.raw(), check, false, info);
    }
}

/// The TIDs that the index has, in order.
struct Known {
    sort: *mut pg_sys::Tuplesortstate,
    head: Option<RowNumber>,
    done: bool,
}

impl Known {
    /// True if the index has the row. Rows must be asked for in ascending order.
    fn contains(&mut self, row: RowNumber) -> bool {
        while !self.done && self.head.is_none_or(|head| head < row) {
            // SAFETY: a finished sort of int8 datums.
            match unsafe { compat::next_sorted_datum(self.sort) } {
                Some(encoded) => self.head = decode(encoded.value() as i64),
                None => self.done = true,
            }
        }
        !self.done && self.head == Some(row)
    }
}

/// A TID as core's index validation sorts it: block and offset in one integer.
fn decode(encoded: i64) -> Option<RowNumber> {
    RowNumber::from_block_offset((encoded >> 16) as u32, (encoded & 0xffff) as u16)
}
