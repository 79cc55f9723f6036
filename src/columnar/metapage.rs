//! The metapage: block 0 of the main fork, which hands out row numbers, stripe ids and blob ids.
//!
//! It is made when the first number is asked for, so a new, truncated or reset unlogged table has none.
//! Numbers are never handed out twice, whatever becomes of the transaction that took them.

use super::key::MAX_BLOCKS;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::{OpenRel, Rel};
use pgrx::pg_sys;

const MAGIC: u32 = 0x4f52_4f43;
/// Version of the storage format that this library reads and writes.
pub const FORMAT_VERSION: u16 = 2;
const CONTENT: usize = 24;

/// Content of the metapage after the page header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    magic: u32,
    version: u16,
    _pad: u16,
    /// Next virtual block to hand out.
    pub next_block: u32,
    /// Next stripe id.
    pub next_stripe: u32,
    /// Next blob id.
    pub next_blob: u32,
    _pad2: u32,
    /// Full transaction id of the rewrite that made this file, 0 if none did.
    pub rewrite_xid: u64,
}

impl Meta {
    fn new() -> Self {
        Self {
            magic: MAGIC,
            version: FORMAT_VERSION,
            _pad: 0,
            next_block: 0,
            next_stripe: 0,
            next_blob: 0,
            _pad2: 0,
            rewrite_xid: 0,
        }
    }
}

/// A pinned and locked buffer.
struct Locked(pg_sys::Buffer);

impl Locked {
    fn meta(&self) -> *mut Meta {
        // SAFETY: the buffer is pinned and holds a page, which is larger than header and content.
        unsafe { pg_sys::BufferGetPage(self.0).cast::<u8>().add(CONTENT).cast() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: pinned and locked by `lock_existing` or `create`.
            unsafe { pg_sys::UnlockReleaseBuffer(self.0) }
        }
    }
}

fn lock_existing(table: Rel, mode: u32) -> Locked {
    // SAFETY: block 0 exists; the relation is open.
    unsafe {
        let buffer = pg_sys::ReadBufferExtended(
            table.raw(),
            pg_sys::ForkNumber::MAIN_FORKNUM,
            0,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            std::ptr::null_mut(),
        );
        pg_sys::LockBuffer(buffer, mode as i32);
        Locked(buffer)
    }
}

/// Makes block 0 unless another backend just did.
fn create(table: Rel) {
    // SAFETY: the relation is open for writing; the extension lock serialises creation.
    unsafe {
        let lock = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockRelationForExtension(table.raw(), lock);
        if table.physical_blocks() == 0 {
            let buffer = pg_sys::ReadBufferExtended(
                table.raw(),
                pg_sys::ForkNumber::MAIN_FORKNUM,
                pg_sys::InvalidBlockNumber,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            let locked = Locked(buffer);
            write(table, &locked, |page| {
                pg_sys::PageInit(page.cast(), pg_sys::BLCKSZ as usize, 0);
                let header = page.cast::<pg_sys::PageHeaderData>();
                (*header).pd_lower = (CONTENT + size_of::<Meta>()) as u16;
                page.cast::<u8>().add(CONTENT).cast::<Meta>().write(Meta::new());
            });
        }
        pg_sys::UnlockRelationForExtension(table.raw(), lock);
    }
}

/// Applies a change to the page in one WAL record.
///
/// # Safety
/// `change` must leave a valid page.
unsafe fn write(table: Rel, locked: &Locked, change: impl FnOnce(*mut u8)) {
    // SAFETY: the buffer is exclusively locked; the working copy becomes the page in GenericXLogFinish.
    unsafe {
        let state = pg_sys::GenericXLogStart(table.raw());
        let page = pg_sys::GenericXLogRegisterBuffer(state, locked.0, pg_sys::GENERIC_XLOG_FULL_IMAGE as i32);
        change(page.cast());
        pg_sys::GenericXLogFinish(state);
    }
}

fn check(table: Rel, meta: &Meta) -> Result<(), OrochiError> {
    // A page that was extended but whose record was lost in a crash is all zeroes; it is made again below.
    if meta.magic != MAGIC {
        return Err(OrochiError::Corrupted { relation: table.name(), what: "the metapage has no magic number".into() });
    }
    if meta.version != FORMAT_VERSION {
        return Err(OrochiError::UnknownFormat { relation: table.name(), found: meta.version, known: FORMAT_VERSION });
    }
    Ok(())
}

/// The metapage's content, unchecked; `None` if the page is not there or was never written.
fn peek(table: Rel) -> Option<Meta> {
    if table.physical_blocks() == 0 {
        return None;
    }
    let locked = lock_existing(table, pg_sys::BUFFER_LOCK_SHARE);
    // SAFETY: the page is pinned and share-locked; its content is plain data.
    unsafe { (!pg_sys::PageIsNew(pg_sys::BufferGetPage(locked.0))).then(|| *locked.meta()) }
}

/// Reads the metapage; `None` if the table has none yet.
pub fn read(table: Rel) -> Option<Meta> {
    let meta = peek(table).or_else(|| peek_again(table).or_raise())?;
    check(table, &meta).or_raise();
    Some(meta)
}

/// Looks once more for a metapage that was not there. Numbers come before the rows that have them, so a companion that holds
/// anything says that the page was lost, unless another backend has made it just now.
fn peek_again(table: Rel) -> Result<Option<Meta>, OrochiError> {
    let oid = table.companion();
    if oid == pg_sys::InvalidOid {
        return Ok(None);
    }
    let companion = OpenRel::table(oid, pg_sys::AccessShareLock);
    if !has_tuples(companion.rel()) {
        return Ok(None);
    }
    match peek(table) {
        None => Err(OrochiError::Corrupted { relation: table.name(), what: "the metapage is missing".into() }),
        found => Ok(found),
    }
}

/// True if a page of a heap has ever had a tuple. Pages without one are what a transaction leaves behind that had made the file longer when
/// the server crashed, and whose records had not reached the disk.
fn has_tuples(heap: Rel) -> bool {
    (0..heap.physical_blocks()).any(|block| {
        pgrx::check_for_interrupts!();
        // SAFETY: the relation is open and has the block; the page is pinned and share-locked while its header is read.
        unsafe {
            let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            let locked = Locked(pg_sys::ReadBufferExtended(heap.raw(), main, block, mode, std::ptr::null_mut()));
            pg_sys::LockBuffer(locked.0, pg_sys::BUFFER_LOCK_SHARE as i32);
            let header = pg_sys::BufferGetPage(locked.0).cast::<pg_sys::PageHeaderData>();
            usize::from((*header).pd_lower) > std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp)
        }
    })
}

/// Changes the metapage, making it first if need be, and returns what `change` returns.
pub fn update<T>(table: Rel, change: impl FnOnce(&mut Meta) -> Result<T, OrochiError>) -> T {
    if table.physical_blocks() == 0 && read(table).is_none() {
        create(table);
    }
    let locked = lock_existing(table, pg_sys::BUFFER_LOCK_EXCLUSIVE);
    // SAFETY: the page is pinned and exclusively locked.
    let fresh = unsafe { pg_sys::PageIsNew(pg_sys::BufferGetPage(locked.0)) };
    // SAFETY: as above.
    let mut meta = if fresh { Meta::new() } else { unsafe { *locked.meta() } };
    let result = check(table, &meta).and_then(|()| change(&mut meta));
    match result {
        Ok(value) => {
            // SAFETY: the page is initialised here or was before, and gets plain data.
            unsafe {
                write(table, &locked, |page| {
                    if fresh {
                        pg_sys::PageInit(page.cast(), pg_sys::BLCKSZ as usize, 0);
                        (*page.cast::<pg_sys::PageHeaderData>()).pd_lower = (CONTENT + size_of::<Meta>()) as u16;
                    }
                    page.add(CONTENT).cast::<Meta>().write(meta);
                });
            }
            value
        }
        Err(error) => {
            drop(locked);
            error.raise()
        }
    }
}

/// Reserves `blocks` consecutive virtual blocks and returns the first.
pub fn reserve_blocks(table: Rel, blocks: u32) -> u32 {
    update(table, |meta| {
        let first = meta.next_block;
        if first > MAX_BLOCKS - blocks {
            return Err(OrochiError::Exhausted { relation: table.name(), what: "row numbers" });
        }
        meta.next_block = first + blocks;
        Ok(first)
    })
}

/// Reserves a stripe id.
pub fn reserve_stripe(table: Rel) -> u32 {
    update(table, |meta| {
        if meta.next_stripe == i32::MAX as u32 {
            return Err(OrochiError::Exhausted { relation: table.name(), what: "stripe numbers" });
        }
        meta.next_stripe += 1;
        Ok(meta.next_stripe - 1)
    })
}

/// Reserves a blob id.
pub fn reserve_blob(table: Rel) -> u32 {
    update(table, |meta| {
        if meta.next_blob == MAX_BLOCKS {
            return Err(OrochiError::Exhausted { relation: table.name(), what: "blob numbers" });
        }
        meta.next_blob += 1;
        Ok(meta.next_blob - 1)
    })
}

/// Blocks handed out so far.
pub fn next_block(table: Rel) -> u32 {
    read(table).map_or(0, |meta| meta.next_block)
}

/// Notes that the file was made by a rewrite in transaction `xid`.
pub fn set_rewrite_xid(table: Rel, xid: u64) {
    update(table, |meta| {
        meta.rewrite_xid = xid;
        Ok(())
    });
}
