//! Row numbers as TIDs.

use super::key::RowNumber;
use pgrx::pg_sys;

/// The TID of a row number.
#[inline]
pub fn to_tid(row: RowNumber) -> pg_sys::ItemPointerData {
    let mut tid = pg_sys::ItemPointerData::default();
    pgrx::itemptr::item_pointer_set_all(&mut tid, row.block(), row.offset());
    tid
}

/// The row number of a TID; `None` where no row can be.
#[inline]
pub fn from_tid(tid: pg_sys::ItemPointerData) -> Option<RowNumber> {
    let (block, offset) = pgrx::itemptr::item_pointer_get_both(tid);
    RowNumber::from_block_offset(block, offset)
}

/// True if both are the same TID.
#[inline]
pub fn same(a: &pg_sys::ItemPointerData, b: &pg_sys::ItemPointerData) -> bool {
    pgrx::itemptr::item_pointer_get_both(*a) == pgrx::itemptr::item_pointer_get_both(*b)
}

/// Block that a TID of the companion names.
pub fn block(tid: &pg_sys::ItemPointerData) -> u32 {
    pgrx::itemptr::item_pointer_get_both(*tid).0
}

/// A TID of the companion.
pub fn place(block: u32, offset: u16) -> pg_sys::ItemPointerData {
    let mut tid = pg_sys::ItemPointerData::default();
    pgrx::itemptr::item_pointer_set_all(&mut tid, block, offset);
    tid
}
