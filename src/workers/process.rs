//! What the launcher and the maintenance workers have in common as processes.

use super::clock;
use super::registry::{self, Registry};
use super::slot::{Slot, State};
use crate::pg::server;
use crate::pg::server::worker::Failure;
use pgrx::PgLogLevel;
use pgrx::pg_sys::panic::ErrorReport;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Every worker gives a sign of life, and looks around, at least this often.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Slot of this process plus 1; 0 in processes that are no workers.
static MY_SLOT: AtomicUsize = AtomicUsize::new(0);

/// Enters this process in its slot, for as long as it lives. None if the start was given up meanwhile.
pub fn enter(registry: &'static Registry, index: usize, generation: u32) -> Option<&'static Slot> {
    let slot = registry.slot(index)?;
    if !slot.enter(generation, server::my_pid()) {
        return None;
    }
    MY_SLOT.store(index + 1, Ordering::Relaxed);
    server::process::at_exit_once(leave);
    Some(slot)
}

fn my_slot() -> Option<&'static Slot> {
    let index = MY_SLOT.load(Ordering::Relaxed).checked_sub(1)?;
    registry::get()?.slot(index)
}

/// Runs when the process exits, however it does.
fn leave() {
    if let Some(registry) = registry::get()
        && let Some(slot) = my_slot()
    {
        let state = if slot.state() == State::NoExtension { State::NoExtension } else { State::Stopped };
        slot.leave(state);
        // The launcher has not to wait for its next round.
        registry.wake_launcher();
    }
}

/// Starts the timer that gives signs of life.
pub fn start_heartbeat() {
    server::worker::start_heartbeat(PERIOD, beat);
}

/// Runs in a signal handler.
unsafe extern "C-unwind" fn beat() {
    if let Some(slot) = my_slot() {
        slot.beat(clock::now());
    }
}

/// One turn of a worker's loop: sleeps until something happens, and serves interrupts and reloads.
pub fn turn(slot: &Slot, timeout: Duration) {
    server::process::wait(timeout.min(PERIOD));
    server::worker::reload_settings();
    slot.progress(clock::now());
}

/// Logs a failure and keeps it in the slot.
pub fn record(registry: &Registry, index: usize, what: &str, failure: Failure) {
    let message = format!("{what}: {}", failure.message);
    registry.record_error(index, &message);
    let mut report = ErrorReport::new(failure.sqlstate, message, "orochi");
    if let Some(detail) = failure.detail {
        report = report.set_detail(detail);
    }
    report.report(PgLogLevel::LOG);
}
