//! Paths that scan columnar tables.

use super::batch_path::{BatchPath, batch_cost, can_project, fitting_target};
use super::custom_node::Methods;
use super::estimate::{EVERYTHING, Estimate, estimate, known_conditions};
use super::node;
use crate::columnar::am;
use crate::pg::OpenRel;
use crate::pg::compat::pointers;
use crate::pg::error::OrRaise;
use crate::{settings, shmem};
use pgrx::pg_guard;
use pgrx::pg_sys::*;

/// Makes the plan of a path.
pub static PATH_METHODS: Methods<CustomPathMethods> = Methods(CustomPathMethods {
    CustomName: node::NAME.as_ptr(),
    PlanCustomPath: Some(plan),
    ReparameterizeCustomPathByChild: None,
});

/// Decoding a vector of one column, in units of `seq_page_cost`.
const DECODING_COST: f64 = 0.5;
/// Decoding a kilobyte of any column's vectors, likewise: they are unpacked, and numerics made of their integers.
const KILOBYTE_COST: f64 = 2.0;
/// Finding a row by its TID and taking its values out of vectors that are decoded, in units of `cpu_tuple_cost`.
const FETCH_COST: f64 = 15.0;
/// Reaching a few rows by an index costs less than this.
const CHEAP: f64 = 20.0;

/// Looking at a row of a batch, in units of `cpu_tuple_cost`.
const BATCH_ROW_COST: f64 = 0.02;

/// Puts columnar scans in the place of sequential scans. Does nothing for relations that are not columnar tables.
///
/// # Safety
/// Arguments as core passes them to `set_rel_pathlist_hook`.
pub unsafe fn set_rel_pathlist(root: *mut PlannerInfo, rel: *mut RelOptInfo, index: Index, entry: *mut RangeTblEntry) {
    // SAFETY: the caller's promise; the planner holds a lock on each relation that it plans for.
    unsafe {
        if !settings::enable_columnar_scan() || !shmem::is_preloaded() || !is_plain_scan(rel, entry) {
            return;
        }
        let table = OpenRel::table((*entry).relid, NoLock);
        if !am::is_columnar(table.rel().raw()) {
            return;
        }
        let clauses = extract_actual_clauses((*rel).baserestrictinfo, false);
        let natts = (*table.rel().desc()).natts;
        let wanted = node::wanted_columns([(*(*rel).reltarget).exprs, clauses], index, natts);
        let found = if has_cheap_path(rel) {
            EVERYTHING
        } else {
            let conditions = known_conditions(root, rel, clauses, table.rel().desc()).or_raise();
            estimate(table.rel(), &wanted, &conditions).or_raise()
        };
        list_free(clauses);
        let count = wanted.iter().filter(|wanted| **wanted).count();
        add_decoding((*rel).pathlist, rel, &found, count);
        add_decoding((*rel).partial_pathlist, rel, &found, count);
        replace_paths(root, rel, &found);
        name_columns(rel);
    }
}

/// True if the relation is one that a sequential scan reads.
///
/// # Safety
/// As for [`set_rel_pathlist`].
unsafe fn is_plain_scan(rel: *mut RelOptInfo, entry: *mut RangeTblEntry) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let table = (*entry).rtekind == RTEKind::RTE_RELATION
            && matches!((*entry).relkind as u8, RELKIND_RELATION | RELKIND_MATVIEW)
            && !(*entry).inh
            && (*entry).tablesample.is_null();
        // Only a TID scan finds the row that a cursor is on.
        let by_cursor = |info: &*mut RestrictInfo| (*(**info).clause).type_ == NodeTag::T_CurrentOfExpr;
        table && !is_dummy_rel(rel) && !pointers((*rel).baserestrictinfo).iter().any(by_cursor)
    }
}

/// Whether there is a way to the rows that costs so little that a look at the stripes does not pay.
///
/// # Safety
/// As for [`set_rel_pathlist`].
unsafe fn has_cheap_path(rel: *mut RelOptInfo) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        pointers::<Path>((*rel).pathlist)
            .iter()
            .any(|path| (**path).param_info.is_null() && (**path).total_cost < CHEAP)
    }
}

/// Keeps plans of index and bitmap scans from putting out all columns where that spares a projection of a heap's rows: each column
/// that a plan names is decoded. Core does so unless a system column is asked for.
///
/// # Safety
/// `rel` must be a base relation whose paths are being made.
unsafe fn name_columns(rel: *mut RelOptInfo) {
    // SAFETY: the caller's promise; there is an element for each column from the first system column on.
    unsafe {
        let ctid = SelfItemPointerAttributeNumber - i32::from((*rel).min_attr);
        if !(*rel).attr_needed.is_null() && ctid >= 0 {
            let needed = (*rel).attr_needed.add(ctid as usize);
            *needed = bms_add_members(*needed, (*rel).relids);
        }
    }
}

/// Adds to the costs of index and bitmap scans the decoding of the vectors in which their rows lie, of wanted columns, and the fetching. Core takes each row
/// to cost no more than its page.
///
/// # Safety
/// `list` must be a list of the relation's paths.
unsafe fn add_decoding(list: *mut List, rel: *mut RelOptInfo, estimate: &Estimate, columns: usize) {
    // SAFETY: the caller's promise; each path has the type that its tag says.
    unsafe {
        for path in pointers::<Path>(list) {
            let fetched = match (*path).type_ {
                NodeTag::T_IndexPath if (*path).pathtype == NodeTag::T_IndexScan => {
                    (*path.cast::<IndexPath>()).indexselectivity * (*rel).tuples
                }
                NodeTag::T_BitmapHeapPath => (*path).rows,
                _ => continue,
            };
            let in_stripes = fetched.max(1.0) * estimate.stripe_share((*rel).tuples);
            let kilobytes = estimate.vector_bytes * estimate.columns / 1024.0;
            let vector = columns as f64 * DECODING_COST + kilobytes * KILOBYTE_COST;
            (*path).total_cost += estimate.touched(in_stripes) * vector + in_stripes * FETCH_COST * cpu_tuple_cost;
        }
    }
}

/// # Safety
/// As for [`set_rel_pathlist`]; the relation must be a columnar table.
unsafe fn replace_paths(root: *mut PlannerInfo, rel: *mut RelOptInfo, estimate: &Estimate) {
    // SAFETY: the caller's promise.
    unsafe {
        (*rel).pathlist = without_seqscans((*rel).pathlist);
        (*rel).partial_pathlist = without_seqscans((*rel).partial_pathlist);
        let outer = (*rel).lateral_relids;
        add_path(rel, path(root, rel, outer, 0, estimate));
        // A scan that is switched off is a last resort.
        if enable_seqscan && outer.is_null() && !has_scan(rel) {
            keep_batches(rel, path(root, rel, outer, 0, estimate));
        }
        if (*rel).consider_parallel && outer.is_null() {
            let workers = compute_parallel_worker(rel, f64::from((*rel).pages), -1.0, max_parallel_workers_per_gather);
            if workers > 0 {
                add_partial_path(rel, path(root, rel, outer, workers, estimate));
            }
        }
    }
}

/// Whether our scan is among a relation's paths.
///
/// # Safety
/// As for [`replace_paths`].
unsafe fn has_scan(rel: *mut RelOptInfo) -> bool {
    // SAFETY: the caller's promise.
    unsafe { pointers::<Path>((*rel).pathlist).iter().any(|path| (**path).type_ == NodeTag::T_CustomPath) }
}

/// Keeps a path whose batches cost less than any other path of the relation, although its rows cost more: core, which compares those,
/// leaves such a path out, and then there is nothing for nodes that ask for batches.
///
/// # Safety
/// As for [`replace_paths`]; `path` must be a batch path of the relation.
unsafe fn keep_batches(rel: *mut RelOptInfo, path: *mut Path) {
    // SAFETY: the caller's promise. The list is ordered by total cost.
    unsafe {
        let known = pointers::<Path>((*rel).pathlist);
        let plain = |other: &&*mut Path| (***other).param_info.is_null();
        let batches = batch_cost(path);
        if known.iter().filter(plain).any(|other| (**other).total_cost <= batches) {
            return;
        }
        let place = known.iter().position(|other| (**other).total_cost > (*path).total_cost).unwrap_or(known.len());
        (*rel).pathlist = list_insert_nth((*rel).pathlist, place as i32, path.cast());
    }
}

/// # Safety
/// `list` must be a list of paths.
unsafe fn without_seqscans(list: *mut List) -> *mut List {
    // SAFETY: the caller's promise.
    unsafe {
        let seqscans = pointers::<Path>(list).into_iter().filter(|path| (**path).pathtype == NodeTag::T_SeqScan);
        seqscans.fold(list, |list, path| list_delete_ptr(list, path.cast()))
    }
}

/// The path of a columnar scan: that of a sequential scan, less the columns and vectors that are not read.
///
/// # Safety
/// As for [`replace_paths`].
unsafe fn path(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    outer: Relids,
    workers: i32,
    estimate: &Estimate,
) -> *mut Path {
    // SAFETY: the caller's promise; the path is zeroed, then its fields are set.
    unsafe {
        let model = create_seqscan_path(root, rel, outer, workers);
        let mut page_cost = 0.0;
        get_tablespace_page_costs((*rel).reltablespace, std::ptr::null_mut(), &mut page_cost);
        let found = palloc0(size_of::<BatchPath>()).cast::<BatchPath>();
        let path = &raw mut (*found).base;
        (*path).path = *model;
        (*path).path.type_ = NodeTag::T_CustomPath;
        (*path).path.pathtype = NodeTag::T_CustomScan;
        let reading = page_cost * f64::from((*rel).pages);
        let computing = (*model).total_cost - (*model).startup_cost - reading;
        let read = (*model).startup_cost + reading * estimate.columns * estimate.vectors;
        let rows = estimate.rows((*rel).tuples);
        (*path).path.total_cost = read + computing.max(0.0) * rows;
        let clauses = extract_actual_clauses((*rel).baserestrictinfo, false);
        let work = 1.0 + f64::from(list_length(clauses));
        let share = if (*rel).rows > 0.0 { ((*model).rows / (*rel).rows).min(1.0) } else { 1.0 };
        (*found).batch_cost = read + rows * (*rel).tuples * share * work * BATCH_ROW_COST * cpu_tuple_cost;
        (*found).batches = can_project(clauses);
        (*found).target = fitting_target(rel);
        (*path).flags = CUSTOMPATH_SUPPORT_PROJECTION | CUSTOMPATH_SUPPORT_BACKWARD_SCAN;
        (*path).methods = &raw const PATH_METHODS.0;
        path.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn plan(
    _root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    path: *mut CustomPath,
    targets: *mut List,
    clauses: *mut List,
    _plans: *mut List,
) -> *mut Plan {
    // SAFETY: core's arguments; the node is zeroed, then its fields are set.
    unsafe {
        let scan = palloc0(size_of::<CustomScan>()).cast::<CustomScan>();
        (*scan).scan.plan.type_ = NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = targets;
        (*scan).scan.plan.qual = extract_actual_clauses(clauses, false);
        (*scan).scan.scanrelid = (*rel).relid;
        (*scan).flags = (*path).flags;
        (*scan).methods = &raw const node::SCAN_METHODS.0;
        scan.cast()
    }
}
