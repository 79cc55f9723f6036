//! Version differences that background workers and shared memory meet.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// `USER_TIMEOUT` of `utils/timeout.h`: the first id that `RegisterTimeout` may give to an extension.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub const USER_TIMEOUT: c_int = 12;
/// `USER_TIMEOUT` of `utils/timeout.h`: the first id that `RegisterTimeout` may give to an extension.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub const USER_TIMEOUT: c_int = 13;

/// A handler of a signal that takes the signal's number.
pub type SignalHandler = unsafe extern "C-unwind" fn(c_int);

/// Installs a signal handler as PostgreSQL does.
///
/// # Safety
/// The handler must be safe to run at any point of the process.
pub unsafe fn set_signal_handler(signal: u32, handler: SignalHandler) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal as c_int, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal as c_int, Some(handler));
    }
}

/// What a worker sets for itself, as autovacuum does: settings of the server, a database or a role that are meant for
/// sessions must not make maintenance fail, and no object of a user's schema may stand in for one of PostgreSQL's.
pub const OWN_SETTINGS: &[(&CStr, &CStr)] = &[
    (c"search_path", c""),
    (c"zero_damaged_pages", c"false"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"0"),
    (c"idle_in_transaction_session_timeout", c"0"),
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    (c"transaction_timeout", c"0"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
];
