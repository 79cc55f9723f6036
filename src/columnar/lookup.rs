//! Finding a row by its number under any kind of snapshot (docs/storage.md, "Visibility").

use super::key::{Item, KeyRange, RowNumber, block_start};
use super::snapshot_stripes::{Listed, SnapshotStripes};
use super::store::{Store, Stored};
use super::stripe::{self, OpenStripe};
use super::write_buffer;
use super::{metapage, mover, row};
use crate::columnar::encoding::{Position, StripeMeta};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::horizon::{Horizon, newer};
use crate::pg::relation::NumberingLock;
use crate::pg::snapshot::{DirtySnapshot, Kind, Snap};
use pgrx::pg_sys;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// Where a row is.
pub enum Found {
    /// In the row store; its tuple, palloc'd in the current context.
    Row(pg_sys::HeapTuple),
    /// In a stripe.
    Stripe(Rc<OpenStripe>, Position),
    /// In the memory of a transaction in progress, which the dirty snapshot names.
    Reserved,
}

/// What the row store and the marks say about one row number.
struct Marks {
    row: Option<Stored>,
    /// A row that the snapshot does not see, and that is in no stripe.
    gone: bool,
    /// A mark that the metadata snapshot sees. It also counts against a row of the row store: an old snapshot sees the row there
    /// although the mover has moved it since, and its own transaction may then have deleted it from the stripe.
    dead: bool,
    /// In-progress deleter of the stripe row, for dirty snapshots.
    deleter: Option<pg_sys::TransactionId>,
}

/// Finds the row version `row` if `snapshot` sees it. A dirty snapshot learns who is at it.
pub fn find(store: &Store, row: RowNumber, snapshot: Snap) -> Option<Found> {
    let kind = snapshot.kind();
    write_buffer::settle_row(store.table(), row);
    let marks = read_marks(store, row, snapshot, kind);
    if marks.dead && kind != Kind::Any {
        return None;
    }
    if let Some(first) = &marks.row {
        if kind == Kind::Any {
            return find_anywhere(store, row, first);
        }
        return Some(Found::Row(row::tuple(store, row, first).or_raise()));
    }
    if marks.gone {
        if kind == Kind::Dirty {
            snapshot.report_dirty(pg_sys::InvalidTransactionId, pg_sys::InvalidTransactionId);
        }
        return None;
    }
    let found = match kind {
        Kind::Dirty => find_dirty(store, row, snapshot)?,
        _ => {
            let (stripe, at) = stripe::find_row(store, row, snapshot.for_metadata()).or_raise()?;
            Found::Stripe(stripe, at)
        }
    };
    if let Some(deleter) = marks.deleter {
        snapshot.report_dirty(pg_sys::InvalidTransactionId, deleter);
    }
    Some(found)
}

/// As [`find`], for a scan that looks up many rows and has settled this one.
pub fn find_among(store: &Store, row: RowNumber, snapshot: Snap, stripes: &mut SnapshotStripes) -> Option<Found> {
    match stripes.find(store, row, snapshot).or_raise() {
        Listed::Unknown => find(store, row, snapshot),
        // A snapshot that sees the row in a stripe does not see it in the row store.
        Listed::At(stripe, at) => Some(Found::Stripe(stripe, at)),
        Listed::Dead => None,
        Listed::Nowhere => find_in_row_store(store, row, snapshot),
    }
}

/// Finds a row of which the row store has a tuple, perhaps a dead one: then the row may have been moved, and some of its parts be gone.
fn find_anywhere(store: &Store, row: RowNumber, first: &Stored) -> Option<Found> {
    let alive = || store.fetch(first.pinned.tid(), Snap::latest()).is_some_and(|stored| stored.visible());
    if first.pinned.is_ours() || alive() {
        return Some(Found::Row(row::tuple(store, row, first).or_raise()));
    }
    match stripe::find_row(store, row, Snap::latest()).or_raise() {
        Some((stripe, at)) => Some(Found::Stripe(stripe, at)),
        None => row::tuple(store, row, first).ok().map(Found::Row),
    }
}

fn find_in_row_store(store: &Store, row: RowNumber, snapshot: Snap) -> Option<Found> {
    let marks = read_marks(store, row, snapshot, Kind::Mvcc);
    let first = marks.row.filter(|_| !marks.dead)?;
    Some(Found::Row(row::tuple(store, row, &first).or_raise()))
}

/// True if the mover has not moved a row, so that no stripe has to be looked at. A loop that updates one row leaves a version
/// behind each time, and meets them all through the indexes until its transaction ends.
fn stays_in_row_store(store: &Store, row: RowNumber, stored: &Stored) -> bool {
    let ours = stored.pinned.is_ours() && !mover::has_moved();
    if ours {
        store.note_in_progress(row);
    }
    ours || stored.pinned.never_moved()
}

fn read_marks(store: &Store, row: RowNumber, snapshot: Snap, kind: Kind) -> Marks {
    let mut marks = Marks { row: None, gone: false, dead: false, deleter: None };
    let mut items = store.scan_row(row, snapshot);
    while let Some(stored) = items.next_any() {
        match stored.item {
            Item::Row { part: 0, .. } if stored.visible() || kind == Kind::Any => {
                // A dirty snapshot's fields now describe this tuple, so nothing else may be looked at with it.
                let may_be_dead = kind == Kind::Mvcc && stored.pinned.has_deleter();
                marks.row = Some(stored);
                if !may_be_dead {
                    return marks;
                }
            }
            Item::Row { row, part: 0 } => marks.gone |= stays_in_row_store(store, row, &stored),
            Item::Dead(_) => match kind {
                Kind::Mvcc => marks.dead |= stored.visible(),
                Kind::Dirty => {
                    let mut dirty = DirtySnapshot::new();
                    if store.fetch(stored.pinned.tid(), dirty.snap()).is_some_and(|s| s.visible()) {
                        match dirty.inserter() {
                            Some(xid) => marks.deleter = Some(xid),
                            None => marks.dead = true,
                        }
                    }
                }
                _ => {
                    let latest = store.fetch(stored.pinned.tid(), Snap::latest());
                    marks.dead |= latest.is_some_and(|s| s.visible());
                }
            },
            _ => {}
        }
    }
    marks
}

/// Finds a stripe row for a dirty snapshot, reporting an in-progress stripe or reservation that covers it.
///
/// Transactions end meanwhile. One that was in progress when the committed state was read may have ended before its reservation is
/// looked at, so the committed state is read again before a row counts as missing.
fn find_dirty(store: &Store, row: RowNumber, snapshot: Snap) -> Option<Found> {
    let committed = || {
        snapshot.report_dirty(pg_sys::InvalidTransactionId, pg_sys::InvalidTransactionId);
        let found = stripe::find_row(store, row, Snap::latest()).or_raise();
        found.map(|(stripe, at)| Found::Stripe(stripe, at))
    };
    let in_progress = || {
        let (found, inserter) = find_in_progress(store, row)?;
        snapshot.report_dirty(inserter.unwrap_or(pg_sys::InvalidTransactionId), pg_sys::InvalidTransactionId);
        Some(found)
    };
    committed().or_else(in_progress).or_else(committed)
}

/// Finds a row that a transaction in progress holds in memory or has written into a stripe, with that transaction; or one in a stripe
/// that has been committed since.
fn find_in_progress(store: &Store, row: RowNumber) -> Option<(Found, Option<pg_sys::TransactionId>)> {
    for (meta, inserter) in dirty_stripes(store, row) {
        if meta.open {
            if inserter.is_some() {
                return Some((Found::Reserved, inserter));
            }
            continue;
        }
        let stripe = stripe::open(store, meta).or_raise();
        if let Some(at) = stripe.find(store, row).or_raise() {
            return Some((Found::Stripe(stripe, at), inserter));
        }
    }
    None
}

/// Stripes and reservations whose interval has the row, committed or in progress, each with its inserter if that is in progress.
fn dirty_stripes(store: &Store, row: RowNumber) -> Vec<(StripeMeta, Option<pg_sys::TransactionId>)> {
    let mut found = all_dirty_stripes(store, KeyRange::stripes_covering(row.block()));
    found.retain(|(meta, _)| meta.contains(row.0));
    found
}

/// Rows that may come to be in stripes after a moment, without having been in the row store or in a stripe then.
pub struct Expected {
    /// Rows from here on were numbered later.
    end: RowNumber,
    /// Intervals of transactions that were in progress.
    in_progress: Vec<RangeInclusive<u64>>,
}

impl Expected {
    /// As of now. Who lists the stripes afterwards has among them what is not in progress any more.
    pub fn read(store: &Store) -> Self {
        let next_block = {
            let _numbering = NumberingLock::take(store.table());
            metapage::next_block(store.table())
        };
        Self { end: block_start(next_block), in_progress: intervals_in_progress(store, next_block) }
    }

    /// Whether the row is one of them.
    pub fn has(&self, row: RowNumber) -> bool {
        row >= self.end || self.in_progress.iter().any(|interval| interval.contains(&row.0))
    }
}

/// Intervals of the stripes and reservations of transactions in progress. `next_block` is where the row numbers end.
fn intervals_in_progress(store: &Store, next_block: u32) -> Vec<RangeInclusive<u64>> {
    let dirty = all_dirty_stripes(store, KeyRange::all_stripes(next_block)).into_iter();
    dirty.filter(|(_, inserter)| inserter.is_some()).map(|(meta, _)| meta.first_row..=meta.last_row).collect()
}

/// Stripes and reservations of some ranges of keys, committed or in progress. They are looked at one after the other, not as of one
/// moment.
fn all_dirty_stripes(
    store: &Store,
    ranges: impl IntoIterator<Item = KeyRange>,
) -> Vec<(StripeMeta, Option<pg_sys::TransactionId>)> {
    let mut dirty = DirtySnapshot::new();
    let mut found = Vec::new();
    for range in ranges {
        let mut items = store.scan(range, Snap::any());
        while let Some(stored) = items.next_any() {
            let Some(seen) = store.fetch(stored.pinned.tid(), dirty.snap()).filter(Stored::visible) else { continue };
            let meta = stripe::parse_meta(store, &seen).or_raise();
            found.push((meta, dirty.inserter()));
        }
    }
    found
}

/// True if the snapshot sees the row version.
pub fn sees(store: &Store, row: RowNumber, snapshot: Snap) -> bool {
    match find(store, row, snapshot) {
        Some(Found::Row(tuple)) => {
            // SAFETY: `find` made it for us.
            unsafe { pg_sys::pfree(tuple.cast()) };
            true
        }
        other => other.is_some(),
    }
}

/// True if the latest committed state, or our own transaction, has the row in a stripe, deleted or not.
pub fn in_stripe_now(store: &Store, row: RowNumber) -> bool {
    write_buffer::settle_row(store.table(), row);
    stripe::find_row(store, row, Snap::latest()).or_raise().is_some()
}

/// True if nobody, on whatever snapshot, can see the row version any more, so that its index entries may go.
///
/// Returns the newest transaction that a standby's snapshot must not be older than, or `None` if the row lives. It is invalid if
/// whatever said that the row is dead is gone itself: core has then told the standbys when it removed that.
pub fn dead_to_all(store: &Store, row: RowNumber, horizon: Horizon) -> Option<pg_sys::TransactionId> {
    let covered = || is_covered(store, row);
    dead_unless_covered(store, row, horizon, covered)
}

/// As [`dead_to_all`], for a scan that has just looked the row up among some stripes.
pub fn dead_to_all_among(
    store: &Store,
    row: RowNumber,
    horizon: Horizon,
    stripes: &mut SnapshotStripes,
) -> Option<pg_sys::TransactionId> {
    dead_unless_covered(store, row, horizon, || match stripes.may_have(store, row).or_raise() {
        Some(may_have) => may_have,
        None => is_covered(store, row),
    })
}

/// As [`dead_to_all`], with `covered` to say whether some stripe or reservation has a row of which nothing else is known.
pub fn dead_unless_covered(
    store: &Store,
    row: RowNumber,
    horizon: Horizon,
    covered: impl FnOnce() -> bool,
) -> Option<pg_sys::TransactionId> {
    use pg_sys::HTSV_Result::HEAPTUPLE_DEAD;
    if write_buffer::covers(store.table(), row) || store.is_in_progress(row) {
        return None;
    }
    let mut removed_by = pg_sys::InvalidTransactionId;
    let (mut dead_mark, mut never_moved) = (false, false);
    let mut items = store.scan_row(row, Snap::any());
    while let Some(mut stored) = items.next_any() {
        match stored.item {
            Item::Row { part: 0, .. } => {
                if stored.pinned.vacuum_state(horizon) != HEAPTUPLE_DEAD {
                    return None;
                }
                removed_by = newer(removed_by, crate::pg::heap::update_xid(stored.pinned.header()));
                never_moved |= stored.pinned.never_moved();
            }
            Item::Dead(_) => {
                // Who does not see a mark may see the row. A mark of a transaction in progress has not passed, and one of an aborted
                // transaction only makes standbys careful.
                let xmin = stored.pinned.xmin();
                if !horizon.passed(xmin) {
                    return None;
                }
                removed_by = newer(removed_by, xmin);
                dead_mark |= store.fetch(stored.pinned.tid(), Snap::latest()).is_some_and(|s| s.visible());
            }
            _ => {}
        }
    }
    drop(items);
    (dead_mark || never_moved || !covered()).then_some(removed_by)
}

/// True if some stripe or reservation has the row, now.
fn is_covered(store: &Store, row: RowNumber) -> bool {
    covered_by_committed_stripe(store, row) || covered_by_new_stripe(store, row)
}

fn covered_by_committed_stripe(store: &Store, row: RowNumber) -> bool {
    stripe::find_row(store, row, Snap::latest()).or_raise().is_some()
}

/// True if a stripe or reservation of a transaction in progress may hold the row, or one that has been committed meanwhile: the
/// committed state is read again at the end, as in [`find_dirty`].
fn covered_by_new_stripe(store: &Store, row: RowNumber) -> bool {
    find_in_progress(store, row).is_some() || covered_by_committed_stripe(store, row)
}

/// The error for a row that must be there and is not.
pub fn vanished(store: &Store, row: RowNumber) -> OrochiError {
    OrochiError::Internal(format!(
        "row ({},{}) of columnar table \"{}\" has vanished",
        row.block(),
        row.offset(),
        store.table().name()
    ))
}
