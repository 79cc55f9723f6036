//! Arguments of type `regclass`: a table, which SQL may name by text.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;

/// OID of the relation.
#[derive(Debug, Clone, Copy)]
pub struct RegClass(pub pg_sys::Oid);

pgrx::impl_sql_translatable!(RegClass, arg_only = "regclass");

// SAFETY: a regclass is an oid by another name.
unsafe impl<'fcx> ArgAbi<'fcx> for RegClass {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { pg_sys::Oid::unbox_arg_unchecked(arg) })
    }
}
