//! The mover as a job of the maintenance worker.

use super::{Effort, step};
use crate::columnar::{am, pressure};
use crate::pg::{OpenRel, server};
use crate::settings;
use crate::workers::jobs::{self, JobContext, JobError, JobReport, JobSpec};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// Longest time between two signs of progress.
const STALL_LIMIT: Duration = Duration::from_secs(300);
/// Steps on one table before the others get their turn.
const STEPS: usize = 64;

thread_local! {
    /// Changes that a table had seen when the mover last found nothing to do.
    static IDLE_AT: RefCell<HashMap<pg_sys::Oid, i64>> = RefCell::new(HashMap::new());
}

/// Registers the job. Once, in `_PG_init`.
pub fn register() {
    jobs::register(JobSpec { name: "mover", interval: settings::mover_naptime, stall_limit: STALL_LIMIT, run });
}

fn run(context: &JobContext) -> Result<JobReport, JobError> {
    if !settings::mover_enabled() {
        return Ok(JobReport::default());
    }
    let mut report = JobReport::default();
    let tables = server::transaction(tables)?;
    pressure::keep_only(&tables.iter().map(|(oid, _)| *oid).collect::<Vec<_>>());
    for (oid, changes) in tables {
        let seen = IDLE_AT.with_borrow(|idle| idle.get(&oid).copied());
        if seen == Some(changes) {
            continue;
        }
        let mut steps = 0;
        while !context.should_stop() && steps < STEPS && server::transaction(|| one_step(oid)) {
            steps += 1;
            context.progress();
        }
        report.work_done += steps as u64;
        report.more |= steps == STEPS;
        if steps < STEPS {
            IDLE_AT.with_borrow_mut(|idle| idle.insert(oid, changes));
        }
        if context.should_stop() {
            break;
        }
    }
    Ok(report)
}

/// Columnar tables of the database, with the number of rows that were ever changed in them.
fn tables() -> Result<Vec<(pg_sys::Oid, i64)>, pgrx::spi::Error> {
    let query = "SELECT c.oid, pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) \
                 + pg_stat_get_tuples_deleted(c.oid) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam \
                 WHERE a.amname = 'columnar' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'";
    Spi::connect(|client| {
        let mut tables = Vec::new();
        for row in client.select(query, None, &[])? {
            if let (Some(oid), Some(changes)) = (row.get::<pg_sys::Oid>(1)?, row.get::<i64>(2)?) {
                tables.push((oid, changes));
            }
        }
        Ok(tables)
    })
}

/// One step on a table, unless somebody else maintains it or waits for it.
fn one_step(oid: pg_sys::Oid) -> bool {
    let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: inside a transaction. The lock is only tried, so the mover never queues; a table dropped meanwhile is not opened.
    unsafe {
        // Losing the commit in a crash loses the stripe and brings back the rows it took, so there is nothing to wait for.
        pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32;
        if !pg_sys::ConditionalLockRelationOid(oid, lock) {
            return false;
        }
        let relation = pg_sys::try_relation_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            return false;
        }
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
    }
    let table = OpenRel::table(oid, pg_sys::NoLock);
    am::is_columnar(table.rel().raw()) && step(table.rel(), Effort::Economic)
}
