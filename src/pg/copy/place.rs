//! Where in the input of COPY an error is.

use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char, c_int, c_ulonglong, c_void};

unsafe extern "C-unwind" {
    /// Adds a line to the context of the report being built (utils/elog.h).
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
    /// Says whose translations the format of that line has; null for the server's own (utils/elog.h).
    fn set_errcontext_domain(domain: *const c_char) -> c_int;
    /// Bytes of a text that are whole characters and at most `limit` (mb/pg_wchar.h).
    fn pg_mbcliplen(text: *const c_char, len: c_int, limit: c_int) -> c_int;
}

/// Bytes of a line or a value that an error shows, as COPY has it.
const SHOWN: usize = 100;
const ELLIPSIS: &[u8] = b"...\0";

/// The start of a text as an error shows it.
pub(super) struct Clipped {
    bytes: [u8; SHOWN + ELLIPSIS.len()],
    len: usize,
}

impl Clipped {
    /// # Safety
    /// `text` must be terminated.
    pub(super) unsafe fn new(text: &CStr) -> Self {
        let whole = text.to_bytes_with_nul();
        let mut clipped = Self { bytes: [0; SHOWN + ELLIPSIS.len()], len: whole.len() };
        if whole.len() <= SHOWN + 1 {
            clipped.bytes[..whole.len()].copy_from_slice(whole);
            return clipped;
        }
        let limit = c_int::try_from(whole.len() - 1).unwrap_or(c_int::MAX);
        // SAFETY: the text has at least that many bytes; the function never raises.
        let kept = usize::try_from(unsafe { pg_mbcliplen(text.as_ptr(), limit, SHOWN as c_int) }).unwrap_or(0);
        let kept = kept.min(SHOWN);
        clipped.bytes[..kept].copy_from_slice(&whole[..kept]);
        clipped.bytes[kept..kept + ELLIPSIS.len()].copy_from_slice(ELLIPSIS);
        clipped.len = kept + ELLIPSIS.len();
        clipped
    }

    /// With the NUL byte at the end.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The place of the row that is being made, as errors are to report it.
pub struct Place {
    callback: pg_sys::ErrorContextCallback,
    relation: CString,
    line: u64,
    /// The line's text, clipped; null if unknown.
    text: *const c_char,
    /// Name of the column whose value is being made; null between values.
    pub(super) column: *const c_char,
    /// Text of that value; null if it is NULL.
    pub(super) value: *const c_char,
}

impl Place {
    /// A place in what fills a relation. It is reported from [`Self::enter`] on.
    pub fn new(relation: CString) -> Box<Self> {
        let null = std::ptr::null();
        Box::new(Self { callback: Default::default(), relation, line: 0, text: null, column: null, value: null })
    }

    /// Reports the place with every error until [`Self::leave`]. After an ERROR whoever catches it restores the stack.
    pub fn enter(self: &mut Box<Self>) {
        self.callback.callback = Some(on_report);
        self.callback.arg = (&raw mut **self).cast();
        // SAFETY: the box stays where it is until `leave`, or until the ERROR that leaves its frame is caught.
        unsafe {
            self.callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut self.callback;
        }
    }

    /// Undoes [`Self::enter`].
    pub fn leave(self: &mut Box<Self>) {
        // SAFETY: this is the top of the stack again.
        unsafe { pg_sys::error_context_stack = self.callback.previous };
    }

    /// Goes on to a line; its text is to stay until the next call.
    pub fn set(&mut self, line: u64, text: Option<&CStr>) {
        self.line = line;
        self.text = text.map_or(std::ptr::null(), CStr::as_ptr);
        self.column = std::ptr::null();
        self.value = std::ptr::null();
    }

    /// The line.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The text is about to go.
    pub fn forget_text(&mut self) {
        self.set(self.line, None);
    }
}

/// PostgreSQL calls this for each report that is made. The formats are those of COPY, so that they are translated like its own.
unsafe extern "C-unwind" fn on_report(argument: *mut c_void) {
    // SAFETY: the argument is the place, which lives while it is on the stack; its texts are terminated.
    unsafe {
        let place = &*argument.cast::<Place>();
        let (relation, line) = (place.relation.as_ptr(), place.line as c_ulonglong);
        set_errcontext_domain(std::ptr::null());
        if !place.column.is_null() && !place.value.is_null() {
            let value = Clipped::new(CStr::from_ptr(place.value));
            let format = c"COPY %s, line %llu, column %s: \"%s\"";
            errcontext_msg(format.as_ptr(), relation, line, place.column, value.bytes.as_ptr());
        } else if !place.column.is_null() {
            errcontext_msg(c"COPY %s, line %llu, column %s: null input".as_ptr(), relation, line, place.column);
        } else if !place.text.is_null() {
            errcontext_msg(c"COPY %s, line %llu: \"%s\"".as_ptr(), relation, line, place.text);
        } else {
            errcontext_msg(c"COPY %s, line %llu".as_ptr(), relation, line);
        }
    }
}
