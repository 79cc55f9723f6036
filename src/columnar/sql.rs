//! SQL surface of columnar tables.

use super::am;
use pgrx::prelude::*;

/// Handler of the table access method `columnar`.
#[pg_extern(sql = "
CREATE FUNCTION orochi.columnar_handler(internal) RETURNS table_am_handler
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'columnar_handler_wrapper';
COMMENT ON FUNCTION orochi.columnar_handler(internal) IS 'handler of the table access method columnar';
CREATE ACCESS METHOD columnar TYPE TABLE HANDLER orochi.columnar_handler;
COMMENT ON ACCESS METHOD columnar IS 'columnar tables with the semantics of a heap';
")]
fn columnar_handler(_fcinfo: pg_sys::FunctionCallInfo) -> pgrx::datum::Internal {
    pgrx::datum::Internal::from(Some(pg_sys::Datum::from(am::routine())))
}
