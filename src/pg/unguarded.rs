//! What hooks hand a statement on to, declared without pgrx's guard.
//!
//! A hook sees every statement. Were an ERROR to pass through a guard there, it would be taken apart and rebuilt from
//! the few fields that the guard knows: position in the query, context, and the names of schema, table, column and
//! constraint would be lost. So hooks are plain functions: our own work before and after runs in guarded functions of
//! its own, and what comes next is called from a frame that owns nothing, over which an ERROR passes as it was raised.

use pgrx::pg_sys;
use std::ffi::{c_char, c_int};

unsafe extern "C-unwind" {
    /// Calls the access method for rows until one passes the node's conditions (executor/executor.h).
    pub fn ExecScan(
        node: *mut pg_sys::ScanState,
        access: pg_sys::ExecScanAccessMtd,
        recheck: pg_sys::ExecScanRecheckMtd,
    ) -> *mut pg_sys::TupleTableSlot;
    /// Finds a relation by its OID, null if it is not there, and counts a reference (utils/relcache.h).
    pub fn RelationIdGetRelation(relation: pg_sys::Oid) -> pg_sys::Relation;
    /// Gives a reference back (utils/relcache.h).
    pub fn RelationClose(relation: pg_sys::Relation);
    /// Frees memory (utils/palloc.h).
    pub fn pfree(pointer: *mut std::ffi::c_void);
    /// Plans a query (optimizer/planner.h).
    pub fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    /// Prepares a query for execution (executor/executor.h).
    pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    /// Completes a query: fires AFTER triggers (executor/executor.h).
    pub fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
    /// Executes a utility statement (tcop/utility.h).
    pub fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}
