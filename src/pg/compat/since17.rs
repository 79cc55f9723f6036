//! PostgreSQL 17 and 18.

use crate::pg::Rel;
use pgrx::pg_sys;
use pgrx::pg_sys::BlockNumber;
use std::ffi::c_void;

/// Sets the slot operation that tells whether a row was inserted by the current transaction.
pub fn set_current_xact_test(
    ops: &mut pg_sys::TupleTableSlotOps,
    test: unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot) -> bool,
) {
    ops.is_current_xact_tuple = Some(test);
}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn avoid_prefetch_in_autovacuum() {}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn stop_prefetch() {}

/// From 17 on ANALYZE leaves it to the access method what is read ahead.
pub fn restore_prefetch() {}

/// Streams combine reads of neighbouring blocks.
pub const HAS_READ_STREAMS: bool = true;

/// Reads blocks of a relation into the buffer pool; if the last one is there already, so are the others, most likely. A stream combines neighbours into one read, and has several under way where the server
/// can.
pub fn read_blocks(relation: Rel, blocks: &[BlockNumber]) {
    let Some(last) = blocks.last() else { return };
    // SAFETY: the relation is open and has the block.
    let found = unsafe { pg_sys::PrefetchBuffer(relation.raw(), pg_sys::ForkNumber::MAIN_FORKNUM, *last) };
    if found.recent_buffer != pg_sys::InvalidBuffer as pg_sys::Buffer {
        return;
    }
    let mut rest = blocks.iter();
    // SAFETY: the relation is open and has the blocks; the iterator outlives the stream, which is ended here or, after an ERROR, with its
    // memory context.
    unsafe {
        let stream = pg_sys::read_stream_begin_relation(
            pg_sys::READ_STREAM_FULL as i32,
            std::ptr::null_mut(),
            relation.raw(),
            pg_sys::ForkNumber::MAIN_FORKNUM,
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

/// The next of the blocks that [`read_blocks`] was given. It cannot fail, and so needs no guard.
unsafe extern "C-unwind" fn next_block(
    _stream: *mut pg_sys::ReadStream,
    blocks: *mut c_void,
    _data: *mut c_void,
) -> BlockNumber {
    // SAFETY: the pointer is to the iterator in `read_blocks`.
    unsafe {
        (*blocks.cast::<std::slice::Iter<'_, BlockNumber>>()).next().copied().unwrap_or(pg_sys::InvalidBlockNumber)
    }
}

/// From 17 on what a snapshot sees stays as long as the snapshot.
pub fn snapshots_expire() -> bool {
    false
}
