//! The node's life.

use super::compile::compile;
use super::output;
use super::plan::Mode;
use super::state::{State, short};
use crate::execution::batch::MAX_ROWS;
use crate::execution::batches::Source;
use crate::execution::custom_node::{self, Methods};
use crate::monitor::counters::{self, Counter};
use crate::pg::compat::pointers;
use crate::pg::error::{OrRaise, OrochiError};
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

/// Our part of a node.
///
/// # Safety
/// `node` must come from [`create`] and have begun, and no other reference to its state may be in use.
pub unsafe fn state<'a>(node: *mut CustomScanState) -> &'a mut State {
    // SAFETY: the caller's promise.
    unsafe { custom_node::state(node) }
}

#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut CustomScan) -> *mut pg_sys::Node {
    // SAFETY: core makes nodes in the memory of the query.
    unsafe { custom_node::create::<State>(&raw const EXEC_METHODS.0, None).cast() }
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
        custom_node::set_state(node, compile(node, scan).or_raise());
    }
}

unsafe extern "C-unwind" fn execute(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: core's arguments.
    unsafe { custom_node::computed_row(node, next) }
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
        let mut source = Source::new(child, state.inputs.clone(), true);
        while state.mode != Mode::Final
            && let Some(batch) = source.next()?
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

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        let state = state(node);
        state.clear();
        state.program.restart();
        for child in pointers::<PlanState>((*node).custom_ps) {
            custom_node::rescan_child(node, child);
        }
        ExecScanReScan(&raw mut (*node).ss);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(state) = custom_node::known_state::<State>(node) {
            state.forget_files();
        }
        for child in pointers::<PlanState>((*node).custom_ps) {
            ExecEndNode(child);
        }
        custom_node::drop_state::<State>(node);
    }
}
