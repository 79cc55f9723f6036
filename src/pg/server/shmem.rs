//! Areas in PostgreSQL's main shared memory, and the two hooks that set them up.

use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One value of type `T` in shared memory, the same in all processes.
///
/// `T` changes through its own atomics, as there is no other access than a shared reference. It must not point to
/// memory of one process; that it owns none is checked when the program is compiled.
pub struct Area<T: Default + Sync + 'static> {
    name: &'static CStr,
    value: AtomicPtr<T>,
}

/// What the table of areas needs of each.
pub trait SharedArea: Sync {
    /// Adds the area's size to what the server asks for. Only in the request hook.
    fn request(&self);
    /// Creates the area, or finds it. Only in the startup hook.
    fn attach(&self);
}

impl<T: Default + Sync + 'static> Area<T> {
    /// An area that is not there yet. `name` is unique in the server.
    pub const fn new(name: &'static CStr) -> Self {
        const { assert!(!std::mem::needs_drop::<T>(), "shared memory holds plain values only") };
        Self { name, value: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The value, or None where the library is not preloaded (or the server has not set the area up yet).
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or set by `attach` to an initialised value that lives as long as the process does.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }
}

impl<T: Default + Sync + 'static> SharedArea for Area<T> {
    fn request(&self) {
        // SAFETY: called from the request hook, where this is allowed.
        unsafe { pg_sys::RequestAddinShmemSpace(pg_sys::MAXALIGN(size_of::<T>())) }
    }

    fn attach(&self) {
        let mut found = false;
        // SAFETY: called from the startup hook under AddinShmemInitLock. ShmemInitStruct raises when it is out of
        // memory, otherwise it returns at least `size` bytes aligned to a cache line.
        let value = unsafe { pg_sys::ShmemInitStruct(self.name.as_ptr(), size_of::<T>(), &mut found) }.cast::<T>();
        if !found {
            // SAFETY: `value` has room for a T, and no other process sees it yet.
            unsafe { value.write(T::default()) };
        }
        self.value.store(value, Ordering::Release);
    }
}

/// What to do when the server sizes and when it sets up shared memory.
struct Callbacks {
    request: fn(),
    attach: fn(),
    previous_request: pg_sys::shmem_request_hook_type,
    previous_startup: pg_sys::shmem_startup_hook_type,
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

/// Hooks `request` and `attach` in, behind what other libraries have hooked in before. Only while preloading, once.
pub fn install(request: fn(), attach: fn()) {
    // SAFETY: the postmaster runs no threads, and the hooks are read after all libraries are loaded.
    unsafe {
        let callbacks = Callbacks {
            request,
            attach,
            previous_request: pg_sys::shmem_request_hook,
            previous_startup: pg_sys::shmem_startup_hook,
        };
        if CALLBACKS.set(callbacks).is_ok() {
            pg_sys::shmem_request_hook = Some(request_hook);
            pg_sys::shmem_startup_hook = Some(startup_hook);
        }
    }
}

#[pgrx::pg_guard]
extern "C-unwind" fn request_hook() {
    let Some(callbacks) = CALLBACKS.get() else { return };
    if let Some(previous) = callbacks.previous_request {
        // SAFETY: the predecessor expects to be called as the server calls us.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| previous()) };
    }
    (callbacks.request)();
}

#[pgrx::pg_guard]
extern "C-unwind" fn startup_hook() {
    /// `AddinShmemInitLock`, which C code knows as a macro.
    const ADDIN_SHMEM_INIT_LOCK: usize = 21;
    let Some(callbacks) = CALLBACKS.get() else { return };
    if let Some(previous) = callbacks.previous_startup {
        // SAFETY: the predecessor expects to be called as the server calls us.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| previous()) };
    }
    // SAFETY: the array of built-in locks is there before this hook runs. An ERROR in between ends the server.
    unsafe {
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        (callbacks.attach)();
        pg_sys::LWLockRelease(lock);
    }
}
