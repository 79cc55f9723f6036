//! Query execution: scan nodes that read no more of a columnar table than the query needs.

mod aggregate;
mod batch;
pub mod batch_path;
mod batches;
pub mod composite_keys;
mod custom_node;
mod estimate;
mod explain;
mod expression;
pub mod fetches;
mod join;
pub mod joined_subqueries;
mod node;
mod parallel;
pub mod planning;
mod predicate;
mod records;
pub mod statistics;
pub mod vector_aggregate;
pub mod vector_join;
mod zone_filter;

/// Registers the nodes, in every process that plans or runs queries.
pub fn init() {
    node::register();
    vector_aggregate::register();
    vector_join::register();
}
