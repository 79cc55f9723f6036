//! Lines of the input on their way to a worker: number, text if it may be shown, and fields, many of them in one message.

use std::ffi::CStr;

/// Bytes at which a batch is sent.
const FULL: usize = 64 << 10;
/// A length that stands for NULL.
const NULL: u32 = u32::MAX;
/// Bytes of a line's header: its length without header, number, number of fields, length of its text.
const HEADER: usize = 4 + 8 + 4 + 4;

/// Memory for a batch could not be had, or a line is longer than any message may be.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge(pub usize);

/// Collects lines. Its first byte says what kind of message it is.
pub struct Batch {
    bytes: Vec<u8>,
    rows: u32,
}

impl Batch {
    /// An empty batch in a message of some kind, in memory that is used again.
    pub fn new(kind: u8, mut memory: Vec<u8>) -> Self {
        memory.clear();
        if memory.capacity() > 4 * FULL {
            memory = Vec::new();
        }
        memory.push(kind);
        Self { bytes: memory, rows: 0 }
    }

    /// Appends a line. Fields and text end with a NUL byte.
    pub fn push<'a>(
        &mut self,
        line: u64,
        text: Option<&[u8]>,
        fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), TooLarge> {
        let start = self.bytes.len();
        let text = text.unwrap_or_default();
        self.append(&[0; 4])?;
        self.append(&line.to_le_bytes())?;
        self.append(&(fields.len() as u32).to_le_bytes())?;
        self.append(&(text.len() as u32).to_le_bytes())?;
        self.append(text)?;
        for field in fields {
            match field {
                None => self.append(&NULL.to_le_bytes())?,
                Some(field) => {
                    self.append(&(field.len() as u32).to_le_bytes())?;
                    self.append(field)?;
                }
            }
        }
        let len = self.bytes.len() - start - HEADER;
        let len = u32::try_from(len).map_err(|_| TooLarge(len))?;
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.rows += 1;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.bytes.try_reserve(bytes.len()).map_err(|_| TooLarge(bytes.len()))?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Lines so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether it is time to send it.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// The message.
    pub fn into_message(self) -> Vec<u8> {
        self.bytes
    }
}

/// A line of a batch.
pub struct Row<'a> {
    /// Its number.
    pub line: u64,
    /// Its text, if it may be shown.
    pub text: Option<&'a CStr>,
    /// Its fields, each with the NUL byte at its end; `None` is NULL.
    pub fields: Fields<'a>,
}

/// The fields of a line.
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let len = u32::from_le_bytes(*take(&mut self.rest)?);
        if len == NULL {
            return Some(None);
        }
        let (field, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(Some(field))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// The lines of a message without its first byte. A line that is cut off ends them; who counts notices.
pub fn rows(mut message: &[u8]) -> impl Iterator<Item = Row<'_>> {
    std::iter::from_fn(move || {
        let len = u32::from_le_bytes(*take(&mut message)?) as usize;
        let line = u64::from_le_bytes(*take(&mut message)?);
        let left = u32::from_le_bytes(*take(&mut message)?) as usize;
        let text = u32::from_le_bytes(*take(&mut message)?) as usize;
        let (body, rest) = message.split_at_checked(len)?;
        message = rest;
        let (text, rest) = body.split_at_checked(text)?;
        Some(Row { line, text: CStr::from_bytes_with_nul(text).ok(), fields: Fields { rest, left } })
    })
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Line = (u64, Option<Vec<u8>>, Vec<Option<Vec<u8>>>);

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(1u8..=255, 0..40).prop_map(|mut text| {
            text.push(0);
            text
        })
    }

    proptest! {
        #[test]
        fn lines_come_out_as_they_went_in(
            lines in prop::collection::vec((any::<u64>(), prop::option::of(text()), prop::collection::vec(prop::option::of(text()), 0..9)), 0..20)
        ) {
            let mut batch = Batch::new(7, vec![1, 2, 3]);
            for (line, text, fields) in &lines {
                let fields: Vec<Option<&[u8]>> = fields.iter().map(Option::as_deref).collect();
                prop_assert_eq!(batch.push(*line, text.as_deref(), fields.into_iter()), Ok(()));
            }
            prop_assert_eq!(batch.rows() as usize, lines.len());
            let message = batch.into_message();
            prop_assert_eq!(message[0], 7);
            let found: Vec<Line> = rows(&message[1..])
                .map(|row| {
                    let text = row.text.map(|text| text.to_bytes_with_nul().to_vec());
                    (row.line, text, row.fields.map(|field| field.map(<[u8]>::to_vec)).collect())
                })
                .collect();
            prop_assert_eq!(found, lines);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for row in rows(&bytes) {
                row.fields.for_each(drop);
            }
        }
    }

    #[test]
    fn memory_of_long_lines_is_given_back() {
        let batch = Batch::new(0, Vec::with_capacity(8 * FULL));
        assert!(batch.into_message().capacity() < FULL);
    }
}
