//! The parts that stand by themselves: order keys, metadata, delete bitmaps, buffers.

use std::cmp::Ordering;

use super::super::meta::STRIPE_META_MAX_LEN;
use super::*;

/// The key of a value of an exact order.
fn key_of(order: Order, bytes: &[u8]) -> u64 {
    let keys = order_keys(order, Physical::Fixed { len: bytes.len() as u16 }, bytes).unwrap();
    assert_eq!(keys.min, keys.max);
    keys.min
}

/// PostgreSQL's order of floats.
fn compare_floats(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap(),
        (a_nan, b_nan) => a_nan.cmp(&b_nan),
    }
}

fn some_float() -> impl Strategy<Value = f64> {
    let special =
        [0.0, -0.0, 1.0, -1.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324];
    prop_oneof![any::<u64>().prop_map(f64::from_bits), proptest::sample::select(special.to_vec())]
}

proptest! {
    #[test]
    fn float_keys_sort_like_floats(a in some_float(), b in some_float()) {
        let key = |value: f64| key_of(Order::Float8, &value.to_le_bytes());
        prop_assert_eq!(key(a).cmp(&key(b)), compare_floats(a, b));
        let (a, b) = (a as f32, b as f32);
        let key = |value: f32| key_of(Order::Float4, &value.to_le_bytes());
        prop_assert_eq!(key(a).cmp(&key(b)), compare_floats(a.into(), b.into()));
        prop_assert_eq!(key(a), key_of(Order::Float8, &f64::from(a).to_le_bytes()));
    }

    #[test]
    fn integer_keys_sort_like_integers(a in any::<i64>(), b in any::<i32>(), shift in 0..64u32) {
        let a = a >> shift;
        let long = key_of(Order::Signed, &a.to_le_bytes());
        let short = key_of(Order::Signed, &b.to_le_bytes());
        prop_assert_eq!(long.cmp(&short), a.cmp(&b.into()));
        let (c, d) = (a as u16, b as u64);
        let short = key_of(Order::Unsigned, &c.to_le_bytes());
        let long = key_of(Order::Unsigned, &d.to_le_bytes());
        prop_assert_eq!(short.cmp(&long), u64::from(c).cmp(&d));
    }

    #[test]
    fn delete_bitmaps(rows in 1..5000u32, density in 0.0..1.0f64, run in 1..300u32, seed in any::<u64>()) {
        let mut bitmap = DeleteBitmap::new(rows).unwrap();
        let mut expected = vec![false; rows as usize];
        let mut state = seed | 1;
        for start in (0..rows).step_by(run as usize) {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if (state >> 40) as f64 / f64::from(1 << 24) < density {
                for row in start..(start + run / 2 + 1).min(rows) {
                    prop_assert!(bitmap.insert(row).unwrap());
                    prop_assert!(!bitmap.insert(row).unwrap());
                    expected[row as usize] = true;
                }
            }
        }
        let deleted: Vec<u32> = (0..rows).filter(|row| expected[*row as usize]).collect();
        prop_assert_eq!(bitmap.count() as usize, deleted.len());
        prop_assert_eq!(bitmap.iter().collect::<Vec<_>>(), deleted);
        let (from, to) = (run.min(rows), (run * 7).min(rows));
        let in_range = expected[from as usize..to as usize].iter().filter(|bit| **bit).count();
        prop_assert_eq!(bitmap.count_in(from..to) as usize, in_range);
        let bytes = bitmap.encode().unwrap();
        prop_assert!(bytes.len() <= rows.div_ceil(8) as usize + 23);
        prop_assert_eq!(&DeleteBitmap::parse(&bytes, rows).unwrap(), &bitmap);
        prop_assert!(DeleteBitmap::parse(&bytes, rows + 1).is_err());
        prop_assert!(bitmap.insert(rows).is_err() && !bitmap.contains(rows));
    }
}

#[test]
fn delete_bitmaps_are_compact() {
    let mut bitmap = DeleteBitmap::new(150_000).unwrap();
    assert_eq!(bitmap.encode().unwrap().len(), 23);
    (1000..149_000).for_each(|row| assert!(bitmap.insert(row).unwrap()));
    assert!(bitmap.encode().unwrap().len() < 32);
    let all: Vec<u32> = (1000..149_000).collect();
    assert_eq!(bitmap.iter().collect::<Vec<_>>(), all);
    assert_eq!(bitmap.count_in(0..150_000), 148_000);
    assert_eq!(bitmap.count_in(999..u32::MAX), 148_000);
}

#[test]
fn a_range_of_another_length_has_no_key() {
    for (order, len) in [(Order::Signed, 3), (Order::None, 4), (Order::Float8, 4)] {
        assert_eq!(order_keys(order, Physical::Fixed { len: 8 }, &vec![0; len]), None);
    }
}

fn any_meta() -> impl Strategy<Value = StripeMeta> {
    (any::<[u32; 4]>(), 0..u64::MAX / 2, 1..u32::MAX, 0..1u64 << 40, any::<bool>(), any::<u16>()).prop_map(
        |([stripe_id, blob, deleted, span], first_row, row_count, footer_offset, open, columns)| StripeMeta {
            open,
            stripe_id,
            first_row,
            last_row: first_row + u64::from(row_count) + u64::from(span),
            row_count,
            column_count: columns,
            plain_bytes: footer_offset * 3,
            blob: BlobRef { id: blob, len: footer_offset + 1000 },
            footer_offset,
            footer_len: 1000,
            deleted: (deleted % 3 > 0).then_some(BlobRef { id: deleted, len: 77 }),
            deleted_count: if deleted % 3 > 0 { deleted.min(row_count) } else { 0 },
        },
    )
}

proptest! {
    #[test]
    fn metadata(meta in any_meta()) {
        let bytes = meta.encode().unwrap();
        prop_assert!(bytes.len() <= STRIPE_META_MAX_LEN);
        prop_assert_eq!(StripeMeta::parse(&bytes).unwrap(), meta);
        prop_assert!(meta.contains(meta.first_row) && meta.contains(meta.last_row) && !meta.contains(meta.last_row + 1));
    }
}

#[test]
fn reservations_are_open() {
    let meta = StripeMeta::reservation(3, 291, 581);
    assert_eq!(StripeMeta::parse(&meta.encode().unwrap()).unwrap(), meta);
    assert!(meta.open && meta.contains(400) && !meta.contains(290));
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    let valid = StripeMeta {
        open: false,
        row_count: 10,
        blob: BlobRef { id: 1, len: 100 },
        footer_offset: 60,
        footer_len: 40,
        ..StripeMeta::reservation(1, 5, 14)
    };
    assert!(StripeMeta::parse(&valid.encode().unwrap()).is_ok());
    let broken = [
        StripeMeta { first_row: 15, ..valid },
        StripeMeta { row_count: 11, ..valid },
        StripeMeta { row_count: 0, ..valid },
        StripeMeta { footer_len: 41, ..valid },
        StripeMeta { deleted_count: 1, ..valid },
        StripeMeta { deleted: Some(BlobRef::default()), deleted_count: 11, ..valid },
    ];
    for meta in broken {
        assert!(
            matches!(StripeMeta::parse(&meta.encode().unwrap()), Err(EncodingError::Inconsistent { .. })),
            "{meta:?}"
        );
    }
}

#[test]
fn metadata_knows_its_footer() {
    let table = Table { types: vec![], columns: vec![], numbers: vec![4, 9] };
    let finished = write(&table, Compression::None, Limits::default()).unwrap();
    let meta = StripeMeta::finished(1, 2, &finished.summary);
    let (bytes, offset, len) = stripe(&finished);
    let footer = read_footer(&mut MemorySource(&bytes), offset, len, &mut AlignedBuf::new()).unwrap();
    assert_eq!(meta.check_footer(&footer), Ok(()));
    assert!(StripeMeta { last_row: 10, ..meta }.check_footer(&footer).is_err());
    assert_eq!((meta.first_row, meta.last_row, meta.row_count), (4, 9, 2));
}

#[test]
fn buffers_are_aligned_and_reusable() {
    let mut buffer = AlignedBuf::new();
    assert!(buffer.as_slice().is_empty());
    for len in [0, 1, 7, 8, 9, 100_000, 3, 0, 5_000] {
        let bytes = buffer.prepare(len).unwrap();
        assert_eq!((bytes.as_ptr() as usize % 8, bytes.len()), (0, len));
        bytes.fill(7);
        let moved = buffer;
        assert_eq!(moved.as_slice(), vec![7; len]);
        buffer = moved;
    }
    assert!(buffer.prepare(usize::MAX - 20).is_err() && buffer.prepare(usize::MAX).is_err());
    assert!(buffer.as_slice().is_empty());
}
