//! Sums that are exact: of integers and of numerics.

use super::wire::{Reader, put};
use super::{OutOfMemory, grow};
use crate::columnar::encoding::{Decimal, Selection};
use crate::execution::batch::{Column, Operand, Values};
use std::cmp::Ordering;
use std::collections::HashMap;

/// What only PostgreSQL can do with values. These have their headers, if they have any.
pub trait Server {
    /// The sum of two numerics.
    fn add(&mut self, a: &[u8], b: &[u8]) -> Vec<u8>;

    /// The order of two values of the argument of an aggregate.
    fn order(&mut self, aggregate: usize, a: &[u8], b: &[u8]) -> Ordering;
}

/// A sum as an integer with decimal places, of so many values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    total: i128,
    count: u64,
    scale: u8,
    /// The most places that a value shows; the sum has no others.
    shown: u8,
}

impl Sum {
    /// Adds; false if the sum might not fit.
    fn add(&mut self, value: i128, scale: u8, shown: u8, count: u64) -> bool {
        let power = |places: u8| 10i128.checked_pow(u32::from(places));
        let (own, other) = match scale.cmp(&self.scale) {
            Ordering::Equal => (Some(self.total), Some(value)),
            Ordering::Less => {
                (Some(self.total), power(self.scale - scale).and_then(|factor| value.checked_mul(factor)))
            }
            Ordering::Greater => {
                (power(scale - self.scale).and_then(|factor| self.total.checked_mul(factor)), Some(value))
            }
        };
        let Some(total) = own.zip(other).and_then(|(own, other)| own.checked_add(other)) else { return false };
        *self = Sum { total, count: self.count + count, scale: self.scale.max(scale), shown: self.shown.max(shown) };
        true
    }

    fn image(&self) -> Vec<u8> {
        if self.scale == self.shown {
            return wide_numeric(self.total, self.shown);
        }
        let hidden = 10i128.checked_pow(self.scale.saturating_sub(self.shown).into()).unwrap_or(1);
        wide_numeric(self.total / hidden, self.shown)
    }
}

/// Groups that are few.
const FEW: usize = 64;

/// Sums by group.
#[derive(Debug, Default)]
pub struct Sums {
    sums: Vec<Sum>,
    /// What is no decimal, or did not fit, as numerics by group.
    others: HashMap<u32, Vec<u8>>,
}

impl Sums {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>() + self.others.capacity() * 96
    }

    /// Makes room for so many groups.
    pub fn grow(&mut self, groups: usize) -> Result<(), OutOfMemory> {
        grow(&mut self.sums, groups, Sum::default())
    }

    /// Adds values that are not NULL.
    pub fn add(&mut self, column: &Column, rows: &Selection, groups: Option<&[u32]>, server: &mut dyn Server) {
        match (&column.values, groups) {
            (Values::Words(_), None) => {
                let total = column.words().map_or(0, |words| total(words, rows, None));
                self.put(0, total, 0, 0, rows.count() as u64, server);
            }
            (Values::Decimals(decimals), groups) if decimals.shown.is_some() => {
                for row in rows.iter() {
                    let group = groups.and_then(|groups| groups.get(row).copied()).unwrap_or(0);
                    let decimal = decimals.decimal(column.place(row));
                    self.put(group, decimal.value.into(), decimal.scale, decimal.scale, 1, server);
                }
            }
            (Values::Decimals(decimals), None) => {
                let bound = decimals.low.unsigned_abs().max(decimals.high.unsigned_abs());
                let total = column.decimals().map_or(0, |(_, values)| total(values, rows, Some(bound)));
                if !rows.is_empty() {
                    self.put(0, total, decimals.scale, decimals.scale, rows.count() as u64, server);
                }
            }
            (Values::Words(_), Some(groups)) => {
                let Some(values) = column.words() else { return };
                self.add_each(values, 0, rows, groups, server);
            }
            (Values::Decimals(decimals), Some(groups)) => {
                let Some((_, values)) = column.decimals() else { return };
                self.add_each(values, decimals.scale, rows, groups, server);
            }
            (Values::Bytes(bytes), groups) => {
                for row in rows.iter() {
                    let group = groups.and_then(|groups| groups.get(row).copied()).unwrap_or(0);
                    self.put_other(group, bytes.value(bytes.entry(column.place(row))), 1, server);
                }
            }
            (Values::Truth(_), _) => {}
        }
    }

    fn add_each(&mut self, values: Operand<'_>, scale: u8, rows: &Selection, groups: &[u32], server: &mut dyn Server) {
        if self.sums.len() <= FEW {
            return self.add_few(values, scale, rows, groups, server);
        }
        for row in rows.iter() {
            let (group, value) = (groups[row], values.get(row));
            match self.sums.get_mut(group as usize) {
                // Sums of up to 2^64 values of 64 bits fit.
                Some(sum) if sum.scale == scale && sum.shown == scale && scale <= 18 => {
                    sum.total = sum.total.wrapping_add(value.into());
                    sum.count += 1;
                }
                _ => self.put(group, value.into(), scale, scale, 1, server),
            }
        }
    }

    /// The same for few groups: a batch is added up by itself, in narrower sums. Values have two halves, whose sums over a batch fit.
    fn add_few(&mut self, values: Operand<'_>, scale: u8, rows: &Selection, groups: &[u32], server: &mut dyn Server) {
        let (mut low, mut high, mut counts) = ([0i64; FEW], [0i64; FEW], [0u64; FEW]);
        let small = |value: i64| (-(1 << 52)..1 << 52).contains(&value);
        let narrow = match values {
            Operand::Each(values) => values.iter().fold(true, |all, value| all & small(*value)),
            Operand::Same(value) => small(value),
        };
        for row in rows.iter() {
            let (group, value) = (groups[row] as usize % FEW, values.get(row));
            if narrow {
                low[group] += value;
            } else {
                low[group] += value & 0xffff_ffff;
                high[group] += value >> 32;
            }
            counts[group] += 1;
        }
        for (group, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let total = (i128::from(high[group]) << 32) + i128::from(low[group]);
            self.put(group as u32, total, scale, scale, *count, server);
        }
    }

    fn put(&mut self, group: u32, total: i128, scale: u8, shown: u8, count: u64, server: &mut dyn Server) {
        let Some(sum) = self.sums.get_mut(group as usize) else { return };
        if sum.add(total, scale, shown, count) {
            return;
        }
        let full = std::mem::take(sum);
        sum.count = full.count;
        self.put_other(group, &full.image(), 0, server);
        self.put_other(group, &Sum { total, scale, shown, count }.image(), count, server);
    }

    fn put_other(&mut self, group: u32, value: &[u8], count: u64, server: &mut dyn Server) {
        if let Some(sum) = self.sums.get_mut(group as usize) {
            sum.count += count;
        }
        match self.others.get_mut(&group) {
            Some(known) => *known = server.add(known, value),
            None => _ = self.others.insert(group, value.to_vec()),
        }
    }

    /// Appends the sum of a group, for [`Self::merge`].
    pub fn save(&self, group: usize, out: &mut Vec<u8>) {
        let sum = self.sums.get(group).copied().unwrap_or_default();
        out.extend_from_slice(&sum.total.to_le_bytes());
        out.extend_from_slice(&sum.count.to_le_bytes());
        out.extend_from_slice(&[sum.scale, sum.shown]);
        put(out, self.others.get(&(group as u32)).map(Vec::as_slice));
    }

    /// Adds what [`Self::save`] wrote to a group's sum.
    pub fn merge(&mut self, group: u32, from: &mut Reader<'_>, server: &mut dyn Server) -> Option<()> {
        let (total, count) = (i128::from_le_bytes(from.array()?), u64::from_le_bytes(from.array()?));
        let (scale, shown) = (from.byte()?, from.byte()?);
        if count > 0 {
            self.put(group, total, scale, shown, count, server);
        }
        if let Some(other) = from.value()? {
            self.put_other(group, other, 0, server);
        }
        Some(())
    }

    /// How many values the sum of a group has.
    pub fn count(&self, group: usize) -> u64 {
        self.sums.get(group).map_or(0, |sum| sum.count)
    }

    /// The sum of a group of integers, as far as it fits.
    pub fn integer(&self, group: usize) -> i64 {
        self.sums.get(group).map_or(0, |sum| sum.total as i64)
    }

    /// The sum of a group as a numeric with its header.
    pub fn numeric(&self, group: usize, server: &mut dyn Server) -> Vec<u8> {
        let sum = self.sums.get(group).copied().unwrap_or_default();
        let own = sum.image();
        match self.others.get(&(group as u32)) {
            Some(other) => server.add(&own, other),
            None => own,
        }
    }
}

/// The sum of words; `bound` is one for their magnitude.
fn total(values: Operand<'_>, rows: &Selection, bound: Option<u64>) -> i128 {
    let count = rows.count();
    match values {
        Operand::Same(value) => i128::from(value) * count as i128,
        Operand::Each(values) if bound.is_some_and(|bound| bound < 1 << 52) => {
            let sum = if count == values.len() {
                values.iter().sum::<i64>()
            } else {
                rows.iter().fold(0, |sum, row| sum + values.get(row).copied().unwrap_or(0))
            };
            sum.into()
        }
        Operand::Each(values) => rows.iter().map(|row| i128::from(values.get(row).copied().unwrap_or(0))).sum(),
    }
}

/// A numeric of any size that an integer with decimal places can have, with a header of four bytes.
pub fn wide_numeric(value: i128, scale: u8) -> Vec<u8> {
    let small = i64::try_from(value).ok().map(|value| Decimal { value, scale }).filter(|decimal| decimal.is_small());
    if let Some(decimal) = small {
        let mut image = [0; Decimal::MAX_LEN];
        let len = decimal.render(&mut image);
        return image.get(..len).unwrap_or_default().to_vec();
    }
    const BASE: u128 = 10_000;
    let places = usize::from(scale).div_ceil(4);
    // The last digit behind the point is filled up to four places.
    let mut rest = value.unsigned_abs();
    let mut digits = Vec::with_capacity(12);
    let shown = u32::from(scale) % 4;
    if shown > 0 {
        let unit = 10u128.pow(shown);
        digits.push((rest % unit * 10u128.pow(4 - shown)) as u16);
        rest /= unit;
    }
    while rest > 0 {
        digits.push((rest % BASE) as u16);
        rest /= BASE;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = digits.len() as i32 - places as i32 - 1;
    digits.reverse();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = if digits.is_empty() { 0 } else { weight };
    // The short form: sign, scale of six bits, weight of seven.
    let header = 0x8000 | if value < 0 { 0x2000 } else { 0 } | u16::from(scale) << 7 | (weight as u16 & 0x7f);
    let len = 6 + 2 * digits.len();
    let mut image = Vec::with_capacity(len);
    image.extend_from_slice(&((len as u32) << 2).to_le_bytes());
    image.extend_from_slice(&header.to_le_bytes());
    image.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()));
    image
}

#[cfg(test)]
mod unit {
    use super::*;

    struct Nobody;
    impl Server for Nobody {
        fn add(&mut self, _: &[u8], _: &[u8]) -> Vec<u8> {
            panic!("not needed")
        }
        fn order(&mut self, _: usize, _: &[u8], _: &[u8]) -> Ordering {
            panic!("not needed")
        }
    }

    fn decimals(values: &[i64], scale: u8) -> Column {
        let decimals = crate::execution::batch::Decimals::new(values.to_vec(), scale);
        Column { values: Values::Decimals(decimals), nulls: Selection::none(), same: false }
    }

    #[test]
    fn sums_take_the_largest_scale() {
        let mut sums = Sums::default();
        sums.grow(2).expect("memory");
        sums.add(&decimals(&[150, 250, 1], 2), &Selection::first(2), Some(&[0, 1, 0]), &mut Nobody);
        sums.add(&decimals(&[1, 5], 3), &Selection::first(1), Some(&[0, 0]), &mut Nobody);
        assert_eq!(
            sums.sums,
            [Sum { total: 1501, count: 2, scale: 3, shown: 3 }, Sum { total: 250, count: 1, scale: 2, shown: 2 }]
        );
        let mut one = Sums::default();
        one.grow(1).expect("memory");
        one.add(&decimals(&[150, 250, 1], 2), &Selection::first(3), None, &mut Nobody);
        assert_eq!(one.sums, [Sum { total: 401, count: 3, scale: 2, shown: 2 }]);
    }

    #[test]
    fn wide_numerics_are_those_of_the_server() {
        let words = |value: i128, scale: u8| -> Vec<u16> {
            let image = wide_numeric(value, scale);
            assert_eq!(u32::from_le_bytes([image[0], image[1], image[2], image[3]]) >> 2, image.len() as u32);
            image[4..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
        };
        let large = 123_456_789_012_345_678_901_234i128;
        assert_eq!(words(large, 0), [0x8005, 1234, 5678, 9012, 3456, 7890, 1234]);
        assert_eq!(words(large, 2), [0x8105, 12, 3456, 7890, 1234, 5678, 9012, 3400]);
        assert_eq!(words(-large, 4), [0xa204, 1234, 5678, 9012, 3456, 7890, 1234]);
        assert_eq!(words(10i128.pow(24), 4), [0x8205, 1]);
        assert_eq!(words(10i128.pow(24), 5), [0x8284, 1000]);
        assert_eq!(words(0, 2), [0x8100]);
        assert_eq!(words(5 * 10i128.pow(20), 30), [0x8f00 | 0x7d, 500]);
        assert_eq!(words(i128::from(i64::MAX) * 10, 1), [0x8084, 922, 3372, 368, 5477, 5807]);
    }
}
