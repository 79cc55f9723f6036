//! Which group each row of a batch belongs to.

use super::OutOfMemory;
use super::index::{Direct, Hashed, UNKNOWN};
use super::interner::Equality;
use super::key::{Key, KeyValue, mix};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind, MAX_ROWS};

/// The groups found so far: their numbers by their keys.
#[derive(Debug)]
pub struct Groups {
    keys: Vec<Key>,
    /// The words of each group: those of its keys, then one whose bits say which of them are NULL.
    words: Vec<u64>,
    index: Index,
    count: u32,
    scratch: Vec<[u64; MAX_ROWS]>,
    /// Where all keys have few different values.
    dense: Dense,
}

#[derive(Debug)]
enum Index {
    Hashed(Hashed),
    /// There is one key.
    Direct(Direct),
}

/// Groups by the words of their keys, these taken for the digits of a number.
#[derive(Debug, Default)]
struct Dense {
    /// How many words each key has, and one for NULL.
    sizes: Vec<usize>,
    /// [`UNKNOWN`] where no row has asked yet.
    groups: Vec<u32>,
}

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
        let index = match keys.as_slice() {
            [key] if key.words_used().is_none() => Index::Direct(Direct::default()),
            _ => Index::Hashed(Hashed::default()),
        };
        Self { keys, words: Vec::new(), index, count, scratch, dense: Dense::default() }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let keys: usize = self.keys.iter().map(Key::memory).sum();
        let index = match &self.index {
            Index::Hashed(hashed) => hashed.memory(),
            Index::Direct(direct) => direct.memory(),
        };
        keys + self.words.capacity() * 8 + index
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
        self.assign_by_index(rows, groups)
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
        let mut unknown = Selection::none();
        for row in rows.iter() {
            groups[row] = self.dense.groups.get(numbers[row] as usize).copied().unwrap_or(UNKNOWN);
            if groups[row] == UNKNOWN {
                unknown.insert(row);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        self.assign_by_index(&unknown, groups)?;
        for row in unknown.iter() {
            if let Some(known) = self.dense.groups.get_mut(numbers[row] as usize) {
                *known = groups[row];
            }
        }
        Ok(())
    }

    /// The same for rows whose words are in the scratch space.
    fn assign_by_index(&mut self, rows: &Selection, groups: &mut [u32; MAX_ROWS]) -> Result<(), OutOfMemory> {
        self.prepare_index(rows)?;
        let Self { words, index, count, scratch, .. } = self;
        match index {
            Index::Direct(direct) => assign_direct(direct, words, count, scratch, rows, groups),
            Index::Hashed(hashed) => assign_hashed(hashed, words, count, scratch, rows, groups),
        }
    }

    /// Makes room for the rows' words, if need be in an index of the other sort.
    fn prepare_index(&mut self, rows: &Selection) -> Result<(), OutOfMemory> {
        let all = self.count as usize + rows.count();
        let batch = match self.scratch.as_slice() {
            [words, nulls] => bounds(rows.iter().map(|row| (words[row], nulls[row]))),
            _ => None,
        };
        match (&mut self.index, batch) {
            (Index::Direct(_), None) => Ok(()),
            (Index::Direct(direct), Some((low, high))) => {
                if !direct.cover(low, high, self.count as usize)? {
                    self.index = Index::Hashed(self.hashed(all)?);
                }
                Ok(())
            }
            (Index::Hashed(hashed), batch) if hashed.is_short_for(all) => {
                if let Some((low, high)) = batch
                    && let Some(direct) = self.direct(low, high)?
                {
                    self.index = Index::Direct(direct);
                    return Ok(());
                }
                let Index::Hashed(hashed) = &mut self.index else { return Ok(()) };
                hashed.reserve(all)
            }
            (Index::Hashed(_), _) => Ok(()),
        }
    }

    /// All groups by the hashes of their words, with room for so many.
    fn hashed(&self, room: usize) -> Result<Hashed, OutOfMemory> {
        let mut hashed = Hashed::default();
        hashed.reserve(room)?;
        for (group, words) in self.words.chunks_exact(self.scratch.len()).enumerate() {
            hashed.insert(hash(words.iter().copied()), group as u32);
        }
        Ok(hashed)
    }

    /// All groups by their only words, with room for those between two; `None` if they do not lie close together.
    fn direct(&self, low: i64, high: i64) -> Result<Option<Direct>, OutOfMemory> {
        let pairs = || self.words.as_chunks().0.iter().map(|[word, null]| (*word, *null));
        let (low, high) = bounds(pairs()).map_or((low, high), |(l, h)| (low.min(l), high.max(h)));
        let mut direct = Direct::default();
        if !direct.cover(low, high, self.count as usize)? {
            return Ok(None);
        }
        for (group, (word, null)) in pairs().enumerate() {
            direct.put(word as i64, null != 0, group as u32);
        }
        Ok(Some(direct))
    }
}

/// The least and the greatest word of those that are not NULL.
fn bounds(words: impl Iterator<Item = (u64, u64)>) -> Option<(i64, i64)> {
    let words = words.filter(|(_, null)| *null == 0).map(|(word, _)| word as i64);
    let bounds = words.fold((i64::MAX, i64::MIN), |(low, high), word| (low.min(word), high.max(word)));
    (bounds.0 <= bounds.1).then_some(bounds)
}

fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, mix)
}

fn assign_direct(
    direct: &mut Direct,
    known: &mut Vec<u64>,
    count: &mut u32,
    scratch: &[[u64; MAX_ROWS]],
    rows: &Selection,
    groups: &mut [u32; MAX_ROWS],
) -> Result<(), OutOfMemory> {
    let [words, nulls] = scratch else { return Ok(()) };
    for row in rows.iter() {
        let (word, null) = (words[row] as i64, nulls[row] != 0);
        let mut group = direct.get(word, null);
        if group == UNKNOWN {
            group = add_group(known, count, scratch, row)?;
            direct.put(word, null, group);
        }
        groups[row] = group;
    }
    Ok(())
}

fn assign_hashed(
    hashed: &mut Hashed,
    known: &mut Vec<u64>,
    count: &mut u32,
    scratch: &[[u64; MAX_ROWS]],
    rows: &Selection,
    groups: &mut [u32; MAX_ROWS],
) -> Result<(), OutOfMemory> {
    let (mut hashes, mut entries) = ([0; MAX_ROWS], [0; MAX_ROWS]);
    for row in rows.iter() {
        hashes[row] = hash(scratch.iter().map(|column| column[row]));
    }
    // By themselves, so that the processor waits for the memory of many at a time.
    for row in rows.iter() {
        entries[row] = hashed.first(hashes[row]);
    }
    for row in rows.iter() {
        let first = Hashed::candidate(entries[row], hashes[row]);
        if first != UNKNOWN && is_group(known, scratch, first, row) {
            groups[row] = first;
            continue;
        }
        groups[row] = match hashed.find(hashes[row], |group| is_group(known, scratch, group, row)) {
            Some(group) => group,
            None => {
                let group = add_group(known, count, scratch, row)?;
                hashed.insert(hashes[row], group);
                group
            }
        };
    }
    Ok(())
}

/// Whether a row has the words of a group.
#[inline]
fn is_group(known: &[u64], scratch: &[[u64; MAX_ROWS]], group: u32, row: usize) -> bool {
    let start = group as usize * scratch.len();
    let known = known.get(start..start + scratch.len());
    known.is_some_and(|known| known.iter().zip(scratch).all(|(word, column)| *word == column[row]))
}

/// Makes a group of a row's words.
fn add_group(
    known: &mut Vec<u64>,
    count: &mut u32,
    scratch: &[[u64; MAX_ROWS]],
    row: usize,
) -> Result<u32, OutOfMemory> {
    let group = *count;
    // The greatest number stands for none.
    *count = count.checked_add(1).ok_or(OutOfMemory)?;
    known.try_reserve(scratch.len())?;
    known.extend(scratch.iter().map(|column| column[row]));
    Ok(group)
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

    /// A key by the row's number.
    type Shape = fn(u64) -> i64;

    /// Numbers of the groups of many words, whatever sort of index finds them, are those that a map gives.
    #[test]
    fn every_index_finds_the_groups() {
        let shapes: [(&str, Shape); 6] = [
            ("rising", |n| n as i64 / 3),
            ("falling", |n| -(n as i64) * 4),
            ("few", |n| (mix(7, n) % 50_000) as i64),
            ("far", |n| mix(7, n) as i64),
            ("close, then far", |n| if n < 50_000 { n as i64 } else { (mix(7, n) % 70_000) as i64 * 1_000_003 }),
            ("ends", |n| if n % 2 == 0 { i64::MAX - (n as i64 & 7) } else { i64::MIN + (n as i64 & 7) }),
        ];
        for (name, value) in shapes {
            let mut groups = Groups::new([(Kind::Word(8), Equality::Whole)]);
            let mut both = Groups::new([(Kind::Word(8), Equality::Whole), (Kind::Word(4), Equality::Whole)]);
            let mut expected = std::collections::HashMap::new();
            for batch in 0..100u64 {
                let values: Vec<i64> = (0..1000).map(|row| value(batch * 1000 + row)).collect();
                let column = words(&values, &[17, 500]);
                let (mut one, mut two) = ([0; MAX_ROWS], [0; MAX_ROWS]);
                groups.assign(&[&column], &Selection::first(1000), &mut one).expect("memory");
                let half = Column { same: true, ..words(&[-9], &[]) };
                both.assign(&[&column, &half], &Selection::first(1000), &mut two).expect("memory");
                for row in 0..1000 {
                    let next = expected.len() as u32;
                    let key = (![17, 500].contains(&row)).then(|| values[row]);
                    let group = *expected.entry(key).or_insert(next);
                    assert_eq!((one[row], two[row]), (group, group), "{name}, row {row} of batch {batch}");
                }
            }
            assert_eq!((groups.len(), both.len()), (expected.len(), expected.len()));
            for (key, group) in expected {
                let value = key.map_or(KeyValue::Null, KeyValue::Word);
                assert_eq!((groups.key(group as usize, 0), both.key(group as usize, 0)), (value, value));
            }
        }
    }
}
