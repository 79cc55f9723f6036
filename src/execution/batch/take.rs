//! Rows of a column in another order.

use super::{Bytes, Column, Decimals, Values};
use crate::columnar::encoding::Selection;

impl Column {
    /// The values of these rows, some perhaps several times, in their order.
    pub fn take(&self, rows: &[u32]) -> Column {
        if self.same {
            return self.clone();
        }
        let mut nulls = Selection::none();
        if !self.nulls.is_empty() {
            insert_where(&mut nulls, rows, |row| self.nulls.contains(row));
        }
        let values = match &self.values {
            Values::Truth(truth) => {
                let mut taken = Selection::none();
                insert_where(&mut taken, rows, |row| truth.contains(row));
                Values::Truth(taken)
            }
            Values::Words(words) => Values::Words(taken(words, rows)),
            Values::Decimals(decimals) => Values::Decimals(Decimals {
                integers: taken(&decimals.integers, rows),
                shown: decimals.shown.as_ref().map(|shown| taken(shown, rows)),
                ..*decimals
            }),
            Values::Bytes(bytes) => Values::Bytes(match &bytes.codes {
                Some(codes) => Bytes { codes: Some(taken(codes, rows).into()), ..bytes.clone() },
                None => Bytes { starts: taken(&bytes.starts, rows).into(), ..bytes.clone() },
            }),
        };
        Column { values, nulls, same: false }
    }
}

fn insert_where(set: &mut Selection, rows: &[u32], holds: impl Fn(usize) -> bool) {
    for (place, row) in rows.iter().enumerate() {
        if holds(*row as usize) {
            set.insert(place);
        }
    }
}

/// Values by their places; nothing in particular where there is none.
pub fn taken<T: Copy + Default>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|row| values.get(*row as usize).copied().unwrap_or_default()).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn rows_keep_their_values() {
        let mut nulls = Selection::none();
        nulls.insert(2);
        let column = Column { values: Values::Words(vec![10, 11, 12, 13]), nulls, same: false };
        let taken = column.take(&[3, 2, 2, 0]);
        let Values::Words(words) = &taken.values else { panic!("words") };
        assert_eq!((words[0], words[3]), (13, 10));
        assert_eq!((0..4).map(|row| taken.is_null(row)).collect::<Vec<_>>(), [false, true, true, false]);
        let same = Column { values: Values::Words(vec![7]), nulls: Selection::none(), same: true };
        assert!(same.take(&[5, 6]).same);
    }
}
