//! Sorting values of one type by PostgreSQL's own comparison.

use pgrx::pg_sys;
use pgrx::pg_sys::submodules::ffi::pg_guard_ffi_boundary;
use std::cmp::Ordering;
use std::ffi::c_void;

/// A value with its place in the order in which it came, and what it counts.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Weighted {
    /// The value.
    pub datum: pg_sys::Datum,
    /// What comes before it counts as much.
    pub position: f64,
    /// How many values it stands for.
    pub weight: f64,
}

/// Sorts values; equal ones stay in the order of their positions. Says of each whether it equals the one before.
///
/// # Safety
/// `less_than` must be the less-than operator of a btree order of the values' type, and the values must be valid.
pub unsafe fn sort(values: &mut [Weighted], less_than: pg_sys::Oid, collation: pg_sys::Oid, equal: &mut [bool]) {
    // SAFETY: the caller's promise. The comparison runs in C's frames and in those of `compare`, which own nothing.
    unsafe {
        let mut support = pg_sys::SortSupportData {
            ssup_cxt: pg_sys::CurrentMemoryContext,
            ssup_collation: collation,
            ..Default::default()
        };
        pg_sys::PrepareSortSupportFromOrderingOp(less_than, &mut support);
        let argument = (&raw mut support).cast::<c_void>();
        pg_sys::qsort_arg(values.as_mut_ptr().cast(), values.len(), size_of::<Weighted>(), Some(compare), argument);
        pg_guard_ffi_boundary(|| {
            for (pair, equal) in values.array_windows::<2>().zip(equal.iter_mut().skip(1)) {
                *equal = compare_datums(&pair[0], &pair[1], &mut support) == 0;
            }
        });
    }
}

/// # Safety
/// The values must be valid and of the type that the support is for.
unsafe fn compare_datums(a: &Weighted, b: &Weighted, support: pg_sys::SortSupport) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { (*support).comparator.map_or(0, |comparator| comparator(a.datum, b.datum, support)) }
}

unsafe extern "C-unwind" fn compare(a: *const c_void, b: *const c_void, support: *mut c_void) -> i32 {
    // SAFETY: `sort` passes its values and its support.
    unsafe {
        let (a, b) = (&*a.cast::<Weighted>(), &*b.cast::<Weighted>());
        match compare_datums(a, b, support.cast()) {
            0 => a.position.partial_cmp(&b.position).unwrap_or(Ordering::Equal) as i32,
            order => order,
        }
    }
}
