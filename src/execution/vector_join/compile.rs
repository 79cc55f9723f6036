//! From a plan to the node's state.

use super::plan;
use super::state::{Phase, Side, State};
use crate::execution::aggregate::Equality;
use crate::execution::batch::Kind;
use crate::execution::batch_path::can_project;
use crate::execution::batches::Source;
use crate::execution::expression::{Compiler, Root, kind_of};
use crate::execution::join::{Marks, Table};
use crate::execution::node::wanted_columns;
use crate::execution::vector_aggregate::equality_of;
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, *};
use std::rc::Rc;
use std::result::Result;

/// # Safety
/// `node` must be in its begin callback, with these children.
pub unsafe fn compile(
    node: *mut CustomScanState,
    probe: *mut PlanState,
    build: *mut PlanState,
) -> Result<State, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let scan = (*node).ss.ps.plan.cast::<CustomScan>();
        let shape = plan::decode((*scan).custom_private)
            .ok_or_else(|| OrochiError::Internal("the plan of a join cannot be read".into()))?;
        let entries = pointers::<TargetEntry>((*scan).custom_scan_tlist);
        let kinds: Vec<Option<Kind>> = entries.iter().map(|entry| kind_of(exprType((**entry).expr.cast()))).collect();
        let expressions = pointers::<pg_sys::Node>((*scan).custom_exprs);
        let (probe_keys, rest) = expressions.split_at_checked(shape.keys).unwrap_or_default();
        let (build_keys, residual) = rest.split_at_checked(shape.keys).unwrap_or_default();
        let compiler = || Compiler::new(INDEX_VAR, kinds.clone(), &raw mut (*node).ss.ps, (*node).ss.ss_ScanTupleSlot);
        let side = |keys: &[*mut pg_sys::Node], first: usize, columns: usize, child: *mut PlanState, batches: bool| {
            let mut compiler = compiler();
            let keys = add(&mut compiler, keys)?;
            let kinds = kinds.get(first..first + columns).unwrap_or_default().to_vec();
            Ok::<Side, OrochiError>(Side {
                program: compiler.finish(),
                keys,
                first,
                source: Source::new(child, kinds, batches),
            })
        };
        let key_types: Vec<(Kind, Equality)> = build_keys.iter().filter_map(|key| key_type(*key)).collect();
        if key_types.len() != shape.keys {
            return Err(OrochiError::Internal("a key of a join cannot be compared".into()));
        }
        let key_params = build_keys
            .iter()
            .fold(std::ptr::null_mut(), |params, key| bms_add_members(params, pull_paramids(key.cast())));
        let plan = (*node).ss.ps.plan;
        let mut compiler_of_pairs = compiler();
        let targets: Vec<*mut pg_sys::Node> =
            pointers::<TargetEntry>((*plan).targetlist).iter().map(|entry| (**entry).expr.cast()).collect();
        let residual = add(&mut compiler_of_pairs, residual)?;
        // What cannot be given in batches is not asked for in batches.
        let batches = can_project((*plan).qual) && targets.iter().all(|target| kind_of(exprType(*target)).is_some());
        let (others, output) = match batches {
            true => (add(&mut compiler_of_pairs, &pointers((*plan).qual))?, add(&mut compiler_of_pairs, &targets)?),
            false => (Vec::new(), Vec::new()),
        };
        let named = wanted_columns([(*plan).targetlist, (*plan).qual], INDEX_VAR as Index, kinds.len() as i32);
        let mut state = State {
            build: side(build_keys, shape.probe, shape.build, build, shape.build_batches)?,
            probe: side(probe_keys, 0, shape.probe, probe, true)?,
            table: Table::new(&key_types),
            key_types,
            key_params,
            kinds: kinds.into(),
            shape,
            program: compiler_of_pairs.finish(),
            residual,
            others,
            output,
            wanted: (0..named.len()).filter(|column| named[*column]).collect(),
            phase: Phase::Build,
            columns: Rc::default(),
            marks: Marks::default(),
            probing: None,
            rows: None,
            spill: Default::default(),
            removed: 0,
            peak: 0,
            table_rows: 0,
        };
        state.forget_build();
        Ok(state)
    }
}

/// # Safety
/// As for [`Compiler::add`].
unsafe fn add(compiler: &mut Compiler, expressions: &[*mut pg_sys::Node]) -> Result<Vec<Root>, OrochiError> {
    // SAFETY: the caller's promise.
    expressions.iter().map(|expression| unsafe { compiler.add(*expression) }).collect()
}

/// How the values of a key are told apart.
///
/// # Safety
/// `key` must be an expression.
unsafe fn key_type(key: *mut pg_sys::Node) -> Option<(Kind, Equality)> {
    // SAFETY: the caller's promise.
    unsafe { Some((kind_of(exprType(key))?, equality_of(key)?)) }
}
