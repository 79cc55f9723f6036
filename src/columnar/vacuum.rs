//! VACUUM of a columnar table: its indexes and its statistics. Core vacuums the companion by itself, the mover makes stripes.

use super::dead_set::DeadSet;
use super::encoding::{Position, RowBlock};
use super::key::{ROWS_PER_BLOCK, RowNumber, SPARSE_SPAN};
use super::lookup::{self, Expected};
use super::store::Store;
use super::stripe::OpenStripe;
use super::{metapage, storage, tid};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::horizon::{self, Horizon, newer};
use crate::pg::snapshot::Snap;
use crate::pg::{OpenRel, Rel, compat};
use pgrx::pg_sys;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// How often VACUUM of a table tells standbys of single transactions.
const TELL_SINGLY: u32 = 16;
/// An index that hopes for dead rows is content with what it hears until so many in a row turn out to live.
const GIVE_UP_AFTER: u32 = 8;

/// The transaction before `xid`, or an older one.
fn before(xid: pg_sys::TransactionId) -> pg_sys::TransactionId {
    let previous = pg_sys::TransactionId::from(u32::from(xid).wrapping_sub(1));
    if pg_sys::TransactionIdIsNormal(previous) { previous } else { pg_sys::TransactionId::from(u32::MAX) }
}

/// A vector in which a row was found: rows that follow one another in an index mostly lie together.
struct Near {
    stripe: usize,
    vector: u32,
    rows: Rc<RowBlock>,
    interval: RangeInclusive<u64>,
}

/// Decides for each index entry whether its row is dead to all.
struct Judge {
    store: Store,
    horizon: Horizon,
    /// Newest transaction of which the standbys know that what it removed is going.
    told: pg_sys::TransactionId,
    /// How often they have been told.
    times_told: u32,
    /// Rows that may have come to be in stripes since VACUUM began.
    expected: Expected,
    /// The stripes that there were then, by first row, with the marks on their rows: most entries are found alive here.
    stripes: Vec<(Rc<OpenStripe>, DeadSet)>,
    /// Where the last row was found.
    near: Option<Near>,
}

impl Judge {
    fn new(table: Rel, horizon: Horizon) -> Result<Option<Self>, OrochiError> {
        let Some(store) = Store::open(table) else { return Ok(None) };
        let expected = Expected::read(&store);
        let mut stripes = Vec::new();
        for described in super::stripe::list(&store, Snap::latest())? {
            let stripe = super::stripe::open_described(&store, described)?;
            let dead = DeadSet::of_stripe(&store, &stripe.meta, Snap::latest());
            stripes.push((stripe, dead));
        }
        let told = pg_sys::InvalidTransactionId;
        Ok(Some(Self { store, horizon, told, times_told: 0, expected, stripes, near: None }))
    }

    fn is_dead(&mut self, row: RowNumber) -> bool {
        if self.is_alive_near(row) {
            return false;
        }
        let in_stripe = |at: usize| self.find_in(at, row).is_some();
        // Stripes rarely overlap, so one of the last that start before the row nearly always has it if any does.
        let alive = |at: &usize| !self.is_marked(*at, row) && in_stripe(*at);
        let found = self.around(row).take(2).find(alive);
        if let Some(at) = found {
            self.near = self.vector_around(at, row);
            return false;
        }
        // The lock that VACUUM holds keeps the mover away, so no other row can come to be in a stripe.
        let covered = || self.expected.has(row) || self.around(row).any(in_stripe);
        let Some(removed_by) = lookup::dead_unless_covered(&self.store, row, self.horizon, covered) else {
            return false;
        };
        self.tell_standbys(removed_by);
        true
    }

    /// Whether the row lies in the vector of the one before, and lives.
    fn is_alive_near(&self, row: RowNumber) -> bool {
        let Some(near) = self.near.as_ref().filter(|near| near.interval.contains(&row.0)) else { return false };
        let (Some(index), Some((stripe, dead))) = (near.rows.find(row.0), self.stripes.get(near.stripe)) else {
            return false;
        };
        let at = Position { vector: near.vector, index };
        !dead.contains(row) && !stripe.is_deleted(&self.store, at).or_raise()
    }

    fn vector_around(&self, at: usize, row: RowNumber) -> Option<Near> {
        let stripe = &self.stripes.get(at)?.0;
        let vector = stripe.footer().vector_with(row.0)?;
        let rows = stripe.rows(&self.store, vector).or_raise();
        let interval = rows.get(0)?..=rows.get(rows.len().checked_sub(1)?)?;
        Some(Near { stripe: at, vector: vector as u32, rows, interval })
    }

    fn is_marked(&self, at: usize, row: RowNumber) -> bool {
        self.stripes.get(at).is_some_and(|(_, dead)| dead.contains(row))
    }

    fn find_in(&self, at: usize, row: RowNumber) -> Option<Position> {
        let (stripe, _) = self.stripes.get(at).filter(|(stripe, _)| stripe.meta.contains(row.0))?;
        stripe.find(&self.store, row).or_raise()
    }

    /// The stripes that may hold a row, the likeliest first.
    fn around(&self, row: RowNumber) -> impl Iterator<Item = usize> {
        let after = self.stripes.partition_point(|(stripe, _)| stripe.meta.first_row <= row.0);
        let span = u64::from(SPARSE_SPAN) * ROWS_PER_BLOCK;
        let first = move |at: &usize| self.stripes.get(*at).map_or(0, |(stripe, _)| stripe.meta.first_row);
        (0..after).rev().take_while(move |at| row.0 - first(at) <= span)
    }

    /// The index logs the removal of entries after asking about them, so this comes first in the WAL.
    fn tell_standbys(&mut self, removed_by: pg_sys::TransactionId) {
        if !pg_sys::TransactionIdIsNormal(removed_by) || newer(self.told, removed_by) == self.told {
            return;
        }
        // After a few times all that can follow is told at once.
        self.times_told += 1;
        self.told = match self.horizon {
            Horizon::Oldest(oldest) if self.times_told > TELL_SINGLY => before(oldest),
            _ => removed_by,
        };
        horizon::tell_standbys(self.store.companion(), self.told);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn is_dead(item: pg_sys::ItemPointer, state: *mut std::ffi::c_void) -> bool {
    // SAFETY: the index access method passes a valid TID and the state given to index_bulk_delete.
    unsafe {
        let judge = &mut *state.cast::<Judge>();
        tid::from_tid(*item).is_none_or(|row| judge.is_dead(row))
    }
}

/// Vacuums a table.
///
/// # Safety
/// Arguments as core passes them to `relation_vacuum`.
pub unsafe fn vacuum(table: Rel, params: *mut pg_sys::VacuumParams, strategy: pg_sys::BufferAccessStrategy) {
    let started = crate::workers::now();
    // SAFETY: the relation is open.
    let oldest = unsafe { pg_sys::GetOldestNonRemovableTransactionId(table.raw()) };
    // SAFETY: `params` is core's.
    let clean = unsafe { (*params).index_cleanup != pg_sys::VacOptValue::VACOPTVALUE_DISABLED };
    // SAFETY: as above.
    let estimate = unsafe { storage::estimate(table, std::ptr::null_mut()) };
    let indexes = table.index_oids();
    // SAFETY: as above.
    if clean && indexes.len() > 1 && table.is_temporary() && unsafe { (*params).nworkers } > 0 {
        pgrx::warning!(
            "disabling parallel option of vacuum on \"{}\" --- cannot vacuum temporary tables in parallel",
            table.name()
        );
    }
    if clean
        && !indexes.is_empty()
        && let Some(mut judge) = Judge::new(table, Horizon::Oldest(oldest)).or_raise()
    {
        for oid in &indexes {
            let index = OpenRel::index(*oid, pg_sys::RowExclusiveLock);
            // SAFETY: the index and its table are open and the judge outlives the call.
            unsafe { vacuum_index(table, index.rel(), estimate.tuples, strategy, &mut judge) };
        }
    }
    // SAFETY: the relation is open and this transaction may write pg_class; the main fork holds no transaction ids, so the
    // horizon may be as new as the oldest one that anybody needs.
    unsafe {
        let pages = metapage::next_block(table);
        compat::update_relstats(table.raw(), pages, estimate.tuples, !indexes.is_empty(), oldest);
        compat::report_vacuum(table.raw(), estimate.tuples as i64, started);
    }
}

/// # Safety
/// The table and the index must be open.
unsafe fn vacuum_index(table: Rel, index: Rel, tuples: f64, strategy: pg_sys::BufferAccessStrategy, judge: &mut Judge) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut info = compat::index_vacuum_info(table.raw(), index.raw(), tuples, strategy);
        let state = std::ptr::from_mut(judge).cast();
        let stats = pg_sys::index_bulk_delete(&mut info, std::ptr::null_mut(), Some(is_dead), state);
        let stats = pg_sys::index_vacuum_cleanup(&mut info, stats);
        if !stats.is_null() {
            if !(*stats).estimated_count {
                compat::update_relstats(
                    index.raw(),
                    (*stats).num_pages,
                    (*stats).num_index_tuples,
                    false,
                    pg_sys::InvalidTransactionId,
                );
            }
            pg_sys::pfree(stats.cast());
        }
    }
}

/// Tells an index which of the entries it would like to drop are of rows that are dead to all; returns the newest
/// transaction that a standby's snapshots must not be older than.
///
/// # Safety
/// `request` as core passes it to `index_delete_tuples`.
pub unsafe fn index_delete_tuples(table: Rel, request: *mut pg_sys::TM_IndexDeleteOp) -> pg_sys::TransactionId {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(store) = Store::open(table) else { return none_deletable(request) };
        let hoping = (*request).bottomup;
        let horizon = Horizon::recent(table);
        let mut removed_by = pg_sys::InvalidTransactionId;
        let (mut found, mut in_vain, mut freed) = (false, 0, 0);
        for i in 0..(*request).ndeltids as usize {
            let delete = &*(*request).deltids.add(i);
            let status = &mut *(*request).status.add(delete.id as usize);
            let Some(row) = tid::from_tid(delete.tid).filter(|_| !hoping || status.promising) else { continue };
            if let Some(xid) = lookup::dead_to_all(&store, row, horizon) {
                status.knowndeletable = true;
                removed_by = newer(removed_by, xid);
                (found, in_vain, freed) = (true, 0, freed + i32::from(status.freespace));
            } else if status.knowndeletable {
                // What the index takes for dead already goes, though the horizon that said so has gone back since.
                removed_by = before(pg_sys::ReadNextTransactionId());
            } else {
                in_vain += 1;
            }
            if hoping && (in_vain >= GIVE_UP_AFTER || freed >= (*request).bottomupfreespace) {
                break;
            }
        }
        // An index that only hopes to find something to delete wants an empty list if there is nothing.
        if !found && hoping {
            (*request).ndeltids = 0;
        }
        removed_by
    }
}

/// # Safety
/// `request` must be valid.
unsafe fn none_deletable(request: *mut pg_sys::TM_IndexDeleteOp) -> pg_sys::TransactionId {
    // SAFETY: the caller's promise.
    unsafe {
        if (*request).bottomup {
            (*request).ndeltids = 0;
        }
    }
    pg_sys::InvalidTransactionId
}
