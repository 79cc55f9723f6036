//! Removing anchors that nobody holds, and reservations whose transactions are over.

use super::Effort;
use crate::columnar::key::{Item, KeyRange, RowNumber, block_start};
use crate::columnar::metapage;
use crate::columnar::store::Store;
use crate::columnar::stripe;
use crate::pg::error::OrochiError;
use crate::pg::heap;
use crate::pg::snapshot::{LatestMvcc, Snap};
use pgrx::pg_sys;

/// Anchors removed in one transaction at most.
const BATCH: usize = 4096;
/// In the background fewer anchors than this are left alone: rows that are locked often would only need them again.
const WORTH_IT: usize = 1024;

/// Removes unused anchors; true if there may be more.
pub fn sweep(store: &Store, effort: Effort) -> Result<bool, OrochiError> {
    // Keeps VACUUM from handing the places that are noted to other tuples.
    let snapshot = LatestMvcc::take();
    let mut unused = Vec::new();
    let numbers_end = block_start(metapage::next_block(store.table()));
    let mut items = store.scan(KeyRange::anchors(RowNumber(0), numbers_end), Snap::latest());
    while unused.len() < BATCH
        && let Some(stored) = items.next_visible()
    {
        if let Item::Anchor(_) = stored.item
            && u32::from(stored.pinned.header().t_infomask) & pg_sys::HEAP_XMAX_INVALID != 0
        {
            unused.push(stored.pinned.tid());
        }
    }
    drop(items);
    let stale = stripe::stale_reservations(store, snapshot.snap())?;
    let wanted = if effort == Effort::Thorough { 1 } else { WORTH_IT };
    if unused.len() < wanted {
        unused.clear();
    }
    if unused.is_empty() && stale.is_empty() {
        return Ok(false);
    }
    // SAFETY: the mover runs in a transaction.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    super::publish()?;
    for at in unused.iter().chain(&stale) {
        heap::delete(store.companion(), *at, cid, std::ptr::null_mut(), false, false);
    }
    Ok(unused.len() == BATCH)
}
