//! Keeps what a guard loses of an ERROR.
//!
//! pgrx's guard takes an ERROR apart when it enters Rust and builds a new one when it leaves, of message, detail, hint
//! and SQLSTATE only. Where PostgreSQL calls us and we evaluate what users wrote (an index expression, say), context, object
//! names and positions must come through as well. So [`keep`] stands in PostgreSQL's stack of error context callbacks:
//! it copies these fields while the first ERROR is being raised, and adds them while the second one is.

use pgrx::{PgLogLevel, pg_sys};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    /// Adds a line to the context of the report being built (utils/elog.h).
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
}

/// What is copied.
#[derive(Default)]
struct Fields {
    context: Option<CString>,
    names: [Option<CString>; 5],
    internal_query: Option<CString>,
    position: c_int,
    internal_position: c_int,
}

/// One call of [`keep`].
struct Frame {
    callback: pg_sys::ErrorContextCallback,
    /// The ERROR has passed, and is about to be raised anew.
    replay: Cell<bool>,
    fields: RefCell<Option<Fields>>,
}

thread_local! {
    /// Frames by depth. They stay, because PostgreSQL refers to the one that an ERROR has passed until the ERROR is raised anew.
    static FRAMES: RefCell<Vec<*mut Frame>> = const { RefCell::new(Vec::new()) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Leaves the frame, by return or by unwinding.
struct Leave(*mut Frame);

impl Drop for Leave {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // SAFETY: frames are never freed.
        unsafe {
            if std::thread::panicking() {
                (*self.0).replay.set(true);
                pg_sys::error_context_stack = &raw mut (*self.0).callback;
            } else {
                pg_sys::error_context_stack = (*self.0).callback.previous;
            }
        }
    }
}

/// Calls `body`; an ERROR that passes it keeps all its fields. Only as the whole of a guarded function, for the ERROR has
/// to be raised anew right after.
pub fn keep<R>(body: impl FnOnce() -> R) -> R {
    let frame = enter();
    let _leave = Leave(frame);
    body()
}

fn enter() -> *mut Frame {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    FRAMES.with_borrow_mut(|frames| {
        if frames.len() == depth {
            let callback = pg_sys::ErrorContextCallback {
                previous: std::ptr::null_mut(),
                callback: Some(on_report),
                arg: std::ptr::null_mut(),
            };
            let frame = Frame { callback, replay: Cell::new(false), fields: RefCell::new(None) };
            frames.push(Box::into_raw(Box::new(frame)));
        }
        let frame = frames[depth];
        // SAFETY: the frame is not in use: nobody is at this depth.
        unsafe {
            (*frame).replay.set(false);
            (*frame).fields.replace(None);
            (*frame).callback.arg = frame.cast();
            (*frame).callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut (*frame).callback;
        }
        frame
    })
}

/// PostgreSQL calls this for each report that is made while the frame stands.
unsafe extern "C-unwind" fn on_report(argument: *mut c_void) {
    // SAFETY: the argument is the frame, which is never freed.
    let frame = unsafe { &*argument.cast::<Frame>() };
    if frame.replay.get() {
        if let Some(fields) = frame.fields.take() {
            add(fields);
        }
    } else if let Ok(mut fields) = frame.fields.try_borrow_mut() {
        *fields = current();
    }
}

/// The fields of the report being built, if it is an ERROR.
fn current() -> Option<Fields> {
    // PostgreSQL completes reads in critical sections, where it may log but nobody may allocate. An ERROR is a PANIC there.
    // SAFETY: a counter of the process.
    if unsafe { pg_sys::CritSectionCount } > 0 {
        return None;
    }
    // SAFETY: within a report there is error data; the copy is made outside of the context for errors, as it has to be.
    unsafe {
        let old = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let data = pg_sys::CopyErrorData();
        pg_sys::MemoryContextSwitchTo(old);
        let text = |field: *mut c_char| (!field.is_null()).then(|| CStr::from_ptr(field).to_owned());
        let error = &*data;
        let fields = (error.elevel >= PgLogLevel::ERROR as c_int).then(|| Fields {
            context: text(error.context),
            names: [error.schema_name, error.table_name, error.column_name, error.datatype_name, error.constraint_name]
                .map(text),
            internal_query: text(error.internalquery),
            position: error.cursorpos,
            internal_position: error.internalpos,
        });
        pg_sys::FreeErrorData(data);
        fields
    }
}

/// Adds fields to the report being built.
fn add(fields: Fields) {
    use pg_sys::{
        PG_DIAG_COLUMN_NAME, PG_DIAG_CONSTRAINT_NAME, PG_DIAG_DATATYPE_NAME, PG_DIAG_SCHEMA_NAME, PG_DIAG_TABLE_NAME,
    };
    let codes =
        [PG_DIAG_SCHEMA_NAME, PG_DIAG_TABLE_NAME, PG_DIAG_COLUMN_NAME, PG_DIAG_DATATYPE_NAME, PG_DIAG_CONSTRAINT_NAME];
    // SAFETY: called within a report; PostgreSQL copies the texts.
    unsafe {
        for (code, name) in codes.into_iter().zip(fields.names) {
            if let Some(name) = name {
                pg_sys::err_generic_string(code as c_int, name.as_ptr());
            }
        }
        if let Some(query) = fields.internal_query {
            pg_sys::internalerrquery(query.as_ptr());
        }
        pg_sys::internalerrposition(fields.internal_position);
        pg_sys::errposition(fields.position);
        if let Some(context) = fields.context {
            errcontext_msg(c"%s".as_ptr(), context.as_ptr());
        }
    }
}
