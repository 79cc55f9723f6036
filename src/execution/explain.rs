//! What EXPLAIN says of a columnar scan.

use super::node;
use pgrx::pg_guard;
use pgrx::pg_sys::*;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

#[pg_guard]
pub unsafe extern "C-unwind" fn explain(node: *mut CustomScanState, ancestors: *mut List, out: *mut ExplainState) {
    // SAFETY: core's arguments; no scan runs meanwhile.
    unsafe {
        let state = node::state(node);
        let filter = state.filter.0.borrow();
        let (read, all) = (filter.columns().iter().filter(|wanted| **wanted).count(), filter.columns().len());
        if let Ok(text) = CString::new(format!("{read} of {all}")) {
            ExplainPropertyText(c"Columns".as_ptr(), text.as_ptr(), out);
        }
        if !state.predicates.is_empty() {
            let mut clauses = std::ptr::null_mut();
            for predicate in &state.predicates {
                clauses = lappend(clauses, predicate.clause.cast());
            }
            show_clauses(node, clauses, ancestors, out);
        }
        if (*out).analyze {
            let counts = filter.counts();
            show_count(c"Stripes Read", &counts.stripes_read, out);
            show_count(c"Stripes Skipped", &counts.stripes_skipped, out);
            if filter.conditions().iter().any(|condition| !condition.hashes.is_empty()) {
                show_count(c"Stripes Skipped by Bloom Filter", &counts.stripes_denied, out);
            }
            show_count(c"Vectors Read", &counts.vectors_read, out);
            show_count(c"Vectors Skipped", &counts.vectors_skipped, out);
            show_count(c"Rows Skipped", &counts.rows_skipped, out);
        }
    }
}

/// # Safety
/// As for [`explain`]; `clauses` must be clauses of the node's plan.
unsafe fn show_clauses(node: *mut CustomScanState, clauses: *mut List, ancestors: *mut List, out: *mut ExplainState) {
    // SAFETY: the caller's promise.
    unsafe {
        let context = set_deparse_context_plan((*out).deparse_cxt, (*node).ss.ps.plan, ancestors);
        let condition = make_ands_explicit(clauses).cast();
        let text = deparse_expression(condition, context, (*out).verbose, false);
        ExplainPropertyText(c"Zone-Map Filter".as_ptr(), text, out);
    }
}

/// # Safety
/// `out` must be valid.
unsafe fn show_count(label: &std::ffi::CStr, count: &AtomicU64, out: *mut ExplainState) {
    // SAFETY: the caller's promise.
    unsafe { ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), count.load(Ordering::Relaxed) as i64, out) }
}
