//! Reading blocks of a relation before they are needed, in as few and as large reads as the server can.

use super::{Rel, compat};
use pgrx::pg_sys;

/// Whether reads are worth asking for before they are needed: the server combines them, and `effective_io_concurrency` of the relation's
/// tablespace is not 0.
pub fn is_wanted(relation: Rel) -> bool {
    // SAFETY: the relation is open.
    compat::HAS_READ_STREAMS
        && unsafe { pg_sys::get_tablespace_io_concurrency((*(*relation.raw()).rd_rel).reltablespace) > 0 }
}

/// Reads blocks of a relation, which increase, into the buffer pool. Those beyond its end are left out.
pub fn read_ahead(relation: Rel, blocks: &[pg_sys::BlockNumber]) {
    let end = relation.physical_blocks();
    compat::read_blocks(relation, blocks.get(..blocks.partition_point(|block| *block < end)).unwrap_or_default());
}
