//! Values that a slot points to, copied into one piece of memory.

use super::values::{alignment, attributes, pointed_bytes};
use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

/// A piece up to this size is kept for the next row.
const KEPT: usize = 8192;

/// Memory of a slot's own for the values that it points to. All zeros is one without memory.
#[repr(C)]
pub struct OwnedValues {
    piece: *mut u8,
    capacity: usize,
    in_use: bool,
}

impl OwnedValues {
    /// Whether the slot's values point here.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// Copies all values that the slot's values point to, and lets the slot point to the copies. False, and nothing changed, if a value is
    /// an expanded object, which has no bytes to copy.
    ///
    /// # Safety
    /// `slot` must be valid and have all its values, which must not be here yet.
    pub unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the caller's promise; the slot has as many values as its descriptor has attributes.
        unsafe {
            let attributes = attributes((*slot).tts_tupleDescriptor);
            let values = std::slice::from_raw_parts_mut((*slot).tts_values, attributes.len());
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, attributes.len());
            let Some(len) = needed(attributes, values, nulls) else { return false };
            if len > self.capacity {
                self.free();
                let flags = pg_sys::MCXT_ALLOC_HUGE as i32;
                self.piece = pg_sys::MemoryContextAllocExtended((*slot).tts_mcxt, len, flags).cast();
                self.capacity = len;
            }
            let mut end = 0;
            for ((attribute, value), null) in attributes.iter().zip(values).zip(nulls) {
                if !attribute.attbyval && !null {
                    let bytes = pointed_bytes(*value, attribute.attlen);
                    let start = start(end, attribute);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.piece.add(start), bytes.len());
                    end = start + bytes.len();
                    *value = Datum::from(self.piece.add(start));
                }
            }
            self.in_use = true;
            true
        }
    }

    /// The values are no longer needed. Memory of rows of a common size serves the next one.
    ///
    /// # Safety
    /// The slot's memory context must be alive.
    #[inline]
    pub unsafe fn release(&mut self) {
        self.in_use = false;
        if self.capacity > KEPT {
            // SAFETY: the caller's promise.
            unsafe { self.free() };
        }
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// As for [`OwnedValues::release`]; the slot's values must not be used any more.
    pub unsafe fn free(&mut self) {
        if !self.piece.is_null() {
            // SAFETY: allocated by `take`, in the slot's context.
            unsafe { pg_sys::pfree(self.piece.cast()) };
        }
        *self = Self { piece: std::ptr::null_mut(), capacity: 0, in_use: false };
    }
}

/// Bytes that the values take which are pointed to; `None` if there is an expanded object.
///
/// # Safety
/// Values and NULL flags must be those of a row with the attributes.
unsafe fn needed(attributes: &[pg_sys::FormData_pg_attribute], values: &[Datum], nulls: &[bool]) -> Option<usize> {
    let mut len = 0;
    for ((attribute, value), null) in attributes.iter().zip(values).zip(nulls) {
        if !attribute.attbyval && !null {
            // SAFETY: the caller's promise.
            unsafe {
                if attribute.attlen == -1 && pgrx::varatt_is_1b_e(value.cast_mut_ptr()) {
                    return None;
                }
                len = start(len, attribute) + pointed_bytes(*value, attribute.attlen).len();
            }
        }
    }
    Some(len)
}

/// Where a value of the attribute starts behind `len` bytes.
#[inline]
fn start(len: usize, attribute: &pg_sys::FormData_pg_attribute) -> usize {
    let mask = usize::from(alignment(attribute.attalign)) - 1;
    (len + mask) & !mask
}
