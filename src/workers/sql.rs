//! SQL functions about workers.

use super::registry::{self, LAUNCHER};
use super::slot::{State, View};
use super::{clock, jobs, maintenance, watcher};
use crate::monitor::health::PRELOAD_HINT;
use crate::pg::server::{self, database};
use pgrx::callbacks::{PgXactCallbackEvent, register_xact_callback};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// A time of the registry, if there is one.
fn time(micros: i64) -> Option<TimestampWithTimeZone> {
    if micros == 0 { None } else { TimestampWithTimeZone::try_from(micros).ok() }
}

/// Kind of a worker, as `workers()` and metrics call it.
pub fn kind(view: &View) -> &'static str {
    if view.slot == LAUNCHER { "launcher" } else { maintenance::NAME }
}

/// Name of a worker's database, or its number if it has been dropped. None for the launcher.
pub fn database_name(view: &View) -> Option<String> {
    let name = |oid: u32| database::name(pg_sys::Oid::from(oid)).unwrap_or_else(|| oid.to_string());
    (view.database != 0).then(|| name(view.database))
}

/// Lists the workers. Error texts may quote data of other databases, so only monitoring roles see them.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn workers() -> TableIterator<
    'static,
    (
        name!(slot, i32),
        name!(kind, &'static str),
        name!(database, Option<String>),
        name!(pid, Option<i32>),
        name!(state, &'static str),
        name!(last_heartbeat, Option<TimestampWithTimeZone>),
        name!(last_error, Option<String>),
        name!(restarts, i64),
        name!(work_done, i64),
        name!(job, Option<&'static str>),
        name!(started_at, Option<TimestampWithTimeZone>),
        name!(last_error_at, Option<TimestampWithTimeZone>),
        name!(job_runs, i64),
        name!(job_failures, i64),
    ),
> {
    let monitor = server::user_is_monitor();
    let views = registry::get().map(|registry| registry.views()).unwrap_or_default();
    TableIterator::new(views.into_iter().map(move |view| {
        (
            view.slot as i32,
            kind(&view),
            database_name(&view),
            (view.pid != 0).then_some(view.pid),
            state(&view),
            time(view.heartbeat),
            view.error.filter(|_| monitor),
            view.restarts as i64,
            view.work_done as i64,
            view.job.and_then(jobs::name),
            time(view.started_at),
            time(view.error_at),
            view.runs as i64,
            view.failures as i64,
        )
    }))
}

/// The launcher's slot exists before the launcher does.
fn state(view: &View) -> &'static str {
    match view.state {
        State::Free => State::Stopped.name(),
        state => state.name(),
    }
}

/// Has the launcher start the worker of this database when the current transaction commits, and ends workers that
/// give no sign of life, for they cannot watch each other if all of them are stopped. False, with a warning, if the
/// library is not preloaded.
#[pg_extern(volatile, parallel_unsafe)]
fn start_workers() -> bool {
    let Some(registry) = registry::get() else {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "orochi is not in \"shared_preload_libraries\"",
            "orochi",
        )
        .set_detail("Columnar tables and background workers are not available.")
        .set_hint(PRELOAD_HINT)
        .report(PgLogLevel::WARNING);
        return false;
    };
    watcher::look(registry, clock::now(), |_| true);
    let current = database::current().to_u32();
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        registry.remember_kick(current);
        registry.wake_launcher();
    });
    true
}

extension_sql!(
    r#"
COMMENT ON FUNCTION @extschema@.workers() IS
    'background workers of Orochi in all databases; error texts are shown to members of pg_monitor';
COMMENT ON FUNCTION @extschema@.start_workers() IS
    'ends silent workers and has the worker of this database started at commit; CREATE EXTENSION calls it';
REVOKE EXECUTE ON FUNCTION @extschema@.start_workers() FROM PUBLIC;
"#,
    name = "workers_comments",
    requires = [workers, start_workers]
);

// The launcher sees no database's catalogs, so a database that gets the extension has to tell.
extension_sql!("SELECT @extschema@.start_workers();", name = "start_workers_at_creation", finalize);

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::expect_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::pg::server::process::wait;
    use crate::workers::hold::stop_for_database;
    use crate::workers::mover_xids;
    use std::time::Duration;

    /// Waits until this database's worker runs, or does not. A worker may be on its way when a test begins.
    fn await_worker(running: bool) {
        let current = database::current().to_u32();
        let runs = || {
            let views = registry::get().map(|registry| registry.views()).unwrap_or_default();
            views.iter().any(|view| view.database == current && view.pid != 0)
        };
        for _ in 0..300 {
            if runs() == running {
                return;
            }
            wait(Duration::from_millis(50));
        }
        panic!("worker of this database: running is still {}", runs());
    }

    #[pg_test]
    fn a_held_worker_stays_away_and_comes_back() {
        await_worker(true);
        let hold = stop_for_database(database::current()).expect("stop");
        await_worker(false);
        wait(Duration::from_millis(1_500));
        await_worker(false);
        drop(hold);
        await_worker(true);
    }

    #[pg_test]
    fn errors_are_for_monitors() {
        registry::get().expect("preloaded").record_error(LAUNCHER, "secret");
        let query = "SELECT last_error FROM orochi.workers() WHERE kind = 'launcher'";
        assert_eq!(Spi::get_one::<String>(query).expect("query").as_deref(), Some("secret"));
        Spi::run("CREATE ROLE plain; GRANT USAGE ON SCHEMA orochi TO plain; SET ROLE plain").expect("role");
        assert_eq!(Spi::get_one::<String>(query).expect("query"), None);
        let leak = "SELECT count(*) FROM orochi.health() WHERE detail LIKE '%secret%'";
        assert_eq!(Spi::get_one::<i64>(leak).expect("query"), Some(0));
    }

    #[pg_test(error = "permission denied for function start_workers")]
    fn start_workers_is_for_administrators() {
        Spi::run("CREATE ROLE plain2; GRANT USAGE ON SCHEMA orochi TO plain2; SET ROLE plain2").expect("role");
        Spi::run("SELECT orochi.start_workers()").expect("query");
    }

    #[pg_test]
    fn published_transactions_are_seen() {
        let xid = pg_sys::TransactionId::from(4_000_000_000);
        assert!(!mover_xids::is_mover(xid));
        let guard = mover_xids::publish(xid).expect("room");
        assert!(mover_xids::is_mover(xid));
        drop(guard);
        assert!(!mover_xids::is_mover(xid));
    }
}
