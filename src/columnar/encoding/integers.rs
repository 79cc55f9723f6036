//! Sequences of integers: the scheme that makes one shortest is found by looking at all of it, which takes a few passes over at most
//! 1,024 values; a sample says which schemes are not worth the look.

use super::bytes::{Cursor, put_varint, reserve};
use super::frame::{self, Frame, unzigzag, zigzag};
use super::{EncodingError, Result};

const WHAT: &str = "integers";

/// One frame.
const FRAME: u8 = 0;
/// What comes before the first value, then a frame of the differences.
const DELTA: u8 = 1;
/// The same of the differences.
const DELTA_OF_DELTA: u8 = 2;
/// Runs of equal values: frames of the values and of the lengths less one.
const RUNS: u8 = 3;
/// The values that occur, and frames of them and of their places in the list.
const DICTIONARY: u8 = 4;

/// Distinct values that a dictionary has at most.
const MAX_DISTINCT: usize = 256;
/// A dictionary is only thought of where a value takes more bits than this otherwise.
const DICTIONARY_BITS: usize = 4;

/// Neighbours that are looked at to see whether differences are worth an attempt.
const SAMPLE: usize = 64;

/// Buffers for encoding and decoding.
#[derive(Debug, Default)]
pub(super) struct IntegerScratch {
    first: Vec<i64>,
    second: Vec<i64>,
    words: Vec<u64>,
    distinct: Vec<i64>,
}

impl IntegerScratch {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        (self.first.capacity() + self.second.capacity() + self.words.capacity() + self.distinct.capacity()) * 8
    }
}

/// Appends the shortest form of `values`.
pub(super) fn encode(values: &[i64], scratch: &mut IntegerScratch, out: &mut Vec<u8>) -> Result<()> {
    let IntegerScratch { first, second, words, distinct } = scratch;
    let plain = Frame::of(values);
    if plain.len <= 8 {
        out.push(FRAME);
        return plain.encode(values, words, out);
    }
    let (delta_estimate, double_estimate) = estimate_differences(values);
    let (mut delta, mut double) = (None, None);
    if delta_estimate < plain.len {
        let head = differences(values, first)?;
        let frame = Frame::of(first);
        delta = Some((frame.len + varint_len(head), head, frame));
    }
    let delta_len = delta.map_or(usize::MAX, |(len, ..)| len);
    if double_estimate < plain.len.min(delta_len) {
        let head = differences(values, first)?;
        let second_head = differences(first, second)?;
        let frame = Frame::of(second);
        double = Some((frame.len + varint_len(head) + varint_len(second_head), head, second_head, frame));
    }
    let double_len = double.map_or(usize::MAX, |(len, ..)| len);
    let runs = 1 + values.array_windows().filter(|[a, b]| a != b).count();
    let runs_len = 8 + runs * (plain.len * 8 / values.len() + 6) / 8;
    let best = plain.len.min(delta_len).min(double_len).min(runs_len);
    if best * 8 > values.len() * DICTIONARY_BITS && find_distinct(values, distinct)? {
        let len = 8 + distinct.len() * plain.len / values.len() + values.len() * code_width(distinct.len()) / 8;
        if len < best {
            return encode_dictionary(values, distinct, first, words, out);
        }
    }
    match (delta, double) {
        _ if best == plain.len => {
            out.push(FRAME);
            plain.encode(values, words, out)
        }
        (Some((len, head, frame)), _) if len == best => {
            out.push(DELTA);
            put_varint(out, zigzag(head));
            frame.encode(first, words, out)
        }
        (_, Some((len, head, second_head, frame))) if len == best => {
            out.push(DELTA_OF_DELTA);
            put_varint(out, zigzag(head));
            put_varint(out, zigzag(second_head));
            frame.encode(second, words, out)
        }
        _ => encode_runs(values, first, second, words, out),
    }
}

/// Bytes that differences and differences of differences would take, at least, by a sample of neighbours: the extremes are left out, for they
/// may be patches.
fn estimate_differences(values: &[i64]) -> (usize, usize) {
    let (mut deltas, mut doubles) = ([0; SAMPLE], [0; SAMPLE]);
    let step = (values.len() / SAMPLE).max(1);
    let neighbours = values.array_windows::<3>().step_by(step).take(SAMPLE);
    let count = neighbours.len();
    for ((delta, double), [a, b, c]) in deltas.iter_mut().zip(&mut doubles).zip(neighbours) {
        *delta = b.wrapping_sub(*a);
        *double = c.wrapping_sub(*b).wrapping_sub(*delta);
    }
    let estimate = |sample: &mut [i64]| {
        sample.sort_unstable();
        let trim = sample.len() / 16;
        let ends = sample.get(trim).zip(sample.get(sample.len().saturating_sub(1 + trim)));
        let width = ends.map_or(0, |(low, high)| super::pack::width_of(high.wrapping_sub(*low) as u64));
        values.len() * usize::from(width) / 8
    };
    (estimate(deltas.get_mut(..count).unwrap_or_default()), estimate(doubles.get_mut(..count).unwrap_or_default()))
}

/// Puts into `out` what each value adds to its predecessor, and returns the predecessor of the first, which is invented so that its
/// difference is that of the second: there are as many differences as values, and the first is no outlier.
fn differences(values: &[i64], out: &mut Vec<i64>) -> Result<i64> {
    out.clear();
    reserve(out, values.len())?;
    let (Some(first), deltas) = (values.first(), values.array_windows().map(|[a, b]| b.wrapping_sub(*a))) else {
        return Ok(0);
    };
    out.push(0);
    out.extend(deltas);
    let delta = out.get(1).copied().unwrap_or(0);
    if let Some(slot) = out.first_mut() {
        *slot = delta;
    }
    Ok(first.wrapping_sub(delta))
}

fn varint_len(value: i64) -> usize {
    usize::from(super::pack::width_of(zigzag(value))).div_ceil(7).max(1)
}

/// Bits of a place in a list of `count`.
fn code_width(count: usize) -> usize {
    usize::from(super::pack::width_of(count.saturating_sub(1) as u64))
}

/// Lists the distinct values, sorted; false if there are too many.
fn find_distinct(values: &[i64], distinct: &mut Vec<i64>) -> Result<bool> {
    const SLOTS: usize = 4 * MAX_DISTINCT;
    let mut table = [None::<i64>; SLOTS];
    distinct.clear();
    reserve(distinct, MAX_DISTINCT)?;
    for value in values {
        let mut slot = ((*value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SLOTS;
        while table[slot].is_some_and(|known| known != *value) {
            slot = (slot + 1) % SLOTS;
        }
        if table[slot].is_none() {
            if distinct.len() == MAX_DISTINCT {
                return Ok(false);
            }
            table[slot] = Some(*value);
            distinct.push(*value);
        }
    }
    distinct.sort_unstable();
    Ok(true)
}

fn encode_dictionary(
    values: &[i64],
    distinct: &[i64],
    codes: &mut Vec<i64>,
    words: &mut Vec<u64>,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(DICTIONARY);
    put_varint(out, distinct.len() as u64);
    Frame::of(distinct).encode(distinct, words, out)?;
    codes.clear();
    reserve(codes, values.len())?;
    codes.extend(values.iter().map(|value| distinct.partition_point(|known| known < value) as i64));
    Frame::of(codes).encode(codes, words, out)
}

fn encode_runs(
    values: &[i64],
    heads: &mut Vec<i64>,
    lengths: &mut Vec<i64>,
    words: &mut Vec<u64>,
    out: &mut Vec<u8>,
) -> Result<()> {
    heads.clear();
    lengths.clear();
    reserve(heads, values.len())?;
    reserve(lengths, values.len())?;
    for run in values.chunk_by(|a, b| a == b) {
        heads.extend(run.first());
        lengths.push(run.len() as i64 - 1);
    }
    out.push(RUNS);
    put_varint(out, heads.len() as u64);
    Frame::of(heads).encode(heads, words, out)?;
    Frame::of(lengths).encode(lengths, words, out)
}

/// Reads what [`encode`] wrote, `out.len()` values.
pub(super) fn decode(cursor: &mut Cursor<'_>, out: &mut [i64], scratch: &mut IntegerScratch) -> Result<()> {
    match cursor.u8()? {
        FRAME => frame::decode(cursor, out),
        DELTA => {
            let head = unzigzag(cursor.varint()?);
            frame::decode(cursor, out)?;
            sum_up(head, out);
            Ok(())
        }
        DELTA_OF_DELTA => {
            let head = unzigzag(cursor.varint()?);
            let second_head = unzigzag(cursor.varint()?);
            frame::decode(cursor, out)?;
            sum_up(second_head, out);
            sum_up(head, out);
            Ok(())
        }
        RUNS => decode_runs(cursor, out, scratch),
        DICTIONARY => decode_dictionary(cursor, out, scratch),
        code => Err(EncodingError::UnknownCode { what: "integer scheme", code }),
    }
}

/// Turns differences into values, of which `before` comes before the first.
fn sum_up(before: i64, differences: &mut [i64]) {
    let mut sum = before;
    for value in differences {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
}

/// A count of at most `limit`, and a buffer with room for as many.
fn read_list<'a>(cursor: &mut Cursor<'_>, limit: usize, list: &'a mut Vec<i64>) -> Result<&'a mut [i64]> {
    let count = cursor.varint()?;
    let count = usize::try_from(count).ok().filter(|count| (1..=limit).contains(count));
    let count = count.ok_or(EncodingError::inconsistent(WHAT, "a list has more or fewer entries than it can have"))?;
    list.clear();
    reserve(list, count)?;
    list.resize(count, 0);
    frame::decode(cursor, list)?;
    Ok(list)
}

fn decode_runs(cursor: &mut Cursor<'_>, out: &mut [i64], scratch: &mut IntegerScratch) -> Result<()> {
    let heads = read_list(cursor, out.len(), &mut scratch.first)?;
    scratch.second.clear();
    reserve(&mut scratch.second, heads.len())?;
    scratch.second.resize(heads.len(), 0);
    frame::decode(cursor, &mut scratch.second)?;
    let mut rest = out;
    for (head, length) in heads.iter().zip(&scratch.second) {
        let length = usize::try_from(*length).ok().and_then(|length| length.checked_add(1));
        let split = length.and_then(|length| std::mem::take(&mut rest).split_at_mut_checked(length));
        let (run, behind) = split.ok_or(EncodingError::inconsistent(WHAT, "a run is longer than its vector"))?;
        run.fill(*head);
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "runs end before their vector")) }
}

fn decode_dictionary(cursor: &mut Cursor<'_>, out: &mut [i64], scratch: &mut IntegerScratch) -> Result<()> {
    let entries = read_list(cursor, MAX_DISTINCT, &mut scratch.first)?;
    frame::decode(cursor, out)?;
    let mut valid = true;
    for value in out {
        match usize::try_from(*value).ok().and_then(|code| entries.get(code)) {
            Some(entry) => *value = *entry,
            None => valid = false,
        }
    }
    if valid { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "a code has no entry")) }
}
