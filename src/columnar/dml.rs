//! UPDATE, DELETE and row locks (docs/storage.md, "Writing").

use super::key::{Item, RowNumber};
use super::standing::{Handle, Resolved};
use super::store::Store;
use super::{lookup, numbers, pressure, row, slot, standing, tid, write_buffer};
use crate::pg::Rel;
use crate::pg::heap::{self, LockTupleMode, LockWaitPolicy, TM_FailureData, TM_Result};
use crate::pg::snapshot::{DirtySnapshot, Snap};
use crate::pg::values::PallocTuple;
use crate::workers::mover_xids;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// After an operation on `handle` found it deleted: true if only the mover was at it, so that the row lives on elsewhere.
fn moved(store: &Store, row: RowNumber, handle: Handle) -> bool {
    pgrx::check_for_interrupts!();
    match handle {
        Handle::Row { .. } => lookup::in_stripe_now(store, row),
        Handle::Anchor(_) => !standing::standing(store, row).dead,
    }
}

/// Makes what the heap said about companion tuples speak of rows of the table.
fn translate(store: &Store, row: RowNumber, failure: &mut TM_FailureData) {
    if heap::moved_partitions(&failure.ctid) {
        return;
    }
    // TM_Invisible tells nothing about the row.
    if !heap::is_valid(&failure.ctid) {
        return;
    }
    let successor = store.fetch(failure.ctid, Snap::any()).map(|stored| stored.item);
    failure.ctid = match successor {
        Some(Item::Row { row: next, .. }) => tid::to_tid(next),
        _ => tid::to_tid(row),
    };
}

fn gone(row: RowNumber) -> (TM_Result::Type, TM_FailureData) {
    (TM_Result::TM_Deleted, TM_FailureData { ctid: tid::to_tid(row), ..Default::default() })
}

/// The handle of a row, or why there is none. Waits for whoever deletes the row as the policy says.
fn obtain(
    store: &Store,
    row: RowNumber,
    cid: pg_sys::CommandId,
    policy: Option<LockWaitPolicy::Type>,
) -> Result<Handle, (TM_Result::Type, TM_FailureData)> {
    loop {
        if let Some(taken) = take(store, row, standing::resolve(store, row), cid, policy) {
            return taken;
        }
    }
}

/// What comes of how a row stands; nothing if that has to be found out again.
fn take(
    store: &Store,
    row: RowNumber,
    resolved: Resolved,
    cid: pg_sys::CommandId,
    policy: Option<LockWaitPolicy::Type>,
) -> Option<Result<Handle, (TM_Result::Type, TM_FailureData)>> {
    pgrx::check_for_interrupts!();
    match resolved {
        Resolved::Handle(handle) => Some(Ok(handle)),
        Resolved::Free => standing::make_anchor(store, row).map(Ok),
        Resolved::Gone => Some(Err(gone(row))),
        Resolved::GoneByUs(xid, command) => Some(Err(gone_by_us(row, xid, command, cid))),
        Resolved::Contested(xid) => {
            let refused = match policy {
                None => TM_Result::TM_BeingModified,
                Some(policy) if wait_by_policy(store, xid, tid::to_tid(row), policy) => return None,
                Some(_) => TM_Result::TM_WouldBlock,
            };
            Some(Err((refused, TM_FailureData { xmax: xid, ..gone(row).1 })))
        }
    }
}

/// The outcome for a row that our own transaction has marked as deleted.
fn gone_by_us(
    row: RowNumber,
    xmax: pg_sys::TransactionId,
    cmax: pg_sys::CommandId,
    cid: pg_sys::CommandId,
) -> (TM_Result::Type, TM_FailureData) {
    if cmax < cid {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "attempted to change or lock a row that is not visible"
        );
    }
    (TM_Result::TM_SelfModified, TM_FailureData { xmax, cmax, ..gone(row).1 })
}

/// True if a referential-integrity snapshot does not see a stripe row, which then counts as updated.
fn fails_crosscheck(store: &Store, row: RowNumber, handle: Handle, crosscheck: pg_sys::Snapshot) -> bool {
    if crosscheck.is_null() || matches!(handle, Handle::Row { .. }) {
        return false;
    }
    !sees_in_stripe(store, row, crosscheck)
}

fn sees_in_stripe(store: &Store, row: RowNumber, crosscheck: pg_sys::Snapshot) -> bool {
    // SAFETY: the executor keeps the crosscheck snapshot alive during the call.
    lookup::find(store, row, unsafe { Snap::new(crosscheck) }).is_some()
}

/// Arguments that DELETE and UPDATE share.
#[derive(Clone, Copy)]
pub struct Change {
    /// Command id.
    pub cid: pg_sys::CommandId,
    /// Referential-integrity snapshot, or null.
    pub crosscheck: pg_sys::Snapshot,
    /// Whether to wait for other transactions.
    pub wait: bool,
}

impl Change {
    /// Whether to wait; nothing if the caller wants to know instead.
    fn policy(&self) -> Option<LockWaitPolicy::Type> {
        self.wait.then_some(LockWaitPolicy::LockWaitBlock)
    }

    fn crosscheck_for(&self, handle: Handle) -> pg_sys::Snapshot {
        match handle {
            Handle::Row { .. } => self.crosscheck,
            Handle::Anchor(_) => std::ptr::null_mut(),
        }
    }
}

/// Deletes a row.
pub fn delete(
    table: Rel,
    row: RowNumber,
    change: Change,
    changing_partition: bool,
) -> (TM_Result::Type, TM_FailureData) {
    let store = Store::open_for_write(table);
    loop {
        let handle = match claim(&store, row, change, changing_partition) {
            Claim::Handle(handle) => handle,
            Claim::Marked => {
                deleted(&store, row);
                return (TM_Result::TM_Ok, TM_FailureData::default());
            }
            Claim::Refused(outcome) => return outcome,
        };
        if fails_crosscheck(&store, row, handle, change.crosscheck) {
            return (TM_Result::TM_Updated, gone(row).1);
        }
        let (result, mut failure) = heap::delete(
            store.companion(),
            handle.at(),
            change.cid,
            change.crosscheck_for(handle),
            change.wait,
            changing_partition,
        );
        if result == TM_Result::TM_Deleted && moved(&store, row, handle) {
            continue;
        }
        if result == TM_Result::TM_Ok {
            retire(&store, row, handle, change.cid);
            deleted(&store, row);
        } else {
            translate(&store, row, &mut failure);
        }
        return (result, failure);
    }
}

/// What a deletion begins with.
enum Claim {
    /// This has to be deleted.
    Handle(Handle),
    /// The row is deleted.
    Marked,
    /// It cannot be.
    Refused((TM_Result::Type, TM_FailureData)),
}

/// Takes a row for deletion. A stripe row that nobody holds gets its mark at once; only a tuple that is deleted can say that the row went to another
/// partition, so then it gets an anchor.
fn claim(store: &Store, row: RowNumber, change: Change, changing_partition: bool) -> Claim {
    let policy = change.policy();
    loop {
        match standing::resolve(store, row) {
            Resolved::Free if !changing_partition => {
                if !change.crosscheck.is_null() && !sees_in_stripe(store, row, change.crosscheck) {
                    return Claim::Refused((TM_Result::TM_Updated, gone(row).1));
                }
                if standing::mark_free(store, row, change.cid) {
                    return Claim::Marked;
                }
            }
            resolved => match take(store, row, resolved, change.cid, policy) {
                Some(Ok(handle)) => return Claim::Handle(handle),
                Some(Err(outcome)) => return Claim::Refused(outcome),
                None => {}
            },
        }
    }
}

/// Notes that a row was deleted.
fn deleted(store: &Store, row: RowNumber) {
    heap::check_serializable_write(store.table(), Some(tid::to_tid(row)));
    // SAFETY: the table is open.
    unsafe { pg_sys::pgstat_count_heap_delete(store.table().raw()) };
}

/// Finishes the deletion of the version behind `handle`.
fn retire(store: &Store, row: RowNumber, handle: Handle, cid: pg_sys::CommandId) {
    match handle {
        Handle::Row { parts: ..=1, .. } => {}
        Handle::Row { .. } => row::delete_rest(store, row, cid),
        Handle::Anchor(_) => {
            standing::mark(store, row, cid);
        }
    }
}

/// What an UPDATE did.
pub struct Updated {
    /// Outcome.
    pub result: TM_Result::Type,
    /// Who was in the way.
    pub failure: TM_FailureData,
    /// Row lock that the update took.
    pub lock_mode: LockTupleMode::Type,
}

/// Replaces a row by the one in `new`, whose TID it sets.
///
/// # Safety
/// `new` must be a non-empty slot of the table's row type.
pub unsafe fn update(table: Rel, old: RowNumber, new: *mut pg_sys::TupleTableSlot, change: Change) -> Updated {
    pressure::admit(table, change.cid);
    let store = Store::open_for_write(table);
    // SAFETY: the caller's promise.
    let (tuple, key_intact) = unsafe { (PallocTuple::from_slot(table, new), slot::key_intact(&store, old, new)) };
    let image = tuple.image();
    let payload = row::first_part(image);
    let number = numbers::next(table);
    loop {
        let handle = match obtain(&store, old, change.cid, change.policy()) {
            Ok(handle) => handle,
            Err((result, failure)) => {
                return Updated { result, failure, lock_mode: LockTupleMode::LockTupleExclusive };
            }
        };
        if fails_crosscheck(&store, old, handle, change.crosscheck) {
            let failure = gone(old).1;
            return Updated { result: TM_Result::TM_Updated, failure, lock_mode: LockTupleMode::LockTupleExclusive };
        }
        let (result, mut failure, lock_mode, xmax) = store.update(
            handle.at(),
            Item::Row { row: number, part: 0 }.key(),
            &payload,
            change.cid,
            change.crosscheck_for(handle),
            change.wait,
            key_intact,
        );
        if result == TM_Result::TM_Deleted && moved(&store, old, handle) {
            continue;
        }
        if result == TM_Result::TM_Ok {
            row::insert_rest(&store, number, image, change.cid);
            retire(&store, old, handle, change.cid);
            heap::check_serializable_write(table, Some(tid::to_tid(old)));
            // SAFETY: the slot and the table are valid.
            unsafe {
                (*new).tts_tid = tid::to_tid(number);
                (*new).tts_tableOid = table.oid();
                let xmin = pg_sys::GetCurrentTransactionId();
                slot::set_system(new, slot::System { xmin, xmax, cid: change.cid });
                crate::pg::compat::count_update(table.raw());
            }
        } else {
            translate(&store, old, &mut failure);
        }
        return Updated { result, failure, lock_mode };
    }
}

/// How a row is to be locked.
#[derive(Clone, Copy)]
pub struct LockRequest {
    /// Command id.
    pub cid: pg_sys::CommandId,
    /// Strength.
    pub mode: LockTupleMode::Type,
    /// What to do when somebody holds it.
    pub policy: LockWaitPolicy::Type,
    /// Lock versions in progress as well.
    pub lock_updates: bool,
    /// Go on to the last version.
    pub find_last: bool,
}

/// Locks a row version, or its last successor; returns the number of the version that was locked.
pub fn lock(table: Rel, wanted: RowNumber, request: LockRequest) -> (TM_Result::Type, TM_FailureData, RowNumber) {
    write_buffer::settle_row(table, wanted);
    let store = Store::open_for_write(table);
    let mut row = wanted;
    let mut traversed = false;
    loop {
        let handle = match obtain(&store, row, request.cid, Some(request.policy)) {
            Ok(handle) => handle,
            Err((result, failure)) => return (result, TM_FailureData { traversed, ..failure }, row),
        };
        wait_for_mover(&store, handle, request.policy);
        // Core's message about a lock that is not to be had would name the companion.
        let policy = match request.policy {
            LockWaitPolicy::LockWaitError => LockWaitPolicy::LockWaitSkip,
            policy => policy,
        };
        let (result, mut failure) =
            heap::lock(store.companion(), handle.at(), request.cid, request.mode, policy, request.lock_updates);
        if result == TM_Result::TM_WouldBlock {
            refuse_to_wait(&store, request.policy);
        }
        if result == TM_Result::TM_Deleted && moved(&store, row, handle) {
            continue;
        }
        if result == TM_Result::TM_Updated && request.find_last {
            match follow(&store, &mut failure, request) {
                Step::Next(next) => {
                    row = next;
                    traversed = true;
                    continue;
                }
                Step::Stop(result) => {
                    translate(&store, row, &mut failure);
                    return (result, TM_FailureData { traversed: true, ..failure }, row);
                }
            }
        }
        if result != TM_Result::TM_Ok {
            translate(&store, row, &mut failure);
        }
        failure.traversed = traversed;
        return (result, failure, row);
    }
}

/// A lock that must not wait waits for the mover all the same: it holds rows for milliseconds, and a heap has no mover.
fn wait_for_mover(store: &Store, handle: Handle, policy: LockWaitPolicy::Type) {
    if policy == LockWaitPolicy::LockWaitBlock {
        return;
    }
    let Some(stored) = store.fetch(handle.at(), Snap::any()) else { return };
    let xid = heap::update_xid(stored.pinned.header());
    drop(stored);
    if xid != pg_sys::InvalidTransactionId && mover_xids::is_mover(xid) {
        heap::wait_for(store.companion(), xid, handle.at());
    }
}

enum Step {
    /// Lock this version.
    Next(RowNumber),
    /// Give up with this outcome.
    Stop(TM_Result::Type),
}

/// Follows the update chain of the companion from a version that was found updated.
fn follow(store: &Store, failure: &mut TM_FailureData, request: LockRequest) -> Step {
    let mut at = failure.ctid;
    let mut prior = failure.xmax;
    loop {
        pgrx::check_for_interrupts!();
        if heap::moved_partitions(&at) {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "tuple to be locked was already moved to another partition due to concurrent update"
            );
        }
        let mut dirty = DirtySnapshot::new();
        let Some(stored) = store.fetch(at, dirty.snap()) else { return Step::Stop(TM_Result::TM_Deleted) };
        let Item::Row { row, .. } = stored.item else { return Step::Stop(TM_Result::TM_Deleted) };
        if heap::raw_xmin(stored.pinned.header()) != prior {
            return Step::Stop(TM_Result::TM_Deleted);
        }
        if stored.visible() {
            if let Some(holder) = dirty.deleter() {
                drop(stored);
                if !wait_by_policy(store, holder, at, request.policy) {
                    return Step::Stop(TM_Result::TM_WouldBlock);
                }
                continue;
            }
            return visible_successor(&stored, row, prior, failure, request);
        }
        if lookup::in_stripe_now(store, row) {
            return Step::Next(row);
        }
        let header = stored.pinned.header();
        if tid::same(&header.t_ctid, &at) {
            return Step::Stop(TM_Result::TM_Deleted);
        }
        prior = heap::update_xid(header);
        at = header.t_ctid;
    }
}

/// The successor can be locked, unless our own command made it.
fn visible_successor(
    stored: &super::store::Stored,
    row: RowNumber,
    prior: pg_sys::TransactionId,
    failure: &mut TM_FailureData,
    request: LockRequest,
) -> Step {
    // SAFETY: a pure test; HeapTupleHeaderGetCmin is asked only for tuples of our own transaction.
    unsafe {
        if pg_sys::TransactionIdIsCurrentTransactionId(prior) {
            let cmin = pg_sys::HeapTupleHeaderGetCmin(crate::pg::compat::header_ptr(stored.pinned.header()));
            if cmin >= request.cid {
                failure.xmax = prior;
                failure.cmax = cmin;
                return Step::Stop(TM_Result::TM_SelfModified);
            }
        }
    }
    Step::Next(row)
}

/// Waits for `holder` as the policy says; false if the row is to be skipped.
fn wait_by_policy(
    store: &Store,
    holder: pg_sys::TransactionId,
    at: pg_sys::ItemPointerData,
    policy: LockWaitPolicy::Type,
) -> bool {
    if policy == LockWaitPolicy::LockWaitBlock {
        heap::wait_for(store.companion(), holder, at);
        return true;
    }
    // SAFETY: called with no buffer locked.
    if unsafe { crate::pg::compat::conditional_wait(holder) } {
        return true;
    }
    refuse_to_wait(store, policy);
    false
}

/// Raises an error if a row that is locked is not to be skipped.
fn refuse_to_wait(store: &Store, policy: LockWaitPolicy::Type) {
    if policy == LockWaitPolicy::LockWaitError {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            format!("could not obtain lock on row in relation \"{}\"", store.table().name())
        );
    }
}

/// The last version of a row that the snapshot sees, starting from one that it may see (WHERE CURRENT OF, currtid).
pub fn latest_version(table: Rel, start: RowNumber, snapshot: Snap) -> RowNumber {
    let Some(store) = Store::open(table) else { return start };
    let (mut row, mut latest) = (start, start);
    loop {
        if lookup::sees(&store, row, snapshot) {
            latest = row;
        }
        let now = standing::standing(&store, row);
        let handle = now.row.filter(|_| !lookup::in_stripe_now(&store, row)).or(now.anchor);
        let next = handle.and_then(|(handle, _)| successor(&store, handle));
        match next {
            Some(next) if next != row => row = next,
            _ => return latest,
        }
    }
}

/// The version that replaced the one behind `handle`.
fn successor(store: &Store, handle: Handle) -> Option<RowNumber> {
    let stored = store.fetch(handle.at(), Snap::any())?;
    let (replaced, next) = (heap::update_xid(stored.pinned.header()), stored.pinned.header().t_ctid);
    if replaced == pg_sys::InvalidTransactionId || tid::same(&next, &handle.at()) || heap::moved_partitions(&next) {
        return None;
    }
    drop(stored);
    let next = store.fetch(next, Snap::any())?;
    match next.item {
        Item::Row { row, .. } if heap::raw_xmin(next.pinned.header()) == replaced => Some(row),
        _ => None,
    }
}
