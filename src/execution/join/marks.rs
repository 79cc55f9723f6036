//! A set of rows of the build side.

/// Rows that were met, one bit for each.
#[derive(Debug, Default)]
pub struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// None of so many rows.
    pub fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)] }
    }

    /// Adds a row.
    #[inline]
    pub fn set(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Whether a row is among them.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn rows_are_told_apart() {
        let mut marks = Marks::none(130);
        marks.set(0);
        marks.set(64);
        marks.set(129);
        marks.set(1000);
        let found: Vec<u32> = (0..200).filter(|row| marks.contains(*row)).collect();
        assert_eq!(found, [0, 64, 129]);
    }
}
