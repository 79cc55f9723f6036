//! What differs between PostgreSQL majors. No other module has version conditions.
//!
//! What is not only spelt differently has two modules, `until` the last major of the old way and `since` the first of the new,
//! which export the same names.

pub mod copy;
pub mod custom_scan;
pub mod table_am;
pub mod workers;

use super::relation::FileId;
use pgrx::pg_sys;

#[cfg(any(feature = "pg15", feature = "pg16"))]
mod until16;
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub use until16::*;
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
mod since17;
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub use since17::*;

#[cfg(not(feature = "pg18"))]
mod until17;
#[cfg(not(feature = "pg18"))]
pub use until17::*;
#[cfg(feature = "pg18")]
mod since18;
#[cfg(feature = "pg18")]
pub use since18::*;

/// Identity of a relation's file.
#[cfg(feature = "pg15")]
pub fn file_id(relation: pg_sys::Relation) -> FileId {
    // SAFETY: callers pass an open relation.
    let node = unsafe { &(*relation).rd_node };
    FileId { database: node.dbNode.to_u32(), number: node.relNode.to_u32() }
}

/// Identity of a relation's file.
#[cfg(not(feature = "pg15"))]
pub fn file_id(relation: pg_sys::Relation) -> FileId {
    // SAFETY: callers pass an open relation.
    let node = unsafe { &(*relation).rd_locator };
    FileId { database: node.dbOid.to_u32(), number: node.relNumber.to_u32() }
}

/// `InvalidSubTransactionId`, which is a cast in the headers.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// True if a relation was created or got its file in the current transaction, so that both go if it is rolled back.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn is_new_in_transaction(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller's promise.
    let relation = unsafe { &*relation };
    #[cfg(feature = "pg15")]
    let file = relation.rd_firstRelfilenodeSubid;
    #[cfg(not(feature = "pg15"))]
    let file = relation.rd_firstRelfilelocatorSubid;
    relation.rd_createSubid != NO_SUBTRANSACTION || file != NO_SUBTRANSACTION
}

/// The storage manager's entry of a relation's file.
///
/// # Safety
/// `relation` must be open; the entry must not be kept across anything that can process invalidations.
pub unsafe fn smgr(relation: pg_sys::Relation) -> pg_sys::SMgrRelation {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::smgropen((*relation).rd_node, (*relation).rd_backend);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::smgropen((*relation).rd_locator, (*relation).rd_backend);
    }
}

/// OIDs of an OID list.
///
/// # Safety
/// `list` must be NIL or an OID list.
pub unsafe fn oid_list(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise; `elements` has `length` cells.
    unsafe { (0..(*list).length as usize).map(|i| (*(*list).elements.add(i)).oid_value).collect() }
}

/// Numbers of an integer list.
///
/// # Safety
/// `list` must be NIL or an integer list.
pub unsafe fn int_list(list: *mut pg_sys::List) -> Vec<i32> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise; `elements` has `length` cells.
    unsafe { (0..(*list).length as usize).map(|i| (*(*list).elements.add(i)).int_value).collect() }
}

/// A header pointer as PostgreSQL's functions want it.
pub fn header_ptr(header: &pg_sys::HeapTupleHeaderData) -> pg_sys::HeapTupleHeader {
    std::ptr::from_ref(header).cast_mut()
}

/// True if the relation's cached attribute bitmaps are valid.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn attrs_valid(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return !(*relation).rd_indexattr.is_null();
        #[cfg(not(feature = "pg15"))]
        return (*relation).rd_attrsvalid;
    }
}

/// `heap_update`; which indexes need new entries is not asked, since a new version has a new row number.
///
/// # Safety
/// As for `heap_update`.
pub unsafe fn heap_update(
    relation: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    new: pg_sys::HeapTuple,
    cid: pg_sys::CommandId,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    failure: *mut pg_sys::TM_FailureData,
    mode: *mut pg_sys::LockTupleMode::Type,
) -> pg_sys::TM_Result::Type {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::heap_update(relation, tid, new, cid, crosscheck, wait, failure, mode)
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        let mut indexes = pg_sys::TU_UpdateIndexes::TU_None;
        pg_sys::heap_update(relation, tid, new, cid, crosscheck, wait, failure, mode, &mut indexes)
    }
}

/// The attributes of a row descriptor.
///
/// # Safety
/// `desc` must stay valid while the slice is used.
pub unsafe fn attributes<'a>(desc: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the caller's promise; a descriptor is followed by `natts` attributes (on 18 behind the compact ones).
    unsafe {
        let natts = (*desc).natts as usize;
        #[cfg(feature = "pg18")]
        let first = {
            let compact = (&raw const (*desc).compact_attrs).cast::<pg_sys::CompactAttribute>();
            compact.add(natts).cast::<pg_sys::FormData_pg_attribute>()
        };
        #[cfg(not(feature = "pg18"))]
        let first = (&raw const (*desc).attrs).cast::<pg_sys::FormData_pg_attribute>();
        std::slice::from_raw_parts(first, natts)
    }
}

/// Counts an UPDATE that was not HOT.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn count_update(relation: pg_sys::Relation) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::pgstat_count_heap_update(relation, false);
        #[cfg(not(feature = "pg15"))]
        pg_sys::pgstat_count_heap_update(relation, false, true);
    }
}

/// `ConditionalXactLockTableWait`: true once the transaction has ended, false if it has not.
///
/// # Safety
/// Must be called with no buffer locked.
pub unsafe fn conditional_wait(xid: pg_sys::TransactionId) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::ConditionalXactLockTableWait(xid, false);
        #[cfg(not(feature = "pg18"))]
        return pg_sys::ConditionalXactLockTableWait(xid);
    }
}

/// Next datum of a finished sort of datums.
///
/// # Safety
/// `sort` must be such a sort.
pub unsafe fn next_sorted_datum(sort: *mut pg_sys::Tuplesortstate) -> Option<pg_sys::Datum> {
    let mut value = pg_sys::Datum::from(0usize);
    let mut null = false;
    // SAFETY: the caller's promise.
    let found = unsafe {
        #[cfg(feature = "pg15")]
        let found = pg_sys::tuplesort_getdatum(sort, true, &mut value, &mut null, std::ptr::null_mut());
        #[cfg(not(feature = "pg15"))]
        let found = pg_sys::tuplesort_getdatum(sort, true, false, &mut value, &mut null, std::ptr::null_mut());
        found
    };
    (found && !null).then_some(value)
}

/// The access counters of a relation, null where the relation is not counted.
///
/// # Safety
/// `relation` must be open.
#[inline]
unsafe fn access_counts(relation: pg_sys::Relation) -> *mut pg_sys::PgStat_TableStatus {
    // SAFETY: the caller's promise. Counters come into being with the first access, as in pgstat_should_count_relation.
    unsafe {
        if (*relation).pgstat_info.is_null() && (*relation).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(relation);
        }
        (*relation).pgstat_info
    }
}

/// Counts the start of a sequential scan.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn count_scan(relation: pg_sys::Relation) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(info) = access_counts(relation).as_mut() {
            #[cfg(feature = "pg15")]
            {
                info.t_counts.t_numscans += 1;
            }
            #[cfg(not(feature = "pg15"))]
            {
                info.counts.numscans += 1;
            }
        }
    }
}

/// Counts rows that a sequential scan returned.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn count_scan_rows(relation: pg_sys::Relation, rows: i64) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(info) = access_counts(relation).as_mut() {
            #[cfg(feature = "pg15")]
            {
                info.t_counts.t_tuples_returned += rows;
            }
            #[cfg(not(feature = "pg15"))]
            {
                info.counts.tuples_returned += rows;
            }
        }
    }
}

/// Names a relation's file.
#[cfg(feature = "pg15")]
pub type Locator = pg_sys::RelFileNode;
/// Names a relation's file.
#[cfg(not(feature = "pg15"))]
pub type Locator = pg_sys::RelFileLocator;

super::externs::guarded! {
    /// Logs the creation of a fork (catalog/storage_xlog.h).
    fn log_smgrcreate(locator: *const Locator, fork: pg_sys::ForkNumber::Type);
}

/// The body of a B-tree's record about the reuse of a page (access/nbtxlog.h).
#[repr(C)]
struct ReusePage {
    locator: Locator,
    block: pg_sys::BlockNumber,
    conflict_horizon: u64,
    is_catalog: bool,
}

/// Bytes of [`ReusePage`] in the WAL.
#[cfg(feature = "pg15")]
const REUSE_PAGE_LEN: usize = std::mem::offset_of!(ReusePage, is_catalog);
/// Bytes of [`ReusePage`] in the WAL.
#[cfg(not(feature = "pg15"))]
const REUSE_PAGE_LEN: usize = std::mem::offset_of!(ReusePage, is_catalog) + 1;

/// Logs that what transaction `xid` removed is no longer there for old snapshots. Its replay cancels them and changes nothing.
///
/// # Safety
/// `relation` must be an open permanent relation, in a process that may write WAL.
pub unsafe fn log_removal(relation: pg_sys::Relation, xid: u64) {
    /// XLOG_BTREE_REUSE_PAGE
    const INFO: u8 = 0xd0;
    // SAFETY: the caller's promise; the record's padding is zeroed, and XLogInsert copies it.
    unsafe {
        let mut record: ReusePage = std::mem::zeroed();
        #[cfg(feature = "pg15")]
        let locator = (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        let locator = (*relation).rd_locator;
        record.locator = locator;
        record.block = pg_sys::InvalidBlockNumber;
        record.conflict_horizon = xid;
        pg_sys::XLogBeginInsert();
        pg_sys::XLogRegisterData((&raw mut record).cast(), REUSE_PAGE_LEN as _);
        pg_sys::XLogInsert(pg_sys::RmgrIds::RM_BTREE_ID as u8, INFO);
    }
}

/// Writes a relation's statistics into pg_class.
///
/// # Safety
/// `relation` must be open, in a transaction that may write.
pub unsafe fn update_relstats(
    relation: pg_sys::Relation,
    pages: u32,
    tuples: f64,
    has_index: bool,
    frozen: pg_sys::TransactionId,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let multi = if frozen == pg_sys::InvalidTransactionId {
            pg_sys::MultiXactId::from(0u32)
        } else {
            pg_sys::GetOldestMultiXactId()
        };
        let (mut frozen_updated, mut multi_updated) = (false, false);
        #[cfg(feature = "pg18")]
        pg_sys::vac_update_relstats(
            relation,
            pages,
            tuples,
            0,
            0,
            has_index,
            frozen,
            multi,
            &mut frozen_updated,
            &mut multi_updated,
            false,
        );
        #[cfg(not(feature = "pg18"))]
        pg_sys::vac_update_relstats(
            relation,
            pages,
            tuples,
            0,
            has_index,
            frozen,
            multi,
            &mut frozen_updated,
            &mut multi_updated,
            false,
        );
    }
}

/// Tells the statistics system that a table was vacuumed.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn report_vacuum(relation: pg_sys::Relation, live: i64, started: i64) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::pgstat_report_vacuum((*relation).rd_id, false, live, 0, started);
        #[cfg(not(feature = "pg18"))]
        {
            let _ = started;
            pg_sys::pgstat_report_vacuum((*relation).rd_id, false, live, 0);
        }
    }
}

/// What an index's VACUUM callbacks are told.
///
/// # Safety
/// Both relations must be open.
pub unsafe fn index_vacuum_info(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    tuples: f64,
    strategy: pg_sys::BufferAccessStrategy,
) -> pg_sys::IndexVacuumInfo {
    let _ = table;
    pg_sys::IndexVacuumInfo {
        index,
        #[cfg(not(feature = "pg15"))]
        heaprel: table,
        analyze_only: false,
        report_progress: false,
        estimated_count: true,
        message_level: pg_sys::DEBUG2 as i32,
        num_heap_tuples: tuples,
        strategy,
    }
}

/// Numbers of the columns that a table's indexes use.
pub fn indexed_columns(table: super::Rel) -> Vec<pg_sys::AttrNumber> {
    #[cfg(feature = "pg15")]
    let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_ALL;
    #[cfg(not(feature = "pg15"))]
    let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_HOT_BLOCKING;
    let mut columns = Vec::new();
    // SAFETY: the table is open; the bitmap is a copy of ours.
    unsafe {
        let bitmap = pg_sys::RelationGetIndexAttrBitmap(table.raw(), kind);
        let mut member = pg_sys::bms_next_member(bitmap, -1);
        while member >= 0 {
            columns.extend(pg_sys::AttrNumber::try_from(member + pg_sys::FirstLowInvalidHeapAttributeNumber));
            member = pg_sys::bms_next_member(bitmap, member);
        }
        pg_sys::bms_free(bitmap);
    }
    columns
}

/// The clauses that a query groups by, without those that the planner found to be needless, unless all are: without any key there would be a group
/// also of no rows.
///
/// # Safety
/// `root` must be the planner's.
pub unsafe fn group_clauses(root: *mut pg_sys::PlannerInfo) -> *mut pg_sys::List {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return (*(*root).parse).groupClause;
        #[cfg(not(feature = "pg15"))]
        return match (*root).processed_groupClause.is_null() {
            true => (*(*root).parse).groupClause,
            false => (*root).processed_groupClause,
        };
    }
}

/// Computes the values of a projection into its slot, which has to be empty.
///
/// # Safety
/// `state` must be that of a projection, and `context` its context.
pub unsafe fn evaluate_projection(state: *mut pg_sys::ExprState, context: *mut pg_sys::ExprContext) {
    // SAFETY: the caller's promise.
    unsafe {
        let old = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
        let mut null = false;
        // From 18 on there is no result of which to say that it is NULL.
        let null = if cfg!(feature = "pg18") { std::ptr::null_mut() } else { &raw mut null };
        if let Some(evaluate) = (*state).evalfunc {
            pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(state, context, null));
        }
        pg_sys::MemoryContextSwitchTo(old);
    }
}

/// Makes a Var or a PlaceHolderVar stand above the same outer joins as another one. Does nothing to other nodes, nor before 16, where they do not say.
///
/// # Safety
/// Both must be nodes of the same type.
pub unsafe fn take_nulling_joins(node: *mut pg_sys::Node, from: *mut pg_sys::Node) {
    #[cfg(feature = "pg15")]
    let _ = (node, from);
    // SAFETY: the caller's promise; each node has the type that its tag says.
    #[cfg(not(feature = "pg15"))]
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Var => {
                let (node, from) = (node.cast::<pg_sys::Var>(), from.cast::<pg_sys::Var>());
                (*node).varnullingrels = pg_sys::bms_copy((*from).varnullingrels);
            }
            pg_sys::NodeTag::T_PlaceHolderVar => {
                let (node, from) = (node.cast::<pg_sys::PlaceHolderVar>(), from.cast::<pg_sys::PlaceHolderVar>());
                (*node).phnullingrels = pg_sys::bms_copy((*from).phnullingrels);
            }
            _ => {}
        }
    }
}

/// Notes that a column stands above an outer join that may have made it NULL. Before 16 columns do not say so.
///
/// # Safety
/// `column` must be valid, `join` the number of a join among the query's tables.
pub unsafe fn add_nulling_join(column: *mut pg_sys::Var, join: i32) {
    #[cfg(feature = "pg15")]
    let _ = (column, join);
    // SAFETY: the caller's promise.
    #[cfg(not(feature = "pg15"))]
    unsafe {
        (*column).varnullingrels = pg_sys::bms_add_member((*column).varnullingrels, join);
    }
}

/// A copy of an expression whose parts have been through a function.
///
/// # Safety
/// `node` must be an expression; `change` is called with its parts and the context.
pub unsafe fn mutate_expression(
    node: *mut pg_sys::Node,
    change: unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> *mut pg_sys::Node,
    context: *mut std::ffi::c_void,
) -> *mut pg_sys::Node {
    // SAFETY: the caller's promise. Up to 15 the function is declared without its arguments, and called with them.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::expression_tree_mutator(
            node,
            Some(std::mem::transmute::<
                unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> *mut pg_sys::Node,
                unsafe extern "C-unwind" fn() -> *mut pg_sys::Node,
            >(change)),
            context,
        );
        #[cfg(not(feature = "pg15"))]
        return pg_sys::expression_tree_mutator_impl(node, Some(change), context);
    }
}

/// How many nodes of a plan are of a kind that is switched off. Before 18 such nodes cost very much instead.
///
/// # Safety
/// `plan` must be valid.
pub unsafe fn disabled_nodes(plan: *mut pg_sys::Plan) -> i32 {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = plan;
        0
    }
    // SAFETY: the caller's promise.
    #[cfg(feature = "pg18")]
    unsafe {
        (*plan).disabled_nodes
    }
}

/// Calls a function with each node of a query's plan.
///
/// # Safety
/// `root` must be the initialised plan of a query, or null.
pub unsafe fn visit_plan_states(root: *mut pg_sys::PlanState, visit: fn(*mut pg_sys::PlanState)) {
    #[pgrx::pg_guard]
    unsafe extern "C-unwind" fn step(node: *mut pg_sys::PlanState, context: *mut std::ffi::c_void) -> bool {
        // SAFETY: the walker passes valid nodes, and the context is the function that it was started with.
        unsafe {
            (*context.cast::<fn(*mut pg_sys::PlanState)>())(node);
            #[cfg(feature = "pg15")]
            return pg_sys::planstate_tree_walker(node, Some(step), context);
            #[cfg(not(feature = "pg15"))]
            return pg_sys::planstate_tree_walker_impl(node, Some(step), context);
        }
    }
    let mut visit = visit;
    // SAFETY: the caller's promise.
    unsafe {
        if !root.is_null() {
            step(root, (&raw mut visit).cast());
        }
    }
}

/// Whether EXPLAIN names tables with their columns: if there is more than one.
///
/// # Safety
/// `out` must be valid.
pub unsafe fn explains_tables(out: *mut pg_sys::ExplainState) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let tables = pg_sys::list_length((*out).rtable);
        // From 18 on what is grouped by has an entry there too.
        #[cfg(feature = "pg18")]
        let tables = (*out).rtable_size;
        (*out).verbose || tables > 1
    }
}

/// The pointers of a list of nodes.
///
/// # Safety
/// `list` must be NIL or a list of `T` nodes.
pub unsafe fn pointers<T>(list: *mut pg_sys::List) -> Vec<*mut T> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise; `elements` has `length` cells.
    unsafe { (0..(*list).length as usize).map(|i| (*(*list).elements.add(i)).ptr_value.cast()).collect() }
}

/// A list of nodes.
///
/// # Safety
/// The nodes must be valid.
pub unsafe fn list<T>(nodes: impl IntoIterator<Item = *mut T>) -> *mut pg_sys::List {
    // SAFETY: the caller's promise.
    nodes.into_iter().fold(std::ptr::null_mut(), |list, node| unsafe { pg_sys::lappend(list, node.cast()) })
}

/// Raises an error if the current user may not call a function, of which `kind` says what errors call it.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn check_execute(function: pg_sys::Oid, kind: pg_sys::ObjectType::Type) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, pg_sys::GetUserId(), pg_sys::ACL_EXECUTE);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(
            pg_sys::ProcedureRelationId,
            function,
            pg_sys::GetUserId(),
            pg_sys::ACL_EXECUTE.into(),
        );
        if result != pg_sys::AclResult::ACLCHECK_OK {
            pg_sys::aclcheck_error(result, kind, pg_sys::get_func_name(function));
        }
    }
}

/// True if the role owns the relation.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn owns_relation(relation: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, role);
    }
}
