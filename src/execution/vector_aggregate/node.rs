//! The node's life.

use super::compile::compile;
use super::output;
use super::plan::Mode;
use super::state::{State, short};
use crate::execution::batch::MAX_ROWS;
use crate::execution::batches::next_batch;
use crate::execution::node::Methods;
use crate::monitor::counters::{self, Counter};
use crate::pg::compat::pointers;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::memory::ContextOwned;
use crate::pg::unguarded;
use pgrx::pg_sys::*;
use pgrx::{pg_guard, pg_sys};
use std::result::Result;

/// Name of the node in plans.
pub const NAME: &std::ffi::CStr = c"VectorAggregate";

/// Makes the node of a plan.
pub static SCAN_METHODS: Methods<CustomScanMethods> =
    Methods(CustomScanMethods { CustomName: NAME.as_ptr(), CreateCustomScanState: Some(create) });

static EXEC_METHODS: Methods<CustomExecMethods> = Methods(CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(super::explain::explain),
});

/// Makes the node known by name, for plans that come from another process.
pub fn register() {
    // SAFETY: called while the library is loaded; the methods are constant.
    unsafe { RegisterCustomScanMethods(&raw const SCAN_METHODS.0) }
}

/// Core's part, then ours.
#[repr(C)]
struct Node {
    base: CustomScanState,
    state: ContextOwned<State>,
}

/// Our part of a node.
///
/// # Safety
/// `node` must come from [`create`] and have begun, and no other reference to its state may be in use.
pub unsafe fn state<'a>(node: *mut CustomScanState) -> &'a mut State {
    // SAFETY: the caller's promise.
    match unsafe { (*node.cast::<Node>()).state.get() } {
        Some(state) => state,
        None => OrochiError::Internal("an aggregate was used after its end".into()).raise(),
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut CustomScan) -> *mut pg_sys::Node {
    // SAFETY: the node is zeroed, then its fields are set.
    unsafe {
        let node = palloc0(size_of::<Node>()).cast::<Node>();
        (*node).base.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*node).base.methods = &raw const EXEC_METHODS.0;
        (&raw mut (*node).state).write(ContextOwned::bind_nothing());
        node.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, flags: i32) {
    // SAFETY: core's arguments; the lists are as plan.rs made them.
    unsafe {
        let scan = (*node).ss.ps.plan.cast::<CustomScan>();
        let Some(child) = pointers::<Plan>((*scan).custom_plans).first().copied() else {
            OrochiError::Internal("an aggregate has nothing to aggregate".into()).raise();
        };
        let child = ExecInitNode(child, estate, flags);
        (*node).custom_ps = lappend(std::ptr::null_mut(), child.cast());
        (*node.cast::<Node>()).state.set(compile(node, scan).or_raise());
    }
}

/// Not guarded: what HAVING and the target list raise passes over this frame, which owns nothing, as it was raised.
unsafe extern "C-unwind" fn execute(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: core's arguments.
    unsafe { unguarded::ExecScan(&raw mut (*node).ss, Some(next), Some(recheck)) }
}

/// The next group.
#[pg_guard]
unsafe extern "C-unwind" fn next(scan: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: called by ExecScan with the node that `execute` passed.
    crate::pg::error_fields::keep(|| unsafe {
        let node = scan.cast::<CustomScanState>();
        let slot = (*scan).ss_ScanTupleSlot;
        let state = state(node);
        if !state.filled {
            read_child(node, state).or_raise();
        }
        while state.next >= state.groups.len() {
            if !state.next_file((*(*scan).ps.state).es_query_cxt).or_raise() {
                return ExecClearTuple(slot);
            }
        }
        let old = MemoryContextSwitchTo((*(*scan).ps.ps_ExprContext).ecxt_per_tuple_memory);
        output::fill(state, state.next, slot);
        MemoryContextSwitchTo(old);
        state.next += 1;
        slot
    })
}

/// Aggregates all that the child has.
///
/// # Safety
/// `node` must have begun, and `state` be its state.
unsafe fn read_child(node: *mut CustomScanState, state: &mut State) -> Result<(), OrochiError> {
    // SAFETY: the caller's promise; the child is a columnar scan, for such are the paths below.
    unsafe {
        let Some(child) = pointers::<PlanState>((*node).custom_ps).first().copied() else { return Ok(()) };
        let memory = (*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory;
        let query = (*(*node).ss.ps.state).es_query_cxt;
        counters::add(Counter::VectorAggregations, 1);
        if state.mode == Mode::Final {
            state.read_states(child, query, memory)?;
        }
        let mut scratch = Box::new([0; MAX_ROWS]);
        while state.mode != Mode::Final
            && let Some(batch) = next_batch(child, &state.inputs)?
        {
            pgrx::check_for_interrupts!();
            MemoryContextReset(memory);
            let old = MemoryContextSwitchTo(memory);
            let added = state.add(&batch, &mut scratch);
            MemoryContextSwitchTo(old);
            added?;
            state.spill_if_large(query)?;
        }
        state.add_distinct(query)?;
        state.finish_spill(query);
        for aggregate in &mut state.aggregates {
            aggregate.grow(state.groups.len()).map_err(short)?;
        }
        state.filled = true;
        Ok(())
    }
}

/// Groups are not rows of a table, which alone change while a row is waited for.
#[pg_guard]
unsafe extern "C-unwind" fn recheck(_scan: *mut ScanState, _slot: *mut TupleTableSlot) -> bool {
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        let state = state(node);
        state.clear();
        state.program.restart();
        for child in pointers::<PlanState>((*node).custom_ps) {
            if !(*node).ss.ps.chgParam.is_null() {
                UpdateChangedParamSet(child, (*node).ss.ps.chgParam);
            }
            if (*child).chgParam.is_null() {
                ExecReScan(child);
            }
        }
        ExecScanReScan(&raw mut (*node).ss);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        for child in pointers::<PlanState>((*node).custom_ps) {
            ExecEndNode(child);
        }
        drop((*node.cast::<Node>()).state.take());
    }
}
