//! One column of a stripe that is being written.

use super::bloom::{equality_hash, has_equality_hash};
use super::bytes::{align_up, checksum, reserve};
use super::directory::VectorEntry;
use super::encode::{Source, VectorEncoder};
use super::patience::Habits;
use super::statistics::Collector;
use super::types::{ColumnType, MAX_SHORT_CONTENT, MAX_VECTOR_BYTES, MAX_VECTOR_ROWS, Physical, Value, stride};
use super::values::varlena_len;
use super::zone::Zone;
use super::{EncodingError, Result};

/// Why a value does not fit its column; the caller adds which column.
type Defect = &'static str;

/// Bytes that a writer holds, kept up to date where buffers grow.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes allocated by all columns.
    pub held: usize,
    /// Bytes of the rows in the open vector.
    pub pending: usize,
}

impl Meter {
    /// Makes room in one of a column's buffers.
    #[inline]
    pub fn reserve<T>(&mut self, vec: &mut Vec<T>, extra: usize) -> Result<()> {
        if vec.capacity() - vec.len() < extra { self.grow(vec, extra) } else { Ok(()) }
    }

    #[cold]
    fn grow<T>(&mut self, vec: &mut Vec<T>, extra: usize) -> Result<()> {
        let before = vec.capacity();
        reserve(vec, extra)?;
        self.held += (vec.capacity() - before) * size_of::<T>();
        Ok(())
    }

    /// Empties a buffer, and frees it if it is larger than `limit` bytes.
    fn reset<T>(&mut self, vec: &mut Vec<T>, limit: usize) {
        vec.clear();
        let held = vec.capacity() * size_of::<T>();
        if held > limit {
            *vec = Vec::new();
            self.held -= held;
        }
    }
}

/// What closing a vector works with, shared by all columns.
pub(super) struct Workspace {
    pub encoder: VectorEncoder,
    /// Buffers larger than this are given back after use.
    pub keep: usize,
}

/// A column's closed vectors and the values of the open one.
#[derive(Debug)]
pub(super) struct ColumnWriter {
    column_type: ColumnType,
    /// Stored bytes of closed vectors.
    stored: Vec<u8>,
    entries: Vec<VectorEntry>,
    raw_len: u64,
    plain_len: u64,
    null_count: u32,
    zone: Option<Zone>,
    /// Values of the open vector, padded as on disk.
    data: Vec<u8>,
    /// Ends of its values in `data`; unused for fixed lengths.
    ends: Vec<u32>,
    /// Its NULL bitmap; empty until there is a NULL.
    nulls: Vec<u8>,
    vector_nulls: u16,
    habits: Habits,
    /// Hashes of values, if the column gets a Bloom filter.
    hashes: Option<Vec<u64>>,
    statistics: Option<Box<Collector>>,
}

/// A finished column.
pub(super) struct ColumnParts {
    pub column_type: ColumnType,
    pub stored: Vec<u8>,
    pub entries: Vec<VectorEntry>,
    pub raw_len: u64,
    pub plain_len: u64,
    pub null_count: u32,
    pub zone: Option<Zone>,
    /// Hashes of all values, some of them repeatedly, if the column is to have a Bloom filter.
    pub hashes: Option<Vec<u64>>,
    pub statistics: Option<Box<Collector>>,
}

impl ColumnWriter {
    /// A column, with or without statistics of its values.
    pub fn new(column_type: ColumnType, statistics: bool) -> Self {
        ColumnWriter {
            column_type,
            stored: Vec::new(),
            entries: Vec::new(),
            raw_len: 0,
            plain_len: 0,
            null_count: 0,
            zone: None,
            data: Vec::new(),
            ends: Vec::new(),
            nulls: Vec::new(),
            vector_nulls: 0,
            habits: Habits::default(),
            statistics: statistics.then(Box::default),
            hashes: None,
        }
    }

    /// Makes a Bloom filter of the column's values, if they are of a type that can have one.
    pub fn with_filter(mut self) -> Self {
        self.hashes = has_equality_hash(self.column_type.order).then(Vec::new);
        self
    }

    /// Appends the value of row `row` of the open vector; `column` is for errors. Inlined with what it calls for each value of a load, which the
    /// compiler would not do by itself, for it is called elsewhere too.
    #[inline(always)]
    pub fn push(&mut self, column: usize, row: usize, value: Value<'_>, meter: &mut Meter) -> Result<()> {
        match (self.column_type.physical, value) {
            (_, Value::Null) => self.push_null(row, meter),
            (Physical::Fixed { len: 8 }, Value::Word(word)) => self.push_array(word.to_le_bytes(), meter),
            (Physical::Fixed { len: 4 }, Value::Word(word)) => self.push_array((word as u32).to_le_bytes(), meter),
            (Physical::Fixed { len: 2 }, Value::Word(word)) => self.push_array((word as u16).to_le_bytes(), meter),
            (Physical::Fixed { len: 1 }, Value::Word(word)) => self.push_array([word as u8], meter),
            (Physical::Varlena { .. }, Value::Short(content)) => self.push_short(column, content, meter),
            (_, Value::Bytes(bytes)) => self.push_bytes(column, bytes, meter),
            (_, Value::Short(_)) => Err(invalid(column, "a varlena is no value of this type")),
            (_, Value::Word(_)) => Err(invalid(column, "a word is no value of this type")),
        }
    }

    #[inline]
    fn push_array<const LEN: usize>(&mut self, bytes: [u8; LEN], meter: &mut Meter) -> Result<()> {
        meter.reserve(&mut self.data, LEN)?;
        self.data.extend_from_slice(&bytes);
        meter.pending += LEN;
        Ok(())
    }

    fn push_null(&mut self, row: usize, meter: &mut Meter) -> Result<()> {
        if self.nulls.is_empty() {
            meter.reserve(&mut self.nulls, MAX_VECTOR_ROWS / 8)?;
            self.nulls.resize(MAX_VECTOR_ROWS / 8, 0);
        }
        if let Some(byte) = self.nulls.get_mut(row / 8) {
            *byte |= 1 << (row % 8);
        }
        self.vector_nulls += 1;
        match self.column_type.physical {
            Physical::Fixed { len } => self.push_padded(&[], stride(len), meter),
            Physical::Varlena { .. } | Physical::CString => self.push_end(meter),
        }
    }

    #[inline(always)]
    fn push_bytes(&mut self, column: usize, bytes: &[u8], meter: &mut Meter) -> Result<()> {
        let padding = self.padding(bytes).map_err(|detail| invalid(column, detail))?;
        match self.column_type.physical {
            Physical::Fixed { len } => self.push_padded(bytes, stride(len), meter),
            Physical::Varlena { .. } | Physical::CString => {
                meter.reserve(&mut self.data, padding + bytes.len())?;
                self.data.resize(self.data.len() + padding, 0);
                self.data.extend_from_slice(bytes);
                meter.pending += padding + bytes.len();
                self.push_end(meter)
            }
        }
    }

    #[inline(always)]
    fn push_short(&mut self, column: usize, content: &[u8], meter: &mut Meter) -> Result<()> {
        if content.len() > MAX_SHORT_CONTENT {
            return Err(invalid(column, "it is too long for a header of one byte"));
        }
        meter.reserve(&mut self.data, 1 + content.len())?;
        self.data.push(((content.len() as u8 + 1) << 1) | 1);
        self.data.extend_from_slice(content);
        meter.pending += 1 + content.len();
        self.push_end(meter)
    }

    /// Bytes of padding that a value needs in front of it, if it is one of the column's type.
    #[inline]
    fn padding(&self, bytes: &[u8]) -> Result<usize, Defect> {
        match self.column_type.physical {
            Physical::Fixed { len } if bytes.len() == usize::from(len) => Ok(0),
            Physical::Fixed { .. } => Err("its length is not that of the type"),
            Physical::CString if bytes.last() == Some(&0) => Ok(0),
            Physical::CString => Err("it does not end with a NUL byte"),
            Physical::Varlena { align } => match varlena_len(bytes) {
                Some(len) if len != bytes.len() => Err("its length is not that of its header"),
                Some(len) if bytes.first().is_some_and(|byte| byte & 1 == 0) => {
                    if len < 4 {
                        Err("its header is cut off")
                    } else {
                        Ok(align_up(self.data.len(), usize::from(align)) - self.data.len())
                    }
                }
                Some(_) => Ok(0),
                None => Err("it is stored elsewhere or has no header"),
            },
        }
    }

    fn push_padded(&mut self, bytes: &[u8], len: usize, meter: &mut Meter) -> Result<()> {
        meter.reserve(&mut self.data, len)?;
        let end = self.data.len() + len;
        self.data.extend_from_slice(bytes);
        self.data.resize(end, 0);
        meter.pending += len;
        Ok(())
    }

    #[inline]
    fn push_end(&mut self, meter: &mut Meter) -> Result<()> {
        meter.reserve(&mut self.ends, 1)?;
        self.ends.push(vector_len(self.data.len())?);
        meter.pending += size_of::<u32>();
        Ok(())
    }

    /// Closes the open vector, which has `rows` rows; `picks` are those of the sample.
    pub fn close(&mut self, rows: usize, workspace: &mut Workspace, meter: &mut Meter, picks: &[u16]) -> Result<()> {
        let nulls = usize::from(self.vector_nulls);
        let bitmap =
            if nulls == 0 { &[] } else { self.nulls.get(..align_up(rows.div_ceil(8), 8)).unwrap_or(&self.nulls) };
        let source = Source {
            column: self.column_type,
            rows,
            null_count: nulls,
            data: &self.data,
            ends: &self.ends,
            nulls: bitmap,
        };
        // What the vector takes in memory once it is decoded, about.
        let plain_len =
            if nulls == rows { 0 } else { self.data.len() + self.ends.len() * size_of::<u32>() + bitmap.len() };
        if let Some(hashes) = &mut self.hashes {
            meter.reserve(hashes, rows - nulls)?;
            let of = |value| equality_hash(self.column_type.order, self.column_type.physical, value);
            let all_known = source.values().all(|value| of(value).map(|hash| hashes.push(hash)).is_some());
            // A filter must not deny a value of which it has not heard.
            self.hashes.take_if(|_| !all_known);
        }
        if let Some(statistics) = &mut self.statistics {
            statistics.sample.take(&source, picks, meter)?;
        }
        let distinct = self.statistics.as_mut().map(|statistics| &mut statistics.distinct);
        let encoded = workspace.encoder.encode(&source, &mut self.habits, distinct)?;
        let (raw_len, stored, zone) = (vector_len(encoded.raw)?, encoded.stored, encoded.zone);
        meter.reserve(&mut self.stored, stored.len())?;
        meter.reserve(&mut self.entries, 1)?;
        self.entries.push(VectorEntry {
            offset: self.stored.len() as u64,
            stored_len: vector_len(stored.len())?,
            raw_len,
            rows: rows as u16,
            null_count: self.vector_nulls,
            encoding: encoded.encoding,
            compression: encoded.method,
            checksum: checksum(stored),
            zone,
        });
        self.stored.extend_from_slice(stored);
        self.raw_len += u64::from(raw_len);
        self.plain_len += plain_len as u64;
        self.null_count += u32::from(self.vector_nulls);
        self.zone = self.zone.into_iter().chain(zone).reduce(Zone::union);
        self.reset(workspace, meter);
        Ok(())
    }

    fn reset(&mut self, workspace: &mut Workspace, meter: &mut Meter) {
        meter.reset(&mut self.data, workspace.keep);
        meter.reset(&mut self.ends, usize::MAX);
        if self.vector_nulls > 0 {
            self.nulls.fill(0);
        }
        self.vector_nulls = 0;
        workspace.encoder.trim(workspace.keep);
    }

    /// Keeps the values of some rows of the sample.
    pub fn thin_out(&mut self, keep: &[bool]) {
        if let Some(statistics) = &mut self.statistics {
            statistics.sample.retain(keep);
        }
    }

    /// What goes into the stripe, once the last vector is closed.
    pub fn into_parts(self) -> ColumnParts {
        let ColumnWriter {
            column_type, stored, entries, raw_len, plain_len, null_count, zone, hashes, statistics, ..
        } = self;
        ColumnParts { column_type, stored, entries, raw_len, plain_len, null_count, zone, hashes, statistics }
    }
}

fn invalid(column: usize, detail: Defect) -> EncodingError {
    EncodingError::InvalidValue { column, detail }
}

/// A length within a vector as it is stored.
fn vector_len(len: usize) -> Result<u32> {
    let (wide, limit) = (len as u64, MAX_VECTOR_BYTES as u64);
    let fits = u32::try_from(len).ok().filter(|_| wide <= limit);
    fits.ok_or(EncodingError::TooLarge { what: "vector", len: wide, limit })
}
