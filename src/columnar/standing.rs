//! How a row stands: what changes and locks of it go by (docs/storage.md, "Writing").

use super::key::{Item, RowNumber};
use super::store::{Store, Stored};
use super::{lookup, row, snapshot_stripes, tid};
use crate::monitor::counters::{self, Counter};
use crate::pg::compat;
use crate::pg::snapshot::{DirtySnapshot, Snap};
use pgrx::pg_sys;

/// The companion tuple that stands for a row in locks, updates and deletions.
#[derive(Clone, Copy)]
pub enum Handle {
    /// The row itself.
    Row {
        /// Its place.
        at: pg_sys::ItemPointerData,
        /// Tuples that it consists of.
        parts: u32,
    },
    /// The anchor of a stripe row.
    Anchor(pg_sys::ItemPointerData),
}

impl Handle {
    /// Its place in the companion.
    pub fn at(&self) -> pg_sys::ItemPointerData {
        match *self {
            Self::Row { at, .. } | Self::Anchor(at) => at,
        }
    }
}

/// What the row store and the marks say about a row, now.
pub struct Standing {
    /// The row in the row store, and whether it is alive there.
    pub row: Option<(Handle, bool)>,
    /// Its anchor, and whether that is alive.
    pub anchor: Option<(Handle, bool)>,
    /// Whether a mark says that it is deleted.
    pub dead: bool,
    /// The transaction and the command, if these are ours, that made the mark.
    marked_by_us: Option<(pg_sys::TransactionId, pg_sys::CommandId)>,
    /// Another transaction in progress that has made a mark.
    marked_by: Option<pg_sys::TransactionId>,
}

/// Looks at a row.
pub fn standing(store: &Store, row: RowNumber) -> Standing {
    let mut standing = Standing { row: None, anchor: None, dead: false, marked_by_us: None, marked_by: None };
    let mut items = store.scan_row_with_anchors(row, Snap::latest());
    while let Some(stored) = items.next_any() {
        let (at, visible) = (stored.pinned.tid(), stored.visible());
        match stored.item {
            Item::Row { part: 0, .. } => {
                standing.row = Some((Handle::Row { at, parts: row::part_count(&stored) }, visible));
            }
            // Of several anchors the living one counts; else the last, which leads to the row's successor.
            Item::Anchor(_) if visible || !standing.anchor.is_some_and(|(_, v)| v) => {
                standing.anchor = Some((Handle::Anchor(at), visible));
            }
            Item::Dead(_) if visible => {
                standing.dead = true;
                standing.marked_by_us = our_command(&stored);
            }
            Item::Dead(_) => match insertion(store, at) {
                Insertion::InProgress(xid) => standing.marked_by = Some(xid),
                // Since the look before this one.
                Insertion::Committed => standing.dead = true,
                Insertion::RolledBack => {}
            },
            _ => {}
        }
    }
    standing
}

fn our_command(mark: &Stored) -> Option<(pg_sys::TransactionId, pg_sys::CommandId)> {
    let xid = mark.pinned.xmin();
    // SAFETY: pure tests; HeapTupleHeaderGetCmin is asked only for tuples of our own transaction.
    unsafe {
        pg_sys::TransactionIdIsCurrentTransactionId(xid)
            .then(|| (xid, pg_sys::HeapTupleHeaderGetCmin(compat::header_ptr(mark.pinned.header()))))
    }
}

/// What has become of another transaction's insertion.
enum Insertion {
    InProgress(pg_sys::TransactionId),
    Committed,
    RolledBack,
}

fn insertion(store: &Store, at: pg_sys::ItemPointerData) -> Insertion {
    let mut dirty = DirtySnapshot::new();
    if !store.fetch(at, dirty.snap()).is_some_and(|stored| stored.visible()) {
        return Insertion::RolledBack;
    }
    dirty.inserter().map_or(Insertion::Committed, Insertion::InProgress)
}

/// What to go by.
pub enum Resolved {
    /// This tuple stands for the row.
    Handle(Handle),
    /// A stripe row that nobody holds.
    Free,
    /// A stripe row that a transaction in progress has deleted.
    Contested(pg_sys::TransactionId),
    /// It is deleted, or never was.
    Gone,
    /// This command of our own transaction has deleted it, without an anchor.
    GoneByUs(pg_sys::TransactionId, pg_sys::CommandId),
}

/// Finds what stands for a row.
pub fn resolve(store: &Store, row: RowNumber) -> Resolved {
    let now = standing(store, row);
    if let Some((handle, visible)) = now.row
        && (visible || !lookup::in_stripe_now(store, row))
    {
        return Resolved::Handle(handle);
    }
    if let Some((handle, visible)) = now.anchor
        && (visible || now.dead)
    {
        return Resolved::Handle(handle);
    }
    match (now.dead, now.marked_by) {
        (true, _) => now.marked_by_us.map_or(Resolved::Gone, |(xid, command)| Resolved::GoneByUs(xid, command)),
        (false, Some(other)) => Resolved::Contested(other),
        (false, None) if lookup::in_stripe_now(store, row) => Resolved::Free,
        (false, None) => Resolved::Gone,
    }
}

/// Makes the anchor of a stripe row, unless the row's standing has changed meanwhile.
pub fn make_anchor(store: &Store, row: RowNumber) -> Option<Handle> {
    if_free(store, row, || {
        counters::add(Counter::AnchorsCreated, 1);
        Handle::Anchor(store.insert_anchor(row))
    })
}

/// Marks a stripe row as deleted that has no anchor, unless its standing has changed meanwhile. Whoever wants the row from then on meets
/// the mark, and waits for our transaction.
pub fn mark_free(store: &Store, row: RowNumber, cid: pg_sys::CommandId) -> bool {
    if_free(store, row, || mark(store, row, cid)).is_some()
}

/// Marks a row as deleted.
pub fn mark(store: &Store, row: RowNumber, cid: pg_sys::CommandId) {
    snapshot_stripes::marked();
    store.insert(Item::Dead(row).key(), &[], cid, 0);
}

/// Does something with a stripe row that nobody holds, while nobody else can.
fn if_free<T>(store: &Store, row: RowNumber, work: impl FnOnce() -> T) -> Option<T> {
    let lock = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    let mut row_tid = tid::to_tid(row);
    // SAFETY: the table is open; the lock is held for a few page accesses only.
    unsafe { pg_sys::LockTuple(store.table().raw(), &mut row_tid, lock) };
    let now = standing(store, row);
    let anchored = now.anchor.is_some_and(|(_, visible)| visible);
    let free = !anchored && !now.dead && now.marked_by.is_none() && lookup::in_stripe_now(store, row);
    let done = free.then(work);
    // SAFETY: locked above.
    unsafe { pg_sys::UnlockTuple(store.table().raw(), &mut row_tid, lock) };
    done
}
