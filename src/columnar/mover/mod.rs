//! The mover: row store and small stripes become full stripes (docs/storage.md, "The mover").
//!
//! Every step is one ordinary transaction, so that each snapshot sees each row once. The caller holds the table's
//! `ShareUpdateExclusiveLock`, which keeps other movers, VACUUM and concurrent index builds away.

mod drain;
mod fold;
mod job;
mod merge;
mod pace;
mod pack;
mod recluster;
mod rewrite;
mod sql;
mod sweep;

use super::encoding::Limits;
use super::key::RowNumber;
use super::options::Options;
use super::store::Store;
use super::stripe::{self, Described};
use super::stripe_builder::StripeBuilder;
use super::{metapage, pressure, transaction, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::Rel;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::relation::FileId;
use crate::pg::snapshot::LatestMvcc;
use crate::settings;
use crate::workers::mover_xids::{self, MoverXidGuard};
use pace::Pace;
use pack::Packing;
use pgrx::pg_sys;
use recluster::Clustered;
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

/// Blocks before the end of the row numbers, as it was when a pass began, that the next one looks at again: sessions take blocks for
/// themselves and use them up one after the other.
const OVERLAP: u32 = 64;

/// Where this process is with a table.
#[derive(Clone, Copy)]
struct Progress {
    /// Virtual block where the next batch starts; `None` between passes.
    block: Option<u32>,
    /// Rows of the next batch.
    batch: usize,
    /// Whether a pass has moved rows since stripes were last merged.
    merge_due: bool,
    /// Rows that were known to wait when the pass over the table began, less those moved since.
    expected: u64,
    /// The pass began at the first block.
    whole: bool,
    /// Where rows wait that came after the pass had begun, or that were left because they are few.
    tail: u32,
    /// Where the next pass begins unless it is to be a whole one: entries of rows that were moved lie before the new ones until VACUUM comes.
    start: u32,
    /// First row number from which on stripes have not been looked at for deleted rows.
    worn_from: u64,
    whole_passes: Pace,
    worn: Pace,
    clustered: Clustered,
    clustering: Pace,
    sweeps: Pace,
    packing: Option<Packing>,
    packs: Pace,
    /// A compaction looks at rows and stripes that begin before this virtual block.
    goal: Option<u32>,
    /// The compaction has looked at all stripes for deleted rows.
    worn_done: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            block: None,
            batch: settings::mover_batch_rows(),
            merge_due: false,
            expected: 0,
            whole: true,
            tail: 0,
            start: 0,
            worn_from: 0,
            whole_passes: Pace::default(),
            worn: Pace::default(),
            clustered: Clustered::default(),
            clustering: Pace::default(),
            sweeps: Pace::default(),
            packing: None,
            packs: Pace::default(),
            goal: None,
            worn_done: false,
        }
    }
}

thread_local! {
    static PROGRESS: RefCell<HashMap<FileId, Progress>> = RefCell::new(HashMap::new());
    static PUBLISHED: RefCell<Vec<MoverXidGuard>> = const { RefCell::new(Vec::new()) };
}

fn progress(table: Rel) -> Progress {
    PROGRESS.with_borrow(|map| map.get(&table.file()).copied()).unwrap_or_else(Progress::new)
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

/// Begins a compaction, which looks at everything that there is; returns its goal.
pub fn begin(table: Rel) -> u32 {
    set_progress(table, Progress::new());
    metapage::next_block(table)
}

/// Does one step, up to a goal if there is one; true if there may be more to do. The transaction has to end soon after, for rows may be
/// locked.
pub fn step(table: Rel, effort: Effort, goal: Option<u32>) -> bool {
    let Some(store) = Store::open(table) else { return false };
    drop(store);
    let store = Store::open_for_write(table);
    counters::add(Counter::MoverRuns, 1);
    let mut now = progress(table);
    now.goal = goal;
    // Once per pass, even if passes never come to an end of what there is to move: small stripes would pile up. Not everything is merged that can
    // be, for more comes with the next pass.
    let merge_due = std::mem::take(&mut now.merge_due);
    // A merge that fails does not keep rows from being moved next time.
    set_progress(table, now);
    let done = (merge_due && (merge_small(&store, &now, Effort::Economic) || renew_worn(&store, &mut now, effort)))
        || move_batch(&store, &mut now, effort);
    set_progress(table, now);
    done
}

/// Moves a batch of rows, and does the rest of the work when there are none left; true if there may be more to do.
fn move_batch(store: &Store, now: &mut Progress, effort: Effort) -> bool {
    let table = store.table();
    let block = match now.block {
        Some(block) => block,
        None => begin_pass(table, now, effort),
    };
    let drained = now.whole_passes.spend(|| drain::drain(store, block, now.goal, now.batch, effort).or_raise());
    now.batch = next_batch(now.batch, drained.locked_for, drained.moved);
    now.block = drained.next_block;
    now.tail = now.tail.min(drained.too_few.unwrap_or(u32::MAX));
    now.merge_due |= drained.moved > 0;
    let moved = drained.moved as u64;
    now.expected = now.expected.saturating_sub(moved);
    pressure::take_off(table, moved);
    if now.block.is_some() {
        return true;
    }
    now.start = now.tail;
    if now.whole {
        // What the pass has not met was rolled back or deleted, or is left where it is.
        pressure::take_off(table, std::mem::take(&mut now.expected));
        now.whole_passes.rest();
    }
    now.merge_due
        || merge_small(store, now, effort)
        || renew_worn(store, now, effort)
        || recluster(store, now, effort)
        || pack(store, now, effort)
        // At last, for the anchors that it removes are locked until the transaction ends.
        || sweep(store, now, effort)
}

/// Begins a pass over the row store; returns the block to start with.
fn begin_pass(table: Rel, now: &mut Progress, effort: Effort) -> u32 {
    now.whole = effort == Effort::Thorough || now.whole_passes.due();
    now.expected = pressure::waiting(table.oid());
    now.tail = metapage::next_block(table).saturating_sub(OVERLAP);
    now.whole_passes.forget();
    if now.whole { 0 } else { now.start }
}

/// Merges small stripes; true if there were enough.
fn merge_small(store: &Store, now: &Progress, effort: Effort) -> bool {
    merge::merge_small(store, now.goal, effort).or_raise()
}

/// Writes a stripe anew that has lost many rows; true if there was one.
fn renew_worn(store: &Store, now: &mut Progress, effort: Effort) -> bool {
    let done = now.goal.is_some() && now.worn_done;
    if done || (effort == Effort::Economic && !now.worn.due()) {
        return false;
    }
    let from = if effort == Effort::Economic || now.goal.is_some() { now.worn_from } else { 0 };
    let next = now.worn.spend(|| merge::renew_worn(store, from, now.goal, effort).or_raise());
    now.worn_from = next.unwrap_or(0);
    if next.is_none() {
        now.worn.rest();
        // Writers may delete faster than stripes are written anew.
        now.worn_done = now.goal.is_some();
    }
    next.is_some()
}

/// Sorts stripes together; true if there may be more.
fn recluster(store: &Store, now: &mut Progress, effort: Effort) -> bool {
    if effort == Effort::Economic && !now.clustering.due() {
        return false;
    }
    let Progress { clustering, clustered, goal, .. } = now;
    let more = clustering.spend(|| recluster::recluster(store, clustered, *goal, effort).or_raise());
    if !more {
        now.clustering.rest();
    }
    more
}

/// Removes anchors that are not used; true if there may be more.
fn sweep(store: &Store, now: &mut Progress, effort: Effort) -> bool {
    if effort == Effort::Economic && !now.sweeps.due() {
        return false;
    }
    let more = now.sweeps.spend(|| sweep::sweep(store, effort).or_raise());
    if !more {
        now.sweeps.rest();
    }
    more
}

/// Packs the file; true if there may be more to do.
fn pack(store: &Store, now: &mut Progress, effort: Effort) -> bool {
    if effort == Effort::Economic && !now.packs.due() {
        return false;
    }
    let Progress { packs, packing, .. } = now;
    let more = packs.spend(|| pack::pack(store, packing, effort).or_raise());
    if !more {
        now.packs.rest();
    }
    more
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

/// A builder of stripes that the mover writes.
fn builder(table: Rel) -> Result<StripeBuilder, OrochiError> {
    StripeBuilder::new(table, &Options::of(table), Limits::default())
        .map_err(|error| write_buffer::writer_error(table, &error))
}

/// The stripes that a snapshot sees, as far as the goal reaches.
fn stripes(store: &Store, snapshot: &LatestMvcc, goal: Option<u32>) -> Result<Vec<Described>, OrochiError> {
    let mut all = stripe::list(store, snapshot.snap())?;
    if let Some(goal) = goal {
        all.truncate(all.partition_point(|described| RowNumber(described.meta.first_row).block() < goal));
    }
    Ok(all)
}
