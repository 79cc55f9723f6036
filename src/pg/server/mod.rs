//! The server as a set of processes: shared memory, locks on it, signals, background workers.

pub mod lwlock;
pub mod process;
pub mod shmem;

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
