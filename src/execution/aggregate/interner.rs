//! Values of variable length, each different one with a number.

use super::OutOfMemory;
use crate::columnar::encoding::{Physical, canonical_numeric};
use crate::execution::batch::{content, unpadded};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// When two values are the same group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    /// All bytes are the same, of values without a header.
    Whole,
    /// The content behind the header is the same.
    Content,
    /// The content is the same but for blanks at its end.
    Padded,
    /// The number is the same, whatever its scale.
    Numeric,
    /// The `real` in four bytes is the same: zero is one, and so is NaN.
    Float4,
    /// As for `real`, in eight bytes.
    Float8,
}

const VARLENA: Physical = Physical::Varlena { align: 4 };

impl Equality {
    /// What is the same in equal values, and different in others.
    fn identity(self, value: &[u8]) -> (u64, &[u8]) {
        match self {
            Equality::Whole => (0, value),
            Equality::Content => (0, content(VARLENA, value)),
            Equality::Padded => (0, unpadded(content(VARLENA, value))),
            Equality::Numeric => canonical_numeric(value).map_or((u64::MAX, value), |(kind, weight, digits)| {
                (u64::from(kind) << 16 | u64::from(weight as u16), digits)
            }),
            Equality::Float4 => {
                let float = value.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
                (identity_of(f64::from(float)), &[])
            }
            Equality::Float8 => (identity_of(value.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes))), &[]),
        }
    }

    fn hash(self, value: &[u8]) -> u64 {
        let (number, bytes) = self.identity(value);
        xxh3_64(bytes) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

fn identity_of(float: f64) -> u64 {
    match float {
        0.0 => 0,
        float if float.is_nan() => f64::NAN.to_bits(),
        float => float.to_bits(),
    }
}

/// Numbers for values. The first of several equal ones is kept.
#[derive(Debug)]
pub struct Interner {
    equality: Equality,
    values: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<u32>,
}

impl Interner {
    /// Without values.
    pub fn new(equality: Equality) -> Self {
        Self { equality, values: Vec::new(), ends: Vec::new(), table: HashTable::new() }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.values.capacity() + self.ends.capacity() * 8 + self.table.capacity() * 5
    }

    /// The value of a number.
    pub fn value(&self, number: u32) -> &[u8] {
        value_of(&self.values, &self.ends, number)
    }

    /// A hash that equal values have in common.
    pub fn hash(&self, value: &[u8]) -> u64 {
        self.equality.hash(value)
    }

    /// The number of a value, if it has one.
    pub fn find(&self, value: &[u8]) -> Option<u32> {
        self.find_hashed(self.equality.hash(value), value)
    }

    fn find_hashed(&self, hash: u64, value: &[u8]) -> Option<u32> {
        let Self { equality, values, ends, table } = self;
        let identity = equality.identity(value);
        table.find(hash, |known| equality.identity(value_of(values, ends, *known)) == identity).copied()
    }

    /// The number of a value, which may be a new one.
    pub fn number(&mut self, value: &[u8]) -> Result<u32, OutOfMemory> {
        let hash = self.equality.hash(value);
        if let Some(known) = self.find_hashed(hash, value) {
            return Ok(known);
        }
        let Self { equality, values, ends, table } = self;
        let number = u32::try_from(ends.len()).map_err(|_| OutOfMemory)?;
        values.try_reserve(value.len())?;
        ends.try_reserve(1)?;
        table.try_reserve(1, |known| equality.hash(value_of(values, ends, *known))).map_err(|_| OutOfMemory)?;
        values.extend_from_slice(value);
        ends.push(values.len());
        table.insert_unique(hash, number, |known| equality.hash(value_of(values, ends, *known)));
        Ok(number)
    }
}

fn value_of<'a>(values: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
    let range = start.zip(ends.get(number).copied());
    range.and_then(|(start, end)| values.get(start..end)).unwrap_or_default()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn text(content: &str) -> Vec<u8> {
        [&[(content.len() as u8 + 1) << 1 | 1][..], content.as_bytes()].concat()
    }

    #[test]
    fn equal_values_have_one_number() {
        let mut texts = Interner::new(Equality::Content);
        let long = [&(7u32 << 2).to_le_bytes()[..], b"abc"].concat();
        assert_eq!(texts.number(&text("abc")), Ok(0));
        assert_eq!(texts.number(&text("abd")), Ok(1));
        assert_eq!(texts.number(&long), Ok(0));
        assert_eq!(texts.number(&text("abc ")), Ok(2));
        assert_eq!((texts.value(0), texts.value(2)), (&text("abc")[..], &text("abc ")[..]));
        let mut padded = Interner::new(Equality::Padded);
        assert_eq!(
            (padded.number(&text("a  ")), padded.number(&text("a")), padded.number(&text(" a"))),
            (Ok(0), Ok(0), Ok(1))
        );
        let mut floats = Interner::new(Equality::Float8);
        let numbers = [0.0, -0.0, f64::NAN, -f64::NAN, 1.0].map(|float: f64| floats.number(&float.to_le_bytes()));
        assert_eq!(numbers, [Ok(0), Ok(0), Ok(1), Ok(1), Ok(2)]);
    }

    #[test]
    fn many_values_are_found_again() {
        let mut numbers = Interner::new(Equality::Whole);
        for turn in 0..2 {
            for value in 0..100_000u64 {
                assert_eq!(numbers.number(&value.to_le_bytes()), Ok(value as u32), "turn {turn}");
            }
        }
        assert!(numbers.memory() > 800_000);
    }
}
