//! Floating-point numbers that were decimals once, as integers. The idea and the way exponents are chosen are those of ALP (Afroozeh, Kuffo
//! and Boncz, "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2023).
//!
//! A number is multiplied by ten to the power of `e` and rounded. If the way back leads to the same bits, the integer stands for it; the few
//! numbers for which it does not are kept as they are. The way back is a division, where ALP multiplies with the inverse: an integer and a
//! power of ten that doubles represent exactly have the nearest double as their quotient, which is what a decimal was read as. The inverse is
//! rounded, and misses every seventh decimal of ten digits at the best of exponents.

use super::bytes::{Cursor, reserve};
use super::exceptions::{self, Exceptions};
use super::integers::{self, IntegerScratch};
use super::{EncodingError, Result};

const WHAT: &str = "ALP vector";

/// Greatest power of ten that a double represents exactly.
const MAX_EXPONENT: u8 = 22;
/// At most one in so many numbers is kept as it is.
const MAX_EXCEPTIONS: usize = 4;
/// Numbers that are looked at to choose the exponents.
const SAMPLE: usize = 32;
/// Rounds by pushing the fraction out of the significand.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Integers beyond this are not rounded by [`MAGIC`].
const LIMIT: f64 = 2_251_799_813_685_248.0;

const POWERS: [f64; MAX_EXPONENT as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The exponents of a vector: a number is an integer times ten to the power of `f`, by ten to the power of `e`. One of them is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exponents {
    e: u8,
    f: u8,
}

/// A type of floating-point numbers.
pub(super) trait Float: Copy {
    /// Its length in bytes.
    const LEN: usize;
    /// The number as a double; exact.
    fn widen(self) -> f64;
    /// The nearest number of the type.
    fn narrow(value: f64) -> Self;
    /// Its bits, low ones.
    fn bits(self) -> u64;
    /// The number with these bits.
    fn from_bits(bits: u64) -> Self;
}

impl Float for f64 {
    const LEN: usize = 8;
    fn widen(self) -> f64 {
        self
    }
    fn narrow(value: f64) -> Self {
        value
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }
}

impl Float for f32 {
    const LEN: usize = 4;
    fn widen(self) -> f64 {
        self.into()
    }
    fn narrow(value: f64) -> Self {
        value as f32
    }
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn from_bits(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
}

impl Exponents {
    #[inline]
    fn to_integer<F: Float>(self, value: F) -> Option<i64> {
        let scaled = value.widen() * POWERS[usize::from(self.e)] / POWERS[usize::from(self.f)];
        let rounded = scaled + MAGIC - MAGIC;
        if rounded.abs() < LIMIT {
            let integer = rounded as i64;
            (self.to_float::<F>(integer).bits() == value.bits()).then_some(integer)
        } else {
            None
        }
    }

    #[inline]
    fn to_float<F: Float>(self, integer: i64) -> F {
        F::narrow(integer as f64 * POWERS[usize::from(self.f)] / POWERS[usize::from(self.e)])
    }

    /// All that are tried: digits behind the point, then zeros before it.
    fn all() -> impl Iterator<Item = Exponents> {
        let places = (0..=MAX_EXPONENT).map(|e| Exponents { e, f: 0 });
        places.chain((1..=MAX_EXPONENT).map(|f| Exponents { e: 0, f }))
    }

    /// The exponents under which every `step`th of the numbers takes the fewest bits; none if they are no decimals.
    fn choose<F: Float>(values: &[F], step: usize) -> Option<Exponents> {
        let sample = || values.iter().step_by(step);
        let costs = Self::all().map(|exponents| (exponents.cost(sample()), exponents));
        let best = costs.min_by_key(|(bits, _)| *bits);
        best.filter(|(bits, _)| *bits < sample().count() * 48).map(|(_, exponents)| exponents)
    }

    /// Bits that the numbers take, about.
    fn cost<'a, F: Float + 'a>(self, values: impl Iterator<Item = &'a F>) -> usize {
        let (mut min, mut max, mut count, mut exceptions) = (i64::MAX, i64::MIN, 0, 0);
        for value in values {
            match self.to_integer(*value) {
                Some(integer) => {
                    (min, max) = (min.min(integer), max.max(integer));
                    count += 1;
                }
                None => exceptions += 1,
            }
        }
        if exceptions * MAX_EXCEPTIONS > count {
            return usize::MAX;
        }
        let width = if count == 0 { 0 } else { u64::BITS - (max.wrapping_sub(min) as u64).leading_zeros() };
        count * width as usize + exceptions * 80
    }
}

/// The numbers as integers, and the exponents; none if they are no decimals. A sample chooses, and all numbers where it has been misled.
fn integers_of<F: Float>(values: &[F], integers: &mut Vec<i64>) -> Result<Option<Exponents>> {
    let step = (values.len() / SAMPLE).max(1);
    for step in [step, 1] {
        let Some(exponents) = Exponents::choose(values, step) else { return Ok(None) };
        if fill(values, exponents, integers)? * MAX_EXCEPTIONS <= values.len() {
            return Ok(Some(exponents));
        }
    }
    Ok(None)
}

/// Replaces the integers by those of the numbers, and says how many numbers are exceptions.
fn fill<F: Float>(values: &[F], exponents: Exponents, integers: &mut Vec<i64>) -> Result<usize> {
    integers.clear();
    reserve(integers, values.len())?;
    // An exception takes the place of its predecessor, so that it widens no frame.
    let mut last = values.iter().find_map(|value| exponents.to_integer(*value)).unwrap_or(0);
    let mut exceptions = 0;
    for value in values {
        match exponents.to_integer(*value) {
            Some(integer) => last = integer,
            None => exceptions += 1,
        }
        integers.push(last);
    }
    Ok(exceptions)
}

/// Appends the numbers; false, and nothing appended, if they are no decimals.
pub(super) fn encode<F: Float>(
    values: &[F],
    integers: &mut Vec<i64>,
    scratch: &mut IntegerScratch,
    out: &mut Vec<u8>,
) -> Result<bool> {
    let Some(exponents) = integers_of(values, integers)? else { return Ok(false) };
    reserve(out, 2)?;
    out.extend([exponents.e, exponents.f]);
    let exception = |value: &F| exponents.to_integer(*value).is_none().then(|| value.bits());
    exceptions::put(values, F::LEN, exception, out)?;
    integers::encode(integers, scratch, out)?;
    Ok(true)
}

/// Reads what [`encode`] wrote into `out`, number by number with `bytes_of`; `integers` has as many places.
pub(super) fn decode<F: Float, const LEN: usize>(
    cursor: &mut Cursor<'_>,
    integers: &mut [i64],
    scratch: &mut IntegerScratch,
    out: &mut [[u8; LEN]],
    bytes_of: impl Fn(F) -> [u8; LEN],
) -> Result<()> {
    let exponents = Exponents { e: cursor.u8()?, f: cursor.u8()? };
    if exponents.e.max(exponents.f) > MAX_EXPONENT || exponents.e.min(exponents.f) > 0 {
        return Err(EncodingError::inconsistent(WHAT, "it has impossible exponents"));
    }
    let exceptions = Exceptions::skip(cursor, integers.len(), F::LEN, WHAT)?;
    integers::decode(cursor, integers, scratch)?;
    // One of the factors is 1. Either loop is one that compilers vectorise.
    let (factor, divisor) = (POWERS[usize::from(exponents.f)], POWERS[usize::from(exponents.e)]);
    let places = out.iter_mut().zip(integers.iter());
    if exponents.e == 0 {
        places.for_each(|(place, integer)| *place = bytes_of(F::narrow(*integer as f64 * factor)));
    } else {
        places.for_each(|(place, integer)| *place = bytes_of(F::narrow(*integer as f64 / divisor)));
    }
    exceptions.each(|index, bits| {
        if let Some(place) = out.get_mut(index) {
            *place = bytes_of(F::from_bits(bits));
        }
    })
}
