//! Values that a slot points to, copied into one piece of memory.

use super::values::{alignment, attributes, pointed_bytes};
use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

/// Copies all values that the slot's values point to into one palloc'd piece in the slot's memory context, and lets the slot point there;
/// null if there are none. `None`, and nothing changed, if a value is an expanded object, which has no bytes to copy.
///
/// # Safety
/// `slot` must be valid and have all its values.
pub unsafe fn own_values(slot: *mut pg_sys::TupleTableSlot) -> Option<*mut u8> {
    // SAFETY: the caller's promise; the slot has as many values as its descriptor has attributes.
    unsafe {
        let attributes = attributes((*slot).tts_tupleDescriptor);
        let values = std::slice::from_raw_parts_mut((*slot).tts_values, attributes.len());
        let nulls = std::slice::from_raw_parts((*slot).tts_isnull, attributes.len());
        let pointing = |column: usize| !attributes[column].attbyval && !nulls[column];
        let mut len = 0;
        for (column, attribute) in attributes.iter().enumerate().filter(|(column, _)| pointing(*column)) {
            if attribute.attlen == -1 && pgrx::varatt_is_1b_e(values[column].cast_mut_ptr()) {
                return None;
            }
            len = start(len, attribute) + pointed_bytes(values[column], attribute.attlen).len();
        }
        if len == 0 {
            return Some(std::ptr::null_mut());
        }
        let flags = pg_sys::MCXT_ALLOC_HUGE as i32;
        let piece = pg_sys::MemoryContextAllocExtended((*slot).tts_mcxt, len, flags).cast::<u8>();
        let mut end = 0;
        for (column, attribute) in attributes.iter().enumerate().filter(|(column, _)| pointing(*column)) {
            let bytes = pointed_bytes(values[column], attribute.attlen);
            let place = piece.add(start(end, attribute));
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            end = start(end, attribute) + bytes.len();
            values[column] = Datum::from(place);
        }
        Some(piece)
    }
}

/// Where a value of the attribute starts behind `len` bytes.
fn start(len: usize, attribute: &pg_sys::FormData_pg_attribute) -> usize {
    len.next_multiple_of(alignment(attribute.attalign).into())
}
