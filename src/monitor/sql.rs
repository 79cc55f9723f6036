//! SQL functions about Orochi itself.

use super::{health, metrics};
use pgrx::JsonB;
use pgrx::prelude::*;

/// Version of the library.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs all health checks. Some run in a subtransaction, which a parallel query does not allow.
#[pg_extern(volatile, parallel_unsafe)]
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

// Health and metrics are for everybody; what is not, is revoked where it is defined.
extension_sql!(
    r#"
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;
COMMENT ON FUNCTION @extschema@.version() IS 'version of the Orochi library';
COMMENT ON FUNCTION @extschema@.health() IS
    'checks whether Orochi can do its work: one row per finding, with what to do about it';
COMMENT ON FUNCTION @extschema@.metrics() IS 'counters and gauges of Orochi since the server started';
"#,
    name = "monitor",
    requires = [version, health, metrics]
);

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::expect_used, reason = "a test may stop at the first surprise")]
mod tests {
    use crate::monitor::counters::{self, Counter};
    use pgrx::prelude::*;

    fn text(query: &str) -> Option<String> {
        Spi::get_one(query).expect("query")
    }

    #[pg_test]
    fn version_is_the_crate_s() {
        assert_eq!(text("SELECT orochi.version()").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[pg_test]
    fn health_says_that_the_library_is_preloaded() {
        let status = text("SELECT status FROM orochi.health() WHERE \"check\" = 'preload'");
        assert_eq!(status.as_deref(), Some("ok"));
        let bad =
            text("SELECT string_agg(status, ',') FROM orochi.health() WHERE status NOT IN ('ok', 'warn', 'fail')");
        assert_eq!(bad, None);
    }

    #[pg_test]
    fn metrics_show_counters() {
        counters::add(Counter::RowsMoved, 41);
        counters::add(Counter::RowsMoved, 1);
        let value = Spi::get_one::<f64>("SELECT value FROM orochi.metrics() WHERE name = 'rows_moved_total'");
        assert!(value.expect("query").is_some_and(|value| value >= 42.0));
    }

    #[pg_test]
    fn every_function_has_a_comment() {
        let missing = text(
            "SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
             JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'orochi'
             WHERE p.pronamespace = 'orochi'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL",
        );
        assert_eq!(missing, None);
    }
}
