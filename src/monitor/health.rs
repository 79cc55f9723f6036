//! Health checks. A check looks at something and says how it is and what to do about it.

use crate::pg::server;
use crate::shmem;
use std::sync::{Mutex, PoisonError};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, but needs attention.
    Warn,
    /// Does not work.
    Fail,
}

impl Status {
    /// Name in `orochi.health()`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One row of `orochi.health()`. It is shown to everybody: no error texts or data of other databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRow {
    /// What was checked, the same word every time.
    pub check: &'static str,
    /// How it is.
    pub status: Status,
    /// The object in question, if the check is about one of several.
    pub object: Option<String>,
    /// What was found, as full sentences.
    pub detail: String,
    /// What to do, as full sentences.
    pub hint: Option<String>,
}

impl HealthRow {
    /// A row without object and hint.
    pub fn new(check: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self { check, status, object: None, detail: detail.into(), hint: None }
    }

    /// Names the object.
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A check adds its rows, at least one of which says `ok` if nothing is wrong. It runs in the transaction of the
/// session that asks, and must be quick.
pub type Check = fn(&mut Vec<HealthRow>);

static CHECKS: Mutex<Vec<Check>> = Mutex::new(Vec::new());

/// Adds a check. Only in `_PG_init`.
pub fn register(check: Check) {
    CHECKS.lock().unwrap_or_else(PoisonError::into_inner).push(check);
}

/// Runs all checks in order of registration.
pub fn run() -> Vec<HealthRow> {
    // Copied, so that a check that raises does not leave the list locked.
    let checks = CHECKS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut rows = Vec::new();
    checks.iter().for_each(|check| check(&mut rows));
    rows
}

/// What to do when the library is not preloaded.
pub const PRELOAD_HINT: &str = "Add orochi to shared_preload_libraries in postgresql.conf and restart the server.";

/// The server's own conditions: its version, and that the library is preloaded.
pub fn check_server(rows: &mut Vec<HealthRow>) {
    rows.push(HealthRow::new("server version", Status::Ok, format!("PostgreSQL {}.", server::version())));
    rows.push(if shmem::is_preloaded() {
        HealthRow::new("preload", Status::Ok, "The library was loaded when the server started.")
    } else {
        let detail = "The library is not in shared_preload_libraries: columnar tables, workers and counters are off.";
        HealthRow::new("preload", Status::Fail, detail).hint(PRELOAD_HINT)
    });
}
