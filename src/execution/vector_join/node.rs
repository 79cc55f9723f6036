//! The node's life.

use super::build::Contexts;
use super::compile::compile;
use super::state::State;
use crate::execution::batches::Batch;
use crate::execution::custom_node::{self, Methods};
use crate::pg::compat::pointers;
use crate::pg::error::{OrRaise, OrochiError};
use pgrx::pg_sys::*;
use pgrx::{pg_guard, pg_sys};
use std::result::Result;

/// Name of the node in plans.
pub const NAME: &std::ffi::CStr = c"VectorJoin";

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

/// The node, if it is a join that can be asked for batches.
///
/// # Safety
/// `node` must have begun.
pub unsafe fn batch_giver(node: *mut PlanState) -> Option<*mut CustomScanState> {
    // SAFETY: the caller's promise.
    unsafe { custom_node::with_methods(node, &raw const EXEC_METHODS.0) }
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
        let &[probe, build] = pointers::<Plan>((*scan).custom_plans).as_slice() else {
            OrochiError::Internal("a join has not two sides".into()).raise();
        };
        let probe = ExecInitNode(probe, estate, flags);
        let build = ExecInitNode(build, estate, flags);
        (*node).custom_ps = lappend(lappend(std::ptr::null_mut(), probe.cast()), build.cast());
        custom_node::set_state(node, compile(node, probe, build).or_raise());
    }
}

/// # Safety
/// `node` must have begun.
unsafe fn contexts(node: *mut CustomScanState) -> Contexts {
    // SAFETY: the caller's promise.
    unsafe {
        Contexts {
            query: (*(*node).ss.ps.state).es_query_cxt,
            batch: (*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory,
        }
    }
}

/// The next batch of a join that has rows; `None` at the end.
///
/// # Safety
/// `node` must come from [`batch_giver`], and its rows not be asked for in any other way.
pub unsafe fn next_batch(node: *mut CustomScanState) -> Result<Option<Batch>, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let search = || {
            let state = state(node);
            let batch = state.next_output(contexts(node));
            if let Some(instrument) = (*node).ss.ps.instrument.as_mut() {
                instrument.nfiltered1 += std::mem::take(&mut state.removed) as f64;
            }
            batch
        };
        custom_node::instrumented(node, search, |batch| batch.rows.count())
    }
}

unsafe extern "C-unwind" fn execute(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: core's arguments.
    unsafe { custom_node::computed_row(node, next) }
}

/// The next row.
#[pg_guard]
unsafe extern "C-unwind" fn next(scan: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: called by ExecScan with the node that `execute` passed.
    crate::pg::error_fields::keep(|| unsafe {
        let node = scan.cast::<CustomScanState>();
        let slot = (*scan).ss_ScanTupleSlot;
        state(node).next_row(slot, contexts(node)).or_raise();
        slot
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        let state = state(node);
        let changed = (*node).ss.ps.chgParam;
        // Of the build side nothing has to be read again if neither its rows nor its keys depend on a parameter that has changed.
        let params =
            bms_overlap((*(*state.build.source.node).plan).allParam, changed) || bms_overlap(state.key_params, changed);
        let build_again = params || !(*state.build.source.node).chgParam.is_null();
        let (probe, build) = (state.probe.source.node, state.build.source.node);
        state.restart(build_again);
        state.probe.source.restart();
        custom_node::rescan_child(node, probe);
        if state.phase == super::state::Phase::Build {
            state.build.source.restart();
            custom_node::rescan_child(node, build);
        }
        ExecScanReScan(&raw mut (*node).ss);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(state) = custom_node::known_state::<State>(node) {
            state.spill.forget();
        }
        for child in pointers::<PlanState>((*node).custom_ps) {
            ExecEndNode(child);
        }
        custom_node::drop_state::<State>(node);
    }
}
