//! Stripes that a release has written, kept as `files/stripe-v2.bin`: later ones have to read them. What they hold is stated here, row by row,
//! and does not depend on the code that writes. A change of the format before its release writes them anew:
//!
//!     cargo test --lib write_the_kept_stripes -- --ignored
//!
//! The file has one stripe for each compression. Each is metadata, stripe and delete bitmap, with their lengths (u32) in front of them.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const KEPT: &[u8] = include_bytes!("files/stripe-v2.bin");

/// Rows of a stripe: a full vector and a short one.
const ROWS: usize = 1024 + 36;

/// A number without a pattern.
fn noise(seed: usize) -> u64 {
    let mut word = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        word = (word ^ word >> 30).wrapping_mul(factor);
    }
    word ^ word >> 31
}

fn text(content: &str) -> Vec<u8> {
    varlena(content.as_bytes(), false)
}

/// A numeric with two decimal places and the long header, as PostgreSQL lays it out.
fn numeric(hundredths: u64) -> Vec<u8> {
    let (whole, fraction) = ((hundredths / 100) as u16, (hundredths % 100 * 100) as u16);
    let digits = if fraction == 0 { vec![whole] } else { vec![whole, fraction] };
    let words = [vec![0x8100], digits].concat();
    varlena(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>(), true)
}

fn words(row: usize) -> String {
    let words = ["furiously", "ironic", "requests", "sleep", "above the", "carefully", "final", "accounts"];
    let choose = |index: usize| words[noise(row * 8 + index) as usize % words.len()];
    (0..2 + row % 4).map(choose).collect::<Vec<_>>().join(" ")
}

/// What a column holds in a row.
type Content = fn(usize) -> Option<Vec<u8>>;

/// The columns: their types, and what they hold in a row.
fn columns() -> Vec<(ColumnType, Content)> {
    let long = ColumnType::fixed(8, Order::Signed);
    let double = ColumnType::fixed(8, Order::Float8);
    let texts = ColumnType::varlena(4, Order::Bytes);
    let decimals = ColumnType::varlena(4, Order::Decimal);
    vec![
        (long, |row| Some((row as i64 * 1000 + noise(row) as i64 % 5).to_le_bytes().to_vec())),
        (long, |row| Some((row as i64 * row as i64 - 500_000).to_le_bytes().to_vec())),
        (long, |row| Some([1i64 << 60, -7, 1 << 33, i64::MIN][noise(row) as usize % 4].to_le_bytes().to_vec())),
        (long, |_| None),
        (ColumnType::fixed(4, Order::Signed), |row| {
            let far = if row % 100 == 17 { i32::MAX } else { 0 };
            (row % 9 != 4).then(|| ((noise(row) % 1000) as i32 ^ far).to_le_bytes().to_vec())
        }),
        (ColumnType::fixed(4, Order::Unsigned), |row| Some((u32::MAX - row as u32 % 77).to_le_bytes().to_vec())),
        (ColumnType::fixed(2, Order::Signed), |row| Some((row as i16 / 50 * 321).to_le_bytes().to_vec())),
        (ColumnType::fixed(1, Order::Bool), |row| (row % 3 > 0).then(|| vec![u8::from(noise(row).is_multiple_of(5))])),
        (double, |row| {
            let value = (noise(row) % 100_000) as f64 / 100.0;
            Some(if row % 90 == 3 { f64::NAN } else { value }.to_le_bytes().to_vec())
        }),
        (double, |row| Some((noise(row) as f64 + 1.0).sqrt().to_le_bytes().to_vec())),
        (ColumnType::fixed(4, Order::Float4), |row| {
            (row % 11 > 0).then(|| ((noise(row) % 500) as f32 / 10.0 - 20.0).to_le_bytes().to_vec())
        }),
        (decimals, |row| (row % 13 > 0).then(|| numeric(100 + noise(row) % 900_000))),
        (decimals, |row| Some(if row % 50 == 1 { varlena(&[0, 0xc0], true) } else { numeric(100 + noise(row) % 50) })),
        (texts, |row| Some(text(["AIR", "RAIL", "SHIP", "TRUCK"][noise(row) as usize % 4]))),
        (texts, |row| (row % 10 > 0).then(|| text(&words(row)))),
        (texts, |row| (row % 8 == 0).then(|| varlena(&format!("{}{row}", "0123456789".repeat(15)).into_bytes(), true))),
        (ColumnType::varlena(1, Order::None), |row| {
            (row % 2 == 0).then(|| varlena(&noise(row).to_le_bytes()[..row % 9], false))
        }),
        (ColumnType::varlena(8, Order::Padded), |row| {
            Some(varlena(format!("{:<12}", row % 5).as_bytes(), row % 2 == 0))
        }),
        (ColumnType::fixed(16, Order::Bytes), |row| {
            (row % 4 == 0).then(|| [noise(row).to_le_bytes(), noise(row + 1).to_le_bytes()].concat())
        }),
        (ColumnType::fixed(6, Order::None), |row| Some([&[8, 0, 43], &(noise(row) % 8).to_le_bytes()[..3]].concat())),
        (ColumnType { physical: Physical::CString, order: Order::None }, |row| {
            Some(format!("{}\0", row % 40).into_bytes())
        }),
    ]
}

/// The number of a row: one more than the one before, with gaps, or in another order.
fn number(stripe: usize, row: usize) -> u64 {
    let places = [row, row * 3 + row / 7, row * 7 % ROWS];
    5_000_000_000 + places[stripe] as u64
}

fn is_deleted(stripe: usize, row: usize) -> bool {
    [false, row % 5 == 2, (300..700).contains(&row)][stripe]
}

fn table(stripe: usize) -> Table {
    let columns = columns();
    Table {
        types: columns.iter().map(|(column, _)| *column).collect(),
        columns: columns.iter().map(|(_, value)| (0..ROWS).map(value).collect()).collect(),
        numbers: (0..ROWS).map(|row| number(stripe, row)).collect(),
    }
}

/// The next of the file's pieces.
fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (len, behind) = rest.split_first_chunk().unwrap();
    let (piece, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
    *rest = behind;
    piece
}

#[test]
fn kept_stripes_are_read() {
    let mut rest = KEPT;
    let seen = std::cell::RefCell::new((BTreeSet::new(), BTreeSet::new()));
    for stripe in 0..3 {
        let (meta, bytes, deleted) = (take(&mut rest), take(&mut rest), take(&mut rest));
        let meta = StripeMeta::parse(meta).unwrap();
        assert_eq!((meta.stripe_id, meta.row_count as usize, meta.blob.len), (stripe as u32, ROWS, bytes.len() as u64));
        let back = read(bytes, meta.footer_offset, meta.footer_len as usize, |vector, column, entry| {
            check_vector(vector, column, entry);
            let mut seen = seen.borrow_mut();
            seen.0.insert(entry.encoding.name());
            seen.1.insert(entry.compression.name());
        });
        let (back, expected) = (back.unwrap(), table(stripe));
        assert_eq!((back.types, back.numbers), (expected.types, expected.numbers));
        for (column, (back, expected)) in back.columns.iter().zip(&expected.columns).enumerate() {
            for (row, values) in back.iter().zip(expected).enumerate() {
                assert_eq!(values.0, values.1, "stripe {stripe}, column {column}, row {row}");
            }
        }
        if meta.deleted.is_some() {
            let bitmap = DeleteBitmap::parse(deleted, meta.row_count).unwrap();
            assert_eq!(bitmap.count(), meta.deleted_count);
            assert!((0..ROWS).all(|row| bitmap.contains(row as u32) == is_deleted(stripe, row)));
        } else {
            assert!(deleted.is_empty() && (0..ROWS).all(|row| !is_deleted(stripe, row)));
        }
    }
    assert!(rest.is_empty());
    let (encodings, compressions) = seen.into_inner();
    assert_eq!(encodings, Encoding::ALL.map(Encoding::name).into(), "a new encoding is to be kept, too");
    assert_eq!(compressions, ["none", "lz4", "zstd"].into());
}

#[test]
#[ignore = "writes the file that is kept"]
fn write_the_kept_stripes() {
    let mut file = Vec::new();
    let compressions = [Compression::None, Compression::Lz4, Compression::Zstd { level: 9 }];
    for (stripe, compression) in compressions.into_iter().enumerate() {
        let finished = write(&table(stripe), compression, Limits::default()).unwrap();
        let mut bitmap = DeleteBitmap::new(ROWS as u32).unwrap();
        for row in (0..ROWS).filter(|row| is_deleted(stripe, *row)) {
            bitmap.insert(row as u32).unwrap();
        }
        let mut meta = StripeMeta::finished(stripe as u32, 7, &finished.summary);
        let deleted = if bitmap.count() > 0 { bitmap.encode().unwrap() } else { Vec::new() };
        if bitmap.count() > 0 {
            meta.deleted = Some(BlobRef { id: 8, len: deleted.len() as u64 });
            meta.deleted_count = bitmap.count();
        }
        for piece in [meta.encode().unwrap(), super::stripe(&finished).0, deleted] {
            file.extend((piece.len() as u32).to_le_bytes());
            file.extend(piece);
        }
    }
    let path = Path::new(file!()).with_file_name("files").join("stripe-v2.bin");
    std::fs::write(path, file).unwrap();
}
