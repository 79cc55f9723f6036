//! Least and greatest values.

use super::exact::{Server, wide_numeric};
use super::wire::{Reader, put};
use super::{OutOfMemory, grow};
use crate::columnar::encoding::{Selection, canonical_numeric};
use crate::execution::batch::{Column, Values, content, double, double_order, float4};
use std::cmp::Ordering;

/// How the values of an argument are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As words.
    Words,
    Float4,
    Float8,
    Numeric,
    /// By their bytes, without a header.
    Memory,
    /// By their bytes, of a fixed number.
    Fixed,
    /// By PostgreSQL's function, which [`Server::order`] calls.
    Server,
}

/// A value that may be the least or the greatest.
#[derive(Debug, Clone, Copy)]
enum Candidate<'a> {
    Word(i64),
    Decimal(i64, u8),
    Bytes(&'a [u8]),
}

/// The same, kept.
#[derive(Debug, Clone, Default)]
enum Kept {
    #[default]
    Nothing,
    Word(i64),
    Decimal(i64, u8),
    Bytes(Box<[u8]>),
}

/// The least or greatest value by group.
#[derive(Debug)]
pub struct Extremes {
    /// Which of two values is kept: the one that is less, or the one that is greater.
    wanted: Ordering,
    order: Order,
    kept: Vec<Kept>,
    bytes: usize,
}

impl Extremes {
    /// The greatest values, or the least.
    pub fn new(greatest: bool, order: Order) -> Self {
        let wanted = if greatest { Ordering::Greater } else { Ordering::Less };
        Self { wanted, order, kept: Vec::new(), bytes: 0 }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.kept.capacity() * size_of::<Kept>() + self.bytes
    }

    /// Makes room for so many groups.
    pub fn grow(&mut self, groups: usize) -> Result<(), OutOfMemory> {
        grow(&mut self.kept, groups, Kept::Nothing)
    }

    /// Considers values that are not NULL. `aggregate` is what the server knows the order by.
    pub fn add(
        &mut self,
        column: &Column,
        rows: &Selection,
        groups: Option<&[u32]>,
        aggregate: usize,
        server: &mut dyn Server,
    ) {
        let group_of = |row: usize| groups.and_then(|groups| groups.get(row).copied()).unwrap_or(0);
        if let (Some(words), Order::Words, None) = (column.words(), self.order, groups) {
            let values = rows.iter().map(|row| words.get(row));
            let best = if self.wanted.is_gt() { values.max() } else { values.min() };
            if let Some(best) = best {
                self.consider(0, Candidate::Word(best), aggregate, server);
            }
            return;
        }
        for row in rows.iter() {
            let place = column.place(row);
            let candidate = match &column.values {
                Values::Words(words) => Candidate::Word(words.get(place).copied().unwrap_or(0)),
                Values::Decimals(decimals) => {
                    let decimal = decimals.decimal(place);
                    Candidate::Decimal(decimal.value, decimal.scale)
                }
                Values::Bytes(bytes) => Candidate::Bytes(bytes.value(bytes.entry(place))),
                Values::Truth(truth) => Candidate::Word(truth.contains(place).into()),
            };
            self.consider(group_of(row), candidate, aggregate, server);
        }
    }

    /// Of equal values the last stays, as with PostgreSQL's functions.
    fn consider(&mut self, group: u32, new: Candidate<'_>, aggregate: usize, server: &mut dyn Server) {
        let Some(kept) = self.kept.get_mut(group as usize) else { return };
        let known = match kept {
            Kept::Nothing => None,
            Kept::Word(word) => Some(Candidate::Word(*word)),
            Kept::Decimal(value, scale) => Some(Candidate::Decimal(*value, *scale)),
            Kept::Bytes(bytes) => Some(Candidate::Bytes(bytes)),
        };
        if known.is_some_and(|known| compare(self.order, known, new, aggregate, server) == self.wanted) {
            return;
        }
        if let Kept::Bytes(bytes) = kept {
            self.bytes -= bytes.len();
        }
        *kept = match new {
            Candidate::Word(word) => Kept::Word(word),
            Candidate::Decimal(value, scale) => Kept::Decimal(value, scale),
            Candidate::Bytes(bytes) => {
                self.bytes += bytes.len();
                Kept::Bytes(bytes.into())
            }
        };
    }

    /// The value of a group as a word, or as bytes with their header.
    pub fn value(&self, group: usize) -> Option<Result<i64, Vec<u8>>> {
        match self.kept.get(group)? {
            Kept::Nothing => None,
            Kept::Word(word) => Some(Ok(*word)),
            Kept::Decimal(value, scale) => Some(Err(wide_numeric((*value).into(), *scale))),
            Kept::Bytes(bytes) => Some(Err(bytes.to_vec())),
        }
    }

    /// Appends the value of a group, for [`Self::merge`].
    pub fn save(&self, group: usize, out: &mut Vec<u8>) {
        match self.value(group) {
            None => out.push(0),
            Some(Ok(word)) => {
                out.push(1);
                out.extend_from_slice(&word.to_le_bytes());
            }
            Some(Err(bytes)) => {
                out.push(2);
                put(out, Some(&bytes));
            }
        }
    }

    /// Considers what [`Self::save`] wrote.
    pub fn merge(
        &mut self,
        group: u32,
        from: &mut Reader<'_>,
        aggregate: usize,
        server: &mut dyn Server,
    ) -> Option<()> {
        let candidate = match from.byte()? {
            0 => return Some(()),
            1 => Candidate::Word(from.word()?),
            _ => Candidate::Bytes(from.value()??),
        };
        self.consider(group, candidate, aggregate, server);
        Some(())
    }
}

fn compare(order: Order, a: Candidate<'_>, b: Candidate<'_>, aggregate: usize, server: &mut dyn Server) -> Ordering {
    match (order, a, b) {
        (Order::Float4, Candidate::Word(a), Candidate::Word(b)) => double_order(float4(a).into(), float4(b).into()),
        (Order::Float8, Candidate::Word(a), Candidate::Word(b)) => double_order(double(a), double(b)),
        (_, Candidate::Word(a), Candidate::Word(b)) => a.cmp(&b),
        (_, Candidate::Decimal(a, scale), Candidate::Decimal(b, other)) if scale == other => a.cmp(&b),
        (Order::Memory, Candidate::Bytes(a), Candidate::Bytes(b)) => bare(a).cmp(bare(b)),
        (Order::Fixed, Candidate::Bytes(a), Candidate::Bytes(b)) => a.cmp(b),
        (Order::Server, Candidate::Bytes(a), Candidate::Bytes(b)) => server.order(aggregate, a, b),
        _ => compare_numerics(&image(a), &image(b)),
    }
}

/// A value of a type whose order is that of its bytes, without the header that those of variable length have.
fn bare(value: &[u8]) -> &[u8] {
    content(crate::columnar::encoding::Physical::Varlena { align: 4 }, value)
}

fn image(candidate: Candidate<'_>) -> std::borrow::Cow<'_, [u8]> {
    match candidate {
        Candidate::Word(word) => wide_numeric(word.into(), 0).into(),
        Candidate::Decimal(value, scale) => wide_numeric(value.into(), scale).into(),
        Candidate::Bytes(bytes) => bytes.into(),
    }
}

/// The order of two numerics with their headers: minus infinity is least, infinity greater than all numbers, and NaN greater still.
fn compare_numerics(a: &[u8], b: &[u8]) -> Ordering {
    let key = |value| {
        let (kind, weight, digits) = canonical_numeric(value).unwrap_or((2, 0, &[]));
        let class = match kind {
            4 => 0,
            1 => 1,
            0 if digits.is_empty() => 2,
            0 => 3,
            3 => 4,
            _ => 5,
        };
        (class, weight, digits)
    };
    let ((class, weight, digits), (other_class, other_weight, other_digits)) = (key(a), key(b));
    class.cmp(&other_class).then_with(|| {
        let pairs =
            |digits: &[u8]| digits.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect::<Vec<_>>();
        let magnitude = weight.cmp(&other_weight).then_with(|| pairs(digits).cmp(&pairs(other_digits)));
        if class == 1 { magnitude.reverse() } else { magnitude }
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn numerics_have_their_order() {
        let values = [
            (-1_000_000i128, 1u8),
            (-99_999, 0),
            (-5, 3),
            (0, 2),
            (1, 4),
            (5, 3),
            (12, 3),
            (1, 0),
            (10_001, 4),
            (99_999, 0),
        ];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                let found = compare_numerics(&wide_numeric(a.0, a.1), &wide_numeric(b.0, b.1));
                assert_eq!(found, i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert_eq!(compare_numerics(&wide_numeric(10, 1), &wide_numeric(1, 0)), Ordering::Equal);
        let special = |word: u16| [&(6u32 << 2).to_le_bytes()[..], &word.to_le_bytes()].concat();
        let (nan, plus, minus) = (special(0xc000), special(0xd000), special(0xf000));
        assert!(compare_numerics(&minus, &wide_numeric(-99_999, 0)).is_lt());
        assert!(compare_numerics(&plus, &wide_numeric(i128::MAX, 0)).is_gt());
        assert!(compare_numerics(&nan, &plus).is_gt());
    }
}
