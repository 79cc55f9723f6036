//! Row numbers: which number each row of a stripe has.
//!
//! Consecutive numbers cost nothing. Others are listed per vector: the footer has the bounds of each vector's numbers, a block has the
//! numbers. In a stripe that is sorted by its values they come in any order.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::bytes::{Cursor, checksum, reserve, with_capacity};
use super::integers::{self, IntegerScratch};
use super::{EncodingError, Result};

const WHAT: &str = "row-number block";

/// The row numbers of one vector, as the footer states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowBlockEntry {
    /// The least number.
    pub first: u64,
    /// What the greatest number adds to the least.
    pub span: u32,
    /// Where the block starts in the stripe.
    pub offset: u64,
    /// Bytes of the block; 0 if the numbers are consecutive.
    pub len: u32,
    /// XXH3-64 of the block.
    pub checksum: u64,
}

impl RowBlockEntry {
    /// The least and the greatest number.
    pub fn bounds(&self) -> RangeInclusive<u64> {
        self.first..=self.first.saturating_add(self.span.into())
    }
}

/// How a stripe's rows are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowNumbers {
    /// From the stripe's first row number on without a gap.
    Dense,
    /// Vector by vector, increasing over the whole stripe.
    Listed(Vec<RowBlockEntry>),
    /// Vector by vector, in any order.
    Permuted(Vec<RowBlockEntry>),
}

impl RowNumbers {
    /// The vectors' entries, none if there is no need for them.
    pub fn entries(&self) -> &[RowBlockEntry] {
        match self {
            RowNumbers::Dense => &[],
            RowNumbers::Listed(entries) | RowNumbers::Permuted(entries) => entries,
        }
    }
}

/// Appends the block of a vector's `numbers` to `out` and describes it. `offset` is left for the footer.
pub(super) fn encode_block(numbers: &[u64], scratch: &mut IntegerScratch, out: &mut Vec<u8>) -> Result<RowBlockEntry> {
    let (first, last) = numbers.iter().fold((u64::MAX, 0), |(a, b), number| (a.min(*number), b.max(*number)));
    let span = u32::try_from(last.saturating_sub(first))
        .map_err(|_| EncodingError::inconsistent(WHAT, "its row numbers lie too far apart"))?;
    let start = out.len();
    if !numbers.array_windows().all(|[a, b]| a.checked_add(1) == Some(*b)) {
        let mut offsets = with_capacity(numbers.len())?;
        offsets.extend(numbers.iter().map(|number| (number - first) as i64));
        integers::encode(&offsets, scratch, out)?;
    }
    let block = out.get(start..).unwrap_or_default();
    Ok(RowBlockEntry { first, span, offset: 0, len: block.len() as u32, checksum: checksum(block) })
}

/// The row numbers of one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowBlock {
    /// `rows` numbers from `first` on.
    Consecutive { first: u64, rows: u16 },
    /// Any numbers, in the order of the rows.
    Listed(Vec<u64>),
}

impl RowBlock {
    /// Decodes the block that `entry` describes, of a vector with `rows` rows.
    pub(super) fn decode(entry: &RowBlockEntry, rows: u16, increasing: bool, bytes: &[u8]) -> Result<Self> {
        if checksum(bytes) != entry.checksum {
            return Err(EncodingError::Checksum { what: WHAT });
        }
        let mut offsets: Vec<i64> = with_capacity(usize::from(rows))?;
        offsets.resize(usize::from(rows), 0);
        let mut cursor = Cursor::new(bytes, WHAT);
        integers::decode(&mut cursor, &mut offsets, &mut IntegerScratch::default())?;
        cursor.finish()?;
        let in_order = !increasing || offsets.array_windows().all(|[a, b]| a < b);
        if !in_order || offsets.iter().any(|offset| !(0..=i64::from(entry.span)).contains(offset)) {
            return Err(EncodingError::inconsistent(WHAT, "a row number is not where it should be"));
        }
        let mut numbers = Vec::new();
        reserve(&mut numbers, offsets.len())?;
        numbers.extend(offsets.iter().map(|offset| entry.first.saturating_add(*offset as u64)));
        Ok(RowBlock::Listed(numbers))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            RowBlock::Consecutive { rows, .. } => usize::from(*rows),
            RowBlock::Listed(numbers) => numbers.len(),
        }
    }

    /// Number of row `index` of the vector.
    #[inline]
    pub fn get(&self, index: usize) -> Option<u64> {
        match self {
            RowBlock::Consecutive { first, rows } => (index < usize::from(*rows)).then(|| first + index as u64),
            RowBlock::Listed(numbers) => numbers.get(index).copied(),
        }
    }

    /// Which row of the vector has `number`, if any has. In a stripe whose numbers do not increase `Permutation` is what finds a row.
    pub fn find(&self, number: u64) -> Option<u16> {
        match self {
            RowBlock::Consecutive { first, rows } => {
                let index = number.checked_sub(*first)?;
                (index < u64::from(*rows)).then_some(index as u16)
            }
            RowBlock::Listed(numbers) => numbers.binary_search(&number).ok().map(|index| index as u16),
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        match self {
            RowBlock::Consecutive { .. } => 0,
            RowBlock::Listed(numbers) => numbers.capacity() * size_of::<u64>(),
        }
    }
}

/// Where the rows of a stripe are whose numbers do not increase: row numbers in order, each with its place.
#[derive(Debug, Default)]
pub struct Permutation {
    /// Row numbers less the stripe's first, increasing.
    offsets: Vec<u32>,
    /// Places, counted from the start of the stripe.
    ordinals: Vec<u32>,
}

impl Permutation {
    /// Sorts the row numbers of all vectors, which come in order.
    pub fn build(first_row: u64, rows: u32, blocks: &[Rc<RowBlock>]) -> Result<Self> {
        let mut pairs: Vec<(u32, u32)> = with_capacity(rows as usize)?;
        for block in blocks {
            for number in (0..block.len()).filter_map(|index| block.get(index)) {
                let offset = number.checked_sub(first_row).and_then(|offset| u32::try_from(offset).ok());
                let offset =
                    offset.ok_or(EncodingError::inconsistent(WHAT, "a row number is not where it should be"))?;
                pairs.push((offset, pairs.len() as u32));
            }
        }
        pairs.sort_unstable();
        if pairs.array_windows().any(|[a, b]| a.0 == b.0) {
            return Err(EncodingError::inconsistent(WHAT, "two rows have one number"));
        }
        let (mut offsets, mut ordinals) = (with_capacity(pairs.len())?, with_capacity(pairs.len())?);
        offsets.extend(pairs.iter().map(|pair| pair.0));
        ordinals.extend(pairs.iter().map(|pair| pair.1));
        Ok(Permutation { offsets, ordinals })
    }

    /// The place of the row whose number is `offset` more than the stripe's first.
    pub fn find(&self, offset: u64) -> Option<u32> {
        let offset = u32::try_from(offset).ok()?;
        self.ordinals.get(self.offsets.binary_search(&offset).ok()?).copied()
    }

    /// The rows whose numbers are `start` to `end` more than the stripe's first, `end` excluded: what they are more, and their places.
    pub fn range(&self, start: u64, end: u64) -> impl Iterator<Item = (u32, u32)> + '_ {
        let from = self.offsets.partition_point(|offset| u64::from(*offset) < start);
        let pairs = self.offsets.iter().zip(&self.ordinals).skip(from);
        pairs.map(|(offset, ordinal)| (*offset, *ordinal)).take_while(move |(offset, _)| u64::from(*offset) < end)
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        (self.offsets.capacity() + self.ordinals.capacity()) * size_of::<u32>()
    }
}
