//! Paths that join batches.

use super::node;
use super::plan::{self, Columns, Shape, Way};
use crate::execution::aggregate::Equality;
use crate::execution::batch::Kind;
use crate::execution::batch_path::{
    BatchPath, batch_cost, batch_source, can_project, fitting_target, gives_batches, have_kinds,
};
use crate::execution::custom_node::Methods;
use crate::execution::expression::kind_of;
use crate::execution::vector_aggregate::equality_of;
use crate::pg::compat::{list, pointers};
use crate::pg::error::OrochiError;
use crate::settings;
use pgrx::pg_guard;
use pgrx::pg_sys::*;

/// Makes the plan of a path.
pub static PATH_METHODS: Methods<CustomPathMethods> = Methods(CustomPathMethods {
    CustomName: node::NAME.as_ptr(),
    PlanCustomPath: Some(plan_path),
    ReparameterizeCustomPathByChild: None,
});

/// Adding a row to the table, in units of `cpu_operator_cost`; so much for each of its columns, too.
const BUILD_ROW_COST: f64 = 0.4;
const BUILD_COLUMN_COST: f64 = 0.1;
/// Looking for a row in a small table, likewise, and how much more where the table does not fit the processor's caches.
const PROBE_COST: f64 = 0.15;
const MISS_COST: f64 = 0.35;
/// Bytes from which on most looks at the table miss the caches.
const CACHE_BYTES: f64 = 4e6;
/// Giving a value, likewise.
const VALUE_COST: f64 = 0.05;

/// Our path: what all have that give batches, then ours.
#[repr(C)]
struct JoinPath {
    base: BatchPath,
    way: Way,
    clauses: Clauses,
}

/// Conditions of a join, in lists of expressions.
#[derive(Clone, Copy)]
struct Clauses {
    probe_keys: *mut List,
    build_keys: *mut List,
    /// What pairs have to meet besides.
    residual: *mut List,
    /// What rows have to meet that come out.
    others: *mut List,
}

/// A join as the planner asks for it.
struct Join {
    root: *mut PlannerInfo,
    output: *mut RelOptInfo,
    kind: JoinType::Type,
    restrictions: Vec<*mut RestrictInfo>,
}

/// Adds paths that join batches, where one side gives such.
///
/// # Safety
/// Arguments as core passes them to `set_join_pathlist_hook`.
#[pg_guard]
pub unsafe extern "C-unwind" fn add_paths(
    root: *mut PlannerInfo,
    output: *mut RelOptInfo,
    outer: *mut RelOptInfo,
    inner: *mut RelOptInfo,
    kind: JoinType::Type,
    extra: *mut JoinPathExtraData,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let query = (*root).parse;
        // Rows that are locked or changed are looked up again one by one.
        let plain = (*query).commandType == CmdType::CMD_SELECT && (*root).rowMarks.is_null();
        if !settings::enable_vectorized_execution() || !enable_hashjoin || !plain || !(*output).lateral_relids.is_null()
        {
            return;
        }
        let mut restrictions = pointers::<RestrictInfo>((*extra).restrictlist);
        // What a security barrier has to see first comes first.
        restrictions.sort_by_key(|info| (**info).security_level);
        if restrictions.iter().any(|info| (**info).pseudoconstant) {
            return;
        }
        let join = Join { root, output, kind, restrictions };
        let (way, swapped) = match kind {
            JoinType::JOIN_INNER => (Way::Inner, None),
            JoinType::JOIN_LEFT => (Way::ProbeOuter, None),
            JoinType::JOIN_RIGHT => (Way::BuildOuter, None),
            JoinType::JOIN_FULL => (Way::Full, None),
            // The planner does not ask for these the other way round in all versions, so that is done here.
            JoinType::JOIN_SEMI => (Way::ProbeSemi, Some(Way::BuildSemi)),
            JoinType::JOIN_ANTI => (Way::ProbeAnti, Some(Way::BuildAnti)),
            _ => return,
        };
        join.add(outer, inner, way);
        if let Some(way) = swapped {
            join.add(inner, outer, way);
        }
    }
}

impl Join {
    /// Adds the paths that read `probe` in batches and keep `build` in memory.
    ///
    /// # Safety
    /// As for [`add_paths`], here and below.
    unsafe fn add(&self, probe: *mut RelOptInfo, build: *mut RelOptInfo, way: Way) {
        // SAFETY: the caller's promise.
        unsafe {
            let Some(clauses) = self.clauses(probe, build) else { return };
            // Rows of the build side come out at the end, when the rows that met them have gone.
            let named = pull_varnos(self.root, (*(*self.output).reltarget).exprs.cast());
            if way == Way::BuildSemi && bms_overlap(named, (*probe).relids) {
                return;
            }
            if let Some(source) = batch_source((*probe).pathlist)
                && let Some(table) = build_source(build, false)
            {
                add_path(self.output, self.path(source, table, way, clauses, (*self.output).rows).cast());
            }
            // Each worker has a table of its own, and knows only which rows it met itself.
            if (*self.output).consider_parallel
                && !way.marks()
                && let Some(source) = batch_source((*probe).partial_pathlist)
                && let Some(table) = build_source(build, true)
            {
                let share = if (*probe).rows > 0.0 { ((*source).rows / (*probe).rows).min(1.0) } else { 1.0 };
                let path = self.path(source, table, way, clauses, clamp_row_est((*self.output).rows * share));
                add_partial_path(self.output, path.cast());
            }
        }
    }

    /// Sorts the conditions; `None` if no key is among them, or something that batches cannot do.
    unsafe fn clauses(&self, probe: *mut RelOptInfo, build: *mut RelOptInfo) -> Option<Clauses> {
        let nil = std::ptr::null_mut();
        let mut found = Clauses { probe_keys: nil, build_keys: nil, residual: nil, others: nil };
        // SAFETY: the caller's promise.
        unsafe {
            let outer = matches!(
                self.kind,
                JoinType::JOIN_LEFT | JoinType::JOIN_RIGHT | JoinType::JOIN_FULL | JoinType::JOIN_ANTI
            );
            for info in &self.restrictions {
                let clause = (**info).clause.cast::<Node>();
                if contain_volatile_functions(clause) || contain_subplans(clause) {
                    return None;
                }
                let above = (**info).is_pushed_down || !bms_is_subset((**info).required_relids, (*self.output).relids);
                if outer && above {
                    found.others = lappend(found.others, clause.cast());
                } else if let Some((left, right)) = key_of(*info, probe, build) {
                    found.probe_keys = lappend(found.probe_keys, left.cast());
                    found.build_keys = lappend(found.build_keys, right.cast());
                } else {
                    found.residual = lappend(found.residual, clause.cast());
                }
            }
        }
        let usable = !found.probe_keys.is_null();
        usable.then_some(found)
    }

    unsafe fn path(&self, probe: *mut Path, build: *mut Path, way: Way, clauses: Clauses, rows: f64) -> *mut JoinPath {
        // SAFETY: the caller's promise; the path is zeroed, then its fields are set.
        unsafe {
            let target = (*self.output).reltarget;
            let found = palloc0(size_of::<JoinPath>()).cast::<JoinPath>();
            (*found).way = way;
            (*found).clauses = clauses;
            (*found).base.batches = can_project(clauses.others);
            (*found).base.target = fitting_target(self.output);
            let base = &raw mut (*found).base.base;
            (*base).path.type_ = NodeTag::T_CustomPath;
            (*base).path.pathtype = NodeTag::T_CustomScan;
            (*base).path.parent = self.output;
            (*base).path.pathtarget = target;
            (*base).path.parallel_safe =
                (*self.output).consider_parallel && (*probe).parallel_safe && (*build).parallel_safe;
            (*base).path.parallel_workers = (*probe).parallel_workers;
            (*base).path.rows = rows;
            (*base).custom_paths = list([probe, build]);
            (*base).flags = CUSTOMPATH_SUPPORT_PROJECTION;
            (*base).methods = &raw const PATH_METHODS.0;
            let cost = self.cost(probe, build, &clauses, rows);
            let conditions = f64::from(list_length(clauses.others)) * cpu_operator_cost;
            (*found).base.batch_cost = cost.total;
            (*base).path.startup_cost = cost.startup;
            (*base).path.total_cost =
                cost.total + rows * (cpu_tuple_cost + conditions + (*target).cost.per_tuple) + (*target).cost.startup;
            found
        }
    }

    /// What it costs to give the rows in batches.
    unsafe fn cost(&self, probe: *mut Path, build: *mut Path, clauses: &Clauses, rows: f64) -> PathCost {
        // SAFETY: the caller's promise.
        unsafe {
            let keys = f64::from(list_length(clauses.probe_keys));
            let columns = f64::from(list_length((*(*build).pathtarget).exprs));
            let bytes = table_bytes(build, keys);
            let table = (*build).rows * (BUILD_ROW_COST * keys + BUILD_COLUMN_COST * columns) * cpu_operator_cost;
            let miss = MISS_COST * bytes / (bytes + CACHE_BYTES);
            let looks = (*probe).rows * (PROBE_COST + miss) * keys * cpu_operator_cost;
            let mut residual = QualCost::default();
            cost_qual_eval(&mut residual, clauses.residual, self.root);
            let values = f64::from(list_length((*(*self.output).reltarget).exprs));
            let pairs = rows * (values * VALUE_COST * cpu_operator_cost + residual.per_tuple * VALUE_COST);
            let mut startup = batch_cost(build) + table + residual.startup;
            let mut run = batch_cost(probe) + looks + pairs;
            if bytes > get_hash_memory_limit() as f64 {
                let pages = |path: *mut Path| (*path).rows * row_bytes(path) / f64::from(BLCKSZ);
                startup += (seq_page_cost + cpu_tuple_cost * 8.0) * pages(build);
                run += (seq_page_cost + cpu_tuple_cost * 8.0) * (pages(build) + 2.0 * pages(probe));
            }
            let before_first = startup + (*probe).startup_cost;
            PathCost { startup: before_first.min(startup + run), total: startup + run }
        }
    }
}

/// What a path costs.
struct PathCost {
    startup: Cost,
    total: Cost,
}

/// Bytes of a row in a temporary file.
///
/// # Safety
/// `path` must be a path.
unsafe fn row_bytes(path: *mut Path) -> f64 {
    // SAFETY: the caller's promise.
    unsafe { 8.0 + f64::from((*(*path).pathtarget).width) + 4.0 * f64::from(list_length((*(*path).pathtarget).exprs)) }
}

/// Bytes of the table with the rows of a path.
///
/// # Safety
/// `path` must be a path.
unsafe fn table_bytes(path: *mut Path, keys: f64) -> f64 {
    // SAFETY: the caller's promise.
    unsafe {
        let columns = f64::from(list_length((*(*path).pathtarget).exprs));
        let width = f64::from((*(*path).pathtarget).width).max(columns * 8.0);
        (*path).rows * (width + 8.0 * keys + 12.0)
    }
}

/// The cheapest way to read the build side.
///
/// # Safety
/// As for [`add_paths`].
unsafe fn build_source(rel: *mut RelOptInfo, parallel: bool) -> Option<*mut Path> {
    // SAFETY: the caller's promise.
    unsafe {
        let own = (*rel).reltarget;
        let own_fits = have_kinds((*own).exprs);
        let fits = |target: *mut PathTarget| if target == own { own_fits } else { have_kinds((*target).exprs) };
        let usable = pointers::<Path>((*rel).pathlist).into_iter().filter(|path| {
            (**path).param_info.is_null() && (!parallel || (**path).parallel_safe) && fits((**path).pathtarget)
        });
        usable.min_by(|a, b| batch_cost(*a).total_cmp(&batch_cost(*b)))
    }
}

/// The sides of an equality that a table can be searched by.
///
/// # Safety
/// As for [`add_paths`].
unsafe fn key_of(
    info: *mut RestrictInfo,
    probe: *mut RelOptInfo,
    build: *mut RelOptInfo,
) -> Option<(*mut Node, *mut Node)> {
    // SAFETY: the caller's promise; the node has the type that its tag says.
    unsafe {
        let clause = (*info).clause.cast::<OpExpr>();
        if !(*info).can_join || (*info).hashjoinoperator == InvalidOid || (*clause).xpr.type_ != NodeTag::T_OpExpr {
            return None;
        }
        let &[left, right] = pointers::<Node>((*clause).args).as_slice() else { return None };
        let lie = |a: *mut RelOptInfo, b: *mut RelOptInfo| {
            bms_is_subset((*info).left_relids, (*a).relids) && bms_is_subset((*info).right_relids, (*b).relids)
        };
        let known = (*clause).inputcollid == InvalidOid || get_collation_isdeterministic((*clause).inputcollid);
        if !known || !alike(left, right) || !is_default_equality((*clause).opno, exprType(left)) {
            return None;
        }
        match (lie(probe, build), lie(build, probe)) {
            (true, _) => Some((left, right)),
            (_, true) => Some((right, left)),
            _ => None,
        }
    }
}

/// Whether values of two expressions are equal where their words are.
///
/// # Safety
/// Both must be expressions of the query that is being planned.
unsafe fn alike(left: *mut Node, right: *mut Node) -> bool {
    let known = |side: *mut Node| -> Option<(Kind, Equality)> {
        // SAFETY: the caller's promise.
        unsafe { Some((kind_of(exprType(side))?, equality_of(side)?)) }
    };
    match (known(left), known(right)) {
        (Some((Kind::Word(_), _)), Some((Kind::Word(_), _))) => true,
        (Some((_, Equality::Content)), Some((_, Equality::Content))) => true,
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Whether an operator is the equality by which a type's values are hashed by default.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn is_default_equality(operator: Oid, type_oid: Oid) -> bool {
    // SAFETY: the caller's promise; catalog look-ups.
    unsafe {
        let family = (*lookup_type_cache(type_oid, TYPECACHE_HASH_OPFAMILY as i32)).hash_opf;
        family != InvalidOid && op_in_opfamily(operator, family)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn plan_path(
    _root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    path: *mut CustomPath,
    targets: *mut List,
    _clauses: *mut List,
    plans: *mut List,
) -> *mut Plan {
    // SAFETY: core's arguments; the node is zeroed, then its fields are set.
    unsafe {
        let JoinPath { way, clauses, .. } = *path.cast::<JoinPath>();
        let &[probe, build] = pointers::<Plan>(plans).as_slice() else {
            OrochiError::Internal("a join has not two sides".into()).raise();
        };
        let output = |plan: *mut Plan| {
            pointers::<TargetEntry>((*plan).targetlist).into_iter().map(|entry| (*entry).expr.cast::<Node>())
        };
        let (probe_columns, build_columns) = (output(probe).count(), output(build).count());
        let mut columns = Columns(output(probe).chain(output(build)).collect());
        // There are no targets where a projection puts its own in their place afterwards; that is over what the relation puts out.
        columns.name_as_in(pointers::<Node>((*(*rel).reltarget).exprs));
        columns.name_as_in(pointers::<TargetEntry>(targets).into_iter().map(|entry| (*entry).expr.cast()));
        columns.name_as_in(pointers::<Node>(clauses.others));
        let scan = palloc0(size_of::<CustomScan>()).cast::<CustomScan>();
        (*scan).scan.plan.type_ = NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = targets;
        (*scan).scan.plan.qual = clauses.others;
        (*scan).flags = (*path).flags;
        (*scan).methods = &raw const node::SCAN_METHODS.0;
        (*scan).custom_plans = plans;
        for (number, expression) in columns.0.iter().enumerate() {
            let copy = copyObjectImpl(expression.cast()).cast::<Expr>();
            let entry = makeTargetEntry(copy, number as i16 + 1, std::ptr::null_mut(), false);
            (*scan).custom_scan_tlist = lappend((*scan).custom_scan_tlist, entry.cast());
        }
        for list in [clauses.probe_keys, clauses.build_keys, clauses.residual] {
            for condition in pointers::<Node>(list) {
                (*scan).custom_exprs = lappend((*scan).custom_exprs, columns.renamed(condition).cast());
            }
        }
        let keys = list_length(clauses.probe_keys) as usize;
        let build_batches = pointers::<Path>((*path).custom_paths).last().is_some_and(|build| gives_batches(*build));
        let (probe, build) = (probe_columns, build_columns);
        (*scan).custom_private = plan::encode(&Shape { way, probe, build, keys, build_batches });
        scan.cast()
    }
}
