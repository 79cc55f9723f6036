//! Writing the rows of some stripes anew, without those that nobody can see any more.

use super::builder;
use crate::columnar::encoding::Position;
use crate::columnar::key::{Item, KeyRange, RowNumber};
use crate::columnar::reader::RowReader;
use crate::columnar::slot::OwnSlot;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described, OpenStripe};
use crate::columnar::{blob, write_buffer};
use crate::pg::error::OrochiError;
use crate::pg::heap::{self, TM_Result};
use crate::pg::horizon::Horizon;
use crate::pg::snapshot::LatestMvcc;
use pgrx::pg_sys;
use std::collections::HashMap;
use std::rc::Rc;

/// Marks that every snapshot sees: row number and place.
type Marks = HashMap<u64, pg_sys::ItemPointerData>;

/// A row: its number, its stripe's place among those that are written anew, and its place there.
type RowAt = (u64, usize, Position);

/// The marks within a stripe's interval that every snapshot sees.
pub fn load_marks(store: &Store, described: &Described, snapshot: &LatestMvcc) -> Marks {
    let horizon = Horizon::oldest(store.table());
    let range = KeyRange::marks(RowNumber(described.meta.first_row), RowNumber(described.meta.last_row));
    let mut marks = Marks::new();
    let mut items = store.scan(range, snapshot.snap());
    while let Some(stored) = items.next_visible() {
        let Item::Dead(row) = stored.item else { continue };
        if horizon.passed(stored.pinned.xmin()) {
            marks.insert(row.0, stored.pinned.tid());
        }
    }
    marks
}

/// The command under which the mover writes.
pub fn command() -> pg_sys::CommandId {
    // SAFETY: the mover runs in a transaction.
    unsafe { pg_sys::GetCurrentCommandId(true) }
}

/// Writes the rows of some stripes anew as one.
pub fn into_one(store: &Store, group: &[Described], snapshot: &LatestMvcc) -> Result<(), OrochiError> {
    let fail = |error| write_buffer::writer_error(store.table(), &error);
    let mut builder = builder(store.table())?;
    let any_order = builder.sorts();
    let dropped = for_each_row(store, group, snapshot, any_order, |row, slot| {
        // SAFETY: the slot holds a row of the table.
        unsafe { builder.push(row, slot).map_err(fail) }
    })?;
    if builder.rows() > 0 {
        stripe::write(store, &builder.finish().map_err(fail)?.finished, command());
    }
    remove_old(store, group, &dropped)
}

/// Hands out the rows of some stripes in the order of their numbers, or in any; returns the places of the marks of those that are left out.
pub fn for_each_row(
    store: &Store,
    group: &[Described],
    snapshot: &LatestMvcc,
    any_order: bool,
    mut each: impl FnMut(u64, *mut pg_sys::TupleTableSlot) -> Result<(), OrochiError>,
) -> Result<Vec<pg_sys::ItemPointerData>, OrochiError> {
    let (mut dropped, slot) = (Vec::new(), OwnSlot::new(store));
    // What may come in any order comes stripe by stripe, so that the places of one stripe's rows are in memory at a time.
    for stripes in group.chunks(if any_order { 1 } else { group.len().max(1) }) {
        let (mut readers, mut rows, mut marks) = (Vec::new(), Vec::new(), Marks::new());
        for (i, described) in stripes.iter().enumerate() {
            marks.extend(load_marks(store, described, snapshot));
            let stripe = stripe::open_described(store, *described)?;
            list_rows(store, &stripe, i, &mut rows)?;
            // Rows that are put in the order of their numbers are all over a sorted stripe.
            let near = any_order || stripe.footer().is_increasing();
            readers.push(if near { RowReader::for_scan(stripe, None) } else { RowReader::new(stripe) });
        }
        if !any_order {
            rows.sort_unstable_by_key(|(row, _, _)| *row);
        }
        for (row, reader, at) in rows {
            pgrx::check_for_interrupts!();
            if let Some(mark) = marks.get(&row) {
                dropped.push(*mark);
                continue;
            }
            // SAFETY: the slot is one of ours, of the table's row type, and the reader keeps its values.
            unsafe { readers[reader].fill(store, at, slot.raw())? };
            each(row, slot.raw())?;
        }
    }
    Ok(dropped)
}

fn list_rows(store: &Store, stripe: &Rc<OpenStripe>, reader: usize, rows: &mut Vec<RowAt>) -> Result<(), OrochiError> {
    let count = stripe.meta.row_count as usize;
    rows.try_reserve(count).map_err(|_| OrochiError::OutOfMemory {
        detail: format!("The row numbers of {count} rows could not be held."),
    })?;
    stripe.each_row(store, |row, at| {
        if !stripe.is_deleted(store, at)? {
            rows.push((row.0, reader, at));
        }
        Ok(())
    })
}

/// Deletes stripes whose rows are elsewhere now, and marks that are not needed any more.
pub fn remove_old(store: &Store, group: &[Described], marks: &[pg_sys::ItemPointerData]) -> Result<(), OrochiError> {
    let cid = command();
    for described in group {
        remove(store, described.tid, cid)?;
        blob::delete(store, described.meta.blob, cid);
        if let Some(bitmap) = described.meta.deleted {
            blob::delete(store, bitmap, cid);
        }
    }
    marks.iter().try_for_each(|mark| remove(store, *mark, cid))
}

/// Deletes a tuple that nobody but the mover touches.
pub fn remove(store: &Store, at: pg_sys::ItemPointerData, cid: pg_sys::CommandId) -> Result<(), OrochiError> {
    match heap::delete(store.companion(), at, cid, std::ptr::null_mut(), true, false).0 {
        TM_Result::TM_Ok => Ok(()),
        other => Err(OrochiError::Internal(format!(
            "could not replace a stripe of columnar table \"{}\" (outcome {other})",
            store.table().name()
        ))),
    }
}
