//! The input: PostgreSQL opens it, speaks with the client, converts encodings, and finds lines and fields.

use super::place::Clipped;
use super::statement::{ParseState, Statement};
use super::target::RowTarget;
use crate::pg::Rel;
use crate::pg::compat::copy::CopyState;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    /// Adds to a report where COPY is (commands/copy.h).
    fn CopyFromErrorCallback(argument: *mut c_void);
}

/// A line that was read.
pub struct Line<'a> {
    /// Its number.
    pub number: u64,
    /// Its fields, which are terminated; null for NULL.
    fields: &'a [*mut c_char],
    text: &'a CStr,
}

impl Line<'_> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Hands out the fields with their NUL bytes at the end, `None` for NULL.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.fields.iter().map(|field| {
            // SAFETY: COPY terminates fields, and keeps them until the next line is read.
            unsafe { (!field.is_null()).then(|| CStr::from_ptr(*field).to_bytes_with_nul()) }
        })
    }

    /// Hands out the line as an error shows it, with a NUL byte at the end.
    pub fn with_text<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: the text is terminated.
        use_it(unsafe { Clipped::new(self.text) }.as_bytes())
    }
}

/// The input of a COPY FROM, open.
pub struct CopyInput {
    state: pg_sys::CopyFromState,
    columns: usize,
    known: bool,
    /// The memory for what reading a line leaves behind.
    scratch: pg_sys::MemoryContext,
}

impl CopyInput {
    /// Opens the input, and tells the client to send.
    ///
    /// # Safety
    /// `parse` must be the statement's parse state for the table, and outlive the input.
    pub unsafe fn begin(statement: &Statement, table: Rel, parse: &ParseState, columns: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let raw = &*statement.raw();
            let null = std::ptr::null_mut();
            let state = pg_sys::BeginCopyFrom(
                parse.raw(),
                table.raw(),
                null,
                raw.filename,
                raw.is_program,
                None,
                raw.attlist,
                raw.options,
            );
            let known = (*state.cast::<CopyState>()).is_known(table, columns);
            let scratch = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"Orochi COPY".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            Self { state, columns, known, scratch }
        }
    }

    /// Whether lines can be had from it, and not only rows.
    pub fn has_lines(&self) -> bool {
        self.known
    }

    /// How many fields a line is to have.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Reads a row into the target's slot and checks the table's constraints; false at the end of the input.
    pub fn next_row(&mut self, target: &mut RowTarget) -> bool {
        let state = self.state;
        in_context(state, || {
            let context = target.expressions();
            // SAFETY: the slot is for rows of the table; NextCopyFrom sets all values.
            unsafe {
                target.next_row(|slot| pg_sys::NextCopyFrom(state, context, (*slot).tts_values, (*slot).tts_isnull))
            }
        })
    }

    /// Reads a line; `None` at the end of the input.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let (mut fields, mut count): (*mut *mut c_char, c_int) = (std::ptr::null_mut(), 0);
        let state = self.state;
        let found = in_context(state, || {
            // SAFETY: the input is open, and its lines are texts.
            unsafe {
                let old = pg_sys::MemoryContextSwitchTo(self.scratch);
                let found = pg_sys::NextCopyFromRawFields(state, &mut fields, &mut count);
                pg_sys::MemoryContextSwitchTo(old);
                found
            }
        });
        if !found {
            return None;
        }
        // SAFETY: the layout is known, or nobody asks for lines; fields and line stay until the next one is read.
        unsafe {
            let state = &*self.state.cast::<CopyState>();
            let fields = match usize::try_from(count) {
                Ok(count @ 1..) => std::slice::from_raw_parts(fields, count),
                _ => &[],
            };
            Some(Line { number: state.cur_lineno, fields, text: CStr::from_ptr(state.line_buf.data) })
        }
    }

    /// Frees what reading lines has left behind.
    pub fn tidy(&mut self) {
        // SAFETY: made in `begin`; nothing in it is used between lines.
        unsafe { pg_sys::MemoryContextReset(self.scratch) }
    }

    /// Shows the number of rows so far in `pg_stat_progress_copy`.
    pub fn report_rows(&self, rows: u64) {
        // SAFETY: COPY has begun to report progress.
        unsafe {
            pg_sys::pgstat_progress_update_param(pg_sys::PROGRESS_COPY_TUPLES_PROCESSED as c_int, rows as i64);
        }
    }

    /// Closes the input.
    pub fn end(self) {
        // SAFETY: opened in `begin`, closed once.
        unsafe {
            pg_sys::EndCopyFrom(self.state);
            pg_sys::MemoryContextDelete(self.scratch);
        }
    }
}

/// Runs `body`, whose errors say where COPY is.
fn in_context<R>(state: pg_sys::CopyFromState, body: impl FnOnce() -> R) -> R {
    // SAFETY: the frame stands while it is on the stack; after an ERROR whoever catches it restores the stack.
    unsafe {
        let previous = pg_sys::error_context_stack;
        let mut callback =
            pg_sys::ErrorContextCallback { previous, callback: Some(CopyFromErrorCallback), arg: state.cast() };
        pg_sys::error_context_stack = &mut callback;
        let result = body();
        pg_sys::error_context_stack = previous;
        result
    }
}
