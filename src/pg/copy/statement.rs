//! The statement: what it asks for, and who asks.

use crate::pg::{OpenRel, Rel, compat};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// Options that change nothing but how lines are read.
const READING: [&CStr; 7] = [c"format", c"delimiter", c"null", c"header", c"quote", c"escape", c"encoding"];

/// A COPY statement with what it came with.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Statement {
    raw: *mut pg_sys::CopyStmt,
    text: *const c_char,
    environment: *mut pg_sys::QueryEnvironment,
}

impl Statement {
    /// # Safety
    /// All must be what ProcessUtility was called with, and outlive the value.
    pub unsafe fn new(
        raw: *mut pg_sys::CopyStmt,
        text: *const c_char,
        environment: *mut pg_sys::QueryEnvironment,
    ) -> Self {
        Self { raw, text, environment }
    }

    fn get(&self) -> &pg_sys::CopyStmt {
        // SAFETY: `new` was promised that it is valid.
        unsafe { &*self.raw }
    }

    /// Whether it fills a table from a file or from the client, with all rows of the input. Asks the statement alone.
    pub fn fills_table(&self) -> bool {
        let raw = self.get();
        raw.is_from && !raw.relation.is_null() && !raw.is_program && raw.whereClause.is_null()
    }

    /// Whether lines are texts, and the options do nothing but say how they are read.
    pub fn reads_lines(&self) -> bool {
        // SAFETY: the list holds options; a name is terminated.
        unsafe {
            compat::pointers::<pg_sys::DefElem>(self.get().options).into_iter().all(|option| {
                let name = CStr::from_ptr((*option).defname);
                READING.contains(&name) && (name != c"format" || is_line_format(option))
            })
        }
    }

    /// The table, open and locked as COPY locks it; `None` if there is none of the name.
    pub fn open(&self) -> Option<OpenRel> {
        let lock = pg_sys::RowExclusiveLock;
        // SAFETY: a statement that fills a table has its name.
        let oid = unsafe {
            pg_sys::RangeVarGetRelidExtended(
                self.get().relation,
                lock as pg_sys::LOCKMODE,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            )
        };
        if oid == pg_sys::InvalidOid {
            return None;
        }
        OpenRel::locked(oid)
    }

    /// Numbers of the columns that are listed, all without a list.
    pub fn columns(&self, table: Rel) -> Vec<pg_sys::AttrNumber> {
        // SAFETY: the table is open; the list holds names.
        unsafe {
            let list = pg_sys::CopyGetAttnums(table.desc(), table.raw(), self.get().attlist);
            compat::int_list(list).into_iter().filter_map(|number| number.try_into().ok()).collect()
        }
    }

    /// Whether the current user may read the file, if there is one.
    pub fn may_read(&self) -> bool {
        // SAFETY: within a transaction.
        self.get().filename.is_null()
            || unsafe {
                pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES))
            }
    }

    /// A parse state that names the table and the columns.
    pub fn parse_state(&self, table: Rel, columns: &[pg_sys::AttrNumber]) -> ParseState {
        let lock = pg_sys::RowExclusiveLock;
        // SAFETY: the text outlives the statement; `open` took the lock.
        ParseState(unsafe { compat::copy::parse_state(table, columns, lock, self.text, self.environment) })
    }

    /// The current command, from now on one that writes.
    pub fn command(&self) -> pg_sys::CommandId {
        // SAFETY: within a transaction, not in a parallel worker.
        unsafe { pg_sys::GetCurrentCommandId(true) }
    }

    pub(super) fn raw(&self) -> *mut pg_sys::CopyStmt {
        self.raw
    }
}

/// What the parser would know of the table and the columns.
pub struct ParseState(*mut pg_sys::ParseState);

impl ParseState {
    /// Whether the current user may insert into the columns.
    pub fn is_permitted(&self) -> bool {
        // SAFETY: made by `parse_state`.
        unsafe { compat::copy::is_permitted(self.0) }
    }

    pub(super) fn raw(&self) -> *mut pg_sys::ParseState {
        self.0
    }
}

/// # Safety
/// `option` must be a valid option called `format`.
unsafe fn is_line_format(option: *mut pg_sys::DefElem) -> bool {
    // SAFETY: the caller's promise; defGetString returns a terminated string or raises what COPY would raise.
    unsafe { [c"text", c"csv"].contains(&CStr::from_ptr(pg_sys::defGetString(option))) }
}
