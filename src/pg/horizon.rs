//! Which finished transactions every snapshot sees, and telling standbys about it.

use super::{Rel, compat};
use pgrx::pg_sys;

/// Decides whether what a transaction did is seen by all snapshots of this server.
#[derive(Clone, Copy)]
pub enum Horizon {
    /// Every transaction before this one is.
    Oldest(pg_sys::TransactionId),
    /// As the server's approximate horizons say, which are cheap to ask often.
    Recent(*mut pg_sys::GlobalVisState),
}

impl Horizon {
    /// The exact one, for VACUUM.
    pub fn oldest(table: Rel) -> Self {
        // SAFETY: the relation is open.
        Self::Oldest(unsafe { pg_sys::GetOldestNonRemovableTransactionId(table.raw()) })
    }

    /// The cheap one, for a single row.
    pub fn recent(table: Rel) -> Self {
        // SAFETY: the relation is open; the state is this process's own and permanent.
        Self::Recent(unsafe { pg_sys::GlobalVisTestFor(table.raw()) })
    }

    /// True if every snapshot sees the transaction as finished.
    pub fn passed(self, xid: pg_sys::TransactionId) -> bool {
        match self {
            _ if xid == pg_sys::FrozenTransactionId => true,
            Self::Oldest(oldest) => precedes(xid, oldest),
            // SAFETY: the state is permanent.
            Self::Recent(state) => unsafe { pg_sys::GlobalVisTestIsRemovableXid(state, xid) },
        }
    }
}

/// True if transaction `a` is older than `b`.
pub fn precedes(a: pg_sys::TransactionId, b: pg_sys::TransactionId) -> bool {
    // SAFETY: a pure comparison of transaction ids.
    unsafe { pg_sys::TransactionIdPrecedes(a, b) }
}

/// The newer of two transactions, ignoring special ones.
pub fn newer(a: pg_sys::TransactionId, b: pg_sys::TransactionId) -> pg_sys::TransactionId {
    let normal = |x| pg_sys::TransactionIdIsNormal(x);
    if !normal(b) || (normal(a) && precedes(b, a)) { a } else { b }
}

/// Makes standbys cancel queries whose snapshots may still see what transaction `xid` removed, before index entries of it go.
///
/// The record is the one that a B-tree writes before it reuses a page: it names a relation and a transaction, and its replay does
/// nothing else. `relation` says whose standby queries are meant.
pub fn tell_standbys(relation: Rel, xid: pg_sys::TransactionId) {
    if pg_sys::TransactionIdIsNormal(xid) && relation.is_logged() {
        // SAFETY: the relation is open and this process may write WAL.
        unsafe { compat::log_removal(relation.raw(), full_xid(xid)) }
    }
}

/// The full id of a recent transaction.
fn full_xid(xid: pg_sys::TransactionId) -> u64 {
    // SAFETY: a plain read of shared memory.
    let next = unsafe { pg_sys::ReadNextFullTransactionId().value };
    let behind = (next as u32).wrapping_sub(u32::from(xid));
    next - u64::from(behind)
}
