//! Utility statements that need a database without background workers.

use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// The database that a statement needs for itself: DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE their
/// database, CREATE DATABASE its template, DROP and ALTER EXTENSION `extension` the current one. None for other
/// statements, for databases that do not exist, and if the user lacks the rights that the statement asks for.
///
/// # Safety
/// `statement` must be a valid parse tree of a utility statement, and a transaction must be open.
pub unsafe fn claim(statement: *mut pg_sys::Node, extension: &CStr) -> Option<pg_sys::Oid> {
    use pg_sys::NodeTag::*;
    // SAFETY: the caller's promise; the tag says which type the node has, and its strings are terminated.
    unsafe {
        match (*statement).type_ {
            T_DropdbStmt => owned_database((*statement.cast::<pg_sys::DropdbStmt>()).dbname),
            T_AlterDatabaseStmt => {
                let alter = &*statement.cast::<pg_sys::AlterDatabaseStmt>();
                option(alter.options, c"tablespace").and_then(|_| owned_database(alter.dbname))
            }
            T_RenameStmt => {
                let rename = &*statement.cast::<pg_sys::RenameStmt>();
                let of_database = rename.renameType == pg_sys::ObjectType::OBJECT_DATABASE;
                of_database.then(|| owned_database(rename.subname)).flatten()
            }
            T_CreatedbStmt => template(&*statement.cast::<pg_sys::CreatedbStmt>()),
            T_AlterExtensionStmt => current_if((*statement.cast::<pg_sys::AlterExtensionStmt>()).extname, extension),
            T_DropStmt => {
                let drop = &*statement.cast::<pg_sys::DropStmt>();
                let of_extension = drop.removeType == pg_sys::ObjectType::OBJECT_EXTENSION;
                let mut names = items(drop.objects).filter(|_| of_extension);
                names.find_map(|name| current_if(string(name), extension))
            }
            _ => None,
        }
    }
}

/// True for the kinds of statement that [`claim`] looks into.
pub fn may_claim(tag: pg_sys::NodeTag) -> bool {
    use pg_sys::NodeTag::*;
    matches!(
        tag,
        T_DropdbStmt | T_AlterDatabaseStmt | T_RenameStmt | T_CreatedbStmt | T_AlterExtensionStmt | T_DropStmt
    )
}

/// The current database, if `name` is the extension's. Who neither owns the database nor is a superuser cannot own the
/// extension.
///
/// # Safety
/// `name` must be null or a terminated string.
unsafe fn current_if(name: *const c_char, extension: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: the caller's promise.
    let matches = !name.is_null() && unsafe { CStr::from_ptr(name) } == extension;
    let database = super::database::current();
    // SAFETY: callers of `claim` have a transaction open.
    (matches && unsafe { is_owned(database) }).then_some(database)
}

/// The database that CREATE DATABASE copies.
///
/// # Safety
/// As for [`claim`].
unsafe fn template(create: &pg_sys::CreatedbStmt) -> Option<pg_sys::Oid> {
    // SAFETY: the caller's promise; defGetString raises unless the option is a string.
    unsafe {
        let name = match option(create.options, c"template") {
            Some(option) if !(*option).arg.is_null() => pg_sys::defGetString(option),
            _ => c"template1".as_ptr().cast_mut(),
        };
        let database = pg_sys::get_database_oid(name, true);
        (database != pg_sys::InvalidOid && may_create_databases()).then_some(database)
    }
}

/// A database by name, if the current user owns it.
///
/// # Safety
/// `name` must be null or a terminated string; a transaction must be open.
unsafe fn owned_database(name: *const c_char) -> Option<pg_sys::Oid> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let database = pg_sys::get_database_oid(name, true);
        is_owned(database).then_some(database)
    }
}

/// True if the database exists and the current user owns it, as superusers own all.
///
/// # Safety
/// A transaction must be open.
unsafe fn is_owned(database: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise; tuples of pg_database begin with the fixed part that FormData describes.
    unsafe {
        syscache(pg_sys::SysCacheIdentifier::DATABASEOID, database, |tuple| {
            let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>()).datdba;
            pg_sys::has_privs_of_role(pg_sys::GetUserId(), owner)
        })
    }
}

/// True if the current user may create databases.
///
/// # Safety
/// A transaction must be open.
unsafe fn may_create_databases() -> bool {
    // SAFETY: the caller's promise; tuples of pg_authid begin with the fixed part that FormData describes.
    unsafe {
        syscache(pg_sys::SysCacheIdentifier::AUTHOID, pg_sys::GetUserId(), |tuple| {
            let role = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_authid>();
            role.rolsuper || role.rolcreatedb
        })
    }
}

/// Asks something of the catalog row with an OID; false if there is none.
///
/// # Safety
/// A transaction must be open, and `cache` must have the OID as its only key.
unsafe fn syscache(
    cache: pg_sys::SysCacheIdentifier::Type,
    oid: pg_sys::Oid,
    ask: impl FnOnce(pg_sys::HeapTuple) -> bool,
) -> bool {
    // SAFETY: the caller's promise; an ERROR in between leaves the tuple to transaction abort.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, pg_sys::Datum::from(oid));
        if tuple.is_null() {
            return false;
        }
        let answer = ask(tuple);
        pg_sys::ReleaseSysCache(tuple);
        answer
    }
}

/// The option of a name in a list of options.
///
/// # Safety
/// `options` must be NIL or a list of DefElem.
unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut options = items(options).map(|item| item.cast::<pg_sys::DefElem>());
        options.find(|item| CStr::from_ptr((**item).defname) == name)
    }
}

/// The nodes of a list.
///
/// # Safety
/// `list` must be NIL or a list of nodes, and stay as it is while the iterator lives.
unsafe fn items(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::Node> {
    // SAFETY: the caller's promise; `elements` has `length` cells.
    let length = if list.is_null() { 0 } else { unsafe { (*list).length as usize } };
    // SAFETY: as above.
    (0..length).map(move |index| unsafe { (*(*list).elements.add(index)).ptr_value.cast::<pg_sys::Node>() })
}

/// The text of a String node, null for other nodes.
///
/// # Safety
/// `node` must be a valid node.
unsafe fn string(node: *mut pg_sys::Node) -> *const c_char {
    // SAFETY: the caller's promise; the tag says which type the node has.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_String => (*node.cast::<pg_sys::String>()).sval,
            _ => std::ptr::null(),
        }
    }
}
