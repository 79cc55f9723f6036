//! What is written is what is read.

use super::*;

fn assert_round_trip(table: &Table, compression: Compression, limits: Limits) -> Finished {
    let finished = write(table, compression, limits).unwrap();
    let (bytes, offset, len) = stripe(&finished);
    assert_eq!(&read(&bytes, offset, len, check_vector).unwrap(), table);
    finished
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_stripe(table in any_table(6, 300), compression in any_compression(), limits in any_limits()) {
        let finished = assert_round_trip(&table, compression, limits);
        let summary = finished.summary;
        prop_assert_eq!(summary.row_count as usize, table.numbers.len());
        prop_assert_eq!(Some(&summary.first_row), table.numbers.iter().min());
        prop_assert_eq!(Some(&summary.last_row), table.numbers.iter().max());
    }

    #[test]
    fn every_row_is_found(table in any_table(1, 300), limits in any_limits()) {
        let finished = write(&table, Compression::None, limits).unwrap();
        let (bytes, offset, len) = stripe(&finished);
        let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
        let footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
        for (ordinal, number) in table.numbers.iter().enumerate() {
            let position = find_row(&mut source, &footer, *number).unwrap().unwrap();
            prop_assert_eq!(footer.ordinal(position).unwrap(), ordinal as u32);
            let next = find_row(&mut source, &footer, number + 1).unwrap();
            prop_assert_eq!(next.is_some(), table.numbers.contains(&(number + 1)));
            let vector = position.vector as usize;
            prop_assert!(footer.bounds(vector).unwrap().contains(number));
            prop_assert_eq!(footer.position(ordinal as u32), Some(position));
        }
        prop_assert_eq!(footer.is_increasing(), table.numbers.is_sorted());
        let before = find_row(&mut source, &footer, footer.first_row().wrapping_sub(1)).unwrap();
        prop_assert_eq!(before, None);
    }
}

/// A table of `rows` rows in which column `c` has the row number plus `c`.
fn counting(columns: usize, rows: u64) -> Table {
    let column = |first: u64| (0..rows).map(|row| Some((row + first).to_le_bytes().to_vec())).collect();
    Table {
        types: vec![ColumnType::fixed(8, Order::Signed); columns],
        columns: (0..columns as u64).map(column).collect(),
        numbers: (7..7 + rows).collect(),
    }
}

#[test]
fn no_columns() {
    let finished = assert_round_trip(&counting(0, 3000), Compression::Lz4, Limits::default());
    assert_eq!(finished.summary.footer_offset, 0);
}

#[test]
fn as_many_columns_as_there_can_be() {
    assert_round_trip(&counting(1600, 3), Compression::Zstd { level: 3 }, Limits::default());
    assert_round_trip(&counting(1600, 200), Compression::Lz4, Limits { vector_bytes: 1 << 20, ..Limits::default() });
    let error =
        StripeWriter::new(&vec![ColumnType::varlena(4, Order::None); 1601], Compression::None, Limits::default());
    assert!(matches!(error.err(), Some(EncodingError::InvalidType { column: 1600, .. })));
}

#[test]
fn one_row() {
    assert_round_trip(&counting(3, 1), Compression::Lz4, Limits::default());
}

#[test]
fn a_full_stripe() {
    let finished = assert_round_trip(&counting(2, 150_000), Compression::Zstd { level: 1 }, Limits::default());
    assert!(finished.summary.plain_bytes > 2 * finished.summary.len);
    assert!(finished.summary.footer_len < 1000);
}

#[test]
fn wide_values_get_vectors_of_their_own() {
    let payloads = [8 << 20, 3, 9 << 20, 10 << 20usize];
    let values = payloads.iter().map(|len| Some(varlena(&vec![5; *len], false))).collect();
    let table =
        Table { types: vec![ColumnType::varlena(4, Order::None)], columns: vec![values], numbers: vec![1, 2, 3, 4] };
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }] {
        let finished = assert_round_trip(&table, compression, Limits::default());
        let (bytes, offset, len) = stripe(&finished);
        let footer = read_footer(&mut MemorySource(&bytes), offset, len, &mut AlignedBuf::new()).unwrap();
        assert_eq!(footer.vector_rows().collect::<Vec<_>>(), [1, 2, 1]);
    }
}

#[test]
fn vectors_are_cut_alike_and_the_last_is_shorter() {
    let finished = assert_round_trip(&counting(2, 2500), Compression::Lz4, Limits::default());
    let (bytes, offset, len) = stripe(&finished);
    let footer = read_footer(&mut MemorySource(&bytes), offset, len, &mut AlignedBuf::new()).unwrap();
    assert_eq!(footer.vector_rows().collect::<Vec<_>>(), [1024, 1024, 452]);
    assert_eq!(footer.ordinals(2).unwrap(), 2048..2500);
    assert!(footer.ordinals(3).is_err() && footer.column(2).is_err());
    assert!(footer.ordinal(Position { vector: 2, index: 452 }).is_err());
}
