//! What the planner is told of a column of a stripe: how many values are different, and a sample of them.

use super::bytes::{Cursor, reserve, seal, unseal};
use super::column::{ColumnWriter, Meter, Workspace};
use super::decode::Decoder;
use super::directory::VectorEntry;
use super::integers::IntegerScratch;
use super::sample::SampledValues;
use super::selection::Selection;
use super::sketch::Sketch;
use super::types::{ColumnType, MAX_VECTOR_ROWS, Order, Value};
use super::vector::Vector;
use super::{EncodingError, Result};

const WHAT: &str = "column statistics";

/// A stripe has statistics if it has more vectors: of fewer ones whoever wants to know reads the values themselves.
pub const MAX_VECTORS_WITHOUT: usize = 16;

/// Bytes that a sample has at most before compression: values up to a kilobyte with what they take besides.
const MAX_RAW: usize = MAX_VECTOR_ROWS * (1024 + 64);

/// A column's statistics while its stripe is written.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub distinct: Sketch,
    pub sample: SampledValues,
}

impl Collector {
    /// The statistics as they are stored.
    pub fn encode(&self, column: ColumnType, workspace: &mut Workspace, meter: &mut Meter) -> Result<Vec<u8>> {
        let mut writer = ColumnWriter::new(column, false);
        let values = self.sample.values();
        let rows = values.len();
        for (row, value) in values.enumerate() {
            writer.push(0, row, value.map_or(Value::Null, Value::Bytes), meter)?;
        }
        if rows > 0 {
            writer.close(rows, workspace, meter, &[])?;
        }
        let parts = writer.into_parts();
        let Some(entry) = parts.entries.first() else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        reserve(&mut out, parts.stored.len() + 512)?;
        out.extend_from_slice(&entry.rows.to_le_bytes());
        out.extend_from_slice(&self.sample.wide().to_le_bytes());
        self.distinct.encode(&mut IntegerScratch::default(), &mut out)?;
        entry.encode(Order::None, &mut out);
        out.extend_from_slice(&parts.stored);
        seal(&mut out, 0)?;
        Ok(out)
    }
}

/// The statistics of a column of a stripe.
#[derive(Debug)]
pub struct ColumnStatistics {
    /// The values that are different.
    pub distinct: Sketch,
    /// The values of some rows in their order; those that are too long are NULL, too.
    pub sample: Vector,
    /// How many of the NULLs are values that are too long.
    pub wide: usize,
}

impl ColumnStatistics {
    /// Reads what the writer of the stripe wrote.
    pub fn parse(bytes: &[u8], column: &ColumnType, decoder: &mut Decoder) -> Result<Self> {
        let mut cursor = Cursor::new(unseal(bytes, WHAT)?, WHAT);
        let (rows, wide) = (cursor.u16()?, cursor.u16()?);
        let distinct = Sketch::decode(&mut cursor, &mut IntegerScratch::default())?;
        let entry = VectorEntry::decode(&mut cursor, Order::None, 0, rows)?;
        if rows == 0 || usize::from(rows) > MAX_VECTOR_ROWS || wide > entry.null_count {
            return Err(EncodingError::inconsistent(WHAT, "its sample has more rows or fewer NULLs than it can have"));
        }
        let mut sample = decoder.decode(column, &entry, cursor.rest(), MAX_RAW, Vector::default())?;
        sample.finish(&Selection::first(MAX_VECTOR_ROWS))?;
        Ok(ColumnStatistics { distinct, sample, wide: wide.into() })
    }
}
