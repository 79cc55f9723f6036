//! The maintenance worker of one database: runs the registered jobs, one at a time.

use super::jobs::{self, JobContext, JobSpec};
use super::process::{self, PERIOD};
use super::registry::{self, LAUNCHER, Registry};
use super::slot::{Slot, State};
use super::watcher::Watcher;
use super::{Argument, EXTENSION};
use crate::pg::server::database;
use crate::pg::server::worker::{self, Failure, WorkMemory};
use pgrx::pg_sys;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// What `orochi.workers()` calls this kind of worker.
pub const NAME: &str = "maintenance";
/// `backend_type` of the process.
pub const KIND: &str = "orochi maintenance";
/// Entry function, as the server looks it up.
pub const FUNCTION: &str = "orochi_maintenance_main";

/// How often the worker looks whether its database still has the extension. DROP EXTENSION stops the worker
/// itself; this is for a drop that went another way, such as DROP SCHEMA.
const EXTENSION_CHECK_PERIOD: Duration = Duration::from_secs(5);
/// After failures in a row, the next run waits twice as long each time, but no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The process. It returns, and so ends without a message, when it is not needed any more.
pub fn run(argument: u64) {
    let Some(registry) = registry::get() else { return };
    let Argument { slot: index, generation } = Argument::unpack(argument);
    let Some(slot) = process::enter(registry, index, generation) else { return };
    if slot.stop_requested() {
        return;
    }
    worker::begin(Some(pg_sys::Oid::from(slot.database())));
    process::start_heartbeat();
    Maintenance::new(registry, slot, index).serve();
}

struct Maintenance {
    registry: &'static Registry,
    slot: &'static Slot,
    index: usize,
    context: JobContext,
    memory: WorkMemory,
    jobs: Vec<Scheduled>,
    extension_checked_at: Option<Instant>,
    watcher: Watcher,
}

/// A job and its next run.
struct Scheduled {
    spec: JobSpec,
    due: Instant,
    failures_in_row: u32,
}

impl Maintenance {
    fn new(registry: &'static Registry, slot: &'static Slot, index: usize) -> Self {
        let scheduled = |spec| Scheduled { spec, due: Instant::now(), failures_in_row: 0 };
        Self {
            registry,
            slot,
            index,
            context: JobContext::new(registry, slot, index),
            memory: WorkMemory::new(),
            jobs: jobs::all().into_iter().map(scheduled).collect(),
            extension_checked_at: None,
            watcher: Watcher::default(),
        }
    }

    fn serve(mut self) {
        while !self.slot.stop_requested() {
            if !self.extension_is_there() {
                return self.slot.leave(State::NoExtension);
            }
            self.watcher.round(self.registry, |view| view.slot == LAUNCHER);
            for job in 0..self.jobs.len() {
                if !self.slot.stop_requested() && self.jobs[job].due <= Instant::now() {
                    self.run_job(job);
                    process::turn(self.slot, Duration::ZERO);
                }
            }
            worker::report_statistics();
            process::turn(self.slot, self.time_to_next());
        }
    }

    fn time_to_next(&self) -> Duration {
        let now = Instant::now();
        let next = self.jobs.iter().map(|job| job.due.saturating_duration_since(now)).min();
        next.unwrap_or(PERIOD).min(PERIOD)
    }

    /// True if the database has the extension, as far as the last look says. A look that fails changes nothing.
    fn extension_is_there(&mut self) -> bool {
        if self.extension_checked_at.is_some_and(|at| at.elapsed() < EXTENSION_CHECK_PERIOD) {
            return true;
        }
        self.extension_checked_at = Some(Instant::now());
        match self.memory.guarded(|| worker::in_transaction(|| database::has_extension(EXTENSION))) {
            Ok(found) => found,
            Err(failure) => {
                process::record(self.registry, self.index, "looking for the extension", failure);
                true
            }
        }
    }

    fn run_job(&mut self, job: usize) {
        let spec = self.jobs[job].spec;
        self.slot.begin_job(job, spec.stall_limit);
        worker::report_activity(CString::new(spec.name).ok().as_deref());
        let result = self.memory.guarded(|| (spec.run)(&self.context));
        let outcome = match result {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => {
                // The job has returned in the middle of its transaction, if it has one open.
                worker::abort_transaction();
                Err(Failure { sqlstate: error.sqlstate, message: error.message, detail: None })
            }
            Err(failure) => Err(failure),
        };
        self.slot.end_job(outcome.is_err());
        worker::report_activity(None);
        let scheduled = &mut self.jobs[job];
        match outcome {
            Ok(report) => {
                self.slot.add_work(report.work_done);
                scheduled.failures_in_row = 0;
                let pause = if report.more { Duration::ZERO } else { (spec.interval)() };
                scheduled.due = Instant::now() + pause;
            }
            Err(failure) => {
                scheduled.failures_in_row += 1;
                scheduled.due = Instant::now() + pause_after(scheduled.failures_in_row, (spec.interval)());
                // The reason may be that the extension has gone.
                self.extension_checked_at = None;
                process::record(self.registry, self.index, spec.name, failure);
            }
        }
    }
}

/// Time until a job is tried again after so many failures in a row.
fn pause_after(failures_in_row: u32, interval: Duration) -> Duration {
    let doubled = PERIOD.saturating_mul(1 << failures_in_row.min(6));
    doubled.min(LONGEST_PAUSE).max(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_slow_a_job_down() {
        let interval = Duration::from_millis(100);
        assert_eq!(pause_after(1, interval), Duration::from_secs(2));
        assert_eq!(pause_after(3, interval), Duration::from_secs(8));
        assert_eq!(pause_after(1000, interval), LONGEST_PAUSE);
        assert_eq!(pause_after(1, Duration::from_secs(3600)), Duration::from_secs(3600));
    }
}
