//! Ratio and decode rate of each encoding on real columns, beside LZ4, ZSTD, Pco and FSST on the same values.
//!
//!     encodings DIRECTORY    one file per column: NAME.int, NAME.float, NAME.decimal, NAME.text, a value per line
//!
//! One core. A ratio is bytes of the values as they lie in memory to bytes stored; a rate is values a second, best of several passes.

#[allow(dead_code)]
#[path = "../../../src/columnar/encoding/mod.rs"]
mod encoding;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use encoding::{
    AlignedBuf, ByteSource, ColumnType, Compression, Decoder, EncodingError, Limits, MAX_VECTOR_ROWS, Order, Selection,
    StripeWriter, Value, Vector, read_directory, read_footer, read_vector,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rows of a stripe at most.
const ROWS: usize = 150_000;
/// Shortest time that a rate is measured for, in seconds.
const SECONDS: f64 = 0.3;

struct Memory<'a>(&'a [u8]);

impl ByteSource for Memory<'_> {
    type Error = EncodingError;

    fn read(&mut self, offset: u64, len: usize, into: &mut AlignedBuf) -> Result<(), EncodingError> {
        let bytes = self.0.get(offset as usize..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or(EncodingError::Truncated { what: "stripe", needed: len as u64, available: 0 })?;
        into.prepare(len)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// A column as the extension gets it.
struct Column {
    name: String,
    column_type: ColumnType,
    values: Vec<Vec<u8>>,
    numbers: Option<Numbers>,
}

enum Numbers {
    Integers(Vec<i64>),
    Floats(Vec<f64>),
}

fn short_varlena(content: &[u8]) -> Vec<u8> {
    let mut value = match u8::try_from(content.len() + 1) {
        Ok(len) if len < 0x80 => vec![len << 1 | 1],
        _ => ((content.len() as u32 + 4) << 2).to_le_bytes().to_vec(),
    };
    value.extend_from_slice(content);
    value
}

/// A numeric as PostgreSQL stores it in a row.
fn numeric(text: &str) -> Outcome<Vec<u8>> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let padded = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let places = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let digits = |text: &str| -> Outcome<Vec<u16>> {
        Ok(text
            .as_bytes()
            .chunks(4)
            .map(|group| str::from_utf8(group).unwrap_or("0").parse())
            .collect::<Result<_, _>>()?)
    };
    let mut all = digits(&padded)?;
    let mut weight = all.len() as i16 - 1;
    all.extend(digits(&places)?);
    let zeros = all.iter().take_while(|digit| **digit == 0).count();
    all.drain(..zeros);
    weight -= zeros as i16;
    while all.last() == Some(&0) {
        all.pop();
    }
    if all.is_empty() {
        weight = 0;
    }
    let sign = if negative && !all.is_empty() { 0x2000 } else { 0 };
    let header = 0x8000 | sign | (fraction.len() as u16) << 7 | (weight as u16 & 0x7f);
    let mut content = header.to_le_bytes().to_vec();
    content.extend(all.iter().flat_map(|digit| digit.to_le_bytes()));
    Ok(short_varlena(&content))
}

fn load(path: &Path) -> Outcome<Option<Column>> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("?").to_owned();
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().take(ROWS).collect();
    let column = match path.extension().and_then(|extension| extension.to_str()) {
        Some("int") => {
            let numbers: Vec<i64> = lines.iter().map(|line| line.parse()).collect::<Result<_, _>>()?;
            let values = numbers.iter().map(|number| number.to_le_bytes().to_vec()).collect();
            Column {
                name,
                column_type: ColumnType::fixed(8, Order::Signed),
                values,
                numbers: Some(Numbers::Integers(numbers)),
            }
        }
        Some("float") => {
            let numbers: Vec<f64> = lines.iter().map(|line| line.parse()).collect::<Result<_, _>>()?;
            let values = numbers.iter().map(|number| number.to_le_bytes().to_vec()).collect();
            Column {
                name,
                column_type: ColumnType::fixed(8, Order::Float8),
                values,
                numbers: Some(Numbers::Floats(numbers)),
            }
        }
        Some("decimal") => {
            let values = lines.iter().map(|line| numeric(line)).collect::<Result<_, _>>()?;
            Column { name, column_type: ColumnType::varlena(4, Order::Decimal), values, numbers: None }
        }
        Some("text") => {
            let values = lines.iter().map(|line| short_varlena(line.as_bytes())).collect();
            Column { name, column_type: ColumnType::varlena(4, Order::Bytes), values, numbers: None }
        }
        _ => return Ok(None),
    };
    Ok(Some(column))
}

/// Values a second of a pass over `count` values: the best pass.
fn rate(count: usize, mut pass: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let (start, mut best) = (Instant::now(), f64::MAX);
    while start.elapsed().as_secs_f64() < SECONDS {
        let begun = Instant::now();
        pass()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(count as f64 / best)
}

/// Bytes stored, values a second, and the encodings of the vectors.
fn ours(column: &Column, compression: Compression) -> Outcome<(usize, f64, String)> {
    let mut writer = StripeWriter::new(&[column.column_type], compression, Limits::default())?;
    for (row, value) in column.values.iter().enumerate() {
        writer.push_row(row as u64, |_| Value::Bytes(value))?;
    }
    let finished = writer.finish()?;
    let bytes = finished.pieces.concat();
    let (mut source, mut scratch) = (Memory(&bytes), AlignedBuf::new());
    let summary = finished.summary;
    let footer = read_footer(&mut source, summary.footer_offset, summary.footer_len as usize, &mut scratch)?;
    let directory = read_directory(&mut source, &footer, 0, &mut scratch)?;
    let mut encodings: Vec<(usize, &str)> = Vec::new();
    for entry in directory.entries() {
        match encodings.iter_mut().find(|(_, name)| *name == entry.encoding.name()) {
            Some((count, _)) => *count += 1,
            None => encodings.push((1, entry.encoding.name())),
        }
    }
    encodings.sort_unstable_by(|a, b| b.cmp(a));
    let (mut decoder, mut vector) = (Decoder::default(), Vector::default());
    let all = Selection::first(MAX_VECTOR_ROWS);
    let rate = rate(column.values.len(), || {
        for entry in directory.entries() {
            let recycled = std::mem::take(&mut vector);
            vector =
                read_vector(&mut source, &column.column_type, entry, 1 << 30, &mut scratch, &mut decoder, recycled)?;
            vector.finish(&all)?;
            black_box(&vector);
        }
        Ok(())
    })?;
    let names = encodings.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    Ok((bytes.len(), rate, names))
}

fn block(column: &Column, zstd: bool) -> Outcome<(usize, f64)> {
    // As large as a vector's values, which is what a point look-up has to decompress.
    let blocks: Vec<Vec<u8>> = column.values.chunks(MAX_VECTOR_ROWS).map(<[Vec<u8>]>::concat).collect();
    let compressed: Vec<Vec<u8>> = blocks
        .iter()
        .map(|block| if zstd { zstd::bulk::compress(block, 3) } else { Ok(lz4_flex::block::compress(block)) })
        .collect::<Result<_, _>>()?;
    let mut out = vec![0; blocks.iter().map(Vec::len).max().unwrap_or(0)];
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    let rate = rate(column.values.len(), || {
        for block in &compressed {
            match zstd {
                true => drop(decompressor.decompress_to_buffer(block, &mut out)?),
                false => drop(lz4_flex::block::decompress_into(block, &mut out)?),
            }
            black_box(&out);
        }
        Ok(())
    })?;
    Ok((compressed.iter().map(Vec::len).sum(), rate))
}

fn pco_of<T: pco::data_types::Number>(numbers: &[T]) -> Outcome<(&'static str, usize, f64)> {
    let bytes = pco::standalone::simple_compress(numbers, &pco::ChunkConfig::default())?;
    let rate = rate(numbers.len(), || {
        black_box(pco::standalone::simple_decompress::<T>(&bytes)?);
        Ok(())
    })?;
    Ok(("pco", bytes.len(), rate))
}

/// Pco for numbers, FSST for texts.
fn other(column: &Column) -> Outcome<Option<(&'static str, usize, f64)>> {
    Ok(match &column.numbers {
        Some(Numbers::Integers(numbers)) => Some(pco_of(numbers)?),
        Some(Numbers::Floats(numbers)) => Some(pco_of(numbers)?),
        None if column.column_type.order == Order::Bytes => {
            let texts: Vec<&[u8]> = column.values.iter().map(Vec::as_slice).collect();
            let compressor = fsst::Compressor::train(&texts);
            let compressed = compressor.compress_bulk(&texts);
            let decompressor = compressor.decompressor();
            let rate = rate(texts.len(), || {
                for text in &compressed {
                    black_box(decompressor.decompress(text));
                }
                Ok(())
            })?;
            Some(("fsst", compressed.iter().map(Vec::len).sum(), rate))
        }
        None => None,
    })
}

fn main() -> Outcome<()> {
    let directory = std::env::args().nth(1).ok_or("usage: encodings DIRECTORY")?;
    let mut paths: Vec<_> = std::fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    println!(
        "{:22} {:>8} {:22} {:>14} {:>14} {:>14} {:>14} {:>14} {:>20}",
        "column", "values", "encodings", "ours", "ours + lz4", "ours + zstd", "lz4", "zstd", "pco, fsst"
    );
    let shown =
        |plain: usize, bytes: usize, rate: f64| format!("{:.1} {:.0} M/s", plain as f64 / bytes as f64, rate / 1e6);
    for path in paths {
        let Some(column) = load(&path)? else { continue };
        let plain: usize = column.values.iter().map(Vec::len).sum();
        let (bytes, rate, encodings) = ours(&column, Compression::None)?;
        let (with_lz4, lz4_rate, _) = ours(&column, Compression::Lz4)?;
        let (with_zstd, zstd_rate, _) = ours(&column, Compression::Zstd { level: 3 })?;
        let (lz4, zstd) = (block(&column, false)?, block(&column, true)?);
        let other = other(&column)?
            .map_or(String::new(), |(name, bytes, rate)| format!("{name} {}", shown(plain, bytes, rate)));
        println!(
            "{:22} {:>8} {:22} {:>14} {:>14} {:>14} {:>14} {:>14} {:>20}",
            column.name,
            column.values.len(),
            encodings,
            shown(plain, bytes, rate),
            shown(plain, with_lz4, lz4_rate),
            shown(plain, with_zstd, zstd_rate),
            shown(plain, lz4.0, lz4.1),
            shown(plain, zstd.0, zstd.1),
            other
        );
    }
    Ok(())
}
