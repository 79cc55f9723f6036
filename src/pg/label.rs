//! Security labels of relations and their columns.

use pgrx::pg_sys;
use std::ffi::{CStr, CString};
use std::sync::{Once, OnceLock};

/// Decides whether an object may have a label; raises an error if not. `None` removes the label.
pub type Check = fn(&pg_sys::ObjectAddress, Option<&str>);

static CHECK: OnceLock<(&'static CStr, Check)> = OnceLock::new();

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn check_label(object: *const pg_sys::ObjectAddress, label: *const std::ffi::c_char) {
    // SAFETY: core passes a valid object and a terminated string or null.
    unsafe {
        let text = (!label.is_null()).then(|| CStr::from_ptr(label).to_string_lossy());
        if let Some((_, check)) = CHECK.get() {
            check(&*object, text.as_deref());
        }
    }
}

/// Says which label provider there is and what its labels must look like. Once per process, in `_PG_init`.
pub fn register(provider: &'static CStr, check: Check) {
    let _ = CHECK.set((provider, check));
}

/// Makes the provider known to core when a statement names it. Not earlier: a statement that names no provider goes to
/// the only one there is, and it is not meant for us.
///
/// # Safety
/// `statement` must be a SECURITY LABEL statement.
pub unsafe fn before_statement(statement: *const pg_sys::SecLabelStmt) {
    static KNOWN: Once = Once::new();
    // SAFETY: the caller's promise; name and function live as long as the process.
    unsafe {
        let named = (*statement).provider;
        if let Some((provider, _)) = CHECK.get()
            && !named.is_null()
            && CStr::from_ptr(named) == *provider
        {
            KNOWN.call_once(|| pg_sys::register_label_provider(provider.as_ptr(), Some(check_label)));
        }
    }
}

fn address(relation: pg_sys::Oid, column: i32) -> pg_sys::ObjectAddress {
    pg_sys::ObjectAddress { classId: pg_sys::RelationRelationId, objectId: relation, objectSubId: column }
}

/// Label of a relation, if `column` is 0, or of one of its columns.
pub fn get(relation: pg_sys::Oid, column: i32, provider: &CStr) -> Option<String> {
    let object = address(relation, column);
    // SAFETY: returns null or a palloc'd terminated string.
    unsafe {
        let label = pg_sys::GetSecurityLabel(&object, provider.as_ptr());
        if label.is_null() {
            return None;
        }
        let text = CStr::from_ptr(label).to_string_lossy().into_owned();
        pg_sys::pfree(label.cast());
        Some(text)
    }
}

/// Sets or removes the label of a relation or a column. The caller has checked permissions and the label.
pub fn set(relation: pg_sys::Oid, column: i32, provider: &CStr, label: Option<&str>) {
    let object = address(relation, column);
    let text = label.and_then(|label| CString::new(label).ok());
    // SAFETY: both strings are terminated and live during the call.
    unsafe {
        pg_sys::SetSecurityLabel(
            &object,
            provider.as_ptr(),
            text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr()),
        );
    }
}
