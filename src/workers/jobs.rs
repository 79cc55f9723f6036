//! The jobs that the maintenance worker of every database runs.
//!
//! Subsystems register theirs in `_PG_init`. The registry knows nothing about them.

use super::registry::Registry;
use super::slot::Slot;
use super::{clock, process};
use crate::pg::server::{self, worker};
use pgrx::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A recurring piece of work in one database.
#[derive(Clone, Copy)]
pub struct JobSpec {
    /// Name for views and messages.
    pub name: &'static str,
    /// Time from the end of a run to the start of the next. Asked each time, so it may follow a setting.
    pub interval: fn() -> Duration,
    /// Longest time for which a run may go without [`JobContext::progress`] before it counts as stuck and its
    /// worker is restarted.
    pub stall_limit: Duration,
    /// Does the work, in transactions of its own. An ERROR or a panic aborts the open transaction, is logged and
    /// shown in `orochi.workers()`; the next run comes later the more runs have failed in a row.
    pub run: fn(&JobContext) -> Result<JobReport, JobError>,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobReport {
    /// Units of work, as the job counts them.
    pub work_done: u64,
    /// True if work is left: the next run follows at once.
    pub more: bool,
}

/// Why a run has failed.
#[derive(Debug)]
pub struct JobError {
    /// SQLSTATE for the log.
    pub sqlstate: PgSqlErrorCode,
    /// Primary message, in PostgreSQL's style.
    pub message: String,
}

impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        Self { sqlstate: PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message: error.to_string() }
    }
}

/// What a run may ask of its worker.
pub struct JobContext {
    registry: &'static Registry,
    slot: &'static Slot,
    index: usize,
}

impl JobContext {
    pub(super) fn new(registry: &'static Registry, slot: &'static Slot, index: usize) -> Self {
        Self { registry, slot, index }
    }

    /// Runs a part of the job in a transaction of its own, with a snapshot. If it fails that is logged and shown in `orochi.workers()`, `None`
    /// is returned, and the job can go on with its other parts. `what` says in the log what was being done.
    pub fn attempt<R>(&self, what: &str, body: impl FnOnce() -> R) -> Option<R> {
        match worker::attempt(|| server::transaction(body)) {
            Ok(result) => Some(result),
            Err(failure) => {
                process::record(self.registry, self.index, what, failure);
                None
            }
        }
    }

    /// Tells that the run gets on. To be called at least as often as the job's stall limit says.
    pub fn progress(&self) {
        self.slot.progress(clock::now());
    }

    /// True if the worker is wanted to end: finish the transaction at hand and return.
    pub fn should_stop(&self) -> bool {
        self.slot.stop_requested()
    }
}

static JOBS: Mutex<Vec<JobSpec>> = Mutex::new(Vec::new());

/// Adds a job to what every maintenance worker runs. Only in `_PG_init`.
pub fn register(job: JobSpec) {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner).push(job);
}

/// All jobs; a job's index here is what slots hold.
pub fn all() -> Vec<JobSpec> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Name of a job by index.
pub fn name(index: usize) -> Option<&'static str> {
    all().get(index).map(|job| job.name)
}
