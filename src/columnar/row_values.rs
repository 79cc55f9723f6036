//! The values of a slot on their way into a stripe.

use super::encoding::{ColumnType, MAX_SHORT_CONTENT, Physical, Value};
use crate::pg::values;
use pgrx::pg_sys;

/// Hands out the values of one row at a time.
pub struct RowValues {
    columns: Vec<Column>,
    /// Copies of values that were stored out of line.
    fetched: Vec<*mut pg_sys::varlena>,
}

#[derive(Clone, Copy)]
struct Column {
    physical: Physical,
    by_value: bool,
    may_shorten: bool,
}

impl RowValues {
    /// For rows of a descriptor whose columns have the given stored types.
    ///
    /// # Safety
    /// `desc` must be valid.
    pub unsafe fn new(desc: pg_sys::TupleDesc, types: &[ColumnType]) -> Self {
        // SAFETY: the caller's promise.
        let attributes = unsafe { values::attributes(desc) };
        let columns = attributes.iter().zip(types).map(|(attribute, column_type)| Column {
            physical: column_type.physical,
            by_value: attribute.attbyval,
            may_shorten: attribute.attlen == -1 && attribute.attstorage as u8 != b'p',
        });
        Self { columns: columns.collect(), fetched: Vec::new() }
    }

    /// Makes all values of a slot available to [`RowValues::get`].
    ///
    /// # Safety
    /// `slot` must be non-empty and of the row type that this was made for.
    #[inline]
    pub unsafe fn load(&self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; the slot has as many values as there are columns.
        unsafe { values::fetch_columns(slot, self.columns.len()) }
    }

    /// Value of a column of a loaded slot. What was stored out of line is valid until [`RowValues::release`].
    ///
    /// # Safety
    /// The slot must be loaded, and stay as it is while the value is used.
    #[inline(always)]
    pub unsafe fn get<'a>(&mut self, slot: *mut pg_sys::TupleTableSlot, index: usize) -> Value<'a> {
        let Some(column) = self.columns.get(index).copied() else { return Value::Null };
        // SAFETY: the caller's promise.
        unsafe {
            if *(*slot).tts_isnull.add(index) {
                return Value::Null;
            }
            let datum = *(*slot).tts_values.add(index);
            match column.physical {
                Physical::Fixed { .. } if column.by_value => Value::Word(datum.value() as u64),
                Physical::Fixed { len: len @ (1 | 2 | 4 | 8) } => {
                    let mut word = [0u8; 8];
                    std::ptr::copy_nonoverlapping(datum.cast_mut_ptr::<u8>(), word.as_mut_ptr(), usize::from(len));
                    Value::Word(u64::from_le_bytes(word))
                }
                Physical::Fixed { len } => {
                    Value::Bytes(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), usize::from(len)))
                }
                Physical::CString => Value::Bytes(values::pointed_bytes(datum, -2)),
                Physical::Varlena { .. } => self.varlena(datum.cast_mut_ptr(), column.may_shorten),
            }
        }
    }

    /// # Safety
    /// `ptr` must be a valid varlena, wherever it is stored, and stay so while the value is used.
    #[inline(always)]
    unsafe fn varlena<'a>(&mut self, mut ptr: *mut pg_sys::varlena, may_shorten: bool) -> Value<'a> {
        // SAFETY: the caller's promise; a fetched copy is freed in `release`.
        unsafe {
            if pgrx::varatt_is_1b_e(ptr) {
                ptr = pg_sys::detoast_external_attr(ptr);
                self.fetched.push(ptr);
            }
            let len = pgrx::varsize_any(ptr);
            if may_shorten && pgrx::varatt_is_4b_u(ptr) && len <= MAX_SHORT_CONTENT + 4 {
                return Value::Short(std::slice::from_raw_parts(ptr.cast::<u8>().add(4), len.saturating_sub(4)));
            }
            Value::Bytes(std::slice::from_raw_parts(ptr.cast(), len))
        }
    }

    /// Frees fetched copies of out-of-line values.
    #[inline]
    pub fn release(&mut self) {
        for ptr in self.fetched.drain(..) {
            // SAFETY: detoast_external_attr returned a palloc'd copy.
            unsafe { pg_sys::pfree(ptr.cast()) };
        }
    }
}
