//! Back-pressure: statements that write to a row store which grows faster than the mover empties it are slowed down
//! (docs/storage.md, "Back-pressure").
//!
//! A table in shared memory counts the rows that wait in each row store. Sessions add what they write, the mover takes off
//! what it has moved, and at the end of a pass also what turned out not to be there any more, because it was rolled
//! back or deleted. So a count is an estimate that mends itself; nothing but delays depends on it.

use super::transaction;
use crate::monitor::counters::{self, Counter};
use crate::monitor::metrics::MetricRow;
use crate::pg::Rel;
use crate::pg::server::process;
use crate::settings;
use crate::shmem;
use crate::workers::registry;
use pgrx::pg_sys;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tables that are counted at the same time; writers to further ones are never delayed.
const TABLES: usize = 1024;
/// Entries that a table can have, from its hash on.
const PROBES: usize = 16;
/// A statement is delayed by this at the most, which it is when twice as many rows wait as the limit allows.
const LONGEST_DELAY: Duration = Duration::from_millis(100);
/// Rows that a session counts by itself before it adds them to the shared count.
const SHARE: u64 = 64;

/// Rows waiting in one row store.
#[derive(Default)]
struct Entry {
    /// Database in the upper half, table in the lower; 0 if the entry is free.
    table: AtomicU64,
    rows: AtomicU64,
}

/// The counts of all row stores.
pub struct Backlogs([Entry; TABLES]);

impl Default for Backlogs {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Entry::default()))
    }
}

impl Backlogs {
    fn places(table: u64) -> impl Iterator<Item = usize> {
        // Fibonacci hashing.
        let hash = (table.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        (0..PROBES).map(move |step| (hash + step) % TABLES)
    }

    fn find(&self, table: u64) -> Option<&Entry> {
        Self::places(table).map(|at| &self.0[at]).find(|entry| entry.table.load(Ordering::Relaxed) == table)
    }

    fn find_or_claim(&self, table: u64) -> Option<&Entry> {
        self.find(table).or_else(|| {
            Self::places(table).map(|at| &self.0[at]).find(|entry| {
                entry.table.compare_exchange(0, table, Ordering::Relaxed, Ordering::Relaxed).is_ok_and(|_| {
                    entry.rows.store(0, Ordering::Relaxed);
                    true
                })
            })
        })
    }

    fn add(&self, table: u64, rows: u64) -> u64 {
        self.find_or_claim(table).map_or(0, |entry| entry.rows.fetch_add(rows, Ordering::Relaxed) + rows)
    }

    fn take_off(&self, table: u64, rows: u64) {
        if let Some(entry) = self.find(table) {
            let less = |now: u64| Some(now.saturating_sub(rows));
            // The closure never declines.
            let _ = entry.rows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    fn waiting(&self, table: u64) -> u64 {
        self.find(table).map_or(0, |entry| entry.rows.load(Ordering::Relaxed))
    }

    /// Frees the entries of a database's tables that `keep` does not want.
    fn prune(&self, database: u32, keep: impl Fn(u32) -> bool) {
        for entry in &self.0 {
            let table = entry.table.load(Ordering::Relaxed);
            if table >> 32 == u64::from(database) && !keep(table as u32) {
                entry.table.store(0, Ordering::Relaxed);
            }
        }
    }

    fn tables_of(&self, database: u32) -> Vec<(u32, u64)> {
        let entries =
            self.0.iter().map(|entry| (entry.table.load(Ordering::Relaxed), entry.rows.load(Ordering::Relaxed)));
        entries
            .filter(|(table, _)| table >> 32 == u64::from(database))
            .map(|(table, rows)| (table as u32, rows))
            .collect()
    }
}

thread_local! {
    /// Table and rows that this session has not yet shared.
    static PENDING: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// The command of this transaction that has been admitted.
    static ADMITTED: Cell<Option<pg_sys::CommandId>> = const { Cell::new(None) };
}

fn database() -> u32 {
    // SAFETY: a plain variable of the process.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

fn key(table: pg_sys::Oid) -> u64 {
    u64::from(database()) << 32 | u64::from(table.to_u32())
}

/// Counts a row that a statement is about to write to the table's row store, and delays the statement if too many wait.
///
/// A statement is delayed once, before its first row: the mover can take none of its rows before it ends.
pub fn admit(table: Rel, cid: pg_sys::CommandId) {
    let Some(shared) = shmem::BACKLOGS.get() else { return };
    // The mover leaves temporary tables alone.
    if table.is_temporary() {
        return;
    }
    transaction::touch();
    let key = key(table.oid());
    if ADMITTED.get() != Some(cid) {
        ADMITTED.set(Some(cid));
        delay(shared.waiting(key));
    }
    let (pending, rows) = PENDING.get();
    if pending == key && rows < SHARE {
        PENDING.set((key, rows + 1));
    } else {
        share_pending();
        PENDING.set((key, 1));
    }
}

fn share_pending() {
    let (table, rows) = PENDING.replace((0, 0));
    if rows > 0
        && let Some(shared) = shmem::BACKLOGS.get()
    {
        shared.add(table, rows);
    }
}

/// The transaction is over.
pub fn forget_statement() {
    share_pending();
    ADMITTED.set(None);
}

fn delay(waiting: u64) {
    let pause = delay_for(waiting, settings::backlog_limit_rows());
    if pause.is_zero() || !settings::mover_enabled() || !has_mover() {
        return;
    }
    counters::add(Counter::WritesDelayed, 1);
    counters::add(Counter::WriteDelayMilliseconds, pause.as_millis() as u64);
    process::wait(pause);
}

/// The delay grows from nothing at the limit to the longest one at twice the limit. A limit of 0 means none.
fn delay_for(waiting: u64, limit: u64) -> Duration {
    if limit == 0 || waiting <= limit {
        return Duration::ZERO;
    }
    let share = ((waiting - limit) as f64 / limit as f64).min(1.0);
    Duration::from_millis((LONGEST_DELAY.as_millis() as f64 * share).ceil() as u64)
}

/// Waiting is for nothing where no mover runs.
fn has_mover() -> bool {
    registry::get().is_some_and(|registry| registry.has_worker(database()))
}

/// Rows that wait in the table's row store, as far as is known.
pub fn waiting(table: pg_sys::Oid) -> u64 {
    shmem::BACKLOGS.get().map_or(0, |shared| shared.waiting(key(table)))
}

/// Rows have left the table's row store, or were not in it.
pub fn take_off(table: Rel, rows: u64) {
    if let Some(shared) = shmem::BACKLOGS.get() {
        shared.take_off(key(table.oid()), rows);
    }
}

/// Forgets the tables of this database that are not in `tables`.
pub fn keep_only(tables: &[pg_sys::Oid]) {
    if let Some(shared) = shmem::BACKLOGS.get() {
        shared.prune(database(), |oid| tables.iter().any(|table| table.to_u32() == oid));
    }
}

/// Adds a gauge for each row store of this database in which rows wait. Registered in `_PG_init`.
pub fn measure(rows: &mut Vec<MetricRow>) {
    let tables = shmem::BACKLOGS.get().map(|shared| shared.tables_of(database())).unwrap_or_default();
    for (table, waiting) in tables.into_iter().filter(|(_, waiting)| *waiting > 0) {
        rows.push(
            MetricRow::new(
                "row_store_rows",
                waiting as f64,
                "Rows that wait to be moved into stripes, as far as is known.",
            )
            .label("table_oid", table),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_mend_themselves() {
        let backlogs = Box::new(Backlogs::default());
        assert_eq!(backlogs.waiting(7), 0);
        assert_eq!((backlogs.add(7, 10), backlogs.add(7, 5), backlogs.add(8, 1)), (10, 15, 1));
        backlogs.take_off(7, 12);
        backlogs.take_off(8, 12);
        assert_eq!((backlogs.waiting(7), backlogs.waiting(8)), (3, 0));
    }

    #[test]
    fn dropped_tables_make_room() {
        let backlogs = Box::new(Backlogs::default());
        let table = |oid: u64| 5 << 32 | oid;
        let counted = (1..=4 * TABLES as u64).filter(|oid| backlogs.add(table(*oid), 1) == 1).count();
        assert!(counted > TABLES / 2 && counted <= TABLES, "{counted}");
        backlogs.prune(6, |_| false);
        assert_eq!(backlogs.tables_of(5).len(), counted);
        backlogs.prune(5, |oid| oid == 1);
        assert_eq!(backlogs.tables_of(5), [(1, 1)]);
        assert_eq!(backlogs.add(table(100_000), 3), 3);
    }

    #[test]
    fn the_delay_grows_with_the_excess() {
        assert_eq!(delay_for(1000, 0), Duration::ZERO);
        assert_eq!(delay_for(1000, 1000), Duration::ZERO);
        assert_eq!(delay_for(1001, 1000), Duration::from_millis(1));
        assert_eq!(delay_for(1500, 1000), Duration::from_millis(50));
        assert_eq!((delay_for(2000, 1000), delay_for(u64::MAX, 1000)), (LONGEST_DELAY, LONGEST_DELAY));
    }
}
