//! The server as a set of processes: shared memory, locks on it, signals, background workers.

pub mod database;
pub mod lwlock;
pub mod process;
pub mod shmem;
pub mod utility;
pub mod worker;

use pgrx::pg_sys;
use std::ffi::CStr;

/// True while the postmaster loads `shared_preload_libraries`: the only time at which shared memory, locks and
/// static background workers can be asked for.
pub fn preloading() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// True while pg_upgrade runs the server: nothing may be written, no worker may run.
pub fn binary_upgrade() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Makes unknown settings under `prefix` an error.
pub fn reserve_setting_prefix(prefix: &'static CStr) {
    // SAFETY: PostgreSQL copies the string.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// Process id of this process.
pub fn my_pid() -> i32 {
    // SAFETY: set once at process start.
    unsafe { pg_sys::MyProcPid }
}

/// True if a transaction is open and has not failed.
pub fn in_transaction() -> bool {
    // SAFETY: reads the state of this process.
    unsafe { pg_sys::IsTransactionState() }
}

/// True if the current user has the privileges of `pg_monitor`, as superusers do.
pub fn user_is_monitor() -> bool {
    // SAFETY: catalog lookups; every caller is an SQL function, so a transaction is open.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR)) }
}

/// Raises an error in a read-only transaction and on a standby. `command` is what the message names.
pub fn forbid_if_read_only(command: &'static CStr) {
    // SAFETY: called in a transaction; the name is terminated.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(command.as_ptr());
        if pg_sys::XactReadOnly {
            pg_sys::PreventCommandIfReadOnly(command.as_ptr());
        }
    }
}

/// True on a standby, and during crash recovery.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// `max_worker_processes`.
pub fn max_worker_processes() -> i32 {
    // SAFETY: a setting that is fixed while the server runs.
    unsafe { pg_sys::max_worker_processes }
}

/// Version of the running server, such as `15.14`.
pub fn version() -> String {
    // SAFETY: the setting always exists; a missing one would be null.
    unsafe {
        let value = pg_sys::GetConfigOption(c"server_version".as_ptr(), true, false);
        if value.is_null() { String::new() } else { CStr::from_ptr(value).to_string_lossy().into_owned() }
    }
}

/// Runs `work` in a transaction of its own, with an active snapshot. An ERROR inside leaves the transaction to be aborted.
pub fn transaction<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: called outside a transaction, in a background worker.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let result = work();
    // SAFETY: begun above.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
    }
    result
}

/// Raises an error unless the current user owns the relation.
pub fn require_owner(relation: super::Rel) {
    // SAFETY: the relation is open; aclcheck_error copies nothing that it is passed.
    unsafe {
        if !super::compat::owns_relation(relation.oid(), pg_sys::GetUserId()) {
            let name = std::ffi::CString::new(relation.name()).unwrap_or_default();
            pg_sys::aclcheck_error(
                pg_sys::AclResult::ACLCHECK_NOT_OWNER,
                pg_sys::ObjectType::OBJECT_TABLE,
                name.as_ptr(),
            );
        }
    }
}

/// Keeps stack traces out of the DETAIL of users' errors, where RUST_BACKTRACE in the server's environment would put them.
/// Once, while the library is loaded.
pub fn silence_backtraces() {
    // SAFETY: a PostgreSQL process has one thread when it loads libraries.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
}
