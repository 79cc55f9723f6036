//! The rows of one virtual block, for bitmap scans, samples, ANALYZE and TID ranges.

use super::dead_set::DeadSet;
use super::encoding::Position;
use super::key::{KeyRange, ROWS_PER_BLOCK, RowNumber, block_start};
use super::reader::RowReader;
use super::store::Store;
use super::stripe::{self, OpenStripe};
use super::{row, slot, tid};
use crate::pg::error::OrochiError;
use crate::pg::snapshot::Snap;
use pgrx::pg_sys;
use std::rc::Rc;

enum Place {
    Row(pg_sys::ItemPointerData),
    Stripe(usize, Position),
}

/// Rows of a block that a snapshot sees, by ascending number.
#[derive(Default)]
pub struct BlockRows {
    rows: Vec<(RowNumber, Place)>,
    readers: Vec<RowReader>,
}

impl BlockRows {
    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Finds the rows of a block.
    pub fn load(&mut self, store: &Store, block: u32, snapshot: Snap) -> Result<(), OrochiError> {
        self.rows.clear();
        // Blocks mostly come in ascending order, so only the stripes of the last few are worth keeping.
        if self.readers.len() > 4 {
            self.readers.clear();
        }
        let rows = row::list(store, KeyRange::blocks(block, block), snapshot);
        self.rows.extend(rows.into_iter().map(|(row, at)| (row, Place::Row(at))));
        let metadata = snapshot.for_metadata();
        let (first, last) = (block_start(block), RowNumber(block_start(block + 1).0 - 1));
        let mut found = Vec::new();
        for range in KeyRange::stripes_covering(block) {
            let mut items = store.scan(range, metadata);
            while let Some(stored) = items.next_visible() {
                let meta = stripe::parse_meta(store, &stored)?;
                let xmin = crate::pg::heap::raw_xmin(stored.pinned.header());
                if !meta.open && meta.last_row >= first.0 {
                    found.push(stripe::Described { meta, xmin, tid: stored.pinned.tid() });
                }
            }
        }
        if !found.is_empty() {
            let dead = DeadSet::load(store, first, last, metadata);
            for described in found {
                let stripe = stripe::open_described(store, described)?;
                self.add_stripe(store, stripe, block, &dead)?;
            }
            self.rows.sort_by_key(|(row, _)| *row);
            // A row that the mover is just moving may show in both places to a snapshot that is not MVCC.
            self.rows.dedup_by_key(|(row, _)| *row);
        }
        Ok(())
    }

    fn add_stripe(
        &mut self,
        store: &Store,
        stripe: Rc<OpenStripe>,
        block: u32,
        dead: &DeadSet,
    ) -> Result<(), OrochiError> {
        let (start, end) = (block_start(block).0, block_start(block).0 + ROWS_PER_BLOCK);
        let reader = self.reader_of(&stripe);
        for (row, at) in stripe.rows_between(store, start, end)? {
            if !dead.contains(row) && !stripe.is_deleted(store, at)? {
                self.rows.push((row, Place::Stripe(reader, at)));
            }
        }
        Ok(())
    }

    fn reader_of(&mut self, stripe: &Rc<OpenStripe>) -> usize {
        let same = |r: &RowReader| r.stripe().meta.blob == stripe.meta.blob;
        if let Some(index) = self.readers.iter().position(same) {
            return index;
        }
        // The rows of a block are all over a sorted stripe.
        let near = stripe.footer().is_increasing();
        self.readers.push(if near {
            RowReader::for_scan(stripe.clone(), None)
        } else {
            RowReader::new(stripe.clone())
        });
        self.readers.len() - 1
    }

    /// Keeps only the rows at the given offsets.
    pub fn retain(&mut self, offsets: &[u16]) {
        self.rows.retain(|(row, _)| offsets.contains(&row.offset()));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Index of the first row at or after an offset of the block.
    pub fn at_or_after(&self, row: RowNumber) -> usize {
        self.rows.partition_point(|(r, _)| *r < row)
    }

    /// Number of row `index`.
    pub fn number(&self, index: usize) -> Option<RowNumber> {
        self.rows.get(index).map(|(row, _)| *row)
    }

    /// Puts row `index` into a slot; false if it is gone.
    ///
    /// # Safety
    /// `slot` must be one of ours, of the table's row type.
    pub unsafe fn fetch(
        &mut self,
        store: &Store,
        index: usize,
        snapshot: Snap,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, OrochiError> {
        let Some((row, place)) = self.rows.get(index) else { return Ok(false) };
        // SAFETY: the caller's promise; tuples are made in the slot's own context.
        unsafe {
            match place {
                Place::Row(at) => {
                    let Some(stored) = store.fetch(*at, snapshot).filter(|s| s.visible()) else { return Ok(false) };
                    let old = pg_sys::MemoryContextSwitchTo((*slot).tts_mcxt);
                    let tuple = row::tuple(store, *row, &stored);
                    pg_sys::MemoryContextSwitchTo(old);
                    slot::store_tuple(slot, tuple?);
                }
                Place::Stripe(reader, at) => {
                    let reader = &mut self.readers[*reader];
                    reader.want(slot::wanted(slot));
                    reader.fill(store, *at, slot)?;
                    (*slot).tts_tid = tid::to_tid(*row);
                    slot::set_system(slot, reader.system());
                }
            }
            (*slot).tts_tableOid = store.table().oid();
        }
        Ok(true)
    }
}
