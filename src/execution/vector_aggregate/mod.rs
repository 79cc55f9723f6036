//! VectorAggregate: groups and aggregates batches of a columnar scan.
//!
//! Groups are kept in a hash table whose keys are words (see [`Groups`](super::aggregate::Groups)); what each aggregate has come to is in lists, one
//! element for each group. The node's slots have the child's columns, of which those that are keys are filled, and the aggregates behind them;
//! HAVING and the target list are PostgreSQL's business.

mod compile;
mod distinct;
mod explain;
mod functions;
mod node;
mod output;
mod plan;
pub mod planning;
mod server;
mod spill;
mod state;

pub use functions::equality_of;
pub use node::register;
