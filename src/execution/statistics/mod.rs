//! Statistics of columns for the planner, from what the stripes know of themselves: a table that was never analyzed plans as if it had been.
//! What ANALYZE has found goes before it.

mod distribution;
mod gather;
mod growth;

use crate::columnar::summaries;
use crate::pg::datum_sort::{self, Weighted};
use crate::pg::error::OrRaise;
use crate::pg::sort::ScratchContext;
use crate::pg::statistic::{self, Scalars, Slot, Subject, Summary};
use crate::pg::{OpenRel, Rel, values};
use crate::shmem;
use distribution::{Facts, Sampled, count_distinct, describe};
use gather::{Gathered, gather, widths};
use pgrx::pg_sys::*;
use std::rc::Rc;

/// From this share of the rows on, different values are taken to become more as the table grows. ANALYZE does so too.
const GROWING: f64 = 0.1;

/// Gives the planner statistics of a column of a columnar table; false if there are none, or ANALYZE has left some.
///
/// # Safety
/// Arguments as core passes them to `get_relation_stats_hook`.
pub unsafe fn describe_variable(
    root: *mut PlannerInfo,
    entry: *mut RangeTblEntry,
    attribute: i16,
    variable: *mut VariableStatData,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if (*entry).rtekind != RTEKind::RTE_RELATION || (*entry).inh {
            return false;
        }
        let Some(summary) = summary((*entry).relid, attribute) else { return false };
        (*variable).statsTuple = summary.copy();
        (*variable).freefunc = Some(statistic::free);
        (*variable).acl_ok = statistic::may_see_values(root, entry, attribute);
        true
    }
}

/// Average bytes of the values of a columnar table's column; 0 if nothing is known.
pub fn average_width(relation: Oid, attribute: i16) -> i32 {
    let column = usize::try_from(attribute).ok().and_then(|number| number.checked_sub(1));
    let Some(column) = column.filter(|_| shmem::is_preloaded() && !statistic::is_analyzed(relation, attribute)) else {
        return 0;
    };
    let make = || widths(OpenRel::table(relation, NoLock).rel()).or_raise();
    summaries::widths(relation, make).and_then(|widths| widths.get(column).copied()).unwrap_or(0)
}

/// What is known of a column of a columnar table, unless ANALYZE has found something out.
fn summary(relation: Oid, attribute: i16) -> Option<Rc<Summary>> {
    let column = usize::try_from(attribute).ok()?.checked_sub(1)?;
    if !shmem::is_preloaded() || statistic::is_analyzed(relation, attribute) {
        return None;
    }
    let table = OpenRel::table(relation, NoLock);
    // SAFETY: the descriptor is valid while the table is open.
    let found = unsafe { values::attributes(table.rel().desc()) }.get(column)?;
    let subject = Subject { relation, attribute, type_oid: found.atttypid, collation: found.attcollation };
    summaries::summary(subject, || summarize(table.rel(), column, subject))
}

/// Makes a row of pg_statistic of what the stripes know.
fn summarize(table: Rel, column: usize, subject: Subject) -> Option<Summary> {
    let mut gathered = gather(table, column).or_raise()?;
    let scratch = ScratchContext::enter();
    let (less_than, equal) = statistic::operators(subject.type_oid);
    let (slots, distinct) = match less_than != InvalidOid && equal != InvalidOid {
        true => slots(&mut gathered, subject, less_than, equal),
        false => (Vec::new(), distinct(&gathered, &[])),
    };
    let values = (gathered.rows - gathered.nulls).max(0.0);
    let scalars = Scalars {
        null_fraction: gathered.nulls / gathered.rows,
        width: if values > 0.0 { (gathered.bytes / values).clamp(1.0, 1e9) as i32 } else { 0 },
        distinct: if values > 0.0 { distinct.stored } else { 0.0 },
    };
    // SAFETY: the values are the column's, and what they point to is still there.
    let summary = unsafe { Summary::form(subject, &scalars, &slots) };
    drop(scratch);
    Some(summary)
}

/// How many values are different.
struct Distinct {
    /// In all of the table.
    count: f64,
    /// As pg_statistic has it: negative, as a share of the rows, if it grows with them.
    stored: f64,
}

fn distinct(gathered: &Gathered, sorted: &[Sampled]) -> Distinct {
    let share = 1.0 - gathered.nulls / gathered.rows;
    let values = gathered.all_rows * share;
    let (known, single) = count_distinct(sorted);
    let estimate = gathered.distinct.estimate(values).max(known as f64).min(values.max(1.0));
    let count = match () {
        () if gathered.complete && !sorted.is_empty() => known as f64,
        // Each has been met more than once, so these are probably all.
        () if single == 0 && known > 0 && estimate < known as f64 * 1.2 + 1.0 && gathered.wide == 0.0 => known as f64,
        () => estimate.round(),
    };
    // A sketch cannot tell all from most of them, a sample without a pair can.
    let unique = single == known && known > 1 && count > values * 0.7;
    let stored = match () {
        () if unique => -share,
        () if count > gathered.all_rows * GROWING => -(count / gathered.all_rows).min(1.0),
        () => count,
    };
    Distinct { count: if unique { values } else { count }, stored }
}

/// Common values, histogram and correlation.
fn slots(gathered: &mut Gathered, subject: Subject, less_than: Oid, equal: Oid) -> (Vec<Slot>, Distinct) {
    let mut repeated = vec![false; gathered.sample.len()];
    // SAFETY: the operator is that of the column's type, of which the values are; they point into vectors that are held.
    unsafe { datum_sort::sort(&mut gathered.sample, less_than, subject.collation, &mut repeated) };
    let sampled = |(value, repeated): (&Weighted, &bool)| Sampled {
        weight: value.weight,
        position: value.position,
        repeated: *repeated,
    };
    let sorted: Vec<Sampled> = gathered.sample.iter().zip(&repeated).map(sampled).collect();
    let distinct = distinct(gathered, &sorted);
    let facts = Facts {
        values: (gathered.rows - gathered.nulls).max(1.0),
        rows: gathered.rows,
        distinct: distinct.count,
        grows: distinct.stored < 0.0,
        wide: gathered.wide > 0.0,
    };
    let found = describe(&sorted, &facts);
    let datum = |place: &usize| gathered.sample.get(*place).map(|value| value.datum);
    let common: Vec<Datum> = found.common.iter().filter_map(|(place, _)| datum(place)).collect();
    let mut histogram: Vec<Datum> = found.histogram.iter().filter_map(datum).collect();
    widen(&mut histogram, &common, gathered.bounds);
    let mut slots = Vec::new();
    if !common.is_empty() {
        let numbers = found.common.iter().map(|(_, share)| *share).collect();
        slots.push(Slot { kind: STATISTIC_KIND_MCV, operator: equal, numbers, values: common });
    }
    if histogram.len() >= 2 {
        slots.push(Slot {
            kind: STATISTIC_KIND_HISTOGRAM,
            operator: less_than,
            numbers: Vec::new(),
            values: histogram,
        });
    }
    if let Some(correlation) = found.correlation {
        let numbers = vec![correlation];
        slots.push(Slot { kind: STATISTIC_KIND_CORRELATION, operator: less_than, numbers, values: Vec::new() });
    }
    (slots, distinct)
}

/// Lets a histogram of integers begin with the least and end with the greatest of all values, which the sample need not have.
fn widen(histogram: &mut [Datum], common: &[Datum], bounds: Option<(i64, i64)>) {
    let (Some((low, high)), [first, .., last]) = (bounds, histogram) else { return };
    let place = |value: i64| Datum::from(value as usize);
    for (end, bound) in [(first, place(low)), (last, place(high))] {
        if !common.contains(&bound) {
            *end = bound;
        }
    }
}
