//! Functions and operators: natively, or by calling PostgreSQL's function for each row.

use super::datums::{Datums, Gatherer};
use super::native::Native;
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Bytes, Column, Kind, Values};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{self, Datum, FmgrInfo, FunctionCallInfo, MemoryContext, Oid};
use std::rc::Rc;

/// A function with what it takes to call it.
pub struct Call {
    /// What is done without PostgreSQL, where it can be.
    native: Option<Native>,
    kind: Kind,
    frame: FunctionCallInfo,
    /// Where results and what functions leave behind goes.
    memory: MemoryContext,
    strict: bool,
    arguments: usize,
}

impl Call {
    /// Looks a function up.
    ///
    /// # Safety
    /// `expression` must be the call in the plan, which functions of polymorphic types look at; the current memory context and `memory` must live
    /// as long as this.
    pub unsafe fn new(
        function: Oid,
        collation: Oid,
        expression: *mut pg_sys::Node,
        arguments: usize,
        kind: Kind,
        native: Option<Native>,
        memory: MemoryContext,
    ) -> Self {
        // SAFETY: the caller's promise; the frame has room for the arguments and is zeroed.
        unsafe {
            let info = pg_sys::palloc0(size_of::<FmgrInfo>()).cast::<FmgrInfo>();
            pg_sys::fmgr_info(function, info);
            (*info).fn_expr = expression;
            let len = size_of::<pg_sys::FunctionCallInfoBaseData>() + arguments * size_of::<pg_sys::NullableDatum>();
            let frame = pg_sys::palloc0(len).cast::<pg_sys::FunctionCallInfoBaseData>();
            (*frame).flinfo = info;
            (*frame).fncollation = collation;
            (*frame).nargs = arguments as i16;
            Self { native, kind, frame, memory, strict: (*info).fn_strict, arguments }
        }
    }

    /// The results for rows. Those of other rows are unspecified.
    pub fn evaluate(&mut self, values: &[Rc<Column>], rows: &Selection, len: usize) -> Result<Column, OrochiError> {
        if values.iter().all(|column| column.same) {
            let first = Selection::first(1);
            return Ok(Column { same: true, ..self.spread(values, &first, 1)? });
        }
        match self.by_dictionary(values, rows)? {
            Some(column) => Ok(column),
            None => self.spread(values, rows, len),
        }
    }

    fn spread(&mut self, values: &[Rc<Column>], rows: &Selection, len: usize) -> Result<Column, OrochiError> {
        let nulls = values.iter().fold(Selection::none(), |all, column| all.or(&column.null_rows()));
        if self.strict
            && let Some(native) = &self.native
            && let Some(column) = native.evaluate(values, &rows.and_not(&nulls), nulls, len)
        {
            return Ok(column);
        }
        self.call(values, rows, &nulls, len)
    }

    /// Where the only argument that differs from row to row has a dictionary: once for each of its entries.
    fn by_dictionary(&mut self, values: &[Rc<Column>], rows: &Selection) -> Result<Option<Column>, OrochiError> {
        let mut varying = values.iter().enumerate().filter(|(_, column)| !column.same);
        let (Some((place, column)), None, true) = (varying.next(), varying.next(), self.strict) else {
            return Ok(None);
        };
        let Some(bytes @ Bytes { codes: Some(codes), starts, .. }) = column.bytes() else { return Ok(None) };
        let mut used = Selection::none();
        for row in rows.and_not(&column.null_rows()).iter() {
            used.insert(codes[row].into());
        }
        if used.count() * 2 > rows.count() {
            return Ok(None);
        }
        let entries = Values::Bytes(Bytes { codes: None, ..bytes.clone() });
        let mut arguments = values.to_vec();
        arguments[place] = Rc::new(Column { values: entries, nulls: Selection::none(), same: false });
        let found = self.spread(&arguments, &used, starts.len())?;
        Ok(Some(per_row(&found, codes, &column.null_rows())))
    }

    fn call(
        &mut self,
        values: &[Rc<Column>],
        rows: &Selection,
        nulls: &Selection,
        len: usize,
    ) -> Result<Column, OrochiError> {
        let called = if self.strict { rows.and_not(nulls) } else { *rows };
        let arguments: Vec<Datums> = values.iter().map(|column| Datums::new(column, &called, len)).collect();
        let mut results: Vec<Option<Datum>> = vec![None; len];
        let wanted: Vec<usize> = called.iter().collect();
        let frame = self.frame;
        // SAFETY: the frame has room for the arguments, which are of the function's types. Within the guard nothing is allocated or dropped, so that
        // an ERROR may pass over it.
        unsafe {
            let (arguments, results, wanted) = (arguments.as_slice(), results.as_mut_slice(), wanted.as_slice());
            let Some(function) = (*(*frame).flinfo).fn_addr else {
                return Err(OrochiError::Internal("a function has no address".into()));
            };
            let old = pg_sys::MemoryContextSwitchTo(self.memory);
            let count = self.arguments;
            pg_guard_ffi_boundary(|| {
                let slots = (&raw mut (*frame).args).cast::<pg_sys::NullableDatum>();
                for row in wanted {
                    for index in 0..count {
                        *slots.add(index) = pg_sys::NullableDatum {
                            value: arguments[index].get(*row),
                            isnull: values[index].is_null(*row),
                        };
                    }
                    (*frame).isnull = false;
                    let value = function(frame);
                    results[*row] = if (*frame).isnull { None } else { Some(value) };
                }
            });
            pg_sys::MemoryContextSwitchTo(old);
        }
        let mut gatherer = Gatherer::new(self.kind);
        for result in results {
            // SAFETY: the results are of the function's type.
            unsafe { gatherer.push(result)? };
        }
        gatherer.finish()
    }
}

/// The values of entries, for the rows that have them.
fn per_row(found: &Column, codes: &Rc<[u16]>, nulls: &Selection) -> Column {
    let rows = codes.len();
    let mut all_nulls = *nulls;
    let null_entries = found.null_rows();
    if !null_entries.is_empty() {
        (0..rows).filter(|row| null_entries.contains(codes[*row].into())).for_each(|row| all_nulls.insert(row));
    }
    let values = match &found.values {
        Values::Truth(_) => {
            let truth = found.true_rows();
            let mut set = Selection::none();
            (0..rows).filter(|row| truth.contains(codes[*row].into())).for_each(|row| set.insert(row));
            Values::Truth(set.and_not(nulls))
        }
        Values::Words(words) => Values::Words(codes.iter().map(|code| words[found.place((*code).into())]).collect()),
        Values::Decimals(decimals) => {
            let mut decimals = decimals.clone();
            decimals.integers = codes.iter().map(|code| decimals.integers[found.place((*code).into())]).collect();
            if let Some(shown) = &mut decimals.shown {
                *shown = codes.iter().map(|code| shown[found.place((*code).into())]).collect();
            }
            Values::Decimals(decimals)
        }
        Values::Bytes(bytes) => Values::Bytes(Bytes { codes: Some(codes.clone()), ..bytes.clone() }),
    };
    Column { values, nulls: all_nulls, same: false }
}
