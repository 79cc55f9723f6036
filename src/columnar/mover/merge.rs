//! Making one stripe out of several small ones, or anew out of one that has lost many rows.

use super::{Effort, builder};
use crate::columnar::encoding::Position;
use crate::columnar::key::{Item, KeyRange, RowNumber, SPARSE_SPAN};
use crate::columnar::options::Options;
use crate::columnar::reader::RowReader;
use crate::columnar::slot::OwnSlot;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described, OpenStripe};
use crate::columnar::{blob, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::heap::{self, TM_Result};
use crate::pg::horizon::Horizon;
use crate::pg::snapshot::LatestMvcc;
use pgrx::pg_sys;
use std::collections::HashMap;
use std::rc::Rc;

/// In the background this many small stripes are merged at least, unless they fill a stripe.
const ENOUGH: usize = 8;

/// Bytes, once decoded, of the stripes that are merged into one.
const MERGED_BYTES: u64 = 64 << 20;

/// Marks that every snapshot sees: row number and place.
type Marks = HashMap<u64, pg_sys::ItemPointerData>;

/// Merges small stripes once; true if there were enough.
pub fn merge_small(store: &Store, effort: Effort) -> Result<bool, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripe::list(store, snapshot.snap())?;
    let run = small_run(&all, effort, Options::of(store.table()).stripe_row_limit());
    run.map_or(Ok(false), |run| rewrite(store, &all[run], &snapshot).map(|()| true))
}

/// Writes a stripe anew that has lost many rows, of those that start at row number `from` or behind it. Returns where to go on; `None` if there
/// is no such stripe.
pub fn renew_worn(store: &Store, from: u64, effort: Effort) -> Result<Option<u64>, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripe::list(store, snapshot.snap())?;
    let start = all.partition_point(|described| described.meta.first_row < from);
    for (i, described) in all.iter().enumerate().skip(start) {
        pgrx::check_for_interrupts!();
        let dead = marked_rows(store, &all, i, &snapshot)? + described.meta.deleted_count;
        let many = described.meta.row_count / if effort == Effort::Thorough { 100 } else { 5 };
        if dead > many {
            rewrite(store, &all[i..=i], &snapshot)?;
            return Ok(Some(described.meta.first_row + 1));
        }
    }
    Ok(None)
}

/// How many rows of a stripe are marked as deleted for every snapshot. Marks in the stripe's interval may be of other stripes.
fn marked_rows(store: &Store, all: &[Described], index: usize, snapshot: &LatestMvcc) -> Result<u32, OrochiError> {
    let marks = load_marks(store, &all[index], snapshot);
    if marks.is_empty() {
        return Ok(0);
    }
    let stripe = stripe::open_described(store, all[index])?;
    let mut found = 0;
    for row in marks.keys() {
        found += u32::from(stripe.find(store, RowNumber(*row))?.is_some());
    }
    Ok(found)
}

/// A run of neighbouring small stripes that are worth merging.
fn small_run(all: &[Described], effort: Effort, limit: u32) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    while start < all.len() {
        let (mut end, mut rows, mut bytes) = (start, 0, 0);
        let first = RowNumber(all[start].meta.first_row).block();
        while end < all.len() {
            let meta = &all[end].meta;
            let span = RowNumber(meta.last_row).block() - first;
            if meta.row_count > limit / 2 || rows + meta.row_count > limit || span >= SPARSE_SPAN {
                break;
            }
            // Wide rows fill a stripe by their bytes, all of which are in memory while they are merged.
            if meta.plain_bytes > MERGED_BYTES / 2 || bytes + meta.plain_bytes > MERGED_BYTES {
                break;
            }
            rows += meta.row_count;
            bytes += meta.plain_bytes;
            end += 1;
        }
        let count = end - start;
        let enough = match effort {
            Effort::Thorough => count >= 2,
            Effort::Economic => count >= ENOUGH || (count >= 2 && (rows > limit / 2 || bytes > MERGED_BYTES / 2)),
        };
        if enough {
            return Some(start..end);
        }
        start = end.max(start + 1);
    }
    None
}

/// The marks within a stripe's interval that every snapshot sees.
fn load_marks(store: &Store, described: &Described, snapshot: &LatestMvcc) -> Marks {
    let horizon = Horizon::oldest(store.table());
    let block = |row| RowNumber(row).block();
    let range = KeyRange::blocks(block(described.meta.first_row), block(described.meta.last_row));
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

/// Writes the rows of some stripes anew as one, without those that nobody can see any more.
fn rewrite(store: &Store, group: &[Described], snapshot: &LatestMvcc) -> Result<(), OrochiError> {
    let table = store.table();
    // SAFETY: the mover runs in a transaction.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let fail = |error| write_buffer::writer_error(table, &error);
    let mut builder = builder(table)?;
    let mut readers = Vec::new();
    let mut rows = Vec::new();
    let mut marks = HashMap::new();
    for (i, described) in group.iter().enumerate() {
        marks.extend(load_marks(store, described, snapshot));
        let stripe = stripe::open_described(store, *described)?;
        list_rows(store, &stripe, i, &mut rows)?;
        // Rows that are put in the order of their numbers are all over a sorted stripe.
        let near = builder.sorts() || stripe.footer().is_increasing();
        readers.push(if near { RowReader::for_scan(stripe, None) } else { RowReader::new(stripe) });
    }
    if !builder.sorts() {
        rows.sort_unstable_by_key(|(row, _, _)| *row);
    }
    let slot = OwnSlot::new(store);
    let mut dropped = Vec::new();
    for (row, reader, at) in rows {
        pgrx::check_for_interrupts!();
        if let Some(mark) = marks.get(&row) {
            dropped.push(*mark);
            continue;
        }
        // SAFETY: the slot is one of ours, of the table's row type, and the reader keeps its values.
        unsafe {
            readers[reader].fill(store, at, slot.raw())?;
            builder.push(row, slot.raw()).map_err(fail)?;
        }
    }
    if builder.rows() > 0 {
        stripe::write(store, &builder.finish().map_err(fail)?.finished, cid);
    }
    for described in group {
        remove(store, described.tid, cid)?;
        blob::delete(store, described.meta.blob, cid);
        if let Some(bitmap) = described.meta.deleted {
            blob::delete(store, bitmap, cid);
        }
    }
    for mark in dropped {
        remove(store, mark, cid)?;
    }
    counters::add(Counter::Merges, 1);
    Ok(())
}

type RowAt = (u64, usize, Position);

fn list_rows(store: &Store, stripe: &Rc<OpenStripe>, reader: usize, rows: &mut Vec<RowAt>) -> Result<(), OrochiError> {
    let count = stripe.meta.row_count as usize;
    rows.try_reserve(count).map_err(|_| OrochiError::OutOfMemory {
        detail: format!("The row numbers of {count} rows could not be held."),
    })?;
    for vector in 0..stripe.footer().vector_count() {
        let numbers = stripe.rows(store, vector)?;
        for index in 0..numbers.len() {
            let at = Position { vector: vector as u32, index: index as u16 };
            if let Some(row) = numbers.get(index)
                && !stripe.is_deleted(store, at)?
            {
                rows.push((row, reader, at));
            }
        }
    }
    Ok(())
}

/// Deletes a tuple that nobody but the mover touches.
fn remove(store: &Store, at: pg_sys::ItemPointerData, cid: pg_sys::CommandId) -> Result<(), OrochiError> {
    match heap::delete(store.companion(), at, cid, std::ptr::null_mut(), true, false).0 {
        TM_Result::TM_Ok => Ok(()),
        other => Err(OrochiError::Internal(format!(
            "could not replace a stripe of columnar table \"{}\" (outcome {other})",
            store.table().name()
        ))),
    }
}
