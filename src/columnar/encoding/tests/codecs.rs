//! Each encoding by itself: what goes in comes out, and it is chosen where it should be.

use super::super::alp;
use super::super::alp_rd;
use super::super::bytes::Cursor;
use super::super::decimal::{Decimal, MAX_RENDERED};
use super::super::directory::Encoding;
use super::super::integers::{self, IntegerScratch};
use super::super::pack::{pack, packed_len, unpack};
use super::*;

fn integers_of_all_shapes() -> impl Strategy<Value = Vec<i64>> {
    let len = prop_oneof![4 => 1..80usize, 2 => Just(1024usize), 1 => 1..1024usize];
    let one = (any::<i64>(), 0..64u32).prop_map(|(value, shift)| value >> shift);
    (len, one.clone(), one, 0..7).prop_flat_map(|(len, base, step, shape)| {
        vec((any::<i64>(), 0..64u32, 0..100u32), len..=len).prop_map(move |noise| {
            let mut sum = base;
            let shapes = noise.iter().enumerate().map(|(i, (value, shift, chance))| match shape {
                0 => *value >> shift,
                1 => base.wrapping_add(step.wrapping_mul(i as i64)),
                2 => base.wrapping_add((value & 7) + if *chance < 3 { *value } else { 0 }),
                3 => base.wrapping_add((i as i64 / 37).wrapping_mul(step)),
                4 => [base, step, 0, i64::MIN, i64::MAX][*chance as usize % 5],
                5 if *chance < 6 => [i64::MIN, i64::MAX][*chance as usize % 2].wrapping_add(value & 7),
                5 => base.wrapping_add(value & 15),
                _ => {
                    sum = sum.wrapping_add(step.wrapping_add(value & 3));
                    sum
                }
            });
            shapes.collect()
        })
    })
}

fn encoded(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    integers::encode(values, &mut IntegerScratch::default(), &mut out).unwrap();
    out
}

#[test]
fn a_frame_at_one_end_has_outliers_at_the_other() {
    for near in [i64::MAX - 60, i64::MIN + 1] {
        let mut values: Vec<i64> = (0..200).map(|i| near + i * 17 % 61).collect();
        (values[50], values[51], values[120]) = (i64::MIN + 1, i64::MAX - 1, 0);
        let (bytes, mut back) = (encoded(&values), vec![0; 200]);
        integers::decode(&mut Cursor::new(&bytes, "test"), &mut back, &mut IntegerScratch::default()).unwrap();
        assert_eq!(back, values);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn integers_survive(values in integers_of_all_shapes()) {
        let bytes = encoded(&values);
        let mut cursor = Cursor::new(&bytes, "test");
        let mut back = vec![7; values.len()];
        integers::decode(&mut cursor, &mut back, &mut IntegerScratch::default()).unwrap();
        cursor.finish().unwrap();
        prop_assert_eq!(back, values);
    }

    #[test]
    fn noise_is_no_integers(bytes in vec(any::<u8>(), 0..200), count in prop_oneof![1..50usize, Just(1024)]) {
        let _ = integers::decode(&mut Cursor::new(&bytes, "test"), &mut vec![0; count], &mut IntegerScratch::default());
        let _ = alp_rd::decode(&mut Cursor::new(&bytes, "test"), &mut vec![0; count], &mut Vec::new());
        let _ = alp::decode(&mut Cursor::new(&bytes, "test"), &mut vec![0; count], &mut IntegerScratch::default(), &mut vec![[0; 8]; count], f64::to_le_bytes);
    }

    #[test]
    fn packed_numbers_survive(width in 0..=64u8, count in prop_oneof![0..100usize, Just(1024)], seed in any::<u64>()) {
        let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
        let values: Vec<u64> = (0..count as u64).map(|i| (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask).collect();
        let mut bytes = vec![];
        pack(&values, width, &mut bytes).unwrap();
        prop_assert_eq!(bytes.len(), packed_len(count, width));
        let mut back = vec![0; count];
        unpack(&mut Cursor::new(&bytes, "test"), width, 5, &mut back).unwrap();
        let expected: Vec<i64> = values.iter().map(|value| (*value as i64).wrapping_add(5)).collect();
        prop_assert_eq!(back, expected);
        prop_assert!(width == 0 || count == 0 || unpack(&mut Cursor::new(&bytes[1..], "test"), width, 0, &mut vec![0; count]).is_err());
    }

    #[test]
    fn floats_survive(values in vec((any::<i32>(), 0..1000u32, any::<u64>()), 1..300), decimals in 0..6i32, noise in 0..300u32) {
        let values: Vec<f64> = values
            .iter()
            .map(|(value, chance, bits)| if *chance < noise { f64::from_bits(*bits) } else { f64::from(*value) / 10f64.powi(decimals) })
            .collect();
        let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        let (mut out, mut scratch) = (vec![], IntegerScratch::default());
        let (mut places, mut back) = (vec![0; values.len()], vec![[0; 8]; values.len()]);
        if alp::encode(&values, &mut vec![], &mut scratch, &mut out).unwrap() {
            let mut cursor = Cursor::new(&out, "test");
            alp::decode(&mut cursor, &mut places, &mut scratch, &mut back, f64::to_le_bytes).unwrap();
            cursor.finish().unwrap();
            prop_assert!(back.iter().zip(&bits).all(|(back, bits)| *back == bits.to_le_bytes()));
        } else {
            prop_assert!(noise > 0 && out.is_empty());
        }
        out.clear();
        if alp_rd::encode(&bits, &mut vec![], &mut out).unwrap() {
            let mut cursor = Cursor::new(&out, "test");
            alp_rd::decode(&mut cursor, &mut places, &mut vec![]).unwrap();
            cursor.finish().unwrap();
            prop_assert_eq!(places.iter().map(|bits| *bits as u64).collect::<Vec<_>>(), bits);
        }
    }

    #[test]
    fn decimals_survive(values in vec((any::<i64>(), 0..64u32, 0..20), 1..300), scale in 0..10u8, step in 0..4u32) {
        let values: Values = values
            .iter()
            .map(|(value, shift, chance)| {
                let value = (value >> (shift.max(&12))) / 10i64.pow(step) * 10i64.pow(step);
                (*chance > 0).then(|| numeric(value, scale))
            })
            .collect();
        let numbers = (0..values.len() as u64).collect();
        let table = Table { types: vec![ColumnType::varlena(4, Order::Decimal)], columns: vec![values], numbers };
        let finished = write(&table, Compression::Zstd { level: 3 }, Limits::default()).unwrap();
        let (bytes, offset, len) = stripe(&finished);
        let nulls_only = table.columns[0].iter().all(Option::is_none);
        let back = read(&bytes, offset, len, |vector, column, entry| {
            check_vector(vector, column, entry);
            assert_eq!(entry.encoding, if nulls_only { Encoding::Plain } else { Encoding::Decimal });
        });
        prop_assert_eq!(back.unwrap(), table);
    }

    #[test]
    fn numerics_have_keys_between_which_they_lie(a in any::<i64>(), b in any::<i64>(), shifts in (0..60u32, 0..60u32), scales in (0..18u8, 0..18u8)) {
        let (a, b) = (a >> shifts.0.max(12), b >> shifts.1.max(12));
        let key = |value, scale| order_keys(Order::Decimal, Physical::Varlena { align: 4 }, &numeric(value, scale)).unwrap();
        let exact = |value: i64, scale: u8| i128::from(value) * 10i128.pow(18 - u32::from(scale));
        let (first, second) = (key(a, scales.0), key(b, scales.1));
        match exact(a, scales.0).cmp(&exact(b, scales.1)) {
            std::cmp::Ordering::Less => prop_assert!(first.min <= second.max),
            std::cmp::Ordering::Greater => prop_assert!(second.min <= first.max),
            std::cmp::Ordering::Equal => prop_assert!(first.overlaps(second.min, second.max)),
        }
    }

    #[test]
    fn prefixes_sort_like_bytes(a in vec(prop_oneof![Just(b' '), any::<u8>()], 0..12), b in vec(prop_oneof![Just(b' '), any::<u8>()], 0..12)) {
        let key = |order, bytes: &[u8]| order_keys(order, Physical::Varlena { align: 4 }, &varlena(bytes, false)).unwrap().min;
        let (ka, kb) = (key(Order::Bytes, &a), key(Order::Bytes, &b));
        prop_assert!(ka == kb || (ka < kb) == (a < b));
        let trimmed = |bytes: &[u8]| bytes[..bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1)].to_vec();
        let (ta, tb) = (trimmed(&a), trimmed(&b));
        let (ka, kb) = (key(Order::Padded, &a), key(Order::Padded, &b));
        prop_assert!(ka == kb || (ka < kb) == (ta < tb));
        prop_assert!(ta != tb || ka == kb);
    }
}

/// A numeric as the server writes it.
pub fn numeric(value: i64, scale: u8) -> Vec<u8> {
    let mut out = [0; MAX_RENDERED];
    let len = Decimal { value, scale }.render(&mut out);
    out[..len].to_vec()
}

/// Bytes that a stripe of one column of `rows` rows takes, and the encodings of its vectors.
fn stored(column: ColumnType, rows: usize, value: impl Fn(usize) -> Option<Vec<u8>>) -> (u64, Vec<Encoding>) {
    stored_with(Compression::None, column, rows, value)
}

/// The same under a compression.
pub fn stored_with(
    compression: Compression,
    column: ColumnType,
    rows: usize,
    value: impl Fn(usize) -> Option<Vec<u8>>,
) -> (u64, Vec<Encoding>) {
    let columns = vec![(0..rows).map(value).collect()];
    let table = Table { types: vec![column], columns, numbers: (0..rows as u64).collect() };
    let finished = write(&table, compression, Limits::default()).unwrap();
    let (bytes, offset, len) = stripe(&finished);
    let encodings = std::cell::RefCell::new(vec![]);
    let back = read(&bytes, offset, len, |vector, column, entry| {
        check_vector(vector, column, entry);
        encodings.borrow_mut().push(entry.encoding);
    });
    assert_eq!(back.unwrap(), table);
    (offset, encodings.into_inner())
}

#[test]
fn the_shortest_encoding_is_chosen() {
    let noise = |row: usize| (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let long = ColumnType::fixed(8, Order::Signed);
    let rows = 10_240;
    let bits = |len: u64| (len - 36 * 10) * 8 / rows as u64;
    let integer = |value: i64| Some(value.to_le_bytes().to_vec());
    let (len, encodings) = stored(long, rows, |_| integer(1 << 40));
    assert!(bits(len) == 0 && encodings == vec![Encoding::Integers; 10], "constant: {len}");
    let (len, _) = stored(long, rows, |row| integer(1_700_000_000_000_000 + row as i64 * 10_000_000));
    assert_eq!(bits(len), 0, "steps: {len}");
    let (len, _) = stored(long, rows, |row| integer(1_000_000 + (noise(row) >> 54) as i64));
    assert_eq!(bits(len), 10, "frame: {len}");
    let (len, _) = stored(long, rows, |row| integer((row as i64 / 100) * 123_456_789));
    assert!(bits(len) <= 1, "runs: {len}");
    let (len, _) = stored(long, rows, |row| integer([1 << 50, 7, -3, 1 << 33][noise(row) as usize >> 20 & 3]));
    assert_eq!(bits(len), 2, "dictionary: {len}");
    let double = ColumnType::fixed(8, Order::Float8);
    let float = |value: f64| Some(value.to_le_bytes().to_vec());
    let (len, encodings) = stored(double, rows, |row| float((noise(row) >> 50) as f64 / 100.0));
    assert!(bits(len) == 14 && encodings == vec![Encoding::Alp; 10], "decimals: {len}");
    let (len, encodings) = stored(double, rows, |row| {
        let sign = if noise(row) >> 63 == 0 { 1.0 } else { -1.0 };
        float(sign * (1.0 + (noise(row) as f64).sqrt() / 5e9))
    });
    assert!(bits(len) <= 56 && encodings == vec![Encoding::AlpRd; 10], "reals: {len} {encodings:?}");
    let (len, encodings) = stored(double, rows, |row| float((noise(row) >> 59) as f64 * 1.150_78));
    assert!(bits(len) <= 7 && encodings == vec![Encoding::Integers; 10], "few reals: {len} {encodings:?}");
    let text = ColumnType::varlena(4, Order::Bytes);
    let (len, encodings) =
        stored(text, rows, |row| Some(varlena(format!("host number {}", noise(row) >> 60).as_bytes(), false)));
    assert!(bits(len) <= 6 && encodings == vec![Encoding::Dictionary; 10], "names: {len}");
    let (len, encodings) = stored(text, rows, |row| Some(varlena(format!("{:016x}", noise(row)).as_bytes(), false)));
    assert!(bits(len) < 90 && encodings == vec![Encoding::Fsst; 10], "digits: {len}");
    let (_, encodings) = stored(text, rows, |row| Some(varlena(&noise(row).to_le_bytes(), false)));
    assert_eq!(encodings, vec![Encoding::Plain; 10]);
}
