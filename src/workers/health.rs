//! Health checks and metrics of the workers.

use super::registry::{self, LAUNCHER, Registry};
use super::slot::{State, View};
use super::watch::{self, Verdict};
use super::{EXTENSION, clock, jobs, sql};
use crate::monitor::health::{HealthRow, Status};
use crate::monitor::metrics::MetricRow;
use crate::pg::server::{self, database};
use crate::settings;
use std::time::Duration;

const CHECK: &str = "workers";
/// An error counts for the check this long.
const RECENT: Duration = Duration::from_secs(600);
/// Worker processes that parallel queries and logical replication want besides ours.
const OTHERS: usize = 3;

/// Checks the workers of the server, and that this database has one.
pub fn check(rows: &mut Vec<HealthRow>) {
    let Some(registry) = registry::get() else { return };
    if server::in_recovery() {
        return rows.push(HealthRow::new(CHECK, Status::Ok, "The server is a standby; workers start after promotion."));
    }
    let views = registry.views();
    let found = rows.len();
    let now = clock::now();
    rows.extend(views.iter().filter_map(|view| finding(view, now)));
    rows.extend(missing_here(&views));
    rows.extend(errors(&views, now));
    if rows.len() == found {
        let live = views.iter().filter(|view| view.state.is_live()).count();
        rows.push(HealthRow::new(CHECK, Status::Ok, format!("{live} workers are running.")));
    }
    rows.push(check_room(registry, &views));
}

fn object(view: &View) -> String {
    match sql::database_name(view) {
        Some(database) => format!("{} worker of database \"{database}\"", sql::kind(view)),
        None => sql::kind(view).to_owned(),
    }
}

/// What is wrong with a worker now.
fn finding(view: &View, now: i64) -> Option<HealthRow> {
    let row = |detail: String| HealthRow::new(CHECK, Status::Fail, detail).object(object(view));
    let restarts = "It is being terminated and started anew; if this lasts, call orochi.start_workers().";
    match watch::judge(view, now, settings::worker_heartbeat_timeout()) {
        Verdict::Healthy => None,
        // A database that has turned out not to have the extension is none of the check's business.
        Verdict::Missing if view.state == State::NoExtension => None,
        Verdict::Missing => Some(
            row("There is no such process.".into())
                .hint("It is started within seconds; if this lasts, look for its messages in the server log."),
        ),
        Verdict::NotStarted(age) => Some(
            row(format!("The process was asked for {} s ago and has not started.", age.as_secs()))
                .hint("Look for messages about it in the server log."),
        ),
        Verdict::Silent(time) => {
            let detail =
                format!("The process with PID {} has given no sign of life for {} s.", view.pid, time.as_secs());
            Some(row(detail).hint(restarts))
        }
        Verdict::Stalled(time) => {
            let job = view.job.and_then(jobs::name).unwrap_or("its loop");
            let (pid, seconds) = (view.pid, time.as_secs());
            Some(
                row(format!("The process with PID {pid} has made no progress in {job} for {seconds} s."))
                    .hint(restarts),
            )
        }
    }
}

/// This database has the extension, so it should have a worker.
fn missing_here(views: &[View]) -> Option<HealthRow> {
    let current = database::current();
    let has_worker = views.iter().any(|view| view.database == current.to_u32() && view.state != State::NoExtension);
    if has_worker || !database::has_extension(EXTENSION) {
        return None;
    }
    let name = database::name(current).unwrap_or_default();
    Some(
        HealthRow::new(CHECK, Status::Fail, "The database has no maintenance worker.")
            .object(format!("maintenance worker of database \"{name}\""))
            .hint("Call orochi.start_workers() as a superuser, then look at orochi.workers() and the server log."),
    )
}

/// Recent errors, without their texts: those are for `orochi.workers()`, which knows who may see them.
fn errors(views: &[View], now: i64) -> Vec<HealthRow> {
    let recent = |view: &&View| view.error_at != 0 && clock::between(view.error_at, now) < RECENT;
    let row = |view: &View| {
        let detail = format!(
            "It met an error {} s ago; {} of {} job runs have failed.",
            clock::between(view.error_at, now).as_secs(),
            view.failures,
            view.runs
        );
        HealthRow::new(CHECK, Status::Warn, detail)
            .object(object(view))
            .hint("The error is in orochi.workers() and in the server log.")
    };
    views.iter().filter(recent).map(row).collect()
}

/// Whether `max_worker_processes` and the registry have room.
fn check_room(registry: &Registry, views: &[View]) -> HealthRow {
    let limit = usize::try_from(server::max_worker_processes()).unwrap_or(0);
    let used = views.iter().filter(|view| view.slot == LAUNCHER || view.state.is_live()).count();
    let row = |status, detail| HealthRow::new("max_worker_processes", status, detail);
    let hint = format!("Set max_worker_processes to {} or more and restart the server.", used + OTHERS + 1);
    if registry.is_refused() {
        row(Status::Fail, format!("A worker could not be started: all {limit} worker processes are in use.")).hint(hint)
    } else if registry.is_full() {
        row(
            Status::Fail,
            format!("More than {} databases have the extension; some have no worker.", registry::SLOTS - 1),
        )
    } else if used + OTHERS > limit {
        row(
            Status::Warn,
            format!("Orochi uses {used} of {limit} worker processes, which leaves few for parallel queries."),
        )
        .hint(hint)
    } else {
        row(Status::Ok, format!("Orochi uses {used} of {limit} worker processes."))
    }
}

/// Adds the workers' metrics.
pub fn measure(rows: &mut Vec<MetricRow>) {
    let Some(registry) = registry::get() else { return };
    let now = clock::now();
    for view in registry.views() {
        let mut add = |name, value, help| {
            let row = MetricRow::new(name, value, help).label("kind", sql::kind(&view));
            rows.push(match sql::database_name(&view) {
                Some(database) => row.label("database", database),
                None => row,
            });
        };
        let up = if view.state.is_live() { 1.0 } else { 0.0 };
        add("worker_up", up, "1 if the worker has a process.");
        if view.heartbeat != 0 {
            let age = clock::between(view.heartbeat, now).as_secs_f64();
            add("worker_heartbeat_age_seconds", age, "Time since the worker's last sign of life.");
        }
        add("worker_restarts_total", view.restarts as f64, "Starts of the worker after its first.");
        if view.slot == LAUNCHER {
            continue;
        }
        add("worker_job_runs_total", view.runs as f64, "Job runs of the worker.");
        add("worker_job_failures_total", view.failures as f64, "Job runs of the worker that failed.");
        add("worker_work_done_total", view.work_done as f64, "Units of work that the worker's jobs have reported.");
    }
}
