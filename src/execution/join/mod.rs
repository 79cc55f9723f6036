//! What a join of batches keeps of its build side: rows by their keys, and their columns. Free of PostgreSQL.

mod marks;
mod stored;
mod table;

pub use marks::Marks;
pub use stored::Stored;
pub use table::{NONE, Table};
