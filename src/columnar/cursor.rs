//! Reading all rows that a snapshot sees, stripes and pieces of the row store in turn. Works in both directions.

mod parts;

use super::dead_set::DeadSet;
use super::encoding::{Position, RowBlock, Selection};
use super::key::{Item, KeyRange, ROWS_PER_BLOCK, RowNumber};
use super::read_ahead::ReadAhead;
use super::reader::RowReader;
use super::slot;
use super::store::Store;
use super::stripe::{self, OpenStripe};
use super::{metapage, row, tid};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::snapshot::Snap;
use pgrx::pg_sys;
use std::rc::Rc;

pub use parts::Part;

/// Virtual blocks of the row store that one unit of a scan covers, at least.
const UNIT_BLOCKS: u32 = 64;
/// Units of the row store at most, so that a large table without a row store is not probed too often.
const ROW_UNITS: u32 = 256;

/// What a scan is divided into; parallel workers take units in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A stripe of the plan.
    Stripe(usize),
    /// The row store's rows of this interval, ends included.
    Rows(RowNumber, RowNumber),
}

/// The division of one scan: every process that scans with the same snapshot makes the same one.
///
/// Units come in the order of their first row numbers, so that rows come as they were inserted, or as CLUSTER ordered them, until
/// updates and moves mix them.
pub struct Plan {
    stripes: Vec<stripe::Described>,
    units: Vec<Unit>,
}

impl Plan {
    /// Divides the rows that the snapshot sees. `next_block` is where the row numbers end.
    pub fn new(store: &Store, snapshot: Snap, next_block: u32) -> Result<Self, OrochiError> {
        // A table without row numbers has no rows. TRUNCATE rebuilds indexes while that of the companion is still the old one.
        let stripes = if next_block == 0 { Vec::new() } else { stripe::list(store, snapshot)? };
        let firsts: Vec<u64> = stripes.iter().map(|described| described.meta.first_row).collect();
        Ok(Self { units: divide(&firsts, next_block), stripes })
    }

    /// Number of units.
    pub fn units(&self) -> u64 {
        self.units.len() as u64
    }

    /// Description of a stripe of the plan.
    pub fn describe(&self, index: usize) -> stripe::Described {
        self.stripes[index]
    }

    /// Unit `index`, `None` past the last.
    pub fn unit(&self, index: u64) -> Option<Unit> {
        self.units.get(index as usize).copied()
    }
}

/// Cuts the row store where stripes begin, and into pieces that parallel workers can share.
fn divide(stripe_firsts: &[u64], next_block: u32) -> Vec<Unit> {
    let piece = u64::from(UNIT_BLOCKS.max(next_block.div_ceil(ROW_UNITS))) * ROWS_PER_BLOCK;
    let end = u64::from(next_block) * ROWS_PER_BLOCK;
    let mut units = Vec::with_capacity(stripe_firsts.len() * 2 + ROW_UNITS as usize);
    let mut next = 0;
    let mut rows_until = |units: &mut Vec<Unit>, until: u64| {
        while next < until {
            let last = (next + piece).min(until) - 1;
            units.push(Unit::Rows(RowNumber(next), RowNumber(last)));
            next = last + 1;
        }
    };
    for (index, first) in stripe_firsts.iter().enumerate() {
        rows_until(&mut units, *first);
        units.push(Unit::Stripe(index));
    }
    rows_until(&mut units, end);
    units
}

/// Decides what a scan reads of a stripe. The default reads everything.
pub trait Filter {
    /// False if no row of the stripe can matter.
    fn wants_stripe(&mut self, _store: &Store, _stripe: &OpenStripe) -> Result<bool, OrochiError> {
        Ok(true)
    }

    /// Learns that a vector was read, or how many were not.
    fn note_vectors(&mut self, _read: u64, _skipped: u64) {}

    /// False if no row of the vector can matter.
    fn wants_vector(&mut self, _store: &Store, _stripe: &OpenStripe, _vector: usize) -> Result<bool, OrochiError> {
        Ok(true)
    }

    /// Takes rows of the reader's vector out that cannot matter; true if all those matter that are left.
    fn narrow(&mut self, _store: &Store, _reader: &mut RowReader, _rows: &mut Selection) -> Result<bool, OrochiError> {
        Ok(true)
    }

    /// The columns to decode, all if `None`.
    fn columns(&self) -> Option<Rc<[bool]>> {
        None
    }
}

/// Reads everything.
pub struct All;
impl Filter for All {}

impl Filter for Box<dyn Filter> {
    fn wants_stripe(&mut self, store: &Store, stripe: &OpenStripe) -> Result<bool, OrochiError> {
        (**self).wants_stripe(store, stripe)
    }

    fn wants_vector(&mut self, store: &Store, stripe: &OpenStripe, vector: usize) -> Result<bool, OrochiError> {
        (**self).wants_vector(store, stripe, vector)
    }

    fn note_vectors(&mut self, read: u64, skipped: u64) {
        (**self).note_vectors(read, skipped);
    }

    fn narrow(&mut self, store: &Store, reader: &mut RowReader, rows: &mut Selection) -> Result<bool, OrochiError> {
        (**self).narrow(store, reader, rows)
    }

    fn columns(&self) -> Option<Rc<[bool]>> {
        (**self).columns()
    }
}

/// The unit that is being read.
enum Open {
    Stripe(Box<StripeCursor>),
    Rows(RowsCursor),
}

/// Where a scan is.
pub struct Cursor<F: Filter> {
    snapshot: Snap,
    plan: Plan,
    filter: F,
    open: Option<Open>,
    unit: i64,
}

/// Gives out units.
pub trait Units {
    /// The unit to read after `current` (-1 before the first).
    fn following(&mut self, current: i64, forward: bool) -> i64;
}

/// Units one after the other.
pub struct Sequential;
impl Units for Sequential {
    fn following(&mut self, current: i64, forward: bool) -> i64 {
        if forward { current + 1 } else { current - 1 }
    }
}

impl<F: Filter> Cursor<F> {
    /// Starts before the first row.
    pub fn new(store: &Store, snapshot: Snap, filter: F, next_block: u32) -> Result<Self, OrochiError> {
        Ok(Self { snapshot, plan: Plan::new(store, snapshot, next_block)?, filter, open: None, unit: -1 })
    }

    /// Goes back before the first row.
    pub fn rewind(&mut self) {
        self.open = None;
        self.unit = -1;
    }

    /// Puts the next row into the slot if it is one of the vector being read; otherwise false, and [`Self::next`] has to be called. Goes
    /// forward only, and calls nothing that can fail.
    ///
    /// # Safety
    /// As for [`Self::next`], which must have filled the slot last.
    #[inline]
    pub unsafe fn next_ready(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(Open::Stripe(cursor)) = &mut self.open else { return false };
        let Some((index, number)) = cursor.step() else { return false };
        // SAFETY: the caller's promise.
        unsafe {
            cursor.reader.fill_loaded(index, slot);
            (*slot).tts_tid = tid::to_tid(number);
            slot::set_system(slot, cursor.reader.system());
        }
        true
    }

    /// Puts columns of the next row into `result` if it is one of the vector being read and needs no further look at its filter's
    /// conditions; otherwise as [`Self::next_ready`]. Of the row's own slot only the TID changes.
    ///
    /// # Safety
    /// As for [`Self::next_ready`] as to `slot`, and for [`RowReader::project`] as to `result` and `places`.
    #[inline]
    pub unsafe fn next_projected(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        result: *mut pg_sys::TupleTableSlot,
        places: &[Option<u16>],
    ) -> bool {
        let Some(Open::Stripe(cursor)) = &mut self.open else { return false };
        let Some((index, number)) = cursor.decided.then(|| cursor.step()).flatten() else { return false };
        // SAFETY: the caller's promise.
        unsafe {
            cursor.reader.project(index, result, places);
            (*slot).tts_tid = tid::to_tid(number);
        }
        true
    }

    /// Puts the next row into the slot; false after the last one.
    ///
    /// # Safety
    /// `slot` must be one of ours, of the table's row type.
    pub unsafe fn next(
        &mut self,
        store: &Store,
        units: &mut impl Units,
        forward: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, OrochiError> {
        if self.open.is_none() && self.unit == -1 && !forward {
            self.unit = self.plan.units() as i64;
        }
        loop {
            let found = match &mut self.open {
                // SAFETY: the caller's promise.
                Some(Open::Stripe(cursor)) => unsafe { cursor.next(store, &mut self.filter, forward, slot)? },
                // SAFETY: as above.
                Some(Open::Rows(cursor)) => unsafe { cursor.next(store, self.snapshot, forward, slot)? },
                None => false,
            };
            if found {
                // SAFETY: as above.
                unsafe { (*slot).tts_tableOid = store.table().oid() };
                return Ok(true);
            }
            pgrx::check_for_interrupts!();
            if !self.advance(store, units, forward)? {
                return Ok(false);
            }
        }
    }

    /// Opens the next unit; false if there is none.
    fn advance(&mut self, store: &Store, units: &mut impl Units, forward: bool) -> Result<bool, OrochiError> {
        self.open = None;
        let end = self.plan.units() as i64;
        if (forward && self.unit >= end) || (!forward && self.unit < 0) {
            return Ok(false);
        }
        self.unit = units.following(self.unit, forward);
        let Some(unit) = u64::try_from(self.unit).ok().and_then(|u| self.plan.unit(u)) else {
            self.unit = if forward { end } else { -1 };
            return Ok(false);
        };
        self.open = match unit {
            Unit::Stripe(index) => {
                self.open_stripe(store, index, forward)?.map(|cursor| Open::Stripe(Box::new(cursor)))
            }
            Unit::Rows(first, last) => Some(Open::Rows(RowsCursor::new(store, self.snapshot, first, last, forward))),
        };
        Ok(true)
    }

    fn open_stripe(&mut self, store: &Store, index: usize, forward: bool) -> Result<Option<StripeCursor>, OrochiError> {
        let stripe = stripe::open_described(store, self.plan.describe(index))?;
        if !self.filter.wants_stripe(store, &stripe)? {
            counters::add(Counter::StripesSkipped, 1);
            return Ok(None);
        }
        counters::add(Counter::StripesScanned, 1);
        Ok(Some(StripeCursor::new(store, stripe, self.snapshot, &mut self.filter, forward)?))
    }
}

/// Reads a stripe.
struct StripeCursor {
    reader: RowReader,
    dead: DeadSet,
    /// Numbers of the vector's rows.
    rows: Option<Rc<RowBlock>>,
    /// Those of them that are read.
    selected: Selection,
    /// Whether each of these is known to matter.
    decided: bool,
    /// The vectors that are read.
    vectors: Vec<u32>,
    /// Which of these is being read; -1 and their number are the ends.
    at: i64,
    read_ahead: ReadAhead,
    /// Row read last; one before the first and one behind the last at the ends.
    index: i64,
}

impl StripeCursor {
    fn new(
        store: &Store,
        stripe: Rc<OpenStripe>,
        snapshot: Snap,
        filter: &mut impl Filter,
        forward: bool,
    ) -> Result<Self, OrochiError> {
        let dead = DeadSet::of_stripe(store, &stripe.meta, snapshot.for_metadata());
        let count = stripe.footer().vector_count();
        let mut vectors = Vec::new();
        for vector in 0..count {
            if filter.wants_vector(store, &stripe, vector)? {
                vectors.push(vector as u32);
            }
        }
        let skipped = (count - vectors.len()) as u64;
        filter.note_vectors(0, skipped);
        counters::add(Counter::VectorsSkipped, skipped);
        let at = if forward { -1 } else { vectors.len() as i64 };
        let reader = RowReader::for_scan(stripe, filter.columns());
        let (rows, selected, read_ahead) = (None, Selection::first(0), ReadAhead::new(store));
        Ok(Self { reader, dead, rows, selected, decided: false, vectors, at, read_ahead, index: 0 })
    }

    /// Turns to the next row of the vector, if its columns are decoded, and says which one that is and its number.
    #[inline]
    fn step(&mut self) -> Option<(usize, RowNumber)> {
        let rows = self.rows.as_ref().filter(|_| self.reader.is_loaded())?;
        let index = self.selected.at_or_after((self.index + 1) as usize)?;
        let number = rows.get(index)?;
        self.index = index as i64;
        Some((index, RowNumber(number)))
    }

    /// # Safety
    /// As for [`Cursor::next`].
    unsafe fn next(
        &mut self,
        store: &Store,
        filter: &mut impl Filter,
        forward: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, OrochiError> {
        loop {
            if let Some(rows) = &self.rows {
                let next = match forward {
                    true => self.selected.at_or_after((self.index + 1) as usize),
                    false => self.selected.before(self.index as usize),
                };
                if let Some((index, number)) = next.and_then(|index| Some((index, rows.get(index)?))) {
                    self.index = index as i64;
                    let at = Position { vector: self.vector(), index: index as u16 };
                    // SAFETY: the caller's promise.
                    unsafe {
                        self.reader.fill(store, at, slot)?;
                        (*slot).tts_tid = tid::to_tid(RowNumber(number));
                        slot::set_system(slot, self.reader.system());
                    }
                    return Ok(true);
                }
            }
            if !self.next_vector(store, filter, forward)? {
                return Ok(false);
            }
        }
    }

    /// The vector being read.
    fn vector(&self) -> u32 {
        usize::try_from(self.at).ok().and_then(|at| self.vectors.get(at).copied()).unwrap_or(u32::MAX)
    }

    fn next_vector(&mut self, store: &Store, filter: &mut impl Filter, forward: bool) -> Result<bool, OrochiError> {
        self.rows = None;
        let count = self.vectors.len() as i64;
        self.at = (self.at + if forward { 1 } else { -1 }).clamp(-1, count);
        if !(0..count).contains(&self.at) {
            return Ok(false);
        }
        pgrx::check_for_interrupts!();
        let stripe = self.reader.stripe().clone();
        if forward {
            let columns = || self.reader.wanted_columns();
            self.read_ahead.reach(store, &stripe, columns, &self.vectors, self.at as usize)?;
        }
        filter.note_vectors(1, 0);
        counters::add(Counter::VectorsScanned, 1);
        let rows = stripe.rows(store, self.vector() as usize)?;
        self.select(store, filter, &stripe, &rows)?;
        self.index = if forward { -1 } else { rows.len() as i64 };
        self.rows = Some(rows);
        Ok(true)
    }

    /// Finds the rows of the vector that are there and matter.
    fn select(
        &mut self,
        store: &Store,
        filter: &mut impl Filter,
        stripe: &OpenStripe,
        rows: &RowBlock,
    ) -> Result<(), OrochiError> {
        let vector = self.vector();
        self.selected = Selection::first(rows.len());
        let all_live = self.dead.is_empty() && !stripe.has_deleted();
        for index in (0..rows.len()).filter(|_| !all_live) {
            let dead = rows.get(index).is_some_and(|row| self.dead.contains(RowNumber(row)));
            if dead || stripe.is_deleted(store, Position { vector, index: index as u16 })? {
                self.selected.remove(index);
            }
        }
        self.reader.open_vector(vector);
        self.decided = filter.narrow(store, &mut self.reader, &mut self.selected)?;
        self.reader.select(self.selected);
        Ok(())
    }
}

/// Reads a range of the row store. The row numbers and places are read in one go, the rows one by one.
struct RowsCursor {
    rows: Vec<(RowNumber, pg_sys::ItemPointerData)>,
    index: i64,
}

impl RowsCursor {
    fn new(store: &Store, snapshot: Snap, first: RowNumber, last: RowNumber, forward: bool) -> Self {
        let rows = row::list(store, KeyRange::rows(first, last), snapshot);
        let index = if forward { -1 } else { rows.len() as i64 };
        Self { rows, index }
    }

    /// # Safety
    /// As for [`Cursor::next`].
    unsafe fn next(
        &mut self,
        store: &Store,
        snapshot: Snap,
        forward: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, OrochiError> {
        loop {
            self.index = (self.index + if forward { 1 } else { -1 }).clamp(-1, self.rows.len() as i64);
            let Some((row, at)) = usize::try_from(self.index).ok().and_then(|i| self.rows.get(i)) else {
                return Ok(false);
            };
            let Some(stored) = store.fetch(*at, snapshot) else { continue };
            if !stored.visible() || stored.item != (Item::Row { row: *row, part: 0 }) {
                continue;
            }
            // SAFETY: the caller's promise; the tuple is made in the slot's own context.
            unsafe {
                let old = pg_sys::MemoryContextSwitchTo((*slot).tts_mcxt);
                let tuple = row::tuple(store, *row, &stored);
                pg_sys::MemoryContextSwitchTo(old);
                slot::store_tuple(slot, tuple?);
            }
            return Ok(true);
        }
    }
}

/// Raises an error if the table was rewritten by a transaction that the snapshot does not see.
pub fn check_rewrite(store: &Store, snapshot: Snap) {
    let Some(meta) = metapage::read(store.table()) else { return };
    if meta.rewrite_xid == 0 || snapshot.kind() != crate::pg::snapshot::Kind::Mvcc {
        return;
    }
    let xid = pg_sys::TransactionId::from(meta.rewrite_xid as u32);
    // SAFETY: pure tests. The full transaction id guards against a counter that has wrapped around.
    let recent = unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        next - meta.rewrite_xid < (1 << 31) && !pg_sys::TransactionIdIsCurrentTransactionId(xid)
    };
    if recent && snapshot.does_not_see(xid) {
        Err::<(), _>(OrochiError::RewrittenSince { relation: store.table().name() }).or_raise();
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn covered(units: &[Unit], end: u64) {
        let mut next = 0;
        for unit in units {
            if let Unit::Rows(first, last) = unit {
                assert_eq!(first.0, next);
                assert!(first <= last);
                next = last.0 + 1;
            }
        }
        assert_eq!(next, end);
    }

    #[test]
    fn units_cover_the_row_store_once_and_in_order() {
        for (firsts, blocks) in [
            (vec![], 0),
            (vec![], 1),
            (vec![0], 700),
            (vec![0, 0, 5, 291, 60_000], 207),
            (vec![4656], 30),
            (vec![100, 1_000_000_000], 20_000_000),
        ] {
            let units = divide(&firsts, blocks);
            covered(&units, u64::from(blocks) * ROWS_PER_BLOCK);
            let starts: Vec<u64> = units
                .iter()
                .map(|unit| match unit {
                    Unit::Stripe(index) => firsts[*index],
                    Unit::Rows(first, _) => first.0,
                })
                .collect();
            assert!(starts.is_sorted(), "{units:?}");
            assert_eq!(units.iter().filter(|u| matches!(u, Unit::Stripe(_))).count(), firsts.len());
        }
    }
}
