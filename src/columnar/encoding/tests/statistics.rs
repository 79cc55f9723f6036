//! Sketches, samples, and the block that carries them.

use std::collections::HashSet;

use super::super::bytes::{Cursor, seal};
use super::super::integers::IntegerScratch;
use super::*;

const INT: ColumnType = ColumnType::fixed(8, Order::Signed);
const TEXT: ColumnType = ColumnType::varlena(4, Order::Bytes);
const NUMERIC: ColumnType = ColumnType::varlena(4, Order::Decimal);

/// What holds of every column's statistics.
pub fn check(found: &ColumnStatistics, column: &ColumnType, values: &[Option<Vec<u8>>]) {
    let known: HashSet<&[u8]> = values.iter().flatten().map(Vec::as_slice).collect();
    let sampled = (0..found.sample.len()).filter_map(|row| found.sample.get(row));
    sampled.for_each(|value| assert!(known.contains(value), "{value:?} is no value"));
    assert!(found.wide <= found.sample.null_count() && found.sample.len() <= values.len());
    let mut sketch = Sketch::default();
    values.iter().flatten().for_each(|value| sketch.add(column, value));
    assert_eq!(sketch, found.distinct);
}

fn sketch_of(values: impl Iterator<Item = u64>) -> Sketch {
    let mut sketch = Sketch::default();
    values.for_each(|value| sketch.add(&INT, &value.to_le_bytes()));
    sketch
}

#[test]
fn estimates_are_near() {
    for count in [0u64, 1, 2, 5, 10, 25, 60, 150, 400, 1000, 3000, 10_000, 100_000, 3_000_000] {
        for step in [1, 7, 1_000_003, 1 << 32] {
            let estimate = sketch_of((0..count).map(|value| value.wrapping_mul(step))).estimate();
            let margin = if count <= 25 { 1.0 } else { count as f64 * 0.16 };
            assert!((estimate - count as f64).abs() <= margin, "{count} values by {step}: {estimate}");
        }
    }
}

#[test]
fn errors_are_as_small_as_promised() {
    let errors = (0..60u64).map(|seed| sketch_of((seed << 32)..(seed << 32) + 20_000).estimate() / 20_000.0 - 1.0);
    let square: f64 = errors.map(|error| error * error).sum::<f64>() / 60.0;
    assert!(square.sqrt() < 0.065, "{}", square.sqrt());
}

proptest! {
    #[test]
    fn joined_sketches_are_those_of_all(a in vec(any::<u16>(), 0..2000), b in vec(any::<u16>(), 0..2000)) {
        let mut joined = sketch_of(a.iter().map(|value| u64::from(*value)));
        joined.merge(&sketch_of(b.iter().map(|value| u64::from(*value))));
        prop_assert_eq!(&joined, &sketch_of(a.iter().chain(&b).map(|value| u64::from(*value))));
        let (mut bytes, mut scratch) = (Vec::new(), IntegerScratch::default());
        joined.encode(&mut scratch, &mut bytes).unwrap();
        let mut cursor = Cursor::new(&bytes, "sketch");
        prop_assert_eq!(Sketch::decode(&mut cursor, &mut scratch).unwrap(), joined);
        prop_assert!(cursor.finish().is_ok());
    }

    #[test]
    fn noise_is_no_statistics(bytes in vec(any::<u8>(), 0..200), column in any_type(), zeros in any::<bool>()) {
        let mut block = if zeros { vec![1, 0, 0, 0, 0, 0, 0] } else { Vec::new() };
        block.extend(bytes);
        seal(&mut block, 0).unwrap();
        let _ = ColumnStatistics::parse(&block, &column, &mut Decoder::default());
    }

    /// Vectors of few rows make stripes of many, which have statistics. [`read`] checks them.
    #[test]
    fn statistics_survive(table in any_table(4, 90), compression in any_compression(), rows in 1..5usize) {
        let limits = Limits { vector_rows: rows, ..Limits::default() };
        let (bytes, offset, len) = stripe(&write(&table, compression, limits).unwrap());
        let footer = Footer::parse(&bytes[offset as usize..]).unwrap();
        let many = footer.vector_count() > MAX_VECTORS_WITHOUT;
        prop_assert!((0..table.types.len()).all(|column| footer.statistics_range(column).unwrap().is_some() == many));
        prop_assert_eq!(read(&bytes, offset, len, check_vector).unwrap(), table);
    }

    #[test]
    fn statistics_with_a_valid_checksum_can_still_be_wrong(table in any_table(1, 60), place in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let limits = Limits { vector_rows: 1, ..Limits::default() };
        let (bytes, offset, _) = stripe(&write(&table, Compression::Lz4, limits).unwrap());
        let footer = Footer::parse(&bytes[offset as usize..]).unwrap();
        if table.types.is_empty() {
            return Ok(());
        }
        let Some((start, len)) = footer.statistics_range(0).unwrap() else { return Ok(()) };
        let mut block = bytes[start as usize..][..len - 8].to_vec();
        let at = place.index(block.len());
        block[at] = byte;
        seal(&mut block, 0).unwrap();
        let _ = ColumnStatistics::parse(&block, &table.types[0], &mut Decoder::default());
    }
}

/// The statistics of a stripe of one column, and the share of its bytes that they are.
fn statistics(
    column: ColumnType,
    rows: u64,
    value: impl Fn(u64) -> Option<Vec<u8>>,
) -> (f64, Option<ColumnStatistics>) {
    let mut writer = StripeWriter::new(&[column], Compression::Zstd { level: 1 }, Limits::default()).unwrap();
    for row in 0..rows {
        let value = value(row);
        writer.push_row(row, |_| value.as_deref().map_or(Value::Null, Value::Bytes)).unwrap();
    }
    let (bytes, offset, len) = stripe(&writer.finish().unwrap());
    let mut source = MemorySource(&bytes);
    let footer = read_footer(&mut source, offset, len, &mut AlignedBuf::new()).unwrap();
    let own = footer.statistics_range(0).unwrap().map_or(0, |(_, len)| len);
    let found = read_statistics(&mut source, &footer, 0, &mut AlignedBuf::new(), &mut Decoder::default()).unwrap();
    (own as f64 / bytes.len() as f64, found)
}

#[test]
fn small_stripes_have_none() {
    for rows in [1, 100, 16 * 1024] {
        assert!(statistics(INT, rows, |row| Some(row.to_le_bytes().to_vec())).1.is_none());
    }
    assert!(statistics(INT, 16 * 1024 + 1, |row| Some(row.to_le_bytes().to_vec())).1.is_some());
}

#[test]
fn samples_are_even() {
    let (_, found) = statistics(INT, 150_000, |row| Some(row.to_le_bytes().to_vec()));
    let found = found.unwrap();
    assert_eq!((found.sample.len(), found.wide), (1024, 0));
    let values: Vec<u64> = (0..1024).filter_map(|row| found.sample.word(row)).collect();
    assert!(values.is_sorted());
    for quarter in 0..4u64 {
        let range = quarter * 37_500..(quarter + 1) * 37_500;
        let within = values.iter().filter(|value| range.contains(value)).count();
        assert!((230..=282).contains(&within), "{within}");
    }
    // Rows that repeat with a period are met in all its phases.
    let (_, found) = statistics(INT, 150_000, |row| Some((row % 8).to_le_bytes().to_vec()));
    let found = found.unwrap();
    for phase in 0..8 {
        let count = (0..1024).filter(|row| found.sample.word(*row) == Some(phase)).count();
        assert!((90..=170).contains(&count), "{count}");
    }
}

#[test]
fn shares_of_common_values_are_kept() {
    let (_, found) = statistics(TEXT, 100_000, |row| match row % 10 {
        0 => None,
        1..=5 => Some(varlena(b"common", false)),
        6 => Some(varlena(&[b'x'; 2000], true)),
        _ => Some(varlena(format!("rare {row}").as_bytes(), false)),
    });
    let found = found.unwrap();
    let rows = found.sample.len() as f64;
    let common =
        (0..found.sample.len()).filter(|row| found.sample.get(*row) == Some(&varlena(b"common", false))).count();
    assert!((common as f64 / rows - 0.5).abs() < 0.08, "{common} of {rows}");
    assert!((found.wide as f64 / rows - 0.1).abs() < 0.06, "{} of {rows}", found.wide);
    assert!((found.distinct.estimate() / 30_002.0 - 1.0).abs() < 0.2);
}

#[test]
fn statistics_are_small() {
    for (limit, rows) in [(0.012, 150_000), (0.04, 20_000)] {
        let (share, found) = statistics(INT, rows, |row| Some((row * 2654435761 % 1_000_000).to_le_bytes().to_vec()));
        assert!(found.is_some() && share < limit, "{share} of the stripe's bytes for {rows} rows");
    }
}

/// A numeric in PostgreSQL's form with the header of four bytes.
fn numeric(words: &[u16]) -> Vec<u8> {
    let mut bytes = ((4 + 2 * words.len() as u32) << 2).to_le_bytes().to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

#[test]
fn equal_values_of_different_forms_count_once() {
    let one = |column: &ColumnType, values: &[Vec<u8>]| {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(column, value));
        let mut single = Sketch::default();
        single.add(column, &values[0]);
        sketch == single
    };
    // 5, 5.0 and 5.00, in the short and in the long form.
    assert!(one(&NUMERIC, &[numeric(&[0x8000, 5]), numeric(&[0x8080, 5]), numeric(&[0x8100, 5]), numeric(&[0, 0, 5])]));
    assert!(!one(&NUMERIC, &[numeric(&[0x8000, 5]), numeric(&[0xa000, 5])]), "-5");
    assert!(!one(&NUMERIC, &[numeric(&[0xc000]), numeric(&[0xd000])]), "NaN and infinity");
    // Twice 10^80 with different places.
    assert!(one(&NUMERIC, &[numeric(&[0x8014, 1]), numeric(&[0x8094, 1])]));
    assert!(one(&TEXT, &[varlena(b"same", false), varlena(b"same", true)]));
    assert!(one(&ColumnType::varlena(4, Order::Padded), &[varlena(b"same", false), varlena(b"same  ", false)]));
    let float = ColumnType::fixed(8, Order::Float8);
    assert!(one(&float, &[0f64.to_le_bytes().to_vec(), (-0f64).to_le_bytes().to_vec()]));
    assert!(one(&float, &[f64::NAN.to_le_bytes().to_vec(), (-f64::NAN).to_le_bytes().to_vec()]));
}
