//! Row numbers: which number each row of a stripe has.
//!
//! Consecutive numbers cost nothing. Others are listed per vector: the footer has the first number of each vector, a block
//! of gaps has the others, so that a lookup decodes at most one small block.

use super::bytes::{Cursor, VARINT_MAX_LEN, checksum, put_varint, reserve, with_capacity};
use super::{EncodingError, Result};

const WHAT: &str = "row-number block";

/// The row numbers of one vector, as the footer states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowBlockEntry {
    /// Number of the vector's first row.
    pub first: u64,
    /// Where the block starts in the stripe.
    pub offset: u64,
    /// Bytes of the block; 0 if the numbers are consecutive.
    pub len: u32,
    /// XXH3-64 of the block.
    pub checksum: u64,
}

/// How a stripe's rows are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowNumbers {
    /// From the stripe's first row number on without a gap.
    Dense,
    /// Vector by vector.
    Listed(Vec<RowBlockEntry>),
}

/// Appends the block of a vector's increasing `numbers` to `out` and describes it. `offset` is left for the footer.
pub(super) fn encode_block(numbers: &[u64], out: &mut Vec<u8>) -> Result<RowBlockEntry> {
    let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    let start = out.len();
    if last - first >= numbers.len() as u64 {
        reserve(out, numbers.len() * VARINT_MAX_LEN)?;
        for (previous, next) in numbers.iter().zip(numbers.iter().skip(1)) {
            put_varint(out, next - previous - 1);
        }
    }
    let block = out.get(start..).unwrap_or_default();
    Ok(RowBlockEntry { first, offset: 0, len: block.len() as u32, checksum: checksum(block) })
}

/// The row numbers of one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowBlock {
    /// `rows` numbers from `first` on.
    Consecutive { first: u64, rows: u16 },
    /// Increasing numbers with gaps.
    Listed(Vec<u64>),
}

impl RowBlock {
    /// Decodes the block that `entry` describes, of a vector with `rows` rows whose numbers end at `limit` or before.
    pub(super) fn decode(entry: &RowBlockEntry, rows: u16, limit: u64, bytes: &[u8]) -> Result<Self> {
        if checksum(bytes) != entry.checksum {
            return Err(EncodingError::Checksum { what: WHAT });
        }
        let too_great = || EncodingError::inconsistent(WHAT, "a row number exceeds those that follow");
        let mut cursor = Cursor::new(bytes, WHAT);
        let mut numbers = with_capacity(usize::from(rows))?;
        let mut number = entry.first;
        numbers.push(number);
        for _ in 1..rows {
            let gap = cursor.varint()?;
            number = number.checked_add(gap).and_then(|sum| sum.checked_add(1)).ok_or_else(too_great)?;
            numbers.push(number);
        }
        cursor.finish()?;
        if number <= limit { Ok(RowBlock::Listed(numbers)) } else { Err(too_great()) }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            RowBlock::Consecutive { rows, .. } => usize::from(*rows),
            RowBlock::Listed(numbers) => numbers.len(),
        }
    }

    /// Number of row `index` of the vector.
    pub fn get(&self, index: usize) -> Option<u64> {
        match self {
            RowBlock::Consecutive { first, rows } => (index < usize::from(*rows)).then(|| first + index as u64),
            RowBlock::Listed(numbers) => numbers.get(index).copied(),
        }
    }

    /// Which row of the vector has `number`, if any has.
    pub fn find(&self, number: u64) -> Option<u16> {
        match self {
            RowBlock::Consecutive { first, rows } => {
                let index = number.checked_sub(*first)?;
                (index < u64::from(*rows)).then_some(index as u16)
            }
            RowBlock::Listed(numbers) => numbers.binary_search(&number).ok().map(|index| index as u16),
        }
    }
}
