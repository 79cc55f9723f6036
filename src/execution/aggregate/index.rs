//! Where the number of a group is found: by a hash of its words, or, where there is one key whose words lie close together, at the word itself.

use super::OutOfMemory;

/// No group.
pub const UNKNOWN: u32 = u32::MAX;
/// Words lie close together if there are no more of them between the least and the greatest than this for each group.
const SPREAD: u64 = 8;
/// So many places cost nothing.
const FEW_PLACES: u64 = 1 << 14;

/// Groups by hashes of their words, with open addressing and linear probing. An entry has the upper half of the hash, which its place follows
/// from, too, so that the table grows without a look at the words; the lower half is the group's number and 1, or 0 if the place is free.
#[derive(Debug, Default)]
pub struct Hashed {
    entries: Vec<u64>,
}

const HASH: u64 = 0xffff_ffff_0000_0000;

impl Hashed {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * 8
    }

    /// Whether the table has to grow for so many groups.
    pub fn is_short_for(&self, groups: usize) -> bool {
        self.entries.len() < groups.saturating_mul(2)
    }

    /// Makes room for so many groups.
    pub fn reserve(&mut self, groups: usize) -> Result<(), OutOfMemory> {
        if !self.is_short_for(groups) {
            return Ok(());
        }
        let places = groups.saturating_mul(2).checked_next_power_of_two().ok_or(OutOfMemory)?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(places)?;
        entries.resize(places, 0);
        let old = std::mem::replace(&mut self.entries, entries);
        for entry in old.into_iter().filter(|entry| *entry != 0) {
            let place = self.free_place(entry);
            self.entries[place] = entry;
        }
        Ok(())
    }

    /// The entry at the first place of a hash, for [`Self::candidate`].
    #[inline]
    pub fn first(&self, hash: u64) -> u64 {
        self.entries.get(self.place(hash)).copied().unwrap_or(0)
    }

    /// The group of an entry, if that has the same hash.
    #[inline]
    pub fn candidate(entry: u64, hash: u64) -> u32 {
        if (entry ^ hash) & HASH == 0 { (entry as u32).wrapping_sub(1) } else { UNKNOWN }
    }

    /// The group with a hash that is equal.
    pub fn find(&self, hash: u64, equal: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = self.place(hash);
        loop {
            let entry = self.entries.get(place).copied().filter(|entry| *entry != 0)?;
            let group = Self::candidate(entry, hash);
            if group != UNKNOWN && equal(group) {
                return Some(group);
            }
            place = (place + 1) & (self.entries.len() - 1);
        }
    }

    /// Adds a group, for which there has to be room.
    pub fn insert(&mut self, hash: u64, group: u32) {
        let place = self.free_place(hash);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = hash & HASH | u64::from(group + 1);
        }
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.entries.len().wrapping_sub(1)
    }

    fn free_place(&self, hash: u64) -> usize {
        let mut place = self.place(hash);
        while self.entries.get(place).is_some_and(|entry| *entry != 0) {
            place = (place + 1) & (self.entries.len() - 1);
        }
        place
    }
}

/// Groups by the word of the only key, less the least one.
#[derive(Debug)]
pub struct Direct {
    low: i64,
    groups: Vec<u32>,
    /// The group of NULL.
    null: u32,
}

impl Default for Direct {
    fn default() -> Self {
        Self { low: 0, groups: Vec::new(), null: UNKNOWN }
    }
}

impl Direct {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.groups.capacity() * 4
    }

    /// Makes room for the words from the least to the greatest; false if they lie too far apart for so many groups.
    pub fn cover(&mut self, low: i64, high: i64, groups: usize) -> Result<bool, OutOfMemory> {
        let len = self.groups.len();
        if len == 0 {
            self.low = low;
        }
        let before = self.low.abs_diff(low.min(self.low));
        let behind = if high < self.low { 0 } else { high.abs_diff(self.low).saturating_add(1) };
        let most = (groups as u64).saturating_mul(SPREAD).max(FEW_PLACES);
        let all = before.saturating_add(behind.max(len as u64));
        if all > most {
            return Ok(false);
        }
        if before > 0 {
            // Words that fall would move the others each time.
            let spare = (len as u64 / 2).min(most - all).min(low.abs_diff(i64::MIN));
            let more = (before + spare) as usize;
            self.groups.try_reserve(more)?;
            self.groups.resize(len + more, UNKNOWN);
            self.groups.rotate_right(more);
            self.low = low - spare as i64;
        }
        let wanted = high.abs_diff(self.low) as usize + 1;
        if wanted > self.groups.len() {
            self.groups.try_reserve(wanted - self.groups.len())?;
            self.groups.resize(wanted, UNKNOWN);
        }
        Ok(true)
    }

    /// The group at a word, or of NULL.
    #[inline]
    pub fn get(&self, word: i64, null: bool) -> u32 {
        if null {
            return self.null;
        }
        self.groups.get(word.wrapping_sub(self.low) as usize).copied().unwrap_or(UNKNOWN)
    }

    /// Notes the group of a word that is covered, or of NULL.
    pub fn put(&mut self, word: i64, null: bool, group: u32) {
        if null {
            self.null = group;
        } else if let Some(place) = self.groups.get_mut(word.wrapping_sub(self.low) as usize) {
            *place = group;
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::execution::aggregate::mix;

    #[test]
    fn hashes_find_their_groups() {
        let mut table = Hashed::default();
        // Every third has the hash of the one before it.
        let hash = |group: u32| mix(0, u64::from(group - u32::from(group % 3 == 2)));
        for group in 0..10_000 {
            table.reserve(group as usize + 1).expect("memory");
            assert_eq!(table.find(hash(group), |other| other == group), None);
            table.insert(hash(group), group);
        }
        assert!((0..10_000).all(|group| table.find(hash(group), |other| other == group) == Some(group)));
        assert_eq!(table.find(mix(0, 10_001), |_| true), None);
        let known =
            (0..10_000).filter(|group| Hashed::candidate(table.first(hash(*group)), hash(*group)) == *group).count();
        assert!(known > 3_000, "{known}");
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!((Hashed::default().find(7, |_| true), Hashed::default().first(7)), (None, 0));
    }

    #[test]
    fn words_find_their_groups() {
        let mut table = Direct::default();
        for (n, word) in [5, 900, -700, 15_000, -701, 5].into_iter().enumerate() {
            assert!(table.cover(word, word, 0).expect("memory"), "{word}");
            if word != 5 || n == 0 {
                assert_eq!(table.get(word, false), UNKNOWN);
                table.put(word, false, n as u32);
            }
        }
        assert_eq!([5, 900, -700, 15_000, -701, 6].map(|word| table.get(word, false)), [0, 1, 2, 3, 4, UNKNOWN]);
        assert!(!table.cover(20_000, 20_000, 0).expect("memory"));
        assert!(table.cover(20_000, 20_000, 4_000).expect("memory"));
        assert!(!table.cover(i64::MIN, i64::MAX, 4_000).expect("memory"));
        assert_eq!(
            (table.get(-701, false), table.get(i64::MIN, false), table.get(i64::MAX, false)),
            (4, UNKNOWN, UNKNOWN)
        );
    }

    #[test]
    fn the_last_words_are_words() {
        for word in [i64::MIN, i64::MAX] {
            let mut table = Direct::default();
            assert!(table.cover(word, word, 0).expect("memory"));
            table.put(word, false, 3);
            let other = if word < 0 { word + 9 } else { word - 9 };
            assert!(table.cover(other.min(word), other.max(word), 0).expect("memory"));
            assert_eq!((table.get(word, false), table.get(other, false)), (3, UNKNOWN));
        }
    }
}
