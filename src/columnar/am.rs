//! The table access method: PostgreSQL's callbacks, each handed on to the module that does the work.

use super::dml::{self, Change, LockRequest};
use super::index_build::{self, Build, Extent};
use super::scan::Shared;
use super::store::Store;
use super::{fetch, insert, scan, slot, storage, tid, vacuum, write_buffer};
use crate::pg::compat::table_am::{self, Versioned};
use crate::pg::error::OrochiError;
use crate::pg::error_fields::keep;
use crate::pg::sample;
use crate::pg::snapshot::Snap;
use crate::pg::{Rel, compat, heap};
use pgrx::pg_sys::*;
use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;

/// Flags of `tuple_lock` (access/tableam.h).
const LOCK_UPDATE_IN_PROGRESS: u8 = 1;
const FIND_LAST_VERSION: u8 = 2;

struct Routine(TableAmRoutine);
// SAFETY: function pointers, written once.
unsafe impl Send for Routine {}
// SAFETY: as above.
unsafe impl Sync for Routine {}

static ROUTINE: OnceLock<Routine> = OnceLock::new();

/// The callbacks.
pub fn routine() -> *const TableAmRoutine {
    &raw const ROUTINE.get_or_init(|| Routine(make())).0
}

/// True if a relation is a columnar table.
pub fn is_columnar(relation: Relation) -> bool {
    // SAFETY: callers pass an open relation.
    unsafe { !relation.is_null() && (*relation).rd_tableam == routine() }
}

fn make() -> TableAmRoutine {
    let mut routine = TableAmRoutine {
        type_: NodeTag::T_TableAmRoutine,
        slot_callbacks: Some(slot_callbacks),
        scan_begin: Some(scan_begin),
        scan_end: Some(scan_end),
        scan_rescan: Some(scan_rescan),
        scan_getnextslot: Some(scan_getnextslot),
        scan_set_tidrange: Some(scan_set_tidrange),
        scan_getnextslot_tidrange: Some(scan_getnextslot_tidrange),
        parallelscan_estimate: Some(parallelscan_estimate),
        parallelscan_initialize: Some(parallelscan_initialize),
        parallelscan_reinitialize: Some(parallelscan_reinitialize),
        index_fetch_begin: Some(index_fetch_begin),
        index_fetch_reset: Some(index_fetch_reset),
        index_fetch_end: Some(index_fetch_end),
        index_fetch_tuple: Some(index_fetch_tuple),
        tuple_fetch_row_version: Some(tuple_fetch_row_version),
        tuple_tid_valid: Some(tuple_tid_valid),
        tuple_get_latest_tid: Some(tuple_get_latest_tid),
        tuple_satisfies_snapshot: Some(tuple_satisfies_snapshot),
        index_delete_tuples: Some(index_delete_tuples),
        tuple_insert: Some(tuple_insert),
        tuple_insert_speculative: Some(tuple_insert_speculative),
        tuple_complete_speculative: Some(tuple_complete_speculative),
        multi_insert: Some(multi_insert),
        tuple_delete: Some(tuple_delete),
        tuple_lock: Some(tuple_lock),
        finish_bulk_insert: Some(finish_bulk_insert),
        relation_nontransactional_truncate: Some(relation_nontransactional_truncate),
        relation_copy_data: Some(relation_copy_data),
        relation_copy_for_cluster: Some(relation_copy_for_cluster),
        relation_vacuum: Some(relation_vacuum),
        scan_analyze_next_tuple: Some(scan_analyze_next_tuple),
        index_build_range_scan: Some(index_build_range_scan),
        index_validate_scan: Some(index_validate_scan),
        relation_size: Some(relation_size),
        relation_needs_toast_table: Some(relation_needs_toast_table),
        relation_toast_am: Some(relation_toast_am),
        relation_estimate_size: Some(relation_estimate_size),
        scan_sample_next_block: Some(scan_sample_next_block),
        scan_sample_next_tuple: Some(scan_sample_next_tuple),
        // SAFETY: core's own routine is a constant. No value of ours is out of line, so nothing ever asks.
        relation_fetch_toast_slice: unsafe { (*GetHeapamTableAmRoutine()).relation_fetch_toast_slice },
        ..Default::default()
    };
    table_am::install::<Callbacks>(&mut routine);
    routine
}

/// # Safety
/// `relation` must be open.
unsafe fn rel(relation: Relation) -> Rel {
    if !crate::shmem::is_preloaded() {
        OrochiError::NotPreloaded.raise();
    }
    // SAFETY: the caller's promise.
    unsafe { Rel::new(relation) }
}

#[pg_guard]
unsafe extern "C-unwind" fn slot_callbacks(_relation: Relation) -> *const TupleTableSlotOps {
    slot::hand_out_ops()
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_begin(
    relation: Relation,
    snapshot: Snapshot,
    keys: i32,
    _key: *mut ScanKeyData,
    parallel: ParallelTableScanDesc,
    flags: u32,
) -> TableScanDesc {
    if keys > 0 {
        OrochiError::Internal("scan keys are not used on columnar tables".into()).raise();
    }
    // SAFETY: core's arguments.
    unsafe { scan::begin(rel(relation), snapshot, parallel, flags) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_end(desc: TableScanDesc) {
    // SAFETY: core's arguments.
    unsafe { scan::end(desc) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_rescan(
    desc: TableScanDesc,
    _key: *mut ScanKeyData,
    _set_params: bool,
    _allow_strategy: bool,
    _allow_sync: bool,
    _allow_pagemode: bool,
) {
    // SAFETY: core's arguments.
    unsafe { scan::rescan(desc) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_getnextslot(
    desc: TableScanDesc,
    direction: ScanDirection::Type,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe { scan::next(desc, direction >= 0, slot) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_set_tidrange(desc: TableScanDesc, low: ItemPointer, high: ItemPointer) {
    // SAFETY: core's arguments.
    unsafe { scan::set_range(desc, low, high) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_getnextslot_tidrange(
    desc: TableScanDesc,
    direction: ScanDirection::Type,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        let found = scan::next_in_range(desc, direction >= 0, slot);
        if !found {
            ExecClearTuple(slot);
        }
        found
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_estimate(_relation: Relation) -> Size {
    scan::SHARED_SIZE
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_initialize(relation: Relation, shared: ParallelTableScanDesc) -> Size {
    // SAFETY: core's arguments; it made room for what `parallelscan_estimate` said.
    unsafe { scan::initialize_shared(rel(relation), shared) };
    scan::SHARED_SIZE
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_reinitialize(_relation: Relation, shared: ParallelTableScanDesc) {
    // SAFETY: core's arguments.
    unsafe { scan::reinitialize_shared(shared) }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_begin(relation: Relation) -> *mut IndexFetchTableData {
    // SAFETY: core's arguments.
    unsafe { fetch::begin(rel(relation)) }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_reset(data: *mut IndexFetchTableData) {
    // SAFETY: core's arguments.
    unsafe { fetch::reset(data) }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_end(data: *mut IndexFetchTableData) {
    // SAFETY: core's arguments.
    unsafe { fetch::end(data) }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_tuple(
    data: *mut IndexFetchTableData,
    item: ItemPointer,
    snapshot: Snapshot,
    slot: *mut TupleTableSlot,
    call_again: *mut bool,
    all_dead: *mut bool,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        *call_again = false;
        let found = fetch::fetch(data, *item, snapshot, slot);
        if !all_dead.is_null() {
            *all_dead = !found && fetch::is_dead_to_all(data, *item);
        }
        found
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_fetch_row_version(
    relation: Relation,
    item: ItemPointer,
    snapshot: Snapshot,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        let table = rel(relation);
        let Some(row) = tid::from_tid(*item) else { return false };
        heap::note_serializable_row_read(table, *item, Snap::new(snapshot));
        Store::open(table).is_some_and(|store| slot::fetch(&store, row, Snap::new(snapshot), slot))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_tid_valid(desc: TableScanDesc, item: ItemPointer) -> bool {
    // SAFETY: core's arguments.
    unsafe { scan::tid_valid(desc, *item) }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_get_latest_tid(desc: TableScanDesc, item: ItemPointer) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(row) = tid::from_tid(*item) {
            let snapshot = Snap::new((*desc).rs_snapshot);
            *item = tid::to_tid(dml::latest_version(rel((*desc).rs_rd), row, snapshot));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_satisfies_snapshot(
    relation: Relation,
    slot: *mut TupleTableSlot,
    snapshot: Snapshot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        let table = rel(relation);
        let Some(row) = tid::from_tid((*slot).tts_tid) else { return false };
        Store::open(table).is_some_and(|store| super::lookup::sees(&store, row, Snap::new(snapshot)))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_delete_tuples(relation: Relation, request: *mut TM_IndexDeleteOp) -> TransactionId {
    // SAFETY: core's arguments.
    unsafe { vacuum::index_delete_tuples(rel(relation), request) }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_insert(
    relation: Relation,
    slot: *mut TupleTableSlot,
    cid: CommandId,
    _options: i32,
    _bulk: *mut BulkInsertStateData,
) {
    // SAFETY: core's arguments.
    unsafe { insert::insert(rel(relation), &[slot], cid) }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_insert_speculative(
    relation: Relation,
    slot: *mut TupleTableSlot,
    cid: CommandId,
    _options: i32,
    _bulk: *mut BulkInsertStateData,
    token: u32,
) {
    // SAFETY: core's arguments.
    unsafe { insert::insert_speculative(rel(relation), slot, cid, token) }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_complete_speculative(
    relation: Relation,
    slot: *mut TupleTableSlot,
    _token: u32,
    succeeded: bool,
) {
    // SAFETY: core's arguments.
    unsafe {
        if let Some(row) = tid::from_tid((*slot).tts_tid) {
            insert::complete_speculative(rel(relation), row, succeeded);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn multi_insert(
    relation: Relation,
    slots: *mut *mut TupleTableSlot,
    count: i32,
    cid: CommandId,
    _options: i32,
    _bulk: *mut BulkInsertStateData,
) {
    // SAFETY: core's arguments.
    unsafe {
        let table = rel(relation);
        insert::insert(table, std::slice::from_raw_parts(slots, count as usize), cid);
    }
}

/// # Safety
/// `failure` must be a valid pointer.
unsafe fn report(outcome: (TM_Result::Type, TM_FailureData), failure: *mut TM_FailureData) -> TM_Result::Type {
    // SAFETY: the caller's promise.
    unsafe { *failure = outcome.1 };
    outcome.0
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_delete(
    relation: Relation,
    item: ItemPointer,
    cid: CommandId,
    _snapshot: Snapshot,
    crosscheck: Snapshot,
    wait: bool,
    failure: *mut TM_FailureData,
    changing_partition: bool,
) -> TM_Result::Type {
    // SAFETY: core's arguments.
    unsafe {
        let table = rel(relation);
        let Some(row) = tid::from_tid(*item) else { return TM_Result::TM_Invisible };
        report(dml::delete(table, row, Change { cid, crosscheck, wait }, changing_partition), failure)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_lock(
    relation: Relation,
    item: ItemPointer,
    _snapshot: Snapshot,
    slot: *mut TupleTableSlot,
    cid: CommandId,
    mode: LockTupleMode::Type,
    policy: LockWaitPolicy::Type,
    flags: u8,
    failure: *mut TM_FailureData,
) -> TM_Result::Type {
    // SAFETY: core's arguments.
    unsafe {
        let table = rel(relation);
        let Some(row) = tid::from_tid(*item) else { return TM_Result::TM_Invisible };
        let request = LockRequest {
            cid,
            mode,
            policy,
            lock_updates: flags & LOCK_UPDATE_IN_PROGRESS != 0,
            find_last: flags & FIND_LAST_VERSION != 0,
        };
        let (result, what, locked) = dml::lock(table, row, request);
        *item = tid::to_tid(locked);
        // INSERT ... ON CONFLICT looks at who made a row that it cannot see.
        if matches!(result, TM_Result::TM_Ok | TM_Result::TM_Invisible) {
            let store = Store::open_for_write(table);
            if !slot::fetch(&store, locked, Snap::any(), slot) && result == TM_Result::TM_Ok {
                super::lookup::vanished(&store, locked).raise();
            }
        }
        report((result, what), failure)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn finish_bulk_insert(relation: Relation, options: i32) {
    // COPY into a table that it did not make passes no options, and calls this for a partition again and again, not only
    // at its end; the utility hook ends its stripes. Others are about to use the table's file.
    if options != 0 {
        // SAFETY: core's arguments.
        unsafe { write_buffer::settle(rel(relation)) }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_nontransactional_truncate(relation: Relation) {
    // SAFETY: core's arguments.
    unsafe { storage::truncate(Rel::new(relation)) }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_copy_data(relation: Relation, locator: *const compat::Locator) {
    // SAFETY: core's arguments.
    unsafe { storage::copy_data(rel(relation), locator) }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_copy_for_cluster(
    old: Relation,
    new: Relation,
    index: Relation,
    _use_sort: bool,
    _oldest_xmin: TransactionId,
    _xid_cutoff: *mut TransactionId,
    _multi_cutoff: *mut MultiXactId,
    tuples: *mut f64,
    vacuumed: *mut f64,
    recently_dead: *mut f64,
) {
    // SAFETY: core's arguments.
    keep(|| unsafe {
        *tuples = storage::rewrite(rel(old), rel(new), index);
        *vacuumed = 0.0;
        *recently_dead = 0.0;
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_vacuum(
    relation: Relation,
    params: *mut VacuumParams,
    strategy: BufferAccessStrategy,
) {
    // SAFETY: core's arguments.
    unsafe { vacuum::vacuum(rel(relation), params, strategy) }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_analyze_next_tuple(
    desc: TableScanDesc,
    _oldest_xmin: TransactionId,
    live: *mut f64,
    _dead: *mut f64,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        let found = scan::next_in_block(desc, slot);
        if found {
            *live += 1.0;
        } else {
            ExecClearTuple(slot);
        }
        found
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_build_range_scan(
    relation: Relation,
    index: Relation,
    info: *mut IndexInfo,
    _allow_sync: bool,
    _any_visible: bool,
    _progress: bool,
    start: BlockNumber,
    count: BlockNumber,
    callback: IndexBuildCallback,
    state: *mut std::ffi::c_void,
    desc: TableScanDesc,
) -> f64 {
    // SAFETY: core's arguments; a scan that workers share is ours to end.
    keep(|| unsafe {
        let build = Build { table: rel(relation), index, info, callback, state };
        if start != 0 || count != InvalidBlockNumber {
            return index_build::build(&build, Extent::Blocks(start, count));
        }
        if desc.is_null() {
            return index_build::build(&build, Extent::Whole(None));
        }
        let shared = Shared::new((*desc).rs_parallel);
        let alive = index_build::build(&build, Extent::Whole(Some((shared, (*desc).rs_snapshot))));
        scan::end(desc);
        alive
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn index_validate_scan(
    relation: Relation,
    index: Relation,
    info: *mut IndexInfo,
    snapshot: Snapshot,
    state: *mut ValidateIndexState,
) {
    // SAFETY: core's arguments.
    keep(|| unsafe { index_build::validate(rel(relation), index, info, snapshot, state) })
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_size(relation: Relation, fork: ForkNumber::Type) -> u64 {
    // SAFETY: core's arguments.
    unsafe { storage::relation_size(Rel::new(relation), fork) }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_needs_toast_table(_relation: Relation) -> bool {
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_toast_am(_relation: Relation) -> Oid {
    HEAP_TABLE_AM_OID
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_estimate_size(
    relation: Relation,
    attr_widths: *mut i32,
    pages: *mut BlockNumber,
    tuples: *mut f64,
    all_visible: *mut f64,
) {
    // SAFETY: core's arguments.
    unsafe {
        let estimate = storage::estimate(rel(relation), attr_widths);
        *pages = estimate.pages;
        *tuples = estimate.tuples;
        *all_visible = 0.0;
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_sample_next_block(desc: TableScanDesc, sample: *mut SampleScanState) -> bool {
    // SAFETY: core's arguments; the sampling method's functions are core's or an extension's.
    unsafe {
        let blocks = scan::blocks(desc);
        let Some(block) = sample::next_block(sample, blocks, scan::loaded_block(desc)) else { return false };
        scan::load_block(desc, block, None);
        true
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_sample_next_tuple(
    desc: TableScanDesc,
    sample: *mut SampleScanState,
    slot: *mut TupleTableSlot,
) -> bool {
    // SAFETY: core's arguments.
    unsafe {
        let Some(block) = scan::loaded_block(desc) else { return false };
        let highest = scan::max_offset(desc);
        while let Some(offset) = sample::next_tuple(sample, block, highest) {
            if scan::at_offset(desc, offset, slot) {
                return true;
            }
        }
        ExecClearTuple(slot);
        false
    }
}

/// The callbacks whose signatures differ between majors, in one form.
struct Callbacks;

impl Versioned for Callbacks {
    unsafe fn update(
        relation: Relation,
        item: ItemPointer,
        new: *mut TupleTableSlot,
        cid: CommandId,
        crosscheck: Snapshot,
        wait: bool,
        failure: *mut TM_FailureData,
        mode: *mut LockTupleMode::Type,
    ) -> TM_Result::Type {
        // SAFETY: core's arguments.
        unsafe {
            let table = rel(relation);
            let Some(row) = tid::from_tid(*item) else { return TM_Result::TM_Invisible };
            let done = dml::update(table, row, new, Change { cid, crosscheck, wait });
            *failure = done.failure;
            *mode = done.lock_mode;
            done.result
        }
    }

    unsafe fn set_new_file(
        relation: Relation,
        locator: *const compat::Locator,
        persistence: std::ffi::c_char,
        freeze: *mut TransactionId,
        minmulti: *mut MultiXactId,
    ) {
        // SAFETY: core's arguments.
        unsafe {
            *freeze = pg_sys::RecentXmin;
            *minmulti = GetOldestMultiXactId();
            storage::create(rel(relation), locator, persistence);
        }
    }

    unsafe fn load_block(desc: TableScanDesc, block: BlockNumber, only: Option<&[OffsetNumber]>) -> bool {
        // SAFETY: core's arguments.
        unsafe { scan::load_block(desc, block, only) }
    }

    unsafe fn next_in_block(desc: TableScanDesc, slot: *mut TupleTableSlot) -> bool {
        // SAFETY: core's arguments.
        unsafe { scan::next_in_block(desc, slot) }
    }
}
