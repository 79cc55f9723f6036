//! Aggregation of batches: groups, and what is known of each. Free of PostgreSQL.

mod exact;
mod extreme;
mod floats;
mod groups;
mod index;
mod interner;
mod key;
mod state;
mod wire;

pub use exact::{Server, wide_numeric};
pub use groups::Groups;
pub use interner::{Equality, Interner};
pub use key::{Key, KeyValue, mix};
pub use state::{Aggregate, Function, Order, Outcome, Trouble};
pub use wire::{Reader, put};

/// Memory that was asked for could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<std::collections::TryReserveError> for OutOfMemory {
    fn from(_: std::collections::TryReserveError) -> Self {
        OutOfMemory
    }
}

/// Makes a list as long as there are groups.
fn grow<T: Clone>(list: &mut Vec<T>, groups: usize, value: T) -> Result<(), OutOfMemory> {
    if list.len() < groups {
        list.try_reserve(groups - list.len())?;
        list.resize(groups, value);
    }
    Ok(())
}
