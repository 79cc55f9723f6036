//! VectorJoin: a hash join of batches.
//!
//! One child, the build side, is read whole and kept in memory as columns, with its rows chained by their keys (see [`Table`](super::join::Table));
//! the other, the probe side, is read a batch at a time. Which rows come out is said by [`Way`](plan::Way). If the build side takes more memory than
//! it may, both sides are spread over temporary files by a hash of their keys, and joined file by file.
//!
//! L. D. Shapiro: Join Processing in Database Systems with Large Main Memories. TODS 11 (3), 1986 (the hybrid and Grace hash joins).

mod build;
mod compile;
mod explain;
mod node;
mod output;
mod pairs;
mod plan;
pub mod planning;
mod probe;
mod spill;
mod state;

pub use node::{batch_giver, next_batch, register};
