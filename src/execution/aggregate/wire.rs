//! Values one after the other in bytes: what goes to temporary files and to other processes.

/// Reads what [`put`] and its kin wrote.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes; `None` at the end.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// The next word.
    pub fn word(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// What [`put`] wrote: bytes, or nothing.
    pub fn value(&mut self) -> Option<Option<&'a [u8]>> {
        let len = u32::from_le_bytes(self.array()?);
        if len == u32::MAX {
            return Some(None);
        }
        let (value, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(Some(value))
    }
}

/// Appends bytes with their length, or that there are none.
pub fn put(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let len = value.map_or(u32::MAX, |value| value.len() as u32);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}
