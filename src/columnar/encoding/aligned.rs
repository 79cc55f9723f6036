//! A byte buffer at an aligned address.

use super::{EncodingError, Result};

/// Alignment of the first byte, PostgreSQL's largest.
const ALIGN: usize = 8;

/// A reusable byte buffer whose first byte lies at an address divisible by 8.
///
/// The allocation is up to seven bytes larger than its contents, and these start at the first aligned byte: moving the
/// buffer does not move the allocation.
#[derive(Debug, Default)]
pub struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// An empty buffer, without an allocation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the buffer `len` bytes long and hands them out to be overwritten; what they hold before is unspecified.
    pub fn prepare(&mut self, len: usize) -> Result<&mut [u8]> {
        let out_of_memory = || EncodingError::OutOfMemory { bytes: len as u64 };
        let needed = len.checked_add(ALIGN - 1).ok_or_else(out_of_memory)?;
        self.len = 0;
        if self.bytes.len() < needed {
            self.bytes.clear();
            self.bytes.try_reserve_exact(needed).map_err(|_| out_of_memory())?;
            self.bytes.resize(needed, 0);
            self.start = self.bytes.as_ptr().align_offset(ALIGN);
        }
        let range = self.start..self.start.saturating_add(len);
        let contents = self.bytes.get_mut(range).ok_or_else(out_of_memory)?;
        self.len = len;
        Ok(contents)
    }

    /// The contents.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Bytes allocated.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
