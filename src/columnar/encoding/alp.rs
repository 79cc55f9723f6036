//! Floating-point numbers that were decimals once, as integers: ALP (Afroozeh, Kuffo and Boncz, "ALP: Adaptive Lossless floating-Point
//! Compression", SIGMOD 2023).
//!
//! A number is multiplied by ten to the power of `e` and of minus `f` and rounded. If the way back leads to the same bits, the integer
//! stands for it; the few numbers for which it does not are kept as they are.

use super::bytes::{Cursor, reserve};
use super::exceptions::{self, Exceptions};
use super::integers::{self, IntegerScratch};
use super::{EncodingError, Result};

const WHAT: &str = "ALP vector";

/// Greatest power of ten that a double represents exactly, less those at which products lose bits.
const MAX_EXPONENT: u8 = 18;
/// At most one in so many numbers is kept as it is.
const MAX_EXCEPTIONS: usize = 4;
/// Numbers that are looked at to choose the exponents.
const SAMPLE: usize = 32;
/// Rounds by pushing the fraction out of the significand.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Integers beyond this are not rounded by [`MAGIC`].
const LIMIT: f64 = 2_251_799_813_685_248.0;

const POWERS: [f64; MAX_EXPONENT as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];
const FRACTIONS: [f64; MAX_EXPONENT as usize + 1] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16, 1e-17,
    1e-18,
];

/// The exponents of a vector.
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
        let scaled = value.widen() * POWERS[usize::from(self.e)] * FRACTIONS[usize::from(self.f)];
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
        F::narrow(integer as f64 * POWERS[usize::from(self.f)] * FRACTIONS[usize::from(self.e)])
    }

    /// The exponents under which a sample of the numbers takes the fewest bits.
    fn choose<F: Float>(values: &[F]) -> Option<Exponents> {
        let step = (values.len() / SAMPLE).max(1);
        let mut best: Option<(usize, Exponents)> = None;
        for e in (0..=MAX_EXPONENT).rev() {
            for f in (0..=e).rev() {
                let exponents = Exponents { e, f };
                let bits = exponents.cost(values.iter().step_by(step));
                if best.is_none_or(|(least, _)| bits < least) {
                    best = Some((bits, exponents));
                }
            }
        }
        let sampled = values.iter().step_by(step).count();
        best.filter(|(bits, _)| *bits < sampled * 48).map(|(_, exponents)| exponents)
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

/// Appends the numbers; false, and nothing appended, if they are no decimals.
pub(super) fn encode<F: Float>(
    values: &[F],
    integers: &mut Vec<i64>,
    scratch: &mut IntegerScratch,
    out: &mut Vec<u8>,
) -> Result<bool> {
    let Some(exponents) = Exponents::choose(values) else { return Ok(false) };
    integers.clear();
    reserve(integers, values.len())?;
    // An exception takes the place of its predecessor, so that it widens no frame.
    let mut last = values.iter().find_map(|value| exponents.to_integer(*value)).unwrap_or(0);
    let mut exceptions = 0usize;
    for value in values {
        match exponents.to_integer(*value) {
            Some(integer) => last = integer,
            None => exceptions += 1,
        }
        integers.push(last);
    }
    if exceptions * MAX_EXCEPTIONS > values.len() {
        return Ok(false);
    }
    reserve(out, 2)?;
    out.extend([exponents.e, exponents.f]);
    let exception = |value: &F| exponents.to_integer(*value).is_none().then(|| value.bits());
    exceptions::put(values, F::LEN, exception, out)?;
    integers::encode(integers, scratch, out)?;
    Ok(true)
}

/// Reads what [`encode`] wrote; `integers` has as many places as there are numbers, and `write` gets each number with its index, exceptions
/// last.
pub(super) fn decode<F: Float>(
    cursor: &mut Cursor<'_>,
    integers: &mut [i64],
    scratch: &mut IntegerScratch,
    mut write: impl FnMut(usize, F),
) -> Result<()> {
    let exponents = Exponents { e: cursor.u8()?, f: cursor.u8()? };
    if exponents.e > MAX_EXPONENT || exponents.f > exponents.e {
        return Err(EncodingError::inconsistent(WHAT, "it has impossible exponents"));
    }
    let exceptions = Exceptions::skip(cursor, integers.len(), F::LEN, WHAT)?;
    integers::decode(cursor, integers, scratch)?;
    for (index, integer) in integers.iter().enumerate() {
        write(index, exponents.to_float(*integer));
    }
    exceptions.each(|index, bits| write(index, F::from_bits(bits)))
}
