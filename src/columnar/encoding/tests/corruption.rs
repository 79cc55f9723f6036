//! Bad bytes lead to an error or to the truth, never to a panic and never to other values.

use super::super::bytes::{checksum, seal};
use super::super::compress::Method;
use super::super::directory::Encoding;
use super::*;
use proptest::sample;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_flipped_bit_is_noticed(
        table in any_table(4, 60), compression in any_compression(), limits in any_limits(), place in any::<proptest::sample::Index>(), bit in 0..8u32
    ) {
        let (mut bytes, offset, len) = stripe(&write(&table, compression, limits).unwrap());
        let at = place.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(read(&bytes, offset, len, no_check).is_err());
    }

    #[test]
    fn missing_bytes_are_noticed(table in any_table(3, 60), cut in any::<proptest::sample::Index>()) {
        let (bytes, offset, len) = stripe(&write(&table, Compression::Lz4, Limits::default()).unwrap());
        let footer = &bytes[offset as usize..];
        prop_assert!(Footer::parse(&footer[..cut.index(len)]).is_err());
        prop_assert!(read(&bytes[..cut.index(bytes.len())], offset, len, no_check).is_err());
        prop_assert!(read(&bytes, offset + 1, len - 1, no_check).is_err());
    }

    /// The checksum is made to fit, so that what lies behind it is reached.
    #[test]
    fn a_footer_with_a_valid_checksum_can_still_be_wrong(table in any_table(3, 60), places in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)) {
        let (mut bytes, offset, len) = stripe(&write(&table, Compression::Lz4, Limits::default()).unwrap());
        let end = bytes.len() - 8;
        for (place, byte) in places {
            bytes[offset as usize + 6 + place.index(len - 14)] = byte;
        }
        bytes.truncate(end);
        seal(&mut bytes, offset as usize).unwrap();
        // The data is as it was; only under another type can it read as something else.
        if let Ok(read) = read(&bytes, offset, len, no_check) && read.types == table.types {
            prop_assert_eq!(read.columns, table.columns);
        }
    }

    /// The same of a directory, and of the vectors that it then describes.
    #[test]
    fn a_directory_with_a_valid_checksum_can_still_be_wrong(
        table in any_table(1, 60), place in any::<proptest::sample::Index>(), byte in any::<u8>()
    ) {
        let (bytes, offset, len) = stripe(&write(&table, Compression::Zstd { level: 1 }, Limits::default()).unwrap());
        let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
        let mut footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
        if table.types.is_empty() {
            return Ok(());
        }
        let (start, len) = footer.directory_range(0).unwrap();
        let mut directory = bytes[start as usize..][..len].to_vec();
        let at = place.index(len);
        directory[at] = byte;
        footer.columns[0].directory_checksum = checksum(&directory);
        let Ok(directory) = ColumnDirectory::parse(&directory, &footer, 0) else { return Ok(()) };
        for entry in directory.entries() {
            let column = &table.types[0];
            let _ = read_vector(&mut source, column, entry, MAX_RAW, &mut scratch, &mut Decoder::default(), Vector::default());
        }
    }

    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..300), sealed in any::<bool>()) {
        let mut bytes = bytes;
        for magic in [*b"ORSF\x02\0", *b"ORSM\x02\0", *b"ORSD\x01\0"] {
            if let Some(header) = bytes.first_chunk_mut::<6>() {
                *header = magic;
            }
            if sealed {
                seal(&mut bytes, 0).unwrap();
            }
            let _ = (Footer::parse(&bytes), StripeMeta::parse(&bytes), DeleteBitmap::parse(&bytes, 1000));
        }
    }

    /// Vectors whose checksum is right and whose contents are noise: accepted ones must be safe to use.
    #[test]
    fn vectors_of_noise(
        column in any_type(), rows in 1..20u16, nulls in 0..20u16, contents in vec(prop_oneof![Just(0u8), 0..32u8, any::<u8>()], 0..200), stored in 0..3, encoding in sample::select(Encoding::ALL.to_vec())
    ) {
        let compression = [Method::None, Method::Lz4, Method::Zstd][stored as usize];
        let entry = VectorEntry {
            offset: 0,
            stored_len: contents.len() as u32,
            raw_len: if compression == Method::None { contents.len() as u32 } else { 500 },
            rows,
            null_count: nulls.min(rows),
            encoding,
            compression,
            checksum: checksum(&contents),
            zone: None,
        };
        if let Ok(vector) = Decoder::default().decode(&column, &entry, &contents, MAX_RAW, Vector::default()) {
            for value in (0..vector.len()).filter_map(|index| vector.get(index)) {
                prop_assert!(!value.is_empty());
            }
        }
    }

    #[test]
    fn metadata_and_bitmaps_notice_flipped_bits(bit in 0..3000usize, rows in 1..2000u32) {
        let mut meta = StripeMeta::reservation(1, 2, 3).encode().unwrap();
        let at = bit % (meta.len() * 8);
        meta[at / 8] ^= 1 << (at % 8);
        prop_assert!(StripeMeta::parse(&meta).is_err());
        let mut bitmap = DeleteBitmap::new(rows).unwrap();
        (0..rows).step_by(7).for_each(|row| assert!(bitmap.insert(row).unwrap()));
        let mut bytes = bitmap.encode().unwrap();
        let at = bit % (bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(DeleteBitmap::parse(&bytes, rows).is_err());
    }
}

#[test]
fn newer_versions_are_named() {
    let table = Table { types: vec![], columns: vec![], numbers: vec![1] };
    let (bytes, offset, _) = stripe(&write(&table, Compression::None, Limits::default()).unwrap());
    let newer = |bytes: &[u8]| {
        let mut bytes = bytes[..bytes.len() - 8].to_vec();
        bytes[4] = 3;
        seal(&mut bytes, 0).unwrap();
        bytes
    };
    let footer = Footer::parse(&newer(&bytes[offset as usize..])).unwrap_err();
    assert_eq!(footer, EncodingError::UnsupportedVersion { what: "stripe footer", version: 3, known: 2 });
    assert_eq!((footer.sqlstate(), footer.hint().is_some()), ("0A000", true));
    let meta = StripeMeta::parse(&newer(&StripeMeta::reservation(1, 1, 1).encode().unwrap()));
    assert!(matches!(meta, Err(EncodingError::UnsupportedVersion { version: 3, .. })));
    let bitmap = DeleteBitmap::parse(&newer(&DeleteBitmap::new(5).unwrap().encode().unwrap()), 5);
    assert!(matches!(bitmap, Err(EncodingError::UnsupportedVersion { version: 3, .. })));
    assert!(matches!(Footer::parse(b"heap pages"), Err(EncodingError::BadMagic { .. })));
    let mut changed = bytes[offset as usize..].to_vec();
    changed[5] = 8;
    assert_eq!(Footer::parse(&changed).unwrap_err(), EncodingError::Checksum { what: "stripe footer" });
}

#[test]
fn a_vector_is_not_decompressed_beyond_what_is_allowed() {
    let values = vec![Some(varlena(&[b'x'; 100_000], true))];
    let table = Table { types: vec![ColumnType::varlena(4, Order::None)], columns: vec![values], numbers: vec![1] };
    let (bytes, offset, len) = stripe(&write(&table, Compression::Zstd { level: 1 }, Limits::default()).unwrap());
    let (mut source, mut scratch) = (MemorySource(&bytes), AlignedBuf::new());
    let footer = read_footer(&mut source, offset, len, &mut scratch).unwrap();
    let directory = read_directory(&mut source, &footer, 0, &mut scratch).unwrap();
    let entry = directory.entry(0).unwrap();
    let mut vector = |max_raw| {
        read_vector(
            &mut source,
            &table.types[0],
            entry,
            max_raw,
            &mut scratch,
            &mut Decoder::default(),
            Vector::default(),
        )
    };
    assert!(matches!(vector(100_000), Err(EncodingError::TooLarge { limit: 100_000, .. })));
    assert_eq!(vector(100_100).unwrap().get(0).map(<[u8]>::len), Some(100_004));
    assert!(directory.entry(1).is_err());
}
