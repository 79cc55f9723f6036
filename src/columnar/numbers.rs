//! Reserving row numbers: one by one for the row store, by intervals for stripes.

use super::encoding::StripeMeta;
use super::key::{ROWS_PER_BLOCK, RowNumber, block_start};
use super::store::Store;
use super::{metapage, stripe};
use crate::pg::Rel;
use crate::pg::relation::{FileId, NumberingLock};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

/// Tables remembered at most; beyond that all are forgotten, which only costs numbers.
const REMEMBERED: usize = 1024;

thread_local! {
    /// What this backend has reserved for row stores and not used yet, per table.
    static RESERVED: RefCell<HashMap<FileId, (u64, u64)>> = RefCell::new(HashMap::new());
}

/// Takes the next row number for a row of the row store.
pub fn next(table: Rel) -> RowNumber {
    let file = table.file();
    if let Some(row) = take(file) {
        return row;
    }
    let first = block_start(metapage::reserve_blocks(table, 1)).0;
    RESERVED.with_borrow_mut(|map| {
        if map.len() >= REMEMBERED {
            map.clear();
        }
        map.insert(file, (first + 1, first + ROWS_PER_BLOCK));
    });
    RowNumber(first)
}

fn take(file: FileId) -> Option<RowNumber> {
    RESERVED.with_borrow_mut(|map| {
        let (next, end) = map.get_mut(&file)?;
        if next == end {
            return None;
        }
        *next += 1;
        Some(RowNumber(*next - 1))
    })
}

/// Virtual blocks that have numbers for as many rows.
pub fn whole_stripe(row_limit: u32) -> u32 {
    u64::from(row_limit).div_ceil(ROWS_PER_BLOCK) as u32
}

/// Row numbers that are reserved for rows in memory.
pub struct Interval {
    pub first: u64,
    pub last: u64,
    /// Where the reservation is in the companion.
    pub reservation: pg_sys::ItemPointerData,
}

/// Reserves the numbers of some virtual blocks, and tells others before the first is used.
pub fn reserve(store: &Store, blocks: u32, cid: pg_sys::CommandId) -> Interval {
    let table = store.table();
    let numbering = NumberingLock::take(table);
    let first = block_start(metapage::reserve_blocks(table, blocks)).0;
    let last = first + u64::from(blocks) * ROWS_PER_BLOCK - 1;
    // A number of its own: the stripe comes to stand beside it, and keys are unique.
    let number = metapage::reserve_stripe(table);
    let reservation = stripe::insert_meta(store, &StripeMeta::reservation(number, first, last), cid);
    drop(numbering);
    Interval { first, last, reservation }
}
