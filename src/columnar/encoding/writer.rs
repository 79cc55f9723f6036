//! Writing a stripe.

use super::bytes::{checksum, reserve, with_capacity};
use super::column::{ColumnParts, ColumnWriter, Meter, Workspace};
use super::compress::VectorCompressor;
use super::encode::VectorEncoder;
use super::footer::{ColumnEntry, Footer};
use super::integers::IntegerScratch;
use super::row_numbers::{RowBlockEntry, RowNumbers, encode_block};
use super::sample::Sampler;
use super::statistics::{Collector, MAX_VECTORS_WITHOUT};
use super::types::{ColumnType, Compression, Limits, MAX_COLUMNS, Value};
use super::{EncodingError, Result, bloom};

/// Collects rows and turns them into a stripe.
///
/// Vectors are compressed as they fill up, so the writer holds little more than the stripe will have on disk. After an
/// error the writer cannot be used: a row may have reached some columns only.
pub struct StripeWriter {
    columns: Vec<ColumnWriter>,
    limits: Limits,
    workspace: Workspace,
    meter: Meter,
    /// Row numbers of the open vector.
    numbers: Vec<u64>,
    row_blocks: Vec<u8>,
    scratch: IntegerScratch,
    row_entries: Vec<RowBlockEntry>,
    sampler: Sampler,
    /// Rows before each vector, closed ones only, and their rows at the end.
    starts: Vec<u32>,
    /// Least and greatest row number so far.
    bounds: Option<(u64, u64)>,
    /// The last row number.
    last: u64,
    /// Whether each row number exceeded the one before.
    increasing: bool,
    rows: u32,
    failed: bool,
}

/// What the stripe's metadata has to say about a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripeSummary {
    pub row_count: u32,
    pub column_count: u16,
    /// Number of the first row.
    pub first_row: u64,
    /// Number of the last row.
    pub last_row: u64,
    /// Bytes of all vectors once decoded.
    pub plain_bytes: u64,
    /// Bytes of the stripe.
    pub len: u64,
    /// Where the footer starts; it ends with the stripe.
    pub footer_offset: u64,
    pub footer_len: u32,
}

/// A finished stripe.
#[derive(Debug)]
pub struct Finished {
    /// Its bytes, in pieces to be stored one after the other.
    pub pieces: Vec<Vec<u8>>,
    pub summary: StripeSummary,
}

impl StripeWriter {
    /// A writer for rows of the given columns.
    pub fn new(types: &[ColumnType], compression: Compression, limits: Limits) -> Result<Self> {
        limits.validate()?;
        if types.len() > MAX_COLUMNS {
            return Err(EncodingError::InvalidType {
                column: MAX_COLUMNS,
                detail: "a stripe has at most 1600 columns",
            });
        }
        let mut columns = with_capacity(types.len())?;
        for (column, column_type) in types.iter().enumerate() {
            if let Some(detail) = column_type.defect() {
                return Err(EncodingError::InvalidType { column, detail });
            }
            columns.push(ColumnWriter::new(*column_type, true));
        }
        let mut starts = with_capacity(1)?;
        starts.push(0);
        let compressor = VectorCompressor::new(compression)?;
        Ok(StripeWriter {
            columns,
            limits,
            workspace: Workspace { encoder: VectorEncoder::new(compressor), keep: limits.vector_bytes },
            meter: Meter::default(),
            numbers: with_capacity(limits.vector_rows)?,
            row_blocks: Vec::new(),
            scratch: IntegerScratch::default(),
            row_entries: Vec::new(),
            sampler: Sampler::new(types.len()),
            starts,
            bounds: None,
            last: 0,
            increasing: true,
            rows: 0,
            failed: false,
        })
    }

    /// Makes Bloom filters for the columns for which the list says so.
    pub fn with_filters(mut self, columns: &[bool]) -> Self {
        let old = std::mem::take(&mut self.columns).into_iter();
        let wanted = columns.iter().copied().chain(std::iter::repeat(false));
        self.columns =
            old.zip(wanted).map(|(column, wanted)| if wanted { column.with_filter() } else { column }).collect();
        self
    }

    /// Appends a row, whose number no other row has. `value` is asked for each column in turn.
    ///
    /// Rows in the order of their numbers are found faster and take less room.
    pub fn push_row<'a>(&mut self, row_number: u64, mut value: impl FnMut(usize) -> Value<'a>) -> Result<()> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(EncodingError::WriterFailed);
        }
        let rows = self.rows.checked_add(1).ok_or(EncodingError::RowCount { rows: 1 << 32 })?;
        let index = self.numbers.len();
        for (column, writer) in self.columns.iter_mut().enumerate() {
            writer.push(column, index, value(column), &mut self.meter)?;
        }
        self.numbers.push(row_number);
        self.increasing &= self.bounds.is_none() || row_number > self.last;
        self.last = row_number;
        let (first, last) = self.bounds.unwrap_or((row_number, row_number));
        self.bounds = Some((first.min(row_number), last.max(row_number)));
        self.rows = rows;
        if self.numbers.len() >= self.limits.vector_rows || self.meter.pending >= self.limits.vector_bytes {
            self.close_vector()?;
        }
        self.failed = false;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        let numbers = self.numbers.capacity() * size_of::<u64>() + self.row_blocks.capacity();
        let entries = size_of_val(self.row_entries.as_slice()) + size_of_val(self.starts.as_slice());
        let columns = self.columns.len() * (size_of::<ColumnWriter>() + size_of::<Collector>());
        self.meter.held + numbers + entries + columns + self.sampler.memory() + self.workspace.encoder.memory()
    }

    /// Closes the stripe. A stripe without rows is an error.
    pub fn finish(mut self) -> Result<Finished> {
        if self.failed {
            return Err(EncodingError::WriterFailed);
        }
        let (first_row, last_row) = self.bounds.ok_or(EncodingError::RowCount { rows: 0 })?;
        if !self.numbers.is_empty() {
            self.close_vector()?;
        }
        let row_numbers = match self.increasing {
            true if last_row - first_row == u64::from(self.rows) - 1 => RowNumbers::Dense,
            true => RowNumbers::Listed(self.row_entries),
            false => RowNumbers::Permuted(self.row_entries),
        };
        let mut pieces = with_capacity(self.columns.len() + 4)?;
        let (mut directories, mut statistics, mut filters) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = with_capacity(self.columns.len())?;
        let keep = (self.starts.len() > MAX_VECTORS_WITHOUT + 1).then(|| self.sampler.conclude());
        for mut column in self.columns {
            keep.iter().for_each(|keep| column.thin_out(keep));
            let mut parts = column.into_parts();
            let mut entry = encode_directory(&parts, &mut directories)?;
            entry.filter_blocks = append_filter(&mut parts, &mut filters)?;
            if let (Some(_), Some(collector)) = (keep, &parts.statistics) {
                let encoded = collector.encode(parts.column_type, &mut self.workspace, &mut self.meter)?;
                entry.statistics_len = encoded.len() as u32;
                reserve(&mut statistics, encoded.len())?;
                statistics.extend_from_slice(&encoded);
            }
            entries.push(entry);
            pieces.push(parts.stored);
        }
        let footer = Footer::new(first_row..=last_row, entries, self.starts, row_numbers)?;
        let encoded = footer.encode()?;
        let summary = summarise(&footer, encoded.len())?;
        pieces.extend([directories, self.row_blocks, statistics, filters, encoded]);
        pieces.retain(|piece| !piece.is_empty());
        Ok(Finished { pieces, summary })
    }

    fn close_vector(&mut self) -> Result<()> {
        let rows = self.numbers.len();
        self.sampler.choose(self.numbers.first().copied().unwrap_or(0), rows);
        for column in &mut self.columns {
            column.close(rows, &mut self.workspace, &mut self.meter, self.sampler.picks())?;
        }
        if let Some(keep) = self.sampler.thin_out() {
            self.columns.iter_mut().for_each(|column| column.thin_out(keep));
        }
        reserve(&mut self.row_entries, 1)?;
        reserve(&mut self.starts, 1)?;
        self.row_entries.push(encode_block(&self.numbers, &mut self.scratch, &mut self.row_blocks)?);
        self.starts.push(self.rows);
        self.numbers.clear();
        self.meter.pending = 0;
        Ok(())
    }
}

/// Appends the Bloom filter of a column if it is to have one and that is of use; returns its number of blocks.
fn append_filter(parts: &mut ColumnParts, filters: &mut Vec<u8>) -> Result<u32> {
    let hashes = parts.hashes.take().filter(|hashes| !hashes.is_empty() && bloom::is_of_use(&parts.entries));
    let Some(hashes) = hashes else { return Ok(0) };
    let (filter, blocks) = bloom::build(hashes)?;
    reserve(filters, filter.len())?;
    filters.extend_from_slice(&filter);
    Ok(blocks)
}

/// Appends the directory of a column and describes the column for the footer.
fn encode_directory(parts: &ColumnParts, directories: &mut Vec<u8>) -> Result<ColumnEntry> {
    let start = directories.len();
    let order = parts.column_type.order;
    reserve(directories, super::directory::directory_len(order, parts.entries.len()))?;
    for entry in &parts.entries {
        entry.encode(order, directories);
    }
    Ok(ColumnEntry {
        column_type: parts.column_type,
        data_offset: 0,
        data_len: parts.stored.len() as u64,
        raw_len: parts.raw_len,
        plain_len: parts.plain_len,
        null_count: parts.null_count,
        directory_checksum: checksum(directories.get(start..).unwrap_or_default()),
        statistics_offset: 0,
        statistics_len: 0,
        filter_blocks: 0,
        zone: parts.zone,
    })
}

fn summarise(footer: &Footer, footer_len: usize) -> Result<StripeSummary> {
    let too_large =
        |_| EncodingError::TooLarge { what: "stripe footer", len: footer_len as u64, limit: u32::MAX.into() };
    Ok(StripeSummary {
        row_count: footer.row_count(),
        column_count: footer.columns().len() as u16,
        first_row: footer.first_row(),
        last_row: footer.last_row(),
        plain_bytes: footer.plain_bytes(),
        len: footer.offset() + footer_len as u64,
        footer_offset: footer.offset(),
        footer_len: u32::try_from(footer_len).map_err(too_large)?,
    })
}
