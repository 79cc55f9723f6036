//! Which group each row of a batch belongs to.

use super::OutOfMemory;
use super::interner::Equality;
use super::key::{Key, KeyValue, mix};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind, MAX_ROWS};
use hashbrown::HashTable;

/// The groups found so far: their numbers by their keys.
#[derive(Debug)]
pub struct Groups {
    keys: Vec<Key>,
    /// The words of each group: those of its keys, then one whose bits say which of them are NULL.
    words: Vec<u64>,
    table: HashTable<u32>,
    count: u32,
    scratch: Vec<[u64; MAX_ROWS]>,
    /// Where all keys have few different values.
    dense: Dense,
}

/// Groups by the words of their keys, these taken for the digits of a number.
#[derive(Debug, Default)]
struct Dense {
    /// How many words each key has, and one for NULL.
    sizes: Vec<usize>,
    /// [`UNKNOWN`] where no row has asked yet.
    groups: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;

/// Most numbers that [`Dense`] has.
const MAX_DENSE: usize = 1 << 14;

impl Dense {
    /// Gets ready for keys of so many words each; false if there are too many.
    fn prepare(&mut self, sizes: impl Iterator<Item = Option<usize>>) -> bool {
        let sizes: Option<Vec<usize>> = sizes.map(|size| size.map(|size| size + 1)).collect();
        let Some(sizes) = sizes else { return false };
        let Some(all) =
            sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).filter(|all| *all <= MAX_DENSE)
        else {
            return false;
        };
        if sizes != self.sizes {
            self.groups.clear();
            self.groups.resize(all, UNKNOWN);
            self.sizes = sizes;
        }
        true
    }
}

impl Groups {
    /// Groups by columns of these kinds; a single group if there are none.
    pub fn new(keys: impl IntoIterator<Item = (Kind, Equality)>) -> Self {
        let keys: Vec<Key> = keys.into_iter().map(|(kind, equality)| Key::new(kind, equality)).collect();
        let scratch = vec![[0; MAX_ROWS]; if keys.is_empty() { 0 } else { keys.len() + 1 }];
        let count = u32::from(keys.is_empty());
        Self { keys, words: Vec::new(), table: HashTable::new(), count, scratch, dense: Dense::default() }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let keys: usize = self.keys.iter().map(Key::memory).sum();
        keys + self.words.capacity() * 8 + self.table.capacity() * 5
    }

    /// Value of key column `key` in a group.
    pub fn key(&self, group: usize, key: usize) -> KeyValue<'_> {
        let width = self.scratch.len();
        let Some(words) = self.words.get(group * width..(group + 1) * width) else { return KeyValue::Null };
        let (nulls, column) = (words.last().copied().unwrap_or(0), self.keys.get(key));
        match (column, words.get(key)) {
            (Some(column), Some(word)) if nulls >> key & 1 == 0 => column.value(*word),
            _ => KeyValue::Null,
        }
    }

    /// A hash of a group's keys that does not depend on the groups there were before.
    pub fn key_hash(&self, group: usize) -> u64 {
        self.keys.iter().enumerate().fold(0, |hash, (number, key)| mix(hash, key.hash(self.key(group, number))))
    }

    /// Says for each of the rows which group it belongs to. Groups get their numbers in the order of their first rows.
    pub fn assign(
        &mut self,
        columns: &[&Column],
        rows: &Selection,
        groups: &mut [u32; MAX_ROWS],
    ) -> Result<(), OutOfMemory> {
        let Some((nulls, words)) = self.scratch.split_last_mut() else {
            groups.fill(0);
            return Ok(());
        };
        nulls.fill(0);
        for (number, ((key, column), out)) in self.keys.iter_mut().zip(columns).zip(words).enumerate() {
            let null = column.null_rows().and(rows);
            key.words(column, &rows.and_not(&null), out)?;
            for row in null.iter() {
                out[row] = 0;
                nulls[row] |= 1 << number;
            }
        }
        if self.dense.prepare(self.keys.iter().map(Key::words_used)) {
            return self.assign_dense(rows, groups);
        }
        for row in rows.iter() {
            groups[row] = self.find(row)?;
        }
        Ok(())
    }

    /// The same for keys of few different values.
    fn assign_dense(&mut self, rows: &Selection, groups: &mut [u32; MAX_ROWS]) -> Result<(), OutOfMemory> {
        let Some((nulls, words)) = self.scratch.split_last() else { return Ok(()) };
        let mut numbers = [0u32; MAX_ROWS];
        let any_null = nulls.iter().fold(0, |any, null| any | null) != 0;
        for (key, (column, size)) in words.iter().zip(&self.dense.sizes).enumerate() {
            let (size, null) = (*size as u32, *size as u32 - 1);
            for ((number, word), nulls) in numbers.iter_mut().zip(column).zip(nulls) {
                // Rows that do not count have words of other batches.
                let word = if any_null && nulls >> key & 1 == 1 { null } else { (*word as u32).min(null) };
                *number = number.wrapping_mul(size) + word;
            }
        }
        for row in rows.iter() {
            let number = numbers[row] as usize;
            groups[row] = match self.dense.groups.get(number) {
                Some(group) if *group != UNKNOWN => *group,
                _ => {
                    let group = self.find(row)?;
                    if let Some(known) = self.dense.groups.get_mut(number) {
                        *known = group;
                    }
                    group
                }
            };
        }
        Ok(())
    }

    /// The group of a row whose words are in the scratch space.
    #[inline]
    fn find(&mut self, row: usize) -> Result<u32, OutOfMemory> {
        let Self { words, table, scratch, count, .. } = self;
        let width = scratch.len();
        let hash = scratch.iter().fold(0, |hash, column| mix(hash, column[row]));
        let equal = |group: &u32| {
            let start = *group as usize * width;
            words.get(start..start + width).is_some_and(|known| known.iter().zip(&*scratch).all(|(a, b)| *a == b[row]))
        };
        if let Some(group) = table.find(hash, equal) {
            return Ok(*group);
        }
        let rehash = |words: &[u64], group: &u32| {
            let start = *group as usize * width;
            words.get(start..start + width).unwrap_or_default().iter().fold(0, |hash, word| mix(hash, *word))
        };
        table.try_reserve(1, |group| rehash(words, group)).map_err(|_| OutOfMemory)?;
        words.try_reserve(width)?;
        words.extend(scratch.iter().map(|column| column[row]));
        let group = *count;
        *count = count.checked_add(1).ok_or(OutOfMemory)?;
        table.insert_unique(hash, group, |group| rehash(words, group));
        Ok(group)
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

    #[test]
    fn groups_are_numbered_in_order() {
        let mut groups = Groups::new([(Kind::Word(8), Equality::Whole), (Kind::Float8, Equality::Float8)]);
        let floats = [0.0, -0.0, 1.0, 0.0, 1.0].map(|value: f64| value.to_bits() as i64);
        let (a, b) = (words(&[1, 1, 1, 2, 9], &[4]), words(&floats, &[]));
        let mut out = [7; MAX_ROWS];
        groups.assign(&[&a, &b], &Selection::first(5), &mut out).expect("memory");
        assert_eq!(out[..6], [0, 0, 1, 2, 3, 7]);
        assert_eq!(groups.len(), 4);
        assert_eq!((groups.key(3, 0), groups.key(2, 0)), (KeyValue::Null, KeyValue::Word(2)));
        assert_eq!(groups.key(1, 1), KeyValue::Word(floats[2]));
        groups.assign(&[&a, &b], &Selection::first(5), &mut out).expect("memory");
        assert_eq!((groups.len(), out[4]), (4, 3));
    }

    #[test]
    fn without_keys_there_is_one_group() {
        let mut groups = Groups::new([]);
        let mut out = [7; MAX_ROWS];
        groups.assign(&[], &Selection::first(2), &mut out).expect("memory");
        assert_eq!((groups.len(), out[1]), (1, 0));
    }

    #[test]
    fn nulls_are_one_group() {
        let mut groups = Groups::new([(Kind::Word(4), Equality::Whole)]);
        let mut out = [7; MAX_ROWS];
        groups.assign(&[&words(&[5, 6, 0, 0], &[0, 1])], &Selection::first(4), &mut out).expect("memory");
        assert_eq!((groups.len(), &out[..4]), (2, &[0, 0, 1, 1][..]));
        let all = Column { same: true, ..words(&[3], &[0]) };
        groups.assign(&[&all], &Selection::first(4), &mut out).expect("memory");
        assert_eq!((groups.len(), out[3]), (2, 0));
    }
}
