//! SQL functions about workers.

use super::registry::{self, LAUNCHER};
use super::slot::{State, View};
use super::{jobs, maintenance};
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
    (view.database != 0).then(|| {
        database::name(pg_sys::Oid::from(view.database)).unwrap_or_else(|| view.database.to_string())
    })
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

/// Has the launcher start the worker of this database when the current transaction commits. False, with a warning,
/// if the library is not preloaded.
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
    let current = database::current().to_u32();
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        registry.remember_kick(current);
        registry.wake_launcher();
    });
    true
}

extension_sql!(
    r#"
COMMENT ON FUNCTION workers() IS
    'background workers of Orochi in all databases; error texts are shown to members of pg_monitor';
COMMENT ON FUNCTION start_workers() IS
    'has the maintenance worker of this database started at commit; CREATE EXTENSION does this itself';
REVOKE EXECUTE ON FUNCTION start_workers() FROM PUBLIC;
"#,
    name = "workers_comments",
    requires = [workers, start_workers]
);

// The launcher sees no database's catalogs, so a database that gets the extension has to tell.
extension_sql!("SELECT start_workers();", name = "start_workers_at_creation", finalize);
