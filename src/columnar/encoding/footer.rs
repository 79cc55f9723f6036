//! The footer: what a reader has to know of a stripe before anything else.

use std::ops::{Range, RangeInclusive};

use super::bloom::{CHUNK_BLOCKS, chunk_range, filter_len, hash_in};
use super::directory::directory_len;
use super::row_numbers::{RowBlock, RowNumbers};
use super::types::ColumnType;
use super::zone::Zone;
use super::{EncodingError, Result};

/// A stripe's bytes stay far below what sums of offsets can overflow.
const MAX_STRIPE_LEN: u64 = 1 << 48;

/// A row of a stripe: row `index` of vector `vector`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub vector: u32,
    pub index: u16,
}

/// A column as the footer describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnEntry {
    /// What it holds.
    pub column_type: ColumnType,
    /// Where its vectors start in the stripe.
    pub data_offset: u64,
    /// Bytes of its vectors in the stripe.
    pub data_len: u64,
    /// Bytes of its vectors once decompressed.
    pub raw_len: u64,
    /// Bytes of its vectors once decoded.
    pub plain_len: u64,
    /// Rows that are NULL.
    pub null_count: u32,
    /// XXH3-64 of its directory.
    pub directory_checksum: u64,
    /// Where its statistics start in the stripe.
    pub statistics_offset: u64,
    /// Bytes of its statistics, none if there are none.
    pub statistics_len: u32,
    /// Blocks of its Bloom filter; 0 without one.
    pub filter_blocks: u32,
    /// Least and greatest value in the stripe; `None` if all are NULL or the column is not ordered.
    pub zone: Option<Zone>,
}

/// The footer of a stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    pub(super) first_row: u64,
    pub(super) last_row: u64,
    pub(super) columns: Vec<ColumnEntry>,
    /// Rows before each vector, and at the end the rows of the stripe.
    pub(super) starts: Vec<u32>,
    pub(super) row_numbers: RowNumbers,
    /// Bytes of the stripe in front of the footer.
    pub(super) offset: u64,
}

impl Footer {
    /// The footer of a stripe whose columns' and row blocks' offsets are yet to be set.
    pub(super) fn new(
        rows: RangeInclusive<u64>,
        columns: Vec<ColumnEntry>,
        starts: Vec<u32>,
        row_numbers: RowNumbers,
    ) -> Result<Self> {
        let mut footer =
            Footer { first_row: *rows.start(), last_row: *rows.end(), columns, starts, row_numbers, offset: 0 };
        footer.set_offsets()?;
        Ok(footer)
    }

    /// Rows of the stripe.
    pub fn row_count(&self) -> u32 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Number of the first row.
    pub fn first_row(&self) -> u64 {
        self.first_row
    }

    /// Number of the last row.
    pub fn last_row(&self) -> u64 {
        self.last_row
    }

    /// Where the footer starts in the stripe: what lies before it fills the stripe without a gap.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of all vectors once decoded.
    pub fn plain_bytes(&self) -> u64 {
        let lens = self.columns.iter().map(|column| column.plain_len);
        lens.fold(0, u64::saturating_add)
    }

    /// All columns.
    pub fn columns(&self) -> &[ColumnEntry] {
        &self.columns
    }

    /// Column `index`.
    pub fn column(&self, index: usize) -> Result<&ColumnEntry> {
        self.columns.get(index).ok_or(EncodingError::OutOfRange { what: "column", index: index as u64 })
    }

    /// How many vectors each column has.
    pub fn vector_count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Rows of each vector.
    pub fn vector_rows(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.starts.windows(2).map(|pair| pair.last().zip(pair.first()).map_or(0, |(end, start)| (end - start) as u16))
    }

    /// The rows of vector `vector`, counted from the start of the stripe.
    pub fn ordinals(&self, vector: usize) -> Result<Range<u32>> {
        let missing = EncodingError::OutOfRange { what: "vector", index: vector as u64 };
        match self.starts.get(vector..).unwrap_or_default() {
            [start, end, ..] => Ok(*start..*end),
            _ => Err(missing),
        }
    }

    /// A row's place counted from the start of the stripe, as delete bitmaps count.
    pub fn ordinal(&self, position: Position) -> Result<u32> {
        let range = self.ordinals(position.vector as usize)?;
        let ordinal = range.start + u32::from(position.index);
        if range.contains(&ordinal) {
            Ok(ordinal)
        } else {
            Err(EncodingError::OutOfRange { what: "row", index: ordinal.into() })
        }
    }

    /// Where the directory of a column lies: offset in the stripe and bytes.
    pub fn directory_range(&self, column: usize) -> Result<(u64, usize)> {
        self.column(column)?;
        let vectors = self.vector_count();
        let len = |column: &ColumnEntry| directory_len(column.column_type.order, vectors);
        let before: u64 = self.columns.iter().take(column).map(|column| len(column) as u64).sum();
        Ok((self.directories_offset() + before, len(self.column(column)?)))
    }

    /// Where the part of a column's Bloom filter lies that decides about a value: offset in the stripe and bytes. `None` without a filter.
    pub fn filter_range(&self, column: usize, hash: u64) -> Option<(u64, usize)> {
        let blocks = self.columns.get(column)?.filter_blocks;
        let len = |columns: &[ColumnEntry]| columns.iter().map(|column| filter_len(column.filter_blocks) as u64).sum();
        let all: u64 = len(&self.columns);
        let before: u64 = len(self.columns.get(..column)?);
        let (offset, chunk_len) = (blocks > 0).then(|| chunk_range(blocks, hash))?;
        Some((self.offset - all + before + offset, chunk_len))
    }

    /// Where the parts of a column's Bloom filter lie that have a checksum each.
    pub fn filter_chunks(&self, column: usize) -> impl Iterator<Item = (u64, usize)> {
        let blocks = self.columns.get(column).map_or(0, |column| column.filter_blocks);
        let hashes = (0..blocks.div_ceil(CHUNK_BLOCKS)).map(move |chunk| hash_in(chunk * CHUNK_BLOCKS, blocks));
        hashes.filter_map(move |hash| self.filter_range(column, hash))
    }

    /// Where the statistics of a column lie, offset in the stripe and bytes, if it has any.
    pub fn statistics_range(&self, column: usize) -> Result<Option<(u64, usize)>> {
        let column = self.column(column)?;
        Ok((column.statistics_len > 0).then_some((column.statistics_offset, column.statistics_len as usize)))
    }

    /// Whether the rows are in the order of their numbers.
    pub fn is_increasing(&self) -> bool {
        !matches!(self.row_numbers, RowNumbers::Permuted(_))
    }

    /// The least and the greatest row number of a vector.
    #[cfg(test)]
    pub fn bounds(&self, vector: usize) -> Result<RangeInclusive<u64>> {
        let range = self.ordinals(vector)?;
        Ok(match self.row_numbers.entries().get(vector) {
            Some(entry) => entry.bounds(),
            None => self.first_row + u64::from(range.start)..=self.first_row + u64::from(range.end) - 1,
        })
    }

    /// The vector that has `row_number` if the stripe has it, where row numbers increase.
    pub fn vector_with(&self, row_number: u64) -> Option<usize> {
        if !(self.first_row..=self.last_row).contains(&row_number) {
            return None;
        }
        let after = match &self.row_numbers {
            RowNumbers::Dense => self.starts.partition_point(|start| u64::from(*start) <= row_number - self.first_row),
            RowNumbers::Listed(blocks) => blocks.partition_point(|block| block.first <= row_number),
            RowNumbers::Permuted(_) => return None,
        };
        after.checked_sub(1)
    }

    /// A row's place, from how many rows come before it in the stripe.
    pub fn position(&self, ordinal: u32) -> Option<Position> {
        let vector = self.starts.partition_point(|start| *start <= ordinal).checked_sub(1)?;
        let start = *self.starts.get(vector)?;
        (ordinal < self.row_count()).then_some(Position { vector: vector as u32, index: (ordinal - start) as u16 })
    }

    /// Where the row-number block of a vector lies, offset in the stripe and bytes, unless its numbers are consecutive and
    /// there is none.
    pub fn row_block_range(&self, vector: usize) -> Option<(u64, usize)> {
        let block = self.row_numbers.entries().get(vector).filter(|block| block.len > 0);
        block.map(|block| (block.offset, block.len as usize))
    }

    /// The row numbers of a vector. `bytes` are those that [`Footer::row_block_range`] points to, none without a block.
    pub fn row_block(&self, vector: usize, bytes: &[u8]) -> Result<RowBlock> {
        let range = self.ordinals(vector)?;
        let rows = (range.end - range.start) as u16;
        match self.row_numbers.entries().get(vector) {
            Some(block) if block.len > 0 => RowBlock::decode(block, rows, self.is_increasing(), bytes),
            Some(block) => Ok(RowBlock::Consecutive { first: block.first, rows }),
            None => Ok(RowBlock::Consecutive { first: self.first_row + u64::from(range.start), rows }),
        }
    }

    /// Bytes that the footer takes in memory.
    pub fn memory(&self) -> usize {
        let blocks = size_of_val(self.row_numbers.entries());
        size_of::<Self>() + size_of_val(self.columns.as_slice()) + size_of_val(self.starts.as_slice()) + blocks
    }

    fn directories_offset(&self) -> u64 {
        self.columns.last().map_or(0, |column| column.data_offset + column.data_len)
    }

    /// Offsets follow from lengths: columns, directories, row blocks, statistics and filters lie in this order without gaps.
    fn set_offsets(&mut self) -> Result<()> {
        let too_large = |len| EncodingError::TooLarge { what: "stripe", len, limit: MAX_STRIPE_LEN };
        let mut offset = 0u64;
        for column in &mut self.columns {
            column.data_offset = offset;
            offset = offset.saturating_add(column.data_len);
        }
        if offset > MAX_STRIPE_LEN {
            return Err(too_large(offset));
        }
        let vectors = self.vector_count();
        offset +=
            self.columns.iter().map(|column| directory_len(column.column_type.order, vectors) as u64).sum::<u64>();
        if let RowNumbers::Listed(blocks) | RowNumbers::Permuted(blocks) = &mut self.row_numbers {
            for block in blocks {
                block.offset = offset;
                offset += u64::from(block.len);
            }
        }
        for column in &mut self.columns {
            column.statistics_offset = offset;
            offset += u64::from(column.statistics_len);
        }
        offset += self.columns.iter().map(|column| filter_len(column.filter_blocks) as u64).sum::<u64>();
        self.offset = offset;
        if offset > MAX_STRIPE_LEN { Err(too_large(offset)) } else { Ok(()) }
    }
}
