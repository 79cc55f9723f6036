//! Stopping the worker of a database and keeping it away for a while.
//!
//! DROP DATABASE, CREATE DATABASE (of its template) and renaming or moving a database demand that nobody is
//! connected to it; DROP EXTENSION should not meet a worker that uses what it drops.

use super::registry::{self, Registry};
use super::slot::View;
use super::{EXTENSION, WorkerError, clock};
use crate::pg::server;
use crate::shmem;
use pgrx::callbacks::{PgXactCallbackEvent, register_xact_callback};
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// A worker that does not end by itself within this time is terminated.
const PATIENCE: Duration = Duration::from_millis(300);
/// After this time the command fails.
const LIMIT: Duration = Duration::from_secs(15);
/// How often the waiting session looks.
const POLL: Duration = Duration::from_millis(10);

/// Keeps the worker of a database away until dropped; then the launcher is told to look at the database.
#[must_use]
pub struct Hold {
    place: Option<(&'static Registry, usize)>,
    database: u32,
}

/// Stops the maintenance worker of `database`, waits until it is gone, and keeps it away until the hold is dropped.
/// Without a preloaded library there is no worker, and nothing to do.
pub fn stop_for_database(database: pg_sys::Oid) -> Result<Hold, WorkerError> {
    let number = database.to_u32();
    let Some(registry) = registry::get() else { return Ok(Hold { place: None, database: number }) };
    let index = registry.hold(number, server::my_pid()).ok_or(WorkerError::TooManyHolds)?;
    let hold = Hold { place: Some((registry, index)), database: number };
    wait_until_gone(registry, number)?;
    Ok(hold)
}

fn worker_of(registry: &Registry, database: u32) -> Option<View> {
    registry.views().into_iter().find(|view| view.database == database && view.state.is_live())
}

fn wait_until_gone(registry: &Registry, database: u32) -> Result<(), WorkerError> {
    let begun = Instant::now();
    let mut terminated = false;
    while let Some(view) = worker_of(registry, database) {
        let Some(slot) = registry.slot(view.slot) else { break };
        slot.request_stop();
        if begun.elapsed() > LIMIT {
            return Err(WorkerError::NotStopped { database, pid: view.pid });
        }
        if begun.elapsed() > PATIENCE && !terminated && view.pid != 0 {
            slot.signalled(clock::now());
            terminated = server::process::terminate(view.pid);
        }
        server::process::wake(view.pid);
        server::process::wait(POLL);
    }
    Ok(())
}

impl Hold {
    /// Extends the hold to the end of the current transaction, whichever it is.
    pub fn until_transaction_end(self) {
        if self.place.is_none() {
            return;
        }
        let hold = std::rc::Rc::new(std::cell::Cell::new(Some(self)));
        for event in [PgXactCallbackEvent::Commit, PgXactCallbackEvent::Abort, PgXactCallbackEvent::Prepare] {
            let hold = std::panic::AssertUnwindSafe(hold.clone());
            register_xact_callback(event, move || drop(hold.take()));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((registry, index)) = self.place {
            registry.release(index, server::my_pid());
            registry.remember_kick(self.database);
            // Waking takes a lock, which an unwinding ERROR had better not do; the launcher comes round anyway.
            if !std::thread::panicking() {
                registry.wake_launcher();
            }
        }
    }
}

/// Prepares a utility statement: if it needs a database for itself, stops the worker there and keeps it away until
/// the transaction ends. Most statements cost one look at their tag.
///
/// # Safety
/// `statement` must be a valid parse tree of a utility statement.
pub unsafe fn hold_for_statement(statement: *mut pg_sys::Node) {
    if !shmem::is_preloaded() || !server::in_transaction() {
        return;
    }
    // SAFETY: the caller's promise, and a transaction is open.
    if let Some(database) = unsafe { server::utility::claim(statement, EXTENSION) } {
        stop_for_database(database).unwrap_or_else(|error| error.raise()).until_transaction_end();
    }
}
