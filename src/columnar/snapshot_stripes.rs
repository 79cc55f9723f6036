//! The stripes that one snapshot sees, for a scan that looks up many rows by their numbers.
//!
//! Who looks up one row asks the companion's index for the descriptions around it, and meets there those of the stripes that the mover has
//! replaced and that old snapshots still keep. A snapshot sees the same stripes as long as it lives, so an index scan lists them once.

use super::dead_set::DeadSet;
use super::key::RowNumber;
use super::lookup::Expected;
use super::metapage;
use super::store::Store;
use super::stripe::{self, Described, OpenStripe};
use crate::columnar::encoding::Position;
use crate::pg::error::OrochiError;
use crate::pg::relation::FileId;
use crate::pg::snapshot::{Kind, LatestMvcc, Snap, SnapIdentity};
use crate::pg::{compat, heap};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// Look-ups before a list can pay.
const AT_LEAST: u64 = 32;
/// Virtual blocks, of which a full stripe takes some 500, for each look-up more: a list reads all descriptions of the table.
const BLOCKS_PER_LOOKUP: u64 = 4096;

/// Look-ups in one stripe before all its marks are read.
const BEFORE_MARKS: u32 = 8;
/// Marks that a list holds at most, of eight bytes each.
const MAX_MARKS: usize = 1 << 20;

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static MARKED: Cell<u64> = const { Cell::new(0) };
}

/// Says that this backend has marked a row.
pub fn marked() {
    MARKED.set(MARKED.get() + 1);
}

/// Says that this backend has written the description of a stripe, or rolled some back: its own snapshots may see others now.
pub fn changed() {
    CHANGES.set(CHANGES.get() + 1);
}

/// What a list is of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    file: FileId,
    snapshot: SnapIdentity,
    changes: u64,
}

/// A stripe of a list.
struct Seen {
    described: Described,
    lookups: u32,
    /// Its marks, with how many this backend had made when they were read.
    dead: Option<(DeadSet, u64)>,
}

/// Stripes in the order of their first rows.
struct List {
    stripes: Vec<Seen>,
    /// The greatest last row of each stripe and those before it.
    reach: Vec<u64>,
    /// Marks that are held.
    marks: usize,
}

/// Where rows were at a moment after the scan's snapshot was taken.
struct Present {
    expected: Expected,
    stripes: List,
}

/// The stripes that a scan's snapshot sees, listed when the scan has looked up enough rows.
#[derive(Default)]
pub struct SnapshotStripes {
    lookups: u64,
    worth_it: Option<u64>,
    list: Option<(Version, List)>,
    present: Option<Present>,
}

/// What a list says about a row.
pub enum Listed {
    /// There is no list: the snapshot is not one of which it would hold, or the scan has looked up too few rows.
    Unknown,
    /// No stripe has the row, or its delete bitmap has it.
    Nowhere,
    /// A stripe has it, and the snapshot sees its mark.
    Dead,
    /// The stripe that has it.
    At(Rc<OpenStripe>, Position),
}

/// Whether what the snapshot sees stays as it is. A serializable transaction notes what it reads of a row and then looks who is at it: what
/// was read before would hide somebody.
fn may_list(snapshot: Snap) -> bool {
    snapshot.kind() == Kind::Mvcc && !heap::is_serializable() && !compat::snapshots_expire()
}

impl SnapshotStripes {
    /// Finds the stripe that holds a row.
    ///
    /// What it keeps is of this snapshot, which has to live until the next call.
    pub fn find(&mut self, store: &Store, row: RowNumber, snapshot: Snap) -> Result<Listed, OrochiError> {
        if !may_list(snapshot) || !self.pays(store) {
            self.list = None;
            return Ok(Listed::Unknown);
        }
        let version = Version { file: store.companion().file(), snapshot: snapshot.identity(), changes: CHANGES.get() };
        if self.list.as_ref().is_none_or(|(listed, _)| *listed != version) {
            self.list = Some((version, List::new(stripe::list(store, snapshot)?)));
            self.present = None;
        }
        self.list.as_mut().map_or(Ok(Listed::Unknown), |(_, list)| list.find(store, row, snapshot))
    }

    /// Whether some stripe or reservation has a row, or may get it, of which the row store and the marks say nothing, or that it is dead to
    /// all. `None` if there is no list for the row that was looked up last.
    ///
    /// The stripes are listed once, and the mover goes on meanwhile. It cannot bring a row that was in the row store into a stripe unnoticed:
    /// its tuple there stays until the scan's snapshot is gone, and is not dead to all. Rows that it brings from one stripe into another were
    /// in the list.
    pub fn may_have(&mut self, store: &Store, row: RowNumber) -> Result<Option<bool>, OrochiError> {
        if self.list.is_none() {
            return Ok(None);
        }
        let present = match &mut self.present {
            Some(present) => present,
            none => none.insert(Present::read(store)?),
        };
        Ok(Some(present.may_have(store, row)?))
    }

    fn pays(&mut self, store: &Store) -> bool {
        self.lookups += 1;
        self.lookups > AT_LEAST
            && self.lookups
                > *self.worth_it.get_or_insert_with(|| {
                    AT_LEAST + u64::from(metapage::next_block(store.table())) / BLOCKS_PER_LOOKUP
                })
    }
}

impl List {
    /// Of stripes in the order of their first rows.
    fn new(stripes: Vec<Described>) -> Self {
        let mut furthest = 0;
        let reach = stripes
            .iter()
            .map(|described| {
                furthest = described.meta.last_row.max(furthest);
                furthest
            })
            .collect();
        let stripes = stripes.into_iter().map(|described| Seen { described, lookups: 0, dead: None }).collect();
        Self { stripes, reach, marks: 0 }
    }

    /// Places of the stripes whose intervals may have a row.
    fn around(&self, row: RowNumber) -> Range<usize> {
        let end = self.stripes.partition_point(|seen| seen.described.meta.first_row <= row.0);
        self.reach.partition_point(|reach| *reach < row.0).min(end)..end
    }

    fn find(&mut self, store: &Store, row: RowNumber, snapshot: Snap) -> Result<Listed, OrochiError> {
        let may_hold = self.marks < MAX_MARKS;
        let around = self.around(row);
        for seen in self.stripes[around].iter_mut().filter(|seen| seen.described.meta.contains(row.0)) {
            let stripe = stripe::open_described(store, seen.described)?;
            if let Some(at) = stripe.find(store, row)? {
                let read = if may_hold { seen.read_marks(store, snapshot) } else { 0 };
                let dead = seen.is_marked(store, row, snapshot);
                self.marks += read;
                return Ok(if dead { Listed::Dead } else { Listed::At(stripe, at) });
            }
        }
        Ok(Listed::Nowhere)
    }
}

impl Present {
    fn read(store: &Store) -> Result<Self, OrochiError> {
        let expected = Expected::read(store);
        // A merge that commits meanwhile could hide the old stripes and the new one from all but an MVCC snapshot, which in turn does not
        // see what this command has written.
        let consistent = LatestMvcc::take();
        let mut stripes = stripe::list(store, consistent.snap())?;
        stripes.extend(stripe::list(store, Snap::latest())?);
        stripes.sort_by_key(|described| (described.meta.first_row, described.meta.stripe_id));
        stripes.dedup_by_key(|described| described.meta.stripe_id);
        Ok(Self { expected, stripes: List::new(stripes) })
    }

    fn may_have(&self, store: &Store, row: RowNumber) -> Result<bool, OrochiError> {
        if self.expected.has(row) {
            return Ok(true);
        }
        let around = self.stripes.around(row);
        for seen in self.stripes.stripes[around].iter().filter(|seen| seen.described.meta.contains(row.0)) {
            if stripe::open_described(store, seen.described)?.find(store, row)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Seen {
    /// Reads all marks of the stripe once if enough rows of it are looked up; returns how many were read.
    fn read_marks(&mut self, store: &Store, snapshot: Snap) -> usize {
        self.lookups = self.lookups.saturating_add(1);
        if self.dead.is_some() || self.lookups <= BEFORE_MARKS {
            return 0;
        }
        let dead = DeadSet::of_stripe(store, &self.described.meta, snapshot);
        let count = dead.len();
        self.dead = Some((dead, MARKED.get()));
        count
    }

    /// Whether the snapshot sees a mark of the row. What this backend has marked since all were read may count for the snapshot or not, so
    /// the row's own mark is looked for then.
    fn is_marked(&self, store: &Store, row: RowNumber, snapshot: Snap) -> bool {
        match &self.dead {
            Some((dead, made)) if dead.contains(row) || *made == MARKED.get() => dead.contains(row),
            _ => !DeadSet::load(store, row, row, snapshot).is_empty(),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::columnar::encoding::StripeMeta;
    use pgrx::pg_sys;

    #[test]
    fn finds_all_stripes_around_a_row() {
        let intervals = [(0, 99), (50, 60), (100, 199), (150, 400), (160, 170), (450, 450)];
        let described = |(first, last)| Described {
            meta: StripeMeta::reservation(1, first, last),
            xmin: pg_sys::FrozenTransactionId,
            tid: Default::default(),
        };
        let list = List::new(intervals.into_iter().map(described).collect());
        for row in 0..500 {
            let around = list.around(RowNumber(row));
            let having = (0..intervals.len()).filter(|at| (intervals[*at].0..=intervals[*at].1).contains(&row));
            assert!(having.into_iter().all(|at| around.contains(&at)), "row {row}: {around:?}");
        }
        assert_eq!(list.around(RowNumber(420)), 5..5);
        assert!(List::new(Vec::new()).around(RowNumber(0)).is_empty());
    }
}
