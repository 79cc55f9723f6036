//! Range scans over a companion's index. They return TIDs; the caller judges visibility.

use super::{Rel, compat};
use crate::columnar::key::{Key, KeyRange};
use pgrx::pg_sys;

/// A running scan, ended on drop.
pub struct KeyScan {
    scan: pg_sys::IndexScanDesc,
    _keys: Box<[pg_sys::ScanKeyData]>,
}

fn scan_key(attribute: i16, strategy: u32, procedure: u32, argument: pg_sys::Datum) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: plain initialisation with a built-in comparison procedure.
    unsafe { pg_sys::ScanKeyInit(&mut key, attribute, strategy as u16, pg_sys::Oid::from(procedure), argument) };
    key
}

fn keys_for(range: &KeyRange) -> Vec<pg_sys::ScanKeyData> {
    use pg_sys::{F_INT4GE, F_INT4LE, F_OIDEQ, F_OIDGE, F_OIDLE};
    let id = |v: u32| pg_sys::Datum::from(v);
    let seq = |v: i32| pg_sys::Datum::from(v);
    let (ge, le) = (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::BTLessEqualStrategyNumber);
    if range.from.id == range.to.id {
        return vec![
            scan_key(1, pg_sys::BTEqualStrategyNumber, F_OIDEQ, id(range.from.id)),
            scan_key(2, ge, F_INT4GE, seq(range.from.seq)),
            scan_key(2, le, F_INT4LE, seq(range.to.seq)),
        ];
    }
    // Ranges over several ids are of rows or stripes: non-negative sequence numbers.
    vec![
        scan_key(1, ge, F_OIDGE, id(range.from.id)),
        scan_key(1, le, F_OIDLE, id(range.to.id)),
        scan_key(2, ge, F_INT4GE, seq(0)),
    ]
}

impl KeyScan {
    /// Starts a scan in key order.
    pub fn begin(companion: Rel, index: Rel, range: &KeyRange) -> Self {
        let mut keys = keys_for(range).into_boxed_slice();
        // SAFETY: both relations are open; SnapshotAny keeps the leaf page pinned between tuples, so that a TID
        // cannot be recycled before it is looked at.
        unsafe {
            let scan = compat::index_beginscan(
                companion.raw(),
                index.raw(),
                &raw mut pg_sys::SnapshotAnyData,
                keys.len() as i32,
            );
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), keys.len() as i32, std::ptr::null_mut(), 0);
            Self { scan, _keys: keys }
        }
    }

    /// TID of the next entry.
    #[inline]
    pub fn next(&mut self) -> Option<pg_sys::ItemPointerData> {
        // SAFETY: the scan is open; the returned pointer is into the scan descriptor.
        unsafe {
            let tid = pg_sys::index_getnext_tid(self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tid.is_null() { None } else { Some(*tid) }
        }
    }

    /// Says that nobody needs the entry that was returned last: scans pass over it from now on. Only for entries whose tuple is dead
    /// to all, or gone. On a standby it does nothing.
    pub fn forget_last(&mut self) {
        // SAFETY: the scan is open; the flag is looked at by the next call of `next`.
        unsafe { (*self.scan).kill_prior_tuple = !(*self.scan).xactStartedInRecovery }
    }
}

impl Drop for KeyScan {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: begun in `begin`.
            unsafe { pg_sys::index_endscan(self.scan) }
        }
    }
}

/// True if the key of a fetched tuple lies in the range.
#[inline]
pub fn contains(range: &KeyRange, key: Key) -> bool {
    range.from <= key && key <= range.to
}
