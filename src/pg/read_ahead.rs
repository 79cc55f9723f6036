//! Reading blocks of a relation before they are needed, in as few and as large reads as the server can.

use super::{Rel, compat};
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
        compat::read_blocks(relation, blocks);
    }
}

/// Asks the system for a block; true if the buffer pool has it.
pub fn prefetch(relation: Rel, block: BlockNumber) -> bool {
    // SAFETY: the relation is open and has the block.
    let result = unsafe { pg_sys::PrefetchBuffer(relation.raw(), ForkNumber::MAIN_FORKNUM, block) };
    result.recent_buffer != pg_sys::InvalidBuffer as pg_sys::Buffer
}
