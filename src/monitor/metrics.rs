//! Metrics: named numbers with labels, for monitoring systems.

use super::counters::{self, Counter};
use crate::shmem;
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};

/// One row of `orochi.metrics()`. It is shown to everybody.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// Name; counters end in `_total`, others in their unit where they have one.
    pub name: &'static str,
    /// What tells rows of one name apart.
    pub labels: Map<String, Value>,
    /// The number.
    pub value: f64,
    /// What is measured, as a sentence.
    pub help: &'static str,
}

impl MetricRow {
    /// A metric without labels.
    pub fn new(name: &'static str, value: f64, help: &'static str) -> Self {
        Self { name, labels: Map::new(), value, help }
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }
}

/// A source adds its rows. It runs in the transaction of the session that asks, and must be quick.
pub type Source = fn(&mut Vec<MetricRow>);

static SOURCES: Mutex<Vec<Source>> = Mutex::new(Vec::new());

/// Adds a source. Only in `_PG_init`.
pub fn register(source: Source) {
    SOURCES.lock().unwrap_or_else(PoisonError::into_inner).push(source);
}

/// Asks all sources in order of registration.
pub fn collect() -> Vec<MetricRow> {
    let sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut rows = Vec::new();
    sources.iter().for_each(|source| source(&mut rows));
    rows
}

/// The shared counters, and whether there are any.
pub fn measure_counters(rows: &mut Vec<MetricRow>) {
    let preloaded = if shmem::is_preloaded() { 1.0 } else { 0.0 };
    rows.push(MetricRow::new("preloaded", preloaded, "1 if the library was loaded when the server started."));
    rows.extend(Counter::ALL.iter().filter_map(|counter| {
        counters::value(*counter).map(|value| MetricRow::new(counter.name(), value as f64, counter.help()))
    }));
}
