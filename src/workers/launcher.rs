//! The launcher: one process per server that keeps a maintenance worker running in every database that has the
//! extension.
//!
//! It is connected to no database, so it cannot see where the extension is. It starts a worker in each database;
//! a worker that does not find the extension says so and ends. Such a database is looked at again when
//! CREATE EXTENSION asks for it, and once a minute.

use super::plan::{Action, Planner, Situation};
use super::process::{self, PERIOD};
use super::registry::{self, LAUNCHER, Registry};
use super::slot::State;
use super::watcher::Watcher;
use super::{Argument, clock, maintenance};
use crate::pg::server::database;
use crate::pg::server::worker::{self, WorkMemory, WorkerSpec};
use std::time::{Duration, Instant};

/// Entry function, as the postmaster looks it up.
const FUNCTION: &str = "orochi_launcher_main";
/// A killed launcher is back well within 10 seconds of its last sign of life.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How often `pg_database` is read when nobody asks for a look.
const LISTING_PERIOD: Duration = Duration::from_secs(10);
/// After the server had no room for a worker, the next attempt is made this much later.
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);

/// Has the postmaster start the launcher. Only while preloading.
pub fn register() {
    WorkerSpec { kind: "orochi launcher", function: FUNCTION, argument: 0 }.start_with_server(RESTART_AFTER);
}

/// The process. Returning would end it for good, so it never does: SIGTERM and errors end it by raising.
pub fn run() {
    let Some(registry) = registry::get() else { return };
    let Some(generation) = registry.prepare(LAUNCHER, 0) else { return };
    let Some(slot) = process::enter(registry, LAUNCHER, generation) else { return };
    worker::begin(None);
    process::start_heartbeat();
    let memory = WorkMemory::new();
    let mut launcher = Launcher::new(registry);
    loop {
        if let Err(failure) = memory.guarded(|| launcher.round()) {
            process::record(registry, LAUNCHER, "orochi launcher", failure);
            launcher.listed_at = None;
        }
        process::turn(slot, PERIOD);
    }
}

struct Launcher {
    registry: &'static Registry,
    planner: Planner,
    watcher: Watcher,
    databases: Vec<u32>,
    listed_at: Option<Instant>,
    refused_at: Option<Instant>,
}

impl Launcher {
    fn new(registry: &'static Registry) -> Self {
        Self {
            registry,
            planner: Planner::default(),
            watcher: Watcher::default(),
            databases: Vec::new(),
            listed_at: None,
            refused_at: None,
        }
    }

    fn round(&mut self) {
        self.registry.release_orphans();
        self.watcher.round(self.registry, |view| view.slot != LAUNCHER);
        let kicks = self.registry.take_kicks();
        self.planner.note(&kicks, clock::now());
        if !kicks.is_empty() || self.listed_at.is_none_or(|at| at.elapsed() >= LISTING_PERIOD) {
            self.list_databases();
        }
        let (slots, held) = (self.registry.views(), self.registry.held());
        let situation = Situation { now: clock::now(), databases: &self.databases, slots: &slots, held: &held };
        for action in self.planner.plan(&situation) {
            match action {
                Action::Free { slot } => self.free(slot),
                Action::Start { database, slot } => self.start(database, slot),
            }
        }
    }

    fn list_databases(&mut self) {
        let databases = worker::in_transaction(database::list);
        self.databases = databases.iter().filter(|db| db.connectable).map(|db| db.oid.to_u32()).collect();
        self.listed_at = Some(Instant::now());
    }

    fn free(&self, index: usize) {
        if let Some(slot) = self.registry.slot(index) {
            slot.free();
            self.registry.set_full(false);
        }
    }

    fn start(&mut self, database: u32, slot: Option<usize>) {
        if self.refused_at.is_some_and(|at| at.elapsed() < REFUSAL_PAUSE) {
            return;
        }
        let Some(index) = slot.or_else(|| self.registry.free_slot()) else {
            return self.registry.set_full(true);
        };
        let Some(generation) = self.registry.prepare(index, database) else { return };
        let argument = Argument { slot: index, generation }.pack();
        let started = WorkerSpec { kind: maintenance::KIND, function: maintenance::FUNCTION, argument }.start_now();
        self.registry.set_refused(!started);
        if started {
            self.refused_at = None;
        } else {
            self.refuse(index, slot.is_some());
        }
    }

    /// The server has no room for the process.
    fn refuse(&mut self, index: usize, had_slot: bool) {
        if let Some(slot) = self.registry.slot(index) {
            if had_slot { slot.leave(State::Stopped) } else { slot.free() }
        }
        if self.refused_at.replace(Instant::now()).is_none() {
            pgrx::log!("could not start an orochi maintenance worker: max_worker_processes is too small");
        }
    }
}
