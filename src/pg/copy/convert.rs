//! Rows out of texts.

use super::place::Place;
use super::safety::column_name;
use super::target::RowTarget;
use crate::pg::{Rel, values};
use pgrx::PgSqlErrorCode::ERRCODE_BAD_COPY_FILE_FORMAT;
use pgrx::pg_sys::submodules::ffi::pg_guard_ffi_boundary;
use pgrx::{PgLogLevel, pg_sys};
use std::ffi::{CStr, c_char, c_int};

/// Declared without pgrx's guard: one guard stands around all values of a row.
mod raw {
    use pgrx::pg_sys;
    use std::ffi::{c_char, c_int};
    unsafe extern "C-unwind" {
        /// Calls a type's input function (fmgr.h).
        pub fn InputFunctionCall(
            function: *mut pg_sys::FmgrInfo,
            text: *const c_char,
            parameter: pg_sys::Oid,
            modifier: i32,
        ) -> pg_sys::Datum;
        /// Begins a report (utils/elog.h).
        pub fn errstart(level: c_int, domain: *const c_char) -> bool;
        /// Sets its SQLSTATE (utils/elog.h).
        pub fn errcode(code: c_int) -> c_int;
        /// Sets its message (utils/elog.h).
        pub fn errmsg(format: *const c_char, ...) -> c_int;
        /// Ends it (utils/elog.h).
        pub fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    }
}

/// How the texts of a column become values.
struct Column {
    number: pg_sys::AttrNumber,
    name: *const c_char,
    function: pg_sys::FmgrInfo,
    parameter: pg_sys::Oid,
    modifier: i32,
}

/// Makes rows of a table out of the texts of some columns. The others are NULL.
pub struct Converter {
    columns: Vec<Column>,
    attributes: usize,
}

impl Converter {
    /// # Safety
    /// The table must stay open while the converter is used, and the current memory context must live as long.
    pub unsafe fn new(table: Rel, columns: &[pg_sys::AttrNumber]) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let attributes = values::attributes(table.desc());
            let listed = columns.iter().filter_map(|number| attributes.iter().find(|a| a.attnum == *number));
            let columns = listed
                .map(|attribute| {
                    let (mut oid, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
                    let mut function = pg_sys::FmgrInfo::default();
                    pg_sys::getTypeInputInfo(attribute.atttypid, &mut oid, &mut parameter);
                    pg_sys::fmgr_info(oid, &mut function);
                    let name = column_name(table.desc(), attribute.attnum).as_ptr();
                    Column { number: attribute.attnum, name, function, parameter, modifier: attribute.atttypmod }
                })
                .collect();
            Self { columns, attributes: attributes.len() }
        }
    }

    /// Puts the row of a line into the target's slot and checks the table's constraints. Fields end with a NUL byte; `None` is NULL.
    pub fn convert<'a>(
        &mut self,
        fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
        place: &mut Place,
        target: &mut RowTarget,
    ) {
        if fields.len() > self.columns.len() {
            raise(c"extra data after last expected column", c"");
        }
        // SAFETY: the slot has as many values as the table has attributes.
        unsafe { target.next_row(|slot| self.fill(fields, place, slot)) };
    }

    /// # Safety
    /// The slot must be one for rows of the table.
    unsafe fn fill<'a>(
        &mut self,
        mut fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
        place: &mut Place,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        let (columns, attributes) = (&mut self.columns, self.attributes);
        // SAFETY: the caller's promise; the closure owns nothing. A field that is not terminated counts as NULL.
        let missing = unsafe {
            let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            std::ptr::write_bytes(values, 0, attributes);
            std::ptr::write_bytes(nulls.cast::<u8>(), 1, attributes);
            pg_guard_ffi_boundary(|| {
                for column in columns.iter_mut() {
                    let Some(field) = fields.next() else { return Some(column.name) };
                    let text = field.filter(|field| field.last() == Some(&0));
                    place.value = text.map_or(std::ptr::null(), |field| field.as_ptr().cast());
                    place.column = column.name;
                    let datum =
                        raw::InputFunctionCall(&mut column.function, place.value, column.parameter, column.modifier);
                    let at = usize::from(column.number.unsigned_abs()) - 1;
                    *values.add(at) = datum;
                    *nulls.add(at) = text.is_none();
                }
                None
            })
        };
        place.column = std::ptr::null();
        place.value = std::ptr::null();
        if let Some(name) = missing {
            // SAFETY: the name lives as long as the open table.
            raise(c"missing data for column \"%s\"", unsafe { CStr::from_ptr(name) });
        }
        true
    }
}

/// Raises at once, so that whoever stands in the stack of error contexts adds to it: an error raised in Rust is reported when all of
/// them have gone.
fn raise(format: &'static CStr, argument: &CStr) {
    // SAFETY: a report like PostgreSQL's own; the formats have at most the one argument.
    unsafe {
        pg_guard_ffi_boundary(|| {
            if raw::errstart(PgLogLevel::ERROR as c_int, std::ptr::null()) {
                raw::errcode(ERRCODE_BAD_COPY_FILE_FORMAT as c_int);
                raw::errmsg(format.as_ptr(), argument.as_ptr());
                raw::errfinish(c"convert.rs".as_ptr(), line!() as c_int, c"convert".as_ptr());
            }
        });
    }
}
