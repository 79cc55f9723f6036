//! Room on the pages of a heap.

use super::{Rel, compat};
use pgrx::pg_sys;

/// A pinned page.
struct Page(pg_sys::Buffer);

impl Page {
    fn read(relation: Rel, block: pg_sys::BlockNumber) -> Self {
        let (main, normal) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
        // SAFETY: the relation is open; a block that is not there is an error.
        Self(unsafe { pg_sys::ReadBufferExtended(relation.raw(), main, block, normal, std::ptr::null_mut()) })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: pinned by `read`.
            unsafe { pg_sys::ReleaseBuffer(self.0) };
        }
    }
}

/// How long a tuple a page of a heap has room for, in bytes, at least `wanted` or unknown; what is dead to all is taken off the page if that may make
/// room. `block` must be one of the relation's.
pub fn room(heap: Rel, block: pg_sys::BlockNumber, wanted: usize) -> usize {
    // SAFETY: the relation is open.
    let recorded = unsafe { pg_sys::GetRecordedFreeSpace(heap.raw(), block) };
    if recorded < wanted && is_all_visible(heap, block) {
        return recorded;
    }
    let page = Page::read(heap, block);
    // SAFETY: the page is pinned, and locked while it is looked at.
    unsafe {
        if recorded < wanted {
            pg_sys::heap_page_prune_opt(heap.raw(), page.0);
        }
        pg_sys::LockBuffer(page.0, pg_sys::BUFFER_LOCK_SHARE as i32);
        let free = pg_sys::PageGetHeapFreeSpace(pg_sys::BufferGetPage(page.0));
        pg_sys::LockBuffer(page.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        free
    }
}

/// Whether nothing on a page is dead.
fn is_all_visible(heap: Rel, block: pg_sys::BlockNumber) -> bool {
    let mut map = pg_sys::InvalidBuffer as pg_sys::Buffer;
    // SAFETY: the relation is open; the map's page is pinned by the call if there is one.
    unsafe {
        let status = pg_sys::visibilitymap_get_status(heap.raw(), block, &mut map);
        if map != pg_sys::InvalidBuffer as pg_sys::Buffer {
            pg_sys::ReleaseBuffer(map);
        }
        u32::from(status) & pg_sys::VISIBILITYMAP_ALL_VISIBLE != 0
    }
}

/// Makes a page the first on which this process will look for room.
pub fn prefer(heap: Rel, block: pg_sys::BlockNumber) {
    // SAFETY: the relation is open; a page that turns out to have no room is passed over.
    unsafe { (*compat::smgr(heap.raw())).smgr_targblock = block };
}
