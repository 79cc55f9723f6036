//! Vectors in memory: the values of one column for up to 1,024 rows, where they can be used as they lie.

use super::bytes::{align_up, reserve};
use super::decimal::{Decimal, MAX_RENDERED};
use super::selection::Selection;
use super::types::{Physical, stride};
use super::values::value_at;
use super::zone::is_set;
use super::{AlignedBuf, Result};

/// Which values of a vector are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls<'a> {
    None,
    All,
    /// Bit `i % 8` of byte `i / 8` is set if value `i` is NULL; at least one is and at least one is not.
    Some(&'a [u8]),
}

/// Bytes of the NULL bitmap of a vector, none if all values are NULL or none is.
pub(super) fn bitmap_len(rows: usize, null_count: usize) -> usize {
    if (1..rows).contains(&null_count) { align_up(rows.div_ceil(8), 8) } else { 0 }
}

/// Numerics as integers: each is one of these times `unit`, with `scale` decimal places.
#[derive(Debug, Default)]
pub(super) struct Decimals {
    pub integers: Vec<i64>,
    pub scale: u8,
    pub unit: i64,
    /// Where the numeric of each integer lies that has been made, counted from the least integer; unused if there are too many.
    pub rendered: Vec<u32>,
}

/// The values of one column for the rows of one vector.
#[derive(Debug)]
pub struct Vector {
    pub(super) physical: Physical,
    pub(super) rows: usize,
    pub(super) null_count: usize,
    pub(super) nulls: Vec<u8>,
    pub(super) data: AlignedBuf,
    /// Where the first value of a fixed length lies in the data.
    pub(super) base: usize,
    /// Where values of variable length begin; several rows may share a value. Unused for fixed lengths and for NULLs.
    pub(super) starts: Vec<u32>,
    /// Which of the entries each row has, if the values are those of a dictionary.
    pub(super) codes: Vec<u16>,
    /// Where these entries begin.
    pub(super) entries: Vec<u32>,
    /// What numerics are made of, which [`Vector::finish`] does.
    pub(super) decimals: Option<Box<Decimals>>,
}

impl Default for Vector {
    fn default() -> Self {
        Vector {
            physical: Physical::CString,
            rows: 0,
            null_count: 0,
            nulls: Vec::new(),
            data: AlignedBuf::new(),
            base: 0,
            starts: Vec::new(),
            codes: Vec::new(),
            entries: Vec::new(),
            decimals: None,
        }
    }
}

impl Vector {
    /// Rows, NULLs included.
    #[inline]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// How many values are NULL.
    #[cfg(test)]
    pub fn null_count(&self) -> usize {
        self.null_count
    }

    /// Which values are NULL.
    #[inline]
    pub fn nulls(&self) -> Nulls<'_> {
        match self.null_count {
            0 => Nulls::None,
            all if all == self.rows => Nulls::All,
            _ => Nulls::Some(&self.nulls),
        }
    }

    /// Whether value `index` is NULL; so is one that does not exist.
    #[inline]
    pub fn is_null(&self, index: usize) -> bool {
        index >= self.rows
            || match self.nulls() {
                Nulls::None => false,
                Nulls::All => true,
                Nulls::Some(bitmap) => is_set(bitmap, index),
            }
    }

    /// Value `index`, or `None` if it is NULL or does not exist.
    ///
    /// A fixed-length value lies at a multiple of the greatest power of two, up to 8, that divides its stride; a
    /// variable-length one at a multiple of its alignment unless its header is short.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        value_at(self.physical, self.tail(index)?)
    }

    /// The data from value `index` on; `None` if it is NULL or does not exist.
    #[inline]
    pub fn tail(&self, index: usize) -> Option<&[u8]> {
        if self.is_null(index) {
            return None;
        }
        let start = match self.physical {
            Physical::Fixed { len } => self.base + index * stride(len),
            _ => *self.starts.get(index)? as usize,
        };
        self.data.as_slice().get(start..)
    }

    /// Value `index` of a fixed length of 1, 2, 4 or 8 as a word, with its sign; `None` if it is NULL, does not exist, or has another length.
    #[inline]
    pub fn word(&self, index: usize) -> Option<u64> {
        let tail = self.tail(index)?;
        // PostgreSQL compares words by value, and expects short ones to be extended so.
        match self.physical {
            Physical::Fixed { len: 8 } => tail.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
            Physical::Fixed { len: 4 } => tail.first_chunk().map(|bytes| i32::from_le_bytes(*bytes) as u64),
            Physical::Fixed { len: 2 } => tail.first_chunk().map(|bytes| i16::from_le_bytes(*bytes) as u64),
            Physical::Fixed { len: 1 } => tail.first().map(|byte| *byte as i8 as u64),
            _ => None,
        }
    }

    /// All values of a fixed-length column with the bytes from one to the next. What stands for a NULL is unspecified. `None` for other
    /// columns and if all values are NULL.
    pub fn fixed(&self) -> Option<(&[u8], usize)> {
        match self.physical {
            Physical::Fixed { len } if self.null_count < self.rows => {
                Some((self.data.as_slice().get(self.base..)?, stride(len)))
            }
            _ => None,
        }
    }

    /// How the values lie in memory.
    pub fn physical(&self) -> Physical {
        self.physical
    }

    /// Where the first value of a fixed length lies in the data.
    pub fn base(&self) -> usize {
        self.base
    }

    /// The data in which values of variable length begin at [`Vector::starts`].
    pub fn data(&self) -> &[u8] {
        self.data.as_slice()
    }

    /// Where values of variable length begin in the data, for each row; that of a NULL is unspecified. Empty if all are NULL.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Which entry of the vector's dictionary each row has, and where the entries begin in the data. Only for values of variable length.
    pub fn dictionary(&self) -> Option<(&[u16], &[u32])> {
        (!self.codes.is_empty()).then_some((&self.codes, &self.entries))
    }

    /// Numerics as integers with so many decimal places: each is one of the integers times the unit.
    pub fn decimals(&self) -> Option<(&[i64], u8, i64)> {
        let decimals = self.decimals.as_ref().filter(|_| self.null_count < self.rows)?;
        Some((&decimals.integers, decimals.scale, decimals.unit))
    }

    /// Makes the values of some rows ready to be used. Until then [`Vector::get`] and its kin must not be asked for rows of a vector that was
    /// decoded for [`Vector::narrow`].
    pub fn finish(&mut self, rows: &Selection) -> Result<()> {
        match &mut self.decimals {
            Some(decimals) => decimals.render(rows, &mut self.data, &mut self.starts),
            None => Ok(()),
        }
    }

    /// Bytes that the vector holds on to.
    pub fn memory(&self) -> usize {
        let decimals = self
            .decimals
            .as_ref()
            .map_or(0, |decimals| decimals.integers.capacity() * 8 + decimals.rendered.capacity() * 4);
        let codes = self.codes.capacity() * 2 + self.entries.capacity() * 4;
        self.data.capacity() + self.starts.capacity() * 4 + codes + self.nulls.capacity() + decimals
    }
}

/// Bytes from one numeric to the next.
const STRIDE: usize = MAX_RENDERED.next_multiple_of(4);

impl Decimals {
    /// Makes numerics of the integers of some rows. Where the integers lie close together each is made once.
    fn render(&mut self, rows: &Selection, data: &mut AlignedBuf, starts: &mut Vec<u32>) -> Result<()> {
        let (min, max) = self.integers.iter().fold((i64::MAX, i64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let range = max.wrapping_sub(min) as u64;
        let once = range < self.integers.len() as u64;
        let count = if once { range as usize + 1 } else { self.integers.len() };
        let out = data.prepare(count * STRIDE)?;
        let (scale, unit) = (self.scale, self.unit);
        let mut render = |index: usize, value: i64| {
            if let Some(place) = out.get_mut(index * STRIDE..).and_then(|rest| rest.first_chunk_mut()) {
                Decimal { value: value.wrapping_mul(unit), scale }.render(place);
            }
            (index * STRIDE) as u32
        };
        starts.clear();
        reserve(starts, self.integers.len())?;
        starts.resize(self.integers.len(), 0);
        self.rendered.clear();
        if once {
            reserve(&mut self.rendered, count)?;
            self.rendered.resize(count, u32::MAX);
        }
        for row in rows.iter() {
            let (Some(value), Some(start)) = (self.integers.get(row), starts.get_mut(row)) else { break };
            *start = match self.rendered.get_mut(value.wrapping_sub(min) as usize) {
                Some(known) if *known != u32::MAX => *known,
                Some(known) => {
                    *known = render(value.wrapping_sub(min) as usize, *value);
                    *known
                }
                None => render(row, *value),
            };
        }
        Ok(())
    }
}
