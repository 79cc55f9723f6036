//! PostgreSQL functions that pgrx has no binding for. The signatures are the same from 15 to 18.

use pgrx::pg_sys;

#[pgrx::pg_guard]
unsafe extern "C-unwind" {
    /// Returns a copy of a tuple whose out-of-line values have been fetched (`access/common/heaptuple` family, toast).
    pub fn toast_flatten_tuple(tup: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> pg_sys::HeapTuple;
    /// Locks the whole relation for serializable reads (storage/predicate.h).
    pub fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
    /// Checks whether a write conflicts with serializable readers (storage/predicate.h).
    pub fn CheckForSerializableConflictIn(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        blkno: pg_sys::BlockNumber,
    );
    /// Compares two datums byte by byte (utils/datum.h).
    pub fn datumIsEqual(a: pg_sys::Datum, b: pg_sys::Datum, by_value: bool, len: i32) -> bool;
    /// Creates the TOAST table of a relation that has none (catalog/toasting.h).
    pub fn NewHeapCreateToastTable(
        rel_oid: pg_sys::Oid,
        reloptions: pg_sys::Datum,
        lockmode: pg_sys::LOCKMODE,
        old_toast: pg_sys::Oid,
    );
}
