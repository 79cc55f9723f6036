//! Rust values whose life is bound to a PostgreSQL memory context.

use pgrx::pg_sys;

#[repr(C)]
struct Bound<T> {
    callback: pg_sys::MemoryContextCallback,
    value: Option<T>,
}

/// Drops the value when its context is reset: at the end of the query, or after an ERROR, when nothing else would.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn drop_bound<T>(argument: *mut std::ffi::c_void) {
    // SAFETY: `argument` is the Bound that `bind` registered; the callback runs once.
    unsafe { drop(Box::from_raw(argument.cast::<Bound<T>>())) }
}

/// A value owned by a memory context.
pub struct ContextOwned<T>(*mut Bound<T>);

impl<T> Clone for ContextOwned<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for ContextOwned<T> {}

impl<T> ContextOwned<T> {
    fn bind_option(value: Option<T>) -> Self {
        let raw = Box::into_raw(Box::new(Bound { callback: Default::default(), value }));
        // SAFETY: the Bound lives until its callback runs.
        unsafe {
            (*raw).callback.func = Some(drop_bound::<T>);
            (*raw).callback.arg = raw.cast();
            pg_sys::MemoryContextRegisterResetCallback(pg_sys::CurrentMemoryContext, &mut (*raw).callback);
        }
        Self(raw)
    }

    /// Binds the place for a value to the current memory context.
    pub fn bind_nothing() -> Self {
        Self::bind_option(None)
    }

    /// Binds a value to the current memory context.
    pub fn bind(value: T) -> Self {
        Self::bind_option(Some(value))
    }

    /// Puts a value there.
    ///
    /// # Safety
    /// As for [`Self::get`].
    pub unsafe fn set(self, value: T) {
        // SAFETY: the caller's promise.
        unsafe { (*self.0).value = Some(value) }
    }

    /// The value, unless it was taken.
    ///
    /// # Safety
    /// The context must not have been reset, and no other reference to the value may be in use.
    #[inline]
    pub unsafe fn get<'a>(self) -> Option<&'a mut T> {
        // SAFETY: the caller's promise.
        unsafe { (*self.0).value.as_mut() }
    }

    /// Takes the value out.
    ///
    /// # Safety
    /// As for [`Self::get`].
    pub unsafe fn take(self) -> Option<T> {
        // SAFETY: the caller's promise.
        unsafe { (*self.0).value.take() }
    }
}
