//! Choosing how a vector is written, and writing it.

use super::bytes::{align_up, reserve};
use super::compress::{Method, VectorCompressor};
use super::decimal::{Decimal, POWERS};
use super::dictionary::Dictionary;
use super::floats::FloatEncoder;
use super::fsst::FsstEncoder;
use super::integers::{self, IntegerScratch};
use super::numbers::{each, load_integers};
use super::patience::{Habits, Patience};
use super::sketch::Sketch;
use super::types::{ColumnType, Order, Physical, stride};
use super::values::{padding, skip_padding};
use super::zone::{Zone, is_set, scaled_zone, zone_of};
use super::{Encoding, Result};

/// Values of a vector that is about to be closed.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub column: ColumnType,
    pub rows: usize,
    pub null_count: usize,
    /// Values as they lie in memory, NULLs of a fixed length as zeros.
    pub data: &'a [u8],
    /// Ends of the values of variable length; a NULL ends where its predecessor does.
    pub ends: &'a [u32],
    /// NULL bitmap, empty without NULLs.
    pub nulls: &'a [u8],
}

impl<'a> Source<'a> {
    pub fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_empty() && is_set(self.nulls, row)
    }

    /// All values but NULLs.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> {
        self.all().flatten()
    }

    /// The values of all rows, `None` for a NULL.
    #[inline]
    pub fn all(&self) -> Rows<'a> {
        Rows { source: *self, row: 0, end: 0 }
    }

    /// A value, `None` if it is NULL.
    pub fn value(&self, row: usize) -> Option<&'a [u8]> {
        if self.is_null(row) {
            return None;
        }
        let before = || row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        let range = match self.column.physical {
            Physical::Fixed { len } => row * stride(len)..row * stride(len) + usize::from(len),
            Physical::CString => before()..*self.ends.get(row)? as usize,
            Physical::Varlena { align } => skip_padding(self.data, before(), align)..*self.ends.get(row)? as usize,
        };
        self.data.get(range)
    }
}

/// Goes through the values of a vector.
pub(super) struct Rows<'a> {
    source: Source<'a>,
    row: usize,
    /// Where the value before ends, of a variable length.
    end: usize,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Rows { source, row, end } = self;
        if *row >= source.rows {
            return None;
        }
        let range = match source.column.physical {
            Physical::Fixed { len } => *row * stride(len)..*row * stride(len) + usize::from(len),
            Physical::CString => *end..*source.ends.get(*row)? as usize,
            Physical::Varlena { align } => skip_padding(source.data, *end, align)..*source.ends.get(*row)? as usize,
        };
        let is_null = source.is_null(*row);
        *row += 1;
        if is_null {
            return Some(None);
        }
        *end = range.end;
        Some(source.data.get(range))
    }
}

/// Buffers for writing vectors, shared by all columns.
pub(super) struct VectorEncoder {
    compressor: VectorCompressor,
    integers: Vec<i64>,
    scratch: IntegerScratch,
    floats: FloatEncoder,
    dictionary: Dictionary,
    fsst: FsstEncoder,
    /// The vector before compression.
    payload: Vec<u8>,
}

impl VectorEncoder {
    pub fn new(compressor: VectorCompressor) -> Self {
        VectorEncoder {
            compressor,
            integers: Vec::new(),
            scratch: IntegerScratch::default(),
            floats: FloatEncoder::default(),
            dictionary: Dictionary::default(),
            fsst: FsstEncoder::default(),
            payload: Vec::new(),
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let lists = self.integers.capacity() * 8 + self.floats.memory();
        let parts = self.scratch.memory() + self.dictionary.memory() + self.fsst.memory() + self.compressor.memory();
        lists + parts + self.payload.capacity()
    }

    /// Gives buffers back that have more than `limit` bytes.
    pub fn trim(&mut self, limit: usize) {
        if self.payload.capacity() > limit {
            self.payload = Vec::new();
        }
        self.fsst.trim(limit);
        self.compressor.trim(limit);
    }

    /// The vector as it is to be stored. Its values go into the sketch.
    pub fn encode(
        &mut self,
        source: &Source<'_>,
        habits: &mut Habits,
        distinct: Option<&mut Sketch>,
    ) -> Result<Encoded<'_>> {
        self.payload.clear();
        if source.null_count == source.rows {
            return Ok(Encoded { encoding: Encoding::Plain, zone: None, raw: 0, method: Method::None, stored: &[] });
        }
        let head = align_up(source.nulls.len(), 8);
        reserve(&mut self.payload, head)?;
        self.payload.extend_from_slice(source.nulls);
        self.payload.resize(head, 0);
        let (encoding, zone) = self.append_values(source, &mut habits.dictionary)?;
        if let Some(sketch) = distinct {
            self.add_distinct(source, encoding, sketch);
        }
        // Numbers that are packed well gain little, and every scan would pay for it.
        let eighths = if encoding.is_packed() { 7 } else { 8 };
        let limit = if habits.compression.tries() { self.payload.len() * eighths / 8 } else { 0 };
        let symbols_pay = !self.compressor.counts();
        let (method, stored) = self.compressor.compress(&self.payload, limit)?;
        if limit > 0 {
            habits.compression.note(method != Method::None);
        }
        if encoding == Encoding::Plain && symbols_pay && matches!(source.column.physical, Physical::Varlena { .. }) {
            // To expand codes takes about as long as to decompress LZ4, and plain values are there at once.
            let most = (self.payload.len() * 7 / 8).min(stored.len() * 15 / 16);
            let head = self.payload.get(..head).unwrap_or_default();
            let (fsst, scratch, lessons) = (&mut self.fsst, &mut self.scratch, &mut habits.lessons);
            if habits.symbols.attempt(|| fsst.encode(source, head, most, lessons, scratch))? {
                let stored = self.fsst.payload.as_slice();
                return Ok(Encoded { encoding: Encoding::Fsst, zone, raw: stored.len(), method: Method::None, stored });
            }
        }
        Ok(Encoded { encoding, zone, raw: self.payload.len(), method, stored })
    }

    /// Appends the values in the form that suits them, and finds their zone.
    fn append_values(&mut self, source: &Source<'_>, patience: &mut Patience) -> Result<(Encoding, Option<Zone>)> {
        let encoding = match (source.column.physical, source.column.order) {
            (Physical::Fixed { len: 8 }, Order::Float8) => {
                Some(self.floats.encode(source, f64::from_le_bytes, &mut self.payload)?)
            }
            (Physical::Fixed { len: 4 }, Order::Float4) => {
                Some(self.floats.encode(source, f32::from_le_bytes, &mut self.payload)?)
            }
            (Physical::Fixed { len: 1 | 2 | 4 | 8 }, _) => {
                load_integers(source, &mut self.integers)?;
                integers::encode(&self.integers, &mut self.scratch, &mut self.payload)?;
                Some(Encoding::Integers)
            }
            (_, Order::Decimal) => match self.append_decimals(source)? {
                Some(zone) => return Ok((Encoding::Decimal, Some(zone))),
                None => None,
            },
            _ => None,
        };
        let fixed = matches!(source.column.physical, Physical::Fixed { len: 1 | 2 | 4 | 8 });
        if encoding.is_none() && !fixed && patience.attempt(|| self.append_dictionary(source))? {
            // Every value is one of those in the dictionary.
            let zone = zone_of(source, self.dictionary.firsts().iter().map(|row| *row as usize));
            return Ok((Encoding::Dictionary, zone));
        }
        if encoding.is_none() {
            reserve(&mut self.payload, source.data.len())?;
            self.payload.extend_from_slice(source.data);
        }
        Ok((encoding.unwrap_or(Encoding::Plain), zone_of(source, 0..source.rows)))
    }

    /// Adds the values that were appended to a sketch, in the cheapest of their forms.
    fn add_distinct(&self, source: &Source<'_>, encoding: Encoding, sketch: &mut Sketch) {
        let add = |value| sketch.add(&source.column, value);
        match encoding {
            _ if source.column.order == Order::Float8 => sketch.add_floats(each(source, f64::from_le_bytes)),
            _ if source.column.order == Order::Float4 => {
                sketch.add_floats(each(source, |bytes| f32::from_le_bytes(bytes).into()))
            }
            Encoding::Integers => sketch.add_integers(&self.integers),
            Encoding::Decimal => {
                if let [scale, unit, ..] = self.payload.get(align_up(source.nulls.len(), 8)..).unwrap_or_default() {
                    sketch.add_decimals(&self.integers, *unit, *scale);
                }
            }
            Encoding::Dictionary => {
                self.dictionary.firsts().iter().filter_map(|row| source.value(*row as usize)).for_each(add);
            }
            Encoding::Plain | Encoding::Fsst | Encoding::Alp | Encoding::AlpRd => source.values().for_each(add),
        }
    }

    /// Appends numerics as integers and returns their zone; `None`, and nothing appended, if they differ in their decimal places or do not
    /// fit.
    fn append_decimals(&mut self, source: &Source<'_>) -> Result<Option<Zone>> {
        self.integers.clear();
        reserve(&mut self.integers, source.rows)?;
        let Some(first) = source.values().next().and_then(Decimal::parse) else {
            return Ok(None);
        };
        let mut last = first.value;
        let mut unit = first.scale;
        for value in source.all() {
            if let Some(bytes) = value {
                match Decimal::parse(bytes) {
                    Some(decimal) if decimal.scale == first.scale => last = decimal.value,
                    _ => return Ok(None),
                }
                while unit > 0 && !last.unsigned_abs().is_multiple_of(POWERS[usize::from(unit)]) {
                    unit -= 1;
                }
            }
            self.integers.push(last);
        }
        let divisor = POWERS[usize::from(unit)] as i64;
        if unit > 0 {
            self.integers.iter_mut().for_each(|value| *value /= divisor);
        }
        self.payload.extend([first.scale, unit]);
        integers::encode(&self.integers, &mut self.scratch, &mut self.payload)?;
        let ends = self.integers.iter().min().into_iter().chain(self.integers.iter().max());
        Ok(ends.map(|end| scaled_zone(*end, divisor, first.scale)).reduce(Zone::union))
    }

    /// Appends distinct values and codes; false, and nothing appended, if that would not be shorter.
    fn append_dictionary(&mut self, source: &Source<'_>) -> Result<bool> {
        let values = source.rows - source.null_count;
        if !self.dictionary.build(source.rows, values / 2, |row| source.value(row))? {
            return Ok(false);
        }
        let entries = self.dictionary.firsts().iter().filter_map(|row| source.value(*row as usize));
        let entries_len: usize = entries.clone().map(|value| value.len() + 4).sum();
        if entries_len + self.dictionary.codes_len() >= source.data.len() {
            return Ok(false);
        }
        reserve(&mut self.payload, entries_len + 8)?;
        self.dictionary.encode(&mut self.payload)?;
        let start = self.payload.len();
        let entries = self.dictionary.firsts().iter().filter_map(|row| source.value(*row as usize));
        for value in entries {
            let len = self.payload.len() - start;
            let padding = padding(source.column.physical, value, len);
            reserve(&mut self.payload, padding + value.len())?;
            self.payload.resize(start + len + padding, 0);
            self.payload.extend_from_slice(value);
        }
        Ok(true)
    }
}

/// A vector as it is to be stored.
pub(super) struct Encoded<'a> {
    pub encoding: Encoding,
    /// Bounds of the values. `None` without an order or without a value.
    pub zone: Option<Zone>,
    /// Bytes before compression.
    pub raw: usize,
    pub method: Method,
    pub stored: &'a [u8],
}
