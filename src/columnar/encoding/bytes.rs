//! Little-endian reading and writing with every bound checked, and the checksum that closes a block.

use xxhash_rust::xxh3::xxh3_64;

use super::{EncodingError, Result};

/// Bytes that a checksum takes.
pub(super) const CHECKSUM_LEN: usize = 8;

/// XXH3-64 with seed 0, the checksum of every block.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Makes room for `extra` more elements, with an error instead of an abort where memory is short.
pub(super) fn reserve<T>(vec: &mut Vec<T>, extra: usize) -> Result<()> {
    vec.try_reserve(extra)
        .map_err(|_| EncodingError::OutOfMemory { bytes: (extra as u64).saturating_mul(size_of::<T>() as u64) })
}

/// A vector with room for `capacity` elements.
pub(super) fn with_capacity<T>(capacity: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    reserve(&mut vec, capacity)?;
    Ok(vec)
}

/// Rounds up to a multiple of `align`, a power of two.
pub(super) const fn align_up(len: usize, align: usize) -> usize {
    (len + align - 1) & !(align - 1)
}

/// Appends the checksum of all that `block` holds from `start` on.
pub(super) fn seal(block: &mut Vec<u8>, start: usize) -> Result<()> {
    reserve(block, CHECKSUM_LEN)?;
    let sum = checksum(block.get(start..).unwrap_or_default());
    block.extend_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// The contents of a block that [`seal`] closed, once its checksum is verified.
pub(super) fn unseal<'a>(block: &'a [u8], what: &'static str) -> Result<&'a [u8]> {
    let (contents, sum) =
        block.split_last_chunk().ok_or_else(|| EncodingError::truncated(what, CHECKSUM_LEN, block.len()))?;
    if checksum(contents) == u64::from_le_bytes(*sum) { Ok(contents) } else { Err(EncodingError::Checksum { what }) }
}

/// Appends an unsigned LEB128 number: seven bits to a byte, low ones first, the high bit says that more follow.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Longest form of a varint in bytes.
pub(super) const VARINT_MAX_LEN: usize = 10;

/// Reads a structure from front to back.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Cursor { rest: bytes, what }
    }

    /// Starts behind magic and version of a structure that [`seal`] closed. Structures of all versions have these and the checksum in the
    /// same places, so that a changed version is told from a newer one.
    pub fn open(block: &'a [u8], what: &'static str, magic: u32, version: u16) -> Result<Self> {
        if Cursor::new(block, what).u32()? != magic {
            return Err(EncodingError::BadMagic { what });
        }
        let mut cursor = Cursor::new(unseal(block, what)?, what);
        cursor.u32()?;
        match cursor.u16()? {
            found if found == version => Ok(cursor),
            found => Err(EncodingError::UnsupportedVersion { what, version: found, known: version }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) =
            self.rest.split_first_chunk().ok_or_else(|| EncodingError::truncated(self.what, N, self.rest.len()))?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads what [`put_varint`] wrote.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..).step_by(7).take(VARINT_MAX_LEN) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(EncodingError::inconsistent(self.what, "a number does not fit 64 bits"))
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| EncodingError::truncated(self.what, len, self.rest.len()))?;
        self.rest = rest;
        Ok(head)
    }

    /// A second reader from here on.
    pub fn fork(&self) -> Cursor<'a> {
        Cursor { rest: self.rest, what: self.what }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Verifies that nothing is left.
    pub fn finish(self) -> Result<()> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            excess => Err(EncodingError::Trailing { what: self.what, excess }),
        }
    }
}
