//! Packing unsigned numbers into as many bits as the greatest of them needs.
//!
//! A full vector is packed by the `fastlanes` crate (Afroozeh and Boncz, "The FastLanes Compression Layout", VLDB 2023), whose order
//! of bits lets the compiler unpack many numbers with one instruction. Fewer numbers follow each other as a stream of bits, low ones
//! first. Either takes `count * width` bits, rounded up to bytes.

use fastlanes::BitPacking;

use super::bytes::{Cursor, reserve};
use super::types::MAX_VECTOR_ROWS;
use super::{EncodingError, Result};

const WHAT: &str = "packed numbers";

/// Most bits of a number.
pub(super) const MAX_WIDTH: u8 = 64;

/// How many bits a number needs.
#[inline]
pub(super) fn width_of(value: u64) -> u8 {
    (u64::BITS - value.leading_zeros()) as u8
}

/// Bytes that `count` numbers of `width` bits take.
pub(super) fn packed_len(count: usize, width: u8) -> usize {
    (count * usize::from(width)).div_ceil(8)
}

/// Packs and unpacks 1,024 numbers of one width by way of the narrowest word that holds them.
macro_rules! lanes {
    ($word:ty, $pack:ident, $unpack:ident, $($width:literal)*) => {
        fn $pack(values: &[u64; MAX_VECTOR_ROWS], width: u8, out: &mut [u8]) {
            const WORD: usize = size_of::<$word>();
            let narrow: [$word; MAX_VECTOR_ROWS] = std::array::from_fn(|i| values[i] as $word);
            match width {
                $($width => {
                    let mut words = [0 as $word; MAX_VECTOR_ROWS * $width / (8 * WORD)];
                    <$word>::pack::<$width, { MAX_VECTOR_ROWS * $width / (8 * WORD) }>(&narrow, &mut words);
                    for (bytes, word) in out.as_chunks_mut::<WORD>().0.iter_mut().zip(words) {
                        *bytes = word.to_le_bytes();
                    }
                })*
                _ => {}
            }
        }

        fn $unpack(bytes: &[u8], width: u8, base: i64, out: &mut [i64; MAX_VECTOR_ROWS]) {
            const WORD: usize = size_of::<$word>();
            let mut values = [0 as $word; MAX_VECTOR_ROWS];
            match width {
                $($width => {
                    let mut words = [0 as $word; MAX_VECTOR_ROWS * $width / (8 * WORD)];
                    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
                        *word = <$word>::from_le_bytes(*bytes);
                    }
                    <$word>::unpack::<$width, { MAX_VECTOR_ROWS * $width / (8 * WORD) }>(&words, &mut values);
                })*
                _ => {}
            }
            for (out, value) in out.iter_mut().zip(values) {
                *out = base.wrapping_add(value as i64);
            }
        }
    };
}

lanes!(u8, pack_8, unpack_8, 1 2 3 4 5 6 7 8);
lanes!(u16, pack_16, unpack_16, 9 10 11 12 13 14 15 16);
lanes!(u32, pack_32, unpack_32, 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
lanes!(u64, pack_64, unpack_64, 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);

/// Appends `values`, each of which has at most `width` bits.
pub(super) fn pack(values: &[u64], width: u8, out: &mut Vec<u8>) -> Result<()> {
    let len = packed_len(values.len(), width);
    reserve(out, len)?;
    let start = out.len();
    out.resize(start + len, 0);
    let into = out.get_mut(start..).unwrap_or_default();
    match <&[u64; MAX_VECTOR_ROWS]>::try_from(values) {
        Ok(block) => match width {
            0..=8 => pack_8(block, width, into),
            9..=16 => pack_16(block, width, into),
            17..=32 => pack_32(block, width, into),
            _ => pack_64(block, width, into),
        },
        Err(_) => pack_stream(values, width, into),
    }
    Ok(())
}

fn pack_stream(values: &[u64], width: u8, out: &mut [u8]) {
    let mut out = out.iter_mut();
    let (mut pending, mut bits) = (0u128, 0u32);
    for value in values {
        pending |= u128::from(*value) << bits;
        bits += u32::from(width);
        while bits >= 8 {
            if let Some(byte) = out.next() {
                *byte = pending as u8;
            }
            pending >>= 8;
            bits -= 8;
        }
    }
    if let Some(byte) = out.next() {
        *byte = pending as u8;
    }
}

/// Reads what [`pack`] wrote, `out.len()` numbers, and adds `base` to each.
pub(super) fn unpack(cursor: &mut Cursor<'_>, width: u8, base: i64, out: &mut [i64]) -> Result<()> {
    if width > MAX_WIDTH {
        return Err(EncodingError::inconsistent(WHAT, "a number has more than 64 bits"));
    }
    let bytes = cursor.bytes(packed_len(out.len(), width))?;
    match <&mut [i64; MAX_VECTOR_ROWS]>::try_from(&mut *out) {
        Ok(block) => match width {
            0..=8 => unpack_8(bytes, width, base, block),
            9..=16 => unpack_16(bytes, width, base, block),
            17..=32 => unpack_32(bytes, width, base, block),
            _ => unpack_64(bytes, width, base, block),
        },
        Err(_) => unpack_stream(bytes, width, base, out),
    }
    Ok(())
}

fn unpack_stream(bytes: &[u8], width: u8, base: i64, out: &mut [i64]) {
    let mut bytes = bytes.iter();
    let (mut pending, mut bits) = (0u128, 0u32);
    let mask = (1u128 << width) - 1;
    for out in out {
        while bits < u32::from(width) {
            pending |= u128::from(bytes.next().copied().unwrap_or(0)) << bits;
            bits += 8;
        }
        *out = base.wrapping_add((pending & mask) as i64);
        pending >>= width;
        bits -= u32::from(width);
    }
}
