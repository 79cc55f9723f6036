//! What the writer refuses, and what it tells about itself.

use super::*;

fn writer(column: ColumnType) -> StripeWriter {
    StripeWriter::new(&[column], Compression::Lz4, Limits::default()).unwrap()
}

#[test]
fn values_that_do_not_fit_their_type_are_refused() {
    let cstring = ColumnType { physical: Physical::CString, order: Order::None };
    let long = [7; MAX_SHORT_CONTENT + 1];
    let cases: [(ColumnType, Value); 13] = [
        (ColumnType::fixed(4, Order::Signed), Value::Bytes(&[0; 3])),
        (ColumnType::fixed(6, Order::None), Value::Word(1)),
        (ColumnType::varlena(4, Order::None), Value::Word(1)),
        (ColumnType::varlena(4, Order::None), Value::Bytes(&[])),
        (ColumnType::varlena(4, Order::None), Value::Bytes(&[0x01, 18, 0, 0, 0])),
        (ColumnType::varlena(4, Order::None), Value::Bytes(&[0x07, 1])),
        (ColumnType::varlena(4, Order::None), Value::Bytes(&[16, 0, 0])),
        (ColumnType::varlena(4, Order::None), Value::Bytes(&[8, 0, 0, 0])),
        (cstring, Value::Bytes(b"abc")),
        (cstring, Value::Bytes(b"")),
        (cstring, Value::Short(b"abc")),
        (ColumnType::fixed(4, Order::Signed), Value::Short(&[0; 4])),
        (ColumnType::varlena(4, Order::None), Value::Short(&long)),
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
        ColumnType::varlena(3, Order::None),
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
fn a_stripe_has_rows() {
    let writer = writer(ColumnType::varlena(4, Order::None));
    assert_eq!(writer.rows(), 0);
    assert_eq!(writer.finish().err(), Some(EncodingError::RowCount { rows: 0 }));
}

#[test]
fn memory_is_counted_and_given_back() {
    let limits = Limits { stripe_bytes: 1 << 20, ..Limits::default() };
    let mut writer = StripeWriter::new(&[ColumnType::varlena(4, Order::None)], Compression::None, limits).unwrap();
    let small = |number: u64| {
        let noise = |i: u64| (number * 100 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        varlena(&(0..100).map(noise).collect::<Vec<u8>>(), false)
    };
    let first = small(0);
    writer.push_row(0, |_| Value::Bytes(&first)).unwrap();
    assert_eq!(writer.rows(), 1);
    let mut number = 0;
    while writer.memory() < limits.stripe_bytes {
        number += 1;
        let value = small(number);
        writer.push_row(number, |_| Value::Bytes(&value)).unwrap();
    }
    let raw = 101 * number as usize;
    assert!((1 << 20..4 << 20).contains(&writer.memory()) && raw < 1 << 20 && raw > 1 << 18, "{raw}");

    let large = varlena(&vec![7; 20 << 20], false);
    let mut writer =
        StripeWriter::new(&[ColumnType::varlena(4, Order::None)], Compression::Zstd { level: 3 }, limits).unwrap();
    writer.push_row(1, |_| Value::Bytes(&large)).unwrap();
    assert!(writer.memory() < 1 << 20, "{}", writer.memory());
}

#[test]
fn nothing_is_stored_for_nulls() {
    let types = [ColumnType::fixed(8, Order::Signed), ColumnType::varlena(4, Order::None)];
    let table = Table { types: types.to_vec(), columns: vec![vec![None; 5000]; 2], numbers: (0..5000).collect() };
    let finished = write(&table, Compression::None, Limits::default()).unwrap();
    assert_eq!(finished.summary.plain_bytes, 0);
    assert!(finished.summary.len < 600);
    let (bytes, offset, len) = stripe(&finished);
    let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
    let footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
    assert_eq!(footer.columns()[0].zone, None);
    let directory = read_directory(&mut source, &footer, 0, &mut scratch).unwrap();
    let vector = read_vector(
        &mut source,
        &types[0],
        directory.entry(0).unwrap(),
        0,
        &mut scratch,
        &mut Decoder::default(),
        Vector::default(),
    );
    let vector = vector.unwrap();
    assert_eq!((vector.nulls(), vector.fixed(), vector.get(3)), (Nulls::All, None, None));
}

#[test]
fn short_contents_are_stored_like_values_with_short_headers() {
    let contents: Vec<Vec<u8>> = (0..=MAX_SHORT_CONTENT).map(|len| vec![len as u8; len]).collect();
    let stripe = |short: bool| {
        let mut writer = writer(ColumnType::varlena(4, Order::None));
        for (row, content) in contents.iter().enumerate() {
            let value = [&[(content.len() as u8 + 1) << 1 | 1][..], content].concat();
            let pushed =
                writer.push_row(row as u64, |_| if short { Value::Short(content) } else { Value::Bytes(&value) });
            pushed.unwrap();
        }
        writer.finish().unwrap().pieces
    };
    assert_eq!(stripe(true), stripe(false));
}
