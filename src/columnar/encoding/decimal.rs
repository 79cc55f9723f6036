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

/// The weight that a header of the short form states.
#[inline]
fn weight_of(header: u16) -> i16 {
    let low = (header & SHORT_WEIGHT) as i16;
    if header & SHORT_WEIGHT_SIGN == 0 { low } else { low | !(SHORT_WEIGHT as i16) }
}

/// What a numeric consists of.
enum Parts<'a> {
    Finite { negative: bool, scale: u16, weight: i16, digits: &'a [u8] },
    Infinite { negative: bool },
    NaN,
}

impl<'a> Parts<'a> {
    #[inline]
    fn of(varlena: &'a [u8]) -> Option<Self> {
        let (header, rest) = varlena_content(varlena)?.split_first_chunk()?;
        let header = u16::from_le_bytes(*header);
        match header & FORM {
            SHORT => {
                let weight = weight_of(header);
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

/// What decides whether two numerics, with their variable-length headers, are equal: sign or kind, weight, and digits without zeros at
/// either end.
pub fn canonical(varlena: &[u8]) -> Option<(u8, i16, &[u8])> {
    let (negative, mut weight, digits) = match Parts::of(varlena)? {
        Parts::NaN => return Some((2, 0, &[])),
        Parts::Infinite { negative } => return Some((3 + u8::from(negative), 0, &[])),
        Parts::Finite { negative, weight, digits, .. } => (negative, weight, digits),
    };
    let mut digits = digits.as_chunks::<2>().0;
    while let [[0, 0], rest @ ..] = digits {
        digits = rest;
        weight = weight.wrapping_sub(1);
    }
    while let [rest @ .., [0, 0]] = digits {
        digits = rest;
    }
    if digits.is_empty() {
        return Some((0, 0, &[]));
    }
    Some((u8::from(negative), weight, digits.as_flattened()))
}

/// How far [`approximate`] may be off. Each step of its arithmetic rounds to half a neighbour, and a power has up to eleven of them with
/// errors that multiply.
pub(super) const APPROXIMATION_STEPS: u64 = 1 << 16;

impl Decimal {
    /// Bytes of the longest numeric that [`Self::render`] writes.
    pub const MAX_LEN: usize = MAX_RENDERED;

    /// Reads a numeric with its variable-length header; `None` if it is none that [`Decimal::render`] would write.
    #[inline]
    pub fn parse(varlena: &[u8]) -> Option<Decimal> {
        Self::parse_small(varlena).or_else(|| Self::parse_any(varlena))
    }

    /// Reads what most numerics are: of a short header, of the short form, and of up to four digits to the base 10,000; `None` for others.
    #[inline]
    fn parse_small(varlena: &[u8]) -> Option<Decimal> {
        let [len, low, high, digits @ ..] = varlena else { return None };
        let header = u16::from_le_bytes([*low, *high]);
        if usize::from(*len) != 2 * varlena.len() + 1 || header & FORM != SHORT {
            return None;
        }
        let scale = (header >> SHORT_SCALE_SHIFT & 0x3f) as u8;
        let weight = weight_of(header);
        let groups = weight + 1 + i16::from(scale.div_ceil(4));
        let (digits, []) = digits.as_chunks::<2>() else { return None };
        let (Some(first), Some(last)) = (digits.first(), digits.last()) else { return None };
        if !(1..=4).contains(&groups) || digits.len() > groups as usize || *first == [0; 2] || *last == [0; 2] {
            return None;
        }
        let mut sum = 0;
        for digit in digits {
            sum = sum * BASE + digit_of(digit)?;
        }
        for _ in digits.len()..groups as usize {
            sum *= BASE;
        }
        let (value, hidden) = match scale % 4 {
            0 => (sum, 0),
            1 => (sum / 1000, sum % 1000),
            2 => (sum / 100, sum % 100),
            _ => (sum / 10, sum % 10),
        };
        let value = if header & SHORT_NEGATIVE == 0 { value as i64 } else { -(value as i64) };
        (hidden == 0 && scale <= MAX_SCALE).then_some(Decimal { value, scale })
    }

    fn parse_any(varlena: &[u8]) -> Option<Decimal> {
        let Parts::Finite { negative, scale, weight, digits } = Parts::of(varlena)? else { return None };
        let scale = u8::try_from(scale).ok().filter(|scale| *scale <= MAX_SCALE)?;
        let magnitude = magnitude(digits, weight, scale)?;
        if magnitude == 0 && negative {
            return None;
        }
        let value = if negative { -(magnitude as i64) } else { magnitude as i64 };
        Some(Decimal { value, scale })
    }

    /// Whether [`Self::render`] can write it.
    #[inline]
    pub fn is_small(self) -> bool {
        let pad = usize::from(self.scale).div_ceil(4) * 4 - usize::from(self.scale);
        let aligned = self.value.unsigned_abs().checked_mul(POWERS[pad]);
        self.scale <= MAX_SCALE && aligned.is_some_and(|aligned| aligned < 1 << 63)
    }

    /// Writes the value, which must be small, as a numeric in the short form, with a header of four bytes, to the front of `out`, and zeros behind it; returns its
    /// length. A header of four bytes spares PostgreSQL's functions a copy of the value each time they look at it.
    pub fn render(self, out: &mut [u8; MAX_RENDERED]) -> usize {
        let scale = usize::from(self.scale);
        let places = scale.div_ceil(4);
        let mut rest = self.value.unsigned_abs().wrapping_mul(POWERS[places * 4 - scale]);
        // Digits come from the last to the first, which has to lie in front. Zeros at the end do not count.
        let (mut digits, mut count, mut stored) = (0u128, 0i16, 0);
        while rest > 0 {
            digits = digits << 16 | u128::from(rest % BASE);
            rest /= BASE;
            count += 1;
            stored += usize::from(digits > 0);
        }
        let weight = if count == 0 { 0 } else { count - places as i16 - 1 };
        let sign = if self.value < 0 { SHORT_NEGATIVE } else { 0 };
        let low = weight as u16 & (SHORT_WEIGHT | SHORT_WEIGHT_SIGN);
        let header = SHORT | sign | (scale as u16) << SHORT_SCALE_SHIFT | low;
        let len = 6 + 2 * stored;
        out[..4].copy_from_slice(&((len as u32) << 2).to_le_bytes());
        out[4..6].copy_from_slice(&header.to_le_bytes());
        out[6..].copy_from_slice(&digits.to_le_bytes()[..2 * MAX_DIGITS]);
        len
    }
}

/// Bytes of the longest numeric that is rendered.
pub(super) const MAX_RENDERED: usize = 6 + 2 * MAX_DIGITS;

/// The digits as one number with `scale` decimal places; `None` if it does not fit or they are not in PostgreSQL's normal form.
#[inline]
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
    for digit in digits.split_last()?.1 {
        sum = sum * BASE + digit_of(digit)?;
    }
    let last = digit_of(last)?;
    // Of the last digit that is shown, which has four places, so many are not.
    let hidden = usize::from(places.cast_unsigned()) * 4 - usize::from(scale);
    let value = if missing == 0 {
        let (quotient, rest) = match hidden {
            0 => (last, 0),
            1 => (last / 10, last % 10),
            2 => (last / 100, last % 100),
            _ => (last / 1000, last % 1000),
        };
        if rest > 0 {
            return None;
        }
        sum.checked_mul(POWERS[4 - hidden])?.checked_add(quotient)?
    } else {
        (sum * BASE + last).checked_mul(POWERS[4 * usize::from(missing.cast_unsigned()) - hidden])?
    };
    // Rendering goes this way back.
    (value.checked_mul(POWERS[hidden])? < 1 << 63).then_some(value)
}

/// A digit to the base 10,000.
fn digit_of(bytes: &[u8; 2]) -> Option<u64> {
    Some(u64::from(u16::from_le_bytes(*bytes))).filter(|digit| *digit < BASE)
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
    fn short_cuts_change_nothing() {
        let mut next = numbers_like_random();
        let (mut small, mut wrong) = (0, 0);
        for _ in 0..200_000 {
            let mut words = vec![SHORT | next() as u16 & [0x2383, 0x23ff, 0x3fff][next() as usize % 3]];
            for _ in 0..next() % 6 {
                words.push([next() as u16 % 10_000, next() as u16 % 100 * 100, next() as u16][next() as usize % 3]);
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let numeric = [&[(bytes.len() as u8 + 1) << 1 | 1][..], &bytes].concat();
            if let Some(decimal) = Decimal::parse_small(&numeric) {
                small += 1;
                wrong += usize::from(Decimal::parse_any(&numeric) != Some(decimal));
            }
        }
        assert_eq!(wrong, 0);
        assert!(small > 1_000, "{small}");
    }

    /// Numbers without end, the same each time.
    fn numbers_like_random() -> impl FnMut() -> u64 {
        let mut state = 0;
        move || {
            state += 1;
            super::super::sketch::mix(state)
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
