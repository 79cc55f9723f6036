//! Vectors: the layout of their bytes and access to their values.

use std::ops::Range;

use super::bytes::{align_up, checksum, reserve};
use super::compress::decompress;
use super::directory::VectorEntry;
use super::types::{ColumnType, Physical, stride};
use super::zone::is_set;
use super::{AlignedBuf, EncodingError, Result};

const WHAT: &str = "vector";

/// Where the parts of a plain vector lie: NULL bitmap, ends of values, values. Each starts at a multiple of 8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    nulls: usize,
    data: usize,
}

impl Layout {
    /// The layout of `rows` values, `null_count` of which are NULL, but not all of them.
    pub fn new(physical: Physical, rows: usize, null_count: usize) -> Self {
        let nulls = if null_count == 0 { 0 } else { align_up(rows.div_ceil(8), 8) };
        let ends = if matches!(physical, Physical::Fixed { .. }) { 0 } else { align_up(rows * 4, 8) };
        Layout { nulls, data: nulls + ends }
    }

    /// Says whether a vector of `raw_len` bytes can have this layout.
    pub fn accepts(&self, physical: Physical, rows: usize, raw_len: usize) -> bool {
        match physical {
            Physical::Fixed { len } => raw_len == self.data + rows * stride(len),
            Physical::Varlena { .. } | Physical::CString => raw_len > self.data,
        }
    }
}

/// Appends a plain vector to `out`: the bitmap `nulls` unless it is empty, `ends` unless they are, and `data`.
pub(super) fn encode_plain(nulls: &[u8], ends: &[u32], data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    reserve(out, align_up(nulls.len(), 8) + align_up(ends.len() * 4, 8) + data.len())?;
    out.extend_from_slice(nulls);
    out.resize(start + align_up(out.len() - start, 8), 0);
    out.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
    out.resize(start + align_up(out.len() - start, 8), 0);
    out.extend_from_slice(data);
    Ok(())
}

/// Length that the header of a variable-length value states, header included; `None` if it is cut off or stands for a
/// value that is stored elsewhere.
pub(super) fn varlena_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        0x01 => None,
        short if short & 1 == 1 => Some(usize::from(short >> 1)),
        _ => Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize >> 2),
    }
}

/// Which values of a vector are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls<'a> {
    None,
    All,
    /// Bit `i % 8` of byte `i / 8` is set if value `i` is NULL; at least one is and at least one is not.
    Some(&'a [u8]),
}

/// The values of one column for the rows of one vector.
#[derive(Debug)]
pub struct Vector {
    buffer: AlignedBuf,
    physical: Physical,
    rows: usize,
    null_count: usize,
    layout: Layout,
}

/// Decodes the stored bytes of a vector into `buffer`, which the vector then owns.
///
/// Verifies the checksum, and that every value lies within the bytes and has a header or NUL byte to match, so that values
/// may be used as they are. At most `max_raw` bytes are decompressed; [`MAX_VECTOR_BYTES`](super::MAX_VECTOR_BYTES) suits
/// whoever knows no better limit.
pub fn decode_vector(
    column: &ColumnType,
    entry: &VectorEntry,
    bytes: &[u8],
    max_raw: usize,
    mut buffer: AlignedBuf,
) -> Result<Vector> {
    if bytes.len() != entry.stored_len as usize {
        return Err(EncodingError::truncated(WHAT, entry.stored_len as usize, bytes.len()));
    }
    if checksum(bytes) != entry.checksum {
        return Err(EncodingError::Checksum { what: WHAT });
    }
    let (raw_len, rows, null_count) = (entry.raw_len as usize, entry.rows as usize, entry.null_count as usize);
    if raw_len > max_raw {
        return Err(EncodingError::TooLarge { what: WHAT, len: raw_len as u64, limit: max_raw as u64 });
    }
    decompress(entry.compression, bytes, buffer.prepare(raw_len)?)?;
    let layout = Layout::new(column.physical, rows, null_count);
    let vector = Vector { buffer, physical: column.physical, rows, null_count, layout };
    vector.validate()?;
    Ok(vector)
}

impl Vector {
    /// Rows, NULLs included.
    #[inline]
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// How many values are NULL.
    #[cfg(test)]
    pub fn null_count(&self) -> usize {
        self.null_count
    }

    /// Which values are NULL.
    #[inline]
    pub fn nulls(&self) -> Nulls<'_> {
        match self.null_count {
            0 => Nulls::None,
            all if all == self.rows => Nulls::All,
            _ => Nulls::Some(self.buffer.as_slice().get(..self.layout.nulls).unwrap_or_default()),
        }
    }

    /// Whether value `index` is NULL; so is one that does not exist.
    #[inline]
    pub fn is_null(&self, index: usize) -> bool {
        index >= self.rows
            || match self.nulls() {
                Nulls::None => false,
                Nulls::All => true,
                Nulls::Some(bitmap) => is_set(bitmap, index),
            }
    }

    /// Value `index`, or `None` if it is NULL or does not exist.
    ///
    /// A fixed-length value lies at a multiple of the greatest power of two, up to 8, that divides its stride; a
    /// variable-length one at a multiple of its alignment unless its header is short.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if self.is_null(index) {
            return None;
        }
        self.data().get(self.range(index))
    }

    /// All values of a fixed-length column with the bytes from one to the next. Values that are NULL take up space too,
    /// of zeros. `None` for other columns and if all values are NULL.
    #[cfg(test)]
    pub fn fixed(&self) -> Option<(&[u8], usize)> {
        match self.physical {
            Physical::Fixed { len } if self.null_count < self.rows => Some((self.data(), stride(len))),
            _ => None,
        }
    }

    /// Bytes that the vector holds on to.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    #[inline]
    fn data(&self) -> &[u8] {
        self.buffer.as_slice().get(self.layout.data..).unwrap_or_default()
    }

    /// Where value `index`, which is not NULL, lies in the data.
    #[inline]
    fn range(&self, index: usize) -> Range<usize> {
        match self.physical {
            Physical::Fixed { len } => {
                let start = index * stride(len);
                start..start + usize::from(len)
            }
            Physical::Varlena { align } => {
                let start = index.checked_sub(1).map_or(0, |previous| self.end(previous));
                self.skip_padding(start, align)..self.end(index)
            }
            Physical::CString => index.checked_sub(1).map_or(0, |previous| self.end(previous))..self.end(index),
        }
    }

    /// Where value `index` of variable length ends in the data; that of a NULL is the end of its predecessor.
    #[inline]
    fn end(&self, index: usize) -> usize {
        let at = self.layout.nulls + index * 4;
        let bytes = self.buffer.as_slice().get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |end| u32::from_le_bytes(*end) as usize)
    }

    /// The start of a value after the one that ends at `end`: no header starts with a zero byte where padding is needed,
    /// for a short one is odd and a long one is padded.
    #[inline]
    fn skip_padding(&self, end: usize, align: u8) -> usize {
        if self.data().get(end) == Some(&0) { align_up(end, usize::from(align)) } else { end }
    }

    fn validate(&self) -> Result<()> {
        let raw_len = self.buffer.as_slice().len();
        if self.null_count == self.rows {
            return if raw_len == 0 { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "its NULLs have bytes")) };
        }
        if !self.layout.accepts(self.physical, self.rows, raw_len) {
            return Err(EncodingError::inconsistent(WHAT, "its length does not fit its rows"));
        }
        if let Nulls::Some(bitmap) = self.nulls()
            && bitmap.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() != self.null_count
        {
            return Err(EncodingError::inconsistent(WHAT, "its NULLs are not as many as it states"));
        }
        match self.physical {
            Physical::Fixed { .. } => Ok(()),
            Physical::Varlena { align } => self.validate_ends(|value, start| {
                let long = value.first().is_some_and(|byte| byte & 1 == 0);
                let placed = !long || (value.len() >= 4 && start.is_multiple_of(usize::from(align)));
                placed && varlena_len(value) == Some(value.len())
            }),
            Physical::CString => self.validate_ends(|value, _| value.last() == Some(&0)),
        }
    }

    /// Verifies that values follow each other up to the end of the data and that `is_valid` accepts each at its start.
    fn validate_ends(&self, is_valid: impl Fn(&[u8], usize) -> bool) -> Result<()> {
        let mut previous = 0;
        for index in 0..self.rows {
            let end = self.end(index);
            let valid = if self.is_null(index) {
                end == previous
            } else {
                let range = self.range(index);
                self.data().get(range.clone()).is_some_and(|value| is_valid(value, range.start))
            };
            if !valid {
                return Err(EncodingError::inconsistent(WHAT, "a value does not fit its length"));
            }
            previous = end;
        }
        match self.data().len() {
            len if len == previous => Ok(()),
            _ => Err(EncodingError::inconsistent(WHAT, "it has bytes that belong to no value")),
        }
    }
}
