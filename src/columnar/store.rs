//! A table's companion, opened: insertion and range reading of its tuples.

use super::key::{Item, Key, KeyRange, RowNumber};
use crate::pg::error::OrochiError;
use crate::pg::keyscan::{KeyScan, contains};
use crate::pg::snapshot::Snap;
use crate::pg::tuple::{Pinned, TupleBuffer, companion_indexes};
use crate::pg::{OpenRel, Rel, externs, heap};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};

thread_local! {
    static TUPLE: RefCell<TupleBuffer> = RefCell::new(TupleBuffer::default());
}

/// The companion and its indexes, open. `indexes[0]` is the one that is read.
pub struct Store {
    indexes: Vec<OpenRel>,
    companion: OpenRel,
    table: Rel,
    /// The row that was last found to be inserted or deleted by the current transaction.
    in_progress: Cell<Option<RowNumber>>,
}

impl Store {
    /// Notes that the current transaction has inserted or deleted a row.
    pub fn note_in_progress(&self, row: RowNumber) {
        self.in_progress.set(Some(row));
    }

    /// True if the row is the one last noted. It is for questions that follow at once, within the same command.
    pub fn is_in_progress(&self, row: RowNumber) -> bool {
        self.in_progress.get() == Some(row)
    }

    /// Opens the companion for reading; `None` if the table has none, and so no rows.
    pub fn open(table: Rel) -> Option<Self> {
        Self::open_with(table, pg_sys::AccessShareLock)
    }

    /// Opens the companion for writing, making it if the table came without one (a heap table of fixed-width columns
    /// has none, and neither has its rewritten successor).
    pub fn open_for_write(table: Rel) -> Self {
        if let Some(store) = Self::open_with(table, pg_sys::RowExclusiveLock) {
            return store;
        }
        // SAFETY: only a rewrite meets a table without companion, and it holds the exclusive lock that creation needs;
        // otherwise the lock is taken here. The command counter makes the new pg_class row visible.
        unsafe {
            externs::NewHeapCreateToastTable(
                table.oid(),
                pg_sys::Datum::from(0usize),
                pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE,
                pg_sys::InvalidOid,
            );
            pg_sys::CommandCounterIncrement();
        }
        Self::open_with(table, pg_sys::RowExclusiveLock).unwrap_or_else(|| {
            OrochiError::Internal(format!("columnar table \"{}\" has no companion relation", table.name())).raise()
        })
    }

    fn open_with(table: Rel, lock: u32) -> Option<Self> {
        let oid = table.companion();
        if oid == pg_sys::InvalidOid {
            return None;
        }
        let companion = OpenRel::table(oid, lock);
        let indexes = companion_indexes(companion.rel(), lock);
        if indexes.is_empty() {
            OrochiError::Internal(format!("companion of columnar table \"{}\" has no index", table.name())).raise();
        }
        Some(Self { indexes, companion, table, in_progress: Cell::new(None) })
    }

    /// Lets go of the relations without closing them: after an ERROR the resource owner has done so.
    pub fn abandon(self) {
        let Self { indexes, companion, .. } = self;
        indexes.into_iter().for_each(OpenRel::abandon);
        companion.abandon();
    }

    /// The table.
    #[inline]
    pub fn table(&self) -> Rel {
        self.table
    }

    /// The companion relation.
    #[inline]
    pub fn companion(&self) -> Rel {
        self.companion.rel()
    }

    /// Inserts a tuple and its index entry.
    pub fn insert(&self, key: Key, payload: &[u8], cid: pg_sys::CommandId, options: u32) -> pg_sys::ItemPointerData {
        TUPLE.with_borrow_mut(|buffer| {
            let tuple = buffer.form(key.id, key.seq, payload);
            // SAFETY: `form` made a well-formed companion tuple.
            let tid = unsafe { heap::insert(self.companion(), tuple, cid, options) };
            self.insert_index_entry(key, tid);
            tid
        })
    }

    /// Inserts the anchor of a stripe row, which outlives a rollback of the current transaction.
    ///
    /// So has its index entry to. When an index is new in this transaction (REINDEX) its entries go with it, and so must the anchor; nobody
    /// else can look for it meanwhile.
    pub fn insert_anchor(&self, row: RowNumber) -> pg_sys::ItemPointerData {
        let passing = self.indexes.iter().any(|index| index.rel().is_new_in_transaction());
        self.insert(Item::Anchor(row).key(), &[], 0, if passing { 0 } else { pg_sys::HEAP_INSERT_FROZEN })
    }

    /// Inserts a row tuple on probation (ON CONFLICT): it counts only once it is confirmed.
    pub fn insert_speculative(
        &self,
        key: Key,
        payload: &[u8],
        cid: pg_sys::CommandId,
        token: u32,
    ) -> pg_sys::ItemPointerData {
        TUPLE.with_borrow_mut(|buffer| {
            let tuple = buffer.form(key.id, key.seq, payload);
            // SAFETY: as in `insert`; the token goes where HeapTupleHeaderSetSpeculativeToken puts it.
            let tid = unsafe {
                pgrx::itemptr::item_pointer_set_all(&mut (*(*tuple).t_data).t_ctid, token, 0xfffe);
                heap::insert(self.companion(), tuple, cid, pg_sys::HEAP_INSERT_SPECULATIVE)
            };
            self.insert_index_entry(key, tid);
            tid
        })
    }

    /// Updates the tuple at `tid` into one with the given key; inserts the index entry on success. Returns the xmax of the new
    /// version as well: it inherits locks of its own transaction.
    pub fn update(
        &self,
        tid: pg_sys::ItemPointerData,
        key: Key,
        payload: &[u8],
        cid: pg_sys::CommandId,
        crosscheck: pg_sys::Snapshot,
        wait: bool,
        key_intact: bool,
    ) -> (heap::TM_Result::Type, heap::TM_FailureData, heap::LockTupleMode::Type, pg_sys::TransactionId) {
        TUPLE.with_borrow_mut(|buffer| {
            let tuple = buffer.form(key.id, key.seq, payload);
            // SAFETY: `form` made a well-formed companion tuple.
            let outcome = unsafe { heap::update(self.companion(), tid, tuple, cid, crosscheck, wait, key_intact) };
            if outcome.0 == heap::TM_Result::TM_Ok {
                // SAFETY: heap_update stored the new TID.
                self.insert_index_entry(key, unsafe { (*tuple).t_self });
            }
            // SAFETY: as above; a tuple that was not stored has an xmax of zero.
            let xmax = unsafe { heap::raw_xmax(&*(*tuple).t_data) };
            (outcome.0, outcome.1, outcome.2, xmax)
        })
    }

    fn insert_index_entry(&self, key: Key, mut tid: pg_sys::ItemPointerData) {
        let mut values = [pg_sys::Datum::from(key.id), pg_sys::Datum::from(key.seq)];
        let mut nulls = [false; 2];
        // Anchors and marks come where there were others, most of them dead by now. The index, told that a key has not changed, looks for such
        // before it splits a page.
        let among_dead = key.is_of_stripe_row();
        for index in &self.indexes {
            // SAFETY: the indexes are open for writing; keys are unique by construction, so nothing is checked.
            unsafe {
                if (*(*index.rel().raw()).rd_index).indisready {
                    pg_sys::index_insert(
                        index.rel().raw(),
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                        &mut tid,
                        self.companion().raw(),
                        pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                        among_dead,
                        std::ptr::null_mut(),
                    );
                }
            }
        }
    }

    /// Starts reading a range of keys.
    pub fn scan(&self, range: KeyRange, snapshot: Snap) -> Items<'_> {
        Items { scan: self.key_scan(&range), store: self, range, rest: [None, None], snapshot }
    }

    /// Starts reading what says whether there is a row: its parts in the row store, then its marks. The order matters, for a row that is not
    /// in the row store any more may have got its mark since.
    pub fn scan_row(&self, row: RowNumber, snapshot: Snap) -> Items<'_> {
        Items { rest: [None, Some(KeyRange::marks(row, row))], ..self.scan(KeyRange::row(row), snapshot) }
    }

    /// Starts reading what there is of one row number: its parts in the row store, then its anchors, then its marks. Who deletes a row deletes
    /// its anchor before there is a mark.
    pub fn scan_row_with_anchors(&self, row: RowNumber, snapshot: Snap) -> Items<'_> {
        let rest = [Some(KeyRange::anchors(row, row)), Some(KeyRange::marks(row, row))];
        Items { rest, ..self.scan(KeyRange::row(row), snapshot) }
    }

    fn key_scan(&self, range: &KeyRange) -> KeyScan {
        KeyScan::begin(self.companion(), self.indexes[0].rel(), range)
    }

    /// Fetches one tuple by its TID in the companion.
    pub fn fetch(&self, tid: pg_sys::ItemPointerData, snapshot: Snap) -> Option<Stored> {
        Stored::new(Pinned::fetch(self.companion(), snapshot, tid)?)
    }
}

/// A companion tuple with its meaning.
pub struct Stored {
    /// What it is.
    pub item: Item,
    /// Its key.
    pub key: Key,
    /// The tuple on its pinned page.
    pub pinned: Pinned,
}

impl Stored {
    fn new(pinned: Pinned) -> Option<Self> {
        let (id, seq) = pinned.key()?;
        let key = Key { id, seq };
        Some(Self { item: Item::parse(key)?, key, pinned })
    }

    /// Whether the snapshot of the read sees it.
    #[inline]
    pub fn visible(&self) -> bool {
        self.pinned.visible
    }
}

/// Tuples of a key range in key order, visible or not.
pub struct Items<'a> {
    scan: KeyScan,
    store: &'a Store,
    range: KeyRange,
    /// Further ranges, read when the first has ended.
    rest: [Option<KeyRange>; 2],
    snapshot: Snap,
}

impl Items<'_> {
    /// The next tuple that is there at all; [`Stored::visible`] tells whether the snapshot sees it.
    ///
    /// Index entries that lead to nothing, or to a dead stripe, are passed over by later scans: every move leaves some behind, and who
    /// looks for a row has to get past those of its neighbourhood. Entries of dead rows and marks stay until VACUUM takes them, for
    /// they tell who removed a row.
    #[inline]
    pub fn next_any(&mut self) -> Option<Stored> {
        loop {
            let Some(tid) = self.scan.next() else {
                self.range = self.rest.iter_mut().find_map(Option::take)?;
                self.scan = self.store.key_scan(&self.range);
                continue;
            };
            let Some(pinned) = Pinned::fetch(self.store.companion(), self.snapshot, tid) else {
                self.scan.forget_last();
                continue;
            };
            let Some(mut stored) = Stored::new(pinned).filter(|stored| contains(&self.range, stored.key)) else {
                continue;
            };
            if matches!(stored.item, Item::Stripe { .. }) && stored.pinned.is_surely_dead(self.store.companion()) {
                self.scan.forget_last();
                continue;
            }
            return Some(stored);
        }
    }

    /// The next tuple that the snapshot sees.
    #[inline]
    pub fn next_visible(&mut self) -> Option<Stored> {
        loop {
            let stored = self.next_any()?;
            if stored.visible() {
                return Some(stored);
            }
        }
    }
}
