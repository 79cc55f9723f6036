//! What aggregation asks PostgreSQL for.

use crate::execution::aggregate;
use crate::pg::values::pointed_bytes;
use pgrx::pg_sys::{self, Datum, FmgrInfo, Oid};
use std::cmp::Ordering;

/// PostgreSQL's functions.
#[derive(Default)]
pub struct Server {
    /// For each aggregate the function that compares its arguments, and the collation, if it needs one.
    pub comparisons: Vec<Option<(Box<FmgrInfo>, Oid)>>,
}

impl Server {
    /// The comparison of a type's default order.
    ///
    /// # Safety
    /// The current memory context must live as long as this.
    pub unsafe fn comparison(type_oid: Oid, collation: Oid) -> Option<(Box<FmgrInfo>, Oid)> {
        // SAFETY: catalog look-ups, inside a transaction.
        unsafe {
            let entry = pg_sys::lookup_type_cache(type_oid, pg_sys::TYPECACHE_CMP_PROC as i32);
            if (*entry).cmp_proc == pg_sys::InvalidOid {
                return None;
            }
            let mut info = Box::new(FmgrInfo::default());
            pg_sys::fmgr_info((*entry).cmp_proc, &mut *info);
            Some((info, collation))
        }
    }
}

impl aggregate::Server for Server {
    fn add(&mut self, a: &[u8], b: &[u8]) -> Vec<u8> {
        // SAFETY: both are numerics with their headers; the sum is copied.
        unsafe {
            let function = Oid::from(pg_sys::F_NUMERIC_ADD);
            let sum = pg_sys::OidFunctionCall2Coll(function, pg_sys::InvalidOid, pointer(a), pointer(b));
            pointed_bytes(sum, -1).to_vec()
        }
    }

    fn order(&mut self, aggregate: usize, a: &[u8], b: &[u8]) -> Ordering {
        let Some(Some((function, collation))) = self.comparisons.get_mut(aggregate) else { return a.cmp(b) };
        // SAFETY: both are values of the aggregate's argument.
        let order = unsafe { pg_sys::FunctionCall2Coll(&mut **function, *collation, pointer(a), pointer(b)) };
        (order.value() as i32).cmp(&0)
    }
}

/// Bytes as PostgreSQL's functions take them: where they do not lie as these expect, a copy in the current memory context.
///
/// # Safety
/// Must run in a backend.
unsafe fn pointer(bytes: &[u8]) -> Datum {
    if bytes.as_ptr().align_offset(8) == 0 {
        return Datum::from(bytes.as_ptr());
    }
    // SAFETY: the caller's promise.
    unsafe { copied(bytes) }
}

/// A copy in the current memory context, which lies as PostgreSQL's functions expect.
///
/// # Safety
/// Must run in a backend.
pub unsafe fn copied(bytes: &[u8]) -> Datum {
    // SAFETY: the copy has room for the bytes.
    unsafe {
        let copy = pg_sys::palloc(bytes.len().max(1)).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        Datum::from(copy)
    }
}
