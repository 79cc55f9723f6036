//! What the planner hands to the executor: which columns are keys, and what is aggregated.
//!
//! The plan's `custom_scan_tlist` is the child's output followed by the aggregates, so that setrefs.c turns what the node puts out into references
//! to these places. `custom_exprs` holds the arguments of the aggregates and the conditions of their FILTER clauses, which setrefs.c turns into
//! references to the child's output; `custom_private` holds numbers.

use super::functions::{equality_of, function_of};
use crate::execution::aggregate::Equality;
use crate::execution::batch::Kind;
use crate::execution::expression::kind_of;
use crate::pg::compat::{int_list, pointers};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, Aggref, List, Node, NodeTag, TargetEntry};
use std::ffi::c_void;

/// What a node takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows become results.
    Whole,
    /// Rows become states, which another node of this kind puts together.
    Partial,
    /// States become results.
    Final,
}

/// A grouping of a child's output.
pub struct Grouping {
    /// Columns of the child that are keys, in order.
    pub keys: Vec<usize>,
    /// The different aggregates.
    pub calls: Vec<*mut Aggref>,
}

/// Looks for what the expressions need besides the keys.
struct Search<'a> {
    child: &'a [*mut Node],
    keys: Vec<usize>,
    calls: Vec<*mut Aggref>,
    missing: bool,
}

impl Grouping {
    /// How `output` and `having` come out of the child's columns, grouped by `groups`. An error says what keeps it from being vectorised.
    ///
    /// # Safety
    /// Lists of expressions of the query that is being planned; here and below each node has the type that its tag says.
    pub unsafe fn find(
        child: &[*mut Node],
        groups: &[*mut Node],
        output: &[*mut Node],
    ) -> Result<Grouping, &'static str> {
        // SAFETY: the caller's promise.
        unsafe {
            let mut search = Search { child, keys: Vec::new(), calls: Vec::new(), missing: false };
            for group in groups {
                let place = search.place(*group).ok_or("a grouping expression that is not computed below")?;
                search.add_key(place);
            }
            for expression in output {
                visit(*expression, (&raw mut search).cast());
            }
            if search.missing {
                return Err("an expression that is not computed below");
            }
            for key in &search.keys {
                let expression = child[*key];
                equality_of(expression).ok_or("a grouping expression of a type or collation that is not vectorized")?;
            }
            if search.keys.len() > 60 {
                return Err("more than 60 grouping expressions");
            }
            for call in &search.calls {
                function_of(&**call)?;
                let parts =
                    pointers::<TargetEntry>((**call).args).into_iter().map(|entry| (*entry).expr.cast::<Node>());
                for part in parts.chain(Some((**call).aggfilter.cast::<Node>())).filter(|part| !part.is_null()) {
                    if pg_sys::contain_volatile_functions(part) || pg_sys::contain_subplans(part) {
                        return Err("a volatile function or a subquery in an aggregate");
                    }
                    if kind_of(pg_sys::exprType(part)).is_none() {
                        return Err("an aggregate of a pseudo-type");
                    }
                }
            }
            Ok(Grouping { keys: search.keys, calls: search.calls })
        }
    }

    /// Kind and equality of each key.
    ///
    /// # Safety
    /// As for [`Self::find`], with the same child.
    pub unsafe fn key_types(&self, child: &[*mut Node]) -> Vec<(Kind, Equality)> {
        // SAFETY: the caller's promise.
        let types = self.keys.iter().filter_map(|key| unsafe {
            let expression = *child.get(*key)?;
            Some((kind_of(pg_sys::exprType(expression))?, equality_of(expression)?))
        });
        types.collect()
    }
}

impl Search<'_> {
    /// The child's column that an expression is.
    unsafe fn place(&self, expression: *mut Node) -> Option<usize> {
        // SAFETY: both are expressions.
        self.child.iter().position(|known| unsafe { pg_sys::equal(known.cast(), expression.cast()) })
    }

    fn add_key(&mut self, place: usize) {
        if !self.keys.contains(&place) {
            self.keys.push(place);
        }
    }
}

/// Walks an expression down to aggregates and to what the child computes, which becomes a key: what is not grouped by, but may stand beside
/// aggregates, depends on what is, so that it makes no further groups.
#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `find` with its search, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(search) = context.cast::<Search<'_>>().as_mut().filter(|_| !node.is_null()) else { return false };
        if (*node).type_ == NodeTag::T_Aggref {
            let call = node.cast::<Aggref>();
            if !search.calls.iter().any(|known| pg_sys::equal(known.cast(), node.cast())) {
                search.calls.push(call);
            }
            return false;
        }
        if let Some(place) = search.place(node) {
            search.add_key(place);
            return false;
        }
        if matches!(
            (*node).type_,
            NodeTag::T_Var
                | NodeTag::T_PlaceHolderVar
                | NodeTag::T_SubPlan
                | NodeTag::T_AlternativeSubPlan
                | NodeTag::T_GroupingFunc
        ) {
            search.missing = true;
            return true;
        }
        pg_sys::expression_tree_walker(node, Some(visit), context)
    }
}

/// The column of a child that has the states of an aggregate.
///
/// # Safety
/// As for [`Grouping::find`].
pub unsafe fn state_column(child: &[*mut Node], call: *mut Aggref) -> Option<usize> {
    // SAFETY: the caller's promise.
    child.iter().position(|known| unsafe {
        (**known).type_ == NodeTag::T_Aggref && (*known.cast::<Aggref>()).aggno == (*call).aggno
    })
}

/// What [`decode`] gives back of an aggregate.
pub struct Call {
    /// Where the result goes in `custom_scan_tlist`.
    pub place: usize,
    /// Where its argument is in `custom_exprs`, or its state among the child's columns.
    pub argument: Option<usize>,
    /// Where its condition is in `custom_exprs`.
    pub condition: Option<usize>,
}

/// Numbers for `custom_private`: the mode, how many columns the child has, how many keys and which, then for each aggregate its argument and
/// condition.
///
/// # Safety
/// The current memory context must be the plan's.
pub unsafe fn encode(
    mode: Mode,
    columns: usize,
    keys: &[usize],
    calls: &[(Option<usize>, Option<usize>)],
) -> *mut List {
    let number = |place: &Option<usize>| place.map_or(-1, |place| place as i32);
    let numbers = [mode as i32, columns as i32, keys.len() as i32]
        .into_iter()
        .chain(keys.iter().map(|key| *key as i32))
        .chain(calls.iter().flat_map(|(argument, condition)| [number(argument), number(condition)]));
    // SAFETY: the caller's promise.
    numbers.fold(std::ptr::null_mut(), |list, number| unsafe { pg_sys::lappend_int(list, number) })
}

/// Reads what [`encode`] wrote: the mode, the child's columns, the keys, and the aggregates.
///
/// # Safety
/// `list` must come from [`encode`], or be a copy.
pub unsafe fn decode(list: *mut List) -> (Mode, usize, Vec<usize>, Vec<Call>) {
    // SAFETY: the caller's promise.
    let numbers = unsafe { int_list(list) };
    let place = |number: &i32| usize::try_from(*number).ok();
    let at = |index: usize| numbers.get(index).and_then(place).unwrap_or(0);
    let mode = match at(0) {
        1 => Mode::Partial,
        2 => Mode::Final,
        _ => Mode::Whole,
    };
    let (columns, keys) = (at(1), at(2));
    let (keys, calls) = numbers.get(3..).unwrap_or_default().split_at_checked(keys).unwrap_or_default();
    let calls = calls.as_chunks::<2>().0.iter().enumerate().map(|(number, [argument, condition])| Call {
        place: columns + number,
        argument: place(argument),
        condition: place(condition),
    });
    (mode, columns, keys.iter().filter_map(place).collect(), calls.collect())
}
