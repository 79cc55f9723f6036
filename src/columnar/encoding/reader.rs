//! Reading parts of a stripe from wherever it is stored.

use super::directory::{ColumnDirectory, VectorEntry};
use super::footer::Footer;
use super::row_numbers::RowBlock;
use super::statistics::ColumnStatistics;
use super::types::ColumnType;
use super::vector::Vector;
use super::{AlignedBuf, Decoder, EncodingError, bloom};

/// Where the bytes of a stripe come from.
pub trait ByteSource {
    type Error: From<EncodingError>;

    /// Makes `into` the `len` bytes from `offset` of the stripe on.
    fn read(&mut self, offset: u64, len: usize, into: &mut AlignedBuf) -> Result<(), Self::Error>;
}

/// Reads the footer from where the stripe's metadata says it is.
pub fn read_footer<S: ByteSource>(
    source: &mut S,
    offset: u64,
    len: usize,
    scratch: &mut AlignedBuf,
) -> Result<Footer, S::Error> {
    source.read(offset, len, scratch)?;
    let footer = Footer::parse(scratch.as_slice())?;
    if footer.offset() == offset {
        Ok(footer)
    } else {
        Err(EncodingError::inconsistent("stripe footer", "it does not start where the columns end").into())
    }
}

/// Reads the directory of a column.
pub fn read_directory<S: ByteSource>(
    source: &mut S,
    footer: &Footer,
    column: usize,
    scratch: &mut AlignedBuf,
) -> Result<ColumnDirectory, S::Error> {
    let (offset, len) = footer.directory_range(column)?;
    source.read(offset, len, scratch)?;
    Ok(ColumnDirectory::parse(scratch.as_slice(), footer, column)?)
}

/// Whether a column of a stripe may have a value with a hash; true without a Bloom filter.
pub fn may_have<S: ByteSource>(
    source: &mut S,
    footer: &Footer,
    column: usize,
    hash: u64,
    scratch: &mut AlignedBuf,
) -> Result<bool, S::Error> {
    let Some((offset, len)) = footer.filter_range(column, hash) else { return Ok(true) };
    source.read(offset, len, scratch)?;
    Ok(bloom::may_have(scratch.as_slice(), footer.column(column)?.filter_blocks, hash)?)
}

/// Reads all of a column's Bloom filter, if it has one, and verifies its checksums.
pub fn check_filter<S: ByteSource>(
    source: &mut S,
    footer: &Footer,
    column: usize,
    scratch: &mut AlignedBuf,
) -> Result<(), S::Error> {
    for (offset, len) in footer.filter_chunks(column) {
        source.read(offset, len, scratch)?;
        bloom::verify(scratch.as_slice())?;
    }
    Ok(())
}

/// Reads the statistics of a column, if the stripe has any.
pub fn read_statistics<S: ByteSource>(
    source: &mut S,
    footer: &Footer,
    column: usize,
    scratch: &mut AlignedBuf,
    decoder: &mut Decoder,
) -> Result<Option<ColumnStatistics>, S::Error> {
    let Some((offset, len)) = footer.statistics_range(column)? else { return Ok(None) };
    source.read(offset, len, scratch)?;
    Ok(Some(ColumnStatistics::parse(scratch.as_slice(), &footer.column(column)?.column_type, decoder)?))
}

/// Reads a vector into the memory of a recycled one. At most `max_raw` bytes are decompressed. [`Vector::finish`] makes its values ready.
pub fn read_vector<S: ByteSource>(
    source: &mut S,
    column: &ColumnType,
    entry: &VectorEntry,
    max_raw: usize,
    scratch: &mut AlignedBuf,
    decoder: &mut Decoder,
    recycled: Vector,
) -> Result<Vector, S::Error> {
    source.read(entry.offset, entry.stored_len as usize, scratch)?;
    Ok(decoder.decode(column, entry, scratch.as_slice(), max_raw, recycled)?)
}

/// Reads the row numbers of a vector, which takes no I/O if they are consecutive.
pub fn read_row_block<S: ByteSource>(
    source: &mut S,
    footer: &Footer,
    vector: usize,
    scratch: &mut AlignedBuf,
) -> Result<RowBlock, S::Error> {
    match footer.row_block_range(vector) {
        None => Ok(footer.row_block(vector, &[])?),
        Some((offset, len)) => {
            source.read(offset, len, scratch)?;
            Ok(footer.row_block(vector, scratch.as_slice())?)
        }
    }
}
