//! Trying something inside a transaction.

use crate::pg::server::worker::Failure;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// Runs `body` in a subtransaction, which an ERROR rolls back. A request to cancel the statement or to end the session is
/// passed on.
pub fn attempt<R>(body: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: inside a transaction; what the subtransaction changes of the process is put back below.
    let (memory, owner) = unsafe {
        let before = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(before.0);
        before
    };
    let result =
        PgTryBuilder::new(AssertUnwindSafe(|| Ok(body()))).catch_others(|caught| Err(failure(caught))).execute();
    // SAFETY: ends the subtransaction begun above.
    unsafe {
        match &result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}

fn failure(caught: CaughtError) -> Failure {
    use PgSqlErrorCode::{ERRCODE_ADMIN_SHUTDOWN, ERRCODE_QUERY_CANCELED};
    let found = Failure::from(&caught);
    if [ERRCODE_QUERY_CANCELED, ERRCODE_ADMIN_SHUTDOWN].contains(&found.sqlstate) {
        caught.rethrow();
    }
    found
}
