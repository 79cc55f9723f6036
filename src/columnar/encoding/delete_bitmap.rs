//! Which rows of a stripe are deleted.

#[cfg(test)]
use std::ops::Range;

use super::bytes::{Cursor, VARINT_MAX_LEN, put_varint, reserve, seal, with_capacity};
use super::{EncodingError, Result};

const WHAT: &str = "delete bitmap";
const MAGIC: u32 = u32::from_le_bytes(*b"ORSD");
const VERSION: u16 = 1;
const KIND_BITS: u8 = 0;
const KIND_RUNS: u8 = 1;

/// A bit for each row of a stripe, in stripe order; set if the row is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteBitmap {
    words: Vec<u64>,
    rows: u32,
    count: u32,
}

impl DeleteBitmap {
    /// A bitmap of `rows` rows, none deleted.
    pub fn new(rows: u32) -> Result<Self> {
        let len = rows.div_ceil(64) as usize;
        let mut words = with_capacity(len)?;
        words.resize(len, 0);
        Ok(DeleteBitmap { words, rows, count: 0 })
    }

    /// Rows of the stripe.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows that are deleted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether row `ordinal` is deleted; one that does not exist is not.
    pub fn contains(&self, ordinal: u32) -> bool {
        self.words.get((ordinal / 64) as usize).is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }

    /// Marks row `ordinal` as deleted and says whether it was not before.
    pub fn insert(&mut self, ordinal: u32) -> Result<bool> {
        let word = self.words.get_mut((ordinal / 64) as usize).filter(|_| ordinal < self.rows);
        let word = word.ok_or(EncodingError::OutOfRange { what: "row", index: ordinal.into() })?;
        let bit = 1 << (ordinal % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.count += u32::from(new);
        Ok(new)
    }

    /// How many rows of a range, such as the rows of a vector, are deleted.
    #[cfg(test)]
    pub fn count_in(&self, range: Range<u32>) -> u32 {
        let (mut at, end) = (range.start, range.end.min(self.rows));
        let mut count = 0;
        while at < end {
            let bits = (64 - at % 64).min(end - at);
            let word = self.words.get((at / 64) as usize).copied().unwrap_or(0) >> (at % 64);
            count += (word & (u64::MAX >> (64 - bits))).count_ones();
            at += bits;
        }
        count
    }

    /// The deleted rows in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let base = index as u32 * 64;
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.checked_sub(1)?;
                Some(base + bit)
            })
        })
    }

    /// The bitmap as bytes: as runs or as bits, whichever is shorter.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = with_capacity(32)?;
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(KIND_RUNS);
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        let header = out.len();
        let bits = self.rows.div_ceil(8) as usize;
        if !self.put_runs(&mut out, header + bits)? {
            out.truncate(header);
            if let Some(kind) = out.get_mut(6) {
                *kind = KIND_BITS;
            }
            reserve(&mut out, bits)?;
            out.extend(self.words.iter().flat_map(|word| word.to_le_bytes()).take(bits));
        }
        seal(&mut out, 0)?;
        Ok(out)
    }

    /// Appends pairs of varints, rows to skip and rows deleted, and gives up once `out` has `limit` bytes.
    fn put_runs(&self, out: &mut Vec<u8>, limit: usize) -> Result<bool> {
        let mut end = 0;
        let mut rows = self.iter().peekable();
        while let Some(start) = rows.next() {
            let mut next = start + 1;
            while rows.next_if_eq(&next).is_some() {
                next += 1;
            }
            reserve(out, 2 * VARINT_MAX_LEN)?;
            put_varint(out, u64::from(start - end));
            put_varint(out, u64::from(next - start));
            end = next;
            if out.len() >= limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what [`DeleteBitmap::encode`] wrote, for a stripe of `rows` rows.
    pub fn parse(bytes: &[u8], rows: u32) -> Result<Self> {
        let mut cursor = Cursor::open(bytes, WHAT, MAGIC, VERSION)?;
        let kind = cursor.u8()?;
        if cursor.u32()? != rows {
            return Err(EncodingError::inconsistent(WHAT, "it is that of a stripe with another number of rows"));
        }
        let count = cursor.u32()?;
        let mut bitmap = DeleteBitmap::new(rows)?;
        match kind {
            KIND_BITS => bitmap.read_bits(cursor.rest())?,
            KIND_RUNS => bitmap.read_runs(cursor)?,
            code => return Err(EncodingError::UnknownCode { what: WHAT, code }),
        }
        if bitmap.count == count { Ok(bitmap) } else { Err(EncodingError::inconsistent(WHAT, "its count is wrong")) }
    }

    fn read_bits(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.rows.div_ceil(8) as usize {
            return Err(EncodingError::truncated(WHAT, self.rows.div_ceil(8) as usize, bytes.len()));
        }
        for (word, chunk) in self.words.iter_mut().zip(bytes.chunks(8)) {
            *word = chunk.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
            self.count += word.count_ones();
        }
        match self.words.last() {
            Some(last) if !self.rows.is_multiple_of(64) && last >> (self.rows % 64) != 0 => {
                Err(EncodingError::inconsistent(WHAT, "it has rows beyond the end of the stripe"))
            }
            _ => Ok(()),
        }
    }

    fn read_runs(&mut self, mut cursor: Cursor<'_>) -> Result<()> {
        let mut at = 0u64;
        while cursor.remaining() > 0 {
            let start = at.saturating_add(cursor.varint()?);
            at = start.saturating_add(cursor.varint()?);
            if at > u64::from(self.rows) || at == start {
                return Err(EncodingError::inconsistent(WHAT, "it has rows beyond the end of the stripe"));
            }
            for ordinal in start..at {
                self.insert(ordinal as u32)?;
            }
        }
        Ok(())
    }
}
