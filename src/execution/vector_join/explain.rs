//! What EXPLAIN says of a join of batches.

use super::node;
use crate::pg::compat::{explains_tables, pointers};
use pgrx::pg_guard;
use pgrx::pg_sys::*;
use std::ffi::CStr;

#[pg_guard]
pub unsafe extern "C-unwind" fn explain(node: *mut CustomScanState, ancestors: *mut List, out: *mut ExplainState) {
    // SAFETY: core's arguments; nothing runs meanwhile.
    unsafe {
        let state = node::state(node);
        let scan = (*node).ss.ps.plan.cast::<CustomScan>();
        let context = set_deparse_context_plan((*out).deparse_cxt, (*node).ss.ps.plan, ancestors);
        let verbose = explains_tables(out);
        let show = |label: &CStr, list: *mut List| {
            if !list.is_null() {
                ExplainPropertyList(label.as_ptr(), list, out);
            }
        };
        let text = |expression: *mut Node| deparse_expression(expression, context, verbose, true);
        ExplainPropertyText(c"Join Type".as_ptr(), state.shape.way.name().as_ptr(), out);
        let expressions = pointers::<Node>((*scan).custom_exprs);
        let (keys, residual) = expressions.split_at_checked(2 * state.shape.keys).unwrap_or_default();
        let (probe, build) = keys.split_at_checked(state.shape.keys).unwrap_or_default();
        let mut conditions = std::ptr::null_mut();
        for (left, right) in probe.iter().zip(build) {
            conditions = lappend(conditions, psprintf(c"%s = %s".as_ptr(), text(*left), text(*right)).cast());
        }
        show(c"Hash Cond", conditions);
        let filters = residual.iter().fold(std::ptr::null_mut(), |list, filter| lappend(list, text(*filter).cast()));
        show(c"Join Filter", filters);
        if (*out).analyze && state.peak > 0 {
            ExplainPropertyInteger(c"Build Rows".as_ptr(), std::ptr::null(), state.table_rows as i64, out);
            let kilobytes = state.peak.div_ceil(1024) as i64;
            ExplainPropertyInteger(c"Peak Memory Usage".as_ptr(), c"kB".as_ptr(), kilobytes, out);
        }
        if (*out).analyze && state.spill.partitions > 0 {
            ExplainPropertyInteger(c"Batches".as_ptr(), std::ptr::null(), state.spill.partitions as i64, out);
            let kilobytes = state.spill.bytes.div_ceil(1024) as i64;
            ExplainPropertyInteger(c"Disk Usage".as_ptr(), c"kB".as_ptr(), kilobytes, out);
        }
    }
}
