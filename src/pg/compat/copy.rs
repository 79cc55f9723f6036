//! COPY FROM: the state of a running command, and the range table of its target.

use crate::pg::Rel;
use pgrx::pg_sys;
use std::ffi::{c_char, c_int, c_uint, c_void};

/// The front of `struct CopyFromStateData` (commands/copyfrom_internal.h), up to the line last read.
#[repr(C)]
pub struct CopyState {
    #[cfg(feature = "pg18")]
    routine: *const c_void,
    copy_src: c_uint,
    copy_file: *mut c_void,
    fe_msgbuf: pg_sys::StringInfo,
    eol_type: c_uint,
    file_encoding: c_int,
    need_transcoding: bool,
    conversion_proc: pg_sys::Oid,
    rel: pg_sys::Relation,
    attnumlist: *mut pg_sys::List,
    filename: *mut c_char,
    is_program: bool,
    data_source_cb: *const c_void,
    opts: pg_sys::CopyFormatOptions,
    convert_select_flags: *mut bool,
    where_clause: *mut pg_sys::Node,
    cur_relname: *const c_char,
    /// Number of the line last read.
    pub cur_lineno: u64,
    cur_attname: *const c_char,
    cur_attval: *const c_char,
    #[cfg(not(feature = "pg15"))]
    relname_only: bool,
    copycontext: pg_sys::MemoryContext,
    num_defaults: pg_sys::AttrNumber,
    in_functions: *mut pg_sys::FmgrInfo,
    typioparams: *mut pg_sys::Oid,
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    escontext: *mut c_void,
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    num_errors: u64,
    defmap: *mut c_int,
    defexprs: *mut *mut pg_sys::ExprState,
    #[cfg(not(feature = "pg15"))]
    defaults: *mut bool,
    volatile_defexprs: bool,
    range_table: *mut pg_sys::List,
    #[cfg(not(feature = "pg15"))]
    rteperminfos: *mut pg_sys::List,
    qualexpr: *mut pg_sys::ExprState,
    transition_capture: *mut c_void,
    attribute_buf: pg_sys::StringInfoData,
    max_fields: c_int,
    raw_fields: *mut *mut c_char,
    /// The line last read.
    pub line_buf: pg_sys::StringInfoData,
}

impl CopyState {
    /// Whether the structure has the layout that is declared here, so far as what COPY has put there tells. The header is not meant for
    /// extensions, and a minor release may change it.
    pub fn is_known(&self, table: Rel, columns: usize) -> bool {
        // SAFETY: an open relation has its pg_class row.
        let name = unsafe { (&raw const (*(*table.raw()).rd_rel).relname.data).cast::<c_char>() };
        self.rel == table.raw()
            && self.cur_relname == name
            && usize::try_from(self.max_fields) == Ok(columns)
            && !self.raw_fields.is_null()
            && !self.line_buf.data.is_null()
    }
}

/// A parse state whose only table is one that rows are put into, with some columns of it.
///
/// # Safety
/// `text` must be null or terminated and outlive the state; `lock` must be held on the table.
pub unsafe fn parse_state(
    table: Rel,
    columns: &[pg_sys::AttrNumber],
    lock: u32,
    text: *const c_char,
    environment: *mut pg_sys::QueryEnvironment,
) -> *mut pg_sys::ParseState {
    // SAFETY: the caller's promise.
    unsafe {
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        (*state).p_sourcetext = text;
        (*state).p_queryEnv = environment;
        let item = pg_sys::addRangeTableEntryForRelation(
            state,
            table.raw(),
            lock as c_int,
            std::ptr::null_mut(),
            false,
            false,
        );
        #[cfg(feature = "pg15")]
        let rights = &mut *(*item).p_rte;
        #[cfg(not(feature = "pg15"))]
        let rights = &mut *(*item).p_perminfo;
        rights.requiredPerms = pg_sys::ACL_INSERT as pg_sys::AclMode;
        for column in columns {
            let member = c_int::from(*column) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            rights.insertedCols = pg_sys::bms_add_member(rights.insertedCols, member);
        }
        state
    }
}

/// Whether the current user may do what a parse state's tables are for.
///
/// # Safety
/// The state must be valid.
pub unsafe fn is_permitted(state: *mut pg_sys::ParseState) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::ExecCheckRTPerms((*state).p_rtable, false);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::ExecCheckPermissions((*state).p_rtable, (*state).p_rteperminfos, false);
    }
}

/// Hands a parse state's tables to an executor state.
///
/// # Safety
/// Both must be valid, and the parse state must live as long.
pub unsafe fn init_range_table(estate: *mut pg_sys::EState, state: *mut pg_sys::ParseState) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(estate, (*state).p_rtable);
        #[cfg(any(feature = "pg16", feature = "pg17"))]
        pg_sys::ExecInitRangeTable(estate, (*state).p_rtable, (*state).p_rteperminfos);
        #[cfg(feature = "pg18")]
        pg_sys::ExecInitRangeTable(estate, (*state).p_rtable, (*state).p_rteperminfos, pg_sys::bms_make_singleton(1));
    }
}

/// Makes the index entries of a new row.
///
/// # Safety
/// The relation's indexes must be open, and `slot` must hold a row of it whose TID is set.
pub unsafe fn insert_index_entries(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
) {
    let (conflict, arbiters) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInsertIndexTuples(info, slot, estate, false, false, conflict, arbiters);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(info, slot, estate, false, false, conflict, arbiters, false);
    }
}
