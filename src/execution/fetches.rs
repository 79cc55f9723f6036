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
        let (scan, slot, looks_at) = match (*node).type_ {
            NodeTag::T_IndexScanState => {
                let scan = &(*node.cast::<IndexScanState>()).ss;
                let plan = &*scan.ps.plan.cast::<IndexScan>();
                (scan, scan.ss_ScanTupleSlot, Some([plan.indexqualorig, plan.indexorderbyorig]))
            }
            // Whether its rows are visible is all that it wants to know.
            NodeTag::T_IndexOnlyScanState => {
                let scan = &*node.cast::<IndexOnlyScanState>();
                (&scan.ss, scan.ioss_TableSlot, None)
            }
            NodeTag::T_BitmapHeapScanState => {
                let scan = &(*node.cast::<BitmapHeapScanState>()).ss;
                let plan = &*scan.ps.plan.cast::<BitmapHeapScan>();
                (scan, scan.ss_ScanTupleSlot, Some([plan.bitmapqualorig, std::ptr::null_mut()]))
            }
            _ => return,
        };
        if !am::is_columnar(scan.ss_currentRelation) {
            return;
        }
        if (*node).type_ == NodeTag::T_BitmapHeapScanState {
            compat::stop_bitmap_prefetch(node.cast());
        }
        let wanted = wanted(scan, looks_at);
        if wanted.contains(&false) {
            slot::want(slot, wanted.into());
        }
    }
}

/// The columns that a node looks at: with its target list and filter and with some lists of expressions, or none without these.
///
/// # Safety
/// `scan` must be the state of a scan, and the lists be expressions over its rows.
unsafe fn wanted(scan: &ScanState, looks_at: Option<[*mut List; 2]>) -> Vec<bool> {
    // SAFETY: the caller's promise; the descriptor is valid while the relation is open.
    unsafe {
        let columns = (*(*scan.ss_currentRelation).rd_att).natts;
        let Some([first, second]) = looks_at else { return vec![false; columns as usize] };
        let plan = &*scan.ps.plan;
        let relation = (*scan.ps.plan.cast::<Scan>()).scanrelid;
        wanted_columns([plan.targetlist, plan.qual, first, second], relation, columns)
    }
}
