//! Snapshots, by kind.

use pgrx::pg_sys;
use std::cell::RefCell;

/// What a snapshot asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An ordinary MVCC snapshot.
    Mvcc,
    /// Committed rows and our own, as of now.
    Latest,
    /// Like `Latest`, and in-progress changes of others, which are reported in the snapshot.
    Dirty,
    /// Any version there is.
    Any,
    /// Any version that is not dead to everyone.
    NonVacuumable,
}

/// A snapshot that somebody else keeps alive.
#[derive(Clone, Copy)]
pub struct Snap(pg_sys::Snapshot);

impl Snap {
    /// # Safety
    /// `snapshot` must stay valid for as long as the handle is used.
    #[inline]
    pub unsafe fn new(snapshot: pg_sys::Snapshot) -> Self {
        Self(snapshot)
    }

    /// `SnapshotAny`.
    #[inline]
    pub fn any() -> Self {
        Self(&raw mut pg_sys::SnapshotAnyData)
    }

    /// `SnapshotSelf`.
    #[inline]
    pub fn latest() -> Self {
        Self(&raw mut pg_sys::SnapshotSelfData)
    }

    /// The raw pointer, for PostgreSQL's functions.
    #[inline]
    pub fn raw(self) -> pg_sys::Snapshot {
        self.0
    }

    /// The kind.
    #[inline]
    pub fn kind(self) -> Kind {
        use pg_sys::SnapshotType::*;
        // SAFETY: `new` was promised a valid snapshot.
        match unsafe { (*self.0).snapshot_type } {
            SNAPSHOT_MVCC | SNAPSHOT_HISTORIC_MVCC => Kind::Mvcc,
            SNAPSHOT_SELF => Kind::Latest,
            SNAPSHOT_DIRTY => Kind::Dirty,
            SNAPSHOT_NON_VACUUMABLE => Kind::NonVacuumable,
            _ => Kind::Any,
        }
    }

    /// The snapshot under which stripe tuples and marks are read for this one: itself if MVCC, else the latest state.
    #[inline]
    pub fn for_metadata(self) -> Self {
        if self.kind() == Kind::Mvcc { self } else { Self::latest() }
    }

    /// Tells a dirty snapshot's owner which in-progress transactions the row depends on.
    pub fn report_dirty(self, inserter: pg_sys::TransactionId, deleter: pg_sys::TransactionId) {
        debug_assert!(self.kind() == Kind::Dirty);
        // SAFETY: the snapshot is valid; a dirty snapshot's xmin and xmax are its output fields.
        unsafe {
            (*self.0).xmin = inserter;
            (*self.0).xmax = deleter;
            (*self.0).speculativeToken = 0;
        }
    }

    /// The identity of an MVCC snapshot.
    pub fn identity(self) -> SnapIdentity {
        // SAFETY: `new` was promised a valid snapshot.
        let data = unsafe { &*self.0 };
        SnapIdentity { limits: [data.xmin, data.xmax], in_progress: (data.xcnt, data.subxcnt), command: data.curcid }
    }

    /// True if the MVCC snapshot does not see the transaction as finished.
    pub fn does_not_see(self, xid: pg_sys::TransactionId) -> bool {
        // SAFETY: the snapshot is a valid MVCC snapshot.
        unsafe { pg_sys::XidInMVCCSnapshot(xid, self.0) }
    }
}

/// What tells one MVCC snapshot of a backend from another: those with the same limits and the same number of transactions in progress
/// between them see the same, for of these transactions none comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SnapIdentity {
    limits: [pg_sys::TransactionId; 2],
    in_progress: (u32, i32),
    command: pg_sys::CommandId,
}

/// A dirty snapshot of our own, to look at one tuple.
pub struct DirtySnapshot(Box<pg_sys::SnapshotData>);

impl DirtySnapshot {
    /// A fresh one.
    pub fn new() -> Self {
        Self(Box::new(pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        }))
    }

    /// Handle for PostgreSQL's functions.
    pub fn snap(&mut self) -> Snap {
        Snap(&raw mut *self.0)
    }

    /// In-progress inserter of the tuple last looked at, if any.
    pub fn inserter(&self) -> Option<pg_sys::TransactionId> {
        valid(self.0.xmin)
    }

    /// In-progress deleter of the tuple last looked at, if any.
    pub fn deleter(&self) -> Option<pg_sys::TransactionId> {
        valid(self.0.xmax)
    }
}

fn valid(xid: pg_sys::TransactionId) -> Option<pg_sys::TransactionId> {
    (xid != pg_sys::InvalidTransactionId).then_some(xid)
}

/// A registered MVCC snapshot of the latest committed state, unregistered on drop.
pub struct LatestMvcc(pg_sys::Snapshot);

thread_local! {
    /// What [`LatestMvcc::take`] fills and then copies. The server allocates its arrays once and keeps them.
    static SCRATCH: RefCell<pg_sys::SnapshotData> = RefCell::default();
}

impl LatestMvcc {
    /// Takes and registers it. `GetLatestSnapshot` would refuse to in a parallel worker, and would replace the snapshot that
    /// core took before.
    pub fn take() -> Self {
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: callers run inside a transaction; registering copies the snapshot.
            unsafe {
                let snapshot = pg_sys::GetSnapshotData(&mut *scratch);
                (*snapshot).curcid = pg_sys::GetCurrentCommandId(false);
                Self(pg_sys::RegisterSnapshot(snapshot))
            }
        })
    }

    /// Handle.
    pub fn snap(&self) -> Snap {
        Snap(self.0)
    }
}

impl Drop for LatestMvcc {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: registered in `take`.
            unsafe { pg_sys::UnregisterSnapshot(self.0) }
        }
    }
}
