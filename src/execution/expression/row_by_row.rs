//! Expressions that PostgreSQL evaluates, row by row.

use super::Input;
use super::datums::{Datums, Gatherer};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{self, Datum, ExprContext, ExprState, TupleTableSlot};

/// An expression and where its Vars find their values.
pub struct RowByRow {
    pub state: *mut ExprState,
    pub context: *mut ExprContext,
    /// The slot that Vars refer to.
    pub slot: *mut TupleTableSlot,
    /// The inputs that it names, each the place of its column in the slot.
    pub inputs: Vec<usize>,
}

impl RowByRow {
    /// Evaluates without inputs. The value lies in the context's short-lived memory.
    pub fn datum(&mut self) -> Option<Datum> {
        let mut null = false;
        // SAFETY: state and context are those of a node that is running.
        let value = unsafe { pg_sys::ExecEvalExprSwitchContext(self.state, self.context, &mut null) };
        (!null).then_some(value)
    }

    /// The same as a column.
    pub fn same(&mut self, kind: Kind) -> Result<Column, OrochiError> {
        let mut gatherer = Gatherer::new(kind);
        let value = self.datum();
        // SAFETY: the value is of the expression's type.
        unsafe { gatherer.push(value)? };
        gatherer.finish_same()
    }

    /// Evaluates for rows of a batch.
    pub fn evaluate(&mut self, kind: Kind, rows: &Selection, input: &mut dyn Input) -> Result<Column, OrochiError> {
        let len = input.len();
        let mut columns = Vec::with_capacity(self.inputs.len());
        for number in &self.inputs {
            let column = input.column(*number)?;
            columns.push((*number, Datums::new(&column, rows, len), column));
        }
        let mut results: Vec<Option<Datum>> = vec![None; len];
        let (state, context, slot) = (self.state, self.context, self.slot);
        let wanted: Vec<usize> = rows.iter().collect();
        // SAFETY: state, context and slot are those of a node that is running, and the slot has room for each input. Within the guard nothing is
        // allocated or dropped and no guarded function called, so that an ERROR may pass over it.
        unsafe {
            let Some(evaluate) = (*state).evalfunc else {
                return Err(OrochiError::Internal("an expression has not been prepared".into()));
            };
            pg_sys::ExecClearTuple(slot);
            pg_sys::ExecStoreVirtualTuple(slot);
            let before = (*context).ecxt_scantuple;
            (*context).ecxt_scantuple = slot;
            let old = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let (columns, results, wanted) = (columns.as_slice(), results.as_mut_slice(), wanted.as_slice());
            pg_guard_ffi_boundary(|| {
                for row in wanted {
                    for (number, values, column) in columns {
                        *(*slot).tts_values.add(*number) = values.get(*row);
                        *(*slot).tts_isnull.add(*number) = column.is_null(*row);
                    }
                    let mut null = false;
                    let value = evaluate(state, context, &mut null);
                    results[*row] = if null { None } else { Some(value) };
                }
            });
            pg_sys::MemoryContextSwitchTo(old);
            (*context).ecxt_scantuple = before;
            pg_sys::ExecClearTuple(slot);
        }
        let mut gatherer = Gatherer::new(kind);
        for result in results {
            // SAFETY: the values are of the expression's type.
            unsafe { gatherer.push(result)? };
        }
        gatherer.finish()
    }
}
