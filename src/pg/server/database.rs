//! Databases of the server and the extension in them.

use pgrx::pg_sys;
use std::ffi::CStr;

/// A database as `pg_database` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Database {
    /// Its OID.
    pub oid: pg_sys::Oid,
    /// Whether connections are possible: allowed, and not left half dropped.
    pub connectable: bool,
}

/// Every database of the server. Only in a transaction; a connection to no database suffices.
pub fn list() -> Vec<Database> {
    let mut databases = Vec::new();
    // SAFETY: an ordinary catalog scan; the relation and the scan are closed before returning, an ERROR leaves
    // both to transaction abort. Tuples of pg_database start with the fixed part that FormData describes.
    unsafe {
        // Sets the horizon that the scan prunes with, as autovacuum's launcher does.
        pg_sys::GetTransactionSnapshot();
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            /// `datconnlimit` of a database whose DROP was interrupted.
            const INVALID: i32 = -2;
            let connectable = form.datallowconn && form.datconnlimit != INVALID;
            databases.push(Database { oid: form.oid, connectable });
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    }
    databases
}

/// True if this database has the extension. Only in a transaction.
pub fn has_extension(name: &'static CStr) -> bool {
    // SAFETY: a catalog lookup by a terminated string; a missing extension is no error.
    unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// OID of the database of this process.
pub fn current() -> pg_sys::Oid {
    // SAFETY: set once when the process connects.
    unsafe { pg_sys::MyDatabaseId }
}

/// Name of a database, or None if it does not exist. Only in a transaction.
pub fn name(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: a catalog lookup that returns null or a palloc'd, terminated string.
    unsafe {
        let name = pg_sys::get_database_name(oid);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
