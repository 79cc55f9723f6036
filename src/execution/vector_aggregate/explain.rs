//! What EXPLAIN says of an aggregation of batches.

use super::node;
use crate::pg::compat::{explains_tables, pointers};
use pgrx::pg_guard;
use pgrx::pg_sys::*;

#[pg_guard]
pub unsafe extern "C-unwind" fn explain(node: *mut CustomScanState, ancestors: *mut List, out: *mut ExplainState) {
    // SAFETY: core's arguments; nothing runs meanwhile.
    unsafe {
        let state = node::state(node);
        let scan = (*node).ss.ps.plan.cast::<CustomScan>();
        let entries = pointers::<TargetEntry>((*scan).custom_scan_tlist);
        let context = set_deparse_context_plan((*out).deparse_cxt, (*node).ss.ps.plan, ancestors);
        let verbose = explains_tables(out);
        let mut keys = std::ptr::null_mut();
        for entry in state.keys.iter().filter_map(|key| entries.get(*key)) {
            keys = lappend(keys, deparse_expression((**entry).expr.cast(), context, verbose, false).cast());
        }
        if !keys.is_null() {
            ExplainPropertyList(c"Group Key".as_ptr(), keys, out);
        }
        if (*out).analyze && state.peak > 0 {
            let kilobytes = state.peak.div_ceil(1024) as i64;
            ExplainPropertyInteger(c"Peak Memory Usage".as_ptr(), c"kB".as_ptr(), kilobytes, out);
        }
        if (*out).analyze && state.spill.partitions > 0 {
            ExplainPropertyInteger(c"Batches".as_ptr(), std::ptr::null(), state.spill.partitions as i64 + 1, out);
            let kilobytes = state.spill.bytes.div_ceil(1024) as i64;
            ExplainPropertyInteger(c"Disk Usage".as_ptr(), c"kB".as_ptr(), kilobytes, out);
        }
    }
}
