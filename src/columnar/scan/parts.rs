//! Scans in parts: see [`Part`].

use super::{AnyCursor, ColumnarScan, ready};
use crate::columnar::cursor::Part;
use crate::columnar::encoding::Vector;
use crate::columnar::store::Store;
use crate::pg::error::OrochiError;
use pgrx::pg_sys;
use std::rc::Rc;

/// Goes on to the next part of a sequential or parallel scan, of which no row was taken one by one.
///
/// # Safety
/// `scan` must come from [`super::begin`] and not have ended.
pub unsafe fn next_part(scan: pg_sys::TableScanDesc) -> Result<Part, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let Some((store, cursor, mut units)) = ready(scan)? else { return Ok(Part::End) };
        let part = cursor.next_part(store, &mut units)?;
        if let Part::Vector { rows, .. } = &part {
            crate::pg::compat::count_scan_rows((*scan).rs_rd, rows.count() as i64);
        }
        Ok(part)
    }
}

/// A column of the vector that the scan has come to.
///
/// # Safety
/// As for [`next_part`].
pub unsafe fn part_column(scan: pg_sys::TableScanDesc, column: usize) -> Result<Option<Rc<Vector>>, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe { with_cursor(scan, |store, cursor| cursor.part_column(store, column)) }
}

/// The next of the rows that the scan has come to; false after the last one.
///
/// # Safety
/// As for [`next_part`]; `slot` must be one of ours, of the table's row type.
pub unsafe fn part_row(scan: pg_sys::TableScanDesc, slot: *mut pg_sys::TupleTableSlot) -> Result<bool, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let found = with_cursor(scan, |store, cursor| cursor.part_row(store, slot))?;
        if found {
            (*slot).tts_tableOid = (*(*scan).rs_rd).rd_id;
            crate::pg::compat::count_scan_rows((*scan).rs_rd, 1);
        }
        Ok(found)
    }
}

/// # Safety
/// As for [`next_part`].
unsafe fn with_cursor<T>(
    scan: pg_sys::TableScanDesc,
    use_it: impl FnOnce(&Store, &mut AnyCursor) -> Result<T, OrochiError>,
) -> Result<T, OrochiError> {
    // SAFETY: the caller's promise.
    let state = unsafe { (*scan.cast::<ColumnarScan>()).state.get() };
    match state.map(|state| (&state.store, &mut state.cursor)) {
        Some((Some(store), Some(cursor))) => use_it(store, cursor),
        _ => Err(OrochiError::Internal("a scan has not begun".into())),
    }
}
