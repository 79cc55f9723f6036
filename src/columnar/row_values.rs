//! The values of a slot on their way into a stripe.

use super::encoding::{ColumnType, Physical, Value};
use crate::pg::values;
use pgrx::pg_sys;

/// Where the bytes of one value are.
#[derive(Clone, Copy)]
enum Source {
    Null,
    Word(u64),
    Bytes(*const u8, usize),
    Scratch(usize, usize),
}

/// Longest content that a one-byte header can announce.
const MAX_SHORT: usize = 126;

/// Collects the values of one row at a time. Buffers are reused.
pub struct RowValues {
    types: Vec<ColumnType>,
    may_shorten: Vec<bool>,
    by_value: Vec<bool>,
    sources: Vec<Source>,
    scratch: Vec<u8>,
    fetched: Vec<*mut pg_sys::varlena>,
}

impl RowValues {
    /// For rows of a descriptor whose columns have the given stored types.
    ///
    /// # Safety
    /// `desc` must be valid.
    pub unsafe fn new(desc: pg_sys::TupleDesc, types: Vec<ColumnType>) -> Self {
        // SAFETY: the caller's promise.
        let may_shorten =
            unsafe { values::attributes(desc) }.iter().map(|a| a.attlen == -1 && a.attstorage as u8 != b'p').collect();
        // SAFETY: as above.
        let by_value = unsafe { values::attributes(desc) }.iter().map(|a| a.attbyval).collect();
        Self { types, may_shorten, by_value, sources: Vec::new(), scratch: Vec::new(), fetched: Vec::new() }
    }

    /// Reads all values of a slot.
    ///
    /// # Safety
    /// `slot` must be non-empty, of the row type that the reader was made for, and stay as it is until the values are used.
    pub unsafe fn load(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        self.release();
        self.sources.clear();
        self.scratch.clear();
        // SAFETY: the caller's promise; the slot has as many values as there are types.
        unsafe {
            let count = self.types.len();
            values::fetch_columns(slot, count);
            for column in 0..count {
                let source = if *(*slot).tts_isnull.add(column) {
                    Source::Null
                } else {
                    self.source(column, *(*slot).tts_values.add(column))
                };
                self.sources.push(source);
            }
        }
    }

    /// # Safety
    /// `datum` must be a value of the column.
    unsafe fn source(&mut self, column: usize, datum: pg_sys::Datum) -> Source {
        // SAFETY: the caller's promise.
        unsafe {
            match self.types[column].physical {
                Physical::Fixed { .. } if self.by_value[column] => Source::Word(datum.value() as u64),
                Physical::Fixed { len: len @ (1 | 2 | 4 | 8) } => {
                    let mut word = [0u8; 8];
                    std::ptr::copy_nonoverlapping(datum.cast_mut_ptr::<u8>(), word.as_mut_ptr(), usize::from(len));
                    Source::Word(u64::from_le_bytes(word))
                }
                Physical::Fixed { len } => Source::Bytes(datum.cast_mut_ptr::<u8>(), usize::from(len)),
                Physical::CString => {
                    let bytes = values::pointed_bytes(datum, -2);
                    Source::Bytes(bytes.as_ptr(), bytes.len())
                }
                Physical::Varlena { .. } => self.varlena(column, datum.cast_mut_ptr()),
            }
        }
    }

    /// # Safety
    /// `ptr` must be a valid varlena, wherever it is stored.
    unsafe fn varlena(&mut self, column: usize, mut ptr: *mut pg_sys::varlena) -> Source {
        // SAFETY: the caller's promise; a fetched copy is freed in `release`.
        unsafe {
            if pgrx::varatt_is_1b_e(ptr) {
                ptr = pg_sys::detoast_external_attr(ptr);
                self.fetched.push(ptr);
            }
            let len = pgrx::varsize_any(ptr);
            let content = len.saturating_sub(4);
            if self.may_shorten[column] && pgrx::varatt_is_4b_u(ptr) && content <= MAX_SHORT {
                let start = self.scratch.len();
                self.scratch.push(((content as u8 + 1) << 1) | 1);
                self.scratch.extend_from_slice(std::slice::from_raw_parts(ptr.cast::<u8>().add(4), content));
                return Source::Scratch(start, content + 1);
            }
            Source::Bytes(ptr.cast(), len)
        }
    }

    /// Value of a column of the loaded row.
    #[inline]
    pub fn get(&self, column: usize) -> Value<'_> {
        match self.sources[column] {
            Source::Null => Value::Null,
            Source::Word(word) => Value::Word(word),
            // SAFETY: `load` was promised that the slot stays as it is.
            Source::Bytes(ptr, len) => Value::Bytes(unsafe { std::slice::from_raw_parts(ptr, len) }),
            Source::Scratch(start, len) => Value::Bytes(&self.scratch[start..start + len]),
        }
    }

    /// Frees fetched copies of out-of-line values.
    pub fn release(&mut self) {
        for ptr in self.fetched.drain(..) {
            // SAFETY: detoast_external_attr returned a palloc'd copy.
            unsafe { pg_sys::pfree(ptr.cast()) };
        }
    }
}
