//! A key column: its values as words.

use super::OutOfMemory;
use super::interner::{Equality, Interner};
use crate::columnar::encoding::{Decimal, Selection};
use crate::execution::batch::{Column, Kind, MAX_ROWS, Values};

/// Turns the values of a key column into words that are the same where the values are equal.
#[derive(Debug)]
pub struct Key {
    kind: Kind,
    /// Numbers of values that do not fit a word, or of which different ones are equal.
    interner: Option<Interner>,
    /// What is known of a dictionary's entries, [`UNKNOWN`] where no row has asked yet.
    known: Vec<u64>,
}

const UNKNOWN: u64 = u64::MAX;
/// Stands for a value that has no number.
const ABSENT: u64 = u64::MAX - 1;

/// A value of a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyValue<'a> {
    Null,
    Word(i64),
    /// As it lies in memory, with its header if it has one.
    Bytes(&'a [u8]),
}

impl Key {
    /// Of a column whose values are equal in this way.
    pub fn new(kind: Kind, equality: Equality) -> Self {
        let interner = match kind {
            Kind::Truth | Kind::Word(_) => None,
            _ => Some(Interner::new(equality)),
        };
        Self { kind, interner, known: Vec::new() }
    }

    /// The word of each row that is not NULL. Values that were not there before get numbers.
    pub fn words(&mut self, column: &Column, rows: &Selection, out: &mut [u64; MAX_ROWS]) -> Result<(), OutOfMemory> {
        let Self { kind, interner, known } = self;
        let number = |bytes: &[u8]| match interner {
            Some(interner) => interner.number(bytes).map(u64::from),
            None => Ok(0),
        };
        each(*kind, known, column, rows, number, |row, word| put(out, row, word))
    }

    /// The same of values that were there before; which rows have such.
    pub fn known_words(&mut self, column: &Column, rows: &Selection, out: &mut [u64; MAX_ROWS]) -> Selection {
        let Self { kind, interner, known } = self;
        let Some(interner) = interner else {
            let _: Result<(), OutOfMemory> =
                each(*kind, known, column, rows, |_| Ok(0), |row, word| put(out, row, word));
            return *rows;
        };
        let mut found = *rows;
        let number = |bytes: &[u8]| Ok(interner.find(bytes).map_or(ABSENT, u64::from));
        let _: Result<(), OutOfMemory> = each(*kind, known, column, rows, number, |row, word| {
            if word == ABSENT {
                found.remove(row);
            }
            put(out, row, word);
        });
        found
    }

    /// Adds the values of rows to their hashes, which do not depend on the values that there were before.
    pub fn add_hashes(&mut self, column: &Column, rows: &Selection, out: &mut [u64; MAX_ROWS]) {
        let Self { kind, interner, known } = self;
        let hash = |bytes: &[u8]| Ok(interner.as_ref().map_or(0, |interner| interner.hash(bytes)));
        let _: Result<(), OutOfMemory> = each(*kind, known, column, rows, hash, |row, word| {
            if let Some(place) = out.get_mut(row) {
                *place = mix(*place, word);
            }
        });
    }

    /// The value that a word stands for.
    pub fn value(&self, word: u64) -> KeyValue<'_> {
        match &self.interner {
            None => KeyValue::Word(word as i64),
            Some(interner) => {
                let value = interner.value(word as u32);
                match self.kind {
                    Kind::Float4 => KeyValue::Word(value.first_chunk().map_or(0, |b| i32::from_le_bytes(*b).into())),
                    Kind::Float8 => KeyValue::Word(value.first_chunk().map_or(0, |b| i64::from_le_bytes(*b))),
                    _ => KeyValue::Bytes(value),
                }
            }
        }
    }

    /// A hash of a value that does not depend on the values that there were before.
    pub fn hash(&self, value: KeyValue<'_>) -> u64 {
        match (value, &self.interner) {
            (KeyValue::Null, _) => u64::MAX,
            (KeyValue::Word(word), Some(interner)) => interner.hash(&word.to_le_bytes()),
            (KeyValue::Word(word), None) => word as u64,
            (KeyValue::Bytes(value), interner) => interner.as_ref().map_or(0, |interner| interner.hash(value)),
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.interner.as_ref().map_or(0, Interner::memory)
    }

    /// How many words there are so far, if they are counted from zero.
    pub fn words_used(&self) -> Option<usize> {
        match (&self.interner, self.kind) {
            (Some(interner), _) => Some(interner.len()),
            (None, Kind::Truth) => Some(2),
            (None, _) => None,
        }
    }
}

fn put(out: &mut [u64; MAX_ROWS], row: usize, word: u64) {
    if let Some(place) = out.get_mut(row) {
        *place = word;
    }
}

/// Hands out a word for each of the rows: its own, or what is said of its bytes, of which a dictionary's entries are asked once.
fn each<E>(
    kind: Kind,
    known: &mut Vec<u64>,
    column: &Column,
    rows: &Selection,
    mut of_bytes: impl FnMut(&[u8]) -> Result<u64, E>,
    mut put: impl FnMut(usize, u64),
) -> Result<(), E> {
    match &column.values {
        Values::Truth(_) => {
            let truth = column.true_rows();
            rows.iter().for_each(|row| put(row, u64::from(truth.contains(row))));
        }
        Values::Words(words) if matches!(kind, Kind::Float4 | Kind::Float8) => {
            let len = if kind == Kind::Float4 { 4 } else { 8 };
            for row in rows.iter() {
                let bytes = words.get(column.place(row)).map_or([0; 8], |word| word.to_le_bytes());
                put(row, of_bytes(bytes.get(..len).unwrap_or_default())?);
            }
        }
        Values::Words(words) => {
            for row in rows.iter() {
                put(row, words.get(column.place(row)).map_or(0, |word| *word as u64));
            }
        }
        Values::Decimals(decimals) => {
            for row in rows.iter() {
                let mut image = [0; Decimal::MAX_LEN];
                let len = decimals.decimal(column.place(row)).render(&mut image);
                put(row, of_bytes(image.get(..len).unwrap_or_default())?);
            }
        }
        Values::Bytes(bytes) if bytes.codes.is_some() && !column.same => {
            known.clear();
            known.resize(bytes.starts.len(), UNKNOWN);
            for row in rows.iter() {
                let entry = bytes.entry(row);
                let Some(known) = known.get_mut(entry) else { continue };
                if *known == UNKNOWN {
                    *known = of_bytes(bytes.value(entry))?;
                }
                put(row, *known);
            }
        }
        Values::Bytes(bytes) => {
            for row in rows.iter() {
                put(row, of_bytes(bytes.value(bytes.entry(column.place(row))))?);
            }
        }
    }
    Ok(())
}

/// Adds a word to a hash.
#[inline]
pub fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0x2d35_8dcc_aa6c_78a5) * 0x8bb8_4b93_962e_acc9;
    (product as u64) ^ (product >> 64) as u64
}
