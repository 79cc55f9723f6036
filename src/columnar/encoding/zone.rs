//! Zone maps: the least and the greatest value of a vector, as integers that sort like the values.

use super::types::{ColumnType, Order, Physical};

/// Least and greatest non-null value, as [`order_key`] maps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    pub min: u64,
    pub max: u64,
}

impl Zone {
    /// Whether some value between `low` and `high`, both included, can be in the zone.
    pub fn overlaps(&self, low: u64, high: u64) -> bool {
        self.min <= high && low <= self.max
    }

    /// The smallest zone around both.
    pub(super) fn union(self, other: Zone) -> Zone {
        Zone { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Maps a value to an integer so that values compare as PostgreSQL compares them and integers do likewise.
///
/// Integers of different lengths map alike, and so do floats, so a constant of type `bigint` compares with a zone of
/// `integer` and one of `double precision` with a zone of `real`. Keys of different orders do not compare. `None` if the length of `bytes` does not fit `order` or
/// there is no order.
pub fn order_key(order: Order, bytes: &[u8]) -> Option<u64> {
    match (order, bytes.len()) {
        (Order::Bool, 1) => Some(bool_key(*bytes.first_chunk()?)),
        (Order::Signed, 1) => Some(signed_key(i8::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Signed, 2) => Some(signed_key(i16::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Signed, 4) => Some(signed_key(i32::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Signed, 8) => Some(signed_key(i64::from_le_bytes(*bytes.first_chunk()?))),
        (Order::Unsigned, 1) => Some(u8::from_le_bytes(*bytes.first_chunk()?).into()),
        (Order::Unsigned, 2) => Some(u16::from_le_bytes(*bytes.first_chunk()?).into()),
        (Order::Unsigned, 4) => Some(u32::from_le_bytes(*bytes.first_chunk()?).into()),
        (Order::Unsigned, 8) => Some(u64::from_le_bytes(*bytes.first_chunk()?)),
        (Order::Float4, 4) => Some(float_key(f32::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Float8, 8) => Some(float_key(f64::from_le_bytes(*bytes.first_chunk()?))),
        _ => None,
    }
}

fn bool_key([byte]: [u8; 1]) -> u64 {
    u64::from(byte != 0)
}

fn signed_key(value: i64) -> u64 {
    value as u64 ^ (1 << 63)
}

/// Positive floats sort like their bits and negative ones the other way round. All NaNs map to the greatest key.
fn float_key(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding zero turns negative zero into positive zero.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | (1 << 63) } else { !bits }
}

/// The zone of a fixed-length column's `data`, in which NULLs take the place of a value and `nulls` marks them; empty
/// `nulls` means there are none. `None` without an order or without a value.
pub(super) fn zone_of(column: ColumnType, data: &[u8], nulls: &[u8]) -> Option<Zone> {
    let Physical::Fixed { len } = column.physical else {
        return None;
    };
    match (column.order, len) {
        (Order::Bool, 1) => fold(data, nulls, bool_key),
        (Order::Signed, 1) => fold(data, nulls, |value| signed_key(i8::from_le_bytes(value).into())),
        (Order::Signed, 2) => fold(data, nulls, |value| signed_key(i16::from_le_bytes(value).into())),
        (Order::Signed, 4) => fold(data, nulls, |value| signed_key(i32::from_le_bytes(value).into())),
        (Order::Signed, 8) => fold(data, nulls, |value| signed_key(i64::from_le_bytes(value))),
        (Order::Unsigned, 1) => fold(data, nulls, |value| u8::from_le_bytes(value).into()),
        (Order::Unsigned, 2) => fold(data, nulls, |value| u16::from_le_bytes(value).into()),
        (Order::Unsigned, 4) => fold(data, nulls, |value| u32::from_le_bytes(value).into()),
        (Order::Unsigned, 8) => fold(data, nulls, u64::from_le_bytes),
        (Order::Float4, 4) => fold(data, nulls, |value| float_key(f32::from_le_bytes(value).into())),
        (Order::Float8, 8) => fold(data, nulls, |value| float_key(f64::from_le_bytes(value))),
        _ => None,
    }
}

fn fold<const LEN: usize>(data: &[u8], nulls: &[u8], key: impl Fn([u8; LEN]) -> u64) -> Option<Zone> {
    let (values, _) = data.as_chunks::<LEN>();
    let (mut min, mut max) = (u64::MAX, 0);
    let mut include = |value: &[u8; LEN]| {
        let key = key(*value);
        min = min.min(key);
        max = max.max(key);
    };
    if nulls.is_empty() {
        values.iter().for_each(&mut include);
    } else {
        values.iter().enumerate().filter(|(row, _)| !is_set(nulls, *row)).for_each(|(_, value)| include(value));
    }
    (min <= max).then_some(Zone { min, max })
}

/// Whether bit `index` of a bitmap is set; bits beyond its end are not.
#[inline]
pub(super) fn is_set(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
