//! Heap operations on companion tuples, with what PostgreSQL reports about them.

use super::Rel;
use super::compat;
use super::snapshot::{Kind, Snap};
use pgrx::pg_sys;

pub use pg_sys::{LockTupleMode, LockWaitPolicy, TM_FailureData, TM_Result};

/// Inserts a tuple; its `t_self` then has the TID. Never logged for logical decoding.
///
/// # Safety
/// `tuple` must be a well-formed companion tuple.
pub unsafe fn insert(
    companion: Rel,
    tuple: pg_sys::HeapTuple,
    cid: pg_sys::CommandId,
    options: u32,
) -> pg_sys::ItemPointerData {
    let options = (options | pg_sys::HEAP_INSERT_NO_LOGICAL) as i32;
    // SAFETY: the relation is open for writing and the tuple well formed.
    unsafe {
        pg_sys::heap_insert(companion.raw(), tuple, cid, options, std::ptr::null_mut());
        (*tuple).t_self
    }
}

/// `heap_delete`.
pub fn delete(
    companion: Rel,
    mut tid: pg_sys::ItemPointerData,
    cid: pg_sys::CommandId,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    changing_partition: bool,
) -> (TM_Result::Type, TM_FailureData) {
    let mut failure = TM_FailureData::default();
    // SAFETY: the relation is open for writing and the TID names one of its tuples.
    let result = unsafe {
        pg_sys::heap_delete(companion.raw(), &mut tid, cid, crosscheck, wait, &mut failure, changing_partition)
    };
    (result, failure)
}

/// Takes the companion's notion of key columns away while it lives.
///
/// heap_update compares the key columns of the relation it updates, and those of a companion always change, because a
/// new version has a new row number. What must decide whether FOR KEY SHARE lockers have to be waited for is whether the
/// key of the *table* changes. With no key columns heap_update takes the weaker lock.
struct WithoutKeyColumns {
    companion: Rel,
    saved: *mut pg_sys::Bitmapset,
}

impl WithoutKeyColumns {
    fn new(companion: Rel) -> Self {
        // SAFETY: RelationGetIndexAttrBitmap fills the cached bitmaps of an open relation and returns a copy;
        // afterwards rd_keyattr may be read and replaced until the next invalidation.
        unsafe {
            let copy =
                pg_sys::RelationGetIndexAttrBitmap(companion.raw(), pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_KEY);
            pg_sys::bms_free(copy);
            let relation = companion.raw();
            let saved = (*relation).rd_keyattr;
            (*relation).rd_keyattr = std::ptr::null_mut();
            Self { companion, saved }
        }
    }
}

impl Drop for WithoutKeyColumns {
    fn drop(&mut self) {
        let relation = self.companion.raw();
        // SAFETY: plain field writes; nothing here can raise. If the cache entry was rebuilt meanwhile its bitmaps are
        // not valid, and the detached one is left to its memory context.
        unsafe {
            if compat::attrs_valid(relation) {
                (*relation).rd_keyattr = self.saved;
            }
        }
    }
}

/// `heap_update` of the tuple at `tid` into `new`. With `key_intact` it takes the lock that spares FOR KEY SHARE lockers.
///
/// # Safety
/// `new` must be a well-formed companion tuple.
pub unsafe fn update(
    companion: Rel,
    mut tid: pg_sys::ItemPointerData,
    new: pg_sys::HeapTuple,
    cid: pg_sys::CommandId,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    key_intact: bool,
) -> (TM_Result::Type, TM_FailureData, LockTupleMode::Type) {
    let mut failure = TM_FailureData::default();
    let mut mode = LockTupleMode::LockTupleExclusive;
    let _guard = key_intact.then(|| WithoutKeyColumns::new(companion));
    // SAFETY: the relation is open for writing, the TID names one of its tuples, the new tuple is well formed.
    let result =
        unsafe { compat::heap_update(companion.raw(), &mut tid, new, cid, crosscheck, wait, &mut failure, &mut mode) };
    (result, failure, mode)
}

/// `heap_lock_tuple`; the tuple is not kept.
pub fn lock(
    companion: Rel,
    tid: pg_sys::ItemPointerData,
    cid: pg_sys::CommandId,
    mode: LockTupleMode::Type,
    policy: LockWaitPolicy::Type,
    follow_updates: bool,
) -> (TM_Result::Type, TM_FailureData) {
    let mut tuple = pg_sys::HeapTupleData { t_self: tid, ..Default::default() };
    let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
    let mut failure = TM_FailureData::default();
    // SAFETY: the relation is open; heap_lock_tuple returns with the buffer pinned.
    let result = unsafe {
        let result = pg_sys::heap_lock_tuple(
            companion.raw(),
            &mut tuple,
            cid,
            mode,
            policy,
            follow_updates,
            &mut buffer,
            &mut failure,
        );
        pg_sys::ReleaseBuffer(buffer);
        result
    };
    (result, failure)
}

/// Inserting transaction; `FrozenTransactionId` if frozen.
pub fn xmin(header: &pg_sys::HeapTupleHeaderData) -> pg_sys::TransactionId {
    if u32::from(header.t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN {
        return pg_sys::FrozenTransactionId;
    }
    raw_xmin(header)
}

/// Inserting transaction as written, frozen or not.
pub fn raw_xmin(header: &pg_sys::HeapTupleHeaderData) -> pg_sys::TransactionId {
    // SAFETY: on-page tuples use the t_heap arm of the union.
    unsafe { header.t_choice.t_heap.t_xmin }
}

/// Deleting, updating or locking transaction as written; meaningless if the header says that there is none.
pub fn raw_xmax(header: &pg_sys::HeapTupleHeaderData) -> pg_sys::TransactionId {
    // SAFETY: tuples that are or were on a page use the t_heap arm of the union.
    unsafe { header.t_choice.t_heap.t_xmax }
}

/// Updating or deleting transaction, `InvalidTransactionId` if the tuple is at most locked.
pub fn update_xid(header: &pg_sys::HeapTupleHeaderData) -> pg_sys::TransactionId {
    let mask = u32::from(header.t_infomask);
    if mask & pg_sys::HEAP_XMAX_INVALID != 0 || xmax_is_lock_only(mask) {
        return pg_sys::InvalidTransactionId;
    }
    if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 {
        // SAFETY: the header is a valid on-page header with a multixact that has an update member.
        return unsafe { pg_sys::HeapTupleGetUpdateXid(compat::header_ptr(header)) };
    }
    // SAFETY: on-page tuples use the t_heap arm of the union.
    unsafe { header.t_choice.t_heap.t_xmax }
}

fn xmax_is_lock_only(mask: u32) -> bool {
    mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0
        || mask & (pg_sys::HEAP_XMAX_IS_MULTI | pg_sys::HEAP_XMAX_EXCL_LOCK | pg_sys::HEAP_XMAX_KEYSHR_LOCK)
            == pg_sys::HEAP_XMAX_EXCL_LOCK
}

/// True if the TID names a tuple at all.
pub fn is_valid(tid: &pg_sys::ItemPointerData) -> bool {
    pgrx::itemptr::item_pointer_get_both(*tid).1 != 0
}

/// True if the TID says that the row went to another partition.
pub fn moved_partitions(tid: &pg_sys::ItemPointerData) -> bool {
    let (block, offset) = pgrx::itemptr::item_pointer_get_both(*tid);
    block == pg_sys::InvalidBlockNumber && offset == 0xfffd
}

/// Waits for a transaction that holds the tuple.
pub fn wait_for(companion: Rel, xid: pg_sys::TransactionId, mut tid: pg_sys::ItemPointerData) {
    // SAFETY: the relation is open; called with no buffer locked.
    unsafe { pg_sys::XactLockTableWait(xid, companion.raw(), &mut tid, pg_sys::XLTW_Oper::XLTW_FetchUpdated) }
}

/// Checks a write that was just done for conflicts with serializable readers: of the row that it replaced or removed,
/// if there was one, or else of the whole table. Readers note a read before they read, so none is missed.
pub fn check_serializable_write(table: Rel, replaced: Option<pg_sys::ItemPointerData>) {
    // SAFETY: the relation is open; no TID and no block means the whole relation.
    unsafe {
        match replaced {
            Some(mut tid) => {
                let (block, _) = pgrx::itemptr::item_pointer_get_both(tid);
                super::externs::CheckForSerializableConflictIn(table.raw(), &mut tid, block);
            }
            None => super::externs::CheckForSerializableConflictIn(
                table.raw(),
                std::ptr::null_mut(),
                pg_sys::InvalidBlockNumber,
            ),
        }
    }
}

/// True in a serializable transaction.
#[inline]
pub fn is_serializable() -> bool {
    // SAFETY: a plain read of this process's state.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Notes that a serializable transaction is about to read one row of the table.
pub fn note_serializable_row_read(table: Rel, mut tid: pg_sys::ItemPointerData, snapshot: Snap) {
    // SAFETY: the relation is open and the snapshot valid.
    unsafe {
        if is_serializable() && snapshot.kind() == Kind::Mvcc {
            super::externs::PredicateLockTID(table.raw(), &mut tid, snapshot.raw(), pg_sys::InvalidTransactionId);
        }
    }
}

/// Notes that a serializable transaction reads the table.
pub fn note_serializable_read(table: Rel, snapshot: Snap) {
    // SAFETY: the relation is open and the snapshot valid.
    unsafe {
        if is_serializable() {
            super::externs::PredicateLockRelation(table.raw(), snapshot.raw());
        }
    }
}
