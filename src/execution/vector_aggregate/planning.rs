//! Paths that aggregate batches.

use super::node;
use super::plan::{self, Grouping, Mode};
use crate::execution::batch_path::{batch_cost, batch_source};
use crate::execution::custom_node::Methods;
use crate::pg::compat::{list, pointers};
use crate::pg::error::OrRaise;
use crate::pg::error::OrochiError;
use crate::settings;
use pgrx::pg_guard;
use pgrx::pg_sys::*;
use std::result::Result;

static PATH_METHODS: Methods<CustomPathMethods> = Methods(CustomPathMethods {
    CustomName: node::NAME.as_ptr(),
    PlanCustomPath: Some(plan_path),
    ReparameterizeCustomPathByChild: None,
});

/// Adding a value to a group, or finding the group by a key, in units of `cpu_operator_cost`.
const VALUE_COST: f64 = 0.15;

/// Our path: core's part, then ours.
#[repr(C)]
struct AggregatePath {
    base: CustomPath,
    /// The conditions of HAVING.
    having: *mut List,
    mode: Mode,
    /// All that is put out is a key, as for SELECT DISTINCT.
    keys_only: bool,
}

/// What a query's aggregation consists of.
struct Aggregation {
    root: *mut PlannerInfo,
    output: *mut RelOptInfo,
    having: *mut List,
    groups: Vec<*mut Node>,
    /// Expressions that have to be computed: the output's and those of HAVING.
    wanted: Vec<*mut Node>,
    /// The output.
    target: *mut PathTarget,
    keys_only: bool,
}

/// Adds a path that aggregates batches, if all that the query's aggregation needs is vectorised.
///
/// # Safety
/// Arguments as core passes them to `create_upper_paths_hook` for `UPPERREL_GROUP_AGG`.
pub unsafe fn add_paths(
    root: *mut PlannerInfo,
    input: *mut RelOptInfo,
    output: *mut RelOptInfo,
    extra: *mut GroupPathExtraData,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let query = (*root).parse;
        if !settings::enable_vectorized_execution() || !(*query).groupingSets.is_null() || extra.is_null() {
            return;
        }
        let having = (*extra).havingQual.cast::<List>();
        let target = (*output).reltarget;
        let mut wanted = pointers::<Node>((*target).exprs);
        wanted.extend(pointers::<Node>(having));
        let groups = group_expressions(root);
        Aggregation { root, output, having, groups, wanted, target, keys_only: false }.add(input);
    }
}

/// Adds a path that leaves out the rows of SELECT DISTINCT that were there before, if all columns are of types that can be told apart.
///
/// # Safety
/// Arguments as core passes them to `create_upper_paths_hook` for `UPPERREL_DISTINCT`.
pub unsafe fn add_distinct_paths(root: *mut PlannerInfo, input: *mut RelOptInfo, output: *mut RelOptInfo) {
    // SAFETY: the caller's promise.
    unsafe {
        if !settings::enable_vectorized_execution() || (*(*root).parse).hasDistinctOn {
            return;
        }
        let Some(child) = batch_source((*input).pathlist) else { return };
        let target = (*child).pathtarget;
        let columns = pointers::<Node>((*target).exprs);
        let (groups, wanted, having) = (columns.clone(), columns, std::ptr::null_mut());
        Aggregation { root, output, having, groups, wanted, target, keys_only: true }.add(input);
    }
}

/// # Safety
/// As for [`add_paths`].
unsafe fn group_expressions(root: *mut PlannerInfo) -> Vec<*mut Node> {
    // SAFETY: the caller's promise. From 16 on the clauses that are left are in the planner's own list.
    unsafe {
        let clauses = crate::pg::compat::group_clauses(root);
        pointers::<Node>(get_sortgrouplist_exprs(clauses, (*root).processed_tlist))
    }
}

impl Aggregation {
    /// Adds the paths that there are above those of a relation.
    ///
    /// # Safety
    /// As for [`add_paths`].
    unsafe fn add(&self, input: *mut RelOptInfo) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(child) = batch_source((*input).pathlist)
                && let Ok(grouping) = self.grouping(child)
            {
                let path = self.path(child, batch_cost(child), &grouping, Mode::Whole, self.target).cast::<Path>();
                self.drop_dearer_sorted(path);
                add_path(self.output, path);
            }
            if (*self.output).consider_parallel
                && let Some(child) = batch_source((*input).partial_pathlist)
                && let Ok(grouping) = self.grouping(child)
                // What is the same in two workers would count twice.
                && grouping.calls.iter().all(|call| (**call).aggdistinct.is_null())
            {
                self.add_parallel_path(child, &grouping);
            }
        }
    }

    /// Removes sorted paths that cost no less than ours with a sort of its groups. Where most of the cost lies below, which both share, the planner
    /// takes them to be equal, and the sorted one to be better; but that one asks for rows, of which there may be many more than it expects.
    ///
    /// # Safety
    /// As for [`add_paths`].
    unsafe fn drop_dearer_sorted(&self, ours: *mut Path) {
        // SAFETY: the caller's promise.
        unsafe {
            let groups = (*ours).rows.max(2.0);
            let sort = groups * (groups.log2() * 2.0 + 1.0) * cpu_operator_cost;
            for path in pointers::<Path>((*self.output).pathlist) {
                let dearer = (*path).total_cost >= (*ours).total_cost + sort;
                // One that gives its first rows early may be what a LIMIT needs.
                if dearer && !(*path).pathkeys.is_null() && (*path).startup_cost >= (*ours).startup_cost * 0.99 {
                    (*self.output).pathlist = list_delete_ptr((*self.output).pathlist, path.cast());
                }
            }
        }
    }

    /// How the output comes out of a child's rows.
    ///
    /// # Safety
    /// As for [`add_paths`], here and below.
    unsafe fn grouping(&self, child: *mut Path) -> Result<Grouping, &'static str> {
        // SAFETY: the caller's promise.
        let found =
            unsafe { Grouping::find(&pointers::<Node>((*(*child).pathtarget).exprs), &self.groups, &self.wanted) }?;
        // Without keys there is a group also of no rows.
        if found.keys.is_empty() && (self.keys_only || !self.groups.is_empty()) {
            return Err("nothing to group by");
        }
        Ok(found)
    }

    /// How many groups so many rows have.
    unsafe fn group_count(&self, rows: f64) -> f64 {
        if self.groups.is_empty() {
            return 1.0;
        }
        // SAFETY: the caller's promise.
        unsafe {
            let groups = list(self.groups.iter().copied());
            estimate_num_groups(self.root, groups, rows, std::ptr::null_mut(), std::ptr::null_mut())
        }
    }

    /// A path above a child, reading which costs `cost`.
    unsafe fn path(
        &self,
        child: *mut Path,
        cost: Cost,
        grouping: &Grouping,
        mode: Mode,
        target: *mut PathTarget,
    ) -> *mut AggregatePath {
        // SAFETY: the caller's promise; the path is zeroed, then its fields are set.
        unsafe {
            let groups = self.group_count((*child).rows);
            let calls = grouping.calls.len();
            let having = if mode == Mode::Partial { std::ptr::null_mut() } else { self.having };
            // PostgreSQL has estimated what HAVING leaves.
            let known = pointers::<Path>((*self.output).pathlist).first().map(|path| (**path).rows);
            let values = (grouping.keys.len() * 2 + calls) as f64;
            let path = palloc0(size_of::<AggregatePath>()).cast::<AggregatePath>();
            let base = &raw mut (*path).base;
            (*base).path.type_ = NodeTag::T_CustomPath;
            (*base).path.pathtype = NodeTag::T_CustomScan;
            (*base).path.parent = self.output;
            (*base).path.pathtarget = target;
            (*base).path.parallel_safe = (*self.output).consider_parallel && (*child).parallel_safe;
            (*base).path.parallel_workers = if mode == Mode::Partial { (*child).parallel_workers } else { 0 };
            (*base).path.rows = known.filter(|_| mode != Mode::Partial).unwrap_or(groups);
            (*base).path.startup_cost = cost + (*child).rows * values * VALUE_COST * cpu_operator_cost;
            let output = cpu_tuple_cost + cpu_operator_cost * (calls + list_length(having) as usize) as f64;
            (*base).path.total_cost = (*base).path.startup_cost + groups * output;
            (*base).custom_paths = lappend(std::ptr::null_mut(), child.cast());
            (*base).flags = CUSTOMPATH_SUPPORT_PROJECTION;
            (*base).methods = &raw const PATH_METHODS.0;
            (*path).having = having;
            (*path).mode = mode;
            (*path).keys_only = self.keys_only;
            path
        }
    }

    /// Adds a path that puts together what workers have aggregated.
    unsafe fn add_parallel_path(&self, child: *mut Path, grouping: &Grouping) {
        // SAFETY: the caller's promise.
        unsafe {
            let target = partial_target(self.root, child, grouping);
            let partial = &raw mut (*self.path(child, batch_cost(child), grouping, Mode::Partial, target)).base.path;
            let mut rows = (*partial).rows * f64::from((*partial).parallel_workers.max(1) + 1);
            let gather = create_gather_path(self.root, self.output, partial, target, std::ptr::null_mut(), &mut rows);
            let gather = gather.cast::<Path>();
            let path = self.path(gather, (*gather).total_cost, grouping, Mode::Final, self.target);
            add_path(self.output, path.cast());
        }
    }
}

/// What a partial aggregation puts out: the keys, and of each aggregate its state, as `bytea`.
///
/// # Safety
/// As for [`add_paths`].
unsafe fn partial_target(root: *mut PlannerInfo, child: *mut Path, grouping: &Grouping) -> *mut PathTarget {
    // SAFETY: the caller's promise.
    unsafe {
        let target = create_empty_pathtarget();
        let columns = pointers::<Node>((*(*child).pathtarget).exprs);
        for key in grouping.keys.iter().filter_map(|key| columns.get(*key)) {
            add_column_to_pathtarget(target, key.cast(), 0);
        }
        for call in &grouping.calls {
            let partial = palloc0(size_of::<Aggref>()).cast::<Aggref>();
            *partial = **call;
            (*partial).aggsplit = AggSplit::AGGSPLIT_INITIAL_SERIAL;
            (*partial).aggtype = BYTEAOID;
            (*partial).aggcollid = InvalidOid;
            add_column_to_pathtarget(target, partial.cast(), 0);
        }
        set_pathtarget_cost_width(root, target)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn plan_path(
    root: *mut PlannerInfo,
    _rel: *mut RelOptInfo,
    path: *mut CustomPath,
    targets: *mut List,
    _clauses: *mut List,
    plans: *mut List,
) -> *mut Plan {
    // SAFETY: core's arguments; the node is zeroed, then its fields are set.
    unsafe {
        let AggregatePath { having, mode, keys_only, .. } = *path.cast::<AggregatePath>();
        let Some(child) = pointers::<Plan>(plans).first().copied() else {
            OrochiError::Internal("an aggregate has nothing to aggregate".into()).raise();
        };
        let columns: Vec<*mut Node> =
            pointers::<TargetEntry>((*child).targetlist).iter().map(|entry| (**entry).expr.cast()).collect();
        let mut wanted: Vec<*mut Node> =
            pointers::<TargetEntry>(targets).iter().map(|entry| (**entry).expr.cast()).collect();
        wanted.extend(pointers::<Node>(having));
        // What a partial aggregation puts out is keys and states.
        let groups = if mode == Mode::Partial || keys_only { Vec::new() } else { group_expressions(root) };
        let grouping = Grouping::find(&columns, &groups, &wanted)
            .map_err(|reason| OrochiError::Internal(format!("an aggregation was planned in spite of {reason}")))
            .or_raise();
        let scan = palloc0(size_of::<CustomScan>()).cast::<CustomScan>();
        (*scan).scan.plan.type_ = NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = targets;
        (*scan).scan.plan.qual = having;
        (*scan).flags = (*path).flags;
        (*scan).methods = &raw const node::SCAN_METHODS.0;
        (*scan).custom_plans = plans;
        fill(scan, &columns, &grouping, mode);
        scan.cast()
    }
}

/// Sets the lists that describe the aggregation.
///
/// # Safety
/// `scan` must be the plan that is being made.
unsafe fn fill(scan: *mut CustomScan, columns: &[*mut Node], grouping: &Grouping, mode: Mode) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut list = std::ptr::null_mut();
        let entries = columns.iter().copied().chain(grouping.calls.iter().map(|call| call.cast()));
        for (number, expression) in entries.enumerate() {
            let copy = copyObjectImpl(expression.cast()).cast::<Expr>();
            let entry = makeTargetEntry(copy, number as i16 + 1, std::ptr::null_mut(), false);
            list = lappend(list, entry.cast());
        }
        (*scan).custom_scan_tlist = list;
        let mut expressions: Vec<*mut Node> = Vec::new();
        let mut calls = Vec::new();
        for call in &grouping.calls {
            if mode == Mode::Final {
                calls.push((plan::state_column(columns, *call), None));
                continue;
            }
            let mut place = |expression: *mut Node| {
                (!expression.is_null()).then(|| {
                    expressions.push(expression);
                    expressions.len() - 1
                })
            };
            let argument = pointers::<TargetEntry>((**call).args).first().map(|entry| (**entry).expr.cast());
            calls.push((argument.and_then(&mut place), place((**call).aggfilter.cast())));
        }
        for expression in expressions {
            (*scan).custom_exprs = lappend((*scan).custom_exprs, copyObjectImpl(expression.cast()));
        }
        (*scan).custom_private = plan::encode(mode, columns.len(), &grouping.keys, &calls);
    }
}
