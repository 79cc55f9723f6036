//! The footer as bytes.

use std::ops::RangeInclusive;

use super::bytes::{Cursor, seal, with_capacity};
use super::directory::{get_zone, put_zone};
use super::footer::{ColumnEntry, Footer};
use super::row_numbers::{RowBlockEntry, RowNumbers};
use super::types::{ColumnType, MAX_COLUMNS, MAX_VECTOR_ROWS};
use super::{EncodingError, Result};

const WHAT: &str = "stripe footer";
const MAGIC: u32 = u32::from_le_bytes(*b"ORSF");
const VERSION: u16 = 2;
const ROWS_DENSE: u8 = 0;
const ROWS_LISTED: u8 = 1;
const ROWS_PERMUTED: u8 = 2;

impl Footer {
    /// Parses a footer, whose place the stripe's metadata states.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::open(bytes, WHAT, MAGIC, VERSION)?;
        let column_count = usize::from(cursor.u16()?);
        let row_count = cursor.u32()?;
        let vector_count = cursor.u32()? as usize;
        let (first_row, last_row) = (cursor.u64()?, cursor.u64()?);
        let numbering = cursor.u8()?;
        // Every vector takes two bytes or more, which bounds what a wrong count can allocate.
        if column_count > MAX_COLUMNS || vector_count > cursor.remaining() / 2 {
            return Err(EncodingError::inconsistent(WHAT, "it has more columns or vectors than it can have"));
        }
        let columns = parse_columns(&mut cursor, column_count, row_count)?;
        let (starts, row_numbers) = parse_vectors(&mut cursor, vector_count, row_count, numbering)?;
        cursor.finish()?;
        let footer = Footer::new(first_row..=last_row, columns, starts, row_numbers)?;
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
        out.push(match self.row_numbers {
            RowNumbers::Dense => ROWS_DENSE,
            RowNumbers::Listed(_) => ROWS_LISTED,
            RowNumbers::Permuted(_) => ROWS_PERMUTED,
        });
        for column in &self.columns {
            out.extend_from_slice(&column.column_type.encode());
            out.extend_from_slice(&column.data_len.to_le_bytes());
            out.extend_from_slice(&column.raw_len.to_le_bytes());
            out.extend_from_slice(&column.plain_len.to_le_bytes());
            out.extend_from_slice(&column.null_count.to_le_bytes());
            out.extend_from_slice(&column.directory_checksum.to_le_bytes());
            out.extend_from_slice(&column.filter_blocks.to_le_bytes());
            out.extend_from_slice(&column.statistics_len.to_le_bytes());
            put_zone(column.column_type.order, column.zone, &mut out);
        }
        for rows in self.vector_rows() {
            out.extend_from_slice(&rows.to_le_bytes());
        }
        for block in self.row_numbers.entries() {
            out.extend_from_slice(&block.first.to_le_bytes());
            out.extend_from_slice(&block.span.to_le_bytes());
            out.extend_from_slice(&block.len.to_le_bytes());
            out.extend_from_slice(&block.checksum.to_le_bytes());
        }
        seal(&mut out, 0)?;
        Ok(out)
    }

    /// The bounds of the vectors' row numbers have to leave room for their rows and to add up to those of the stripe.
    fn check_row_numbers(&self) -> Result<()> {
        let fits = |bounds: &RangeInclusive<u64>, rows: u64| {
            bounds.end().checked_sub(*bounds.start()).is_some_and(|span| span >= rows - 1)
        };
        let whole = self.first_row..=self.last_row;
        let entries = self.row_numbers.entries();
        let blocks = || entries.iter().zip(self.vector_rows());
        let mut valid = self.row_count() > 0 && fits(&whole, self.row_count().into());
        valid &= blocks().all(|(block, rows)| fits(&block.bounds(), rows.into()));
        // Without a block the numbers are consecutive, and end where the bounds do.
        valid &= blocks().all(|(block, rows)| block.len > 0 || u64::from(block.span) == u64::from(rows) - 1);
        let first = entries.iter().map(|block| block.first).min();
        let last = entries.iter().map(|block| *block.bounds().end()).max();
        valid &= match &self.row_numbers {
            RowNumbers::Dense => self.last_row.wrapping_sub(self.first_row) == u64::from(self.row_count()) - 1,
            RowNumbers::Listed(_) | RowNumbers::Permuted(_) => {
                (first, last) == (Some(self.first_row), Some(self.last_row))
            }
        };
        if self.is_increasing() {
            valid &= entries.array_windows().all(|[a, b]| *a.bounds().end() < b.first);
        }
        if valid { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "its row numbers do not add up")) }
    }
}

fn parse_columns(cursor: &mut Cursor<'_>, count: usize, row_count: u32) -> Result<Vec<ColumnEntry>> {
    let mut columns = with_capacity(count)?;
    for _ in 0..count {
        let column_type = ColumnType::decode(cursor.u32()?.to_le_bytes())?;
        let (data_len, raw_len, plain_len) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let null_count = cursor.u32()?;
        let directory_checksum = cursor.u64()?;
        let filter_blocks = cursor.u32()?;
        let statistics_len = cursor.u32()?;
        let zone = get_zone(cursor, column_type.order, null_count < row_count)?;
        if null_count > row_count || data_len > raw_len {
            return Err(EncodingError::inconsistent(WHAT, "a column has more NULLs or bytes than it can have"));
        }
        columns.push(ColumnEntry {
            column_type,
            data_offset: 0,
            data_len,
            raw_len,
            plain_len,
            null_count,
            directory_checksum,
            filter_blocks,
            statistics_offset: 0,
            statistics_len,
            zone,
        });
    }
    Ok(columns)
}

fn parse_vectors(
    cursor: &mut Cursor<'_>,
    count: usize,
    row_count: u32,
    numbering: u8,
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
    if numbering == ROWS_DENSE {
        return Ok((starts, RowNumbers::Dense));
    }
    let mut blocks = with_capacity(count)?;
    for _ in 0..count {
        let (first, span) = (cursor.u64()?, cursor.u32()?);
        blocks.push(RowBlockEntry { first, span, offset: 0, len: cursor.u32()?, checksum: cursor.u64()? });
    }
    match numbering {
        ROWS_LISTED => Ok((starts, RowNumbers::Listed(blocks))),
        ROWS_PERMUTED => Ok((starts, RowNumbers::Permuted(blocks))),
        code => Err(EncodingError::UnknownCode { what: "row numbering", code }),
    }
}
