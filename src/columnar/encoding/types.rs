//! What a column holds and how a stripe is built.

use super::{EncodingError, Result};

/// Most rows that a vector can hold.
pub const MAX_VECTOR_ROWS: usize = 1024;

/// Most bytes that a vector of one column can have before compression: rows below the byte limit of a vector, and one
/// more whose value is as large as PostgreSQL's values get, 1 GiB each, and the room that NULLs and lengths take.
pub const MAX_VECTOR_BYTES: usize = (2 << 30) + (1 << 16);

/// Most columns that a stripe can hold, PostgreSQL's own limit.
pub const MAX_COLUMNS: usize = 1600;

/// How the values of a column lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Physical {
    /// Every value has `len` bytes, at least one.
    Fixed { len: u16 },
    /// Values start with PostgreSQL's variable-length header, of one byte or of four. A value with a header of four lies
    /// at an address divisible by `align` (1, 2, 4 or 8).
    Varlena { align: u8 },
    /// Values end with a NUL byte.
    CString,
}

/// How the values of a column are ordered, for zone maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Not ordered, or not by the bytes alone: no zone map.
    None,
    /// One byte, false before true.
    Bool,
    /// Two's complement of 1, 2, 4 or 8 bytes.
    Signed,
    /// Unsigned of 1, 2, 4 or 8 bytes.
    Unsigned,
    /// IEEE 754 of 4 bytes, as PostgreSQL orders it: NaN is greatest, negative zero equals zero.
    Float4,
    /// The same of 8 bytes.
    Float8,
    /// PostgreSQL's `numeric`.
    Decimal,
    /// By the bytes of the content, unsigned, the shorter first.
    Bytes,
    /// The same, but spaces at the end do not count.
    Padded,
}

impl Order {
    /// Whether different values have different keys. Keys of the others only bound the values.
    pub fn is_exact(self) -> bool {
        !matches!(self, Order::Decimal | Order::Bytes | Order::Padded)
    }
}

/// The type of a column, as far as the format is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnType {
    pub physical: Physical,
    pub order: Order,
}

impl ColumnType {
    /// A fixed-length type.
    pub const fn fixed(len: u16, order: Order) -> Self {
        ColumnType { physical: Physical::Fixed { len }, order }
    }

    /// A variable-length type with PostgreSQL's header.
    pub const fn varlena(align: u8, order: Order) -> Self {
        ColumnType { physical: Physical::Varlena { align }, order }
    }

    /// Says what makes the type impossible, if anything does.
    pub(super) fn defect(&self) -> Option<&'static str> {
        match (self.physical, self.order) {
            (Physical::Fixed { len: 0 }, _) => Some("its values have no bytes"),
            (Physical::Varlena { align }, _) if !matches!(align, 1 | 2 | 4 | 8) => {
                Some("its alignment is not 1, 2, 4 or 8")
            }
            (_, Order::None) => None,
            (Physical::Varlena { .. }, Order::Decimal | Order::Bytes | Order::Padded) => None,
            (Physical::Fixed { .. }, Order::Bytes) => None,
            (Physical::Fixed { len: 1 }, Order::Bool) => None,
            (Physical::Fixed { len: 1 | 2 | 4 | 8 }, Order::Signed | Order::Unsigned) => None,
            (Physical::Fixed { len: 4 }, Order::Float4) | (Physical::Fixed { len: 8 }, Order::Float8) => None,
            _ => Some("its order does not fit its length"),
        }
    }

    /// The type as four bytes: kind, order, length or alignment.
    pub(super) fn encode(&self) -> [u8; 4] {
        let (kind, size) = match self.physical {
            Physical::Fixed { len } => (0, len),
            Physical::Varlena { align } => (1, u16::from(align)),
            Physical::CString => (2, 0),
        };
        let order = match self.order {
            Order::None => 0,
            Order::Bool => 1,
            Order::Signed => 2,
            Order::Unsigned => 3,
            Order::Float4 => 4,
            Order::Float8 => 5,
            Order::Decimal => 6,
            Order::Bytes => 7,
            Order::Padded => 8,
        };
        let [low, high] = size.to_le_bytes();
        [kind, order, low, high]
    }

    /// Reads what [`ColumnType::encode`] wrote.
    pub(super) fn decode([kind, order, low, high]: [u8; 4]) -> Result<Self> {
        let size = u16::from_le_bytes([low, high]);
        let physical = match (kind, size) {
            (0, len) => Physical::Fixed { len },
            (1, 1..=8) => Physical::Varlena { align: low },
            (2, 0) => Physical::CString,
            (0..=2, _) => {
                return Err(EncodingError::inconsistent("column type", "its size is impossible"));
            }
            (code, _) => {
                return Err(EncodingError::UnknownCode { what: "column type", code });
            }
        };
        let order = match order {
            0 => Order::None,
            1 => Order::Bool,
            2 => Order::Signed,
            3 => Order::Unsigned,
            4 => Order::Float4,
            5 => Order::Float8,
            6 => Order::Decimal,
            7 => Order::Bytes,
            8 => Order::Padded,
            code => {
                return Err(EncodingError::UnknownCode { what: "column order", code });
            }
        };
        let column = ColumnType { physical, order };
        match column.defect() {
            None => Ok(column),
            Some(detail) => Err(EncodingError::inconsistent("column type", detail)),
        }
    }
}

/// Bytes from one value of a fixed length to the next: the length itself where it is 1, 2, 4 or 8, else rounded up to a
/// multiple of 8, so that every value is as aligned as any type of that length asks for.
pub(super) fn stride(len: u16) -> usize {
    match len {
        1 | 2 | 4 | 8 => usize::from(len),
        _ => usize::from(len).next_multiple_of(8),
    }
}

/// A value on its way into a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    /// The low bytes of a word: a fixed length of 1, 2, 4 or 8.
    Word(u64),
    /// All bytes of the value: of a fixed length, with its header, or with its NUL.
    Bytes(&'a [u8]),
    /// A varlena's content of at most [`MAX_SHORT_CONTENT`] bytes, to be stored with a header of one byte.
    Short(&'a [u8]),
}

/// Longest content that a header of one byte can announce.
pub const MAX_SHORT_CONTENT: usize = 126;

/// What to compress vectors with. A vector that does not shrink is stored as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    /// `level` 1 (fast) to 19 (small).
    Zstd {
        level: i32,
    },
}

/// When vectors and stripes are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a vector, 1 to [`MAX_VECTOR_ROWS`].
    pub vector_rows: usize,
    /// A vector also closes when its rows have this many bytes over all columns, at most 1 GiB.
    pub vector_bytes: usize,
    /// A stripe is to be flushed when the writer holds this many bytes.
    pub stripe_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { vector_rows: MAX_VECTOR_ROWS, vector_bytes: 8 << 20, stripe_bytes: 128 << 20 }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<()> {
        if !(1..=MAX_VECTOR_ROWS).contains(&self.vector_rows) {
            return Err(EncodingError::InvalidLimits { detail: "a vector has 1 to 1024 rows" });
        }
        if !(1..=1 << 30).contains(&self.vector_bytes) {
            return Err(EncodingError::InvalidLimits { detail: "a vector has 1 byte to 1 GiB" });
        }
        Ok(())
    }
}
