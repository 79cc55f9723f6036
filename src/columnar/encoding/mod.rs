//! The stripe format: how the rows of a columnar table become bytes and come back.
//!
//! A stripe is a run of rows stored column after column. Its rows are cut into *vectors* of at most
//! [`MAX_VECTOR_ROWS`](types::MAX_VECTOR_ROWS) rows, with the same cuts for all columns, so that one vector of one column is the smallest
//! unit that is read. `docs/format.md` describes the bytes.
//!
//! The module knows nothing of PostgreSQL. Values come in as machine words or bytes ([`Value`]), stripes are read
//! through a [`ByteSource`], and every parser is total: bytes from disk lead to a value or to an [`EncodingError`].

#[cfg(target_endian = "big")]
compile_error!("the stripe format holds values in the machine's byte order, which has to be little-endian");

mod aligned;
mod alp;
mod alp_rd;
mod bloom;
mod bytes;
mod column;
mod compress;
mod decimal;
mod decode;
mod delete_bitmap;
mod dictionary;
mod directory;
mod encode;
mod error;
mod exceptions;
mod floats;
mod footer;
mod footer_codec;
mod frame;
mod fsst;
mod fsst_decode;
mod integers;
mod meta;
mod numbers;
mod pack;
mod patience;
mod reader;
mod row_numbers;
mod sample;
mod selection;
mod sketch;
mod statistics;
mod symbols;
mod types;
mod values;
mod vector;
mod writer;
mod zone;

#[cfg(test)]
mod tests;

pub use aligned::AlignedBuf;
pub use bloom::{equality_hash, has_equality_hash};
pub use decimal::{Decimal, canonical as canonical_numeric};
pub use decode::Decoder;
pub use delete_bitmap::DeleteBitmap;
pub use directory::{ColumnDirectory, Encoding, VectorEntry};
pub use error::EncodingError;
pub use footer::{ColumnEntry, Footer, Position};
pub use meta::{BlobRef, StripeMeta};
pub use reader::{
    ByteSource, check_filter, may_have, read_directory, read_footer, read_row_block, read_statistics, read_vector,
};
pub use row_numbers::{Permutation, RowBlock};
pub use selection::{Selection, Test};
pub use sketch::Sketch;
pub use statistics::{ColumnStatistics, MAX_VECTORS_WITHOUT};
pub use types::{
    ColumnType, Compression, Limits, MAX_SHORT_CONTENT, MAX_VECTOR_BYTES, MAX_VECTOR_ROWS, Order, Physical, Value,
};
pub use values::{value_at, varlena_content};
pub use vector::{Nulls, Vector};
pub use writer::{Finished, StripeSummary, StripeWriter};
pub use zone::{Zone, order_keys};

/// Result of everything in this module.
pub type Result<T, E = EncodingError> = std::result::Result<T, E>;
