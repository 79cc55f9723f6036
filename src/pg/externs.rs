//! PostgreSQL functions that pgrx has no binding for. The signatures are the same from 15 to 18.

use pgrx::pg_sys;

/// Declares a function of PostgreSQL and a wrapper that turns an ERROR inside it into a panic.
macro_rules! guarded {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)+) => {
        #[allow(non_snake_case)]
        mod raw {
            use super::*;
            unsafe extern "C-unwind" {
                $(pub fn $name($($argument: $type),*) $(-> $result)?;)+
            }
        }
        $(
            $(#[$doc])*
            ///
            /// # Safety
            /// As for the function of the same name in PostgreSQL.
            #[allow(non_snake_case)]
            pub unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the caller's promise.
                unsafe { pgrx::pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| raw::$name($($argument),*)) }
            }
        )+
    };
}
pub(crate) use guarded;

guarded! {
    /// Returns a copy of a tuple whose out-of-line values have been fetched (access/heaptoast.h).
    fn toast_flatten_tuple(tup: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> pg_sys::HeapTuple;
    /// Locks the whole relation for serializable reads (storage/predicate.h).
    fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
    /// Locks one row for serializable reads (storage/predicate.h).
    fn PredicateLockTID(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        snapshot: pg_sys::Snapshot,
        inserter: pg_sys::TransactionId,
    );
    /// Checks whether a write conflicts with serializable readers (storage/predicate.h).
    fn CheckForSerializableConflictIn(relation: pg_sys::Relation, tid: pg_sys::ItemPointer, block: pg_sys::BlockNumber);
    /// Compares the contents of two datums byte by byte, whatever the headers are (utils/datum.h).
    fn datum_image_eq(a: pg_sys::Datum, b: pg_sys::Datum, by_value: bool, len: i32) -> bool;
    /// Creates the TOAST table of a relation that has none (catalog/toasting.h).
    fn NewHeapCreateToastTable(
        rel_oid: pg_sys::Oid,
        reloptions: pg_sys::Datum,
        lockmode: pg_sys::LOCKMODE,
        old_toast: pg_sys::Oid,
    );
}
