//! Custom scans whose rows come in slots of their own kind.

use pgrx::pg_sys;

/// Says in which kind of slot a scan node's rows come. To be called when the node is made.
///
/// # Safety
/// `node` must be valid.
pub unsafe fn set_slot_ops(node: *mut pg_sys::CustomScanState, ops: *const pg_sys::TupleTableSlotOps) {
    #[cfg(feature = "pg15")]
    let _ = (node, ops);
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        (*node).slotOps = ops;
    }
}

/// The same, to be called when the node begins. PostgreSQL 15 has by then prepared the node for a virtual slot, and
/// everything that was compiled for that one is compiled anew.
///
/// # Safety
/// `node` must be in its begin callback, and scan a relation.
pub unsafe fn apply_slot_ops(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    ops: *const pg_sys::TupleTableSlotOps,
) {
    #[cfg(not(feature = "pg15"))]
    let _ = (node, estate, ops);
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise. Subplans were registered when the expressions were compiled for the first time.
    unsafe {
        let scan = &raw mut (*node).ss;
        let plan = (*scan).ps.plan;
        pg_sys::ExecInitScanTupleSlot(estate, scan, (*(*scan).ss_currentRelation).rd_att, ops);
        (*scan).ps.subPlan = std::ptr::null_mut();
        pg_sys::ExecAssignScanProjectionInfoWithVarno(scan, (*plan.cast::<pg_sys::Scan>()).scanrelid as i32);
        (*scan).ps.qual = pg_sys::ExecInitQual((*plan).qual, &raw mut (*scan).ps);
    }
}
