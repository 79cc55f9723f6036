//! Making one stripe out of several small ones, or anew out of one that has lost many rows.

use super::fold::fold;
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
use std::ops::Range;

/// In the background this many small stripes are merged at least, unless they fill a stripe.
const ENOUGH: usize = 8;

/// Bytes, once decoded, of the stripes that are merged into one.
const MERGED_BYTES: u64 = 64 << 20;

/// A stripe that has more bytes than this, once decoded, is written anew only together with at least an [`AMPLIFICATION`]th of them: otherwise each
/// handful of new rows would cost the bytes of the largest stripe that is still small, and each handful leaves as much to be vacuumed.
const DOMINANT_BYTES: u64 = 256 << 10;

/// How often a row is written anew at most while the stripe that it is in grows by as much as it has.
const AMPLIFICATION: u64 = 8;

/// Merges small stripes once; true if there were enough.
pub fn merge_small(store: &Store, goal: Option<u32>, effort: Effort) -> Result<bool, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripes(store, &snapshot, goal)?;
    let run = small_run(&all, effort, Options::of(store.table()).stripe_row_limit());
    run.map_or(Ok(false), |run| rewrite(store, &all[run], &snapshot).map(|()| true))
}

/// Writes a stripe anew that has lost many rows, or its delete bitmap if there are marks enough for that, of those that start at row number `from` or behind it. Returns where to go on; `None` if there
/// is no such stripe.
pub fn renew_worn(store: &Store, from: u64, goal: Option<u32>, effort: Effort) -> Result<Option<u64>, OrochiError> {
    let snapshot = LatestMvcc::take();
    let all = stripes(store, &snapshot, goal)?;
    let start = all.partition_point(|described| described.meta.first_row < from);
    for (i, described) in all.iter().enumerate().skip(start) {
        pgrx::check_for_interrupts!();
        let marked = marked_rows(store, &all, i, &snapshot)?;
        let worn = marked + described.meta.deleted_count > described.meta.row_count / worn_part(effort);
        if worn {
            rewrite(store, &all[i..=i], &snapshot)?;
        }
        if worn || (marked >= many_marks(effort) && fold(store, described, &snapshot)?) {
            return Ok(Some(described.meta.first_row + 1));
        }
    }
    Ok(None)
}

/// A stripe that has lost more than one row of so many is written anew. All its bytes are then left to be vacuumed.
fn worn_part(effort: Effort) -> u32 {
    match effort {
        Effort::Thorough => 20,
        Effort::Economic => 5,
    }
}

/// So many marks on a stripe that is not worn go into its delete bitmap: each takes a tuple, which keeps its page from being used for pieces of
/// streams, and an entry of the companion's index.
fn many_marks(effort: Effort) -> u32 {
    match effort {
        Effort::Thorough => 8,
        Effort::Economic => 1024,
    }
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
fn small_run(all: &[Described], effort: Effort, limit: u32) -> Option<Range<usize>> {
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
        let run = without_dominant(all, start..end);
        let (rows, bytes) = extent(&all[run.clone()]);
        let enough = match effort {
            Effort::Thorough => run.len() >= 2,
            Effort::Economic => {
                run.len() >= ENOUGH || (run.len() >= 2 && (rows > limit / 2 || bytes > MERGED_BYTES / 2))
            }
        };
        if enough {
            return Some(run);
        }
        start = end.max(start + 1);
    }
    None
}

/// The longest part of a run in which no stripe is so large that the others are not worth writing it anew.
fn without_dominant(all: &[Described], mut run: Range<usize>) -> Range<usize> {
    while let Some(largest) = run.clone().max_by_key(|i| all[*i].meta.plain_bytes) {
        let bytes = all[largest].meta.plain_bytes;
        let others = extent(&all[run.clone()]).1 - bytes;
        if bytes <= DOMINANT_BYTES || others >= bytes / AMPLIFICATION {
            break;
        }
        let (before, behind) = (run.start..largest, largest + 1..run.end);
        run = if before.len() > behind.len() { before } else { behind };
    }
    run
}

/// Rows of some stripes, and their bytes once decoded.
fn extent(stripes: &[Described]) -> (u32, u64) {
    stripes
        .iter()
        .fold((0, 0), |(rows, bytes), Described { meta, .. }| (rows + meta.row_count, bytes + meta.plain_bytes))
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
