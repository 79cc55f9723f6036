//! Paths whose rows can be asked for in batches, by nodes of ours above them.

use super::expression::kind_of;
use super::{planning, vector_join};
use crate::pg::compat::pointers;
use pgrx::pg_sys::*;

/// Core's part, whose costs are those of the rows one by one, then ours.
#[repr(C)]
pub struct BatchPath {
    pub base: CustomPath,
    /// Total cost if the rows are asked for in batches.
    pub batch_cost: Cost,
    /// The node's conditions can be evaluated for batches.
    pub batches: bool,
    /// What the path puts out to begin with, if that can be evaluated for batches.
    pub target: *mut PathTarget,
}

/// Our path below projections that it does itself, if it is one; owns nothing and raises nothing.
///
/// # Safety
/// `path` must be a path.
unsafe fn batch_path(path: *mut Path) -> Option<*mut BatchPath> {
    // SAFETY: the caller's promise; each path has the type that its tag says.
    unsafe {
        let below = match (*path).type_ {
            NodeTag::T_ProjectionPath => (*path.cast::<ProjectionPath>()).subpath,
            _ => path,
        };
        if (*below).type_ != NodeTag::T_CustomPath {
            return None;
        }
        let methods = (*below.cast::<CustomPath>()).methods;
        let ours = std::ptr::eq(methods, &raw const planning::PATH_METHODS.0)
            || std::ptr::eq(methods, &raw const vector_join::planning::PATH_METHODS.0);
        ours.then_some(below.cast())
    }
}

/// Whether some path of a relation is one of ours. Not guarded: every query that joins or groups asks.
///
/// # Safety
/// `rel` must be a relation of the planner's.
pub unsafe fn reads_columnar(rel: *mut RelOptInfo) -> bool {
    // SAFETY: the caller's promise; the list's elements are paths.
    unsafe {
        let list = (*rel).pathlist;
        !list.is_null()
            && (0..(*list).length as usize)
                .any(|index| batch_path((*(*list).elements.add(index)).ptr_value.cast()).is_some())
    }
}

/// The cheapest path among those of a relation that give batches.
///
/// # Safety
/// `paths` must be a list of paths.
pub unsafe fn batch_source(paths: *mut List) -> Option<*mut Path> {
    // SAFETY: the caller's promise.
    unsafe {
        let found =
            pointers::<Path>(paths).into_iter().filter(|path| (**path).param_info.is_null() && gives_batches(*path));
        found.min_by(|a, b| batch_cost(*a).total_cmp(&batch_cost(*b)))
    }
}

/// Whether the rows of a path can be asked for in batches.
///
/// # Safety
/// `path` must be a path.
pub unsafe fn gives_batches(path: *mut Path) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let target = (*path).pathtarget;
        let known = |found: *mut BatchPath| (*found).target == target || can_project((*target).exprs);
        batch_path(path).is_some_and(|found| (*found).batches && known(found))
    }
}

/// What a path costs if its rows are asked for in batches where that is possible.
///
/// # Safety
/// `path` must be a path.
pub unsafe fn batch_cost(path: *mut Path) -> Cost {
    // SAFETY: the caller's promise.
    unsafe {
        match batch_path(path) {
            Some(found) if gives_batches(path) => (*found).batch_cost,
            _ => (*path).total_cost,
        }
    }
}

/// A relation's own target, if it can be evaluated for batches.
///
/// # Safety
/// `rel` must be a relation of the planner's.
pub unsafe fn fitting_target(rel: *mut RelOptInfo) -> *mut PathTarget {
    // SAFETY: the caller's promise.
    unsafe {
        let target = (*rel).reltarget;
        if can_project((*target).exprs) { target } else { std::ptr::null_mut() }
    }
}

/// Whether expressions can be evaluated for batches.
///
/// # Safety
/// `expressions` must be a list of expressions.
pub unsafe fn can_project(expressions: *mut List) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let flags = (PVC_RECURSE_AGGREGATES | PVC_RECURSE_PLACEHOLDERS | PVC_RECURSE_WINDOWFUNCS) as i32;
        !contain_volatile_functions(expressions.cast())
            && !contain_subplans(expressions.cast())
            && !expression_returns_set(expressions.cast())
            && pointers::<Var>(pull_var_clause(expressions.cast(), flags)).iter().all(|var| (**var).varattno > 0)
            && have_kinds(expressions)
    }
}

/// Whether columns can hold the values of expressions.
///
/// A column of anonymous rows cannot be one: whoever prints the name of a field of it follows the column down to the
/// expression that makes the rows, and only through nodes of PostgreSQL's own.
///
/// # Safety
/// As for [`can_project`].
pub unsafe fn have_kinds(expressions: *mut List) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        pointers::<Node>(expressions).into_iter().all(|expression| {
            let of = exprType(expression);
            kind_of(of).is_some() && !(of == RECORDOID && (*expression).type_ == NodeTag::T_Var)
        })
    }
}
