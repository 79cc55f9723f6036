//! Marks on stripe rows that a snapshot sees, for a range of row numbers.

use super::encoding::StripeMeta;
use super::key::{Item, KeyRange, RowNumber};
use super::store::Store;
use crate::pg::snapshot::Snap;

/// Row numbers, ascending.
#[derive(Default)]
pub struct DeadSet(Vec<u64>);

impl DeadSet {
    /// Reads the marks of the rows `first..=last`.
    pub fn load(store: &Store, first: RowNumber, last: RowNumber, snapshot: Snap) -> Self {
        let mut rows = Vec::new();
        let mut items = store.scan(KeyRange::marks(first, last), snapshot);
        while let Some(stored) = items.next_visible() {
            if let Item::Dead(row) = stored.item {
                rows.push(row.0);
            }
        }
        Self(rows)
    }

    /// Reads the marks of a stripe's interval.
    pub fn of_stripe(store: &Store, meta: &StripeMeta, snapshot: Snap) -> Self {
        Self::load(store, RowNumber(meta.first_row), RowNumber(meta.last_row), snapshot)
    }

    /// Number of marks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if no row is marked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the row is marked.
    #[inline]
    pub fn contains(&self, row: RowNumber) -> bool {
        !self.0.is_empty() && self.0.binary_search(&row.0).is_ok()
    }
}
