//! Relations: a copyable handle and an owning guard.

use super::compat;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// A relation that somebody keeps open. Copying it does not open it again.
#[derive(Clone, Copy)]
pub struct Rel(pg_sys::Relation);

impl Rel {
    /// # Safety
    /// `relation` must be an open relation for as long as the handle and its copies are used.
    #[inline]
    pub unsafe fn new(relation: pg_sys::Relation) -> Self {
        Self(relation)
    }

    /// The raw pointer, for PostgreSQL's functions.
    #[inline]
    pub fn raw(self) -> pg_sys::Relation {
        self.0
    }

    #[inline]
    fn data(self) -> &'static pg_sys::RelationData {
        // SAFETY: `new` was promised an open relation; the reference is never kept across a call.
        unsafe { &*self.0 }
    }

    #[inline]
    fn form(self) -> &'static pg_sys::FormData_pg_class {
        // SAFETY: an open relation has its pg_class row.
        unsafe { &*self.data().rd_rel }
    }

    /// OID of the relation.
    #[inline]
    pub fn oid(self) -> pg_sys::Oid {
        self.data().rd_id
    }

    /// Unqualified name as it is, in the encoding of the database.
    pub fn c_name(self) -> CString {
        // SAFETY: relname is a NUL-terminated name of at most 63 bytes.
        unsafe { CStr::from_ptr(self.form().relname.data.as_ptr()) }.to_owned()
    }

    /// Unqualified name.
    pub fn name(self) -> String {
        // SAFETY: relname is a NUL-terminated name of at most 63 bytes.
        unsafe { CStr::from_ptr(self.form().relname.data.as_ptr()) }.to_string_lossy().into_owned()
    }

    /// Pages and rows as VACUUM or ANALYZE last measured them; `None` if never.
    pub fn measured_rows(self) -> Option<(u32, f64)> {
        let form = self.form();
        (form.reltuples >= 0.0).then_some((form.relpages.max(0) as u32, f64::from(form.reltuples)))
    }

    /// True if other tables inherit from it, or did.
    pub fn has_children(self) -> bool {
        self.form().relhassubclass
    }

    /// True if only this session sees the relation.
    pub fn is_temporary(self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
    }

    /// True if changes of the relation go to the WAL.
    pub fn is_logged(self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT
    }

    /// OID of the companion (TOAST) relation, or `InvalidOid`.
    #[inline]
    pub fn companion(self) -> pg_sys::Oid {
        self.form().reltoastrelid
    }

    /// Row descriptor.
    #[inline]
    pub fn desc(self) -> pg_sys::TupleDesc {
        self.data().rd_att
    }

    /// True if the table has row triggers that run, and may read the table, before each row is inserted.
    pub fn has_before_row_triggers(self) -> bool {
        let triggers = self.data().trigdesc;
        if triggers.is_null() {
            return false;
        }
        // SAFETY: a non-null trigdesc of an open relation is valid.
        let t = unsafe { &*triggers };
        t.trig_insert_before_row || t.trig_insert_instead_row
    }

    /// Counts rows that were inserted, for the statistics.
    pub fn count_inserted(self, rows: u64) {
        // SAFETY: the relation is open.
        unsafe { pg_sys::pgstat_count_heap_insert(self.0, rows as pg_sys::PgStat_Counter) }
    }

    /// Identity of the relation's file: database and file number. Changes with TRUNCATE and rewrites.
    #[inline]
    pub fn file(self) -> FileId {
        compat::file_id(self.0)
    }

    /// Physical length of the main fork in blocks (the access method's `relation_size` reports virtual blocks).
    pub fn physical_blocks(self) -> pg_sys::BlockNumber {
        // SAFETY: the relation is open; smgropen finds or makes the entry of its file.
        unsafe { pg_sys::smgrnblocks(compat::smgr(self.0), pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// True if the relation, or its file, is new in the current transaction and goes if it is rolled back.
    pub fn is_new_in_transaction(self) -> bool {
        // SAFETY: the relation is open.
        unsafe { compat::is_new_in_transaction(self.0) }
    }

    /// True of an index that needs the values of rows at the time of their entries: an exclusion constraint compares them, BRIN summarises
    /// them.
    pub fn is_index_that_reads_rows(self) -> bool {
        let index = self.data().rd_index;
        // SAFETY: an open index has its pg_index row, and only indexes have one.
        let excludes = !index.is_null() && unsafe { (*index).indisexclusion };
        excludes || self.form().relam == pg_sys::BRIN_AM_OID
    }

    /// OIDs of the relation's indexes.
    pub fn index_oids(self) -> Vec<pg_sys::Oid> {
        // SAFETY: RelationGetIndexList returns a fresh list of OIDs that is ours to free.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.0);
            let oids = compat::oid_list(list);
            pg_sys::list_free(list);
            oids
        }
    }
}

/// Which file a relation's storage is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileId {
    /// Database, 0 for shared relations.
    pub database: u32,
    /// File number.
    pub number: u32,
}

/// An open relation that is closed on drop; its lock is kept until the end of the transaction.
pub struct OpenRel(Rel);

impl OpenRel {
    /// Opens a table.
    pub fn table(oid: pg_sys::Oid, lock: u32) -> Self {
        // SAFETY: table_open raises an ERROR rather than returning an invalid relation.
        Self(unsafe { Rel::new(pg_sys::table_open(oid, lock as pg_sys::LOCKMODE)) })
    }

    /// Opens a relation of any kind on which a lock is held; `None` if it is gone.
    pub fn locked(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: inside a transaction; the relation stays while the lock is held.
        unsafe {
            let relation = pg_sys::try_relation_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE);
            (!relation.is_null()).then(|| Self(Rel::new(relation)))
        }
    }

    /// Opens a table if its lock is free and it is still there. Never waits.
    pub fn try_table(oid: pg_sys::Oid, lock: u32) -> Option<Self> {
        // SAFETY: inside a transaction; the relation is opened under the lock, so it stays.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(oid, lock as pg_sys::LOCKMODE) {
                return None;
            }
            let relation = pg_sys::try_relation_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE);
            (!relation.is_null()).then(|| Self(Rel::new(relation)))
        }
    }

    /// Opens an index.
    pub fn index(oid: pg_sys::Oid, lock: u32) -> Self {
        // SAFETY: index_open raises an ERROR rather than returning an invalid relation.
        Self(unsafe { Rel::new(pg_sys::index_open(oid, lock as pg_sys::LOCKMODE)) })
    }

    /// Lets go of the relation without closing it: the resource owner has done so.
    pub fn abandon(self) {
        std::mem::forget(self);
    }

    /// The handle.
    #[inline]
    pub fn rel(&self) -> Rel {
        self.0
    }
}

impl Drop for OpenRel {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: opened in the constructor and not closed since; NoLock keeps the lock.
            unsafe { pg_sys::relation_close(self.0.raw(), pg_sys::NoLock as pg_sys::LOCKMODE) }
        }
    }
}

/// Held while row numbers are reserved for a stripe and until others can see for what. Whoever holds it knows that each number below the
/// table's next one belongs to a reservation or a stripe that it will find, or to the row store.
pub struct NumberingLock(Rel);

impl NumberingLock {
    /// No row has this TID, so nobody takes the lock for another purpose.
    fn tid() -> pg_sys::ItemPointerData {
        let mut tid = pg_sys::ItemPointerData::default();
        pgrx::itemptr::item_pointer_set_all(&mut tid, pg_sys::InvalidBlockNumber - 1, 1);
        tid
    }

    /// Waits for the lock, which nobody holds for longer than it takes to insert a tuple.
    pub fn take(table: Rel) -> Self {
        // SAFETY: the table is open; after an ERROR the lock goes with the transaction.
        unsafe { pg_sys::LockTuple(table.raw(), &mut Self::tid(), pg_sys::ExclusiveLock as pg_sys::LOCKMODE) };
        Self(table)
    }
}

impl Drop for NumberingLock {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: taken in `take`; the table is open.
            unsafe {
                pg_sys::UnlockTuple(self.0.raw(), &mut Self::tid(), pg_sys::ExclusiveLock as pg_sys::LOCKMODE);
            }
        }
    }
}
