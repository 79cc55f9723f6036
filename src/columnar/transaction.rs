//! What happens to write buffers when transactions and subtransactions end.

use super::{insert, mover, pressure, write_buffer};
use crate::pg::compat;
use pgrx::pg_sys;
use std::cell::Cell;

/// Registers the callbacks of this process.
pub fn register() {
    // SAFETY: the callbacks live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction_event), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction_event), std::ptr::null_mut());
    }
}

thread_local! {
    /// Whether the transaction has done anything that the callbacks have to know of. Most have not, and pay for this look only.
    static TOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// Makes the end of the transaction known to what is to be forgotten then.
#[inline]
pub fn touch() {
    TOUCHED.set(true);
}

/// Not guarded: it owns nothing, and what it calls is.
unsafe extern "C-unwind" fn at_transaction_event(event: pg_sys::XactEvent::Type, argument: *mut std::ffi::c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        compat::restore_prefetch();
    }
    if TOUCHED.get() {
        // SAFETY: core's arguments.
        unsafe { end_transaction(event, argument) };
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn end_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => write_buffer::flush_current(),
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {
            write_buffer::discard_all();
            insert::forget_progress();
            pressure::forget_statement();
            mover::release_published();
            TOUCHED.set(false);
        }
        _ => {}
    }
}

/// Not guarded: it owns nothing, and what it calls is.
unsafe extern "C-unwind" fn at_subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    id: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    argument: *mut std::ffi::c_void,
) {
    if !write_buffer::is_empty() {
        // SAFETY: core's arguments.
        unsafe { end_subtransaction(event, id, parent, argument) };
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn end_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    id: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    match event {
        SUBXACT_EVENT_PRE_COMMIT_SUB => write_buffer::flush_current(),
        SUBXACT_EVENT_COMMIT_SUB => write_buffer::subtransaction_committed(id, parent),
        SUBXACT_EVENT_ABORT_SUB => write_buffer::subtransaction_aborted(id),
        _ => {}
    }
}
