//! Table access method callbacks whose signatures differ between majors.

use pgrx::pg_guard;
use pgrx::pg_sys::*;

/// The callbacks in one form.
pub trait Versioned {
    /// `tuple_update`; every index gets a new entry.
    ///
    /// # Safety
    /// Core's arguments.
    unsafe fn update(
        relation: Relation,
        item: ItemPointer,
        new: *mut TupleTableSlot,
        cid: CommandId,
        crosscheck: Snapshot,
        wait: bool,
        failure: *mut TM_FailureData,
        mode: *mut LockTupleMode::Type,
    ) -> TM_Result::Type;

    /// `relation_set_new_filenode`, `relation_set_new_filelocator`.
    ///
    /// # Safety
    /// Core's arguments.
    unsafe fn set_new_file(
        relation: Relation,
        locator: *const super::Locator,
        persistence: std::ffi::c_char,
        freeze: *mut TransactionId,
        minmulti: *mut MultiXactId,
    );

    /// Loads a block for a bitmap scan or ANALYZE, all of it or the listed offsets; false if it has no rows.
    ///
    /// # Safety
    /// `desc` must be an open scan.
    unsafe fn load_block(desc: TableScanDesc, block: BlockNumber, only: Option<&[OffsetNumber]>) -> bool;

    /// The next row of the loaded block.
    ///
    /// # Safety
    /// `desc` must be an open scan.
    unsafe fn next_in_block(desc: TableScanDesc, slot: *mut TupleTableSlot) -> bool;
}

/// Sets the callbacks.
pub fn install<T: Versioned>(routine: &mut TableAmRoutine) {
    routine.tuple_update = Some(tuple_update::<T>);
    routine.scan_analyze_next_block = Some(analyze_next_block::<T>);
    #[cfg(feature = "pg15")]
    {
        routine.relation_set_new_filenode = Some(set_new_file::<T>);
    }
    #[cfg(not(feature = "pg15"))]
    {
        routine.relation_set_new_filelocator = Some(set_new_file::<T>);
    }
    #[cfg(not(feature = "pg18"))]
    {
        routine.scan_bitmap_next_block = Some(bitmap_next_block::<T>);
    }
    routine.scan_bitmap_next_tuple = Some(bitmap_next_tuple::<T>);
}

#[cfg(feature = "pg15")]
type UpdateIndexes = bool;
#[cfg(feature = "pg15")]
const ALL_INDEXES: UpdateIndexes = true;
#[cfg(not(feature = "pg15"))]
type UpdateIndexes = TU_UpdateIndexes::Type;
#[cfg(not(feature = "pg15"))]
const ALL_INDEXES: UpdateIndexes = TU_UpdateIndexes::TU_All;

#[pg_guard]
unsafe extern "C-unwind" fn tuple_update<T: Versioned>(
    relation: Relation,
    item: ItemPointer,
    new: *mut TupleTableSlot,
    cid: CommandId,
    _snapshot: Snapshot,
    crosscheck: Snapshot,
    wait: bool,
    failure: *mut TM_FailureData,
    mode: *mut LockTupleMode::Type,
    indexes: *mut UpdateIndexes,
) -> TM_Result::Type {
    // SAFETY: core's arguments.
    unsafe {
        *indexes = ALL_INDEXES;
        T::update(relation, item, new, cid, crosscheck, wait, failure, mode)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn set_new_file<T: Versioned>(
    relation: Relation,
    locator: *const super::Locator,
    persistence: std::ffi::c_char,
    freeze: *mut TransactionId,
    minmulti: *mut MultiXactId,
) {
    // SAFETY: core's arguments.
    unsafe { T::set_new_file(relation, locator, persistence, freeze, minmulti) }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
#[pg_guard]
unsafe extern "C-unwind" fn analyze_next_block<T: Versioned>(
    desc: TableScanDesc,
    block: BlockNumber,
    _strategy: BufferAccessStrategy,
) -> bool {
    // SAFETY: core's arguments.
    unsafe { T::load_block(desc, block, None) }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
#[pg_guard]
unsafe extern "C-unwind" fn analyze_next_block<T: Versioned>(desc: TableScanDesc, stream: *mut ReadStream) -> bool {
    // SAFETY: core's arguments; the stream only tells which blocks the sample has, nothing is read through it.
    unsafe {
        let mut strategy = std::ptr::null_mut();
        let block = read_stream_next_block(stream, &mut strategy);
        if block == InvalidBlockNumber {
            return false;
        }
        T::load_block(desc, block, None);
        true
    }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
crate::pg::externs::guarded! {
    /// The next block that a stream would read (storage/read_stream.h).
    fn read_stream_next_block(stream: *mut ReadStream, strategy: *mut BufferAccessStrategy) -> BlockNumber;
}

#[cfg(not(feature = "pg18"))]
#[pg_guard]
unsafe extern "C-unwind" fn bitmap_next_block<T: Versioned>(desc: TableScanDesc, page: *mut TBMIterateResult) -> bool {
    // SAFETY: core's arguments; an exact page lists its offsets.
    unsafe {
        let exact = usize::try_from((*page).ntuples).ok().map(|count| (*page).offsets.as_slice(count));
        T::load_block(desc, (*page).blockno, exact)
    }
}

#[cfg(not(feature = "pg18"))]
#[pg_guard]
unsafe extern "C-unwind" fn bitmap_next_tuple<T: Versioned>(
    desc: TableScanDesc,
    _page: *mut TBMIterateResult,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe { T::next_in_block(desc, slot) }
}

/// Offsets that one page of a bitmap lists at most: MaxHeapTuplesPerPage of 8 KB pages.
#[cfg(feature = "pg18")]
const MAX_OFFSETS: usize = 291;

#[cfg(feature = "pg18")]
#[pg_guard]
unsafe extern "C-unwind" fn bitmap_next_tuple<T: Versioned>(
    desc: TableScanDesc,
    slot: *mut TupleTableSlot,
    recheck: *mut bool,
    lossy_pages: *mut u64,
    exact_pages: *mut u64,
) -> bool {
    // SAFETY: core's arguments; core keeps the iterator in the scan.
    unsafe {
        while !T::next_in_block(desc, slot) {
            let mut page = TBMIterateResult::default();
            if !tbm_iterate(&raw mut (*desc).st.rs_tbmiterator, &mut page) {
                return false;
            }
            *recheck = page.recheck;
            if page.lossy {
                *lossy_pages += 1;
                T::load_block(desc, page.blockno, None);
            } else {
                *exact_pages += 1;
                let mut offsets = [0; MAX_OFFSETS];
                let count = tbm_extract_page_tuple(&mut page, offsets.as_mut_ptr(), offsets.len() as u32);
                T::load_block(desc, page.blockno, Some(&offsets[..count.max(0) as usize]));
            }
        }
        true
    }
}
