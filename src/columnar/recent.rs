//! Stripes in which this backend has found rows lately, so that the next row of one is found without looking for it among the
//! descriptions. What is remembered is only a hint: a snapshot has to see the description before it counts.

use super::stripe::Described;
use crate::pg::relation::FileId;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Stripes that are remembered.
const LIMIT: usize = 128;

thread_local! {
    static RECENT: RefCell<VecDeque<(FileId, Described)>> = const { RefCell::new(VecDeque::new()) };
}

/// A remembered stripe whose interval has the row, other than those already tried.
pub fn candidate(file: FileId, row: u64, tried: usize) -> Option<Described> {
    RECENT.with_borrow(|recent| {
        let with_row = |entry: &&(FileId, Described)| entry.0 == file && entry.1.meta.contains(row);
        recent.iter().filter(with_row).nth(tried).map(|entry| entry.1)
    })
}

/// Remembers a stripe in place of the oldest.
pub fn note(file: FileId, described: Described) {
    RECENT.with_borrow_mut(|recent| {
        if recent.len() >= LIMIT {
            recent.pop_front();
        }
        recent.push_back((file, described));
    });
}

/// Forgets a stripe that a snapshot did not see any more.
pub fn forget(file: FileId, tid: pg_sys::ItemPointerData) {
    RECENT.with_borrow_mut(|recent| recent.retain(|(f, d)| *f != file || !super::tid::same(&d.tid, &tid)));
}
