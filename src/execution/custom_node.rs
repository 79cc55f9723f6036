//! What our custom scan nodes have in common.

use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::memory::ContextOwned;
use crate::pg::unguarded;
use pgrx::pg_guard;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScanState, ExecReScan, PlanState, ScanState, TupleTableSlot, UpdateChangedParamSet,
};

/// A constant for PostgreSQL.
pub struct Methods<T>(pub T);
// SAFETY: names and function pointers, never written.
unsafe impl<T> Sync for Methods<T> {}

/// Core's part of a node, then ours.
#[repr(C)]
pub struct Node<T> {
    base: CustomScanState,
    state: ContextOwned<T>,
}

/// Makes a node, whose state is there at once or set later.
///
/// # Safety
/// The current memory context must live as long as the node. Here and below `T` must be the same for all nodes with these methods.
pub unsafe fn create<T>(methods: *const CustomExecMethods, state: Option<T>) -> *mut Node<T> {
    // SAFETY: the node is zeroed, then its fields are set.
    unsafe {
        let node = pg_sys::palloc0(size_of::<Node<T>>()).cast::<Node<T>>();
        (*node).base.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*node).base.methods = methods;
        let state = state.map_or_else(ContextOwned::bind_nothing, ContextOwned::bind);
        (&raw mut (*node).state).write(state);
        node
    }
}

/// The state of a node, if it has one; raises nothing.
///
/// # Safety
/// `node` must come from [`create`], and no other reference to its state may be in use.
#[inline]
pub unsafe fn known_state<'a, T>(node: *mut CustomScanState) -> Option<&'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { (*node.cast::<Node<T>>()).state.get() }
}

/// The state of a node.
///
/// # Safety
/// As for [`known_state`].
pub unsafe fn state<'a, T>(node: *mut CustomScanState) -> &'a mut T {
    // SAFETY: the caller's promise.
    let found = unsafe { known_state(node) };
    found.ok_or_else(|| OrochiError::Internal("a node was used before its start or after its end".into())).or_raise()
}

/// Gives a node its state.
///
/// # Safety
/// As for [`known_state`].
pub unsafe fn set_state<T>(node: *mut CustomScanState, state: T) {
    // SAFETY: the caller's promise.
    unsafe { (*node.cast::<Node<T>>()).state.set(state) }
}

/// Drops the state of a node.
///
/// # Safety
/// As for [`known_state`].
pub unsafe fn drop_state<T>(node: *mut CustomScanState) {
    // SAFETY: the caller's promise.
    drop(unsafe { (*node.cast::<Node<T>>()).state.take() });
}

/// The node, if it has these methods and may be asked for more than rows: not while rows are checked again that come from elsewhere (EvalPlanQual).
///
/// # Safety
/// `node` must have begun.
pub unsafe fn with_methods(node: *mut PlanState, methods: *const CustomExecMethods) -> Option<*mut CustomScanState> {
    // SAFETY: the caller's promise; the node has the type that its tag says.
    unsafe {
        let ours = (*node).type_ == pg_sys::NodeTag::T_CustomScanState
            && std::ptr::eq((*node.cast::<CustomScanState>()).methods, methods)
            && (*(*node).state).es_epq_active.is_null();
        ours.then_some(node.cast())
    }
}

/// Puts the next row into the scan slot and returns it; an empty one at the end.
pub type Next = unsafe extern "C-unwind" fn(*mut ScanState) -> *mut TupleTableSlot;

/// The next row of a node that computes its rows: one of `next` that meets the node's conditions, projected. Not guarded: what the conditions and
/// the target list raise passes over this frame, which owns nothing, as it was raised.
///
/// # Safety
/// `node` must have begun, and `next` be its own.
pub unsafe fn computed_row(node: *mut CustomScanState, next: Next) -> *mut TupleTableSlot {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*node).ss.ps.state).es_epq_active.is_null() {
            true => unguarded::ExecScan(&raw mut (*node).ss, Some(next), Some(recheck)),
            false => computed_row_again(node, next),
        }
    }
}

/// Only called while rows are checked again.
#[pg_guard]
unsafe extern "C-unwind" fn recheck(_scan: *mut ScanState, _slot: *mut TupleTableSlot) -> bool {
    true
}

/// The same while a row of the query is checked again that has changed (EvalPlanQual). ExecScan would take what such a node gives for that row; but
/// a subquery's node gives what it gives otherwise.
///
/// # Safety
/// As for [`computed_row`].
#[pg_guard]
unsafe extern "C-unwind" fn computed_row_again(node: *mut CustomScanState, next: Next) -> *mut TupleTableSlot {
    // SAFETY: the caller's promise; qual and projection are those of the node.
    unsafe {
        let scan = &raw mut (*node).ss;
        let context = (*scan).ps.ps_ExprContext;
        let projection = (*scan).ps.ps_ProjInfo;
        loop {
            pgrx::check_for_interrupts!();
            pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            let slot = pg_guard_ffi_boundary(|| next(scan));
            if u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 {
                return slot;
            }
            (*context).ecxt_scantuple = slot;
            let mut null = false;
            let qual = (*scan).ps.qual;
            if !qual.is_null() && pg_sys::ExecEvalExprSwitchContext(qual, context, &mut null).value() == 0 {
                continue;
            }
            if projection.is_null() {
                return slot;
            }
            let state = &raw mut (*projection).pi_state;
            let result = (*state).resultslot;
            pg_sys::ExecClearTuple(result);
            crate::pg::compat::evaluate_projection(state, (*projection).pi_exprContext);
            pg_sys::ExecStoreVirtualTuple(result);
            return result;
        }
    }
}

/// Starts a child over, now or, if its parameters have changed, when it is asked for rows.
///
/// # Safety
/// `child` must be one of the node's children.
pub unsafe fn rescan_child(node: *mut CustomScanState, child: *mut PlanState) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*node).ss.ps.chgParam.is_null() {
            UpdateChangedParamSet(child, (*node).ss.ps.chgParam);
        }
        if (*child).chgParam.is_null() {
            ExecReScan(child);
        }
    }
}

/// Counts the time and the rows of a node that gives batches, for EXPLAIN ANALYZE; starts it over first if its parameters have changed.
///
/// # Safety
/// `node` must have begun.
pub unsafe fn instrumented<T>(
    node: *mut CustomScanState,
    search: impl FnOnce() -> Result<Option<T>, OrochiError>,
    rows: impl FnOnce(&T) -> usize,
) -> Result<Option<T>, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*node).ss.ps.chgParam.is_null() {
            ExecReScan(&raw mut (*node).ss.ps);
        }
        let instrument = (*node).ss.ps.instrument;
        if !instrument.is_null() {
            pg_sys::InstrStartNode(instrument);
        }
        let found = search()?;
        if !instrument.is_null() {
            pg_sys::InstrStopNode(instrument, found.as_ref().map_or(0.0, |found| rows(found) as f64));
        }
        Ok(found)
    }
}
