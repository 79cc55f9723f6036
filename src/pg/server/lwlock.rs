//! Lightweight locks in named tranches of one lock each.

use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A lightweight lock of ours. Its name is what wait events show.
pub struct LwLock {
    name: &'static CStr,
    lock: AtomicPtr<pg_sys::LWLock>,
}

/// Holds a lock until dropped. When an ERROR unwinds, transaction abort releases it instead.
#[must_use]
pub struct LwLockGuard {
    lock: *mut pg_sys::LWLock,
}

impl LwLock {
    /// A lock that is not there yet.
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, lock: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Asks for the lock. Only in the shared-memory request hook.
    pub fn request(&self) {
        // SAFETY: called from the request hook; the name is copied.
        unsafe { pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1) }
    }

    /// Finds the lock. Only in the shared-memory startup hook, after [`LwLock::request`].
    pub fn attach(&self) {
        // SAFETY: the tranche was requested under this name.
        let lock = unsafe { &raw mut (*pg_sys::GetNamedLWLockTranche(self.name.as_ptr())).lock };
        self.lock.store(lock, Ordering::Release);
    }

    /// Waits for the lock in exclusive mode.
    pub fn exclusive(&self) -> LwLockGuard {
        self.acquire(pg_sys::LWLockMode::LW_EXCLUSIVE)
    }

    /// Waits for the lock in shared mode.
    pub fn shared(&self) -> LwLockGuard {
        self.acquire(pg_sys::LWLockMode::LW_SHARED)
    }

    fn acquire(&self, mode: pg_sys::LWLockMode::Type) -> LwLockGuard {
        let lock = self.lock.load(Ordering::Acquire);
        if !lock.is_null() {
            // SAFETY: set by `attach`, lives as long as the process.
            unsafe { pg_sys::LWLockAcquire(lock, mode) };
        }
        LwLockGuard { lock }
    }
}

impl Drop for LwLockGuard {
    fn drop(&mut self) {
        if !self.lock.is_null() && !std::thread::panicking() {
            // SAFETY: this process holds the lock since `acquire`.
            unsafe { pg_sys::LWLockRelease(self.lock) };
        }
    }
}
