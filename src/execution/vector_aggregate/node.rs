//! The node's life.

use super::functions::function_of;
use super::plan::Mode;
use super::server::Server;
use super::spill::Spill;
use super::{output, plan};
use crate::execution::aggregate::{Aggregate, Equality, Function, Groups, Order, OutOfMemory, Trouble};
use crate::execution::batch::{Column, Kind, MAX_ROWS};
use crate::execution::batches::{Batch, next_batch};
use crate::execution::expression::{Compiler, Input, Program, Root, kind_of};
use crate::execution::node::Methods;
use crate::monitor::counters::{self, Counter};
use crate::pg::compat::pointers;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::memory::ContextOwned;
use crate::pg::unguarded;
use pgrx::pg_sys::*;
use pgrx::{pg_guard, pg_sys};
use std::rc::Rc;
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

/// An aggregate of the query.
pub struct Call {
    /// Which of the aggregates it is.
    pub number: usize,
    /// Its column in the slot.
    pub place: usize,
    /// Type of the result.
    pub type_oid: Oid,
    argument: Option<Root>,
    condition: Option<Root>,
    function: Function,
    kind: Option<Kind>,
    /// The child's column that has its states, if it has such.
    pub state: Option<usize>,
}

/// What the node knows besides core's part.
pub struct State {
    pub mode: Mode,
    program: Program,
    /// Kinds of the child's columns.
    inputs: Vec<Option<Kind>>,
    /// The child's columns that are keys.
    pub keys: Vec<usize>,
    pub key_types: Vec<(Kind, Equality)>,
    pub calls: Vec<Call>,
    pub groups: Groups,
    pub aggregates: Vec<Aggregate>,
    pub server: Server,
    /// The child has been read.
    filled: bool,
    /// The group that comes next.
    next: usize,
    /// Most bytes that the hash table had.
    pub peak: usize,
    pub spill: Spill,
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

/// # Safety
/// `node` must be in its begin callback, with its child.
unsafe fn compile(node: *mut CustomScanState, scan: *mut CustomScan) -> Result<State, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let (mode, columns, keys, calls) = plan::decode((*scan).custom_private);
        let entries: Vec<*mut pg_sys::Node> =
            pointers::<TargetEntry>((*scan).custom_scan_tlist).iter().map(|entry| (**entry).expr.cast()).collect();
        let inputs: Vec<Option<Kind>> = entries.iter().take(columns).map(|entry| kind_of(exprType(*entry))).collect();
        let expressions = pointers::<pg_sys::Node>((*scan).custom_exprs);
        let parent = &raw mut (*node).ss.ps;
        let mut compiler = Compiler::new(INDEX_VAR, inputs.clone(), parent, (*node).ss.ss_ScanTupleSlot);
        let mut server = Server::default();
        let mut found = Vec::new();
        for (number, call) in calls.into_iter().enumerate() {
            let Some(aggref) = entries.get(call.place).map(|entry| &*entry.cast::<Aggref>()) else { continue };
            let function = function_of(aggref).map_err(|reason| OrochiError::Internal(reason.into()))?;
            if mode == Mode::Final {
                let argument_type = aggregated_type(aggref);
                let (kind, type_oid) = (argument_type.and_then(kind_of), aggref.aggtype);
                server.comparisons.push(comparison(function, argument_type, aggref.inputcollid));
                let state = call.argument;
                found.push(Call {
                    number,
                    place: call.place,
                    type_oid,
                    argument: None,
                    condition: None,
                    function,
                    kind,
                    state,
                });
                continue;
            }
            let expression = |place: Option<usize>| place.and_then(|place| expressions.get(place).copied());
            let argument_type = expression(call.argument).map(|argument| exprType(argument));
            server.comparisons.push(comparison(function, argument_type, aggref.inputcollid));
            found.push(Call {
                number,
                place: call.place,
                type_oid: aggref.aggtype,
                argument: expression(call.argument).map(|argument| compiler.add(argument)).transpose()?,
                condition: expression(call.condition).map(|condition| compiler.add(condition)).transpose()?,
                function,
                kind: argument_type.and_then(kind_of),
                state: None,
            });
        }
        let key_types = plan::Grouping { keys: keys.clone(), calls: Vec::new() }.key_types(&entries);
        let groups = Groups::new(key_types.iter().copied());
        let mut state = State {
            mode,
            program: compiler.finish(),
            inputs,
            keys,
            key_types,
            calls: found,
            groups,
            aggregates: Vec::new(),
            server,
            filled: false,
            next: 0,
            peak: 0,
            spill: Spill::default(),
        };
        state.clear();
        Ok(state)
    }
}

/// Type of what a call aggregates.
///
/// # Safety
/// `call` must be valid.
unsafe fn aggregated_type(call: &Aggref) -> Option<Oid> {
    // SAFETY: the caller's promise.
    unsafe { pointers::<TargetEntry>(call.args).first().map(|entry| exprType((**entry).expr.cast())) }
}

/// The comparison that an aggregate needs.
///
/// # Safety
/// As for [`Server::comparison`].
unsafe fn comparison(function: Function, argument: Option<Oid>, collation: Oid) -> Option<(Box<FmgrInfo>, Oid)> {
    match function {
        // SAFETY: the caller's promise.
        Function::Extreme { order: Order::Server, .. } => unsafe { Server::comparison(argument?, collation) },
        _ => None,
    }
}

impl State {
    /// Forgets all rows.
    fn clear(&mut self) {
        self.start_over();
        self.spill = Spill::default();
        self.filled = false;
    }

    /// Forgets all groups.
    pub fn start_over(&mut self) {
        self.groups = Groups::new(self.key_types.iter().copied());
        self.aggregates = self.calls.iter().map(|call| Aggregate::new(call.function, call.kind, call.number)).collect();
        self.next = 0;
    }

    /// Bytes that groups and aggregates hold.
    pub fn memory(&self) -> usize {
        self.groups.memory() + self.aggregates.iter().map(Aggregate::memory).sum::<usize>()
    }

    /// Adds the rows of a batch.
    fn add(&mut self, batch: &Batch, scratch: &mut [u32; MAX_ROWS]) -> Result<(), OrochiError> {
        let mut input = ChildInput(batch);
        self.program.next_batch();
        let groups = if self.keys.is_empty() {
            None
        } else {
            let keys: Vec<&Column> =
                self.keys.iter().filter_map(|key| batch.columns.get(*key)).map(|key| &**key).collect();
            self.groups.assign(&keys, &batch.rows, scratch).map_err(short)?;
            Some(&scratch[..])
        };
        for (call, aggregate) in self.calls.iter().zip(&mut self.aggregates) {
            aggregate.grow(self.groups.len()).map_err(short)?;
            let mut rows = batch.rows;
            if let Some(condition) = call.condition {
                self.program.filter(condition, &mut rows, &mut input)?;
            }
            let argument = match call.argument {
                Some(argument) => Some(self.program.evaluate(argument, &rows, &mut input)?),
                None => None,
            };
            aggregate.add(argument.as_deref(), &rows, groups, &mut self.server).map_err(trouble)?;
        }
        Ok(())
    }
}

/// Memory is short.
pub fn short(_: OutOfMemory) -> OrochiError {
    OrochiError::OutOfMemory { detail: "Failed on the groups of an aggregate.".into() }
}

/// What PostgreSQL's aggregates raise.
pub fn trouble(trouble: Trouble) -> OrochiError {
    match trouble {
        Trouble::OutOfMemory => short(OutOfMemory),
        Trouble::Overflow => OrochiError::FloatOverflow,
    }
}

/// The columns of a batch.
struct ChildInput<'a>(&'a Batch);

impl Input for ChildInput<'_> {
    fn len(&self) -> usize {
        self.0.len
    }

    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError> {
        let missing = || OrochiError::Internal(format!("a batch has no column {number}"));
        self.0.columns.get(number).cloned().ok_or_else(missing)
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
