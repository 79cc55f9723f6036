//! COPY FROM: the statement, its input, the table that it fills, and where in the input an error is.

mod convert;
mod deferred;
mod input;
mod place;
mod safety;
mod shared;
mod statement;
mod target;

pub use convert::Converter;
pub use deferred::{Deferred, catch};
pub use input::CopyInput;
pub use place::Place;
pub use safety::{checks_are_safe, is_plain, orders_are_safe, types_are_safe};
pub use shared::{Link, Numbers, Task, join, prepare};
pub use statement::{ParseState, Statement};
pub use target::RowTarget;
