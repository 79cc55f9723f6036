//! Moving rows of the row store into a small stripe.

use super::{Effort, builder};
use crate::columnar::encoding::{BlobRef, DeleteBitmap, StripeMeta};
use crate::columnar::key::{Item, KeyRange, RowNumber, SPARSE_SPAN};
use crate::columnar::options::Options;
use crate::columnar::slot::{self, OwnSlot};
use crate::columnar::store::Store;
use crate::columnar::stripe_builder::StripeBuilder;
use crate::columnar::{blob, metapage, row, stripe, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::heap::{self, TM_Result};
use crate::pg::snapshot::LatestMvcc;
use crate::settings;
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// Rows that are moved however long that takes, so that every step gets somewhere.
const AT_LEAST: usize = 64;

/// What a step has done.
#[derive(Default)]
pub struct Drained {
    /// Rows moved.
    pub moved: usize,
    /// For how long the first of them has been locked.
    pub locked_for: Duration,
    /// Where to go on; `None` at the end of the table.
    pub next_block: Option<u32>,
    /// The first block of rows that were left because they are too few for a stripe.
    pub too_few: Option<u32>,
}

/// A row that a batch has taken.
struct Taken {
    row: RowNumber,
    at: pg_sys::ItemPointerData,
    parts: u32,
}

/// Moves up to `limit` rows from block `from` on, before block `goal` if there is one.
pub fn drain(
    store: &Store,
    from: u32,
    goal: Option<u32>,
    limit: usize,
    effort: Effort,
) -> Result<Drained, OrochiError> {
    let end = metapage::next_block(store.table()).min(goal.unwrap_or(u32::MAX));
    if from >= end {
        return Ok(Drained::default());
    }
    let snapshot = LatestMvcc::take();
    let row_limit = Options::of(store.table()).stripe_row_limit();
    let fail = |error| write_buffer::writer_error(store.table(), &error);
    let mut builder = builder(store.table())?;
    let slot = OwnSlot::new(store);
    let mut taken: Vec<Taken> = Vec::new();
    let mut next_block = None;
    let mut items = store.scan(KeyRange::blocks(from, end), snapshot.snap());
    while let Some(stored) = items.next_visible() {
        let Item::Row { row, part: 0 } = stored.item else { continue };
        pgrx::check_for_interrupts!();
        let spans = taken.first().map_or(0, |first| row.block() - first.row.block());
        let full = taken.len() >= limit || builder.should_flush(row_limit);
        if full || spans >= SPARSE_SPAN {
            next_block = Some(row.block());
            break;
        }
        // SAFETY: the tuple is made in the slot's own context and handed to the slot.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*slot.raw()).tts_mcxt);
            let tuple = row::tuple(store, row, &stored);
            pg_sys::MemoryContextSwitchTo(old);
            slot::store_tuple(slot.raw(), tuple?);
            builder.push(row.0, slot.raw()).map_err(fail)?;
        }
        taken.push(Taken { row, at: stored.pinned.tid(), parts: row::part_count(&stored) });
    }
    drop(items);
    let few = effort == Effort::Economic && next_block.is_none() && taken.len() < settings::row_store_rows();
    if taken.is_empty() || few {
        let too_few = taken.first().map(|first| first.row.block());
        return Ok(Drained { next_block, too_few, ..Default::default() });
    }
    let (moved, locked_for) = write(store, builder, &taken)?;
    Ok(Drained { moved, locked_for, next_block, too_few: None })
}

/// Writes the stripe and takes its rows out of the row store.
fn write(store: &Store, builder: StripeBuilder, taken: &[Taken]) -> Result<(usize, Duration), OrochiError> {
    let table = store.table();
    let fail = |error| write_buffer::writer_error(table, &error);
    let built = builder.finish().map_err(fail)?;
    let ordinals = built.ordinals(taken.iter().map(|taken| taken.row.0));
    let finished = built.finished;
    // SAFETY: the mover runs in a transaction.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let bytes = blob::write(store, &finished.pieces, cid);
    let stripe_id = metapage::reserve_stripe(table);
    let mut meta = StripeMeta::finished(stripe_id, bytes.id, &finished.summary);

    // From here on rows are locked.
    super::publish()?;
    let started = Instant::now();
    let mut left = DeleteBitmap::new(meta.row_count).map_err(fail)?;
    let mut skipped = 0;
    let target = settings::mover_lock_target();
    for (index, (row, ordinal)) in taken.iter().zip(ordinals).enumerate() {
        // The batch was too large for how busy the machine is: the rest of it stays, too.
        let in_time = index < AT_LEAST || started.elapsed() < target;
        if in_time && take_out(store, row, cid) {
            continue;
        }
        // Somebody else is at the row, so it stays, and the stripe does not have it.
        left.insert(ordinal).map_err(fail)?;
        skipped += 1;
    }
    if skipped as usize == taken.len() {
        // A stripe without rows would only be merged away, by each step anew.
        // SAFETY: as above; the next command sees, and so can delete, what this one wrote.
        let next = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::GetCurrentCommandId(true)
        };
        blob::delete(store, bytes, next);
        return Ok((0, started.elapsed()));
    }
    if skipped > 0 {
        let encoded = left.encode().map_err(fail)?;
        let BlobRef { id, len } = blob::write(store, &[encoded], cid);
        meta.deleted = Some(BlobRef { id, len });
        meta.deleted_count = skipped;
    }
    stripe::insert_meta(store, &meta, cid);
    counters::add(Counter::StripesWritten, 1);
    let moved = taken.len() - skipped as usize;
    counters::add(Counter::RowsMoved, moved as u64);
    Ok((moved, started.elapsed()))
}

/// Deletes a row from the row store; false if somebody else is at it.
fn take_out(store: &Store, taken: &Taken, cid: pg_sys::CommandId) -> bool {
    let (result, _) = heap::delete(store.companion(), taken.at, cid, std::ptr::null_mut(), false, false);
    if result != TM_Result::TM_Ok {
        return false;
    }
    if taken.parts > 1 {
        row::delete_rest(store, taken.row, cid);
    }
    true
}
