//! The registry of workers in shared memory.

use super::clock;
use super::slot::{Slot, State, View};
use crate::pg::server::lwlock::LwLock;
use crate::pg::server::process;
use crate::shmem;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// Slots: the launcher and 63 databases.
pub const SLOTS: usize = 64;
/// The launcher's slot.
pub const LAUNCHER: usize = 0;
/// Sessions that can hold back the worker of a database at the same time.
const HOLDS: usize = 32;
/// Databases that can wait for the launcher's attention one by one; with more, it looks at all.
const KICKS: usize = 32;

/// Guards what spans several words: error texts, and starting a worker against holding it back.
pub static LOCK: LwLock = LwLock::new(c"orochi_workers");

/// A session keeps the worker of a database from being started.
#[derive(Default)]
struct Hold {
    database: AtomicU32,
    pid: AtomicI32,
}

/// The shared registry.
pub struct Registry {
    slots: [Slot; SLOTS],
    holds: [Hold; HOLDS],
    kicks: [AtomicU32; KICKS],
    kick_all: AtomicBool,
    /// When the server last had no room for a worker process.
    refused_at: AtomicI64,
    /// When a database last found all slots taken.
    full_at: AtomicI64,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot::default()),
            holds: std::array::from_fn(|_| Hold::default()),
            kicks: std::array::from_fn(|_| AtomicU32::new(0)),
            kick_all: AtomicBool::new(false),
            refused_at: AtomicI64::new(0),
            full_at: AtomicI64::new(0),
        }
    }
}

/// The registry, or None where the library is not preloaded.
pub fn get() -> Option<&'static Registry> {
    shmem::WORKERS.get()
}

impl Registry {
    /// A slot by index.
    pub fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// The launcher's slot.
    pub fn launcher(&self) -> &Slot {
        &self.slots[LAUNCHER]
    }

    /// Values of all slots that are in use; the launcher's always is.
    pub fn views(&self) -> Vec<View> {
        let _lock = LOCK.shared();
        let used = |(index, slot): &(usize, &Slot)| *index == LAUNCHER || slot.state() != State::Free;
        self.slots.iter().enumerate().filter(used).map(|(index, slot)| slot.view(index)).collect()
    }

    /// True if a worker of the database runs or is being started.
    pub fn has_worker(&self, database: u32) -> bool {
        self.slots[LAUNCHER + 1..].iter().any(|slot| slot.database() == database && slot.state().is_live())
    }

    /// First free slot for a database.
    pub fn free_slot(&self) -> Option<usize> {
        (LAUNCHER + 1..SLOTS).find(|index| self.slots[*index].state() == State::Free)
    }

    /// Takes a slot for the worker of a database. Returns the start's generation, or None if a session holds the
    /// database's worker back.
    pub fn prepare(&self, index: usize, database: u32) -> Option<u32> {
        let _lock = LOCK.exclusive();
        let held = index != LAUNCHER && self.holds.iter().any(|hold| hold.database.load(ORDER) == database);
        (!held).then(|| self.slots[index].prepare(database, clock::now()))
    }

    /// Notes that the server had no room for a worker process, or that it has room again.
    pub fn set_refused(&self, refused: bool) {
        self.refused_at.store(if refused { clock::now() } else { 0 }, ORDER);
    }

    /// True if a worker could not be started for want of a process.
    pub fn is_refused(&self) -> bool {
        self.refused_at.load(ORDER) != 0
    }

    /// Notes that a database found all slots taken, or that none does.
    pub fn set_full(&self, full: bool) {
        self.full_at.store(if full { clock::now() } else { 0 }, ORDER);
    }

    /// True if a database has no worker because all slots are taken.
    pub fn is_full(&self) -> bool {
        self.full_at.load(ORDER) != 0
    }

    /// Stores a worker's error.
    pub fn record_error(&self, index: usize, message: &str) {
        let _lock = LOCK.exclusive();
        self.slots[index].set_error(message, clock::now());
    }

    /// Keeps the worker of `database` from being started. None if too many sessions do so already.
    pub fn hold(&self, database: u32, pid: i32) -> Option<usize> {
        let _lock = LOCK.exclusive();
        let index = self.holds.iter().position(|hold| hold.database.load(ORDER) == 0)?;
        self.holds[index].pid.store(pid, ORDER);
        self.holds[index].database.store(database, ORDER);
        Some(index)
    }

    /// Ends a hold of process `pid`.
    pub fn release(&self, index: usize, pid: i32) {
        if let Some(hold) = self.holds.get(index)
            && hold.pid.compare_exchange(pid, 0, ORDER, ORDER).is_ok()
        {
            hold.database.store(0, ORDER);
        }
    }

    /// Ends holds whose process is gone: a FATAL error runs no destructors.
    pub fn release_orphans(&self) {
        for (index, hold) in self.holds.iter().enumerate() {
            let pid = hold.pid.load(ORDER);
            if pid != 0 && !process::is_server_process(pid) {
                self.release(index, pid);
            }
        }
    }

    /// Databases whose worker is held back.
    pub fn held(&self) -> Vec<u32> {
        self.holds.iter().map(|hold| hold.database.load(ORDER)).filter(|database| *database != 0).collect()
    }

    /// Has the launcher look at a database in its next round.
    pub fn remember_kick(&self, database: u32) {
        let known = self.kicks.iter().any(|kick| kick.load(ORDER) == database);
        let place = |kick: &AtomicU32| kick.compare_exchange(0, database, ORDER, ORDER).is_ok();
        if !known && !self.kicks.iter().any(place) {
            self.kick_all.store(true, ORDER);
        }
    }

    /// Has the launcher's next round begin now.
    pub fn wake_launcher(&self) {
        process::wake(self.launcher().pid());
    }

    /// Takes the databases that wait for a look.
    pub fn take_kicks(&self) -> Kicks {
        let databases = self.kicks.iter().map(|kick| kick.swap(0, ORDER)).filter(|database| *database != 0);
        Kicks { databases: databases.collect(), all: self.kick_all.swap(false, ORDER) }
    }
}

/// Databases that wait for the launcher's attention.
#[derive(Debug, Default, Clone)]
pub struct Kicks {
    /// One by one.
    pub databases: Vec<u32>,
    /// All of them.
    pub all: bool,
}

impl Kicks {
    /// True if none is to be looked at.
    pub fn is_empty(&self) -> bool {
        !self.all && self.databases.is_empty()
    }
}
