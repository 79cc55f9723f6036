//! Reading vectors from their stored bytes.

use super::alp::{self, Float};
use super::bytes::{Cursor, checksum, reserve};
use super::compress::{Method, decompress};
use super::decimal::{MAX_SCALE, POWERS};
use super::directory::VectorEntry;
use super::fsst_decode::FsstDecoder;
use super::integers::{self, IntegerScratch};
use super::types::{ColumnType, Physical, stride};
use super::values::next_value;
use super::vector::{Vector, bitmap_len};
use super::zone::is_set;
use super::{AlignedBuf, Encoding, EncodingError, Result, alp_rd, dictionary};

const WHAT: &str = "vector";

/// Integers that are copied at a time: for 2 KiB and more C libraries use an instruction that takes some processors four times as long.
const COPIED: usize = 128;

/// Buffers that decoding needs and a vector does not keep.
#[derive(Debug, Default)]
pub struct Decoder {
    payload: AlignedBuf,
    integers: Vec<i64>,
    scratch: IntegerScratch,
    codes: Vec<i64>,
    /// Made when the first text with symbols comes.
    fsst: Option<Box<FsstDecoder>>,
}

/// What is being decoded.
struct Job<'a> {
    physical: Physical,
    rows: usize,
    payload: &'a [u8],
    /// Most bytes that values may take.
    max: usize,
}

impl Decoder {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        let lists = (self.integers.capacity() + self.codes.capacity()) * 8;
        let fsst = self.fsst.as_ref().map_or(0, |fsst| fsst.memory());
        self.payload.capacity() + lists + self.scratch.memory() + fsst
    }

    /// Decodes the stored bytes of a vector; `recycled` lends its memory. [`Vector::finish`] makes its values ready.
    ///
    /// Verifies the checksum, and that every value lies within the bytes and has a header or NUL byte to match, so that values
    /// may be used as they are. At most `max_raw` bytes are decompressed; [`MAX_VECTOR_BYTES`](super::MAX_VECTOR_BYTES) suits
    /// whoever knows no better limit.
    pub fn decode(
        &mut self,
        column: &ColumnType,
        entry: &VectorEntry,
        bytes: &[u8],
        max_raw: usize,
        recycled: Vector,
    ) -> Result<Vector> {
        if bytes.len() != entry.stored_len as usize {
            return Err(EncodingError::truncated(WHAT, entry.stored_len as usize, bytes.len()));
        }
        if checksum(bytes) != entry.checksum {
            return Err(EncodingError::Checksum { what: WHAT });
        }
        let raw_len = entry.raw_len as usize;
        if raw_len > max_raw {
            return Err(EncodingError::TooLarge { what: WHAT, len: raw_len as u64, limit: max_raw as u64 });
        }
        let mut vector = recycled;
        vector.physical = column.physical;
        vector.rows = usize::from(entry.rows);
        vector.null_count = usize::from(entry.null_count);
        vector.base = 0;
        vector.starts.clear();
        vector.codes.clear();
        vector.entries.clear();
        let mut payload = std::mem::take(&mut self.payload);
        let result = self.fill(&mut vector, entry, bytes, max_raw, &mut payload);
        self.payload = payload;
        result.map(|()| vector)
    }

    fn fill(
        &mut self,
        vector: &mut Vector,
        entry: &VectorEntry,
        bytes: &[u8],
        max: usize,
        buffer: &mut AlignedBuf,
    ) -> Result<()> {
        let raw_len = entry.raw_len as usize;
        vector.nulls.clear();
        if entry.encoding != Encoding::Decimal || vector.null_count == vector.rows {
            vector.decimals = None;
        }
        if vector.null_count == vector.rows {
            return if raw_len == 0 { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "its NULLs have bytes")) };
        }
        let bitmap = bitmap_len(vector.rows, vector.null_count);
        if entry.encoding.is_plain() {
            decompress(entry.compression, bytes, vector.data.prepare(raw_len)?)?;
            take_nulls(&mut vector.nulls, vector.data.as_slice(), bitmap, vector.rows, vector.null_count)?;
            return plain(vector, bitmap);
        }
        let payload = if entry.compression == Method::None {
            bytes
        } else {
            decompress(entry.compression, bytes, buffer.prepare(raw_len)?)?;
            buffer.as_slice()
        };
        take_nulls(&mut vector.nulls, payload, bitmap, vector.rows, vector.null_count)?;
        let payload = payload.get(bitmap..).unwrap_or_default();
        let job = Job { physical: vector.physical, rows: vector.rows, payload, max };
        match entry.encoding {
            Encoding::Plain => Ok(()),
            Encoding::Integers => self.integers(&job, vector),
            Encoding::Alp => self.alp(&job, vector),
            Encoding::AlpRd => self.alp_rd(&job, vector),
            Encoding::Dictionary => self.dictionary(&job, vector),
            Encoding::Decimal => self.decimal(&job, vector),
            Encoding::Fsst => self.fsst(&job, vector),
        }
    }

    /// A buffer with a place for each row.
    fn places(list: &mut Vec<i64>, rows: usize) -> Result<()> {
        list.clear();
        reserve(list, rows)?;
        list.resize(rows, 0);
        Ok(())
    }

    fn integers(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        let mut cursor = Cursor::new(job.payload, WHAT);
        Self::places(&mut self.integers, job.rows)?;
        integers::decode(&mut cursor, &mut self.integers, &mut self.scratch)?;
        cursor.finish()?;
        match job.physical {
            Physical::Fixed { len: 8 } => narrow(&self.integers, vector, |value| value.to_le_bytes()),
            Physical::Fixed { len: 4 } => narrow(&self.integers, vector, |value| (value as i32).to_le_bytes()),
            Physical::Fixed { len: 2 } => narrow(&self.integers, vector, |value| (value as i16).to_le_bytes()),
            Physical::Fixed { len: 1 } => narrow(&self.integers, vector, |value| [value as u8]),
            _ => Err(misplaced()),
        }
    }

    fn alp(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        match job.physical {
            Physical::Fixed { len: 8 } => self.alp_of::<f64, 8>(job, vector, f64::to_le_bytes),
            Physical::Fixed { len: 4 } => self.alp_of::<f32, 4>(job, vector, f32::to_le_bytes),
            _ => Err(misplaced()),
        }
    }

    fn alp_of<F: Float, const LEN: usize>(
        &mut self,
        job: &Job<'_>,
        vector: &mut Vector,
        bytes_of: impl Fn(F) -> [u8; LEN],
    ) -> Result<()> {
        let mut cursor = Cursor::new(job.payload, WHAT);
        Self::places(&mut self.integers, job.rows)?;
        let (out, _) = vector.data.prepare(job.rows * LEN)?.as_chunks_mut::<LEN>();
        alp::decode(&mut cursor, &mut self.integers, &mut self.scratch, out, bytes_of)?;
        cursor.finish()
    }

    fn alp_rd(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        if job.physical != (Physical::Fixed { len: 8 }) {
            return Err(misplaced());
        }
        let mut cursor = Cursor::new(job.payload, WHAT);
        Self::places(&mut self.integers, job.rows)?;
        alp_rd::decode(&mut cursor, &mut self.integers, &mut self.codes)?;
        cursor.finish()?;
        narrow(&self.integers, vector, |value| value.to_le_bytes())
    }

    fn dictionary(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        let mut cursor = Cursor::new(job.payload, WHAT);
        Self::places(&mut self.codes, job.rows)?;
        let count = dictionary::decode(&mut cursor, &mut self.codes)?;
        let entries = cursor.rest();
        if let Physical::Fixed { len } = job.physical {
            return fixed_entries(&self.codes, entries, len, count, vector);
        }
        vector.data.prepare(entries.len())?.copy_from_slice(entries);
        reserve(&mut vector.entries, count)?;
        let mut end = 0;
        for _ in 0..count {
            let range = next_value(job.physical, entries, end).ok_or_else(ill_formed)?;
            vector.entries.push(range.start as u32);
            end = range.end;
        }
        if end != entries.len() {
            return Err(EncodingError::inconsistent(WHAT, "it has bytes that belong to no value"));
        }
        reserve(&mut vector.starts, job.rows)?;
        reserve(&mut vector.codes, job.rows)?;
        vector.codes.extend(self.codes.iter().map(|code| *code as u16));
        let starts = &vector.entries;
        vector.starts.extend(self.codes.iter().map(|code| starts.get(*code as usize).copied().unwrap_or(0)));
        Ok(())
    }

    fn decimal(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        if !matches!(job.physical, Physical::Varlena { .. }) {
            return Err(misplaced());
        }
        let mut cursor = Cursor::new(job.payload, WHAT);
        let (scale, unit) = (cursor.u8()?, cursor.u8()?);
        if scale > MAX_SCALE || unit > MAX_SCALE {
            return Err(EncodingError::inconsistent(WHAT, "its decimals have impossible places"));
        }
        let decimals = vector.decimals.get_or_insert_default();
        (decimals.scale, decimals.unit) = (scale, POWERS[usize::from(unit)] as i64);
        Self::places(&mut decimals.integers, job.rows)?;
        integers::decode(&mut cursor, &mut decimals.integers, &mut self.scratch)?;
        cursor.finish()
    }

    fn fsst(&mut self, job: &Job<'_>, vector: &mut Vector) -> Result<()> {
        let Physical::Varlena { align } = job.physical else { return Err(misplaced()) };
        self.fsst.get_or_insert_default().decode(job.payload, align, job.max, &mut self.scratch, vector)
    }
}

fn misplaced() -> EncodingError {
    EncodingError::inconsistent(WHAT, "its encoding does not fit its type")
}

fn ill_formed() -> EncodingError {
    EncodingError::inconsistent(WHAT, "a value does not fit its length")
}

/// Copies the NULL bitmap, which has to have as many bits as there are NULLs.
fn take_nulls(nulls: &mut Vec<u8>, payload: &[u8], len: usize, rows: usize, null_count: usize) -> Result<()> {
    let bitmap = payload.get(..len).ok_or_else(|| EncodingError::truncated(WHAT, len, payload.len()))?;
    let count: usize = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
    if len > 0 && (count != null_count || (rows..len * 8).any(|row| is_set(bitmap, row))) {
        return Err(EncodingError::inconsistent(WHAT, "its NULLs are not as many as it states"));
    }
    reserve(nulls, len)?;
    nulls.extend_from_slice(bitmap);
    Ok(())
}

/// Uses values where they lie behind the bitmap.
fn plain(vector: &mut Vector, bitmap: usize) -> Result<()> {
    let data = vector.data.as_slice();
    if let Physical::Fixed { len } = vector.physical {
        vector.base = bitmap;
        let fits = data.len() == bitmap + vector.rows * stride(len);
        return if fits { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "its length does not fit its rows")) };
    }
    reserve(&mut vector.starts, vector.rows)?;
    let mut end = bitmap;
    for row in 0..vector.rows {
        if bitmap > 0 && is_set(&vector.nulls, row) {
            vector.starts.push(0);
            continue;
        }
        let range = next_value(vector.physical, data, end).ok_or_else(ill_formed)?;
        vector.starts.push(range.start as u32);
        end = range.end;
    }
    if end == data.len() {
        Ok(())
    } else {
        Err(EncodingError::inconsistent(WHAT, "it has bytes that belong to no value"))
    }
}

/// Writes integers as values of `LEN` bytes.
fn narrow<const LEN: usize>(integers: &[i64], vector: &mut Vector, bytes_of: impl Fn(i64) -> [u8; LEN]) -> Result<()> {
    let (out, _) = vector.data.prepare(integers.len() * LEN)?.as_chunks_mut::<LEN>();
    for (places, integers) in out.chunks_mut(COPIED).zip(integers.chunks(COPIED)) {
        places.iter_mut().zip(integers).for_each(|(place, integer)| *place = bytes_of(*integer));
    }
    Ok(())
}

/// Copies the entry of each code.
fn fixed_entries(codes: &[i64], entries: &[u8], len: u16, count: usize, vector: &mut Vector) -> Result<()> {
    let (len, stride) = (usize::from(len), stride(len));
    if entries.len() != count * len {
        return Err(EncodingError::inconsistent(WHAT, "its length does not fit its values"));
    }
    let out = vector.data.prepare(codes.len() * stride)?;
    for (place, code) in out.chunks_exact_mut(stride).zip(codes) {
        let entry = entries.get(*code as usize * len..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        if let Some(place) = place.get_mut(..entry.len()) {
            place.copy_from_slice(entry);
        }
    }
    Ok(())
}
