//! Rows as bytes: images of heap tuples, and values of slots.

use super::{Rel, externs};
use crate::pg::tuple::IMAGE_SKIP;
use pgrx::pg_sys;

/// A heap tuple in memory of PostgreSQL's, freed on drop.
pub struct PallocTuple(pg_sys::HeapTuple, bool);

impl PallocTuple {
    /// The tuple that a slot holds, with every out-of-line value fetched.
    ///
    /// # Safety
    /// `slot` must be a non-empty slot whose row type is that of `table`.
    pub unsafe fn from_slot(table: Rel, slot: *mut pg_sys::TupleTableSlot) -> Self {
        // SAFETY: the caller's promise; the flag tells whether the tuple is ours.
        unsafe {
            let mut ours = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut ours);
            if u32::from((*(*tuple).t_data).t_infomask) & pg_sys::HEAP_HASEXTERNAL == 0 {
                return Self(tuple, ours);
            }
            let flat = externs::toast_flatten_tuple(tuple, table.desc());
            if ours {
                pg_sys::heap_freetuple(tuple);
            }
            Self(flat, true)
        }
    }

    /// The row image: the tuple from `t_infomask2` on.
    pub fn image(&self) -> &[u8] {
        // SAFETY: the tuple's length covers header and data, which are contiguous.
        unsafe {
            let tuple = &*self.0;
            std::slice::from_raw_parts(tuple.t_data.cast::<u8>().add(IMAGE_SKIP), tuple.t_len as usize - IMAGE_SKIP)
        }
    }
}

impl Drop for PallocTuple {
    fn drop(&mut self) {
        if self.1 && !super::unwinding() {
            // SAFETY: the tuple was made for us and is freed once.
            unsafe { pg_sys::heap_freetuple(self.0) }
        }
    }
}

/// The shortest row image: two infomasks, the header length, and padding up to the data.
pub const MIN_IMAGE: usize = 23 - IMAGE_SKIP;

/// Rebuilds a heap tuple, palloc'd in one piece in the current context, from a row image and the transaction
/// fields of the companion tuple that carries it. `None` if the image cannot be one.
pub fn tuple_from_image(
    image_len: usize,
    fill: impl FnOnce(&mut [u8]),
    carrier: &pg_sys::HeapTupleHeaderData,
    table: Rel,
) -> Option<pg_sys::HeapTuple> {
    if image_len < MIN_IMAGE {
        return None;
    }
    // SAFETY: the allocation holds the tuple struct and header + image behind it; fields are written before use.
    unsafe {
        let struct_len = size_of::<pg_sys::HeapTupleData>().next_multiple_of(8);
        let len = IMAGE_SKIP + image_len;
        let flags = (pg_sys::MCXT_ALLOC_HUGE) as i32;
        let base =
            pg_sys::MemoryContextAllocExtended(pg_sys::CurrentMemoryContext, struct_len + len, flags).cast::<u8>();
        let tuple = base.cast::<pg_sys::HeapTupleData>();
        let header = base.add(struct_len).cast::<pg_sys::HeapTupleHeaderData>();
        fill(std::slice::from_raw_parts_mut(base.add(struct_len + IMAGE_SKIP), image_len));
        (*header).t_choice = carrier.t_choice;
        (*header).t_ctid = carrier.t_ctid;
        let transaction = pg_sys::HEAP_XACT_MASK as u16;
        (*header).t_infomask = ((*header).t_infomask & !transaction) | (carrier.t_infomask & transaction);
        (*header).t_infomask2 &= pg_sys::HEAP_NATTS_MASK as u16;
        if usize::from((*header).t_hoff) > len || usize::from((*header).t_hoff) < 23 {
            return None;
        }
        tuple.write(pg_sys::HeapTupleData {
            t_len: len as u32,
            t_self: Default::default(),
            t_tableOid: table.oid(),
            t_data: header,
        });
        Some(tuple)
    }
}

/// The attributes of a row descriptor.
///
/// # Safety
/// `desc` must be valid for as long as the slice is used.
pub unsafe fn attributes<'a>(desc: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the caller's promise.
    unsafe { super::compat::attributes(desc) }
}

/// Makes sure that a slot has its first `count` values.
///
/// # Safety
/// `slot` must be a non-empty slot with as many columns.
#[inline]
pub unsafe fn fetch_columns(slot: *mut pg_sys::TupleTableSlot, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if ((*slot).tts_nvalid as usize) < count {
            pg_sys::slot_getsomeattrs_int(slot, count as i32);
        }
    }
}

/// The bytes of which the address of a value is a multiple, by their code in the catalogs.
pub fn alignment(code: std::ffi::c_char) -> u8 {
    match code as u8 {
        b'c' => 1,
        b's' => 2,
        b'd' => 8,
        _ => 4,
    }
}

/// The value of a column that was added after the row was written.
pub fn missing_value(desc: pg_sys::TupleDesc, attribute: usize) -> Option<pg_sys::Datum> {
    let mut null = true;
    // SAFETY: the descriptor is valid and the attribute number in range.
    let datum = unsafe { pg_sys::getmissingattr(desc, attribute as i32 + 1, &mut null) };
    (!null).then_some(datum)
}

/// The value itself, in the current memory context, if the datum says that it is stored elsewhere.
///
/// # Safety
/// `datum` must be a value of the given length kind (`attlen`).
pub unsafe fn fetched(datum: pg_sys::Datum, attlen: i16) -> pg_sys::Datum {
    // SAFETY: the caller's promise.
    unsafe {
        if attlen == -1 && pgrx::varatt_is_1b_e(datum.cast_mut_ptr()) {
            return pg_sys::Datum::from(pg_sys::detoast_external_attr(datum.cast_mut_ptr()));
        }
    }
    datum
}

/// Bytes that a value takes in a row.
///
/// # Safety
/// `datum` must be a value of the attribute that is not stored elsewhere.
pub unsafe fn size(datum: pg_sys::Datum, attribute: &pg_sys::FormData_pg_attribute) -> usize {
    match attribute.attlen {
        len @ 1.. => len as usize,
        // SAFETY: the caller's promise.
        len => unsafe { pointed_bytes(datum, len).len() },
    }
}

/// The bytes of a varlena or C string datum.
///
/// # Safety
/// `datum` must point to a value of the given length kind (`attlen`).
#[inline]
pub unsafe fn pointed_bytes<'a>(datum: pg_sys::Datum, attlen: i16) -> &'a [u8] {
    let ptr = datum.cast_mut_ptr::<u8>();
    // SAFETY: the caller's promise.
    unsafe {
        let len = match attlen {
            -1 => pgrx::varsize_any(ptr.cast()),
            -2 => std::ffi::CStr::from_ptr(ptr.cast()).to_bytes_with_nul().len(),
            n => n as usize,
        };
        std::slice::from_raw_parts(ptr, len)
    }
}
