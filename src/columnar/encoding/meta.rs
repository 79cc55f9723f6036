//! What is known of a stripe without reading it: the contents of its metadata tuple.

use super::bytes::{Cursor, seal, with_capacity};
use super::footer::Footer;
use super::writer::StripeSummary;
use super::{EncodingError, Result};

const WHAT: &str = "stripe metadata";
const MAGIC: u32 = u32::from_le_bytes(*b"ORSM");
const VERSION: u16 = 2;

/// No encoded description is longer.
pub const STRIPE_META_MAX_LEN: usize = 256;

const FLAG_OPEN: u16 = 1;
const FLAG_DELETED: u16 = 2;

/// A stored stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobRef {
    pub id: u32,
    /// Its bytes.
    pub len: u64,
}

/// A stripe's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripeMeta {
    /// The stripe is a reservation: its rows are still in the memory of the transaction that made it. Only its id and its
    /// interval mean something.
    pub open: bool,
    pub stripe_id: u32,
    /// Least row number that the stripe has, or that is reserved.
    pub first_row: u64,
    /// Greatest row number that the stripe has, or that is reserved.
    pub last_row: u64,
    pub row_count: u32,
    pub column_count: u16,
    /// Bytes of its vectors once decoded.
    pub plain_bytes: u64,
    /// Where its bytes are stored.
    pub blob: BlobRef,
    /// Where the footer starts; it ends with the blob.
    pub footer_offset: u64,
    pub footer_len: u32,
    /// Where its delete bitmap is stored, if rows are deleted.
    pub deleted: Option<BlobRef>,
    /// How many rows the delete bitmap has.
    pub deleted_count: u32,
}

impl StripeMeta {
    /// A reservation of the row numbers from `first_row` to `last_row`.
    pub fn reservation(stripe_id: u32, first_row: u64, last_row: u64) -> Self {
        StripeMeta {
            open: true,
            stripe_id,
            first_row,
            last_row,
            row_count: 0,
            column_count: 0,
            plain_bytes: 0,
            blob: BlobRef::default(),
            footer_offset: 0,
            footer_len: 0,
            deleted: None,
            deleted_count: 0,
        }
    }

    /// The description of a finished stripe that is stored in blob `blob_id`.
    pub fn finished(stripe_id: u32, blob_id: u32, summary: &StripeSummary) -> Self {
        StripeMeta {
            open: false,
            row_count: summary.row_count,
            column_count: summary.column_count,
            plain_bytes: summary.plain_bytes,
            blob: BlobRef { id: blob_id, len: summary.len },
            footer_offset: summary.footer_offset,
            footer_len: summary.footer_len,
            ..StripeMeta::reservation(stripe_id, summary.first_row, summary.last_row)
        }
    }

    /// Whether `row_number` lies in the stripe's interval.
    pub fn contains(&self, row_number: u64) -> bool {
        (self.first_row..=self.last_row).contains(&row_number)
    }

    /// The description as bytes, at most [`STRIPE_META_MAX_LEN`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let deleted = self.deleted.unwrap_or_default();
        let flags = if self.open { FLAG_OPEN } else { 0 } | if self.deleted.is_some() { FLAG_DELETED } else { 0 };
        let mut out = with_capacity(STRIPE_META_MAX_LEN)?;
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.stripe_id.to_le_bytes());
        out.extend_from_slice(&self.first_row.to_le_bytes());
        out.extend_from_slice(&self.last_row.to_le_bytes());
        out.extend_from_slice(&self.row_count.to_le_bytes());
        out.extend_from_slice(&self.column_count.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&self.blob.id.to_le_bytes());
        out.extend_from_slice(&self.blob.len.to_le_bytes());
        out.extend_from_slice(&self.footer_offset.to_le_bytes());
        out.extend_from_slice(&self.footer_len.to_le_bytes());
        out.extend_from_slice(&deleted.id.to_le_bytes());
        out.extend_from_slice(&deleted.len.to_le_bytes());
        out.extend_from_slice(&self.deleted_count.to_le_bytes());
        seal(&mut out, 0)?;
        Ok(out)
    }

    /// Reads what [`StripeMeta::encode`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::open(bytes, WHAT, MAGIC, VERSION)?;
        let flags = cursor.u16()?;
        if flags & !(FLAG_OPEN | FLAG_DELETED) != 0 {
            return Err(EncodingError::inconsistent(WHAT, "it has unknown flags"));
        }
        let mut meta = StripeMeta {
            open: flags & FLAG_OPEN != 0,
            stripe_id: cursor.u32()?,
            first_row: cursor.u64()?,
            last_row: cursor.u64()?,
            row_count: cursor.u32()?,
            column_count: cursor.u16()?,
            plain_bytes: cursor.u64()?,
            blob: BlobRef { id: cursor.u32()?, len: cursor.u64()? },
            footer_offset: cursor.u64()?,
            footer_len: cursor.u32()?,
            deleted: Some(BlobRef { id: cursor.u32()?, len: cursor.u64()? }),
            deleted_count: cursor.u32()?,
        };
        cursor.finish()?;
        if flags & FLAG_DELETED == 0 {
            meta.deleted = None;
        }
        match meta.defect() {
            None => Ok(meta),
            Some(detail) => Err(EncodingError::inconsistent(WHAT, detail)),
        }
    }

    /// Verifies that a footer belongs to this stripe.
    pub fn check_footer(&self, footer: &Footer) -> Result<()> {
        let same = footer.row_count() == self.row_count
            && footer.columns().len() == usize::from(self.column_count)
            && footer.first_row() == self.first_row
            && footer.last_row() == self.last_row
            && footer.plain_bytes() == self.plain_bytes
            && footer.offset() == self.footer_offset;
        if same { Ok(()) } else { Err(EncodingError::inconsistent(WHAT, "the footer is that of another stripe")) }
    }

    fn defect(&self) -> Option<&'static str> {
        if self.first_row > self.last_row {
            return Some("its first row follows its last");
        }
        if self.open {
            return None;
        }
        if self.row_count == 0 || u64::from(self.row_count) - 1 > self.last_row - self.first_row {
            return Some("its rows do not fit their interval");
        }
        if self.deleted_count > self.row_count || (self.deleted.is_none() && self.deleted_count > 0) {
            return Some("it has more deleted rows than it can have");
        }
        if self.footer_offset.checked_add(self.footer_len.into()) != Some(self.blob.len) {
            return Some("its footer does not end with its blob");
        }
        None
    }
}
