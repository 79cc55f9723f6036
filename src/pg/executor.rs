//! Evaluating index expressions and predicates outside a query.

use pgrx::pg_sys;

/// An executor state with one scan slot, for one index.
pub struct IndexEval {
    estate: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    predicate: *mut pg_sys::ExprState,
    info: *mut pg_sys::IndexInfo,
    /// Key values of the row last formed.
    pub values: [pg_sys::Datum; pg_sys::INDEX_MAX_KEYS as usize],
    /// Which of them are null.
    pub nulls: [bool; pg_sys::INDEX_MAX_KEYS as usize],
}

impl IndexEval {
    /// # Safety
    /// `info` must describe an index of the table that `slot` is for; both must outlive the evaluator.
    pub unsafe fn new(info: *mut pg_sys::IndexInfo, slot: *mut pg_sys::TupleTableSlot) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(estate);
            (*context).ecxt_scantuple = slot;
            let predicate = pg_sys::ExecPrepareQual((*info).ii_Predicate, estate);
            Self {
                estate,
                context,
                predicate,
                info,
                values: [pg_sys::Datum::from(0usize); pg_sys::INDEX_MAX_KEYS as usize],
                nulls: [false; pg_sys::INDEX_MAX_KEYS as usize],
            }
        }
    }

    /// Forms the index keys of the row in the slot; false if the predicate leaves it out.
    pub fn form(&mut self) -> bool {
        // SAFETY: `new` was promised that everything is valid; per-tuple memory is reset before each row.
        unsafe {
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            if !self.predicate.is_null() && !self.qualifies() {
                return false;
            }
            let slot = (*self.context).ecxt_scantuple;
            pg_sys::FormIndexDatum(self.info, slot, self.estate, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
            true
        }
    }

    fn qualifies(&self) -> bool {
        // SAFETY: as in `form`; a qual without a function would be null.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_tuple_memory);
            let mut null = false;
            let result = match (*self.predicate).evalfunc {
                Some(evaluate) => {
                    pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| evaluate(self.predicate, self.context, &mut null))
                }
                None => pg_sys::Datum::from(1usize),
            };
            pg_sys::MemoryContextSwitchTo(old);
            result.value() != 0
        }
    }

    /// Frees everything. Not done on drop: after an ERROR the memory context does it.
    pub fn end(self) {
        // SAFETY: made in `new`, ended once. Expressions prepared for this state must not be used afterwards.
        unsafe {
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
            (*self.info).ii_PredicateState = std::ptr::null_mut();
            pg_sys::FreeExecutorState(self.estate);
        }
    }
}
