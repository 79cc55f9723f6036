//! Which rows of a vector matter, and narrowing them down by the values of a column.

use super::types::{MAX_VECTOR_ROWS, Order};
use super::values::value_at;
use super::vector::{Decimals, Nulls, Vector};
use super::zone::{Zone, is_set, order_keys, scaled_zone};

const WORDS: usize = MAX_VECTOR_ROWS / 64;

/// What a value must be for its row to matter. Bounds are keys as [`order_keys`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// No value will do.
    Never,
    /// Between both, included.
    Between(u64, u64),
    /// Within one of these, which are sorted by both bounds.
    OneOf(Vec<Zone>),
    /// NULL.
    Null,
    /// Anything but NULL.
    NotNull,
}

impl Test {
    /// False if no value passes of which no more is known than the bounds and how many are NULL.
    pub fn can_pass(&self, zone: Option<Zone>, rows: u32, nulls: u32) -> bool {
        match self {
            Self::Never => false,
            Self::Null => nulls > 0,
            Self::NotNull => nulls < rows,
            // An ordered column without a zone has only NULLs.
            _ => zone.is_some_and(|zone| self.meets(zone)),
        }
    }

    /// Whether the test looks at keys.
    pub fn needs_order(&self) -> bool {
        matches!(self, Self::Between(..) | Self::OneOf(_))
    }

    /// Whether some value within the zone can pass; true for tests that do not look at keys.
    #[inline]
    fn meets(&self, zone: Zone) -> bool {
        match self {
            Self::Between(low, high) => zone.overlaps(*low, *high),
            Self::OneOf(zones) => {
                let first = zones.partition_point(|known| known.max < zone.min);
                zones.get(first).is_some_and(|known| known.min <= zone.max)
            }
            _ => true,
        }
    }
}

/// A set of rows of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    words: [u64; WORDS],
}

impl Selection {
    /// The first `rows` rows.
    pub fn first(rows: usize) -> Self {
        let word = |index: usize| match rows.saturating_sub(index * 64) {
            0 => 0,
            left @ 1..64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        Selection { words: std::array::from_fn(word) }
    }

    /// No rows.
    pub const fn none() -> Self {
        Selection { words: [0; WORDS] }
    }

    /// The rows whose bits are set, the first in the lowest bit of the first word.
    pub fn from_words(words: [u64; WORDS]) -> Self {
        Selection { words }
    }

    /// The rows whose bits are set in bytes, the first in the lowest bit of the first one.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut set = Self::none();
        for (word, bytes) in set.words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            *word = u64::from_le_bytes(whole);
        }
        set
    }

    /// The rows that are in both.
    pub fn and(&self, other: &Self) -> Self {
        Selection { words: std::array::from_fn(|index| self.words[index] & other.words[index]) }
    }

    /// The rows that are in this one only.
    pub fn and_not(&self, other: &Self) -> Self {
        Selection { words: std::array::from_fn(|index| self.words[index] & !other.words[index]) }
    }

    /// The rows that are in either.
    pub fn or(&self, other: &Self) -> Self {
        Selection { words: std::array::from_fn(|index| self.words[index] | other.words[index]) }
    }

    /// Whether there are no rows.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words.iter().fold(0, |all, word| all | word) == 0
    }

    /// Puts a row in.
    #[inline]
    pub fn insert(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Takes a row out.
    #[inline]
    pub fn remove(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Whether a row is in the set.
    #[inline]
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The first row at or behind `row`.
    #[inline]
    pub fn at_or_after(&self, row: usize) -> Option<usize> {
        let mut index = row / 64;
        let mut word = self.words.get(index)? & (u64::MAX << (row % 64));
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// The last row before `row`.
    #[inline]
    pub fn before(&self, row: usize) -> Option<usize> {
        let last = row.checked_sub(1)?.min(MAX_VECTOR_ROWS - 1);
        let mut index = last / 64;
        let mut word = self.words.get(index)? & (u64::MAX >> (63 - last % 64));
        while word == 0 {
            index = index.checked_sub(1)?;
            word = *self.words.get(index)?;
        }
        Some(index * 64 + 63 - word.leading_zeros() as usize)
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (mut words, mut start, mut word) = (self.words.iter(), 0usize, 0u64);
        std::iter::from_fn(move || {
            while word == 0 {
                word = *words.next()?;
                start += 64;
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(start - 64 + bit)
        })
    }

    /// Keeps the rows for which `keep` is true.
    fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        for (index, word) in self.words.iter_mut().enumerate().filter(|(_, word)| **word != 0) {
            let kept = (0..64).fold(0, |kept, bit| kept | u64::from(keep(index * 64 + bit)) << bit);
            *word &= kept;
        }
    }
}

impl Vector {
    /// Takes out of `rows` those whose value cannot pass the test. `order` is that of the column, and of the test's keys.
    ///
    /// Rows may stay whose value does not pass, where keys only bound values.
    pub fn narrow(&self, order: Order, test: &Test, rows: &mut Selection) {
        match test {
            Test::Never => return *rows = Selection::first(0),
            Test::Null => return rows.retain(|row| self.is_null(row)),
            _ => match self.nulls() {
                Nulls::None => {}
                Nulls::All => return *rows = Selection::first(0),
                Nulls::Some(bitmap) => rows.retain(|row| !is_set(bitmap, row)),
            },
        }
        if !test.needs_order() {
            return;
        }
        if let Some(decimals) = &self.decimals {
            return decimals.narrow(test, rows);
        }
        let physical = self.physical;
        let passes = |value: Option<&[u8]>| {
            let keys = value.and_then(|value| order_keys(order, physical, value));
            keys.is_none_or(|keys| test.meets(keys))
        };
        if let Some((codes, entries)) = self.dictionary().filter(|(_, entries)| entries.len() <= rows.count()) {
            let value = |start: &u32| value_at(physical, self.data().get(*start as usize..)?);
            let passes: Vec<bool> = entries.iter().map(|start| passes(value(start))).collect();
            return keep(codes.iter().map(|code| passes.get(usize::from(*code)).is_none_or(|passes| *passes)), rows);
        }
        match (self.fixed(), test) {
            (Some((data, 8)), Test::Between(low, high)) if order == Order::Signed => {
                keep_signed(data, i64::from_le_bytes, (*low, *high), rows);
            }
            (Some((data, 4)), Test::Between(low, high)) if order == Order::Signed => {
                keep_signed(data, |bytes| i32::from_le_bytes(bytes).into(), (*low, *high), rows);
            }
            (Some((data, 2)), Test::Between(low, high)) if order == Order::Signed => {
                keep_signed(data, |bytes| i16::from_le_bytes(bytes).into(), (*low, *high), rows);
            }
            _ => rows.retain(|row| passes(self.get(row))),
        }
    }
}

impl Vector {
    /// Whether all values may lie within a zone of the column's order, as far as their keys say. They have to be ready.
    pub fn lies_within(&self, order: Order, zone: Option<Zone>) -> bool {
        order == Order::None
            || (0..self.rows).filter_map(|row| self.get(row)).all(|value| {
                let keys = order_keys(order, self.physical, value);
                keys.is_none_or(|keys| zone.is_some_and(|zone| zone.overlaps(keys.min, keys.max)))
            })
    }
}

impl Decimals {
    fn narrow(&self, test: &Test, rows: &mut Selection) {
        match test {
            Test::Between(low, high) => {
                let least = first_integer(|value| self.zone(value).max >= *low);
                let beyond = first_integer(|value| self.zone(value).min > *high);
                let passes = |value: i64| {
                    least.is_some_and(|least| value >= least) && beyond.is_none_or(|beyond| value < beyond)
                };
                keep(self.integers.iter().map(|value| passes(*value)), rows);
            }
            _ => rows.retain(|row| self.integers.get(row).is_none_or(|value| test.meets(self.zone(*value)))),
        }
    }

    /// Keys between which an integer lies as a numeric; they grow with it.
    fn zone(&self, value: i64) -> Zone {
        scaled_zone(value, self.unit, self.scale)
    }
}

/// The least integer for which a condition holds that holds for all greater ones, too.
fn first_integer(holds: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    if !holds(high) {
        return None;
    }
    while low < high {
        let middle = low.midpoint(high);
        // The middle is rounded towards zero, so it may be the upper end.
        let middle = if middle == high { low } else { middle };
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

/// Keeps the rows of integers whose keys lie between two keys.
fn keep_signed<const LEN: usize>(data: &[u8], of: impl Fn([u8; LEN]) -> i64, keys: (u64, u64), rows: &mut Selection) {
    let value_of = |key: u64| (key ^ (1 << 63)) as i64;
    let (low, high) = (value_of(keys.0), value_of(keys.1));
    keep(data.as_chunks::<LEN>().0.iter().map(|value| (low..=high).contains(&of(*value))), rows);
}

/// Keeps the rows that pass. All of them are looked at, which costs less than asking which ones are still of interest.
#[inline]
fn keep(passes: impl Iterator<Item = bool>, rows: &mut Selection) {
    let mut passes = passes.fuse();
    for word in &mut rows.words {
        let mut kept = 0;
        for bit in 0..64 {
            kept |= u64::from(passes.next().unwrap_or(false)) << bit;
        }
        *word &= kept;
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn rows_are_found_in_both_directions() {
        let mut rows = Selection::first(130);
        assert_eq!((rows.count(), rows.before(5000), rows.at_or_after(130)), (130, Some(129), None));
        for row in 0..130 {
            if row % 63 != 2 {
                rows.remove(row);
            }
        }
        assert_eq!(rows.iter().collect::<Vec<_>>(), [2, 65, 128]);
        assert_eq!(
            (rows.before(128), rows.before(65), rows.before(2), rows.before(0)),
            (Some(65), Some(2), None, None)
        );
        assert!(rows.contains(65) && !rows.contains(66) && !rows.contains(5000));
        assert_eq!(Selection::first(1024).count(), 1024);
        assert_eq!(Selection::first(0).at_or_after(0), None);
    }

    #[test]
    fn the_least_integer_is_found() {
        for bound in [i64::MIN, -5, 0, 1, i64::MAX - 1, i64::MAX] {
            assert_eq!(first_integer(|value| value >= bound), Some(bound));
        }
        assert_eq!(first_integer(|_| false), None);
    }

    fn can_pass(test: &Test, min: u64, max: u64) -> bool {
        test.can_pass(Some(Zone { min, max }), 10, 1)
    }

    #[test]
    fn bounds_are_included() {
        assert!(can_pass(&Test::Between(5, 7), 7, 9));
        assert!(can_pass(&Test::Between(5, 7), 0, 5));
        assert!(!can_pass(&Test::Between(5, 7), 8, 9));
        assert!(!can_pass(&Test::Between(5, 7), 0, 4));
        assert!(can_pass(&Test::Between(0, u64::MAX), 3, 3));
    }

    #[test]
    fn a_list_passes_where_a_member_lies_in_the_zone() {
        let list = Test::OneOf(vec![Zone { min: 2, max: 2 }, Zone { min: 50, max: 50 }]);
        assert!(can_pass(&list, 50, 60) && can_pass(&list, 0, 2));
        assert!(!can_pass(&list, 3, 49) && !can_pass(&list, 51, 90));
        assert!(!can_pass(&Test::OneOf(Vec::new()), 0, u64::MAX));
        let wide = Test::OneOf(vec![Zone { min: 2, max: 6 }, Zone { min: 4, max: 8 }]);
        assert!(can_pass(&wide, 8, 9) && can_pass(&wide, 0, 2) && !can_pass(&wide, 9, 9));
    }

    #[test]
    fn nulls_pass_no_comparison() {
        assert!(!Test::Between(0, u64::MAX).can_pass(None, 4, 4) && !Test::NotNull.can_pass(None, 4, 4));
        assert!(Test::Null.can_pass(None, 4, 4) && !Test::Null.can_pass(None, 4, 0));
        assert!(!can_pass(&Test::Never, 0, u64::MAX));
    }
}
