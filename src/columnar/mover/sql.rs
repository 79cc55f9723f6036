//! Moving on demand.

use super::{Effort, step};
use crate::columnar::am;
use crate::pg::OpenRel;
use crate::pg::error::OrochiError;
use crate::pg::regclass::RegClass;
use crate::shmem;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Does one step of moving rows of a columnar table into stripes; true if there may be more to do.
/// The table's rows stay locked until the transaction ends, so it should end soon.
#[pg_extern(volatile, parallel_unsafe)]
fn columnar_compact_step(table_name: RegClass) -> bool {
    if !shmem::is_preloaded() {
        OrochiError::NotPreloaded.raise();
    }
    crate::pg::server::forbid_if_read_only(c"orochi.columnar_compact_step()");
    let table = OpenRel::table(table_name.0, pg_sys::ShareUpdateExclusiveLock);
    if !am::is_columnar(table.rel().raw()) {
        OrochiError::WrongObject { what: format!("\"{}\" is not a columnar table", table.rel().name()) }.raise();
    }
    crate::pg::server::require_owner(table.rel());
    step(table.rel(), Effort::Thorough)
}

extension_sql!(
    r#"
COMMENT ON FUNCTION orochi.columnar_compact_step(regclass) IS
    'does one step of moving rows of a columnar table into stripes; true if there may be more to do';
CREATE PROCEDURE orochi.columnar_compact(table_name regclass) LANGUAGE plpgsql AS $$
BEGIN
    -- Losing the commit of a step in a crash loses the stripe and brings back the rows it took, so nobody has to wait for it.
    PERFORM set_config('synchronous_commit', 'off', true);
    WHILE orochi.columnar_compact_step(table_name) LOOP
        COMMIT;
        PERFORM set_config('synchronous_commit', 'off', true);
    END LOOP;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE orochi.columnar_compact(regclass) IS
    'moves all rows of a columnar table into full stripes, in short transactions';
"#,
    name = "columnar_compact",
    requires = [columnar_compact_step]
);
