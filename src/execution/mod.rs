//! Query execution: scan nodes that read no more of a columnar table than the query needs.

mod aggregate;
mod batch;
mod batches;
mod estimate;
mod explain;
mod expression;
mod node;
mod parallel;
pub mod planning;
mod predicate;
pub mod statistics;
pub mod vector_aggregate;
mod zone_filter;

/// Registers the nodes, in every process that plans or runs queries.
pub fn init() {
    node::register();
    vector_aggregate::register();
}
