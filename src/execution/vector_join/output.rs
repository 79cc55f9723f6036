//! From pairs to batches and to slots.

use super::build::Contexts;
use super::state::{Joined, State};
use crate::columnar::encoding::Selection;
use crate::execution::batch::Column;
use crate::execution::batches::Batch;
use crate::execution::expression::{Datums, Input};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, TupleTableSlot};
use std::rc::Rc;

/// Rows on their way into slots.
pub struct Rows {
    left: Selection,
    /// The columns that are asked for: their places in the slot, and their values.
    columns: Vec<(usize, Datums, Rc<Column>)>,
}

impl State {
    /// The next batch of the node's output.
    ///
    /// # Safety
    /// The node must be running, in these contexts.
    pub unsafe fn next_output(&mut self, contexts: Contexts) -> Result<Option<Batch>, OrochiError> {
        loop {
            // SAFETY: the caller's promise.
            let Some(Joined { mut pairs, mut rows }) = (unsafe { self.next_joined(contexts)? }) else {
                return Ok(None);
            };
            // SAFETY: as above.
            let columns = unsafe {
                contexts.in_batch(|| {
                    let before = rows.count();
                    for condition in &self.others {
                        self.program.filter(*condition, &mut rows, &mut pairs)?;
                    }
                    self.removed += before - rows.count();
                    if rows.is_empty() {
                        return Ok(Vec::new());
                    }
                    let output = self.output.iter();
                    output.map(|root| self.program.evaluate(*root, &rows, &mut pairs)).collect::<Result<Vec<_>, _>>()
                })?
            };
            if !rows.is_empty() {
                return Ok(Some(Batch { rows, len: pairs.len(), columns }));
            }
        }
    }

    /// Puts the next row into a slot; false at the end. Conditions on what comes out are not checked.
    ///
    /// # Safety
    /// As for [`Self::next_output`]; `slot` must have the plan's `custom_scan_tlist` as its columns.
    pub unsafe fn next_row(&mut self, slot: *mut TupleTableSlot, contexts: Contexts) -> Result<bool, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            loop {
                if let Some(rows) = &mut self.rows
                    && let Some(row) = rows.left.at_or_after(0)
                {
                    rows.left.remove(row);
                    for (place, values, column) in &rows.columns {
                        *(*slot).tts_values.add(*place) = values.get(row);
                        *(*slot).tts_isnull.add(*place) = column.is_null(row);
                    }
                    pg_sys::ExecStoreVirtualTuple(slot);
                    return Ok(true);
                }
                self.rows = None;
                let Some(Joined { mut pairs, rows }) = self.next_joined(contexts)? else { return Ok(false) };
                let mut columns = Vec::with_capacity(self.wanted.len());
                for place in &self.wanted {
                    let column = pairs.column(*place)?;
                    columns.push((*place, Datums::new(&column, &rows, pairs.len()), column));
                }
                self.rows = Some(Rows { left: rows, columns });
            }
        }
    }
}
