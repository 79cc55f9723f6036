//! Values of which few are different: each once, and for each row its place among them.

use xxhash_rust::xxh3::xxh3_64;

use super::bytes::{Cursor, put_varint, reserve};
use super::frame::{self, Frame};
use super::sketch::mix;
use super::types::MAX_VECTOR_ROWS;
use super::{EncodingError, Result};

const WHAT: &str = "dictionary";

const SLOTS: usize = 2 * MAX_VECTOR_ROWS;
const FREE: u16 = u16::MAX;

/// The distinct values of a vector.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// For each distinct value a row that has it, in the order in which they occur.
    firsts: Vec<u32>,
    hashes: Vec<u64>,
    codes: Vec<i64>,
    words: Vec<u64>,
}

impl Dictionary {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.firsts.capacity() * 4 + (self.hashes.capacity() + self.codes.capacity() + self.words.capacity()) * 8
    }

    /// Finds the distinct ones among `rows` values; false if there are more than `limit`. NULLs have the code of the value before them.
    pub fn build<'a>(&mut self, rows: usize, limit: usize, value: impl Fn(usize) -> Option<&'a [u8]>) -> Result<bool> {
        let mut slots = [FREE; SLOTS];
        self.codes.clear();
        reserve(&mut self.codes, rows)?;
        self.firsts.clear();
        self.hashes.clear();
        let mut last = 0;
        for row in 0..rows {
            let Some(bytes) = value(row) else {
                self.codes.push(last);
                continue;
            };
            let hash = hash(bytes);
            let mut slot = hash as usize % SLOTS;
            loop {
                let code = slots[slot];
                if code == FREE {
                    if self.firsts.len() >= limit.min(MAX_VECTOR_ROWS) {
                        return Ok(false);
                    }
                    slots[slot] = self.firsts.len() as u16;
                    last = self.firsts.len() as i64;
                    reserve(&mut self.firsts, 1)?;
                    reserve(&mut self.hashes, 1)?;
                    self.firsts.push(row as u32);
                    self.hashes.push(hash);
                    break;
                }
                let known = usize::from(code);
                let same = self.hashes.get(known) == Some(&hash)
                    && self.firsts.get(known).and_then(|first| value(*first as usize)) == Some(bytes);
                if same {
                    last = i64::from(code);
                    break;
                }
                slot = (slot + 1) % SLOTS;
            }
            self.codes.push(last);
        }
        Ok(true)
    }

    /// For each distinct value a row that has it.
    pub fn firsts(&self) -> &[u32] {
        &self.firsts
    }

    /// Appends the codes, and before them how many values there are. The values go behind.
    pub fn encode(&mut self, out: &mut Vec<u8>) -> Result<()> {
        put_varint(out, self.firsts.len() as u64);
        Frame::of(&self.codes).encode(&self.codes, &mut self.words, out)
    }

    /// Bytes that the codes take.
    pub fn codes_len(&self) -> usize {
        Frame::of(&self.codes).len
    }
}

/// A hash of a value. Most are short.
#[inline]
fn hash(value: &[u8]) -> u64 {
    let word = match (value.first_chunk(), value.last_chunk(), value) {
        (Some(first), Some(last), [.., _]) if value.len() <= 8 => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (_, _, [first, .., last]) if value.len() < 4 => {
            u64::from(*first) | u64::from(*last) << 8 | u64::from(value[value.len() / 2]) << 16
        }
        _ => return xxh3_64(value),
    };
    mix(word ^ (value.len() as u64) << 60)
}

/// Reads what [`Dictionary::encode`] wrote: a code for each place of `codes`. Returns the number of values, which no code reaches.
pub(super) fn decode(cursor: &mut Cursor<'_>, codes: &mut [i64]) -> Result<usize> {
    let count = cursor.varint()?;
    frame::decode(cursor, codes)?;
    let valid = count <= MAX_VECTOR_ROWS as u64 && codes.iter().all(|code| (*code as u64) < count);
    if valid { Ok(count as usize) } else { Err(EncodingError::inconsistent(WHAT, "a code has no value")) }
}
