//! Values that an encoding keeps as they are: how many, and for each its index (a varint) and its low bytes.

use super::bytes::{Cursor, put_varint, reserve};
use super::{EncodingError, Result};

/// Appends the exceptions among values, of each the `width` low bytes of what `bits` has for it.
pub(super) fn put<T>(values: &[T], width: usize, bits: impl Fn(&T) -> Option<u64>, out: &mut Vec<u8>) -> Result<()> {
    let count = values.iter().filter(|value| bits(value).is_some()).count();
    put_varint(out, count as u64);
    reserve(out, count * (3 + width))?;
    for (index, value) in values.iter().enumerate() {
        if let Some(bits) = bits(value) {
            put_varint(out, index as u64);
            out.extend(bits.to_le_bytes().iter().take(width));
        }
    }
    Ok(())
}

/// Exceptions that have been found but not read.
pub(super) struct Exceptions<'a> {
    cursor: Cursor<'a>,
    count: u64,
    width: usize,
    rows: usize,
    what: &'static str,
}

impl<'a> Exceptions<'a> {
    /// Steps over what [`put`] appended for a vector of `rows` values.
    pub fn skip(cursor: &mut Cursor<'a>, rows: usize, width: usize, what: &'static str) -> Result<Self> {
        let count = cursor.varint()?;
        if count > rows as u64 {
            return Err(EncodingError::inconsistent(what, "it has more exceptions than values"));
        }
        let kept = cursor.fork();
        for _ in 0..count {
            cursor.varint()?;
            cursor.bytes(width)?;
        }
        Ok(Exceptions { cursor: kept, count, width, rows, what })
    }

    /// Hands out each exception with its index, which is below the number of rows.
    pub fn each(mut self, mut take: impl FnMut(usize, u64)) -> Result<()> {
        for _ in 0..self.count {
            let index = usize::try_from(self.cursor.varint()?).ok().filter(|index| *index < self.rows);
            let index = index.ok_or(EncodingError::inconsistent(self.what, "an exception lies behind its values"))?;
            let bytes = self.cursor.bytes(self.width)?;
            take(index, bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)));
        }
        Ok(())
    }
}
