//! From a plan to the node's state.

use super::functions::{equality_of, function_of};
use super::plan::{self, Mode};
use super::server::Server;
use super::spill::Spill;
use super::state::{Call, State};
use crate::execution::aggregate::{Equality, Function, Groups, Order};
use crate::execution::batch::Kind;
use crate::execution::expression::{Compiler, kind_of};
use crate::pg::compat::{self, pointers};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, *};
use std::result::Result;

/// # Safety
/// `node` must be in its begin callback, with its child.
pub unsafe fn compile(node: *mut CustomScanState, scan: *mut CustomScan) -> Result<State, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let (mode, columns, keys, calls) = plan::decode((*scan).custom_private);
        let entries: Vec<*mut pg_sys::Node> =
            pointers::<TargetEntry>((*scan).custom_scan_tlist).iter().map(|entry| (**entry).expr.cast()).collect();
        let inputs: Vec<Option<Kind>> = entries.iter().take(columns).map(|entry| kind_of(exprType(*entry))).collect();
        let expressions = pointers::<pg_sys::Node>((*scan).custom_exprs);
        let parent = &raw mut (*node).ss.ps;
        let mut compiler = Compiler::new(INDEX_VAR, inputs.clone(), parent, (*node).ss.ss_ScanTupleSlot);
        let key_types = plan::Grouping { keys: keys.clone(), calls: Vec::new() }.key_types(&entries);
        let mut server = Server::default();
        let mut found = Vec::new();
        for (number, call) in calls.into_iter().enumerate() {
            let Some(aggref) = entries.get(call.place).map(|entry| &*entry.cast::<Aggref>()) else { continue };
            let function = function_of(aggref).map_err(|reason| OrochiError::Internal(reason.into()))?;
            compat::check_execute(aggref.aggfnoid, ObjectType::OBJECT_AGGREGATE);
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
                    distinct: None,
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
                distinct: distinct_of(aggref, &key_types).map(Box::new),
            });
        }
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
            tables: 1,
        };
        state.share_memory();
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

/// A table for the different arguments of a call with DISTINCT, by group.
///
/// # Safety
/// As for [`aggregated_type`].
unsafe fn distinct_of(call: &Aggref, key_types: &[(Kind, Equality)]) -> Option<State> {
    // SAFETY: the caller's promise.
    unsafe {
        let entry = pointers::<TargetEntry>(call.args).first().copied().filter(|_| !call.aggdistinct.is_null())?;
        let argument = (*entry).expr.cast();
        let own = (kind_of(exprType(argument))?, equality_of(argument)?);
        Some(State::of_keys(key_types.iter().copied().chain(Some(own)).collect()))
    }
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
