//! What the writer refuses, and what it tells about itself.

use super::*;

fn writer(column: ColumnType) -> StripeWriter {
    StripeWriter::new(&[column], Compression::Lz4, Limits::default()).unwrap()
}

#[test]
fn values_that_do_not_fit_their_type_are_refused() {
    let cstring = ColumnType { physical: Physical::CString, order: Order::None };
    let cases: [(ColumnType, Value); 10] = [
        (ColumnType::fixed(4, Order::Signed), Value::Bytes(&[0; 3])),
        (ColumnType::fixed(6, Order::None), Value::Word(1)),
        (ColumnType::varlena(4), Value::Word(1)),
        (ColumnType::varlena(4), Value::Bytes(&[])),
        (ColumnType::varlena(4), Value::Bytes(&[0x01, 18, 0, 0, 0])),
        (ColumnType::varlena(4), Value::Bytes(&[0x07, 1])),
        (ColumnType::varlena(4), Value::Bytes(&[16, 0, 0])),
        (ColumnType::varlena(4), Value::Bytes(&[8, 0, 0, 0])),
        (cstring, Value::Bytes(b"abc")),
        (cstring, Value::Bytes(b"")),
    ];
    for (column, value) in cases {
        let mut writer = writer(column);
        let error = writer.push_row(1, |_| value).unwrap_err();
        assert!(matches!(error, EncodingError::InvalidValue { column: 0, .. }), "{column:?} {value:?}");
        assert_eq!(writer.push_row(2, |_| Value::Null), Err(EncodingError::WriterFailed));
        assert_eq!(writer.finish().err(), Some(EncodingError::WriterFailed));
    }
}

#[test]
fn types_and_limits_are_checked() {
    let impossible = [
        ColumnType::fixed(0, Order::None),
        ColumnType::fixed(3, Order::Signed),
        ColumnType::fixed(8, Order::Float4),
        ColumnType::varlena(3),
        ColumnType { physical: Physical::CString, order: Order::Bool },
    ];
    for column in impossible {
        let error = StripeWriter::new(&[column], Compression::None, Limits::default()).err();
        assert!(matches!(error, Some(EncodingError::InvalidType { column: 0, .. })), "{column:?}");
    }
    for (vector_rows, vector_bytes) in [(0, 1), (1025, 1), (1, 0), (1, (1 << 30) + 1)] {
        let limits = Limits { vector_rows, vector_bytes, ..Limits::default() };
        let error = StripeWriter::new(&[], Compression::None, limits).err();
        assert!(matches!(error, Some(EncodingError::InvalidLimits { .. })));
    }
}

#[test]
fn row_numbers_have_to_increase() {
    let mut writer = writer(ColumnType::varlena(4));
    writer.push_row(5, |_| Value::Null).unwrap();
    assert_eq!(writer.push_row(5, |_| Value::Null), Err(EncodingError::RowOrder { previous: 5, next: 5 }));
}

#[test]
fn a_stripe_has_rows() {
    let writer = writer(ColumnType::varlena(4));
    assert!(!writer.should_flush(0));
    assert_eq!(writer.finish().err(), Some(EncodingError::RowCount { rows: 0 }));
}

#[test]
fn memory_is_counted_and_given_back() {
    let limits = Limits { stripe_bytes: 1 << 20, ..Limits::default() };
    let mut writer = StripeWriter::new(&[ColumnType::varlena(4)], Compression::None, limits).unwrap();
    let small = varlena(&[7; 100], false);
    writer.push_row(0, |_| Value::Bytes(&small)).unwrap();
    assert!(!writer.should_flush(2) && writer.should_flush(1));
    let mut number = 0;
    while !writer.should_flush(u32::MAX) {
        number += 1;
        writer.push_row(number, |_| Value::Bytes(&small)).unwrap();
    }
    let raw = 101 * number as usize;
    assert!((1 << 20..4 << 20).contains(&writer.memory()) && raw < 1 << 20 && raw > 1 << 18, "{raw}");

    let large = varlena(&vec![7; 20 << 20], false);
    let mut writer = StripeWriter::new(&[ColumnType::varlena(4)], Compression::Zstd { level: 3 }, limits).unwrap();
    writer.push_row(1, |_| Value::Bytes(&large)).unwrap();
    assert!(writer.memory() < 1 << 20, "{}", writer.memory());
}

#[test]
fn nothing_is_stored_for_nulls() {
    let types = [ColumnType::fixed(8, Order::Signed), ColumnType::varlena(4)];
    let table = Table { types: types.to_vec(), columns: vec![vec![None; 5000]; 2], numbers: (0..5000).collect() };
    let finished = write(&table, Compression::None, Limits::default()).unwrap();
    assert_eq!(finished.summary.raw_bytes, 0);
    assert!(finished.summary.len < 600);
    let (bytes, offset, len) = stripe(&finished);
    let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
    let footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
    assert_eq!(footer.columns()[0].zone, None);
    let directory = read_directory(&mut source, &footer, 0, &mut scratch).unwrap();
    let vector = read_vector(&mut source, &types[0], directory.entry(0).unwrap(), 0, &mut scratch, AlignedBuf::new());
    let vector = vector.unwrap();
    assert_eq!((vector.nulls(), vector.fixed(), vector.get(3)), (Nulls::All, None, None));
}
