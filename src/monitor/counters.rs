//! Counters in shared memory: totals since the server started.

use crate::shmem;
use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the counters once: variant, metric name, help text.
macro_rules! counters {
    ($($variant:ident => $name:literal, $help:literal;)+) => {
        /// Something that Orochi counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter {
            $(#[doc = $help] $variant,)+
        }

        impl Counter {
            /// Every counter, in order of definition.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];

            /// Name of the metric.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name),+ }
            }

            /// What is counted, as a sentence.
            pub fn help(self) -> &'static str {
                match self { $(Counter::$variant => $help),+ }
            }
        }
    };
}

counters! {
    StripesWritten => "stripes_written_total", "Stripes written by statements and by the mover.";
    RowsInsertedStripe => "rows_inserted_stripe_total", "Rows that statements wrote straight into stripes.";
    RowsInsertedRowStore => "rows_inserted_row_store_total", "Rows that statements wrote to row stores.";
    RowsMoved => "rows_moved_total", "Rows that the mover has moved from row stores into stripes.";
    StripesScanned => "stripes_scanned_total", "Stripes that scans have read.";
    StripesSkipped => "stripes_skipped_total", "Stripes that scans have skipped without reading them.";
    VectorsScanned => "vectors_scanned_total", "Vectors that scans have decoded.";
    VectorsSkipped => "vectors_skipped_total", "Vectors that scans have skipped by their zone maps.";
    AnchorsCreated => "anchors_created_total", "Anchors created to lock or update stripe rows.";
    MoverRuns => "mover_runs_total", "Runs of the mover.";
    MoverErrors => "mover_errors_total", "Runs of the mover that failed.";
    WritesDelayed => "writes_delayed_total", "Statements that were delayed because too many rows waited to be moved.";
    WriteDelayMilliseconds => "write_delay_milliseconds_total", "Milliseconds for which statements were delayed.";
    CopyWorkersStarted => "copy_workers_started_total", "Parallel workers that COPY has started.";
    Merges => "merges_total", "Merges of stripes into new ones.";
    VectorAggregations => "vector_aggregations_total", "Aggregations of batches that were run, each worker's own included.";
    AggregateSpillBytes => "aggregate_spill_bytes_total", "Bytes that aggregations of batches have written to temporary files.";
    VectorJoins => "vector_joins_total", "Joins of batches whose build side was read, each worker's own included.";
    JoinSpillBytes => "join_spill_bytes_total", "Bytes that joins of batches have written to temporary files.";
    JoinedSubqueries => "joined_subqueries_total", "Queries planned with joins in place of correlated aggregates.";
    TuplesPacked => "tuples_packed_total", "Tuples that were moved from the end of a file into room before it.";
    MarksFolded => "marks_folded_total", "Marks of deleted rows that were put into delete bitmaps.";
    Reclusterings => "reclusterings_total", "Groups of stripes that were sorted together.";
}

const COUNT: usize = Counter::ALL.len();

/// The shared values, indexed by [`Counter`].
pub struct Counters([AtomicU64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Adds to a counter. Does nothing where the library is not preloaded.
#[inline]
pub fn add(counter: Counter, n: u64) {
    if let Some(shared) = shmem::COUNTERS.get() {
        shared.0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }
}

/// Value of a counter, or None where the library is not preloaded.
pub fn value(counter: Counter) -> Option<u64> {
    shmem::COUNTERS.get().map(|shared| shared.0[counter as usize].load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_counters_end_in_total() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert!(names.iter().all(|name| name.ends_with("_total")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNT);
    }

    #[test]
    fn variants_index_the_table() {
        assert!(Counter::ALL.iter().enumerate().all(|(index, counter)| *counter as usize == index));
    }
}
