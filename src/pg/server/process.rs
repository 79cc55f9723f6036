//! Processes of the server: exit callbacks, signals, latches.

use pgrx::pg_sys;
use std::sync::Mutex;

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
