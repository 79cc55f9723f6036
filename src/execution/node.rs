//! The node ColumnarScan: reads the columns that a query needs and skips what zone maps rule out.
//!
//! The scan itself is the access method's, with a filter. To PostgreSQL's nodes rows are given one by one, to ours in [batches](super::batches).

use super::batches::Batches;
use super::custom_node::{self, Methods};
use super::predicate::{Finder, Predicate};
use super::zone_filter::{SharedFilter, ZoneFilter};
use super::{explain, parallel};
use crate::columnar::{scan, slot};
use crate::pg::Rel;
use crate::pg::compat::{custom_scan, pointers};
use crate::pg::error::OrRaise;
use crate::pg::error_fields::keep;
use crate::pg::unguarded;
use pgrx::pg_sys::*;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;
use std::rc::Rc;
use std::result::Result;

/// Name of the node in plans.
pub const NAME: &std::ffi::CStr = c"ColumnarScan";

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
    EstimateDSMCustomScan: Some(parallel::estimate),
    InitializeDSMCustomScan: Some(parallel::initialize),
    ReInitializeDSMCustomScan: Some(parallel::reinitialize),
    InitializeWorkerCustomScan: Some(parallel::initialize_worker),
    ShutdownCustomScan: Some(parallel::shutdown),
    ExplainCustomScan: Some(explain::explain),
});

/// Makes the node known by name, for plans that come from another process.
pub fn register() {
    // SAFETY: called while the library is loaded; the methods are constant.
    unsafe { RegisterCustomScanMethods(&raw const SCAN_METHODS.0) }
}

/// The node, if it is a columnar scan that can be asked for batches.
///
/// # Safety
/// `node` must have begun.
pub unsafe fn batch_giver(node: *mut PlanState) -> Option<*mut CustomScanState> {
    // SAFETY: the caller's promise.
    unsafe { custom_node::with_methods(node, &raw const EXEC_METHODS.0) }
}

/// What the node knows besides core's part.
pub struct State {
    /// Clauses that zone maps decide.
    pub predicates: Vec<Predicate>,
    /// What the scan reads.
    pub filter: SharedFilter,
    /// The conditions have the values of this scan.
    current: bool,
    /// The workers' shared memory has gone, and the scan with it.
    pub finished: bool,
    /// Where the result has each column, if it consists of columns and [`Self::predicates`] are all clauses.
    places: Option<Box<[Option<u16>]>>,
    /// Once a node above has asked for batches.
    pub batches: Option<Batches>,
}

/// Our part of a node.
///
/// # Safety
/// `node` must come from [`create`], and no other reference to its state may be in use.
pub unsafe fn state<'a>(node: *mut CustomScanState) -> &'a mut State {
    // SAFETY: the caller's promise.
    unsafe { custom_node::state(node) }
}

#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut CustomScan) -> *mut pg_sys::Node {
    let filter = SharedFilter(Rc::new(RefCell::new(ZoneFilter::new(Rc::new([])))));
    let state = State { predicates: Vec::new(), filter, current: false, finished: false, places: None, batches: None };
    // SAFETY: core makes nodes in the memory of the query.
    unsafe {
        let node = custom_node::create(&raw const EXEC_METHODS.0, Some(state)).cast::<CustomScanState>();
        custom_scan::set_slot_ops(node, slot::ops());
        node.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, _flags: i32) {
    // SAFETY: core's arguments; it has opened the relation.
    unsafe {
        custom_scan::apply_slot_ops(node, estate, slot::ops());
        let plan = (*node).ss.ps.plan;
        let relation = (*plan.cast::<Scan>()).scanrelid;
        let desc = (*(*node).ss.ss_currentRelation).rd_att;
        let columns = wanted_columns([(*plan).targetlist, (*plan).qual], relation, (*desc).natts);
        let state = state(node);
        state.filter = SharedFilter(Rc::new(RefCell::new(ZoneFilter::new(columns.into()))));
        let finder = Finder { relation: relation as i32, desc, parent: &raw mut (*node).ss.ps };
        state.predicates = finder.find((*plan).qual);
        if state.predicates.len() == list_length((*plan).qual) as usize {
            state.places = result_places(node, relation as i32, (*desc).natts);
        }
    }
}

/// Which columns of a relation the expressions name. A whole row names all.
///
/// # Safety
/// Each list must be a list of expressions; `relation` is the relation's range table index and `natts` its columns.
pub unsafe fn wanted_columns<const N: usize>(lists: [*mut List; N], relation: Index, natts: i32) -> Vec<bool> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut used = std::ptr::null_mut();
        for list in lists {
            pull_varattnos(list.cast(), relation, &mut used);
        }
        let named = |attribute: i32| bms_is_member(attribute - FirstLowInvalidHeapAttributeNumber, used);
        let whole = named(0);
        let columns = (1..=natts).map(|attribute| whole || named(attribute)).collect();
        bms_free(used);
        columns
    }
}

/// Where the node's result has each column of the relation. `None` if it has anything but columns, has one twice, or is the row as it is.
///
/// # Safety
/// `node` must have been begun by core.
unsafe fn result_places(node: *mut CustomScanState, relation: i32, natts: i32) -> Option<Box<[Option<u16>]>> {
    // SAFETY: the caller's promise; a target list has target entries.
    unsafe {
        let result = (*node).ss.ps.ps_ResultTupleSlot;
        if (*node).ss.ps.ps_ProjInfo.is_null() || (*result).tts_ops != &raw const TTSOpsVirtual {
            return None;
        }
        let mut places = vec![None; usize::try_from(natts).ok()?];
        for (place, entry) in pointers::<TargetEntry>((*(*node).ss.ps.plan).targetlist).into_iter().enumerate() {
            let var = (*entry).expr.cast::<Var>();
            if (*var).xpr.type_ != NodeTag::T_Var || (*var).varno != relation || (*var).varlevelsup != 0 {
                return None;
            }
            let slot = places.get_mut(usize::try_from((*var).varattno).ok()?.checked_sub(1)?)?;
            if slot.replace(u16::try_from(place).ok()?).is_some() {
                return None;
            }
        }
        Some(places.into())
    }
}

/// The next row, if it is at hand, projected, and known to meet all clauses. Not guarded, and calls nothing that can fail.
///
/// # Safety
/// `node` must have begun.
#[inline]
unsafe fn projected(node: *mut CustomScanState) -> Option<*mut TupleTableSlot> {
    // SAFETY: the caller's promise.
    unsafe {
        let scan = &raw mut (*node).ss;
        let estate = &*(*scan).ps.state;
        let state = custom_node::known_state::<State>(node)?;
        let places = state.places.as_deref()?;
        let usual = estate.es_epq_active.is_null() && is_forward(estate);
        if !usual || !state.current || state.finished || (*scan).ss_currentScanDesc.is_null() {
            return None;
        }
        let result = (*scan).ps.ps_ResultTupleSlot;
        scan::next_projected((*scan).ss_currentScanDesc, (*scan).ss_ScanTupleSlot, result, places).then_some(result)
    }
}

fn is_forward(estate: &EState) -> bool {
    estate.es_direction >= ScanDirection::NoMovementScanDirection
}

/// Not guarded: what clauses raise passes over this frame, which owns nothing, as it was raised.
unsafe extern "C-unwind" fn execute(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: core's arguments.
    unsafe {
        match projected(node) {
            Some(slot) => slot,
            None => unguarded::ExecScan(&raw mut (*node).ss, Some(next), Some(recheck)),
        }
    }
}

/// The next row, not yet filtered by clauses. Not guarded, for most rows are at hand.
unsafe extern "C-unwind" fn next(scan: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: called by ExecScan with the node that `execute` passed.
    unsafe {
        let slot = (*scan).ss_ScanTupleSlot;
        let at_hand = custom_node::known_state::<State>(scan.cast())
            .is_some_and(|state| state.current && !state.finished)
            && is_forward(&*(*scan).ps.state)
            && !(*scan).ss_currentScanDesc.is_null()
            && scan::next_ready((*scan).ss_currentScanDesc, slot);
        if at_hand { slot } else { search(scan) }
    }
}

/// Reads on until a row is found.
#[pg_guard]
unsafe extern "C-unwind" fn search(scan: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: called by `next` with its own argument.
    keep(|| unsafe {
        let node = scan.cast::<CustomScanState>();
        let slot = (*scan).ss_ScanTupleSlot;
        let state = state(node);
        if state.finished {
            return ExecClearTuple(slot);
        }
        prepare(node, state);
        scan::next((*scan).ss_currentScanDesc, is_forward(&*(*scan).ps.state), slot);
        slot
    })
}

/// Begins the scan and evaluates its conditions, if that has not been done.
///
/// # Safety
/// `node` must have begun, and `state` be its state.
pub unsafe fn prepare(node: *mut CustomScanState, state: &mut State) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*node).ss.ss_currentScanDesc.is_null() {
            begin_scan(node, state);
        }
        if !state.current {
            evaluate(node, state);
        }
    }
}

/// A row that came from elsewhere (EvalPlanQual) has to meet no more than the clauses, which ExecScan checks.
#[pg_guard]
unsafe extern "C-unwind" fn recheck(_scan: *mut ScanState, _slot: *mut TupleTableSlot) -> bool {
    true
}

/// Begins a scan that no worker shares.
///
/// # Safety
/// `node` must have begun, and `state` be its state.
unsafe fn begin_scan(node: *mut CustomScanState, state: &State) {
    let flags = ScanOptions::SO_TYPE_SEQSCAN | ScanOptions::SO_ALLOW_STRAT | ScanOptions::SO_ALLOW_PAGEMODE;
    // SAFETY: the caller's promise; the scan lives as long as the query.
    unsafe {
        let estate = (*node).ss.ps.state;
        let old = MemoryContextSwitchTo((*estate).es_query_cxt);
        let table = Rel::new((*node).ss.ss_currentRelation);
        let desc = scan::begin(table, (*estate).es_snapshot, std::ptr::null_mut(), flags);
        (*node).ss.ss_currentScanDesc = desc;
        scan::set_filter(desc, Box::new(state.filter.clone()));
        MemoryContextSwitchTo(old);
    }
}

/// Gives the conditions the values that the clauses have now.
///
/// # Safety
/// As for [`begin_scan`].
unsafe fn evaluate(node: *mut CustomScanState, state: &mut State) {
    // SAFETY: the caller's promise.
    let conditions = unsafe {
        let context = (*node).ss.ps.ps_ExprContext;
        let old = MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
        let conditions =
            state.predicates.iter().map(|predicate| predicate.condition(context)).collect::<Result<_, _>>();
        MemoryContextSwitchTo(old);
        conditions.or_raise()
    };
    state.filter.0.borrow_mut().set_conditions(conditions);
    state.current = true;
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        let state = state(node);
        state.current = false;
        if let Some(batches) = &mut state.batches {
            batches.restart();
        }
        if state.finished {
            end_scan(node);
            state.finished = false;
        } else if !(*node).ss.ss_currentScanDesc.is_null() {
            scan::rescan((*node).ss.ss_currentScanDesc);
        }
        ExecScanReScan(&raw mut (*node).ss);
    }
}

/// Ends the scan, if there is one.
///
/// # Safety
/// `node` must have begun.
pub unsafe fn end_scan(node: *mut CustomScanState) {
    // SAFETY: the caller's promise. The slot may point into what the scan holds.
    unsafe {
        let desc = std::mem::replace(&mut (*node).ss.ss_currentScanDesc, std::ptr::null_mut());
        if !desc.is_null() {
            ExecClearTuple((*node).ss.ss_ScanTupleSlot);
            scan::end(desc);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: core's arguments.
    unsafe {
        end_scan(node);
        custom_node::drop_state::<State>(node);
    }
}
