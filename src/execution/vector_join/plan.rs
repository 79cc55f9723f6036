//! What the planner hands to the executor: which rows come out, and how the sides' rows are compared.
//!
//! The plan's `custom_scan_tlist` is the output of the probe side, then that of the build side. `custom_exprs` holds the probe side's keys, the build side's, and the conditions that
//! pairs have to meet besides; `custom_private` holds numbers.

use crate::pg::compat::{self, int_list};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, List, Node, NodeTag, PlaceHolderVar, Var};
use std::ffi::c_void;

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Pairs.
    Inner,
    /// Pairs, and rows of the probe side without one.
    ProbeOuter,
    /// Pairs, and rows of the build side without one.
    BuildOuter,
    /// Pairs, and rows of both sides without one.
    Full,
    /// Rows of the probe side that are in a pair.
    ProbeSemi,
    /// Rows of the probe side that are in none.
    ProbeAnti,
    /// Rows of the build side that are in a pair.
    BuildSemi,
    /// Rows of the build side that are in none.
    BuildAnti,
}

impl Way {
    const ALL: [Way; 8] = [
        Way::Inner,
        Way::ProbeOuter,
        Way::BuildOuter,
        Way::Full,
        Way::ProbeSemi,
        Way::ProbeAnti,
        Way::BuildSemi,
        Way::BuildAnti,
    ];

    /// Whether rows of the probe side come out that have no pair.
    pub fn gives_lone_probe(self) -> bool {
        matches!(self, Way::ProbeOuter | Way::Full | Way::ProbeAnti)
    }

    /// Whether rows of the build side come out that have no pair.
    pub fn gives_lone_build(self) -> bool {
        matches!(self, Way::BuildOuter | Way::Full | Way::BuildAnti)
    }

    /// Whether rows of the build side come out by whether they were met, at the end.
    pub fn marks(self) -> bool {
        self.gives_lone_build() || self == Way::BuildSemi
    }

    /// Whether pairs come out.
    pub fn gives_pairs(self) -> bool {
        matches!(self, Way::Inner | Way::ProbeOuter | Way::BuildOuter | Way::Full)
    }

    /// For EXPLAIN, as PostgreSQL calls it where the probe side is on the left.
    pub fn name(self) -> &'static std::ffi::CStr {
        match self {
            Way::Inner => c"Inner",
            Way::ProbeOuter => c"Left",
            Way::BuildOuter => c"Right",
            Way::Full => c"Full",
            Way::ProbeSemi => c"Semi",
            Way::ProbeAnti => c"Anti",
            Way::BuildSemi => c"Right Semi",
            Way::BuildAnti => c"Right Anti",
        }
    }
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub way: Way,
    /// Columns of the probe side.
    pub probe: usize,
    /// Columns of the build side.
    pub build: usize,
    /// Keys of each side.
    pub keys: usize,
    /// Whether the build side gives batches; the probe side always does.
    pub build_batches: bool,
}

/// Writes the shape for `custom_private`.
///
/// # Safety
/// The current memory context must be the plan's.
pub unsafe fn encode(shape: &Shape) -> *mut List {
    let Shape { way, probe, build, keys, build_batches } = *shape;
    let numbers = [way as usize, probe, build, keys, usize::from(build_batches)].map(|number| number as i32);
    // SAFETY: the caller's promise.
    numbers.into_iter().fold(std::ptr::null_mut(), |list, number| unsafe { pg_sys::lappend_int(list, number) })
}

/// Reads what [`encode`] wrote.
///
/// # Safety
/// `list` must come from [`encode`], or be a copy.
pub unsafe fn decode(list: *mut List) -> Option<Shape> {
    // SAFETY: the caller's promise.
    let numbers: Vec<usize> = unsafe { int_list(list) }.into_iter().map(|number| number as usize).collect();
    let &[way, probe, build, keys, batches] = numbers.as_slice() else { return None };
    Some(Shape { way: *Way::ALL.get(way)?, probe, build, keys, build_batches: batches == 1 })
}

/// The columns of both sides, as the expressions above the join name them.
///
/// From 16 on a Var says which outer joins it stands above, so that the join's own conditions and what comes out of it name a column differently. Core finds a
/// column of `custom_scan_tlist` by its first name only, which has to be that of the target list, for there other nodes look, too; conditions are
/// our own and can be changed.
pub struct Columns(pub Vec<*mut Node>);

impl Columns {
    /// Takes over the names that columns have in expressions.
    ///
    /// # Safety
    /// `expressions` must be expressions over the columns; here and below each node has the type that its tag says.
    pub unsafe fn name_as_in(&mut self, expressions: impl IntoIterator<Item = *mut Node>) {
        for expression in expressions {
            // SAFETY: the caller's promise.
            unsafe { name(expression, (&raw mut *self).cast()) };
        }
    }

    /// A copy of a condition that names columns as they are named here.
    ///
    /// # Safety
    /// As for [`Self::name_as_in`].
    pub unsafe fn renamed(&mut self, condition: *mut Node) -> *mut Node {
        // SAFETY: the caller's promise; the copy is nobody else's.
        unsafe {
            let copy = pg_sys::copyObjectImpl(condition.cast()).cast::<Node>();
            rename(copy, (&raw mut *self).cast());
            copy
        }
    }

    /// The column that an expression is, but for the outer joins that it stands above.
    unsafe fn place(&self, expression: *mut Node) -> Option<usize> {
        // SAFETY: the caller's promise.
        self.0.iter().position(|known| unsafe {
            match ((**known).type_, (*expression).type_) {
                (NodeTag::T_Var, NodeTag::T_Var) => {
                    let (a, b) = (&*known.cast::<Var>(), &*expression.cast::<Var>());
                    (a.varno, a.varattno, a.varlevelsup) == (b.varno, b.varattno, b.varlevelsup)
                }
                (NodeTag::T_PlaceHolderVar, NodeTag::T_PlaceHolderVar) => {
                    let (a, b) = (&*known.cast::<PlaceHolderVar>(), &*expression.cast::<PlaceHolderVar>());
                    (a.phid, a.phlevelsup) == (b.phid, b.phlevelsup)
                }
                _ => pg_sys::equal(known.cast(), expression.cast()),
            }
        })
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn name(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `name_as_in` with its columns, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(columns) = context.cast::<Columns>().as_mut().filter(|_| !node.is_null()) else { return false };
        match columns.place(node) {
            Some(place) => {
                columns.0[place] = node;
                false
            }
            None => pg_sys::expression_tree_walker(node, Some(name), context),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rename(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `renamed` with its columns and a copy, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(columns) = context.cast::<Columns>().as_mut().filter(|_| !node.is_null()) else { return false };
        match columns.place(node) {
            Some(place) => {
                compat::take_nulling_joins(node, columns.0[place]);
                false
            }
            None => pg_sys::expression_tree_walker(node, Some(rename), context),
        }
    }
}
