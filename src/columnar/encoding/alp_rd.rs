//! Doubles that use all their digits: ALP-RD, "ALP for real doubles" of the paper that `alp.rs` names.
//!
//! The high bits (sign, exponent, first digits) of a vector's numbers have few values, which a dictionary of eight holds; the low bits are
//! packed as they are. High bits that are not among the eight are kept apart.

use super::bytes::{Cursor, reserve};
use super::exceptions::{self, Exceptions};
use super::pack::{pack, packed_len, unpack};
use super::{EncodingError, Result};

const WHAT: &str = "ALP-RD vector";

/// Bits that the dictionary may stand for.
const LEFT_BITS: std::ops::RangeInclusive<u8> = 8..=16;
/// Bits of a place in the dictionary.
const CODE_BITS: u8 = 3;
const ENTRIES: usize = 1 << CODE_BITS;
/// Bytes of a left part.
const LEFT_LEN: usize = 2;
/// Bytes of an exception with its index, about.
const EXCEPTION_LEN: usize = 2 + LEFT_LEN;

/// Where to cut, and the most frequent left parts.
struct Cut {
    left: u8,
    entries: Vec<u64>,
    len: usize,
}

impl Cut {
    /// The cut that takes the fewest bytes.
    fn choose(values: &[u64]) -> Option<Cut> {
        let mut lefts: Vec<u64> = values.to_vec();
        lefts.sort_unstable();
        LEFT_BITS.filter_map(|left| Self::at(left, &lefts)).min_by_key(|cut| cut.len)
    }

    /// The cut behind `left` bits of `sorted` numbers.
    fn at(left: u8, sorted: &[u64]) -> Option<Cut> {
        let right = 64 - left;
        let mut counts: Vec<(usize, u64)> = sorted
            .chunk_by(|a, b| a >> right == b >> right)
            .filter_map(|run| Some((run.len(), run.first()? >> right)))
            .collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let covered: usize = counts.iter().take(ENTRIES).map(|(count, _)| count).sum();
        let entries: Vec<u64> = counts.iter().take(ENTRIES).map(|(_, entry)| *entry).collect();
        let exceptions = sorted.len() - covered;
        let packed = packed_len(sorted.len(), right) + packed_len(sorted.len(), CODE_BITS);
        let len = 4 + 2 * entries.len() + packed + exceptions * EXCEPTION_LEN;
        Some(Cut { left, entries, len })
    }
}

/// Appends the bits of doubles; false, and nothing appended, if that would not save an eighth.
pub(super) fn encode(values: &[u64], scratch: &mut Vec<u64>, out: &mut Vec<u8>) -> Result<bool> {
    let Some(cut) = Cut::choose(values).filter(|cut| cut.len < values.len() * 7) else { return Ok(false) };
    let right = 64 - cut.left;
    reserve(out, cut.len)?;
    reserve(scratch, values.len())?;
    let code = |value: &u64| cut.entries.iter().position(|entry| *entry == value >> right);
    out.extend([cut.left, cut.entries.len() as u8]);
    out.extend(cut.entries.iter().flat_map(|entry| (*entry as u16).to_le_bytes()));
    exceptions::put(values, LEFT_LEN, |value| code(value).is_none().then_some(value >> right), out)?;
    scratch.clear();
    scratch.extend(values.iter().map(|value| code(value).unwrap_or(0) as u64));
    pack(scratch, CODE_BITS, out)?;
    scratch.clear();
    scratch.extend(values.iter().map(|value| value & ((1 << right) - 1)));
    pack(scratch, right, out)?;
    Ok(true)
}

/// Reads what [`encode`] wrote: the bits of as many doubles as `out` has places.
pub(super) fn decode(cursor: &mut Cursor<'_>, out: &mut [i64], codes: &mut Vec<i64>) -> Result<()> {
    let (left, count) = (cursor.u8()?, usize::from(cursor.u8()?));
    if !LEFT_BITS.contains(&left) || !(1..=ENTRIES).contains(&count) {
        return Err(EncodingError::inconsistent(WHAT, "its cut is impossible"));
    }
    let right = 64 - left;
    let mut entries = [0u64; ENTRIES];
    for entry in entries.iter_mut().take(count) {
        *entry = u64::from(cursor.u16()?) << right;
    }
    let exceptions = Exceptions::skip(cursor, out.len(), LEFT_LEN, WHAT)?;
    codes.clear();
    reserve(codes, out.len())?;
    codes.resize(out.len(), 0);
    unpack(cursor, CODE_BITS, 0, codes)?;
    unpack(cursor, right, 0, out)?;
    for (value, code) in out.iter_mut().zip(codes.iter()) {
        // Three bits lie within the eight entries.
        *value |= entries[*code as usize % ENTRIES] as i64;
    }
    let low = (1i64 << right) - 1;
    exceptions.each(|index, left| {
        if let Some(value) = out.get_mut(index) {
            *value = *value & low | (left << right) as i64;
        }
    })
}
