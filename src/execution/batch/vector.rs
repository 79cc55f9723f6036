//! Columns from the vectors of stripes.

use super::column::{Bytes, Column, Decimals, Kind, Memory, Values};
use crate::columnar::encoding::{Nulls, Physical, Selection, Vector};
use std::rc::Rc;

/// The values of a vector as a column of a kind; `None` if they are not of that kind.
pub fn column_of(vector: Rc<Vector>, kind: Kind) -> Option<Column> {
    let rows = vector.len();
    let nulls = match vector.nulls() {
        Nulls::None => Selection::none(),
        Nulls::All => {
            return Some(Column { nulls: Selection::first(rows), same: false, ..Column::null(kind).spread(rows) });
        }
        Nulls::Some(bitmap) => Selection::from_bytes(bitmap),
    };
    let values = match kind {
        Kind::Truth => Values::Truth(truth(&vector)?),
        Kind::Word(_) | Kind::Float8 | Kind::Float4 => Values::Words(words(&vector)?),
        Kind::Numeric => match vector.decimals() {
            Some((integers, scale, unit)) => Values::Decimals(decimals(integers, scale, unit)),
            None => Values::Bytes(bytes(vector, Physical::Varlena { align: 4 })?),
        },
        Kind::Bytes(physical) => Values::Bytes(bytes(vector, physical)?),
    };
    Some(Column { values, nulls, same: false })
}

impl Column {
    /// The one value repeated; only for values that nobody looks at.
    fn spread(mut self, rows: usize) -> Self {
        match &mut self.values {
            Values::Words(words) => words.resize(rows, 0),
            Values::Decimals(decimals) => decimals.integers.resize(rows, 0),
            Values::Bytes(bytes) => bytes.starts = vec![0; rows].into(),
            Values::Truth(_) => {}
        }
        self
    }
}

fn truth(vector: &Vector) -> Option<Selection> {
    let (data, 1) = vector.fixed()? else { return None };
    let mut set = Selection::none();
    for (row, _) in data.iter().take(vector.len()).enumerate().filter(|(_, byte)| **byte != 0) {
        set.insert(row);
    }
    Some(set)
}

fn words(vector: &Vector) -> Option<Vec<i64>> {
    let (data, stride) = vector.fixed()?;
    let rows = vector.len();
    let words: Vec<i64> = match stride {
        8 => data.as_chunks().0.iter().take(rows).map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        4 => data.as_chunks().0.iter().take(rows).map(|bytes| i32::from_le_bytes(*bytes).into()).collect(),
        2 => data.as_chunks().0.iter().take(rows).map(|bytes| i16::from_le_bytes(*bytes).into()).collect(),
        1 => data.iter().take(rows).map(|byte| (*byte as i8).into()).collect(),
        _ => return None,
    };
    (words.len() == rows).then_some(words)
}

fn decimals(integers: &[i64], scale: u8, unit: i64) -> Decimals {
    let integers = match unit {
        1 => integers.to_vec(),
        _ => integers.iter().map(|integer| integer.wrapping_mul(unit)).collect(),
    };
    Decimals::new(integers, scale)
}

fn bytes(vector: Rc<Vector>, physical: Physical) -> Option<Bytes> {
    let (starts, codes) = match (physical, vector.dictionary()) {
        (Physical::Fixed { .. }, _) => {
            let (_, stride) = vector.fixed()?;
            let base = vector.base() as u32;
            ((0..vector.len()).map(|row| base + (row * stride) as u32).collect(), None)
        }
        (_, Some((codes, entries))) => (entries.into(), Some(codes.into())),
        (_, None) => (vector.starts().into(), None),
    };
    let matches = match (physical, vector.physical()) {
        (Physical::Varlena { .. }, Physical::Varlena { .. }) => true,
        (a, b) => a == b,
    };
    matches.then(|| Bytes { memory: Rc::new(Memory::Vector(vector)), physical, starts, codes })
}
