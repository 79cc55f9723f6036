//! Rows of the build side by their keys.
//!
//! Keys are words (see [`Key`]). Rows whose keys have the same hash are chained; where there is one key, whose words lie close together, the
//! word itself is the place of the chain, and nothing has to be compared.

use crate::columnar::encoding::Selection;
use crate::execution::aggregate::{Equality, Key, OutOfMemory, mix};
use crate::execution::batch::{Column, Kind, MAX_ROWS};

/// No row.
pub const NONE: u32 = u32::MAX;
/// The row has a NULL among its keys and is in no chain.
const UNCHAINED: u32 = u32::MAX - 1;
/// Most rows of a table.
const MAX_TABLE: usize = UNCHAINED as usize;
/// Words lie close together if there are no more of them between the least and the greatest than this for each row.
const SPREAD: u64 = 8;
/// So many places cost nothing.
const FEW_PLACES: u64 = 4096;

/// Where chains begin.
#[derive(Debug)]
enum Index {
    /// By the word of the only key, less the least one.
    Direct { low: u64, heads: Vec<u32> },
    /// By a hash of the words; the number of heads is a power of two.
    Hashed { heads: Vec<u32> },
}

/// The rows of the build side: first all are added, then others look for them.
#[derive(Debug)]
pub struct Table {
    keys: Vec<Key>,
    /// Of each key the words of all rows.
    words: Vec<Vec<u64>>,
    /// The next row of the same chain.
    next: Vec<u32>,
    index: Index,
    /// The least and the greatest word of the only key.
    bounds: (i64, i64),
    /// No two rows have the same keys.
    unique: bool,
    /// The words of the batch at hand.
    scratch: Vec<[u64; MAX_ROWS]>,
}

impl Table {
    /// Without rows.
    pub fn new(keys: &[(Kind, Equality)]) -> Self {
        Self {
            keys: keys.iter().map(|(kind, equality)| Key::new(*kind, *equality)).collect(),
            words: vec![Vec::new(); keys.len()],
            next: Vec::new(),
            index: Index::Hashed { heads: vec![NONE] },
            bounds: (i64::MAX, i64::MIN),
            unique: true,
            scratch: vec![[0; MAX_ROWS]; keys.len()],
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether no two rows have the same keys.
    pub fn is_unique(&self) -> bool {
        self.unique
    }

    /// Bytes held, or that will be once the table is finished.
    pub fn memory(&self) -> usize {
        let heads = self.span().map_or(self.hashed_places(), |(_, places)| places);
        let words: usize = self.words.iter().map(|words| words.capacity() * 8).sum();
        words + (self.next.capacity() + heads) * 4 + self.keys.iter().map(Key::memory).sum::<usize>()
    }

    /// Adds rows of a batch, in order.
    pub fn add(&mut self, columns: &[&Column], rows: &Selection) -> Result<(), OutOfMemory> {
        let count = rows.count();
        if self.next.len() + count > MAX_TABLE {
            return Err(OutOfMemory);
        }
        let null = columns.iter().fold(Selection::none(), |null, column| null.or(&column.null_rows()));
        let plain = rows.and_not(&null);
        for (((key, column), words), out) in
            self.keys.iter_mut().zip(columns).zip(&mut self.words).zip(&mut self.scratch)
        {
            key.words(column, &plain, out)?;
            if columns.len() == 1 {
                let word = plain.iter().map(|row| out[row] as i64);
                self.bounds = word.fold(self.bounds, |(low, high), word| (low.min(word), high.max(word)));
            }
            words.try_reserve(count)?;
            words.extend(rows.iter().map(|row| out[row]));
        }
        self.next.try_reserve(count)?;
        self.next.extend(rows.iter().map(|row| if null.contains(row) { UNCHAINED } else { NONE }));
        Ok(())
    }

    /// Hashes of rows' keys, which do not depend on the rows of the table; which rows have no NULL among their keys. The hash of the others is 0.
    pub fn hashes(&mut self, columns: &[&Column], rows: &Selection, out: &mut [u64; MAX_ROWS]) -> Selection {
        let null = columns.iter().fold(Selection::none(), |null, column| null.or(&column.null_rows()));
        let plain = rows.and_not(&null);
        out.fill(0);
        for (key, column) in self.keys.iter_mut().zip(columns) {
            key.add_hashes(column, &plain, out);
        }
        plain
    }

    /// Chains the rows, after the last one was added. `pause` is called now and then.
    pub fn finish(&mut self, pause: impl Fn()) -> Result<(), OutOfMemory> {
        self.index = match self.span() {
            Some((low, places)) => Index::Direct { low, heads: heads(places)? },
            None => Index::Hashed { heads: heads(self.hashed_places())? },
        };
        let Self { words, next, index, unique, .. } = self;
        // From the last to the first, so that chains go from the first to the last.
        for row in (0..next.len()).rev() {
            if row % (1 << 18) == 0 {
                pause();
            }
            if next[row] == UNCHAINED {
                continue;
            }
            let compared = matches!(index, Index::Hashed { .. });
            let Some(head) = place_of(index, words.iter().map(|words| words[row])) else { continue };
            if *unique {
                let mut other = *head;
                while compared && other != NONE && words.iter().any(|words| words[row] != words[other as usize]) {
                    other = next[other as usize];
                }
                *unique = other == NONE;
            }
            next[row] = *head;
            *head = row as u32;
        }
        Ok(())
    }

    /// The least word of the only key and how many lie between it and the greatest, if these are few.
    fn span(&self) -> Option<(u64, usize)> {
        let (low, high) = self.bounds;
        if self.keys.len() != 1 {
            return None;
        }
        if low > high {
            return Some((0, 0));
        }
        let places = high.abs_diff(low).checked_add(1)?;
        let most = (self.len() as u64).saturating_mul(SPREAD).max(FEW_PLACES);
        (places <= most).then_some((low as u64, places as usize))
    }

    /// How many chains there are where they are found by a hash.
    fn hashed_places(&self) -> usize {
        (self.len() + self.len() / 2).max(1).next_power_of_two()
    }

    /// The first row with the keys of each row of a batch, [`NONE`] where there is none; the rows that have one.
    pub fn first(&mut self, columns: &[&Column], rows: &Selection, first: &mut [u32; MAX_ROWS]) -> Selection {
        first.fill(NONE);
        let mut candidates = *rows;
        for ((key, column), out) in self.keys.iter_mut().zip(columns).zip(&mut self.scratch) {
            candidates = candidates.and_not(&column.null_rows());
            candidates = key.known_words(column, &candidates, out);
        }
        let mut found = Selection::none();
        match (&self.index, self.scratch.as_slice()) {
            (Index::Direct { low, heads }, [words]) => {
                for row in candidates.iter() {
                    let place = words[row].wrapping_sub(*low) as usize;
                    first[row] = heads.get(place).copied().unwrap_or(NONE);
                }
            }
            (Index::Hashed { heads }, scratch) => {
                let mask = heads.len() - 1;
                for row in candidates.iter() {
                    let hash = scratch.iter().fold(0, |hash, words| mix(hash, words[row]));
                    first[row] = heads.get(hash as usize & mask).copied().unwrap_or(NONE);
                }
                for row in candidates.iter() {
                    first[row] = self.equal_from(row, first[row]);
                }
            }
            _ => {}
        }
        for row in candidates.iter() {
            if first[row] != NONE {
                found.insert(row);
            }
        }
        found
    }

    /// The next row with the same keys, of a row of the batch that [`Self::first`] was asked about last.
    #[inline]
    pub fn following(&self, row: usize, known: u32) -> u32 {
        let next = self.next.get(known as usize).copied().unwrap_or(NONE);
        match self.index {
            Index::Direct { .. } => next,
            Index::Hashed { .. } => self.equal_from(row, next),
        }
    }

    /// The first row of a chain, from one on, whose words are those of a row of the batch.
    #[inline]
    fn equal_from(&self, row: usize, mut known: u32) -> u32 {
        while known != NONE
            && self.words.iter().zip(&self.scratch).any(|(words, batch)| words[known as usize] != batch[row])
        {
            known = self.next[known as usize];
        }
        known
    }
}

fn heads(places: usize) -> Result<Vec<u32>, OutOfMemory> {
    let mut heads = Vec::new();
    heads.try_reserve_exact(places)?;
    heads.resize(places, NONE);
    Ok(heads)
}

fn place_of(index: &mut Index, mut words: impl Iterator<Item = u64>) -> Option<&mut u32> {
    match index {
        Index::Direct { low, heads } => heads.get_mut(words.next()?.wrapping_sub(*low) as usize),
        Index::Hashed { heads } => {
            let mask = heads.len() - 1;
            heads.get_mut(words.fold(0, mix) as usize & mask)
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::execution::batch::Values;

    fn words(values: &[i64], nulls: &[usize]) -> Column {
        let mut set = Selection::none();
        nulls.iter().for_each(|row| set.insert(*row));
        Column { values: Values::Words(values.to_vec()), nulls: set, same: false }
    }

    /// All matches of each row, found by the table.
    fn matches(table: &mut Table, columns: &[&Column], rows: usize) -> Vec<Vec<u32>> {
        let mut first = [NONE; MAX_ROWS];
        let found = table.first(columns, &Selection::first(rows), &mut first);
        let all = |row: usize| {
            let mut list = Vec::new();
            let mut known = if found.contains(row) { first[row] } else { NONE };
            while known != NONE {
                list.push(known);
                known = table.following(row, known);
            }
            list
        };
        (0..rows).map(all).collect()
    }

    fn check(spread: i64) {
        let mut table = Table::new(&[(Kind::Word(8), Equality::Whole)]);
        let build = words(&[5, 7, 5, 0, -3, 5].map(|value| value * spread), &[3]);
        table.add(&[&build], &Selection::first(6)).expect("memory");
        table.finish(|| ()).expect("memory");
        let probe = words(&[5, 6, 7, 0, -3].map(|value| value * spread), &[]);
        assert_eq!(matches(&mut table, &[&probe], 5), [vec![0, 2, 5], vec![], vec![1], vec![], vec![4]]);
        assert!(!table.is_unique());
        let nulls = words(&[5, 5], &[0]);
        assert!(matches(&mut table, &[&nulls], 1)[0].is_empty());
    }

    #[test]
    fn rows_are_found_by_their_words() {
        check(1);
        check(1 << 40);
    }

    #[test]
    fn several_keys_all_count() {
        let mut table = Table::new(&[(Kind::Word(8), Equality::Whole), (Kind::Float8, Equality::Float8)]);
        let floats = |values: &[f64]| words(&values.iter().map(|v| v.to_bits() as i64).collect::<Vec<_>>(), &[]);
        table.add(&[&words(&[1, 1, 2], &[]), &floats(&[0.0, f64::NAN, 1.0])], &Selection::first(3)).expect("memory");
        table.finish(|| ()).expect("memory");
        assert!(table.is_unique());
        let probe = [&words(&[1, 1, 2, 2, 1], &[]), &floats(&[-0.0, -f64::NAN, 0.0, 1.0, 2.0])];
        assert_eq!(matches(&mut table, &probe, 5), [vec![0], vec![1], vec![], vec![2], vec![]]);
    }

    #[test]
    fn a_table_without_rows_has_no_matches() {
        let mut table = Table::new(&[(Kind::Word(4), Equality::Whole)]);
        table.finish(|| ()).expect("memory");
        assert!(matches(&mut table, &[&words(&[1, 0], &[])], 2).concat().is_empty());
    }

    #[test]
    fn many_rows_are_all_found() {
        for spread in [1, 1 << 33] {
            let mut table = Table::new(&[(Kind::Word(8), Equality::Whole)]);
            for start in 0..100i64 {
                let values: Vec<i64> = (start * 1000..start * 1000 + 1000).map(|v| v * spread).collect();
                table.add(&[&words(&values, &[])], &Selection::first(1000)).expect("memory");
            }
            table.finish(|| ()).expect("memory");
            assert!(table.is_unique());
            let probe: Vec<i64> = (99_500..100_500).map(|v| v * spread).collect();
            let found = matches(&mut table, &[&words(&probe, &[])], 1000);
            assert!((0..1000).all(|n| found[n] == if n < 500 { vec![99_500 + n as u32] } else { vec![] }));
        }
    }
}
