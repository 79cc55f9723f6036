//! Every hook, chained to its predecessor.
//!
//! A hook is a plain function that owns nothing, and calls what comes next without a guard, for the reason that
//! [`unguarded`] gives. What it does itself is in guarded functions.

use crate::columnar::{self, am, summaries, write_buffer};
use crate::execution;
use crate::monitor::counters::{self, Counter};
use crate::pg::copy::Statement;
use crate::pg::error::OrochiError;
use crate::pg::{OpenRel, compat, error_fields, label, unguarded};
use crate::workers;
use pgrx::pg_guard;
use pgrx::pg_sys::*;
use std::sync::OnceLock;

/// The hooks that were there before.
struct Previous {
    planner: planner_hook_type,
    executor_start: ExecutorStart_hook_type,
    executor_finish: ExecutorFinish_hook_type,
    process_utility: ProcessUtility_hook_type,
    set_rel_pathlist: set_rel_pathlist_hook_type,
    set_join_pathlist: set_join_pathlist_hook_type,
    create_upper_paths: create_upper_paths_hook_type,
    get_relation_info: get_relation_info_hook_type,
    get_relation_stats: get_relation_stats_hook_type,
    get_attavgwidth: get_attavgwidth_hook_type,
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

/// Installs the hooks. Once, in `_PG_init`.
pub fn init() {
    // SAFETY: called while the library is loaded, before any query of this process runs.
    unsafe {
        let _ = PREVIOUS.set(Previous {
            planner: planner_hook,
            executor_start: ExecutorStart_hook,
            executor_finish: ExecutorFinish_hook,
            process_utility: ProcessUtility_hook,
            set_rel_pathlist: set_rel_pathlist_hook,
            set_join_pathlist: set_join_pathlist_hook,
            create_upper_paths: create_upper_paths_hook,
            get_relation_info: get_relation_info_hook,
            get_relation_stats: get_relation_stats_hook,
            get_attavgwidth: get_attavgwidth_hook,
        });
        planner_hook = Some(plan);
        ExecutorStart_hook = Some(executor_start);
        ExecutorFinish_hook = Some(executor_finish);
        ProcessUtility_hook = Some(process_utility);
        set_rel_pathlist_hook = Some(set_rel_pathlist);
        set_join_pathlist_hook = Some(set_join_pathlist);
        create_upper_paths_hook = Some(create_upper_paths);
        get_relation_info_hook = Some(get_relation_info);
        get_relation_stats_hook = Some(get_relation_stats);
        get_attavgwidth_hook = Some(get_attavgwidth);
    }
}

unsafe extern "C-unwind" fn plan(
    query: *mut Query,
    text: *const std::ffi::c_char,
    options: i32,
    parameters: ParamListInfo,
) -> *mut PlannedStmt {
    use execution::joined_subqueries::{Form, alternative, has_any, is_cheaper, may_have};
    // SAFETY: core's arguments. The other forms are made first, for planning uses a query up.
    unsafe {
        let next = PREVIOUS.get().and_then(|p| p.planner).unwrap_or(unguarded::standard_planner);
        if !may_have(query) || !has_any(query) {
            return next(query, text, options, parameters);
        }
        let others = [alternative(query, Form::Lateral), alternative(query, Form::Grouped)];
        let plan = next(query, text, options, parameters);
        let mut best = plan;
        for other in others {
            let other = next(other, text, options, parameters);
            best = if is_cheaper(other, best) { other } else { best };
        }
        if best != plan {
            counters::add(Counter::JoinedSubqueries, 1);
        }
        best
    }
}

unsafe extern "C-unwind" fn executor_start(query: *mut QueryDesc, flags: i32) {
    // SAFETY: core's arguments.
    unsafe {
        if !write_buffer::is_empty() {
            before_start(query);
        }
        let next = PREVIOUS.get().and_then(|p| p.executor_start).unwrap_or(unguarded::standard_ExecutorStart);
        next(query, flags);
        // Not when a scan begins: 17 begins bitmap scans when it has decided about prefetching.
        if columnar::took_ops() {
            prepare_fetches(query);
        }
    }
}

/// # Safety
/// `query` must be valid.
#[pg_guard]
unsafe extern "C-unwind" fn before_start(query: *mut QueryDesc) {
    // Workers cannot see rows that are still in this process's memory.
    // SAFETY: the caller's promise.
    if unsafe { (*(*query).plannedstmt).parallelModeNeeded } {
        write_buffer::settle_all();
    }
}

/// # Safety
/// `query` must be valid and started.
#[pg_guard]
unsafe extern "C-unwind" fn prepare_fetches(query: *mut QueryDesc) {
    // SAFETY: the caller's promise.
    unsafe { compat::visit_plan_states((*query).planstate, execution::fetches::prepare) };
}

unsafe extern "C-unwind" fn executor_finish(query: *mut QueryDesc) {
    // SAFETY: core's arguments.
    unsafe {
        if !write_buffer::is_empty() {
            before_finish(query);
        }
        let next = PREVIOUS.get().and_then(|p| p.executor_finish).unwrap_or(unguarded::standard_ExecutorFinish);
        next(query);
    }
}

/// A query's rows go into stripes when it ends. Not those of the statement whose function ran it: they would make a stripe
/// for every call.
///
/// # Safety
/// `query` must be valid and started.
#[pg_guard]
unsafe extern "C-unwind" fn before_finish(query: *mut QueryDesc) {
    // SAFETY: the caller's promise.
    unsafe {
        let writes = (*query).operation != CmdType::CMD_SELECT || (*(*query).plannedstmt).hasModifyingCTE;
        if writes {
            write_buffer::flush_command((*(*query).estate).es_output_cid);
        }
    }
}

#[pg_guard]
extern "C-unwind" fn flush_current() {
    write_buffer::flush_current();
}

unsafe extern "C-unwind" fn process_utility(
    statement: *mut PlannedStmt,
    text: *const std::ffi::c_char,
    read_only: bool,
    context: ProcessUtilityContext::Type,
    params: ParamListInfo,
    environment: *mut QueryEnvironment,
    destination: *mut DestReceiver,
    completion: *mut QueryCompletion,
) {
    // SAFETY: core's arguments.
    unsafe {
        let node = (*statement).utilityStmt;
        // Asked before: some statements free their own parse tree.
        let tag = (*node).type_;
        if concerns_us(tag) {
            before_utility(node);
        }
        if tag == NodeTag::T_CopyStmt && copies(node.cast(), text, environment, completion) {
            return;
        }
        let next = PREVIOUS.get().and_then(|p| p.process_utility).unwrap_or(unguarded::standard_ProcessUtility);
        next(statement, text, read_only, context, params, environment, destination, completion);
        match tag {
            NodeTag::T_VacuumStmt => compat::restore_prefetch(),
            NodeTag::T_AlterTableStmt => after_alter_table(node.cast()),
            NodeTag::T_CopyStmt if !write_buffer::is_empty() => flush_current(),
            _ => {}
        }
    }
}

/// Executes a COPY that we rather do than PostgreSQL; true if it is done. Where a library comes after this one it is PostgreSQL's, for
/// that library may want to see the statement.
///
/// # Safety
/// The arguments must be those of the hook, the statement a COPY.
unsafe fn copies(
    statement: *mut CopyStmt,
    text: *const std::ffi::c_char,
    environment: *mut QueryEnvironment,
    completion: *mut QueryCompletion,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let statement = Statement::new(statement, text, environment);
        let alone = PREVIOUS.get().is_some_and(|previous| previous.process_utility.is_none());
        if !alone || !columnar::copy::is_wanted() || !statement.fills_table() {
            return false;
        }
        let rows = copy_from(statement);
        let Ok(rows) = u64::try_from(rows) else { return false };
        if let Some(completion) = completion.as_mut() {
            completion.commandTag = CommandTag::CMDTAG_COPY;
            completion.nprocessed = rows;
        }
        true
    }
}

/// The number of rows, or -1 if the statement is left to PostgreSQL. What its input functions and constraints report keeps all fields.
#[pg_guard]
unsafe extern "C-unwind" fn copy_from(statement: Statement) -> i64 {
    error_fields::keep(|| {
        columnar::copy::execute(&statement).map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX))
    })
}

unsafe extern "C-unwind" fn set_rel_pathlist(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    index: Index,
    entry: *mut RangeTblEntry,
) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.set_rel_pathlist) {
            previous(root, rel, index, entry);
        }
        if (*entry).rtekind == RTEKind::RTE_RELATION
            && (*entry).relkind as u8 != RELKIND_PARTITIONED_TABLE
            && uses_columnar((*entry).relid)
        {
            plan_columnar_scan(root, rel, index, entry);
        }
    }
}

/// True if a relation that the planner has open is a columnar table. Not guarded, because every scan of every query asks.
///
/// # Safety
/// `relation` must be the OID of a relation on which a lock is held. No caller may own anything.
unsafe fn uses_columnar(relation: Oid) -> bool {
    // SAFETY: the caller's promise; the reference is given back.
    unsafe {
        let relation = unguarded::RelationIdGetRelation(relation);
        if relation.is_null() {
            return false;
        }
        let columnar = am::is_columnar(relation);
        unguarded::RelationClose(relation);
        columnar
    }
}

/// # Safety
/// Core's arguments.
#[pg_guard]
unsafe extern "C-unwind" fn plan_columnar_scan(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    index: Index,
    entry: *mut RangeTblEntry,
) {
    // SAFETY: the caller's promise.
    unsafe { execution::planning::set_rel_pathlist(root, rel, index, entry) }
}

unsafe extern "C-unwind" fn set_join_pathlist(
    root: *mut PlannerInfo,
    output: *mut RelOptInfo,
    outer: *mut RelOptInfo,
    inner: *mut RelOptInfo,
    kind: JoinType::Type,
    extra: *mut JoinPathExtraData,
) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.set_join_pathlist) {
            previous(root, output, outer, inner, kind, extra);
        }
        if execution::batch_path::reads_columnar(outer) || execution::batch_path::reads_columnar(inner) {
            execution::vector_join::planning::add_paths(root, output, outer, inner, kind, extra);
        }
    }
}

unsafe extern "C-unwind" fn create_upper_paths(
    root: *mut PlannerInfo,
    stage: UpperRelationKind::Type,
    input: *mut RelOptInfo,
    output: *mut RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.create_upper_paths) {
            previous(root, stage, input, output, extra);
        }
        let ours = matches!(stage, UpperRelationKind::UPPERREL_GROUP_AGG | UpperRelationKind::UPPERREL_DISTINCT);
        if ours && execution::batch_path::reads_columnar(input) {
            plan_aggregation(root, stage, input, output, extra.cast());
        }
    }
}

/// # Safety
/// Core's arguments.
#[pg_guard]
unsafe extern "C-unwind" fn plan_aggregation(
    root: *mut PlannerInfo,
    stage: UpperRelationKind::Type,
    input: *mut RelOptInfo,
    output: *mut RelOptInfo,
    extra: *mut GroupPathExtraData,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if stage == UpperRelationKind::UPPERREL_DISTINCT {
            execution::vector_aggregate::planning::add_distinct_paths(root, input, output);
        } else {
            execution::vector_aggregate::planning::add_paths(root, input, output, extra);
        }
    }
}

unsafe extern "C-unwind" fn get_relation_info(
    root: *mut PlannerInfo,
    relation: Oid,
    is_parent: bool,
    rel: *mut RelOptInfo,
) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.get_relation_info) {
            previous(root, relation, is_parent, rel);
        }
        if !(*rel).indexlist.is_null() && (*(*(*root).parse).rtable).length > 1 {
            execution::composite_keys::describe(root, relation, rel);
        }
    }
}

unsafe extern "C-unwind" fn get_relation_stats(
    root: *mut PlannerInfo,
    entry: *mut RangeTblEntry,
    attribute: AttrNumber,
    variable: *mut VariableStatData,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.get_relation_stats)
            && previous(root, entry, attribute, variable)
        {
            return true;
        }
        let relation = (*entry).relid;
        summaries::is_noted(relation) && uses_columnar(relation) && describe_variable(root, entry, attribute, variable)
    }
}

/// # Safety
/// Core's arguments.
#[pg_guard]
unsafe extern "C-unwind" fn describe_variable(
    root: *mut PlannerInfo,
    entry: *mut RangeTblEntry,
    attribute: AttrNumber,
    variable: *mut VariableStatData,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe { execution::statistics::describe_variable(root, entry, attribute, variable) }
}

unsafe extern "C-unwind" fn get_attavgwidth(relation: Oid, attribute: AttrNumber) -> i32 {
    // SAFETY: core's arguments.
    unsafe {
        let known = PREVIOUS.get().and_then(|p| p.get_attavgwidth).map_or(0, |previous| previous(relation, attribute));
        let ours = known <= 0 && summaries::is_noted(relation) && uses_columnar(relation);
        if ours { average_width(relation, attribute) } else { known }
    }
}

#[pg_guard]
extern "C-unwind" fn average_width(relation: Oid, attribute: AttrNumber) -> i32 {
    execution::statistics::average_width(relation, attribute)
}

/// True for the kinds of statement that [`before_utility`] does something about.
fn concerns_us(tag: NodeTag) -> bool {
    use NodeTag::*;
    let publishes = matches!(tag, T_CreatePublicationStmt | T_AlterPublicationStmt);
    publishes || matches!(tag, T_SecLabelStmt | T_VacuumStmt) || workers::may_need_database_alone(tag)
}

/// # Safety
/// `node` must be a valid utility statement.
#[pg_guard]
unsafe extern "C-unwind" fn before_utility(node: *mut Node) {
    // SAFETY: the caller's promise.
    unsafe {
        match (*node).type_ {
            NodeTag::T_SecLabelStmt => label::before_statement(node.cast()),
            NodeTag::T_CreatePublicationStmt | NodeTag::T_AlterPublicationStmt => check_publication(node),
            NodeTag::T_VacuumStmt => compat::stop_prefetch(),
            _ => workers::hold_for_statement(node),
        }
    }
}

/// Refuses to publish columnar tables: their changes are not decoded.
///
/// # Safety
/// `node` must be a CREATE or ALTER PUBLICATION statement.
unsafe fn check_publication(node: *mut Node) {
    // SAFETY: the caller's promise; lists hold what the grammar puts there.
    unsafe {
        let (objects, dropping) = if (*node).type_ == NodeTag::T_CreatePublicationStmt {
            ((*node.cast::<CreatePublicationStmt>()).pubobjects, false)
        } else {
            let alter = &*node.cast::<AlterPublicationStmt>();
            (alter.pubobjects, alter.action == AlterPublicationAction::AP_DropObjects)
        };
        if dropping {
            return;
        }
        for object in compat::pointers::<PublicationObjSpec>(objects) {
            if (*object).pubtable.is_null() {
                continue;
            }
            let relation = (*(*object).pubtable).relation;
            let oid = RangeVarGetRelidExtended(
                relation,
                NoLock as i32,
                RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            );
            if oid != InvalidOid && is_columnar_table(oid) {
                let table = OpenRel::table(oid, AccessShareLock);
                OrochiError::Unsupported {
                    what: format!("cannot add columnar table \"{}\" to a publication", table.rel().name()),
                    hint: Some("Changes of columnar tables are not decoded; publish a heap table."),
                }
                .raise();
            }
        }
    }
}

fn is_columnar_table(oid: Oid) -> bool {
    // SAFETY: opened and closed here; relations of other kinds have no table access method.
    unsafe {
        let relation = try_relation_open(oid, AccessShareLock as LOCKMODE);
        if relation.is_null() {
            return false;
        }
        let columnar = am::is_columnar(relation);
        relation_close(relation, NoLock as LOCKMODE);
        columnar
    }
}

/// A heap table without wide columns has no TOAST relation, and an empty one becomes a columnar table without companion. A
/// columnar table that becomes a heap leaves options behind that pg_dump would not be able to restore.
///
/// # Safety
/// `statement` must be an ALTER TABLE statement that has been executed.
#[pg_guard]
unsafe extern "C-unwind" fn after_alter_table(statement: *mut AlterTableStmt) {
    // SAFETY: the caller's promise.
    unsafe {
        let commands = compat::pointers::<AlterTableCmd>((*statement).cmds);
        if !commands.iter().any(|c| (**c).subtype == AlterTableType::AT_SetAccessMethod) {
            return;
        }
        let oid = RangeVarGetRelidExtended(
            (*statement).relation,
            NoLock as i32,
            RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        );
        if oid == InvalidOid {
            return;
        }
        CommandCounterIncrement();
        if is_columnar_table(oid) {
            columnar::ensure_companion(oid);
        } else {
            columnar::forget_options(oid);
        }
    }
}
