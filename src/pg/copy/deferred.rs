//! Errors about the input that wait until it is known whether an earlier line is wrong, too.

use crate::pg::server::worker::Failure;
use pgrx::PgSqlErrorCode::{self, ERRCODE_DATA_EXCEPTION, ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// The bits of a SQLSTATE that its first two characters have.
const CLASS: i32 = 0xfff;

/// An ERROR that was caught. Until it is raised its transaction must do nothing but wait: it is not rolled back yet.
pub struct Deferred(Box<CaughtError>);

impl Deferred {
    /// Raises it.
    pub fn raise(self) -> ! {
        self.0.rethrow()
    }
}

/// Runs `body`. An ERROR that says that data are wrong or violate a constraint is handed back; others pass, for the state that they leave
/// may not allow to wait.
pub fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Deferred> {
    // SAFETY: variables of this process, put back to what was valid before.
    let (memory, owner, context) =
        unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner, pg_sys::error_context_stack) };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(body()))).catch_others(|caught| Err(defer(caught))).execute();
    if result.is_err() {
        // SAFETY: as above.
        unsafe {
            pg_sys::CurrentMemoryContext = memory;
            pg_sys::CurrentResourceOwner = owner;
            pg_sys::error_context_stack = context;
        }
    }
    result
}

fn defer(caught: CaughtError) -> Deferred {
    let class = |code: PgSqlErrorCode| code as i32 & CLASS;
    let found = class(Failure::from(&caught).sqlstate);
    if ![ERRCODE_DATA_EXCEPTION, ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION].map(class).contains(&found) {
        caught.rethrow();
    }
    Deferred(Box::new(caught))
}
