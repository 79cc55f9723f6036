//! The table that rows are put into.

use super::statement::ParseState;
use crate::pg::{Rel, compat};
use pgrx::pg_sys;
use std::rc::Rc;

/// A slot for one row of a table at a time, and what the executor needs to check the table's constraints.
pub struct RowTarget {
    estate: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    table: Rel,
    constrained: bool,
}

impl RowTarget {
    /// A target whose indexes get entries, too.
    ///
    /// # Safety
    /// `state` must be for `table`; both must outlive the target.
    pub unsafe fn new(table: Rel, state: &ParseState) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let target = Self::with_state(table, state.raw());
            let old = pg_sys::MemoryContextSwitchTo((*target.estate).es_query_cxt);
            pg_sys::ExecOpenIndices(target.info, false);
            pg_sys::MemoryContextSwitchTo(old);
            target
        }
    }

    /// # Safety
    /// As for [`Self::new`].
    unsafe fn with_state(table: Rel, state: *mut pg_sys::ParseState) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let old = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            compat::copy::init_range_table(estate, state);
            let info = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(info, table.raw(), 1, std::ptr::null_mut(), 0);
            let slot = pg_sys::MakeSingleTupleTableSlot(table.desc(), &raw const pg_sys::TTSOpsVirtual);
            let context = pg_sys::MakePerTupleExprContext(estate);
            pg_sys::MemoryContextSwitchTo(old);
            let constrained = !(*table.desc()).constr.is_null();
            Self { estate, context, info, slot, table, constrained }
        }
    }

    /// A target in a parallel worker, which has the lightest lock on the table.
    ///
    /// # Safety
    /// The table must outlive the target.
    pub unsafe fn for_worker(table: Rel, columns: &[pg_sys::AttrNumber]) -> Self {
        let (text, environment) = (std::ptr::null(), std::ptr::null_mut());
        // SAFETY: the caller's promise; the state lives until the worker ends.
        unsafe {
            let state = compat::copy::parse_state(table, columns, pg_sys::AccessShareLock, text, environment);
            Self::with_state(table, state)
        }
    }

    /// Whether rows can violate a constraint.
    pub fn is_constrained(&self) -> bool {
        self.constrained
    }

    /// Whether the table has indexes.
    pub fn is_indexed(&self) -> bool {
        // SAFETY: made in `new`.
        unsafe { (*self.info).ri_NumIndices > 0 }
    }

    /// Which columns indexes look at.
    pub fn indexed_columns(&self) -> Rc<[bool]> {
        // SAFETY: the descriptions of the open indexes, and their columns.
        unsafe {
            let mut indexed = vec![false; usize::try_from((*self.table.desc()).natts).unwrap_or(0)];
            for index in 0..usize::try_from((*self.info).ri_NumIndices).unwrap_or(0) {
                let info = &**(*self.info).ri_IndexRelationInfo.add(index);
                for column in info.ii_IndexAttrNumbers.iter().take(usize::try_from(info.ii_NumIndexAttrs).unwrap_or(0))
                {
                    if let Some(found) =
                        usize::from(column.unsigned_abs()).checked_sub(1).and_then(|at| indexed.get_mut(at))
                    {
                        *found = true;
                    }
                }
            }
            indexed.into()
        }
    }

    /// Makes the index entries of a row whose place the slot knows, if there are indexes.
    ///
    /// # Safety
    /// The slot must hold a row of the table, or at least its indexed columns.
    pub unsafe fn index(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        if !self.is_indexed() {
            return;
        }
        // SAFETY: the caller's promise; the indexes are open.
        unsafe {
            (*slot).tts_tableOid = self.table.oid();
            compat::copy::insert_index_entries(self.info, slot, self.estate);
        }
    }

    /// Forgets what was allocated for the last row.
    pub fn tidy(&mut self) {
        // SAFETY: made in `new`.
        unsafe { pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory) };
    }

    /// The slot.
    pub fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// The context for default expressions.
    pub(super) fn expressions(&self) -> *mut pg_sys::ExprContext {
        self.context
    }

    /// Forgets the last row, and works in memory that lives as long as the next one while `fill` fills in its values; false if it
    /// says that there is none.
    ///
    /// # Safety
    /// If it says so, `fill` must have set all values of the slot.
    pub(super) unsafe fn next_row(&mut self, fill: impl FnOnce(*mut pg_sys::TupleTableSlot) -> bool) -> bool {
        // SAFETY: made in `new`; the caller's promise.
        unsafe {
            pg_sys::ExecClearTuple(self.slot);
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            let old = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_tuple_memory);
            let filled = fill(self.slot);
            pg_sys::MemoryContextSwitchTo(old);
            if !filled {
                return false;
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
            // Constraints may ask for it.
            (*self.slot).tts_tableOid = self.table.oid();
            if self.constrained {
                pg_sys::ExecConstraints(self.info, self.slot, self.estate);
            }
            true
        }
    }

    /// Frees everything. Not done on drop: after an ERROR the memory context does it.
    pub fn end(self) {
        // SAFETY: made in `new`, ended once.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::ExecCloseIndices(self.info);
            pg_sys::FreeExecutorState(self.estate);
        }
    }
}
