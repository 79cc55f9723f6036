//! INSERT and COPY: the first rows of a statement go to the row store, the others through a write buffer into stripes.

use super::key::{Item, RowNumber};
use super::row::{self, First};
use super::slot::{self, System};
use super::store::Store;
use super::{numbers, pressure, tid, transaction, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::relation::FileId;
use crate::pg::snapshot::Snap;
use crate::pg::values::PallocTuple;
use crate::pg::{OpenRel, Rel, heap};
use crate::settings;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

/// What one statement has inserted into one table.
#[derive(Clone, Copy)]
struct Progress {
    cid: pg_sys::CommandId,
    subtransaction: pg_sys::SubTransactionId,
    rows: usize,
    stripes: usize,
    /// Unknown until a row is about to go through a buffer.
    may_buffer: Option<bool>,
    /// How often somebody had to read what the statement had just written.
    interrupted: usize,
}

/// A statement whose rows are read while it runs goes on in the row store after this many interruptions, lest each read
/// leave a tiny stripe.
const MAX_INTERRUPTIONS: usize = 4;

thread_local! {
    static PROGRESS: RefCell<HashMap<FileId, Progress>> = RefCell::new(HashMap::new());
}

/// Forgets the statements of a finished transaction.
pub fn forget_progress() {
    PROGRESS.with_borrow_mut(HashMap::clear);
}

/// Where the next rows of a statement go.
enum Route {
    /// As many of them go to the row store.
    RowStore(usize),
    /// They go through a buffer; so many stripes were written so far.
    Buffer(usize),
}

/// Decides about the next rows of a statement, of which there are `count`.
fn route(table: Rel, cid: pg_sys::CommandId, count: usize) -> Route {
    transaction::touch();
    // SAFETY: an INSERT runs inside a transaction.
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    PROGRESS.with_borrow_mut(|map| {
        let fresh = || Progress { cid, subtransaction, rows: 0, stripes: 0, may_buffer: None, interrupted: 0 };
        let progress = map.entry(table.file()).or_insert_with(fresh);
        if progress.cid != cid || progress.subtransaction != subtransaction {
            *progress = fresh();
        }
        let room = settings::row_store_rows().saturating_sub(progress.rows).min(count);
        progress.rows += count;
        if room > 0 {
            progress.rows -= count - room;
            return Route::RowStore(room);
        }
        match *progress.may_buffer.get_or_insert_with(|| may_buffer(table)) {
            true => Route::Buffer(progress.stripes),
            false => Route::RowStore(count),
        }
    })
}

/// Notes that a table was read while a statement was filling it.
pub fn note_interruption(table: Rel) {
    PROGRESS.with_borrow_mut(|map| {
        if let Some(progress) = map.get_mut(&table.file()) {
            progress.interrupted += 1;
            if progress.interrupted >= MAX_INTERRUPTIONS {
                progress.may_buffer = Some(false);
            }
        }
    });
}

/// How many stripes a command of the current subtransaction has filled in a table, if it did nothing else since.
pub fn stripes_filled(table: Rel, cid: pg_sys::CommandId) -> usize {
    // SAFETY: an INSERT runs inside a transaction.
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    PROGRESS.with_borrow(|map| {
        let progress = map.get(&table.file()).filter(|p| p.cid == cid && p.subtransaction == subtransaction);
        progress.map_or(0, |progress| progress.stripes)
    })
}

fn count_stripe(table: Rel) {
    PROGRESS.with_borrow_mut(|map| {
        if let Some(progress) = map.get_mut(&table.file()) {
            progress.stripes += 1;
        }
    });
}

/// A table whose triggers may read it before every row keeps to the row store, and so does one with an index that needs the
/// values of rows that others are inserting: an exclusion constraint compares them, BRIN summarises them.
fn may_buffer(table: Rel) -> bool {
    !table.has_before_row_triggers() && !needs_values_at_once(table)
}

fn needs_values_at_once(table: Rel) -> bool {
    let indexes = table.index_oids();
    indexes.into_iter().any(|oid| OpenRel::index(oid, pg_sys::AccessShareLock).rel().is_index_that_reads_rows())
}

/// Inserts the rows in some slots and sets the slots' TIDs.
///
/// # Safety
/// The slots must be non-empty slots of the table's row type.
pub unsafe fn insert(table: Rel, slots: &[*mut pg_sys::TupleTableSlot], cid: pg_sys::CommandId) {
    let mut rest = slots;
    while !rest.is_empty() {
        // SAFETY: the caller's promise.
        let taken = unsafe {
            match route(table, cid, rest.len()) {
                Route::RowStore(count) => {
                    for slot in rest.iter().take(count) {
                        let row = into_row_store(table, *slot, cid, First::Insert);
                        finish(table, &[*slot], row, cid);
                    }
                    count
                }
                Route::Buffer(stripes) => {
                    let pushed = write_buffer::push(table, rest, cid, stripes);
                    if pushed.closed {
                        count_stripe(table);
                    }
                    finish(table, rest.get(..pushed.count).unwrap_or_default(), pushed.first, cid);
                    pushed.count
                }
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Inserts a row on probation (ON CONFLICT).
///
/// # Safety
/// As for [`insert`].
pub unsafe fn insert_speculative(table: Rel, slot: *mut pg_sys::TupleTableSlot, cid: pg_sys::CommandId, token: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let row = into_row_store(table, slot, cid, First::Speculate(token));
        finish(table, &[slot], row, cid);
    }
}

/// # Safety
/// As for [`insert`].
unsafe fn into_row_store(
    table: Rel,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    first: First,
) -> RowNumber {
    pressure::admit(table, cid);
    let store = Store::open_for_write(table);
    let number = numbers::next(table);
    // SAFETY: the caller's promise.
    let tuple = unsafe { PallocTuple::from_slot(table, slot) };
    row::insert(&store, number, tuple.image(), cid, first);
    counters::add(Counter::RowsInsertedRowStore, 1);
    number
}

/// Tells the slots where their rows are, whose numbers begin with `first`, and others that there are rows.
///
/// # Safety
/// As for [`insert`].
unsafe fn finish(table: Rel, slots: &[*mut pg_sys::TupleTableSlot], first: RowNumber, cid: pg_sys::CommandId) {
    // SAFETY: the caller's promise.
    unsafe {
        let xmin = pg_sys::GetCurrentTransactionId();
        for (slot, row) in slots.iter().zip(first.0..) {
            (**slot).tts_tid = tid::to_tid(RowNumber(row));
            (**slot).tts_tableOid = table.oid();
            slot::set_system(*slot, System { xmin, xmax: pg_sys::InvalidTransactionId, cid });
        }
        pg_sys::pgstat_count_heap_insert(table.raw(), slots.len() as i64);
        heap::check_serializable_write(table, None);
    }
}

/// Confirms or withdraws a row inserted on probation.
pub fn complete_speculative(table: Rel, row: RowNumber, succeeded: bool) {
    let store = Store::open_for_write(table);
    let mut items = store.scan(super::key::KeyRange::row(row), Snap::any());
    let mut tids = Vec::new();
    while let Some(stored) = items.next_any() {
        if let Item::Row { part, .. } = stored.item
            && (part == 0 || !succeeded)
        {
            tids.push(stored.pinned.tid());
        }
    }
    drop(items);
    for mut at in tids {
        // SAFETY: the tuples are ours and were inserted on probation (parts after the first are withdrawn with it).
        unsafe {
            if succeeded {
                pg_sys::heap_finish_speculative(store.companion().raw(), &mut at);
            } else {
                pg_sys::heap_abort_speculative(store.companion().raw(), &mut at);
            }
        }
    }
}
