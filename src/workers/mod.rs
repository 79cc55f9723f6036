//! Background workers: the launcher, one maintenance worker per database, their registry, and the jobs they run.
//!
//! - [`slot`], [`registry`]: who runs, in shared memory.
//! - [`plan`], [`watch`]: decisions, free of PostgreSQL.
//! - [`launcher`], [`maintenance`], [`watcher`], [`process`]: the processes.
//! - [`jobs`]: what maintenance workers do; subsystems register it.
//! - [`hold`]: for commands that need a database without a worker.

mod clock;
mod entry;
mod health;
pub mod hold;
pub mod jobs;
mod launcher;
mod maintenance;
pub mod mover_xids;
mod plan;
mod process;
pub mod registry;
pub mod slot;
mod sql;
pub mod watch;
mod watcher;

pub use crate::pg::server::utility::may_claim as may_need_database_alone;
pub use clock::now;
pub use hold::hold_for_statement;

use crate::pg::server;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use slot::View;
use std::ffi::CStr;

/// Name of the extension.
pub const EXTENSION: &CStr = c"orochi";

/// Has the launcher started with the server, and reports on workers. Call once, in `_PG_init`.
pub fn init() {
    // pg_upgrade's server must not be written to.
    if server::preloading() && !server::binary_upgrade() {
        launcher::register();
    }
    crate::monitor::health::register(health::check);
    crate::monitor::metrics::register(health::measure);
}

/// A command could not get its way with a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The worker is still there.
    #[error("background worker of database with OID {database} did not stop")]
    NotStopped { database: u32, pid: i32 },
    /// No room for one more session that keeps workers away.
    #[error("too many sessions keep background workers away")]
    TooManyHolds,
}

impl WorkerError {
    /// Raises the error.
    pub fn raise(self) -> ! {
        let report = match &self {
            Self::NotStopped { pid, .. } => {
                ErrorReport::new(PgSqlErrorCode::ERRCODE_OBJECT_IN_USE, self.to_string(), "orochi")
                    .set_detail(format!("The process with PID {pid} does not react."))
                    .set_hint("Look at orochi.workers(), then try again.")
            }
            Self::TooManyHolds => {
                ErrorReport::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, self.to_string(), "orochi")
                    .set_hint("Try again when other commands on databases have finished.")
            }
        };
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR report returned")
    }
}

/// A worker's name for messages.
pub fn describe(view: &View) -> String {
    match view.slot {
        registry::LAUNCHER => "orochi launcher".to_owned(),
        _ => format!("orochi maintenance worker of database with OID {}", view.database),
    }
}

/// What the launcher hands to a maintenance worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Argument {
    slot: usize,
    generation: u32,
}

impl Argument {
    fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | self.slot as u64
    }

    fn unpack(packed: u64) -> Self {
        Self { slot: (packed & u64::from(u32::MAX)) as usize, generation: (packed >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_packing() {
        let argument = Argument { slot: 63, generation: u32::MAX };
        assert_eq!(Argument::unpack(argument.pack()), argument);
    }
}
