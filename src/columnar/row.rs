//! Rows of the row store: images cut into parts.

use super::dead_set::DeadSet;
use super::key::{Item, KeyRange, MAX_PARTS, RowNumber};
use super::store::{Store, Stored};
use crate::pg::error::OrochiError;
use crate::pg::heap;
use crate::pg::snapshot::Snap;
use crate::pg::values::tuple_from_image;
use pgrx::pg_sys;

/// Longest part of a row image.
const PART: usize = 8_000;

/// What happens to the first part of a new row.
pub enum First {
    /// Inserted.
    Insert,
    /// Inserted on probation, with this token.
    Speculate(u32),
}

/// The first part of an image: a continuation flag byte and up to [`PART`] bytes.
///
/// The flag is the number of parts, so that a reader of the first part knows whether to look for more.
pub fn first_part(image: &[u8]) -> Vec<u8> {
    let parts = image.len().div_ceil(PART).max(1) as u32;
    let head = &image[..image.len().min(PART)];
    let mut payload = Vec::with_capacity(4 + head.len());
    payload.extend_from_slice(&parts.to_le_bytes());
    payload.extend_from_slice(head);
    payload
}

/// Inserts the parts after the first.
pub fn insert_rest(store: &Store, row: RowNumber, image: &[u8], cid: pg_sys::CommandId) {
    for (i, part) in image.chunks(PART).enumerate().skip(1) {
        if i as u32 >= MAX_PARTS {
            OrochiError::Exhausted { relation: store.table().name(), what: "parts of one row" }.raise();
        }
        store.insert(Item::Row { row, part: i as u32 }.key(), part, cid, 0);
    }
}

/// Inserts a row; returns the TID of its first part in the companion.
pub fn insert(
    store: &Store,
    row: RowNumber,
    image: &[u8],
    cid: pg_sys::CommandId,
    first: First,
) -> pg_sys::ItemPointerData {
    insert_rest(store, row, image, cid);
    let key = Item::Row { row, part: 0 }.key();
    let payload = first_part(image);
    match first {
        First::Insert => store.insert(key, &payload, cid, 0),
        First::Speculate(token) => store.insert_speculative(key, &payload, cid, token),
    }
}

/// Number of parts of the row whose first part this is.
pub fn part_count(first: &Stored) -> u32 {
    first.pinned.payload().first_chunk::<4>().map_or(1, |n| u32::from_le_bytes(*n))
}

/// Deletes the parts after the first, after the first one was deleted or superseded by us.
pub fn delete_rest(store: &Store, row: RowNumber, cid: pg_sys::CommandId) {
    let mut items = store.scan(KeyRange::row(row), Snap::latest());
    while let Some(stored) = items.next_visible() {
        if let Item::Row { part: 1.., .. } = stored.item {
            heap::delete(store.companion(), stored.pinned.tid(), cid, std::ptr::null_mut(), true, false);
        }
    }
}

/// Numbers and places of the row-store rows of a range that a snapshot sees, in ascending order.
///
/// A marked row is left out: an old snapshot sees a row here although the mover has moved it since, and its own transaction
/// may then have deleted it from the stripe.
pub fn list(store: &Store, range: KeyRange, snapshot: Snap) -> Vec<(RowNumber, pg_sys::ItemPointerData)> {
    let mut rows: Vec<(RowNumber, pg_sys::ItemPointerData)> = Vec::new();
    let mut any_moved = false;
    let mut items = store.scan(range, snapshot);
    while let Some(stored) = items.next_visible() {
        if let Item::Row { row, part: 0 } = stored.item {
            any_moved |= stored.pinned.has_deleter();
            rows.push((row, stored.pinned.tid()));
        }
    }
    drop(items);
    if any_moved && let (Some((first, _)), Some((last, _))) = (rows.first().copied(), rows.last().copied()) {
        let dead = DeadSet::load(store, first, last, snapshot);
        rows.retain(|(row, _)| !dead.contains(*row));
    }
    rows
}

fn corrupted(store: &Store, row: RowNumber) -> OrochiError {
    OrochiError::Corrupted {
        relation: store.table().name(),
        what: format!("row ({},{}) of the row store is incomplete", row.block(), row.offset()),
    }
}

/// Forms the heap tuple of a row, palloc'd in the current context, with the row number as its TID.
pub fn tuple(store: &Store, row: RowNumber, first: &Stored) -> Result<pg_sys::HeapTuple, OrochiError> {
    let payload = first.pinned.payload().get(4..).ok_or_else(|| corrupted(store, row))?;
    let parts = part_count(first);
    let made = if parts <= 1 {
        tuple_from_image(payload.len(), |into| into.copy_from_slice(payload), first.pinned.header(), store.table())
    } else {
        let image = collect(store, row, payload, parts)?;
        tuple_from_image(image.len(), |into| into.copy_from_slice(&image), first.pinned.header(), store.table())
    };
    let tuple = made.ok_or_else(|| corrupted(store, row))?;
    // SAFETY: the tuple was just made.
    unsafe {
        (*tuple).t_self = super::tid::to_tid(row);
    }
    Ok(tuple)
}

/// The whole image of a row of several parts.
fn collect(store: &Store, row: RowNumber, head: &[u8], parts: u32) -> Result<Vec<u8>, OrochiError> {
    let mut image = Vec::new();
    let wanted = (parts as usize).saturating_mul(PART);
    image
        .try_reserve(wanted)
        .map_err(|_| OrochiError::OutOfMemory { detail: format!("A row of {wanted} bytes could not be assembled.") })?;
    image.extend_from_slice(head);
    let mut next = 1;
    // Parts have no versions of their own: whatever has the key belongs to the row.
    let mut items = store.scan(KeyRange::row(row), Snap::any());
    while let Some(stored) = items.next_any() {
        if let Item::Row { part, .. } = stored.item
            && part == next
        {
            image.extend_from_slice(stored.pinned.payload());
            next += 1;
        }
    }
    if next == parts { Ok(image) } else { Err(corrupted(store, row)) }
}
