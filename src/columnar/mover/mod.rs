//! The mover: row store and small stripes become full stripes (docs/storage.md, "The mover").
//!
//! Every step is one ordinary transaction, so that each snapshot sees each row once. The caller holds the table's
//! `ShareUpdateExclusiveLock`, which keeps other movers, VACUUM and concurrent index builds away.

mod drain;
mod job;
mod merge;
mod sql;
mod sweep;

use super::encoding::{EncodingError, Limits, StripeWriter};
use super::options::Options;
use super::row_values::RowValues;
use super::store::Store;
use super::{columns, pressure, transaction, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::Rel;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::relation::FileId;
use crate::settings;
use crate::workers::mover_xids::{self, MoverXidGuard};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

pub use job::register;

/// How thorough a step is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// In the background: what is worth it.
    Economic,
    /// On demand: everything.
    Thorough,
}

/// Where this process is with a table.
#[derive(Clone, Copy)]
struct Progress {
    /// Virtual block where the next batch starts.
    block: u32,
    /// Rows of the next batch.
    batch: usize,
    /// Whether a pass has moved rows since stripes were last merged.
    merge_due: bool,
    /// Rows that were known to wait when the pass over the table began, less those moved since.
    expected: u64,
}

thread_local! {
    static PROGRESS: RefCell<HashMap<FileId, Progress>> = RefCell::new(HashMap::new());
    static PUBLISHED: RefCell<Vec<MoverXidGuard>> = const { RefCell::new(Vec::new()) };
}

fn progress(table: Rel) -> Progress {
    let fresh = Progress { block: 0, batch: settings::mover_batch_rows(), merge_due: false, expected: 0 };
    PROGRESS.with_borrow(|map| map.get(&table.file()).copied().unwrap_or(fresh))
}

fn set_progress(table: Rel, progress: Progress) {
    PROGRESS.with_borrow_mut(|map| {
        map.insert(table.file(), progress);
    });
}

/// Publishes the transaction id under which rows are about to be locked, until the transaction ends: whoever must not wait
/// for row locks can then tell the mover's.
fn publish() -> Result<(), OrochiError> {
    if PUBLISHED.with_borrow(Vec::is_empty) {
        transaction::touch();
        // SAFETY: the mover runs in a transaction.
        let guard = mover_xids::publish(unsafe { pg_sys::GetCurrentTransactionId() })
            .map_err(|error| OrochiError::Internal(error.to_string()))?;
        PUBLISHED.with_borrow_mut(|published| published.push(guard));
    }
    Ok(())
}

/// True if the current transaction has moved rows.
pub fn has_moved() -> bool {
    PUBLISHED.with_borrow(|published| !published.is_empty())
}

/// The transaction is over.
pub fn release_published() {
    PUBLISHED.with_borrow_mut(Vec::clear);
}

/// Does one step; true if there may be more to do. The transaction has to end soon after, for rows may be locked.
pub fn step(table: Rel, effort: Effort) -> bool {
    let Some(store) = Store::open(table) else { return false };
    drop(store);
    let store = Store::open_for_write(table);
    counters::add(Counter::MoverRuns, 1);
    let mut now = progress(table);
    // Once per pass, even if passes never come to an end of what there is to move: small stripes would pile up.
    if std::mem::take(&mut now.merge_due) {
        set_progress(table, now);
        if merge::merge(&store, effort).or_raise() {
            return true;
        }
    }
    if now.block == 0 {
        now.expected = pressure::waiting(table.oid());
    }
    let drained = drain::drain(&store, now.block, now.batch, effort).or_raise();
    let batch = next_batch(now.batch, drained.locked_for, drained.moved);
    let moved = drained.moved as u64;
    let expected = now.expected.saturating_sub(moved);
    pressure::take_off(table, moved);
    match drained.next_block {
        Some(block) => {
            set_progress(table, Progress { block, batch, expected, ..now });
            true
        }
        None => {
            // What the pass has not met was rolled back or deleted, or is left where it is.
            pressure::take_off(table, expected);
            let merge_due = drained.moved > 0;
            set_progress(table, Progress { block: 0, batch, merge_due, expected: 0 });
            if merge_due {
                return true;
            }
            merge::merge(&store, effort).or_raise() || sweep::sweep(&store, effort).or_raise()
        }
    }
}

/// Adapts the size of a batch to the time for which its rows were locked.
fn next_batch(batch: usize, locked_for: Duration, moved: usize) -> usize {
    let target = settings::mover_lock_target();
    let limit = settings::mover_batch_rows();
    if locked_for > target {
        return (batch / 2).max(64);
    }
    if moved == batch && locked_for < target / 2 {
        return (batch * 2).min(limit);
    }
    batch.min(limit)
}

/// Collects rows of a table into a stripe.
struct Builder {
    writer: StripeWriter,
    values: RowValues,
}

impl Builder {
    fn new(table: Rel) -> Result<Self, OrochiError> {
        let options = Options::of(table);
        // SAFETY: the descriptor is valid while the table is open.
        let types = unsafe { columns::column_types(table.desc()) };
        let writer = StripeWriter::new(&types, options.compression(), Limits::default())
            .map_err(|error| write_buffer::writer_error(table, &error))?;
        // SAFETY: as above.
        Ok(Self { writer, values: unsafe { RowValues::new(table.desc(), types) } })
    }

    /// # Safety
    /// `slot` must hold a row of the table.
    unsafe fn push(&mut self, table: Rel, row: u64, slot: *mut pg_sys::TupleTableSlot) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        unsafe { self.values.load(slot) };
        let pushed = self.writer.push_row(row, |column| self.values.get(column));
        self.values.release();
        pushed.map_err(|error: EncodingError| write_buffer::writer_error(table, &error))
    }
}
