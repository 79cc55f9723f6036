//! The footer: what a reader has to know of a stripe before anything else.

use std::ops::Range;

use super::bytes::{Cursor, seal, unseal, with_capacity};
use super::directory::{directory_len, get_zone, put_zone};
use super::row_numbers::{RowBlock, RowBlockEntry, RowNumbers};
use super::types::{ColumnType, MAX_COLUMNS, MAX_VECTOR_ROWS};
use super::zone::Zone;
use super::{EncodingError, Result};

const WHAT: &str = "stripe footer";
const MAGIC: u32 = u32::from_le_bytes(*b"ORSF");
const VERSION: u16 = 1;
const ROWS_DENSE: u8 = 0;
const ROWS_LISTED: u8 = 1;

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
    /// Rows that are NULL.
    pub null_count: u32,
    /// XXH3-64 of its directory.
    pub directory_checksum: u64,
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
    pub(super) fn new(rows: Range<u64>, columns: Vec<ColumnEntry>, starts: Vec<u32>, row_numbers: RowNumbers) -> Result<Self> {
        let mut footer =
            Footer { first_row: rows.start, last_row: rows.end, columns, starts, row_numbers, offset: 0 };
        footer.set_offsets()?;
        Ok(footer)
    }

    /// Parses a footer, whose place the stripe's metadata states.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Cursor::new(bytes, WHAT).expect_header(MAGIC, VERSION)?;
        let mut cursor = Cursor::new(unseal(bytes, WHAT)?, WHAT);
        cursor.expect_header(MAGIC, VERSION)?;
        let column_count = usize::from(cursor.u16()?);
        let row_count = cursor.u32()?;
        let vector_count = cursor.u32()? as usize;
        let (first_row, last_row) = (cursor.u64()?, cursor.u64()?);
        let listed = match cursor.u8()? {
            ROWS_DENSE => false,
            ROWS_LISTED => true,
            code => return Err(EncodingError::UnknownCode { what: "row numbering", code }),
        };
        // Every vector takes two bytes or more, which bounds what a wrong count can allocate.
        if column_count > MAX_COLUMNS || vector_count > cursor.remaining() / 2 {
            return Err(EncodingError::inconsistent(WHAT, "it has more columns or vectors than it can have"));
        }
        let columns = parse_columns(&mut cursor, column_count, row_count)?;
        let (starts, row_numbers) = parse_vectors(&mut cursor, vector_count, row_count, listed)?;
        cursor.finish()?;
        let footer = Footer::new(first_row..last_row, columns, starts, row_numbers)?;
        footer.check_row_numbers()?;
        Ok(footer)
    }

    /// The footer's bytes, checksum included.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = with_capacity(64 + self.columns.len() * 64 + self.vector_count() * 24)?;
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.columns.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.row_count().to_le_bytes());
        out.extend_from_slice(&(self.vector_count() as u32).to_le_bytes());
        out.extend_from_slice(&self.first_row.to_le_bytes());
        out.extend_from_slice(&self.last_row.to_le_bytes());
        out.push(if self.row_numbers == RowNumbers::Dense { ROWS_DENSE } else { ROWS_LISTED });
        for column in &self.columns {
            out.extend_from_slice(&column.column_type.encode());
            out.extend_from_slice(&column.data_len.to_le_bytes());
            out.extend_from_slice(&column.raw_len.to_le_bytes());
            out.extend_from_slice(&column.null_count.to_le_bytes());
            out.extend_from_slice(&column.directory_checksum.to_le_bytes());
            put_zone(column.column_type.order, column.zone, &mut out);
        }
        for rows in self.vector_rows() {
            out.extend_from_slice(&rows.to_le_bytes());
        }
        if let RowNumbers::Listed(blocks) = &self.row_numbers {
            for block in blocks {
                out.extend_from_slice(&block.first.to_le_bytes());
                out.extend_from_slice(&block.len.to_le_bytes());
                out.extend_from_slice(&block.checksum.to_le_bytes());
            }
        }
        seal(&mut out, 0)?;
        Ok(out)
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

    /// The row at a place counted from the start of the stripe.
    pub fn position(&self, ordinal: u32) -> Result<Position> {
        if ordinal >= self.row_count() {
            return Err(EncodingError::OutOfRange { what: "row", index: ordinal.into() });
        }
        let vector = self.starts.partition_point(|start| *start <= ordinal).saturating_sub(1);
        let start = self.starts.get(vector).copied().unwrap_or(0);
        Ok(Position { vector: vector as u32, index: (ordinal - start) as u16 })
    }

    /// Where the directory of a column lies: offset in the stripe and bytes.
    pub fn directory_range(&self, column: usize) -> Result<(u64, usize)> {
        self.column(column)?;
        let vectors = self.vector_count();
        let len = |column: &ColumnEntry| directory_len(column.column_type.order, vectors);
        let before: u64 = self.columns.iter().take(column).map(|column| len(column) as u64).sum();
        Ok((self.directories_offset() + before, len(self.column(column)?)))
    }

    /// The vector that has `row_number` if the stripe has it.
    pub fn vector_with(&self, row_number: u64) -> Option<usize> {
        if !(self.first_row..=self.last_row).contains(&row_number) {
            return None;
        }
        let after = match &self.row_numbers {
            RowNumbers::Dense => self.starts.partition_point(|start| u64::from(*start) <= row_number - self.first_row),
            RowNumbers::Listed(blocks) => blocks.partition_point(|block| block.first <= row_number),
        };
        after.checked_sub(1)
    }

    /// Where the row-number block of a vector lies, offset in the stripe and bytes, unless its numbers are consecutive and
    /// there is none.
    pub fn row_block_range(&self, vector: usize) -> Option<(u64, usize)> {
        match &self.row_numbers {
            RowNumbers::Dense => None,
            RowNumbers::Listed(blocks) => {
                blocks.get(vector).filter(|block| block.len > 0).map(|block| (block.offset, block.len as usize))
            }
        }
    }

    /// The row numbers of a vector. `bytes` are those that [`Footer::row_block_range`] points to, none without a block.
    pub fn row_block(&self, vector: usize, bytes: &[u8]) -> Result<RowBlock> {
        let range = self.ordinals(vector)?;
        let rows = (range.end - range.start) as u16;
        match &self.row_numbers {
            RowNumbers::Dense => Ok(RowBlock::Consecutive { first: self.first_row + u64::from(range.start), rows }),
            RowNumbers::Listed(blocks) => match blocks.get(vector) {
                None => Err(EncodingError::OutOfRange { what: "vector", index: vector as u64 }),
                Some(block) if block.len == 0 => Ok(RowBlock::Consecutive { first: block.first, rows }),
                Some(block) => {
                    let limit = blocks.get(vector + 1).map_or(self.last_row, |next| next.first - 1);
                    RowBlock::decode(block, rows, limit, bytes)
                }
            },
        }
    }

    /// Bytes that the footer takes in memory.
    pub fn memory(&self) -> usize {
        let blocks = match &self.row_numbers {
            RowNumbers::Dense => 0,
            RowNumbers::Listed(blocks) => size_of_val(blocks.as_slice()),
        };
        size_of::<Self>() + size_of_val(self.columns.as_slice()) + size_of_val(self.starts.as_slice()) + blocks
    }

    fn directories_offset(&self) -> u64 {
        self.columns.last().map_or(0, |column| column.data_offset + column.data_len)
    }

    /// Offsets follow from lengths: columns, directories and row blocks lie in this order without gaps.
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
        offset += self.columns.iter().map(|column| directory_len(column.column_type.order, vectors) as u64).sum::<u64>();
        if let RowNumbers::Listed(blocks) = &mut self.row_numbers {
            for block in blocks {
                block.offset = offset;
                offset += u64::from(block.len);
            }
        }
        self.offset = offset;
        if offset > MAX_STRIPE_LEN { Err(too_large(offset)) } else { Ok(()) }
    }

    /// Row numbers have to increase from the first to the last, with room for every vector's rows.
    fn check_row_numbers(&self) -> Result<()> {
        let fits = |first: u64, rows: u64, last: u64| last.checked_sub(first).is_some_and(|span| span >= rows - 1);
        let mut valid = self.row_count() > 0 && fits(self.first_row, self.row_count().into(), self.last_row);
        match &self.row_numbers {
            RowNumbers::Dense => valid &= self.last_row.wrapping_sub(self.first_row) == u64::from(self.row_count()) - 1,
            RowNumbers::Listed(blocks) => {
                valid &= blocks.first().is_some_and(|block| block.first == self.first_row);
                let limits = blocks.iter().skip(1).map(|next| next.first.checked_sub(1)).chain([Some(self.last_row)]);
                for ((block, rows), limit) in blocks.iter().zip(self.vector_rows()).zip(limits) {
                    valid &= limit.is_some_and(|limit| fits(block.first, rows.into(), limit));
                }
            }
        }
        if valid { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "its row numbers do not increase")) }
    }
}

fn parse_columns(cursor: &mut Cursor<'_>, count: usize, row_count: u32) -> Result<Vec<ColumnEntry>> {
    let mut columns = with_capacity(count)?;
    for _ in 0..count {
        let column_type = ColumnType::decode(cursor.u32()?.to_le_bytes())?;
        let (data_len, raw_len) = (cursor.u64()?, cursor.u64()?);
        let null_count = cursor.u32()?;
        let directory_checksum = cursor.u64()?;
        let zone = get_zone(cursor, column_type.order, null_count < row_count)?;
        if null_count > row_count || data_len > raw_len {
            return Err(EncodingError::inconsistent(WHAT, "a column has more NULLs or bytes than it can have"));
        }
        columns.push(ColumnEntry { column_type, data_offset: 0, data_len, raw_len, null_count, directory_checksum, zone });
    }
    Ok(columns)
}

fn parse_vectors(
    cursor: &mut Cursor<'_>,
    count: usize,
    row_count: u32,
    listed: bool,
) -> Result<(Vec<u32>, RowNumbers)> {
    let mut starts = with_capacity(count + 1)?;
    let mut total = 0u32;
    starts.push(0);
    for _ in 0..count {
        let rows = cursor.u16()?;
        total = total.saturating_add(rows.into());
        if rows == 0 || usize::from(rows) > MAX_VECTOR_ROWS || total > row_count {
            return Err(EncodingError::inconsistent(WHAT, "a vector has more or fewer rows than it can have"));
        }
        starts.push(total);
    }
    if total != row_count {
        return Err(EncodingError::inconsistent(WHAT, "its vectors do not have all its rows"));
    }
    if !listed {
        return Ok((starts, RowNumbers::Dense));
    }
    let mut blocks = with_capacity(count)?;
    for _ in 0..count {
        blocks.push(RowBlockEntry { first: cursor.u64()?, offset: 0, len: cursor.u32()?, checksum: cursor.u64()? });
    }
    Ok((starts, RowNumbers::Listed(blocks)))
}
