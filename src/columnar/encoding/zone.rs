//! Zone maps: the least and the greatest value of a vector, as integers that sort like the values.

use super::decimal::{APPROXIMATION_STEPS, POWERS, approximate};
use super::encode::Source;
use super::types::{Order, Physical};
use super::values::varlena_content;

/// Bounds of the non-null values, as [`order_keys`] maps them.
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

/// Maps a value to integers between which it lies, so that integers compare as PostgreSQL compares the values.
///
/// Where the order is exact both are the same, and different values have different ones. Integers of different lengths map alike, and
/// so do floats, so a constant of type `bigint` compares with a zone of `integer` and one of `double precision` with a zone of `real`.
/// Keys of different orders do not compare. Values of variable length come with their headers. `None` if the length of `bytes` does not
/// fit `order`, there is no order, or the value is compressed.
pub fn order_keys(order: Order, physical: Physical, bytes: &[u8]) -> Option<Zone> {
    let exact = |key| Zone { min: key, max: key };
    match (order, bytes.len()) {
        (Order::Decimal, _) => approximate(bytes).map(decimal_zone),
        (Order::Bytes | Order::Padded, _) => {
            let content = match physical {
                Physical::Varlena { .. } => varlena_content(bytes)?,
                _ => bytes,
            };
            Some(exact(prefix_key(order, content)))
        }
        (Order::Bool, 1) => Some(exact(bool_key(*bytes.first_chunk()?))),
        (Order::Signed, 1) => Some(exact(signed_key(i8::from_le_bytes(*bytes.first_chunk()?).into()))),
        (Order::Signed, 2) => Some(exact(signed_key(i16::from_le_bytes(*bytes.first_chunk()?).into()))),
        (Order::Signed, 4) => Some(exact(signed_key(i32::from_le_bytes(*bytes.first_chunk()?).into()))),
        (Order::Signed, 8) => Some(exact(signed_key(i64::from_le_bytes(*bytes.first_chunk()?)))),
        (Order::Unsigned, 1) => Some(exact(u8::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Unsigned, 2) => Some(exact(u16::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Unsigned, 4) => Some(exact(u32::from_le_bytes(*bytes.first_chunk()?).into())),
        (Order::Unsigned, 8) => Some(exact(u64::from_le_bytes(*bytes.first_chunk()?))),
        (Order::Float4, 4) => Some(exact(float_key(f32::from_le_bytes(*bytes.first_chunk()?).into()))),
        (Order::Float8, 8) => Some(exact(float_key(f64::from_le_bytes(*bytes.first_chunk()?)))),
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
pub(super) fn float_key(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding zero turns negative zero into positive zero.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | (1 << 63) } else { !bits }
}

/// Keys around a numeric that is near a double.
fn decimal_zone(near: f64) -> Zone {
    let key = float_key(near);
    if near.is_nan() {
        return Zone { min: key, max: key };
    }
    Zone { min: key.saturating_sub(APPROXIMATION_STEPS), max: key.saturating_add(APPROXIMATION_STEPS) }
}

/// Keys around the numeric `value` × `unit` × 10^-`scale`; they grow with the value.
pub(super) fn scaled_zone(value: i64, unit: i64, scale: u8) -> Zone {
    decimal_zone(value as f64 * unit as f64 / POWERS[usize::from(scale)] as f64)
}

/// The first eight bytes.
fn prefix_key(order: Order, content: &[u8]) -> u64 {
    if let (Order::Bytes, Some(prefix)) = (order, content.first_chunk()) {
        return u64::from_be_bytes(*prefix);
    }
    let mut prefix = [0; 8];
    for (byte, value) in prefix.iter_mut().zip(trimmed(order, content)) {
        *byte = *value;
    }
    u64::from_be_bytes(prefix)
}

/// What of a text counts in comparisons: blanks at the end of a padded one do not.
pub(super) fn trimmed(order: Order, content: &[u8]) -> &[u8] {
    if order == Order::Padded {
        let blanks = content.iter().rev().take_while(|byte| **byte == b' ').count();
        content.get(..content.len() - blanks).unwrap_or_default()
    } else {
        content
    }
}

/// The zone of a vector's values. `None` without an order or without a value. `rows` are some among which every value occurs; values of a
/// fixed length up to eight bytes are looked at one and all.
pub(super) fn zone_of(source: &Source<'_>, rows: impl Iterator<Item = usize>) -> Option<Zone> {
    let len = match source.column.physical {
        Physical::Fixed { len } => len,
        _ => 0,
    };
    let (data, nulls) = (source.data, source.nulls);
    match (source.column.order, len) {
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
        (Order::Decimal | Order::Bytes | Order::Padded, _) => {
            let values = rows.filter_map(|row| source.value(row));
            // Of a value that cannot be looked at nothing is known.
            let all = Zone { min: 0, max: u64::MAX };
            let keys = |value| order_keys(source.column.order, source.column.physical, value).unwrap_or(all);
            values.map(keys).reduce(Zone::union)
        }
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
