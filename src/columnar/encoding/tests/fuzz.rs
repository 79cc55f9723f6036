//! Damaged parts whose checksums fit: what is behind the checksum must hold by itself.
//!
//! `OROCHI_FUZZ` is the number of inputs (a few thousand by default), `OROCHI_SEED` the seed.

use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::bytes::{checksum, seal};
use super::*;

/// Stripes that are damaged in turn.
const STRIPES: usize = 64;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Changes, cuts or repeats some bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>, from: usize) {
        for _ in 0..1 + self.below(4) {
            if bytes.len() <= from {
                return;
            }
            let at = from + self.below(bytes.len() - from);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.next() as u8),
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => bytes[at] = bytes[at].wrapping_add(1),
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
    }
}

/// A stripe in memory with its parts read.
struct Sample {
    table: Table,
    bytes: Vec<u8>,
    footer: Footer,
    footer_offset: usize,
}

fn samples(seed: u64) -> Vec<Sample> {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &key));
    let tables = (any_table(5, 200), any_compression(), any_limits());
    let one = |_| {
        let (table, compression, limits) = tables.new_tree(&mut runner).unwrap().current();
        let (bytes, offset, len) = stripe(&write_with_filters(&table, compression, limits).unwrap());
        let footer = read_footer(&mut MemorySource(&bytes), offset, len, &mut AlignedBuf::new()).unwrap();
        Sample { table, bytes, footer, footer_offset: offset as usize }
    };
    (0..STRIPES).map(one).collect()
}

/// Uses a vector in every way that there is.
fn use_vector(vector: &mut Vector, column: &ColumnType) {
    let mut rows = Selection::first(vector.len());
    vector.narrow(column.order, &Test::Between(1 << 62, 3 << 62), &mut rows);
    vector.finish(&Selection::first(MAX_VECTOR_ROWS)).unwrap();
    for row in 0..vector.len() {
        if let Some(value) = vector.get(row) {
            assert!(!value.is_empty());
            let _ = (vector.word(row), order_keys(column.order, column.physical, value));
        }
    }
}

fn damage_vector(sample: &Sample, random: &mut Random, decoder: &mut Decoder, recycled: Vector) -> Vector {
    let column = random.below(sample.table.types.len());
    let mut source = MemorySource(&sample.bytes);
    let directory = read_directory(&mut source, &sample.footer, column, &mut AlignedBuf::new()).unwrap();
    let mut entry = directory.entries()[random.below(directory.entries().len())];
    let mut bytes = sample.bytes[entry.offset as usize..][..entry.stored_len as usize].to_vec();
    random.damage(&mut bytes, 0);
    entry.stored_len = bytes.len() as u32;
    if entry.compression == super::super::compress::Method::None {
        entry.raw_len = entry.stored_len;
    }
    if random.below(4) == 0 {
        entry.encoding = Encoding::ALL[random.below(Encoding::ALL.len())];
    }
    entry.checksum = checksum(&bytes);
    let column_type = sample.table.types[column];
    match decoder.decode(&column_type, &entry, &bytes, MAX_RAW, recycled) {
        Ok(mut vector) => {
            use_vector(&mut vector, &column_type);
            vector
        }
        Err(_) => Vector::default(),
    }
}

fn damage_footer(sample: &Sample, random: &mut Random) {
    let mut bytes = sample.bytes[sample.footer_offset..sample.bytes.len() - 8].to_vec();
    random.damage(&mut bytes, 6);
    seal(&mut bytes, 0).unwrap();
    let Ok(footer) = Footer::parse(&bytes) else { return };
    let mut source = MemorySource(&sample.bytes);
    for column in 0..footer.columns().len() {
        let _ = read_directory(&mut source, &footer, column, &mut AlignedBuf::new());
        let _ = super::super::may_have(&mut source, &footer, column, random.next(), &mut AlignedBuf::new());
    }
    for vector in 0..footer.vector_count() {
        let _ = read_row_block(&mut source, &footer, vector, &mut AlignedBuf::new());
        footer.bounds(vector).unwrap();
    }
    for number in [0, footer.first_row(), footer.last_row(), u64::MAX] {
        let _ = (footer.vector_with(number), footer.position(number as u32));
    }
}

fn damage_directory(sample: &Sample, random: &mut Random) {
    let column = random.below(sample.table.types.len());
    let (start, len) = sample.footer.directory_range(column).unwrap();
    let mut bytes = sample.bytes[start as usize..][..len].to_vec();
    random.damage(&mut bytes, 0);
    let mut footer = sample.footer.clone();
    footer.columns[column].directory_checksum = checksum(&bytes);
    let Ok(directory) = ColumnDirectory::parse(&bytes, &footer, column) else { return };
    let mut source = MemorySource(&sample.bytes);
    let (mut scratch, mut decoder) = (AlignedBuf::new(), Decoder::default());
    for entry in directory.entries() {
        let column_type = sample.table.types[column];
        let read =
            read_vector(&mut source, &column_type, entry, MAX_RAW, &mut scratch, &mut decoder, Vector::default());
        if let Ok(mut vector) = read {
            use_vector(&mut vector, &column_type);
        }
    }
}

fn damage_small_parts(random: &mut Random) {
    let mut meta = StripeMeta::reservation(1, 2, 300).encode().unwrap();
    meta.truncate(meta.len() - 8);
    random.damage(&mut meta, 6);
    seal(&mut meta, 0).unwrap();
    let _ = StripeMeta::parse(&meta);
    let mut bitmap = DeleteBitmap::new(500).unwrap();
    (0..500).step_by(1 + random.below(9)).for_each(|row| assert!(bitmap.insert(row).unwrap()));
    let mut bytes = bitmap.encode().unwrap();
    bytes.truncate(bytes.len() - 8);
    random.damage(&mut bytes, 6);
    seal(&mut bytes, 0).unwrap();
    if let Ok(bitmap) = DeleteBitmap::parse(&bytes, 500) {
        assert_eq!(bitmap.iter().count(), bitmap.count() as usize);
    }
}

#[test]
fn damage_behind_checksums() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (count, seed) = (number("OROCHI_FUZZ", 5_000), number("OROCHI_SEED", 1));
    println!("OROCHI_SEED={seed}, {count} inputs");
    let samples = samples(seed);
    let mut random = Random(seed);
    let (mut decoder, mut vector) = (Decoder::default(), Vector::default());
    for _ in 0..count {
        let sample = &samples[random.below(samples.len())];
        match random.below(8) {
            _ if sample.table.types.is_empty() => damage_footer(sample, &mut random),
            0 | 1 => damage_footer(sample, &mut random),
            2 => damage_directory(sample, &mut random),
            3 => damage_small_parts(&mut random),
            _ => vector = damage_vector(sample, &mut random, &mut decoder, vector),
        }
    }
}
