//! What the planner hands to the executor: which rows come out, and how the sides' rows are compared.
//!
//! The plan's `custom_scan_tlist` is the output of the probe side, then that of the build side, then columns of either under other names: from 16 on
//! a column above an outer join is not the same Var as below it. `custom_exprs` holds the probe side's keys, the build side's, and the conditions that
//! pairs have to meet besides; `custom_private` holds numbers.

use crate::pg::compat::int_list;
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The columns that are there once more, behind those of both sides.
    pub aliases: Vec<usize>,
}

/// Writes the shape for `custom_private`.
///
/// # Safety
/// The current memory context must be the plan's.
pub unsafe fn encode(shape: &Shape) -> *mut List {
    let Shape { way, probe, build, keys, build_batches, .. } = shape;
    let numbers = [*way as usize, *probe, *build, *keys, usize::from(*build_batches)];
    let numbers =
        numbers.into_iter().map(|number| number as i32).chain(shape.aliases.iter().map(|column| *column as i32));
    // SAFETY: the caller's promise.
    numbers.fold(std::ptr::null_mut(), |list, number| unsafe { pg_sys::lappend_int(list, number) })
}

/// Reads what [`encode`] wrote.
///
/// # Safety
/// `list` must come from [`encode`], or be a copy.
pub unsafe fn decode(list: *mut List) -> Option<Shape> {
    // SAFETY: the caller's promise.
    let numbers: Vec<usize> = unsafe { int_list(list) }.into_iter().map(|number| number as usize).collect();
    let (&[way, probe, build, keys, batches], aliases) = numbers.split_first_chunk()?;
    let (way, build_batches) = (*Way::ALL.get(way)?, batches == 1);
    Some(Shape { way, probe, build, keys, build_batches, aliases: aliases.to_vec() })
}

/// The columns of both sides, and those that expressions name otherwise.
pub struct Columns {
    /// All of them.
    pub entries: Vec<*mut Node>,
    /// How many are the sides' own.
    own: usize,
    /// What each of the others is.
    pub aliases: Vec<usize>,
}

impl Columns {
    /// Those of the sides.
    pub fn new(entries: Vec<*mut Node>) -> Self {
        Self { own: entries.len(), entries, aliases: Vec::new() }
    }

    /// Adds what the expressions name otherwise.
    ///
    /// # Safety
    /// `expressions` must be expressions over the sides' columns; here and below each node has the type that its tag says.
    pub unsafe fn add_aliases(&mut self, expressions: impl IntoIterator<Item = *mut Node>) {
        for expression in expressions {
            // SAFETY: the caller's promise.
            unsafe { visit(expression, (&raw mut *self).cast()) };
        }
    }

    /// The sides' column that an expression is but for the outer joins that it stands above.
    unsafe fn original(&self, expression: *mut Node) -> Option<usize> {
        let own = self.entries.get(..self.own).unwrap_or_default();
        // SAFETY: the caller's promise.
        own.iter().position(|known| unsafe {
            match ((**known).type_, (*expression).type_) {
                (NodeTag::T_Var, NodeTag::T_Var) => {
                    let (a, b) = (&*known.cast::<Var>(), &*expression.cast::<Var>());
                    (a.varno, a.varattno, a.varlevelsup) == (b.varno, b.varattno, b.varlevelsup)
                }
                (NodeTag::T_PlaceHolderVar, NodeTag::T_PlaceHolderVar) => {
                    let (a, b) = (&*known.cast::<PlaceHolderVar>(), &*expression.cast::<PlaceHolderVar>());
                    (a.phid, a.phlevelsup) == (b.phid, b.phlevelsup)
                }
                _ => false,
            }
        })
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `add_aliases` with its columns, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(columns) = context.cast::<Columns>().as_mut().filter(|_| !node.is_null()) else { return false };
        if columns.entries.iter().any(|known| pg_sys::equal(known.cast(), node.cast())) {
            return false;
        }
        if let Some(place) = columns.original(node) {
            columns.entries.push(node);
            columns.aliases.push(place);
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(visit), context)
    }
}
