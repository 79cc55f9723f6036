//! Block compression of vectors.

use std::cell::RefCell;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use zstd::bulk::{Compressor, Decompressor};

use super::bytes::reserve;
use super::types::Compression;
use super::{EncodingError, Result};

/// Vectors below this size are stored as they are: a method's own overhead eats the gain.
const MIN_INPUT: usize = 32;

/// How the bytes of a vector are compressed on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    None,
    Lz4,
    Zstd,
}

impl Method {
    pub(super) fn code(self) -> u8 {
        match self {
            Method::None => 0,
            Method::Lz4 => 1,
            Method::Zstd => 2,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::Lz4 => "lz4",
            Method::Zstd => "zstd",
        }
    }

    pub(super) fn from_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Method::None),
            1 => Ok(Method::Lz4),
            2 => Ok(Method::Zstd),
            code => Err(EncodingError::UnknownCode { what: "vector compression", code }),
        }
    }
}

/// The method in use with its working memory.
enum Engine {
    None,
    Lz4(Box<CompressTable>),
    Zstd(Compressor<'static>),
}

/// Compresses one vector after the other.
pub(super) struct VectorCompressor {
    engine: Engine,
    output: Vec<u8>,
}

impl VectorCompressor {
    pub fn new(compression: Compression) -> Result<Self> {
        let engine = match compression {
            Compression::None => Engine::None,
            Compression::Lz4 => Engine::Lz4(Box::default()),
            Compression::Zstd { level } => {
                let compressor = Compressor::new(level.clamp(1, 19));
                Engine::Zstd(compressor.map_err(|_| EncodingError::Compress { method: "zstd" })?)
            }
        };
        Ok(VectorCompressor { engine, output: Vec::new() })
    }

    /// Whether vectors are compressed by what occurs often in them, which symbols would only hide.
    pub fn counts(&self) -> bool {
        matches!(self.engine, Engine::Zstd(_))
    }

    /// Bytes of the buffer that compressed vectors go through.
    pub fn memory(&self) -> usize {
        self.output.capacity()
    }

    /// Gives the buffer back if it has more than `limit` bytes.
    pub fn trim(&mut self, limit: usize) {
        if self.output.capacity() > limit {
            self.output = Vec::new();
        }
    }

    /// `input` as it is to be stored: compressed if that leaves `limit` bytes or fewer.
    pub fn compress<'a>(&'a mut self, input: &'a [u8], limit: usize) -> Result<(Method, &'a [u8])> {
        if input.len() < MIN_INPUT || limit == 0 {
            return Ok((Method::None, input));
        }
        let (method, len) = match &mut self.engine {
            Engine::None => return Ok((Method::None, input)),
            Engine::Lz4(table) => (Method::Lz4, compress_lz4(table, input, &mut self.output)?),
            Engine::Zstd(compressor) => (Method::Zstd, compress_zstd(compressor, input, &mut self.output)?),
        };
        match self.output.get(..len) {
            Some(output) if len < input.len() && len <= limit => Ok((method, output)),
            _ => Ok((Method::None, input)),
        }
    }
}

fn compress_lz4(table: &mut CompressTable, input: &[u8], output: &mut Vec<u8>) -> Result<usize> {
    let bound = get_maximum_output_size(input.len());
    if output.len() < bound {
        reserve(output, bound - output.len())?;
        output.resize(bound, 0);
    }
    compress_into_with_table(input, output, table).map_err(|_| EncodingError::Compress { method: "lz4" })
}

fn compress_zstd(compressor: &mut Compressor<'_>, input: &[u8], output: &mut Vec<u8>) -> Result<usize> {
    output.clear();
    reserve(output, zstd::zstd_safe::compress_bound(input.len()))?;
    compressor.compress_to_buffer(input, output).map_err(|_| EncodingError::Compress { method: "zstd" })
}

/// Decompresses `input` into `output`, which it has to fill exactly.
pub(super) fn decompress(method: Method, input: &[u8], output: &mut [u8]) -> Result<()> {
    let (name, written) = match method {
        Method::None if input.len() == output.len() => {
            output.copy_from_slice(input);
            return Ok(());
        }
        Method::None => {
            return Err(EncodingError::inconsistent("vector", "its stored length is not its length"));
        }
        Method::Lz4 => ("lz4", decompress_into(input, output).ok()),
        Method::Zstd => ("zstd", decompress_zstd(input, output)),
    };
    if written == Some(output.len()) { Ok(()) } else { Err(EncodingError::Decompress { method: name }) }
}

thread_local! {
    /// A decompression context is 160 kB; making one for each vector would cost more than small vectors do.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress_zstd(input: &[u8], output: &mut [u8]) -> Option<usize> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Decompressor::new().ok()?);
        }
        slot.as_mut()?.decompress_to_buffer(input, output).ok()
    })
}
