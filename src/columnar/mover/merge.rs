//! Making one stripe out of several small ones, or anew out of one that has lost many rows.

use super::rewrite::{into_one, load_marks};
use super::{Effort, stripes};
use crate::columnar::encoding::StripeMeta;
use crate::columnar::key::{RowNumber, SPARSE_SPAN};
use crate::columnar::options::Options;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::snapshot::LatestMvcc;

/// In the background this many small stripes are merged at least, unless they fill a stripe.
const ENOUGH: usize = 8;

/// Bytes, once decoded, of the stripes that are merged into one.
const MERGED_BYTES: u64 = 64 << 20;

/// Merges small stripes once; true if there were enough.
pub fn merge_small(store: &Store, goal: Option<u32>, effort: Effort) -> Result<bool, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripes(store, &snapshot, goal)?;
    let run = small_run(&all, effort, Options::of(store.table()).stripe_row_limit());
    run.map_or(Ok(false), |run| rewrite(store, &all[run], &snapshot).map(|()| true))
}

/// Writes a stripe anew that has lost many rows, of those that start at row number `from` or behind it. Returns where to go on; `None` if there
/// is no such stripe.
pub fn renew_worn(store: &Store, from: u64, goal: Option<u32>, effort: Effort) -> Result<Option<u64>, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripes(store, &snapshot, goal)?;
    let start = all.partition_point(|described| described.meta.first_row < from);
    for (i, described) in all.iter().enumerate().skip(start) {
        pgrx::check_for_interrupts!();
        let dead = marked_rows(store, &all, i, &snapshot)? + described.meta.deleted_count;
        let many = described.meta.row_count / if effort == Effort::Thorough { 100 } else { 5 };
        if dead > many {
            rewrite(store, &all[i..=i], &snapshot)?;
            return Ok(Some(described.meta.first_row + 1));
        }
    }
    Ok(None)
}

/// How many rows of a stripe are marked as deleted for every snapshot. Marks in the stripe's interval may be of other stripes.
fn marked_rows(store: &Store, all: &[Described], index: usize, snapshot: &LatestMvcc) -> Result<u32, OrochiError> {
    let marks = load_marks(store, &all[index], snapshot);
    if marks.is_empty() {
        return Ok(0);
    }
    let stripe = stripe::open_described(store, all[index])?;
    let mut found = 0;
    for row in marks.keys() {
        found += u32::from(stripe.find(store, RowNumber(*row))?.is_some());
    }
    Ok(found)
}

/// A run of neighbouring small stripes that are worth merging.
fn small_run(all: &[Described], effort: Effort, limit: u32) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    while start < all.len() {
        let (mut end, mut rows, mut bytes) = (start, 0, 0);
        let first = RowNumber(all[start].meta.first_row).block();
        while end < all.len() {
            let meta = &all[end].meta;
            let span = RowNumber(meta.last_row).block() - first;
            let too_many = rows + meta.row_count > limit || bytes + meta.plain_bytes > MERGED_BYTES;
            if is_full(meta, limit) || too_many || span >= SPARSE_SPAN {
                break;
            }
            rows += meta.row_count;
            bytes += meta.plain_bytes;
            end += 1;
        }
        let count = end - start;
        let enough = match effort {
            Effort::Thorough => count >= 2,
            Effort::Economic => count >= ENOUGH || (count >= 2 && (rows > limit / 2 || bytes > MERGED_BYTES / 2)),
        };
        if enough {
            return Some(start..end);
        }
        start = end.max(start + 1);
    }
    None
}

/// Writes the rows of some stripes anew as one.
fn rewrite(store: &Store, group: &[Described], snapshot: &LatestMvcc) -> Result<(), OrochiError> {
    into_one(store, group, snapshot)?;
    counters::add(Counter::Merges, 1);
    Ok(())
}

/// Whether a stripe has as many rows as it is to have, or bytes: wide rows fill a stripe by these, all of which are in memory while stripes are
/// merged.
pub fn is_full(meta: &StripeMeta, limit: u32) -> bool {
    meta.row_count > limit / 2 || meta.plain_bytes > MERGED_BYTES / 2
}
