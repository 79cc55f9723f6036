//! Version differences that background workers and shared memory meet.

use pgrx::pg_sys;
use std::ffi::c_int;

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
