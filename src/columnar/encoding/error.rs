//! What can be wrong with a stripe.

use thiserror::Error;

/// Errors of the stripe format, for bytes that are read and for values that are written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodingError {
    /// The bytes end before the structure does.
    #[error("{what} is truncated: {needed} bytes needed, {available} available")]
    Truncated { what: &'static str, needed: u64, available: u64 },
    /// There are bytes left where the structure has ended.
    #[error("{what} is followed by {excess} unexpected bytes")]
    Trailing { what: &'static str, excess: u64 },
    /// The bytes are not the structure that was expected at this place.
    #[error("{what} has the wrong magic number")]
    BadMagic { what: &'static str },
    /// The structure was written by a version that this one does not know.
    #[error("{what} has format version {version}, but this version of Orochi reads version {known}")]
    UnsupportedVersion { what: &'static str, version: u16, known: u16 },
    /// The checksum does not match the bytes.
    #[error("checksum of {what} does not match")]
    Checksum { what: &'static str },
    /// Two facts that the bytes state contradict each other.
    #[error("{what} is inconsistent: {detail}")]
    Inconsistent { what: &'static str, detail: &'static str },
    /// A code (of an encoding, a compression, a type) has no meaning.
    #[error("{what} has the unknown code {code}")]
    UnknownCode { what: &'static str, code: u8 },
    /// A length is beyond what the caller allows or the format can hold.
    #[error("{what} has {len} bytes, more than the limit of {limit}")]
    TooLarge { what: &'static str, len: u64, limit: u64 },
    /// Compressed bytes do not decompress to what they should.
    #[error("{method} cannot decompress a vector")]
    Decompress { method: &'static str },
    /// Compression failed, which only a lack of memory explains.
    #[error("{method} cannot compress a vector")]
    Compress { method: &'static str },
    /// Memory could not be allocated.
    #[error("out of memory allocating {bytes} bytes for a stripe")]
    OutOfMemory { bytes: u64 },
    /// A column has a type that the format cannot hold.
    #[error("type of column {column} cannot be stored: {detail}")]
    InvalidType { column: usize, detail: &'static str },
    /// A value does not fit the type of its column.
    #[error("value of column {column} cannot be stored: {detail}")]
    InvalidValue { column: usize, detail: &'static str },
    /// The writer was given impossible limits.
    #[error("stripe limits are invalid: {detail}")]
    InvalidLimits { detail: &'static str },
    /// A stripe has at least one row and fewer than 2^32.
    #[error("stripe cannot hold {rows} rows")]
    RowCount { rows: u64 },
    /// An earlier row failed half-way, so the writer's columns no longer agree.
    #[error("stripe writer cannot be used after an error")]
    WriterFailed,
    /// A position, column or vector does not exist in the stripe.
    #[error("stripe has no {what} {index}")]
    OutOfRange { what: &'static str, index: u64 },
}

impl EncodingError {
    /// The SQLSTATE to report: XX001 for bad bytes, 53200 without memory, 54000 for limits of the format, 0A000 for
    /// a newer format, XX000 where the caller broke the interface.
    #[cfg(test)]
    pub fn sqlstate(&self) -> &'static str {
        use EncodingError::*;
        match self {
            Truncated { .. } | Trailing { .. } | BadMagic { .. } | Checksum { .. } | Inconsistent { .. } => "XX001",
            UnknownCode { .. } | Decompress { .. } | OutOfRange { .. } => "XX001",
            UnsupportedVersion { .. } => "0A000",
            OutOfMemory { .. } | Compress { .. } => "53200",
            TooLarge { .. } | RowCount { .. } => "54000",
            InvalidType { .. } | InvalidValue { .. } | InvalidLimits { .. } | WriterFailed => "XX000",
        }
    }

    /// What the user can do about it.
    #[cfg(test)]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            EncodingError::UnsupportedVersion { .. } => {
                Some("The table was written by a newer version of the extension. Install that version.")
            }
            _ if self.sqlstate() == "XX001" => Some("Restore the table from a backup or a replica."),
            _ => None,
        }
    }

    /// A range that ends before it should.
    pub(super) fn truncated(what: &'static str, needed: usize, available: usize) -> Self {
        EncodingError::Truncated { what, needed: needed as u64, available: available as u64 }
    }

    /// A contradiction in `what`.
    pub(super) fn inconsistent(what: &'static str, detail: &'static str) -> Self {
        EncodingError::Inconsistent { what, detail }
    }
}
