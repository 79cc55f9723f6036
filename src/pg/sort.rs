//! Sorting rows by PostgreSQL's own sort, each with a number that it keeps.

use super::values::fetch_columns;
use super::{Rel, unwinding, values};
use pgrx::pg_sys;

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Number of the column.
    pub attribute: i16,
    /// Less-than or greater-than operator of its type.
    pub operator: pg_sys::Oid,
    /// Collation to compare under.
    pub collation: pg_sys::Oid,
    /// NULLs come before all values.
    pub nulls_first: bool,
}

/// Bytes that a row takes besides its values, about: tuple header, sort entry, allocator.
const ROW_OVERHEAD: usize = 64;

/// Bytes that maintenance may take: the setting maintenance_work_mem.
pub fn maintenance_memory() -> usize {
    // SAFETY: a setting of this process.
    unsafe { pg_sys::maintenance_work_mem.max(0) as usize * 1024 }
}

/// Rows of a table on their way through a sort.
pub struct RowSorter {
    state: *mut pg_sys::Tuplesortstate,
    /// Holds everything; a child of the transaction's context, so that it goes with the transaction if nobody ends the sort.
    context: pg_sys::MemoryContext,
    /// Holds fetched copies of one row's values.
    row_context: pg_sys::MemoryContext,
    /// A row with its number behind the columns.
    input: *mut pg_sys::TupleTableSlot,
    output: *mut pg_sys::TupleTableSlot,
    columns: usize,
    rows: u32,
    bytes: usize,
}

impl RowSorter {
    /// The same, where rows that are equal come in the order of their numbers.
    pub fn stable(table: Rel, keys: &[SortKey], memory: usize) -> Self {
        // SAFETY: the descriptor is valid while the table is open.
        let columns = unsafe { values::attributes(table.desc()).len() };
        let number = SortKey {
            attribute: columns as i16 + 1,
            operator: pg_sys::Oid::from(pg_sys::Int8LessOperator),
            collation: pg_sys::InvalidOid,
            nulls_first: false,
        };
        Self::new(table, &[keys, &[number]].concat(), memory)
    }

    /// A sort of the rows of a table that keeps up to `memory` bytes in memory.
    pub fn new(table: Rel, keys: &[SortKey], memory: usize) -> Self {
        // SAFETY: the table is open; everything is made in a context of its own, and the keys are copied.
        unsafe {
            let context = small_context(pg_sys::TopTransactionContext, c"Orochi sort");
            let row_context = small_context(context, c"Orochi sort row");
            let old = pg_sys::MemoryContextSwitchTo(context);
            let columns = values::attributes(table.desc()).len();
            let desc = with_number(table.desc(), columns);
            let input = pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsVirtual);
            let output = pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple);
            let mut attributes: Vec<i16> = keys.iter().map(|key| key.attribute).collect();
            let mut operators: Vec<pg_sys::Oid> = keys.iter().map(|key| key.operator).collect();
            let mut collations: Vec<pg_sys::Oid> = keys.iter().map(|key| key.collation).collect();
            let mut nulls_first: Vec<bool> = keys.iter().map(|key| key.nulls_first).collect();
            let kilobytes = (memory / 1024).clamp(64, i32::MAX as usize);
            let state = pg_sys::tuplesort_begin_heap(
                desc,
                keys.len() as i32,
                attributes.as_mut_ptr(),
                operators.as_mut_ptr(),
                collations.as_mut_ptr(),
                nulls_first.as_mut_ptr(),
                kilobytes as i32,
                std::ptr::null_mut(),
                0,
            );
            pg_sys::MemoryContextSwitchTo(old);
            Self { state, context, row_context, input, output, columns, rows: 0, bytes: 0 }
        }
    }

    /// Adds the row in a slot.
    ///
    /// # Safety
    /// `slot` must be a non-empty slot of the table's row type.
    pub unsafe fn put(&mut self, number: u64, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; the input slot has one column more than the table.
        unsafe {
            fetch_columns(slot, self.columns);
            let old = pg_sys::MemoryContextSwitchTo(self.row_context);
            pg_sys::ExecClearTuple(self.input);
            let (out, nulls) = ((*self.input).tts_values, (*self.input).tts_isnull);
            let attributes = values::attributes((*self.input).tts_tupleDescriptor);
            for (column, attribute) in attributes.iter().enumerate().take(self.columns) {
                let null = *(*slot).tts_isnull.add(column) || attribute.attisdropped;
                *nulls.add(column) = null;
                *out.add(column) = *(*slot).tts_values.add(column);
                if !null {
                    *out.add(column) = values::fetched(*out.add(column), attribute.attlen);
                    self.bytes += values::size(*out.add(column), attribute);
                }
            }
            *nulls.add(self.columns) = false;
            *out.add(self.columns) = pg_sys::Datum::from(number as i64);
            pg_sys::ExecStoreVirtualTuple(self.input);
            pg_sys::tuplesort_puttupleslot(self.state, self.input);
            pg_sys::MemoryContextSwitchTo(old);
            pg_sys::MemoryContextReset(self.row_context);
        }
        self.rows += 1;
        self.bytes += ROW_OVERHEAD;
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of memory held, about.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Sorts, and hands out each row with its number in a slot whose first columns are those of the table.
    pub fn finish<E>(
        self,
        mut each: impl FnMut(u64, *mut pg_sys::TupleTableSlot) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        // SAFETY: the sort is complete, and its output slot has the number behind the columns.
        unsafe {
            pg_sys::tuplesort_performsort(self.state);
            while pg_sys::tuplesort_gettupleslot(self.state, true, false, self.output, std::ptr::null_mut()) {
                pgrx::check_for_interrupts!();
                fetch_columns(self.output, self.columns + 1);
                let number = (*(*self.output).tts_values.add(self.columns)).value() as u64;
                each(number, self.output)?;
            }
            pg_sys::tuplesort_end(self.state);
        }
        Ok(())
    }
}

impl Drop for RowSorter {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made in `new`; after an ERROR it goes with the transaction's context.
            unsafe { pg_sys::MemoryContextDelete(self.context) }
        }
    }
}

/// A memory context of its own for a piece of work that leaves things behind.
pub struct ScratchContext {
    own: pg_sys::MemoryContext,
    before: pg_sys::MemoryContext,
}

impl ScratchContext {
    /// Makes one, a child of the current context, and works in it until it is dropped.
    pub fn enter() -> Self {
        // SAFETY: the current context is one; the new one goes with it if an ERROR comes in between.
        unsafe {
            let own = small_context(pg_sys::CurrentMemoryContext, c"Orochi scratch");
            Self { own, before: pg_sys::MemoryContextSwitchTo(own) }
        }
    }
}

impl Drop for ScratchContext {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: both contexts are as they were; nothing in the own one is used any more.
            unsafe {
                pg_sys::MemoryContextSwitchTo(self.before);
                pg_sys::MemoryContextDelete(self.own);
            }
        }
    }
}

/// # Safety
/// `parent` must be a memory context.
unsafe fn small_context(parent: pg_sys::MemoryContext, name: &'static std::ffi::CStr) -> pg_sys::MemoryContext {
    // SAFETY: the caller's promise; the name is a constant.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// A copy of a row descriptor with a bigint behind its columns.
///
/// # Safety
/// `desc` must be valid and have `columns` columns.
unsafe fn with_number(desc: pg_sys::TupleDesc, columns: usize) -> pg_sys::TupleDesc {
    // SAFETY: the caller's promise.
    unsafe {
        let copy = pg_sys::CreateTemplateTupleDesc(columns as i32 + 1);
        for column in 1..=columns as i16 {
            pg_sys::TupleDescCopyEntry(copy, column, desc, column);
        }
        pg_sys::TupleDescInitEntry(copy, columns as i16 + 1, c"number".as_ptr(), pg_sys::INT8OID, -1, 0);
        copy
    }
}
