//! Skipping stripes and vectors by what their metadata says of their values.

use crate::columnar::cursor::Filter;
use crate::columnar::encoding::{Order, Zone};
use crate::columnar::store::Store;
use crate::columnar::stripe::OpenStripe;
use crate::pg::error::OrochiError;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a value must be for its row to matter. Bounds are keys as `order_key` makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// No value will do.
    Never,
    /// Between both, included.
    Between(u64, u64),
    /// One of these, which are sorted.
    OneOf(Vec<u64>),
    /// NULL.
    Null,
    /// Anything but NULL.
    NotNull,
}

/// A test of a column.
#[derive(Debug)]
pub struct Condition {
    /// Index of the column.
    pub column: usize,
    /// The order that its zone maps must have for the test's keys to compare with them.
    pub order: Order,
    /// The test.
    pub test: Test,
}

/// What is known of a stripe's or a vector's values of one column.
struct Known {
    zone: Option<Zone>,
    rows: u32,
    nulls: u32,
}

impl Test {
    /// False if no value passes.
    fn can_pass(&self, known: &Known) -> bool {
        match self {
            Self::Never => false,
            Self::Null => known.nulls > 0,
            Self::NotNull => known.nulls < known.rows,
            // An ordered column without a zone has only NULLs.
            Self::Between(low, high) => known.zone.is_some_and(|zone| zone.overlaps(*low, *high)),
            Self::OneOf(keys) => known.zone.is_some_and(|zone| {
                let first = keys.partition_point(|key| *key < zone.min);
                keys.get(first).is_some_and(|key| *key <= zone.max)
            }),
        }
    }

    fn needs_order(&self) -> bool {
        matches!(self, Self::Between(..) | Self::OneOf(_))
    }
}

impl Condition {
    /// False if no row of the stripe, or of one vector of it, passes.
    fn can_pass(&self, store: &Store, stripe: &OpenStripe, vector: Option<usize>) -> Result<bool, OrochiError> {
        if self.test == Test::Never {
            return Ok(false);
        }
        // A column that was added after the stripe was written has one value for all of its rows.
        let Some(column) = stripe.footer().columns().get(self.column) else { return Ok(true) };
        // A type change that left the table as it was may have changed the order.
        if self.test.needs_order() && column.column_type.order != self.order {
            return Ok(true);
        }
        let Some(vector) = vector else {
            let known = Known { zone: column.zone, rows: stripe.footer().row_count(), nulls: column.null_count };
            return Ok(self.test.can_pass(&known));
        };
        let directory = stripe.directory(store, self.column)?;
        Ok(directory.entries().get(vector).is_none_or(|entry| {
            let known = Known { zone: entry.zone, rows: entry.rows.into(), nulls: entry.null_count.into() };
            self.test.can_pass(&known)
        }))
    }
}

/// What a scan has read and skipped. In shared memory for a parallel scan.
#[derive(Default)]
#[repr(C)]
pub struct Counts {
    /// Stripes read, at least in part.
    pub stripes_read: AtomicU64,
    /// Stripes of which nothing but metadata was read.
    pub stripes_skipped: AtomicU64,
    /// Vectors read.
    pub vectors_read: AtomicU64,
    /// Vectors skipped, in stripes that were read.
    pub vectors_skipped: AtomicU64,
}

impl Counts {
    /// Adds what another scan has read and skipped.
    pub fn add(&self, other: &Counts) {
        let pairs = [
            (&self.stripes_read, &other.stripes_read),
            (&self.stripes_skipped, &other.stripes_skipped),
            (&self.vectors_read, &other.vectors_read),
            (&self.vectors_skipped, &other.vectors_skipped),
        ];
        for (sum, addend) in pairs {
            sum.fetch_add(addend.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Where a scan counts: in its own process, or together with others.
enum Counter {
    Own,
    Shared(&'static Counts),
}

/// What a scan reads: columns, and conditions that rows must meet to matter.
pub struct ZoneFilter {
    columns: Rc<[bool]>,
    conditions: Vec<Condition>,
    own: Counts,
    counter: Counter,
}

impl ZoneFilter {
    /// A filter of columns only.
    pub fn new(columns: Rc<[bool]>) -> Self {
        Self { columns, conditions: Vec::new(), own: Counts::default(), counter: Counter::Own }
    }

    /// The columns that are read.
    pub fn columns(&self) -> &[bool] {
        &self.columns
    }

    /// Sets the conditions, of which rows that matter meet all.
    pub fn set_conditions(&mut self, conditions: Vec<Condition>) {
        self.conditions = conditions;
    }

    /// Counts in shared memory from now on.
    pub fn share(&mut self, shared: &'static Counts) {
        self.counter = Counter::Shared(shared);
    }

    /// Takes the shared counts over and lets go of the shared memory.
    pub fn unshare(&mut self) {
        if let Counter::Shared(shared) = std::mem::replace(&mut self.counter, Counter::Own) {
            self.own.add(shared);
        }
    }

    /// What was read and skipped so far.
    pub fn counts(&self) -> &Counts {
        match self.counter {
            Counter::Own => &self.own,
            Counter::Shared(shared) => shared,
        }
    }

    fn wants(&self, store: &Store, stripe: &OpenStripe, vector: Option<usize>) -> Result<bool, OrochiError> {
        for condition in &self.conditions {
            if !condition.can_pass(store, stripe, vector)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A filter that the scan and its node share: the node changes conditions and reads counts.
#[derive(Clone)]
pub struct SharedFilter(pub Rc<RefCell<ZoneFilter>>);

impl Filter for SharedFilter {
    fn wants_stripe(&mut self, store: &Store, stripe: &OpenStripe) -> Result<bool, OrochiError> {
        let filter = self.0.borrow();
        let wanted = filter.wants(store, stripe, None)?;
        let counts = filter.counts();
        let counter = if wanted { &counts.stripes_read } else { &counts.stripes_skipped };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(wanted)
    }

    fn wants_vector(&mut self, store: &Store, stripe: &OpenStripe, vector: usize) -> Result<bool, OrochiError> {
        let filter = self.0.borrow();
        let wanted = filter.wants(store, stripe, Some(vector))?;
        let counts = filter.counts();
        let counter = if wanted { &counts.vectors_read } else { &counts.vectors_skipped };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(wanted)
    }

    fn columns(&self) -> Option<Rc<[bool]>> {
        Some(self.0.borrow().columns.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(min: u64, max: u64) -> Known {
        Known { zone: Some(Zone { min, max }), rows: 10, nulls: 1 }
    }

    #[test]
    fn bounds_are_included() {
        assert!(Test::Between(5, 7).can_pass(&known(7, 9)));
        assert!(Test::Between(5, 7).can_pass(&known(0, 5)));
        assert!(!Test::Between(5, 7).can_pass(&known(8, 9)));
        assert!(!Test::Between(5, 7).can_pass(&known(0, 4)));
        assert!(Test::Between(0, u64::MAX).can_pass(&known(3, 3)));
    }

    #[test]
    fn a_list_passes_where_a_member_lies_in_the_zone() {
        let list = Test::OneOf(vec![2, 50]);
        assert!(list.can_pass(&known(50, 60)) && list.can_pass(&known(0, 2)));
        assert!(!list.can_pass(&known(3, 49)) && !list.can_pass(&known(51, 90)));
        assert!(!Test::OneOf(Vec::new()).can_pass(&known(0, u64::MAX)));
    }

    #[test]
    fn nulls_pass_no_comparison() {
        let nulls = Known { zone: None, rows: 4, nulls: 4 };
        assert!(!Test::Between(0, u64::MAX).can_pass(&nulls) && !Test::NotNull.can_pass(&nulls));
        assert!(Test::Null.can_pass(&nulls));
        assert!(!Test::Null.can_pass(&Known { zone: None, rows: 4, nulls: 0 }));
        assert!(!Test::Never.can_pass(&known(0, u64::MAX)));
    }
}
