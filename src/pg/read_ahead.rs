//! Reading blocks of a relation before they are needed, in as few and as large reads as the server can.

use super::Rel;
use pgrx::pg_sys;
use pgrx::pg_sys::{BlockNumber, ForkNumber};

/// Whether reads are worth asking for before they are needed: `effective_io_concurrency` of the relation's tablespace is not 0.
pub fn is_wanted(relation: Rel) -> bool {
    // SAFETY: the relation is open.
    unsafe { pg_sys::get_tablespace_io_concurrency((*(*relation.raw()).rd_rel).reltablespace) > 0 }
}

/// Asks for blocks of a relation, which increase. If the last one is in the buffer pool already, so are the others, most likely, and
/// nothing is done.
pub fn read_ahead(relation: Rel, blocks: &[BlockNumber]) {
    let end = relation.physical_blocks();
    let blocks = blocks.get(..blocks.partition_point(|block| *block < end)).unwrap_or_default();
    if blocks.last().is_some_and(|last| !prefetch(relation, *last)) {
        read(relation, blocks);
    }
}

/// Asks the system for a block; true if the buffer pool has it.
fn prefetch(relation: Rel, block: BlockNumber) -> bool {
    // SAFETY: the relation is open and has the block.
    let result = unsafe { pg_sys::PrefetchBuffer(relation.raw(), ForkNumber::MAIN_FORKNUM, block) };
    result.recent_buffer != pg_sys::InvalidBuffer as pg_sys::Buffer
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
fn read(relation: Rel, blocks: &[BlockNumber]) {
    for block in blocks {
        prefetch(relation, *block);
    }
}

/// A stream combines neighbours into one read, and has several under way where the server can. The blocks stay in the buffer pool.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
fn read(relation: Rel, blocks: &[BlockNumber]) {
    let mut rest = blocks.iter();
    // SAFETY: the relation is open and has the blocks; the iterator outlives the stream, which is ended here or, after an ERROR, with its
    // memory context.
    unsafe {
        let stream = pg_sys::read_stream_begin_relation(
            pg_sys::READ_STREAM_FULL as i32,
            std::ptr::null_mut(),
            relation.raw(),
            ForkNumber::MAIN_FORKNUM,
            Some(next_block),
            (&raw mut rest).cast(),
            0,
        );
        loop {
            let buffer = pg_sys::read_stream_next_buffer(stream, std::ptr::null_mut());
            if buffer == pg_sys::InvalidBuffer as pg_sys::Buffer {
                break;
            }
            pg_sys::ReleaseBuffer(buffer);
        }
        pg_sys::read_stream_end(stream);
    }
}

/// The next of the blocks that [`read`] was given. Fails for nothing, and so needs no guard.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
unsafe extern "C-unwind" fn next_block(
    _stream: *mut pg_sys::ReadStream,
    blocks: *mut std::ffi::c_void,
    _data: *mut std::ffi::c_void,
) -> BlockNumber {
    // SAFETY: the pointer is to the iterator in `read`.
    unsafe {
        (*blocks.cast::<std::slice::Iter<'_, BlockNumber>>()).next().copied().unwrap_or(pg_sys::InvalidBlockNumber)
    }
}
