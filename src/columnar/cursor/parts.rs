//! Reading a scan in parts, for operators that work on many rows at once: vectors of stripes column by column, and rows of the row store.

use super::{Cursor, Filter, Open, Units};
use crate::columnar::encoding::{Selection, Vector};
use crate::columnar::store::Store;
use crate::pg::error::OrochiError;
use pgrx::pg_sys;
use std::rc::Rc;

/// What a scan has come to.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// A vector of a stripe.
    Vector {
        /// The rows that are there and matter as far as the filter can say.
        rows: Selection,
        /// Rows of the vector, the others included.
        len: usize,
        /// Whether all of `rows` meet the filter's conditions, so that these need no further look.
        decided: bool,
    },
    /// Rows of the row store, to be taken one by one.
    Rows,
    /// There is nothing more.
    End,
}

impl<F: Filter> Cursor<F> {
    /// Goes on to the next part. Not to be mixed with [`Cursor::next`].
    pub fn next_part(&mut self, store: &Store, units: &mut impl Units) -> Result<Part, OrochiError> {
        loop {
            match &mut self.open {
                Some(Open::Stripe(cursor)) => {
                    let mut more = cursor.next_vector(store, &mut self.filter, true)?;
                    while more && cursor.selected.is_empty() {
                        more = cursor.next_vector(store, &mut self.filter, true)?;
                    }
                    if more {
                        let len = cursor.rows.as_ref().map_or(0, |rows| rows.len());
                        return Ok(Part::Vector { rows: cursor.selected, len, decided: cursor.decided });
                    }
                }
                Some(Open::Rows(cursor)) if cursor.index + 1 < cursor.rows.len() as i64 => return Ok(Part::Rows),
                _ => {}
            }
            pgrx::check_for_interrupts!();
            if !self.advance(store, units, true)? {
                return Ok(Part::End);
            }
        }
    }

    /// A column of the vector that the scan has come to. `None` if the stripe does not have it, because it was added later.
    pub fn part_column(&mut self, store: &Store, column: usize) -> Result<Option<Rc<Vector>>, OrochiError> {
        match &mut self.open {
            Some(Open::Stripe(cursor)) => cursor.reader.column(store, column),
            _ => Err(OrochiError::Internal("a scan is not at a vector".into())),
        }
    }

    /// The next row of the rows that the scan has come to; false after the last one.
    ///
    /// # Safety
    /// `slot` must be one of ours, of the table's row type.
    pub unsafe fn part_row(&mut self, store: &Store, slot: *mut pg_sys::TupleTableSlot) -> Result<bool, OrochiError> {
        match &mut self.open {
            // SAFETY: the caller's promise.
            Some(Open::Rows(cursor)) => unsafe { cursor.next(store, self.snapshot, true, slot) },
            _ => Ok(false),
        }
    }
}
