//! Moving on demand.

use super::{Effort, begin, step};
use crate::columnar::am;
use crate::pg::OpenRel;
use crate::pg::error::OrochiError;
use crate::pg::regclass::RegClass;
use crate::shmem;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Begins a compaction of a columnar table: the steps that follow in this session look at everything anew. Returns their goal, the virtual
/// block behind the rows that there are.
#[pg_extern(volatile, parallel_unsafe)]
fn columnar_compact_goal(table_name: RegClass) -> i64 {
    let table = open(table_name, c"orochi.columnar_compact_goal()");
    begin(table.rel()).into()
}

/// Does one step of moving rows of a columnar table into stripes; true if there may be more to do. With a goal it looks no further than that
/// virtual block, so that steps come to an end while others go on writing. The table's rows stay locked until the transaction ends, so it should
/// end soon.
#[pg_extern(volatile, parallel_unsafe)]
fn columnar_compact_step(table_name: RegClass, goal: default!(Option<i64>, "NULL")) -> bool {
    let table = open(table_name, c"orochi.columnar_compact_step()");
    let goal = goal.map(|goal| u32::try_from(goal.max(0)).unwrap_or(u32::MAX));
    step(table.rel(), Effort::Thorough, goal)
}

/// Opens a columnar table whose rows the current user may move.
fn open(table_name: RegClass, what: &'static std::ffi::CStr) -> OpenRel {
    if !shmem::is_preloaded() {
        OrochiError::NotPreloaded.raise();
    }
    crate::pg::server::forbid_if_read_only(what);
    let table = OpenRel::table(table_name.0, pg_sys::ShareUpdateExclusiveLock);
    if !am::is_columnar(table.rel().raw()) {
        OrochiError::WrongObject { what: format!("\"{}\" is not a columnar table", table.rel().name()) }.raise();
    }
    crate::pg::server::require_owner(table.rel());
    table
}

extension_sql!(
    r#"
COMMENT ON FUNCTION orochi.columnar_compact_goal(regclass) IS
    'begins a compaction of a columnar table, and returns the goal for its steps';
COMMENT ON FUNCTION orochi.columnar_compact_step(regclass, bigint) IS
    'does one step of moving rows of a columnar table into stripes, up to a goal; true if there may be more to do';
CREATE PROCEDURE orochi.columnar_compact(table_name regclass) LANGUAGE plpgsql AS $$
DECLARE
    goal bigint := orochi.columnar_compact_goal(table_name);
BEGIN
    -- Losing the commit of a step in a crash loses the stripe and brings back the rows it took, so nobody has to wait for it.
    PERFORM set_config('synchronous_commit', 'off', true);
    WHILE orochi.columnar_compact_step(table_name, goal) LOOP
        COMMIT;
        PERFORM set_config('synchronous_commit', 'off', true);
    END LOOP;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE orochi.columnar_compact(regclass) IS
    'moves the rows that a columnar table has into full stripes, in short transactions';
"#,
    name = "columnar_compact",
    requires = [columnar_compact_goal, columnar_compact_step]
);
