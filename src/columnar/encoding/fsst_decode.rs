//! Reading texts that are codes for byte sequences. The writer is in `fsst.rs`.

use super::aligned::AlignedBuf;
use super::bytes::{Cursor, align_up, reserve};
use super::integers::{self, IntegerScratch};
use super::symbols::{MAX_SYMBOL_LEN, SLACK, SymbolTable};
use super::types::MAX_VECTOR_BYTES;
use super::vector::Vector;
use super::zone::is_set;
use super::{EncodingError, Result};

pub(super) const WHAT: &str = "FSST vector";

/// Headers of values: one byte, four bytes, four bytes before contents that PostgreSQL has compressed.
pub(super) const SHORT: i64 = 0;
pub(super) const LONG: i64 = 1;
pub(super) const COMPRESSED: i64 = 2;

/// Bytes that are copied of a value whose length is less.
const BLOCK: usize = SLACK;

/// Least length that a header of one byte cannot state.
const SHORT_LIMIT: usize = 0x80;
/// Least length that a header of four bytes cannot state.
const LONG_LIMIT: usize = 1 << 30;

/// Buffers for reading.
#[derive(Debug, Default)]
pub(super) struct FsstDecoder {
    kinds: Vec<i64>,
    lens: Vec<i64>,
    table: SymbolTable,
    contents: AlignedBuf,
}

impl FsstDecoder {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        (self.kinds.capacity() + self.lens.capacity()) * 8 + self.contents.capacity() + size_of::<SymbolTable>()
    }

    /// Reads what `FsstEncoder::encode` wrote behind the head: values of `vector.rows` rows, which have to be aligned. At most `max` bytes
    /// are written.
    pub fn decode(
        &mut self,
        payload: &[u8],
        align: u8,
        max: usize,
        scratch: &mut IntegerScratch,
        vector: &mut Vector,
    ) -> Result<()> {
        let mut cursor = Cursor::new(payload, WHAT);
        self.table.read(&mut cursor)?;
        for list in [&mut self.kinds, &mut self.lens] {
            list.clear();
            reserve(list, vector.rows)?;
            list.resize(vector.rows, 0);
            integers::decode(&mut cursor, list, scratch)?;
        }
        let codes = cursor.rest();
        let (contents_len, len) = self.place(align.into(), vector)?;
        let limit = max.min(MAX_VECTOR_BYTES);
        if len > limit {
            return Err(EncodingError::TooLarge { what: WHAT, len: len as u64, limit: limit as u64 });
        }
        if contents_len > codes.len().saturating_mul(MAX_SYMBOL_LEN) {
            return Err(EncodingError::inconsistent(WHAT, "its values are longer than its codes allow"));
        }
        let expanded = self.table.expand(codes, self.contents.prepare(contents_len + SLACK)?)?;
        if expanded != contents_len {
            return Err(EncodingError::inconsistent(WHAT, "its codes do not stand for as much as its values have"));
        }
        self.copy(len, vector)
    }

    /// Finds out where the values will lie. Returns how many bytes they have without their headers, and with them and the padding.
    fn place(&self, align: usize, vector: &mut Vector) -> Result<(usize, usize)> {
        let (mut contents_len, mut end) = (0usize, 0usize);
        reserve(&mut vector.starts, vector.rows)?;
        for (row, (kind, len)) in self.kinds.iter().zip(&self.lens).enumerate() {
            if is_set(&vector.nulls, row) {
                vector.starts.push(0);
                continue;
            }
            let len = usize::try_from(*len).ok();
            let (start, header) = match *kind {
                SHORT => (end, 1),
                LONG | COMPRESSED => (align_up(end, align), 4),
                _ => return Err(EncodingError::inconsistent(WHAT, "a value has an unknown header")),
            };
            let limit = if *kind == SHORT { SHORT_LIMIT } else { LONG_LIMIT } - header;
            let len = len.filter(|len| *len < limit);
            let len = len.ok_or(EncodingError::inconsistent(WHAT, "a value is longer than its header can say"))?;
            vector.starts.push(start as u32);
            contents_len += len;
            end = start + header + len;
        }
        Ok((contents_len, end))
    }

    /// Puts headers and contents where they belong, `total` bytes in all.
    fn copy(&self, total: usize, vector: &mut Vector) -> Result<()> {
        let Vector { data, starts, nulls, .. } = vector;
        let (out, mut contents) = (data.prepare(total + BLOCK)?, self.contents.as_slice());
        for (row, ((kind, len), start)) in self.kinds.iter().zip(&self.lens).zip(starts.iter()).enumerate() {
            if is_set(nulls, row) {
                continue;
            }
            let (len, place) = (*len as usize, out.get_mut(*start as usize..).unwrap_or_default());
            let behind = put_header(place, *kind, len);
            copy_block(behind, contents, len);
            contents = contents.get(len..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Writes the header of a value of `len` bytes without it; returns what follows it.
#[inline]
fn put_header(place: &mut [u8], kind: i64, len: usize) -> &mut [u8] {
    if kind == SHORT {
        let Some((header, behind)) = place.split_first_mut() else { return &mut [] };
        *header = (len as u8 + 1) << 1 | 1;
        behind
    } else {
        let Some((header, behind)) = place.split_first_chunk_mut() else { return &mut [] };
        let flag = if kind == COMPRESSED { 2 } else { 0 };
        *header = ((len as u32 + 4) << 2 | flag).to_le_bytes();
        behind
    }
}

/// Copies `len` bytes, and up to [`BLOCK`] more: most values are shorter, and to copy a block takes neither a call nor a guess.
#[inline]
fn copy_block(to: &mut [u8], from: &[u8], len: usize) {
    if len <= BLOCK {
        if let (Some(to), Some(from)) = (to.first_chunk_mut::<BLOCK>(), from.first_chunk()) {
            *to = *from;
        }
    } else if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}
