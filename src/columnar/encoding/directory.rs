//! The directory of a column: where its vectors are and what is known about them.

use super::bytes::{Cursor, checksum, with_capacity};
use super::compress::Method;
use super::footer::Footer;
use super::types::Order;
use super::vector::bitmap_len;
use super::zone::Zone;
use super::{EncodingError, Result};

const WHAT: &str = "column directory";

/// Bytes of an entry without and with a zone.
const ENTRY_LEN: usize = 20;
const ZONE_LEN: usize = 16;

/// How the values of a vector are written, before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they lie in memory.
    Plain,
    /// Integers of 1, 2, 4 or 8 bytes: frames, differences, runs, a dictionary (`integers.rs`).
    Integers,
    /// Floating-point numbers as integers (`alp.rs`).
    Alp,
    /// Doubles with their high bits in a dictionary (`alp_rd.rs`).
    AlpRd,
    /// Each distinct value once (`dictionary.rs`).
    Dictionary,
    /// Numerics as integers (`decimal.rs`).
    Decimal,
    /// Texts as codes for what occurs often in them (`fsst.rs`).
    Fsst,
}

impl Encoding {
    pub(super) const ALL: [Encoding; 7] =
        [Self::Plain, Self::Integers, Self::Alp, Self::AlpRd, Self::Dictionary, Self::Decimal, Self::Fsst];

    fn from_code(code: u8) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|encoding| *encoding as u8 == code);
        known.ok_or(EncodingError::UnknownCode { what: "vector encoding", code })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Integers => "integers",
            Self::Alp => "alp",
            Self::AlpRd => "alp-rd",
            Self::Dictionary => "dictionary",
            Self::Decimal => "decimal",
            Self::Fsst => "fsst",
        }
    }

    /// Whether numbers are packed into as few bits as they need.
    pub(super) fn is_packed(self) -> bool {
        !matches!(self, Self::Plain | Self::Dictionary)
    }

    /// Whether the values are used where they lie.
    pub(super) fn is_plain(self) -> bool {
        self == Self::Plain
    }
}

/// A vector of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorEntry {
    /// Where its bytes start in the stripe.
    pub offset: u64,
    /// Bytes in the stripe.
    pub stored_len: u32,
    /// Bytes once decompressed.
    pub raw_len: u32,
    /// Rows, NULLs included.
    pub rows: u16,
    /// Rows that are NULL.
    pub null_count: u16,
    /// How values are written.
    pub encoding: Encoding,
    /// How what is written is compressed.
    pub compression: Method,
    /// XXH3-64 of the stored bytes.
    pub checksum: u64,
    /// Least and greatest value; `None` if all are NULL or the column is not ordered.
    pub zone: Option<Zone>,
}

impl VectorEntry {
    /// Appends the entry; its offset and rows follow from its place.
    pub(super) fn encode(&self, order: Order, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&self.null_count.to_le_bytes());
        out.extend_from_slice(&[self.encoding as u8, self.compression.code()]);
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_zone(order, self.zone, out);
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>, order: Order, offset: u64, rows: u16) -> Result<Self> {
        let stored_len = cursor.u32()?;
        let raw_len = cursor.u32()?;
        let null_count = cursor.u16()?;
        let encoding = Encoding::from_code(cursor.u8()?)?;
        let compression = Method::from_code(cursor.u8()?)?;
        let checksum = cursor.u64()?;
        let zone = get_zone(cursor, order, null_count < rows)?;
        let entry =
            VectorEntry { offset, stored_len, raw_len, rows, null_count, encoding, compression, checksum, zone };
        match entry.defect() {
            Some(detail) => Err(EncodingError::inconsistent(WHAT, detail)),
            None => Ok(entry),
        }
    }

    fn defect(&self) -> Option<&'static str> {
        let (rows, nulls) = (usize::from(self.rows), usize::from(self.null_count));
        if nulls > rows {
            return Some("a vector has more NULLs than rows");
        }
        if nulls == rows && self.raw_len != 0 {
            return Some("a vector of NULLs has bytes");
        }
        if nulls < rows && self.raw_len as usize <= bitmap_len(rows, nulls) {
            return Some("a vector with values has no bytes");
        }
        match self.compression {
            Method::None if self.stored_len != self.raw_len => Some("a vector that is not compressed has two lengths"),
            Method::Lz4 | Method::Zstd if self.stored_len >= self.raw_len => Some("a compressed vector has not shrunk"),
            _ => None,
        }
    }
}

/// Appends the zone of an ordered column, zeros if there is none.
pub(super) fn put_zone(order: Order, zone: Option<Zone>, out: &mut Vec<u8>) {
    if order != Order::None {
        let zone = zone.unwrap_or(Zone { min: 0, max: 0 });
        out.extend_from_slice(&zone.min.to_le_bytes());
        out.extend_from_slice(&zone.max.to_le_bytes());
    }
}

/// Reads what [`put_zone`] wrote; `has_values` says whether a zone is meant.
pub(super) fn get_zone(cursor: &mut Cursor<'_>, order: Order, has_values: bool) -> Result<Option<Zone>> {
    if order == Order::None {
        return Ok(None);
    }
    let zone = Zone { min: cursor.u64()?, max: cursor.u64()? };
    match has_values {
        true if zone.min > zone.max => Err(EncodingError::inconsistent("zone map", "its minimum exceeds its maximum")),
        true => Ok(Some(zone)),
        false => Ok(None),
    }
}

/// Bytes of the directory of a column with `vectors` vectors.
pub(super) fn directory_len(order: Order, vectors: usize) -> usize {
    vectors * if order == Order::None { ENTRY_LEN } else { ENTRY_LEN + ZONE_LEN }
}

/// The vectors of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDirectory {
    entries: Vec<VectorEntry>,
}

impl ColumnDirectory {
    /// Parses the directory of a column, whose bytes lie where [`Footer::directory_range`] says.
    pub fn parse(bytes: &[u8], footer: &Footer, column: usize) -> Result<Self> {
        let owner = footer.column(column)?;
        if checksum(bytes) != owner.directory_checksum {
            return Err(EncodingError::Checksum { what: WHAT });
        }
        let mut cursor = Cursor::new(bytes, WHAT);
        let mut entries = with_capacity(footer.vector_count())?;
        let mut offset = owner.data_offset;
        let (mut null_count, mut raw_len) = (0u32, 0u64);
        for rows in footer.vector_rows() {
            let entry = VectorEntry::decode(&mut cursor, owner.column_type.order, offset, rows)?;
            offset = offset.saturating_add(entry.stored_len.into());
            raw_len = raw_len.saturating_add(entry.raw_len.into());
            null_count = null_count.saturating_add(entry.null_count.into());
            entries.push(entry);
        }
        cursor.finish()?;
        let same_len = offset == owner.data_offset + owner.data_len && raw_len == owner.raw_len;
        if !same_len || null_count != owner.null_count {
            return Err(EncodingError::inconsistent(WHAT, "its vectors do not add up to the column"));
        }
        Ok(ColumnDirectory { entries })
    }

    /// All vectors in order.
    pub fn entries(&self) -> &[VectorEntry] {
        &self.entries
    }

    /// Vector `index`.
    pub fn entry(&self, index: usize) -> Result<&VectorEntry> {
        self.entries.get(index).ok_or(EncodingError::OutOfRange { what: "vector", index: index as u64 })
    }
}
