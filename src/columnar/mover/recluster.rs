//! Sorting neighbouring stripes together, for tables that ask for it (option `recluster_stripes`).
//!
//! Each stripe of an ordered table is sorted by itself. Of stripes that were loaded one after the other each has some rows of every segment,
//! so that whoever looks for one segment finds little of it in each of them. Sorted together and cut anew, they have most segments in one
//! stripe. Rows keep their numbers, so that the new stripes' intervals of row numbers overlap where those of the old ones did not. That
//! tells which stripes have been sorted together, and none is a second time: a row is written at most once more.

use super::rewrite::{command, for_each_row, remove_old};
use super::{Effort, merge, stripes};
use crate::columnar::encoding::{EncodingError, Limits, Position};
use crate::columnar::key::{RowNumber, WIDE_SPAN};
use crate::columnar::options::Options;
use crate::columnar::reader::RowReader;
use crate::columnar::slot::OwnSlot;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described};
use crate::columnar::stripe_builder::StripeBuilder;
use crate::columnar::{ordering, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::Rel;
use crate::pg::error::OrochiError;
use crate::pg::snapshot::LatestMvcc;
use crate::pg::sort::{RowSorter, SortKey, maintenance_memory};
use crate::pg::values;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// Bytes, once decoded, of the stripes that are sorted together at most, so that one step of the mover ends in time.
const GROUP_BYTES: u64 = 1 << 30;

/// What a table asks for, and how far that has been done.
#[derive(Clone, Copy, Default)]
pub struct Clustered {
    /// The order and the number of stripes for which the rest holds.
    policy: u64,
    /// Stripes that begin below this row number need no second look.
    below: u64,
}

/// Sorts one group of stripes, if there is one; true if there may be more.
pub fn recluster(store: &Store, done: &mut Clustered, goal: Option<u32>, effort: Effort) -> Result<bool, OrochiError> {
    let options = Options::of(store.table());
    let keys = ordering::sort_keys(store.table());
    if options.recluster_stripes() < 2 || keys.is_empty() {
        return Ok(false);
    }
    let policy = hash(&keys, &options);
    if done.policy != policy {
        *done = Clustered { policy, below: 0 };
    }
    let snapshot = LatestMvcc::take();
    let all = stripes(store, &snapshot, goal)?;
    while let Some(group) = next_group(&all, done.below, &options, effort) {
        pgrx::check_for_interrupts!();
        let group = &all[group];
        done.below = group.last().map_or(0, |last| last.meta.last_row) + 1;
        if overlap(store, group, &keys)? {
            sort_together(store, group, &snapshot, &keys, &options)?;
            return Ok(true);
        }
    }
    if effort == Effort::Thorough {
        // What is called for the next time is to look at everything again.
        *done = Clustered::default();
    }
    Ok(false)
}

fn hash(keys: &[SortKey], options: &Options) -> u64 {
    let mut hasher = DefaultHasher::new();
    for key in keys {
        (key.attribute, key.operator.to_u32(), key.collation.to_u32(), key.nulls_first).hash(&mut hasher);
    }
    (options.recluster_stripes(), options.stripe_row_limit()).hash(&mut hasher);
    hasher.finish()
}

/// The next stripes to be sorted together, of those that begin at row number `from` or behind it: neighbours whose row numbers no other
/// stripe's lie among, as many full ones as the table asks for, or as one interval of row numbers or one step may hold. On demand fewer will do.
fn next_group(all: &[Described], from: u64, options: &Options, effort: Effort) -> Option<Range<usize>> {
    let alone = find_alone(all);
    let wanted = options.recluster_stripes();
    let mut start = all.partition_point(|described| described.meta.first_row < from);
    while start < all.len() {
        let first = RowNumber(all[start].meta.first_row).block();
        let (mut end, mut full, mut bytes) = (start, 0, 0);
        let fits = |end: usize, bytes: u64| {
            let meta = &all[end].meta;
            RowNumber(meta.last_row).block() - first < WIDE_SPAN && bytes + meta.plain_bytes <= GROUP_BYTES
        };
        while end < all.len() && alone[end] && fits(end, bytes) && full < wanted {
            full += usize::from(merge::is_full(&all[end].meta, options.stripe_row_limit()));
            bytes += all[end].meta.plain_bytes;
            end += 1;
        }
        let no_more = effort == Effort::Thorough || (end < all.len() && !fits(end, bytes));
        if full == wanted || (no_more && full >= 2) {
            return Some(start..end);
        }
        start = end.max(start + 1);
    }
    None
}

/// For each stripe whether its interval of row numbers has nothing in common with that of any other.
fn find_alone(all: &[Described]) -> Vec<bool> {
    let mut last = None;
    let mut alone = vec![true; all.len()];
    for (index, described) in all.iter().enumerate() {
        if last >= Some(described.meta.first_row) {
            alone[index] = false;
            alone[index - 1] = false;
        }
        last = last.max(Some(described.meta.last_row));
    }
    alone
}

/// Whether the keys of at least half of the stripes lie among those of others, by the first and the last row of each.
fn overlap(store: &Store, stripes: &[Described], keys: &[SortKey]) -> Result<bool, OrochiError> {
    let table = store.table();
    let slot = OwnSlot::new(store);
    // A stripe's first row has an even number, and its last one the next.
    let mut ends = RowSorter::stable(table, keys, maintenance_memory());
    for (stripe, number) in stripes.iter().zip((0..).step_by(2)) {
        let opened = stripe::open_described(store, *stripe)?;
        let last = opened.footer().position(stripe.meta.row_count - 1);
        let mut reader = RowReader::for_scan(opened, Some(key_columns(table, keys).into()));
        for (at, number) in [(Some(Position { vector: 0, index: 0 }), number), (last, number + 1)] {
            let Some(at) = at else { continue };
            // SAFETY: the slot is one of ours, of the table's row type, and the reader keeps its values.
            unsafe {
                reader.fill(store, at, slot.raw())?;
                ends.put(number, slot.raw());
            }
        }
    }
    let mut order: Vec<u64> = Vec::new();
    ends.finish(|number, _| {
        order.push(number);
        Ok::<(), OrochiError>(())
    })?;
    let undivided = order.windows(2).filter(|pair| pair[0] / 2 == pair[1] / 2).count();
    Ok(undivided * 2 <= stripes.len())
}

fn key_columns(table: Rel, keys: &[SortKey]) -> Vec<bool> {
    // SAFETY: the descriptor is valid while the table is open.
    let columns = unsafe { values::attributes(table.desc()).len() };
    (1..=columns as i16).map(|column| keys.iter().any(|key| key.attribute == column)).collect()
}

/// Writes the rows of some stripes anew, sorted, in stripes of about the same size.
fn sort_together(
    store: &Store,
    stripes: &[Described],
    snapshot: &LatestMvcc,
    keys: &[SortKey],
    options: &Options,
) -> Result<(), OrochiError> {
    let table = store.table();
    let fail = |error: EncodingError| write_buffer::writer_error(table, &error);
    let mut sorter = RowSorter::new(table, keys, maintenance_memory());
    let dropped = for_each_row(store, stripes, snapshot, true, |row, slot| {
        // SAFETY: the slot holds a row of the table.
        unsafe { sorter.put(row, slot) };
        Ok(())
    })?;
    let count = sorter.rows().div_ceil(options.stripe_row_limit()).max(1);
    let rows = sorter.rows().div_ceil(count);
    let mut open: Option<StripeBuilder> = None;
    let write = |builder: StripeBuilder| -> Result<(), EncodingError> {
        stripe::write(store, &builder.finish()?.finished, command());
        Ok(())
    };
    sorter
        .finish(|number, slot| {
            let mut builder = match open.take() {
                Some(builder) => builder,
                None => StripeBuilder::in_order(table, options, Limits::default())?,
            };
            // SAFETY: the sort hands out rows of the table, with one more column behind.
            unsafe { builder.push(number, slot)? };
            if builder.should_flush(rows) {
                return write(builder);
            }
            open = Some(builder);
            Ok(())
        })
        .map_err(fail)?;
    if let Some(builder) = open {
        write(builder).map_err(fail)?;
    }
    remove_old(store, stripes, &dropped)?;
    counters::add(Counter::Reclusterings, 1);
    Ok(())
}
