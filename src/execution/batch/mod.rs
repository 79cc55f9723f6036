//! Batches: columns of up to 1,024 rows on which operators work, and loops over them. Free of PostgreSQL.

mod column;
mod compare;
mod decimals;
mod floats;
mod integers;
mod take;
mod vector;

pub use column::{Bytes, Column, Decimals, Kind, Memory, Operand, Values, content, unpadded};
pub use compare::{Comparison, compare_bytes, compare_decimals, compare_doubles, compare_words, double_order};
pub use decimals::{Exact, combine_decimals};
pub use floats::{FloatOp, double, double_word, float_arithmetic, float4, float4_word};
pub use integers::{IntegerOp, integer_arithmetic};
pub use take::taken;
pub use vector::column_of;

/// What a batch holds at most.
pub const MAX_ROWS: usize = crate::columnar::encoding::MAX_VECTOR_ROWS;
