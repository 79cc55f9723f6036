//! Moving what lies at the end of the companion into room before it, so that VACUUM can cut the file.
//!
//! What the mover writes anew leaves pages behind that VACUUM hands to others, wherever they are, and only the last ones can be cut off. Pieces of
//! streams and descriptions of stripes keep their keys when they are moved: a snapshot sees one of two tuples that say the same. Marks are read
//! without such a snapshot, which could meet neither of the two, so they go into delete bitmaps.

use super::fold::fold;
use super::rewrite::{command, remove};
use super::{Effort, publish};
use crate::columnar::blob;
use crate::columnar::key::{Item, RowNumber};
use crate::columnar::store::{Store, Stored};
use crate::columnar::stripe::{self, Described};
use crate::columnar::tid;
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::room;
use crate::pg::snapshot::LatestMvcc;
use crate::pg::tuple::OVERHEAD;
use pgrx::pg_sys;

/// Pages of the end that one step looks at.
const BATCH: u32 = 1024;
/// Tuples that a page has at most.
const TUPLES_PER_PAGE: u16 = 291;
/// Pages that a file may have more than its stripes need, whatever these are.
const SPARE: u64 = 64;

/// How far a file has been packed.
#[derive(Clone, Copy)]
pub struct Packing {
    /// What lies from this page on is moved.
    end: u32,
    /// From this page on all has been looked at.
    tail: u32,
    /// Pages before these have no room for a piece, or for less.
    room: [u32; 2],
}

/// What packing came to.
enum Outcome {
    /// There may be more to do.
    More,
    /// All is done, or nothing more can be.
    Done,
}

/// Moves the tuples of some pages; true if there may be more.
pub fn pack(store: &Store, packing: &mut Option<Packing>, effort: Effort) -> Result<bool, OrochiError> {
    let snapshot = LatestMvcc::take();
    if packing.is_none() {
        *packing = begin(store, &snapshot, effort)?;
    }
    let Some(now) = packing else { return Ok(false) };
    let outcome = move_pages(store, now, &snapshot)?;
    if matches!(outcome, Outcome::Done) {
        *packing = None;
    }
    Ok(packing.is_some())
}

/// Where to begin, if the file is so much larger than what it holds that packing pays.
fn begin(store: &Store, snapshot: &LatestMvcc, effort: Effort) -> Result<Option<Packing>, OrochiError> {
    let blocks = store.companion().physical_blocks();
    let needed: u64 = super::stripes(store, snapshot, None)?
        .iter()
        .map(|described| {
            let bitmap = described.meta.deleted.map_or(0, blob::pages);
            1 + blob::pages(described.meta.blob) + bitmap
        })
        .sum();
    let spare = match effort {
        Effort::Thorough => needed / 16,
        // What is in the row store comes and goes.
        Effort::Economic => needed / 2,
    };
    let worth_it = u64::from(blocks) > needed + spare + SPARE;
    let end = u32::try_from(needed + needed / 64).unwrap_or(u32::MAX);
    Ok(worth_it.then_some(Packing { end, tail: blocks, room: [0; 2] }))
}

fn move_pages(store: &Store, now: &mut Packing, snapshot: &LatestMvcc) -> Result<Outcome, OrochiError> {
    let mut known = super::stripes(store, snapshot, None)?;
    let stop = now.end.max(now.tail.saturating_sub(BATCH));
    // Somebody else may have cut the file.
    now.tail = now.tail.min(store.companion().physical_blocks());
    while now.tail > stop {
        pgrx::check_for_interrupts!();
        if !move_page(store, now, &mut known, snapshot)? {
            return Ok(Outcome::Done);
        }
        now.tail -= 1;
    }
    Ok(if now.tail > now.end { Outcome::More } else { Outcome::Done })
}

/// Moves the tuples of the page before the tail; false if there is no room. `known` has the stripes that have not been touched in this transaction.
fn move_page(
    store: &Store,
    now: &mut Packing,
    known: &mut Vec<Described>,
    snapshot: &LatestMvcc,
) -> Result<bool, OrochiError> {
    // What this transaction has written or removed is not to be touched again.
    let is_others = |stored: &Stored| stored.visible() && !stored.pinned.is_ours();
    for offset in 1..=TUPLES_PER_PAGE {
        let at = tid::place(now.tail - 1, offset);
        let Some(stored) = store.fetch(at, snapshot.snap()).filter(is_others) else { continue };
        let is_full_piece = stored.pinned.payload().len() == blob::PIECE;
        let done = match stored.item {
            Item::Blob { .. } => relocate(store, now, stored)?,
            Item::Stripe { .. } => match known.iter().position(|described| tid::same(&described.tid, &at)) {
                Some(place) => {
                    known.remove(place);
                    relocate(store, now, stored)?
                }
                // A reservation leaves by itself.
                None => true,
            },
            Item::Dead(row) => {
                drop(stored);
                fold_stripe_of(store, row, known, snapshot)?;
                true
            }
            // So do rows and anchors.
            Item::Row { .. } | Item::Anchor(_) => true,
        };
        if !done {
            return Ok(false);
        }
        if is_full_piece {
            break;
        }
    }
    Ok(true)
}

/// Folds the marks of the stripe that has a row, if it is one of those that are known, which it is not any more then.
fn fold_stripe_of(
    store: &Store,
    row: RowNumber,
    known: &mut Vec<Described>,
    snapshot: &LatestMvcc,
) -> Result<(), OrochiError> {
    for place in 0..known.len() {
        let described = known[place];
        if described.meta.contains(row.0) && stripe::open_described(store, described)?.find(store, row)?.is_some() {
            publish()?;
            fold(store, &described, snapshot)?;
            known.remove(place);
            break;
        }
    }
    Ok(())
}

/// Moves a tuple to a page before its own; false if there is no room.
fn relocate(store: &Store, now: &mut Packing, stored: Stored) -> Result<bool, OrochiError> {
    let (key, at, payload) = (stored.key, stored.pinned.tid(), stored.pinned.payload().to_vec());
    drop(stored);
    let block = tid::block(&at);
    let wanted = payload.len() + OVERHEAD;
    let room = &mut now.room[usize::from(wanted < pg_sys::BLCKSZ as usize / 2)];
    while *room < block && room::room(store.companion(), *room, wanted) < wanted {
        pgrx::check_for_interrupts!();
        *room += 1;
    }
    if *room >= block {
        return Ok(false);
    }
    publish()?;
    room::prefer(store.companion(), *room);
    let cid = command();
    store.insert(key, &payload, cid, 0);
    remove(store, at, cid)?;
    counters::add(Counter::TuplesPacked, 1);
    Ok(true)
}
