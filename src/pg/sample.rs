//! Sampling methods (TABLESAMPLE).

use pgrx::pg_sys;
use pgrx::pg_sys::submodules::ffi::pg_guard_ffi_boundary;

/// The block to sample after `current`; methods that do not choose blocks get all of them in order.
///
/// # Safety
/// `sample` must be a running sample.
pub unsafe fn next_block(sample: *mut pg_sys::SampleScanState, blocks: u32, current: Option<u32>) -> Option<u32> {
    if blocks == 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let chosen = unsafe { (*(*sample).tsmroutine).NextSampleBlock };
    match chosen {
        Some(choose) => {
            // SAFETY: the caller's promise.
            let block = unsafe { pg_guard_ffi_boundary(|| choose(sample, blocks)) };
            (block != pg_sys::InvalidBlockNumber).then_some(block)
        }
        None => Some(current.map_or(0, |block| block + 1)).filter(|block| *block < blocks),
    }
}

/// The next offset to sample in a block whose greatest offset is `highest`.
///
/// # Safety
/// `sample` must be a running sample.
pub unsafe fn next_tuple(sample: *mut pg_sys::SampleScanState, block: u32, highest: u16) -> Option<u16> {
    // SAFETY: the caller's promise.
    unsafe {
        let choose = (*(*sample).tsmroutine).NextSampleTuple?;
        let offset = pg_guard_ffi_boundary(|| choose(sample, block, highest));
        (offset != pg_sys::InvalidOffsetNumber).then_some(offset)
    }
}
