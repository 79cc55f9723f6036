//! Skipping stripes and vectors by what their metadata says of their values.

use crate::columnar::cursor::Filter;
use crate::columnar::encoding::{Order, Selection, Test};
use crate::columnar::reader::RowReader;
use crate::columnar::store::Store;
use crate::columnar::stripe::OpenStripe;
use crate::pg::error::OrochiError;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A test of a column.
#[derive(Debug)]
pub struct Condition {
    /// Index of the column.
    pub column: usize,
    /// The order that its zone maps must have for the test's keys to compare with them.
    pub order: Order,
    /// The test.
    pub test: Test,
    /// Whether the clause is true for every value that passes the test.
    pub exact: bool,
    /// Hashes of the values for which the clause is true, if these are few and known.
    pub hashes: Vec<u64>,
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
            return Ok(self.test.can_pass(column.zone, stripe.footer().row_count(), column.null_count));
        };
        let directory = stripe.directory(store, self.column)?;
        Ok(directory
            .entries()
            .get(vector)
            .is_none_or(|entry| self.test.can_pass(entry.zone, entry.rows.into(), entry.null_count.into())))
    }

    /// False if the Bloom filter of the column denies all values that would do.
    fn can_have(&self, store: &Store, stripe: &OpenStripe) -> Result<bool, OrochiError> {
        let column = stripe.footer().columns().get(self.column);
        // As for zones: the hashes are those of the order that the column had when the query was planned.
        if column.is_none_or(|column| column.column_type.order != self.order) {
            return Ok(true);
        }
        for hash in &self.hashes {
            if stripe.may_have(store, self.column, *hash)? {
                return Ok(true);
            }
        }
        Ok(self.hashes.is_empty())
    }
}

/// False if no row of the stripe, or of one vector of it, passes all conditions.
pub fn all_can_pass(
    conditions: &[Condition],
    store: &Store,
    stripe: &OpenStripe,
    vector: Option<usize>,
) -> Result<bool, OrochiError> {
    for condition in conditions {
        if !condition.can_pass(store, stripe, vector)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False if Bloom filters deny the stripe all values that would do for some condition.
pub fn all_can_have(conditions: &[Condition], store: &Store, stripe: &OpenStripe) -> Result<bool, OrochiError> {
    for condition in conditions {
        if !condition.can_have(store, stripe)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a scan has read and skipped. In shared memory for a parallel scan.
#[derive(Default)]
#[repr(C)]
pub struct Counts {
    /// Stripes read, at least in part.
    pub stripes_read: AtomicU64,
    /// Stripes of which nothing but metadata was read.
    pub stripes_skipped: AtomicU64,
    /// Those of them that only Bloom filters ruled out.
    pub stripes_denied: AtomicU64,
    /// Vectors read.
    pub vectors_read: AtomicU64,
    /// Vectors skipped, in stripes that were read.
    pub vectors_skipped: AtomicU64,
    /// Rows skipped, in vectors that were read.
    pub rows_skipped: AtomicU64,
}

impl Counts {
    /// Adds what another scan has read and skipped.
    pub fn add(&self, other: &Counts) {
        let pairs = [
            (&self.stripes_read, &other.stripes_read),
            (&self.stripes_skipped, &other.stripes_skipped),
            (&self.stripes_denied, &other.stripes_denied),
            (&self.vectors_read, &other.vectors_read),
            (&self.vectors_skipped, &other.vectors_skipped),
            (&self.rows_skipped, &other.rows_skipped),
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

    /// The conditions, as they were set last.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
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
}

/// A filter that the scan and its node share: the node changes conditions and reads counts.
#[derive(Clone)]
pub struct SharedFilter(pub Rc<RefCell<ZoneFilter>>);

impl Filter for SharedFilter {
    fn wants_stripe(&mut self, store: &Store, stripe: &OpenStripe) -> Result<bool, OrochiError> {
        let filter = self.0.borrow();
        let counts = filter.counts();
        let mut wanted = all_can_pass(&filter.conditions, store, stripe, None)?;
        if wanted && !all_can_have(&filter.conditions, store, stripe)? {
            counts.stripes_denied.fetch_add(1, Ordering::Relaxed);
            wanted = false;
        }
        let counter = if wanted { &counts.stripes_read } else { &counts.stripes_skipped };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(wanted)
    }

    fn wants_vector(&mut self, store: &Store, stripe: &OpenStripe, vector: usize) -> Result<bool, OrochiError> {
        all_can_pass(&self.0.borrow().conditions, store, stripe, Some(vector))
    }

    fn note_vectors(&mut self, read: u64, skipped: u64) {
        let filter = self.0.borrow();
        filter.counts().vectors_read.fetch_add(read, Ordering::Relaxed);
        filter.counts().vectors_skipped.fetch_add(skipped, Ordering::Relaxed);
    }

    fn narrow(&mut self, store: &Store, reader: &mut RowReader, rows: &mut Selection) -> Result<bool, OrochiError> {
        let filter = self.0.borrow();
        let before = rows.count();
        let mut decided = true;
        for Condition { column, order, test, exact, .. } in &filter.conditions {
            decided &= reader.narrow(store, *column, *order, test, rows)? && *exact;
        }
        filter.counts().rows_skipped.fetch_add((before - rows.count()) as u64, Ordering::Relaxed);
        Ok(decided)
    }

    fn columns(&self) -> Option<Rc<[bool]>> {
        Some(self.0.borrow().columns.clone())
    }
}
