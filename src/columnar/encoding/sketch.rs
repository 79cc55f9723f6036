//! How many values of a column are different: a HyperLogLog sketch. Sketches of several stripes join to that of all their values.
//!
//! Flajolet, Fusy, Gandouet, Meunier: HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm, 2007. The estimate is that of
//! Ertl: New cardinality estimation algorithms for HyperLogLog sketches, 2017, which takes no correction for small or large numbers.

use xxhash_rust::xxh3::xxh3_64;

use super::bytes::Cursor;
use super::decimal::{Decimal, MAX_SCALE, POWERS, canonical};
use super::integers::{self, IntegerScratch};
use super::types::{ColumnType, Order, Physical};
use super::values::varlena_content;
use super::zone::{float_key, trimmed};
use super::{EncodingError, Result};

const WHAT: &str = "sketch of distinct values";

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 9;
/// One is off by 1.04 / √512, which is 5 %, in two of three columns.
const REGISTERS: usize = 1 << INDEX_BITS;
/// Zeros that the other bits can begin with.
const MAX_ZEROS: u32 = u64::BITS - INDEX_BITS;

/// Registers that each keep the longest run of zeros, and one more, that a hash has begun with; zero if there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    registers: [u8; REGISTERS],
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { registers: [0; REGISTERS] }
    }
}

impl Sketch {
    #[inline]
    fn add_hash(&mut self, hash: u64) {
        // The bit behind the last one ends every run.
        let rest = hash << INDEX_BITS | 1 << (INDEX_BITS - 1);
        let length = rest.leading_zeros() as u8 + 1;
        let register = &mut self.registers[(hash >> MAX_ZEROS) as usize];
        // Seldom so; a register that is written each time makes the next value wait for it.
        if length > *register {
            *register = length;
        }
    }

    /// Adds a value of a column as it lies in memory. Equal values count once, whatever their form; what is equal by more than the type's
    /// order knows of, like texts under a collation of its own, does not.
    pub fn add(&mut self, column: &ColumnType, value: &[u8]) {
        self.add_hash(hash(column, value));
    }

    /// Adds integers as [`Sketch::add`] adds values of integer types.
    pub(super) fn add_integers(&mut self, values: &[i64]) {
        values.iter().for_each(|value| self.add_hash(mix(*value as u64)));
    }

    /// Adds numerics, which are `values` × 10^`unit` with `scale` decimal places.
    pub(super) fn add_decimals(&mut self, values: &[i64], unit: u8, scale: u8) {
        let factor = decimal_factor(scale).wrapping_mul(POWERS[usize::from(unit.min(MAX_SCALE))]);
        values.iter().for_each(|value| self.add_hash(mix((*value as u64).wrapping_mul(factor))));
    }

    /// Adds floating-point numbers as [`Sketch::add`] adds values of those types.
    pub(super) fn add_floats(&mut self, values: impl Iterator<Item = f64>) {
        values.for_each(|value| self.add_hash(mix(float_key(value))));
    }

    /// Adds what another sketch has seen.
    pub fn merge(&mut self, other: &Sketch) {
        for (register, other) in self.registers.iter_mut().zip(&other.registers) {
            *register = (*register).max(*other);
        }
    }

    /// How many different values were added, about.
    pub fn estimate(&self) -> f64 {
        const COUNTS: usize = MAX_ZEROS as usize + 2;
        let registers = REGISTERS as f64;
        let mut counts = [0u32; COUNTS];
        for register in &self.registers {
            counts[usize::from(*register).min(COUNTS - 1)] += 1;
        }
        let mut sum = registers * tau(1.0 - f64::from(counts[COUNTS - 1]) / registers);
        for count in counts[1..COUNTS - 1].iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += registers * sigma(f64::from(counts[0]) / registers);
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }

    /// Appends the registers as integers.
    pub(super) fn encode(&self, scratch: &mut IntegerScratch, out: &mut Vec<u8>) -> Result<()> {
        integers::encode(&self.registers.map(i64::from), scratch, out)
    }

    /// Reads what [`Sketch::encode`] wrote.
    pub(super) fn decode(cursor: &mut Cursor<'_>, scratch: &mut IntegerScratch) -> Result<Self> {
        let mut values = [0; REGISTERS];
        integers::decode(cursor, &mut values, scratch)?;
        if values.iter().any(|value| !(0..=i64::from(MAX_ZEROS) + 1).contains(value)) {
            return Err(EncodingError::inconsistent(WHAT, "a register exceeds what a hash has"));
        }
        Ok(Sketch { registers: values.map(|value| value as u8) })
    }
}

/// What registers that have seen nothing add to the sum: x + x² + 2 x⁴ + 4 x⁸ and so on.
fn sigma(x: f64) -> f64 {
    let (mut power, mut weight, mut sum) = (x, 1.0, x);
    while power > 0.0 && sum.is_finite() {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight *= 2.0;
        if sum == before {
            break;
        }
    }
    sum
}

/// What registers that are full take from it.
fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (x, 1.0, 1.0 - x);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// A hash of 64 bits (the last steps of SplitMix64).
#[inline]
pub(super) fn mix(value: u64) -> u64 {
    let mut hash = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// What brings a numeric to the most decimal places. It may overflow, for all numerics alike.
fn decimal_factor(scale: u8) -> u64 {
    POWERS[usize::from(MAX_SCALE.saturating_sub(scale))]
}

/// The hash of a value; docs/format.md defines it.
fn hash(column: &ColumnType, value: &[u8]) -> u64 {
    let integer = |value: i64| mix(value as u64);
    match (column.physical, column.order, value) {
        (_, Order::Float4, [a, b, c, d]) => mix(float_key(f32::from_le_bytes([*a, *b, *c, *d]).into())),
        (_, Order::Float8, [a, b, c, d, e, f, g, h]) => {
            mix(float_key(f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])))
        }
        (Physical::Fixed { .. }, _, [byte]) => integer((*byte).into()),
        (Physical::Fixed { .. }, _, [a, b]) => integer(i16::from_le_bytes([*a, *b]).into()),
        (Physical::Fixed { .. }, Order::Unsigned, [a, b, c, d]) => integer(u32::from_le_bytes([*a, *b, *c, *d]).into()),
        (Physical::Fixed { .. }, _, [a, b, c, d]) => integer(i32::from_le_bytes([*a, *b, *c, *d]).into()),
        (Physical::Fixed { .. }, _, [a, b, c, d, e, f, g, h]) => {
            integer(i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (_, Order::Decimal, _) => hash_numeric(value),
        (Physical::Varlena { .. }, order, _) => {
            let content = varlena_content(value).unwrap_or(value);
            xxh3_64(trimmed(order, content))
        }
        _ => xxh3_64(value),
    }
}

fn hash_numeric(value: &[u8]) -> u64 {
    match Decimal::parse(value) {
        Some(decimal) => mix((decimal.value as u64).wrapping_mul(decimal_factor(decimal.scale))),
        None => match canonical(value) {
            Some((form, weight, digits)) => {
                xxh3_64(digits) ^ mix(u64::from(form) << 16 | u64::from(weight.cast_unsigned()))
            }
            None => xxh3_64(varlena_content(value).unwrap_or(value)),
        },
    }
}
