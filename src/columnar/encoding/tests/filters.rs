//! Bloom filters: no value that is there is denied, and few that are not are taken to be.

use super::super::bloom::{CHUNK_BLOCKS, build, chunk_range, filter_len, hash_in, may_have};
use super::codecs::numeric;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_value_is_denied(table in any_table(4, 300), compression in any_compression(), limits in any_limits()) {
        let finished = write_with_filters(&table, compression, limits).unwrap();
        let (bytes, offset, len) = stripe(&finished);
        let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
        let footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
        for (column, values) in table.columns.iter().enumerate() {
            super::super::check_filter(&mut source, &footer, column, &mut scratch).unwrap();
            let ColumnType { order, physical } = table.types[column];
            for hash in values.iter().flatten().filter_map(|value| equality_hash(order, physical, value)) {
                prop_assert!(super::super::may_have(&mut source, &footer, column, hash, &mut scratch).unwrap());
            }
        }
    }

    #[test]
    fn noise_is_no_filter(bytes in vec(any::<u8>(), 0..100), blocks in 1..u32::MAX, hash in any::<u64>()) {
        prop_assert!(may_have(&bytes, blocks, hash).is_err());
    }
}

#[test]
fn few_values_are_mistaken() {
    let hash = |value: u64| xxhash_rust::xxh3::xxh3_64(&value.to_le_bytes());
    for count in [1, 100, 20_000] {
        let (filter, blocks) = build((0..count).chain(0..count).map(hash).collect()).unwrap();
        assert_eq!(filter.len(), filter_len(blocks));
        assert!(filter.len() as u64 <= 60 + count * 13 / 10, "{count}: {}", filter.len());
        let starts: Vec<u64> = (0..blocks.div_ceil(CHUNK_BLOCKS))
            .map(|chunk| chunk_range(blocks, hash_in(chunk * CHUNK_BLOCKS, blocks)).0)
            .collect();
        assert!(starts.is_sorted_by(|a, b| a < b) && starts[0] == 0);
        let may_have = |value| {
            let (offset, len) = chunk_range(blocks, hash(value));
            may_have(&filter[offset as usize..][..len], blocks, hash(value)).unwrap()
        };
        assert!((0..count).all(may_have));
        let mistaken = (1 << 40..(1 << 40) + 20_000).filter(|value| may_have(*value)).count();
        assert!(mistaken < 20_000 / 40, "{count}: {mistaken}");
    }
}

#[test]
fn equal_values_have_the_same_hash() {
    let (fixed, text) = (|len| Physical::Fixed { len }, Physical::Varlena { align: 4 });
    let of_integer =
        |len: u16, value: i64| equality_hash(Order::Signed, fixed(len), &value.to_le_bytes()[..len.into()]);
    assert_eq!(of_integer(2, -7), of_integer(8, -7));
    assert_ne!(of_integer(4, 7), of_integer(4, 8));
    let of_numeric = |value, scale| equality_hash(Order::Decimal, text, &numeric(value, scale));
    assert_eq!(of_numeric(1_500, 3), of_numeric(15, 1));
    assert_eq!(of_numeric(0, 3), of_numeric(0, 0));
    assert_eq!(of_numeric(100_000_000, 0), of_numeric(1_000_000_000_000, 4));
    assert_ne!(of_numeric(15, 1), of_numeric(-15, 1));
    assert_ne!(of_numeric(1, 0), of_numeric(10_000, 0));
    let of_text = |order, content: &[u8], long| equality_hash(order, text, &varlena(content, long));
    assert_eq!(of_text(Order::Bytes, b"abc", true), of_text(Order::Bytes, b"abc", false));
    assert_ne!(of_text(Order::Bytes, b"abc", true), of_text(Order::Bytes, b"abc ", true));
    assert_eq!(of_text(Order::Padded, b"abc  ", true), of_text(Order::Padded, b"abc", false));
    assert_eq!(equality_hash(Order::Float8, fixed(8), &[0; 8]), None);
}

#[test]
fn a_sorted_column_needs_no_filter() {
    let limits = Limits { vector_rows: 100, ..Limits::default() };
    let filter_blocks = |value: &dyn Fn(u64) -> u64| {
        let values = (0..1000).map(|row| Some(value(row).to_le_bytes().to_vec())).collect();
        let table = Table {
            types: vec![ColumnType::fixed(8, Order::Unsigned)],
            columns: vec![values],
            numbers: (0..1000).collect(),
        };
        let (bytes, offset, len) = stripe(&write_with_filters(&table, Compression::None, limits).unwrap());
        let footer = read_footer(&mut MemorySource(&bytes), offset, len, &mut AlignedBuf::new()).unwrap();
        footer.columns()[0].filter_blocks
    };
    assert_eq!(filter_blocks(&|row| row), 0);
    assert_eq!(filter_blocks(&|row| row * 7919 % 1000), 40);
}
