//! Row numbers that this backend has reserved and not used yet, per table.

use super::key::{ROWS_PER_BLOCK, RowNumber, block_start};
use super::metapage;
use crate::pg::Rel;
use crate::pg::relation::FileId;
use std::cell::RefCell;
use std::collections::HashMap;

/// Tables remembered at most; beyond that all are forgotten, which only costs numbers.
const REMEMBERED: usize = 1024;

thread_local! {
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
