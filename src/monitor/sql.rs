//! SQL functions about Orochi itself.

use super::{health, metrics};
use pgrx::JsonB;
use pgrx::prelude::*;

/// Version of the library.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs all health checks.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn health() -> TableIterator<
    'static,
    (
        name!(check, &'static str),
        name!(status, &'static str),
        name!(object, Option<String>),
        name!(detail, String),
        name!(hint, Option<String>),
    ),
> {
    let rows = health::run().into_iter();
    TableIterator::new(rows.map(|row| (row.check, row.status.name(), row.object, row.detail, row.hint)))
}

/// Reads all metrics.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn metrics() -> TableIterator<
    'static,
    (name!(name, &'static str), name!(labels, JsonB), name!(value, f64), name!(help, &'static str)),
> {
    let rows = metrics::collect().into_iter();
    TableIterator::new(rows.map(|row| (row.name, JsonB(row.labels.into()), row.value, row.help)))
}

extension_sql!(
    r#"
COMMENT ON FUNCTION version() IS 'version of the Orochi library';
COMMENT ON FUNCTION health() IS
    'checks whether Orochi can do its work: one row per finding, with what to do about it';
COMMENT ON FUNCTION metrics() IS 'counters and gauges of Orochi since the server started';
"#,
    name = "monitor_comments",
    requires = [version, health, metrics]
);
