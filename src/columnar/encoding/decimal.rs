//! PostgreSQL's `numeric` as a 64-bit integer and a number of decimal places, and back.
//!
//! A numeric is a sign, a number of decimal places to show (`dscale`) and digits to the base 10,000, in one of two forms. What fits is
//! any finite value whose digits, without the decimal point and brought to a multiple of four places, are below 2^63. The others are
//! stored as they are.

use super::values::varlena_content;

/// Header of the short form: sign, places and weight in 16 bits.
const SHORT: u16 = 0x8000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_SHIFT: u32 = 7;
const SHORT_WEIGHT_SIGN: u16 = 0x0040;
const SHORT_WEIGHT: u16 = 0x003f;
/// The two highest bits: 0 and 1 are the long form with its sign, 2 is the short form, 3 is NaN or infinity.
const FORM: u16 = 0xc000;
const LONG_NEGATIVE: u16 = 0x4000;
const LONG_SCALE: u16 = 0x3fff;

const NAN: u16 = 0xc000;
const NEGATIVE_INFINITY: u16 = 0xf000;

const BASE: u64 = 10_000;
/// Digits to the base 10,000 that 63 bits hold.
const MAX_DIGITS: usize = 5;

/// Most decimal places of a decimal.
pub(super) const MAX_SCALE: u8 = 18;

/// A numeric as an integer: `value` divided by ten to the power of `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    pub value: i64,
    pub scale: u8,
}

/// Powers of ten that 64 bits hold.
pub(super) const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// What a numeric consists of.
enum Parts<'a> {
    Finite { negative: bool, scale: u16, weight: i16, digits: &'a [u8] },
    Infinite { negative: bool },
    NaN,
}

impl<'a> Parts<'a> {
    fn of(varlena: &'a [u8]) -> Option<Self> {
        let (header, rest) = varlena_content(varlena)?.split_first_chunk()?;
        let header = u16::from_le_bytes(*header);
        match header & FORM {
            SHORT => {
                let low = (header & SHORT_WEIGHT) as i16;
                let weight = if header & SHORT_WEIGHT_SIGN == 0 { low } else { low | !(SHORT_WEIGHT as i16) };
                let scale = header >> SHORT_SCALE_SHIFT & 0x3f;
                Some(Parts::Finite { negative: header & SHORT_NEGATIVE != 0, scale, weight, digits: rest })
            }
            form @ (0 | LONG_NEGATIVE) => {
                let (weight, digits) = rest.split_first_chunk()?;
                let (scale, weight) = (header & LONG_SCALE, i16::from_le_bytes(*weight));
                Some(Parts::Finite { negative: form == LONG_NEGATIVE, scale, weight, digits })
            }
            _ if header == NAN => Some(Parts::NaN),
            _ => Some(Parts::Infinite { negative: header == NEGATIVE_INFINITY }),
        }
    }
}

/// A double near a numeric with its variable-length header: off by [`APPROXIMATION_STEPS`] neighbouring doubles at most.
pub(super) fn approximate(varlena: &[u8]) -> Option<f64> {
    match Parts::of(varlena)? {
        Parts::NaN => Some(f64::NAN),
        Parts::Infinite { negative } => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        Parts::Finite { negative, weight, digits, .. } => {
            // Digits behind the sixth count for less than the last bit.
            let digits = digits.as_chunks().0.iter().take(6);
            let (mut sum, mut exponent) = (0.0, i32::from(weight) + 1);
            for digit in digits {
                sum = sum * BASE as f64 + f64::from(u16::from_le_bytes(*digit));
                exponent -= 1;
            }
            // In two steps, for the power alone may be out of range where the product is not.
            let half = exponent / 2;
            let value = sum * (BASE as f64).powi(half) * (BASE as f64).powi(exponent - half);
            Some(if negative { -value } else { value })
        }
    }
}

/// Sign and weight of a finite numeric, as one number, and its digits without zeros at the end. Equal numerics have equal ones.
pub(super) fn canonical_parts(varlena: &[u8]) -> Option<(u64, &[u8])> {
    let Parts::Finite { negative, weight, mut digits, .. } = Parts::of(varlena)? else { return None };
    while let Some((rest, [0, 0])) = digits.split_last_chunk() {
        digits = rest;
    }
    let weight = if digits.is_empty() { 0 } else { weight };
    Some((u64::from(weight.cast_unsigned()) << 1 | u64::from(negative), digits))
}

/// How far [`approximate`] may be off. Each step of its arithmetic rounds to half a neighbour, and a power has up to eleven of them with
/// errors that multiply.
pub(super) const APPROXIMATION_STEPS: u64 = 1 << 16;

impl Decimal {
    /// Reads a numeric with its variable-length header; `None` if it is none that [`Decimal::render`] would write.
    pub fn parse(varlena: &[u8]) -> Option<Decimal> {
        let Parts::Finite { negative, scale, weight, digits } = Parts::of(varlena)? else { return None };
        let scale = u8::try_from(scale).ok().filter(|scale| *scale <= MAX_SCALE)?;
        let magnitude = magnitude(digits, weight, scale)?;
        if magnitude == 0 && negative {
            return None;
        }
        let value = if negative { -(magnitude as i64) } else { magnitude as i64 };
        Some(Decimal { value, scale })
    }

    /// Writes the value as a numeric in the short form, with a header of four bytes, to the front of `out`; returns its length. A header of
    /// four bytes spares PostgreSQL's functions a copy of the value each time they look at it.
    pub fn render(self, out: &mut [u8; MAX_RENDERED]) -> usize {
        let scale = usize::from(self.scale);
        let places = scale.div_ceil(4);
        let mut rest = self.value.unsigned_abs().wrapping_mul(POWERS[places * 4 - scale]);
        let mut digits = [0u16; MAX_DIGITS];
        let mut start = MAX_DIGITS;
        while rest > 0 && start > 0 {
            start -= 1;
            digits[start] = (rest % BASE) as u16;
            rest /= BASE;
        }
        let mut end = MAX_DIGITS;
        while end > start && digits[end - 1] == 0 {
            end -= 1;
        }
        let weight = if end == start { 0 } else { (MAX_DIGITS - start) as i16 - places as i16 - 1 };
        let sign = if self.value < 0 { SHORT_NEGATIVE } else { 0 };
        let low = weight as u16 & (SHORT_WEIGHT | SHORT_WEIGHT_SIGN);
        let header = SHORT | sign | (scale as u16) << SHORT_SCALE_SHIFT | low;
        let len = 6 + 2 * (end - start);
        out[..4].copy_from_slice(&((len as u32) << 2).to_le_bytes());
        out[4..6].copy_from_slice(&header.to_le_bytes());
        for (bytes, digit) in out[6..].as_chunks_mut().0.iter_mut().zip(&digits[start..end]) {
            *bytes = digit.to_le_bytes();
        }
        len
    }
}

/// Bytes of the longest numeric that is rendered.
pub(super) const MAX_RENDERED: usize = 6 + 2 * MAX_DIGITS;

/// The digits as one number with `scale` decimal places; `None` if it does not fit or they are not in PostgreSQL's normal form.
fn magnitude(digits: &[u8], weight: i16, scale: u8) -> Option<u64> {
    let (digits, rest) = digits.as_chunks::<2>();
    let (Some(first), Some(last)) = (digits.first(), digits.last()) else {
        return (rest.is_empty() && weight == 0).then_some(0);
    };
    let count = i16::try_from(digits.len()).ok()?;
    let places = i16::from(scale).cast_unsigned().div_ceil(4).cast_signed();
    // Digits behind the last place, or zeros at either end, are no form that rendering gives back.
    let missing = places.checked_add(weight)?.checked_add(1)?.checked_sub(count)?;
    let in_form = rest.is_empty() && *first != [0, 0] && *last != [0, 0];
    if !in_form || missing < 0 || usize::from(missing.cast_unsigned()) + digits.len() > MAX_DIGITS {
        return None;
    }
    let mut sum = 0u64;
    for digit in digits {
        let digit = u64::from(u16::from_le_bytes(*digit));
        if digit >= BASE {
            return None;
        }
        sum = sum.checked_mul(BASE)?.checked_add(digit)?;
    }
    let aligned = sum.checked_mul(*POWERS.get(4 * usize::from(missing.cast_unsigned()))?)?;
    let divisor = POWERS[usize::from(places.cast_unsigned()) * 4 - usize::from(scale)];
    (aligned < 1 << 63 && aligned.is_multiple_of(divisor)).then_some(aligned / divisor)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn rendered(decimal: Decimal) -> Vec<u8> {
        let mut out = [0; MAX_RENDERED];
        let len = decimal.render(&mut out);
        out[..len].to_vec()
    }

    #[test]
    fn values_survive() {
        for scale in 0..=MAX_SCALE {
            for value in [0, 1, -1, 9_999, 10_000, 123_456_789, -100_000_000, 9_223_372_036_854_775, i64::MAX, i64::MIN]
            {
                let decimal = Decimal { value, scale };
                let pad = POWERS[usize::from(scale).div_ceil(4) * 4 - usize::from(scale)];
                if value.unsigned_abs().checked_mul(pad).is_some_and(|aligned| aligned < 1 << 63) {
                    assert_eq!(Decimal::parse(&rendered(decimal)), Some(decimal));
                }
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_server() {
        // 12345.67, -0.05, 0.00 and 20000 with the header of four bytes.
        let cases: [(i64, u8, &[u16]); 4] = [
            (1_234_567, 2, &[0x8101, 1, 2345, 6700]),
            (-5, 2, &[0x8100 | 0x2000 | 0x7f, 500]),
            (0, 2, &[0x8100]),
            (20_000, 0, &[0x8001, 2]),
        ];
        for (value, scale, words) in cases {
            let mut expected = ((4 + 2 * words.len() as u32) << 2).to_le_bytes().to_vec();
            expected.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            assert_eq!(rendered(Decimal { value, scale }), expected, "{value} {scale}");
        }
    }

    #[test]
    fn what_is_not_rendered_is_refused() {
        let numeric = |words: &[u16]| {
            let mut bytes = ((4 + 2 * words.len() as u32) << 2).to_le_bytes().to_vec();
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            Decimal::parse(&bytes)
        };
        assert_eq!(numeric(&[0xc000]), None, "NaN");
        assert_eq!(numeric(&[0xd000]), None, "infinity");
        assert_eq!(numeric(&[0xa000]), None, "minus zero");
        assert_eq!(numeric(&[0x8001, 0, 5]), None, "leading zero");
        assert_eq!(numeric(&[0x8001, 5, 0]), None, "trailing zero");
        assert_eq!(numeric(&[0x8000, 10_000]), None, "no digit");
        assert_eq!(numeric(&[0x8000, 1, 5000]), None, "digits behind the last place");
        assert_eq!(numeric(&[0x803f, 1]), None, "too large");
        assert_eq!(numeric(&[0x0002, 0x0000, 1, 2345]), None, "places that are not shown");
        assert_eq!(numeric(&[0x0000, 0x0001, 1, 2345]), Some(Decimal { value: 12_345, scale: 0 }), "long form");
        assert_eq!(Decimal::parse(&[]), None);
        assert_eq!(Decimal::parse(&[0x03]), None);
    }
}
