//! Rows in temporary files: each as a record of its values.

use super::aggregate::{Reader, put};
use super::batch::{Column, Kind, MAX_ROWS, Values};
use super::expression::Gatherer;
use crate::columnar::encoding::Decimal;
use crate::pg::error::OrochiError;
use crate::pg::temp_file::TempFile;
use pgrx::pg_sys::Datum;

/// Records one after the other, no more than a batch has rows.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

/// What was read is not what was written.
pub fn broken() -> OrochiError {
    OrochiError::Internal("a temporary file does not hold what was written to it".into())
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.lengths.len() >= MAX_ROWS
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    /// Adds the record that a function appends.
    pub fn push(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), OrochiError>) -> Result<(), OrochiError> {
        let start = self.bytes.len();
        append(&mut self.bytes)?;
        self.lengths.push(self.bytes.len() - start);
        Ok(())
    }

    /// Reads the next ones in the place of those that were here; false at the end of the file.
    pub fn read(&mut self, file: &mut TempFile) -> Result<bool, OrochiError> {
        self.clear();
        let mut len = [0; 8];
        while !self.is_full() {
            if !file.read(&mut len)? {
                return Ok(false);
            }
            let start = self.bytes.len();
            let len = u64::from_le_bytes(len) as usize;
            self.bytes.try_reserve(len).map_err(|_| OrochiError::OutOfMemory {
                detail: format!("Failed on a row of {len} bytes in a temporary file."),
            })?;
            self.bytes.resize(start + len, 0);
            file.read(self.bytes.get_mut(start..).unwrap_or_default())?;
            self.lengths.push(len);
        }
        Ok(true)
    }

    /// A reader for each record.
    pub fn readers(&self) -> Result<Vec<Reader<'_>>, OrochiError> {
        let mut rest = self.bytes.as_slice();
        let mut readers = Vec::with_capacity(self.lengths.len());
        for len in &self.lengths {
            let (record, behind) = rest.split_at_checked(*len).ok_or_else(broken)?;
            readers.push(Reader(record));
            rest = behind;
        }
        Ok(readers)
    }
}

/// Appends a record to a file; how many bytes that takes there.
pub fn write(file: &mut TempFile, record: &[u8]) -> u64 {
    file.write(&(record.len() as u64).to_le_bytes());
    file.write(record);
    record.len() as u64 + 8
}

/// Appends the value that a column has in a row.
pub fn put_value(record: &mut Vec<u8>, column: &Column, row: usize) {
    let place = column.place(row);
    match &column.values {
        _ if column.is_null(row) => put(record, None),
        Values::Truth(truth) => put(record, Some(&i64::from(truth.contains(place)).to_le_bytes())),
        Values::Words(words) => put(record, Some(&words.get(place).copied().unwrap_or(0).to_le_bytes())),
        Values::Decimals(decimals) => {
            let mut image = [0; Decimal::MAX_LEN];
            let len = decimals.decimal(place).render(&mut image);
            put(record, image.get(..len));
        }
        Values::Bytes(bytes) => put(record, Some(bytes.value(bytes.entry(place)))),
    }
}

/// A column of the next value of each record.
pub fn gather(readers: &mut [Reader<'_>], kind: Kind) -> Result<Column, OrochiError> {
    let mut gatherer = Gatherer::new(kind);
    for reader in readers {
        match (reader.value().ok_or_else(broken)?, kind) {
            (Some(image), Kind::Numeric | Kind::Bytes(_)) => gatherer.push_image(image)?,
            (value, _) => {
                let word = value.map(|bytes| bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)));
                // SAFETY: the word was that of a value of this kind.
                unsafe { gatherer.push(word.map(Datum::from))? };
            }
        }
    }
    gatherer.finish()
}
