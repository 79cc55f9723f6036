//! One column of a batch.

use super::MAX_ROWS;
use crate::columnar::encoding::{AlignedBuf, Decimal, Physical, Selection, Vector};
use std::rc::Rc;

/// How the values of an SQL type are held in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Booleans.
    Truth,
    /// By-value types of 1, 2, 4 or 8 bytes that compare as integers, extended with their sign.
    Word(u8),
    /// The bits of a `real` in the low half of a word.
    Float4,
    /// The bits of a `double precision`.
    Float8,
    /// `numeric`, as integers with a scale where that can be.
    Numeric,
    /// Anything else, as bytes.
    Bytes(Physical),
}

/// Memory that bytes lie in.
#[derive(Debug)]
pub enum Memory {
    /// A vector of a stripe.
    Vector(Rc<Vector>),
    /// Made for the column.
    Own(AlignedBuf),
}

impl Memory {
    /// All of it.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Memory::Vector(vector) => vector.data(),
            Memory::Own(buffer) => buffer.as_slice(),
        }
    }
}

/// Values as bytes, as PostgreSQL holds them in memory.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub memory: Rc<Memory>,
    pub physical: Physical,
    /// Where values begin, one for each row, or one for each entry of a dictionary.
    pub starts: Rc<[u32]>,
    /// The entry of each row, if there is a dictionary.
    pub codes: Option<Rc<[u16]>>,
}

impl Bytes {
    /// The place in [`Self::starts`] of a row's value.
    #[inline]
    pub fn entry(&self, row: usize) -> usize {
        match &self.codes {
            Some(codes) => codes.get(row).map_or(usize::MAX, |code| usize::from(*code)),
            None => row,
        }
    }

    /// The bytes from an entry's first one on.
    #[inline]
    pub fn tail(&self, entry: usize) -> &[u8] {
        let start = self.starts.get(entry).map_or(usize::MAX, |start| *start as usize);
        self.memory.as_slice().get(start..).unwrap_or_default()
    }

    /// An entry with its header, if it has one.
    #[inline]
    pub fn value(&self, entry: usize) -> &[u8] {
        let tail = self.tail(entry);
        crate::columnar::encoding::value_at(self.physical, tail).unwrap_or_default()
    }

    /// An entry without its header.
    #[inline]
    pub fn content(&self, entry: usize) -> &[u8] {
        content(self.physical, self.value(entry))
    }
}

/// A value without its header.
#[inline]
pub fn content(physical: Physical, value: &[u8]) -> &[u8] {
    match physical {
        Physical::Varlena { .. } => crate::columnar::encoding::varlena_content(value).unwrap_or_default(),
        _ => value,
    }
}

/// A text without blanks at its end, which do not count in a `char(n)`.
#[inline]
pub fn unpadded(content: &[u8]) -> &[u8] {
    let end = content.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    content.get(..end).unwrap_or_default()
}

/// Numerics as integers with `scale` decimal places.
#[derive(Debug, Clone)]
pub struct Decimals {
    pub integers: Vec<i64>,
    pub scale: u8,
    /// No integer is less, also not where the row is NULL.
    pub low: i64,
    /// No integer is greater.
    pub high: i64,
    /// How many places PostgreSQL shows, of each value, if these are not the same; none that is not shown is anything but zero.
    pub shown: Option<Vec<u8>>,
}

impl Decimals {
    /// Finds the bounds.
    pub fn new(integers: Vec<i64>, scale: u8) -> Self {
        let (low, high) = integers.iter().fold((i64::MAX, i64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        Self { integers, scale, low, high, shown: None }
    }

    /// A value as it is shown.
    #[inline]
    pub fn decimal(&self, place: usize) -> Decimal {
        let value = self.integers.get(place).copied().unwrap_or(0);
        match self.shown.as_ref().and_then(|shown| shown.get(place).copied()) {
            None => Decimal { value, scale: self.scale },
            Some(scale) => {
                let hidden = 10i64.checked_pow(u32::from(self.scale.saturating_sub(scale))).unwrap_or(1);
                Decimal { value: value / hidden, scale }
            }
        }
    }
}

/// Values of a column, by kind.
#[derive(Debug, Clone)]
pub enum Values {
    /// Of [`Kind::Word`], [`Kind::Float4`] and [`Kind::Float8`].
    Words(Vec<i64>),
    /// Of [`Kind::Numeric`], if all have the same scale and are small enough.
    Decimals(Decimals),
    /// The rows that are true.
    Truth(Selection),
    /// Of [`Kind::Bytes`], and of [`Kind::Numeric`] otherwise.
    Bytes(Bytes),
}

/// The values of one column of a batch, or one value for all of its rows.
#[derive(Debug, Clone)]
pub struct Column {
    pub values: Values,
    /// Rows that are NULL. What their values are is unspecified.
    pub nulls: Selection,
    /// There is one value, which all rows have.
    pub same: bool,
}

/// One side of a loop.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    Each(&'a [i64]),
    Same(i64),
}

impl Operand<'_> {
    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> i64 {
        match self {
            Operand::Each(values) => values.get(row).copied().unwrap_or(0),
            Operand::Same(value) => *value,
        }
    }
}

impl Column {
    /// NULL in all rows.
    pub fn null(kind: Kind) -> Self {
        let values = match kind {
            Kind::Truth => Values::Truth(Selection::none()),
            Kind::Word(_) | Kind::Float4 | Kind::Float8 => Values::Words(vec![0]),
            Kind::Numeric => Values::Decimals(Decimals { integers: vec![0], scale: 0, low: 0, high: 0, shown: None }),
            Kind::Bytes(physical) => Values::Bytes(Bytes {
                memory: Rc::new(Memory::Own(AlignedBuf::new())),
                physical,
                starts: Rc::new([0]),
                codes: None,
            }),
        };
        Self { values, nulls: Selection::first(MAX_ROWS), same: true }
    }

    /// Booleans: the rows that are true, and those that are NULL.
    pub fn truth(rows: Selection, nulls: Selection) -> Self {
        Self { values: Values::Truth(rows), nulls, same: false }
    }

    /// Rows that are NULL.
    #[inline]
    pub fn null_rows(&self) -> Selection {
        match self.same && self.nulls.contains(0) {
            true => Selection::first(MAX_ROWS),
            false if self.same => Selection::none(),
            false => self.nulls,
        }
    }

    /// Rows that are true.
    pub fn true_rows(&self) -> Selection {
        let Values::Truth(rows) = &self.values else { return Selection::none() };
        let all = match self.same {
            true if rows.contains(0) => Selection::first(MAX_ROWS),
            true => Selection::none(),
            false => *rows,
        };
        all.and_not(&self.null_rows())
    }

    /// Whether a row is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.contains(if self.same { 0 } else { row })
    }

    /// Where a row's value is among the values.
    #[inline]
    pub fn place(&self, row: usize) -> usize {
        if self.same { 0 } else { row }
    }

    /// The words; `None` for other kinds.
    #[inline]
    pub fn words(&self) -> Option<Operand<'_>> {
        match &self.values {
            Values::Words(words) => Some(self.operand(words)),
            _ => None,
        }
    }

    /// The decimals and their integers; `None` for other kinds.
    #[inline]
    pub fn decimals(&self) -> Option<(&Decimals, Operand<'_>)> {
        match &self.values {
            Values::Decimals(decimals) => Some((decimals, self.operand(&decimals.integers))),
            _ => None,
        }
    }

    /// The bytes; `None` for other kinds.
    #[inline]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.values {
            Values::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn operand<'a>(&self, values: &'a [i64]) -> Operand<'a> {
        if self.same { Operand::Same(values.first().copied().unwrap_or(0)) } else { Operand::Each(values) }
    }
}
