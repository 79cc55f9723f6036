//! Texts with symbols: what goes in comes out whatever its headers, and what does not fit together is refused.

use super::super::bytes::Cursor;
use super::super::directory::Encoding;
use super::super::fsst_decode::FsstDecoder;
use super::super::integers::{self, IntegerScratch};
use super::super::symbols::{SLACK, SymbolTable};
use super::codecs::stored_with;
use super::*;

const TEXT: ColumnType = ColumnType::varlena(4, Order::Bytes);

/// Texts of which a few words are as good as random.
fn comment(row: usize) -> Vec<u8> {
    let words =
        ["furiously", "ironic", "requests", "sleep", "above the", "carefully", "final", "accounts", "pending", "x"];
    let mut noise = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let count = 2 + noise as usize % 7;
    let text = (0..count).map(|_| {
        noise = noise.wrapping_mul(0xd120_2e8c_2c5b_9a31).wrapping_add(0x1234_5678_9abc_def1);
        words[(noise >> 40) as usize % words.len()]
    });
    text.collect::<Vec<_>>().join(" ").into_bytes()
}

fn encodings(compression: Compression, value: impl Fn(usize) -> Vec<u8>) -> Vec<Encoding> {
    let nulls = |row: usize| (!row.is_multiple_of(7)).then(|| value(row));
    stored_with(compression, TEXT, 3000, nulls).1
}

#[test]
fn symbols_are_chosen_where_they_pay() {
    let zstd = Compression::Zstd { level: 3 };
    let short = |row| varlena(&comment(row), false);
    assert_eq!(encodings(Compression::None, short), [Encoding::Fsst; 3]);
    assert_eq!(encodings(Compression::Lz4, short), [Encoding::Fsst; 3]);
    assert_eq!(encodings(zstd, short), [Encoding::Plain; 3], "ZSTD finds more by itself");
    // The same long stretch in each value is what LZ4 is for.
    let stretch = |row| {
        varlena(
            &[b"0123456789abcdef".repeat(60), comment(row)[..3].to_vec(), row.to_le_bytes().to_vec()].concat(),
            false,
        )
    };
    assert_eq!(encodings(Compression::Lz4, stretch), [Encoding::Plain; 3]);
    assert_eq!(encodings(Compression::None, stretch), [Encoding::Fsst; 3]);
    let mix = |word: u64| (word ^ word >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise = |row: usize| varlena(&mix(mix(mix(row as u64 + 1))).to_le_bytes(), false);
    assert_eq!(encodings(Compression::Lz4, noise), [Encoding::Plain; 3]);
}

#[test]
fn headers_stay_what_they_are() {
    let value = |row: usize| {
        let mut value = varlena(&comment(row), row.is_multiple_of(3));
        if row.is_multiple_of(15) {
            value[0] |= 2;
        }
        value
    };
    for align in [1, 2, 4, 8] {
        for order in [Order::None, Order::Bytes, Order::Padded] {
            let column = ColumnType::varlena(align, order);
            let (_, encodings) = stored_with(Compression::None, column, 2000, |row| Some(value(row)));
            assert_eq!(encodings, [Encoding::Fsst; 2]);
        }
    }
}

#[test]
fn columns_that_change_get_other_symbols() {
    let digits = |row: usize| (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string().into_bytes();
    let changing = |row: usize| varlena(&if row < 2048 { comment(row) } else { digits(row) }, false);
    let (len, encodings) = stored_with(Compression::None, TEXT, 4096, |row| Some(changing(row)));
    let (alone, _) = stored_with(Compression::None, TEXT, 2048, |row| Some(varlena(&digits(row), false)));
    let (before, _) = stored_with(Compression::None, TEXT, 2048, |row| Some(varlena(&comment(row), false)));
    assert!(encodings == [Encoding::Fsst; 4] && len <= alone + before + 100, "{len} {alone} {before}");
}

#[test]
fn long_and_empty_values_survive() {
    let words = |row: usize| comment(row).repeat([0, 1, 2, 40, 1000][row % 5]);
    let (_, encodings) = stored_with(Compression::None, TEXT, 1500, |row| Some(varlena(&words(row), row % 2 == 0)));
    assert!(encodings.iter().all(|encoding| *encoding == Encoding::Fsst));
    let (_, encodings) = stored_with(Compression::None, TEXT, 1500, |_| Some(varlena(&[], true)));
    assert_eq!(encodings, [Encoding::Dictionary; 2]);
}

/// A vector of `rows` rows that is made by hand: symbols of two bytes, kinds and lengths of the values, codes.
fn decode(symbols: &[u8], kinds: &[i64], lens: &[i64], codes: &[u8], max: usize) -> Result<Vec<Vec<u8>>> {
    let mut payload = vec![0, (symbols.len() / 2) as u8, 0, 0, 0, 0, 0, 0];
    payload.extend_from_slice(symbols);
    for list in [kinds, lens] {
        integers::encode(list, &mut IntegerScratch::default(), &mut payload).unwrap();
    }
    payload.extend_from_slice(codes);
    let mut vector = Vector { physical: TEXT.physical, rows: kinds.len(), ..Vector::default() };
    FsstDecoder::default().decode(&payload, 4, max, &mut IntegerScratch::default(), &mut vector)?;
    Ok((0..vector.len()).map(|row| vector.get(row).unwrap().to_vec()).collect())
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let symbols = b"abcd";
    let values = decode(symbols, &[0, 1, 2], &[2, 3, 0], &[0, 1, 0xff, b'x'], 100).unwrap();
    assert_eq!(values, [b"\x07ab".to_vec(), b"\x1c\0\0\0cdx".to_vec(), b"\x12\0\0\0".to_vec()]);
    let fails = |kinds: &[i64], lens: &[i64], codes: &[u8]| decode(symbols, kinds, lens, codes, 100).unwrap_err();
    let inconsistent = |error| matches!(error, EncodingError::Inconsistent { .. });
    assert!(inconsistent(fails(&[0], &[2], &[2])), "a code without a symbol");
    assert!(inconsistent(fails(&[0], &[2], &[0, 0xff])), "an escape at the end");
    assert!(inconsistent(fails(&[0], &[2], &[0, 1])), "too many codes");
    assert!(inconsistent(fails(&[0], &[4], &[0])), "too few codes");
    assert!(inconsistent(fails(&[0], &[i64::MAX], &[0])) && inconsistent(fails(&[1], &[-1], &[0])));
    assert!(inconsistent(fails(&[0], &[127], &[0; 20])), "too long for a header of one byte");
    assert!(inconsistent(fails(&[3], &[2], &[0])) && inconsistent(fails(&[-1], &[2], &[0])), "no header");
    assert!(inconsistent(fails(&[1], &[17], &[0, 1])), "more than codes can stand for");
    let large = decode(symbols, &[1, 1], &[1 << 29, 1 << 29], &[0], 1 << 20);
    assert!(matches!(large, Err(EncodingError::TooLarge { .. })));
    let mut table = vec![100, 100, 56, 0, 0, 0, 0, 0];
    table.resize(1000, 0);
    assert!(inconsistent(SymbolTable::default().read(&mut Cursor::new(&table, "test")).unwrap_err()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn texts_survive(
        values in vec(proptest::option::weighted(0.8, any_text()), 1..400), repeats in 1..4usize, align in prop_oneof![Just(1u8), Just(4), Just(8)], lz4 in any::<bool>()
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let rows = values.len() * repeats;
        stored_with(compression, ColumnType::varlena(align, Order::Padded), rows, |row| values[row % values.len()].clone());
    }

    #[test]
    fn noise_is_no_text(bytes in vec(prop_oneof![Just(0u8), 0..9u8, any::<u8>()], 0..300), rows in 1..30usize) {
        let mut vector = Vector { physical: TEXT.physical, rows, ..Vector::default() };
        let mut decoder = FsstDecoder::default();
        if decoder.decode(&bytes, 4, 10_000, &mut IntegerScratch::default(), &mut vector).is_ok() {
            (0..rows).for_each(|row| assert!(!vector.get(row).unwrap().is_empty()));
        }
    }

    #[test]
    fn any_codes_expand_or_fail(
        counts in vec(0..8u8, 8), symbols in vec(any::<u8>(), 400), codes in vec(prop_oneof![4 => 0..30u8, 1 => any::<u8>()], 0..200), len in 0..500usize
    ) {
        let bytes = [counts, symbols].concat();
        let mut table = SymbolTable::default();
        table.read(&mut Cursor::new(&bytes, "test")).unwrap();
        let mut out = vec![0; len + SLACK];
        if let Ok(expanded) = table.expand(&codes, &mut out) {
            prop_assert!(expanded <= len + SLACK);
        }
    }
}
