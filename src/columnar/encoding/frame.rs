//! Integers as offsets from the least of them, packed, with the few that are too far away kept apart: frame of reference with patches
//! (Goldstein, Ramakrishnan and Shaft, ICDE 1998; Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", ICDE 2006).

use super::bytes::{Cursor, put_varint, reserve};
use super::pack::{MAX_WIDTH, pack, packed_len, unpack, width_of};
use super::{EncodingError, Result};

const WHAT: &str = "frame of integers";

/// Set in the byte of the width if there are patches.
const PATCHED: u8 = 0x80;

/// Values that are looked at to see whether there are outliers.
const SAMPLE: usize = 64;

/// Bytes of a patch, at most: its place and its offset.
const PATCH_LEN: usize = 12;

/// How to write a sequence of integers as a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    base: i64,
    width: u8,
    patches: usize,
    /// Bytes that it takes, about.
    pub len: usize,
}

impl Frame {
    /// The frame that takes the fewest bytes.
    pub fn of(values: &[i64]) -> Frame {
        let (base, max) = values.iter().fold((i64::MAX, i64::MIN), |(min, max), v| (min.min(*v), max.max(*v)));
        let base = if values.is_empty() { 0 } else { base };
        let full = width_of(max.wrapping_sub(base) as u64);
        let frame = Self::without_patches(values.len(), base, if values.is_empty() { 0 } else { full });
        if frame.width == 0 || values.len() < SAMPLE {
            return frame;
        }
        let mut sample = [0; SAMPLE];
        for (place, value) in sample.iter_mut().zip(values.iter().step_by(values.len() / SAMPLE)) {
            *place = *value;
        }
        sample.sort_unstable();
        let (low, high) = (sample[SAMPLE / 16], sample[SAMPLE - 1 - SAMPLE / 16]);
        // A patch costs what a bit of a hundred values does, so what as many as a sixteenth of them need is no outlier.
        let upper = width_of(high.wrapping_sub(base) as u64);
        let frame = if upper + 2 < full { frame.with_patches_above(values) } else { frame };
        let middle = width_of(high.wrapping_sub(low) as u64);
        let around = if middle + 2 <= frame.width { Self::around_the_middle(values, middle, frame) } else { None };
        around.unwrap_or(frame)
    }

    fn without_patches(count: usize, base: i64, width: u8) -> Frame {
        Frame { base, width, patches: 0, len: header_len(base) + packed_len(count, width) }
    }

    /// The same frame, or a narrower one with the greatest values as patches if it takes fewer bytes.
    fn with_patches_above(self, values: &[i64]) -> Frame {
        let mut widths = [0usize; MAX_WIDTH as usize + 1];
        for value in values {
            widths[usize::from(width_of(value.wrapping_sub(self.base) as u64))] += 1;
        }
        let (mut best, mut patches) = (self, 0);
        for width in (0..self.width).rev() {
            patches += widths[usize::from(width) + 1];
            let len = header_len(self.base) + 2 + packed_len(values.len(), width) + patches * PATCH_LEN;
            if len < best.len {
                best = Frame { base: self.base, width, patches, len };
            }
        }
        best
    }

    /// A frame around most values, of about `middle` bits, with outliers on both sides as patches, if it takes fewer bytes than another.
    fn around_the_middle(values: &[i64], middle: u8, other: Frame) -> Option<Frame> {
        let mut sorted = Vec::new();
        reserve(&mut sorted, values.len()).ok()?;
        sorted.extend_from_slice(values);
        sorted.sort_unstable();
        let mut best: Option<Frame> = None;
        for width in middle.saturating_sub(1)..other.width.min(middle + 4) {
            let frame = Self::densest(&sorted, width);
            // Wider ones have fewer patches; once they take more bytes nevertheless the rest will, too.
            if best.is_some_and(|best| best.len <= frame.len) {
                break;
            }
            best = Some(frame);
        }
        best.filter(|frame| frame.len < other.len)
    }

    /// The frame of a width that covers the most of some sorted values.
    fn densest(sorted: &[i64], width: u8) -> Frame {
        let (mut end, mut covered, mut base) = (0, 0, 0);
        let most = u64::MAX.checked_shr(u32::from(MAX_WIDTH - width)).unwrap_or(0);
        for (start, first) in sorted.iter().enumerate() {
            while sorted.get(end).is_some_and(|last| last.wrapping_sub(*first) as u64 <= most) {
                end += 1;
            }
            if end - start > covered {
                (covered, base) = (end - start, *first);
            }
        }
        let patches = sorted.len() - covered;
        let len = header_len(base) + 2 + packed_len(sorted.len(), width) + patches * PATCH_LEN;
        Frame { base, width, patches, len }
    }

    /// Appends the values.
    pub fn encode(&self, values: &[i64], scratch: &mut Vec<u64>, out: &mut Vec<u8>) -> Result<()> {
        reserve(out, self.len + self.patches * PATCH_LEN)?;
        out.push(self.width | if self.patches > 0 { PATCHED } else { 0 });
        put_varint(out, zigzag(self.base));
        scratch.clear();
        reserve(scratch, values.len())?;
        scratch.extend(values.iter().map(|value| value.wrapping_sub(self.base) as u64));
        if self.patches > 0 {
            // Not all that lie below the frame: an offset that wraps around may be a small one, which adds up to the value just as well.
            let is_patch = |offset: &u64| width_of(*offset) > self.width;
            put_varint(out, scratch.iter().filter(|offset| is_patch(offset)).count() as u64);
            for (index, offset) in scratch.iter_mut().enumerate() {
                if is_patch(offset) {
                    put_varint(out, index as u64);
                    put_varint(out, *offset);
                    *offset = 0;
                }
            }
        }
        pack(scratch, self.width, out)
    }
}

fn header_len(base: i64) -> usize {
    1 + usize::from(width_of(zigzag(base))).div_ceil(7).max(1)
}

/// Integers near zero, of either sign, as small numbers.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads what [`Frame::encode`] wrote, `out.len()` values.
pub(super) fn decode(cursor: &mut Cursor<'_>, out: &mut [i64]) -> Result<()> {
    let head = cursor.u8()?;
    let base = unzigzag(cursor.varint()?);
    let width = head & !PATCHED;
    if head & PATCHED == 0 {
        return unpack(cursor, width, base, out);
    }
    let count = cursor.varint()? as usize;
    if count > out.len() {
        return Err(EncodingError::inconsistent(WHAT, "it has more patches than values"));
    }
    let mut patches = cursor.fork();
    for _ in 0..count {
        cursor.varint()?;
        cursor.varint()?;
    }
    unpack(cursor, width, base, out)?;
    for _ in 0..count {
        let (index, offset) = (patches.varint()?, patches.varint()?);
        let value = usize::try_from(index).ok().and_then(|index| out.get_mut(index));
        *value.ok_or(EncodingError::inconsistent(WHAT, "a patch lies behind its values"))? =
            base.wrapping_add(offset as i64);
    }
    Ok(())
}
