//! What a scan would read of a table: the stripes say it, by their metadata.

use super::predicate::{Finder, Predicate};
use super::zone_filter::{Condition, all_can_have, all_can_pass};
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, OpenStripe};
use crate::pg::Rel;
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use crate::pg::snapshot::Snap;
use pgrx::pg_sys::*;
use std::result::Result;

/// Stripes that are looked at.
const SAMPLE: usize = 64;

/// Shares are between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Share of the stripes' bytes that the wanted columns have.
    pub columns: f64,
    /// Share of the stripes' vectors that no zone map rules out.
    pub vectors: f64,
    /// Vectors of all stripes, of one column.
    pub vector_count: f64,
    /// Rows of all stripes.
    pub stripe_rows: f64,
    /// Bytes of a vector over all columns, as they are stored.
    pub vector_bytes: f64,
}

/// Reads everything, of a table without stripes.
pub const EVERYTHING: Estimate =
    Estimate { columns: 1.0, vectors: 1.0, vector_count: 0.0, stripe_rows: 0.0, vector_bytes: 0.0 };

impl Estimate {
    /// Share of `rows` that a scan looks at: those of vectors that are read, and those of the row store.
    pub fn rows(&self, rows: f64) -> f64 {
        let in_stripes = self.stripe_share(rows);
        in_stripes * self.vectors + 1.0 - in_stripes
    }

    /// Share of `rows` that lie in stripes.
    pub fn stripe_share(&self, rows: f64) -> f64 {
        if rows > 0.0 { (self.stripe_rows / rows).min(1.0) } else { 1.0 }
    }

    /// Vectors of one column that have some of as many rows, if these may lie anywhere.
    pub fn touched(&self, fetched: f64) -> f64 {
        let count = self.vector_count.max(1.0);
        count * -(-fetched / count).exp_m1()
    }
}

/// Looks at the stripes of a table. `wanted` says which columns are read.
pub fn estimate(table: Rel, wanted: &[bool], conditions: &[Condition]) -> Result<Estimate, OrochiError> {
    let Some(store) = Store::open(table) else { return Ok(EVERYTHING) };
    let all = stripe::list(&store, Snap::latest())?;
    // Without conditions the stripes differ little.
    let step = if conditions.is_empty() { all.len() } else { all.len().div_ceil(SAMPLE) }.max(1);
    let mut sum = Sum::default();
    for described in all.iter().step_by(step) {
        let open = stripe::open_described(&store, *described)?;
        sum.add(&store, &open, wanted, conditions)?;
    }
    if sum.vectors == 0 || sum.bytes == 0 {
        return Ok(EVERYTHING);
    }
    let stripe_rows: f64 = all.iter().map(|described| f64::from(described.meta.row_count)).sum();
    let vector_count = sum.vectors as f64 * stripe_rows / sum.rows.max(1) as f64;
    let least = 1.0 / vector_count.max(1.0);
    Ok(Estimate {
        columns: sum.wanted_bytes as f64 / sum.bytes as f64,
        vectors: (sum.passing as f64 / sum.vectors as f64).max(least),
        vector_count,
        stripe_rows,
        vector_bytes: sum.bytes as f64 / sum.vectors as f64,
    })
}

/// What some stripes have.
#[derive(Default)]
struct Sum {
    bytes: u64,
    wanted_bytes: u64,
    rows: u64,
    vectors: usize,
    passing: usize,
}

impl Sum {
    fn add(
        &mut self,
        store: &Store,
        stripe: &OpenStripe,
        wanted: &[bool],
        conditions: &[Condition],
    ) -> Result<(), OrochiError> {
        let footer = stripe.footer();
        let lengths = footer.columns().iter().map(|column| column.data_len);
        self.bytes += lengths.clone().sum::<u64>();
        self.wanted_bytes += lengths.zip(wanted).filter(|(_, wanted)| **wanted).map(|(len, _)| len).sum::<u64>();
        self.rows += u64::from(footer.row_count());
        self.vectors += footer.vector_count();
        if all_can_pass(conditions, store, stripe, None)? && all_can_have(conditions, store, stripe)? {
            for vector in 0..footer.vector_count() {
                self.passing += usize::from(all_can_pass(conditions, store, stripe, Some(vector))?);
            }
        }
        Ok(())
    }
}

/// The conditions among a relation's clauses whose values are known while the query is planned.
///
/// # Safety
/// `clauses` must be the relation's clauses without the planner's own nodes around them, and `desc` its row descriptor.
pub unsafe fn known_conditions(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    clauses: *mut List,
    desc: TupleDesc,
) -> Result<Vec<Condition>, OrochiError> {
    // SAFETY: the caller's promise. The clauses are copied, with what is known of their values put in.
    unsafe {
        let finder = Finder { relation: (*rel).relid as i32, desc, parent: std::ptr::null_mut() };
        let known = pointers::<Node>(clauses).into_iter().map(|clause| estimate_expression_value(root, clause));
        let predicates: Vec<Predicate> = known.filter_map(|clause| finder.predicate(clause)).collect();
        if predicates.is_empty() {
            return Ok(Vec::new());
        }
        let context = CreateStandaloneExprContext();
        let conditions = predicates.iter().map(|predicate| predicate.condition(context)).collect();
        FreeExprContext(context, true);
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outside_stripes_are_read() {
        let estimate =
            Estimate { columns: 0.5, vectors: 0.1, vector_count: 100.0, stripe_rows: 50_000.0, vector_bytes: 0.0 };
        assert!((estimate.rows(100_000.0) - 0.55).abs() < 1e-9);
        assert!((estimate.rows(50_000.0) - 0.1).abs() < 1e-9);
        assert!((EVERYTHING.rows(7.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_rows_touch_as_many_vectors() {
        let estimate = Estimate { vector_count: 1000.0, ..EVERYTHING };
        assert!((estimate.touched(1.0) - 1.0).abs() < 0.01);
        assert!(estimate.touched(1e6) <= 1000.0 && estimate.touched(1e6) > 999.0);
    }
}
