//! What a background worker process needs: signals, a connection, a heartbeat timer, and recovery from errors.

use crate::pg::compat::workers::{OWN_SETTINGS, USER_TIMEOUT, set_signal_handler};
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::{CStr, c_int};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// Bare declarations, without pgrx's guard: these are installed as signal handlers.
mod handlers {
    use std::ffi::c_int;
    unsafe extern "C-unwind" {
        /// SIGTERM as in an ordinary backend: the next check for interrupts ends the process.
        pub fn die(signal: c_int);
        /// SIGHUP: sets `ConfigReloadPending` and the latch.
        pub fn SignalHandlerForConfigReload(signal: c_int);
    }
}

unsafe extern "C-unwind" {
    /// Makes a handler known for a timeout reason (utils/timeout.h).
    fn RegisterTimeout(id: c_int, handler: Option<unsafe extern "C-unwind" fn()>) -> c_int;
    /// Fires a timeout at a time and then every so many milliseconds (utils/timeout.h).
    fn enable_timeout_every(id: c_int, first: pg_sys::TimestampTz, delay_ms: c_int);
}

/// A background worker to be started, by its name in `pg_stat_activity` and its entry function.
pub struct WorkerSpec {
    /// `backend_type` and, in the log, the kind of the process.
    pub kind: &'static str,
    /// Name of the exported entry function.
    pub function: &'static str,
    /// Handed to the entry function.
    pub argument: u64,
}

impl WorkerSpec {
    fn builder(&self) -> BackgroundWorkerBuilder {
        BackgroundWorkerBuilder::new(self.kind)
            .set_library("orochi")
            .set_function(self.function)
            .set_argument(Some(pg_sys::Datum::from(self.argument)))
            .enable_spi_access()
    }

    /// Registers a worker that the postmaster starts and keeps running. Only while preloading.
    pub fn start_with_server(&self, restart_after: Duration) {
        self.builder().set_restart_time(Some(restart_after)).load();
    }

    /// Starts a worker that is not restarted by the postmaster. False if `max_worker_processes` leaves no room.
    pub fn start_now(&self) -> bool {
        self.builder().set_restart_time(None).set_notify_pid(super::my_pid()).load_dynamic().is_ok()
    }
}

/// Lets the worker be terminated, interrupted and reconfigured like a backend, then connects it to a database, or
/// to the shared catalogs only. Call first. Raises if the database is gone.
pub fn begin(database: Option<pg_sys::Oid>) {
    // SAFETY: called once, in a background worker that was registered for a database connection.
    unsafe {
        set_signal_handler(pg_sys::SIGTERM, handlers::die);
        set_signal_handler(pg_sys::SIGHUP, handlers::SignalHandlerForConfigReload);
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(oid) => pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, 0),
            None => pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0),
        }
        for (name, value) in OWN_SETTINGS {
            let (context, source) = (pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_OVERRIDE);
            pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source);
        }
    }
    report_activity(None);
}

/// Shows in `pg_stat_activity` what the worker is doing, or that it waits.
pub fn report_activity(activity: Option<&CStr>) {
    use pg_sys::BackendState::{STATE_IDLE, STATE_RUNNING};
    // SAFETY: the text is copied.
    unsafe {
        match activity {
            Some(text) => pg_sys::pgstat_report_activity(STATE_RUNNING, text.as_ptr()),
            None => pg_sys::pgstat_report_activity(STATE_IDLE, std::ptr::null()),
        }
    }
}

/// Calls `beat` from a timer signal every `period`, whatever the process does otherwise.
///
/// `beat` runs in a signal handler: it may use atomics and the clock, nothing else.
pub fn start_heartbeat(period: Duration, beat: unsafe extern "C-unwind" fn()) {
    let period_ms = c_int::try_from(period.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the handler obeys the rule above; the worker machinery has set up timeouts before the entry function.
    unsafe {
        let first = pg_sys::GetCurrentTimestamp() + i64::from(period_ms) * 1_000;
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            enable_timeout_every(RegisterTimeout(USER_TIMEOUT, Some(beat)), first, period_ms);
        });
    }
}

/// Reads the configuration files again if the server was told to.
pub fn reload_settings() {
    // SAFETY: plain flags of this process; the reload happens outside a transaction, as it should.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Sends statistics that have piled up to where other processes see them. Only outside a transaction.
pub fn report_statistics() {
    // SAFETY: no preconditions besides the one above.
    unsafe { pg_sys::pgstat_report_stat(false) };
}

/// Runs `body` in a transaction of its own. An ERROR leaves the transaction to [`guarded`].
pub fn in_transaction<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: no transaction is open in a worker between two pieces of work.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
    let result = body();
    // SAFETY: commits the transaction from above.
    unsafe { pg_sys::CommitTransactionCommand() };
    result
}

/// An ERROR or panic that was caught.
#[derive(Debug, Clone)]
pub struct Failure {
    /// SQLSTATE of the error.
    pub sqlstate: PgSqlErrorCode,
    /// Primary message.
    pub message: String,
    /// Detail, if there is one.
    pub detail: Option<String>,
}

impl From<&ErrorReportWithLevel> for Failure {
    fn from(report: &ErrorReportWithLevel) -> Self {
        Self {
            sqlstate: report.sql_error_code(),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
        }
    }
}

impl From<&CaughtError> for Failure {
    fn from(caught: &CaughtError) -> Self {
        match caught {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => report.into(),
        }
    }
}

/// Memory of the pieces of work of a worker; emptied after each.
pub struct WorkMemory(pg_sys::MemoryContext);

impl WorkMemory {
    /// Creates the memory context. Once per process.
    pub fn new() -> Self {
        // SAFETY: TopMemoryContext exists in every process; the name is a constant.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"orochi worker".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as pg_sys::Size,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as pg_sys::Size,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as pg_sys::Size,
            )
        })
    }

    /// Runs `body` as [`attempt`] does, with this memory current.
    pub fn guarded<R>(&self, body: impl FnOnce() -> R) -> Result<R, Failure> {
        // SAFETY: the context lives as long as the process.
        unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
        let result = attempt(body);
        // SAFETY: nothing outlives a piece of work in this memory; the current context is switched away first.
        unsafe {
            pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            pg_sys::MemoryContextReset(self.0);
        }
        result
    }
}

/// Runs `body`. An ERROR or a panic aborts the transaction that it left open, releases what it held, and becomes a value.
pub fn attempt<R>(body: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: reads the current context, which outlives transactions in a worker.
    let memory = unsafe { pg_sys::CurrentMemoryContext };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|caught| Err(Failure::from(&caught)))
        .catch_rust_panic(|caught| Err(Failure::from(&caught)))
        .execute();
    if result.is_err() {
        recover();
        // SAFETY: see above.
        unsafe { pg_sys::MemoryContextSwitchTo(memory) };
    }
    result
}

/// Aborts the open transaction, if there is one.
pub fn abort_transaction() {
    // SAFETY: allowed in any state.
    unsafe { pg_sys::AbortCurrentTransaction() };
}

/// What PostgreSQL's own worker loops do after an error, besides reporting it.
fn recover() {
    // SAFETY: the error state has been flushed when the error was turned into a panic. These calls are meant to be
    // made in any state; a failure among them ends the process, which is then restarted.
    unsafe {
        pg_sys::LWLockReleaseAll();
        pg_sys::ConditionVariableCancelSleep();
        pg_sys::pgstat_report_wait_end();
    }
    abort_transaction();
    report_activity(None);
}
