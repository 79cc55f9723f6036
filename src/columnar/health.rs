//! What columnar tables have to report to `orochi.health()`.

use super::{pressure, storage};
use crate::monitor::health::{HealthRow, Status};
use crate::pg::{OpenRel, server, subtransaction};
use crate::settings;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// A transaction that is older than this keeps dead rows from being removed for too long.
const OLD_SNAPSHOT: &str = "1 hour";

/// Adds the rows of this subsystem. Registered in `_PG_init`.
pub fn check(rows: &mut Vec<HealthRow>) {
    let tables = query::<pg_sys::Oid>(&format!("{TABLES} {}", if server::in_recovery() { PERMANENT } else { OURS }));
    rows.push(HealthRow::new("columnar tables", Status::Ok, format!("The database has {}.", tables.len())));
    for (oid, name) in tables {
        match subtransaction::attempt(|| backlog(oid, &name)) {
            Ok(row) => rows.extend(row),
            Err(failure) => rows.push(
                HealthRow::new("columnar table", Status::Fail, format!("It cannot be read: {}.", failure.message))
                    .object(format!("table {name}"))
                    .hint("See the runbook, section XX001."),
            ),
        }
    }
    for (pid, age) in query::<i32>(&format!("{OLD_SNAPSHOTS} interval '{OLD_SNAPSHOT}'")) {
        rows.push(
            HealthRow::new("old snapshot", Status::Warn, format!("Its snapshot is {age} old, so deleted rows stay."))
                .object(format!("process {pid}"))
                .hint("End the transaction, or the session if it is idle in transaction."),
        );
    }
    for (_, publication) in query::<pg_sys::Oid>(PUBLICATIONS) {
        rows.push(
            HealthRow::new("publication", Status::Warn, "Changes of columnar tables are not replicated by it.")
                .object(format!("publication \"{publication}\""))
                .hint("Publish the tables that are not columnar by name."),
        );
    }
}

const TABLES: &str = "SELECT c.oid, c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE a.amname = 'columnar' AND c.relkind IN ('r', 'm')";
/// Not the temporary tables of other sessions.
const OURS: &str = "AND (c.relpersistence <> 't' OR pg_catalog.pg_table_is_visible(c.oid))";
/// What a standby has the files of.
const PERMANENT: &str = "AND c.relpersistence = 'p'";
const OLD_SNAPSHOTS: &str = "SELECT pid, (pg_catalog.now() - xact_start)::text FROM pg_catalog.pg_stat_activity \
    WHERE backend_xmin IS NOT NULL AND backend_type = 'client backend' AND xact_start < pg_catalog.now() -";
/// Publications with columnar tables, whatever brings them in: all tables, a schema, a partitioned table above them, or a table
/// whose access method was changed.
const PUBLICATIONS: &str = "SELECT DISTINCT p.oid, p.pubname::text FROM pg_catalog.pg_publication p, \
    pg_catalog.pg_get_publication_tables(p.pubname) t, pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam \
    WHERE a.amname = 'columnar' AND (c.oid = t.relid \
    OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.relid)))";

fn query<T: pgrx::datum::FromDatum + pgrx::datum::IntoDatum>(text: &str) -> Vec<(T, String)> {
    let read = || -> Result<Vec<(T, String)>, pgrx::spi::Error> {
        Spi::connect(|client| {
            let mut rows = Vec::new();
            for row in client.select(text, None, &[])? {
                if let (Some(first), Some(second)) = (row.get::<T>(1)?, row.get::<String>(2)?) {
                    rows.push((first, second));
                }
            }
            Ok(rows)
        })
    };
    read().unwrap_or_default()
}

/// A row if too many rows of a table wait for the mover.
fn backlog(oid: pg_sys::Oid, name: &str) -> Option<HealthRow> {
    // A table that somebody has locked exclusively is not waited for.
    let table = OpenRel::try_table(oid, pg_sys::AccessShareLock)?;
    // SAFETY: no widths are asked for.
    let waiting = unsafe { storage::estimate(table.rel(), std::ptr::null_mut()) }.row_store;
    let limit = settings::backlog_limit_rows();
    let limited = limit > 0 && pressure::waiting(oid) > limit;
    if !limited && waiting <= settings::backlog_warn_rows() as f64 {
        return None;
    }
    let delayed = if limited { " Statements that write to the table are delayed." } else { "" };
    let detail = format!("About {waiting:.0} rows wait to be moved into stripes.{delayed}");
    let row = HealthRow::new("row store", Status::Warn, detail).object(format!("table {name}"));
    Some(row.hint("See whether the mover runs (orochi.workers()), or CALL orochi.columnar_compact for the table."))
}
