//! Values of variable length one after the other, as they lie in memory: with their headers, and found by walking.

use std::ops::Range;

use super::bytes::align_up;
use super::types::Physical;

/// Length that the header of a variable-length value states, header included; `None` if it is cut off or stands for a
/// value that is stored elsewhere.
#[inline]
pub(super) fn varlena_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        0x01 => None,
        short if short & 1 == 1 => Some(usize::from(short >> 1)),
        _ => Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize >> 2),
    }
}

/// The value at the front of the bytes, with its header or NUL byte.
#[inline]
pub fn value_at(physical: Physical, bytes: &[u8]) -> Option<&[u8]> {
    match physical {
        Physical::Fixed { len } => bytes.get(..usize::from(len)),
        Physical::Varlena { .. } => bytes.get(..varlena_len(bytes)?),
        Physical::CString => bytes.split_inclusive(|byte| *byte == 0).next(),
    }
}

/// What follows the header of a variable-length value that PostgreSQL has not compressed.
#[inline]
pub fn varlena_content(value: &[u8]) -> Option<&[u8]> {
    match *value.first()? {
        0x01 => None,
        short if short & 1 == 1 => value.get(1..usize::from(short >> 1)),
        long if long & 2 == 0 => value.get(4..varlena_len(value)?),
        _ => None,
    }
}

/// Where the value begins whose predecessor ends at `end`. No header starts with a zero byte where padding is needed, for a short one is
/// odd and a long one is padded.
#[inline]
pub(super) fn skip_padding(data: &[u8], end: usize, align: u8) -> usize {
    if data.get(end) == Some(&0) { align_up(end, usize::from(align)) } else { end }
}

/// Where the value lies that follows the one that ends at `end`, if a whole one does.
#[inline]
pub(super) fn next_value(physical: Physical, data: &[u8], end: usize) -> Option<Range<usize>> {
    let range = match physical {
        Physical::Fixed { .. } => return None,
        Physical::Varlena { align } => {
            let start = skip_padding(data, end, align);
            let rest = data.get(start..)?;
            let len = varlena_len(rest)?;
            let long = rest.first()? & 1 == 0;
            if long && (len < 4 || !start.is_multiple_of(usize::from(align))) {
                return None;
            }
            start..start.checked_add(len)?
        }
        Physical::CString => {
            let len = data.get(end..)?.iter().position(|byte| *byte == 0)?;
            end..end + len + 1
        }
    };
    (range.end <= data.len()).then_some(range)
}

/// Bytes of padding in front of `value` in data of `len` bytes.
#[inline]
pub(super) fn padding(physical: Physical, value: &[u8], len: usize) -> usize {
    match physical {
        Physical::Varlena { align } if value.first().is_some_and(|byte| byte & 1 == 0) => {
            align_up(len, usize::from(align)) - len
        }
        _ => 0,
    }
}
