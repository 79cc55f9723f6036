//! Processes of the server: exit callbacks, signals, latches.

use pgrx::pg_sys;
use std::ffi::{c_int, c_long};
use std::sync::Mutex;
use std::time::Duration;

/// What this process runs at exit. The postmaster registers nothing, so a fork starts with an empty list.
static EXIT_CALLBACKS: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Runs `callback` when this process leaves shared memory, after its transaction has been aborted. A callback that
/// is registered already is not registered again. It must neither raise nor wait.
pub fn at_exit_once(callback: fn()) {
    let Ok(mut callbacks) = EXIT_CALLBACKS.lock() else { return };
    if callbacks.iter().any(|known| std::ptr::fn_addr_eq(*known, callback)) {
        return;
    }
    callbacks.push(callback);
    if callbacks.len() == 1 {
        // SAFETY: `run_exit_callbacks` raises nothing.
        unsafe { pg_sys::on_shmem_exit(Some(run_exit_callbacks), pg_sys::Datum::from(0)) };
    }
}

#[pgrx::pg_guard]
extern "C-unwind" fn run_exit_callbacks(_code: i32, _arg: pg_sys::Datum) {
    if let Ok(callbacks) = EXIT_CALLBACKS.try_lock() {
        callbacks.iter().for_each(|callback| callback());
    }
}

unsafe extern "C" {
    /// kill(2).
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

/// True if `pid` is a process of this server that is connected: a process that has just been started is not yet.
pub fn is_server_process(pid: i32) -> bool {
    // SAFETY: looks the pid up under ProcArrayLock; only the null test is used.
    pid != 0 && unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Sets the latch of another process of this server. Does nothing if it is gone.
pub fn wake(pid: i32) {
    if pid == 0 {
        return;
    }
    // SAFETY: PGPROC entries are never freed, so a process that ends meanwhile leaves a valid latch, and setting
    // it wakes at worst an unrelated process once too often.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        if !proc.is_null() {
            pg_sys::SetLatch(&raw mut (*proc).procLatch);
        }
    }
}

/// Asks a worker process to end: first to continue if it was stopped, then to terminate as by `pg_terminate_backend`.
/// Returns false if it is gone. `pid` must come from the registry, which forgets a process when it exits. SIGKILL is
/// no option: it makes the server restart.
pub fn terminate(pid: i32) -> bool {
    // SAFETY: plain system calls.
    pid > 0 && unsafe { kill(pid, pg_sys::SIGCONT as c_int) == 0 && kill(pid, pg_sys::SIGTERM as c_int) == 0 }
}

/// Sleeps until this process's latch is set or `timeout` has passed, and serves interrupts: termination and
/// cancellation raise, barriers are processed. Ends the process if the postmaster has died.
pub fn wait(timeout: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let milliseconds = c_long::try_from(timeout.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: MyLatch is this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as c_int, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
