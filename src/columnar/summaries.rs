//! What planning finds out about the columns of a table, for as long as its stripes are much the same.
//!
//! Each time a table is planned for, the list of its stripes is at hand anyway: what they are then decides whether what was found out before
//! still holds. So a relation that was never noted is no columnar table with stripes, and asking about it costs next to nothing.

use super::cache::{self, Entry, Part};
use super::stripe::Described;
use crate::pg::relation::FileId;
use crate::pg::statistic::{Subject, Summary};
use lru::LruCache;
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::rc::Rc;

/// Tables that are remembered.
const LIMIT: usize = 4096;
/// Summaries hold until a share of the rows is new or gone: one in as many.
const CHANGED: u64 = 10;

/// The stripes of a table as they were when summaries began to be made of them.
#[derive(Debug, Clone, Copy)]
struct Generation {
    file: FileId,
    /// Its number, which no other generation of the session has.
    number: u32,
    last_stripe: u32,
    rows: u64,
}

#[derive(Default)]
struct Known {
    tables: Option<LruCache<Oid, Generation>>,
    next: u32,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::default());
}

/// Notes the stripes that a table has now.
pub fn note(table: Oid, file: FileId, stripes: &[Described]) {
    KNOWN.with_borrow_mut(|known| {
        let Known { tables, next } = known;
        let tables = tables.get_or_insert_with(LruCache::unbounded);
        if stripes.is_empty() {
            tables.pop(&table);
            return;
        }
        if tables.get(&table).is_some_and(|generation| generation.holds(file, stripes)) {
            return;
        }
        *next = next.wrapping_add(1);
        let last_stripe = stripes.iter().map(|stripe| stripe.meta.stripe_id).max().unwrap_or(0);
        let rows = stripes.iter().map(|stripe| u64::from(stripe.meta.row_count)).sum();
        tables.put(table, Generation { file, number: *next, last_stripe, rows });
        while tables.len() > LIMIT {
            tables.pop_lru();
        }
    });
}

impl Generation {
    /// Whether most rows are in stripes that there were, and most that there were still are.
    fn holds(&self, file: FileId, stripes: &[Described]) -> bool {
        let (mut old, mut new) = (0u64, 0u64);
        for stripe in stripes {
            let sum = if stripe.meta.stripe_id > self.last_stripe { &mut new } else { &mut old };
            *sum += u64::from(stripe.meta.row_count);
        }
        self.file == file && new * CHANGED <= old && self.rows.saturating_sub(old) * CHANGED <= self.rows
    }
}

/// Whether a relation had stripes when it was last planned for.
pub fn is_noted(table: Oid) -> bool {
    KNOWN.with_borrow(|known| known.tables.as_ref().is_some_and(|tables| tables.contains(&table)))
}

fn generation(table: Oid) -> Option<Generation> {
    KNOWN.with_borrow_mut(|known| known.tables.as_mut()?.get(&table).copied())
}

/// Average bytes of the values of each column, as found out before, and otherwise as `make` finds out now; 0 if nothing is known.
pub fn widths(table: Oid, make: impl FnOnce() -> Vec<i32>) -> Option<Rc<[i32]>> {
    let Generation { file, number, .. } = generation(table)?;
    if let Some(Entry::Widths(found)) = cache::get(file, number, Part::Widths) {
        return Some(found);
    }
    let made: Rc<[i32]> = make().into();
    cache::put(file, number, Part::Widths, Entry::Widths(made.clone()));
    Some(made)
}

/// What was found out about a column, and otherwise what `make` finds out now. `None` if the table has no stripes, or nothing can be said.
pub fn summary(subject: Subject, make: impl FnOnce() -> Option<Summary>) -> Option<Rc<Summary>> {
    let Generation { file, number, .. } = generation(subject.relation)?;
    let part = Part::Summary(subject);
    if let Some(Entry::Summary(found)) = cache::get(file, number, part) {
        return found;
    }
    let made = make().map(Rc::new);
    cache::put(file, number, part, Entry::Summary(made.clone()));
    made
}
