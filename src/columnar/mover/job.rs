//! The mover as a job of the maintenance worker.

use super::{Effort, step};
use crate::columnar::{am, pressure};
use crate::monitor::counters::{self, Counter};
use crate::pg::{OpenRel, server};
use crate::settings;
use crate::workers::jobs::{self, JobContext, JobError, JobReport, JobSpec};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Longest time between two signs of progress.
const STALL_LIMIT: Duration = Duration::from_secs(300);
/// Steps on one table before the others get their turn.
const STEPS: usize = 64;
/// A table is looked at this often even if nothing seems to have changed: an old snapshot may have ended, or statistics
/// may be off.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why a table is left alone for a while.
struct Rest {
    /// Changes that the table had seen when there was nothing to do; `None` if a step failed.
    changes: Option<i64>,
    until: Instant,
}

thread_local! {
    static RESTS: RefCell<HashMap<pg_sys::Oid, Rest>> = RefCell::new(HashMap::new());
}

/// What a step on a table has come to.
enum Outcome {
    /// There may be more to do.
    More,
    /// Nothing is left to do.
    Done,
    /// Somebody else maintains the table, waits for it, or has dropped it.
    Busy,
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
    pressure::keep_only(&tables.iter().map(|table| table.oid).collect::<Vec<_>>());
    RESTS.with_borrow_mut(|rests| rests.retain(|oid, _| tables.iter().any(|table| table.oid == *oid)));
    for table in &tables {
        if rests(table) {
            continue;
        }
        let (steps, rest) = move_rows(context, table);
        report.work_done += steps as u64;
        report.more |= steps == STEPS;
        RESTS.with_borrow_mut(|rests| match rest {
            Some(rest) => rests.insert(table.oid, rest),
            None => rests.remove(&table.oid),
        });
        if context.should_stop() {
            break;
        }
    }
    Ok(report)
}

fn rests(table: &Table) -> bool {
    // Sessions report what they have changed now and then; rows that wait are counted at once.
    let unchanged =
        |changes| changes == table.changes && pressure::waiting(table.oid) < settings::row_store_rows() as u64;
    RESTS.with_borrow(|rests| {
        let rest = rests.get(&table.oid);
        rest.is_some_and(|rest| rest.changes.is_none_or(unchanged) && Instant::now() < rest.until)
    })
}

/// Works on one table; returns the number of steps, and why the table is to be left alone afterwards if it is.
fn move_rows(context: &JobContext, table: &Table) -> (usize, Option<Rest>) {
    let rest = |changes| Some(Rest { changes, until: Instant::now() + LOOK_AGAIN });
    let what = format!("moving rows of table \"{}\"", table.name);
    for steps in 0..STEPS {
        if context.should_stop() {
            return (steps, None);
        }
        match context.attempt(&what, || one_step(table.oid)) {
            Some(Outcome::More) => context.progress(),
            Some(Outcome::Busy) => return (steps, None),
            Some(Outcome::Done) => return (steps, rest(Some(table.changes))),
            None => {
                counters::add(Counter::MoverErrors, 1);
                return (steps, rest(None));
            }
        }
    }
    (STEPS, None)
}

/// A columnar table.
struct Table {
    oid: pg_sys::Oid,
    /// Rows that were ever changed in it.
    changes: i64,
    name: String,
}

/// The columnar tables of the database.
fn tables() -> Result<Vec<Table>, pgrx::spi::Error> {
    let query = "SELECT c.oid, pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) \
                 + pg_stat_get_tuples_deleted(c.oid), c.relname::text \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam \
                 WHERE a.amname = 'columnar' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'";
    Spi::connect(|client| {
        let mut tables = Vec::new();
        for row in client.select(query, None, &[])? {
            if let (Some(oid), Some(changes), Some(name)) =
                (row.get::<pg_sys::Oid>(1)?, row.get::<i64>(2)?, row.get::<String>(3)?)
            {
                tables.push(Table { oid, changes, name });
            }
        }
        Ok(tables)
    })
}

/// One step on a table, unless somebody else maintains it or waits for it.
fn one_step(oid: pg_sys::Oid) -> Outcome {
    // Losing the commit in a crash loses the stripe and brings back the rows it took, so there is nothing to wait for.
    // SAFETY: a setting of this process, which nobody else reads.
    unsafe { pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 };
    // The lock is only tried, so the mover never queues.
    let Some(table) = OpenRel::try_table(oid, pg_sys::ShareUpdateExclusiveLock) else { return Outcome::Busy };
    if am::is_columnar(table.rel().raw()) && step(table.rel(), Effort::Economic, None) {
        Outcome::More
    } else {
        Outcome::Done
    }
}
