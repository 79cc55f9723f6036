//! PostgreSQL's nodes that fetch rows of columnar tables by their TIDs: what they have to know before they begin.

use super::node::wanted_columns;
use crate::columnar::{am, slot};
use crate::pg::compat;
use pgrx::pg_sys::*;

/// Tells the slot of an index or bitmap scan which columns the node looks at, so that no others are decoded, and keeps it from reading ahead blocks that
/// there are not. Leaves other nodes alone.
///
/// All that looks into such a slot are the node's own expressions: what goes up is projected, and rows that are locked or changed are
/// fetched again into other slots.
pub fn prepare(node: *mut PlanState) {
    // SAFETY: called with nodes of an initialised plan, each of which has the type that its tag says.
    unsafe {
        match (*node).type_ {
            NodeTag::T_IndexScanState => {
                let scan = &*node.cast::<IndexScanState>();
                let plan = &*scan.ss.ps.plan.cast::<IndexScan>();
                note(&scan.ss, scan.ss.ss_ScanTupleSlot, [plan.indexqualorig, plan.indexorderbyorig]);
            }
            // Whether its rows are visible is all that it wants to know.
            NodeTag::T_IndexOnlyScanState => {
                let scan = &*node.cast::<IndexOnlyScanState>();
                if am::is_columnar(scan.ss.ss_currentRelation) {
                    slot::want(scan.ioss_TableSlot, vec![false; columns(&scan.ss)].into());
                }
            }
            NodeTag::T_BitmapHeapScanState => {
                let scan = node.cast::<BitmapHeapScanState>();
                let plan = &*(*scan).ss.ps.plan.cast::<BitmapHeapScan>();
                if am::is_columnar((*scan).ss.ss_currentRelation) {
                    compat::stop_bitmap_prefetch(scan);
                }
                note(&(*scan).ss, (*scan).ss.ss_ScanTupleSlot, [plan.bitmapqualorig, std::ptr::null_mut()]);
            }
            _ => {}
        }
    }
}

/// # Safety
/// `scan` must be valid.
unsafe fn columns(scan: &ScanState) -> usize {
    // SAFETY: the caller's promise; the descriptor is valid while the relation is open.
    unsafe { (*(*scan.ss_currentRelation).rd_att).natts as usize }
}

/// # Safety
/// `scan` must be the state of a scan, `slot` the one into which its rows are fetched, and the lists expressions over them.
unsafe fn note(scan: &ScanState, slot: *mut TupleTableSlot, lists: [*mut List; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        if !am::is_columnar(scan.ss_currentRelation) {
            return;
        }
        let plan = &*scan.ps.plan;
        let relation = (*scan.ps.plan.cast::<Scan>()).scanrelid;
        let [first, second] = lists;
        let wanted = wanted_columns([plan.targetlist, plan.qual, first, second], relation, columns(scan) as i32);
        if wanted.contains(&false) {
            slot::want(slot, wanted.into());
        }
    }
}
