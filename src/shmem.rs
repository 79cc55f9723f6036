//! Every shared-memory area and lightweight lock of Orochi, in one table.
//!
//! Areas are values of fixed size made of atomics (see [`Area`]); what must change together is guarded by one of
//! the locks. All of it is zero after a start and after a crash restart: nothing here needs to survive.

use crate::columnar::pressure::Backlogs;
use crate::monitor::counters::Counters;
use crate::pg::server::lwlock::LwLock;
use crate::pg::server::shmem::{self, Area, SharedArea};
use crate::workers::mover_xids::MoverXids;
use crate::workers::registry::{self, Registry};

/// The registry of workers.
pub static WORKERS: Area<Registry> = Area::new(c"orochi workers");
/// Transactions of the mover.
pub static MOVER_XIDS: Area<MoverXids> = Area::new(c"orochi mover transactions");
/// Rows that wait in row stores.
pub static BACKLOGS: Area<Backlogs> = Area::new(c"orochi backlogs");
/// What Orochi has counted since the server started.
pub static COUNTERS: Area<Counters> = Area::new(c"orochi counters");

static AREAS: [&dyn SharedArea; 4] = [&WORKERS, &MOVER_XIDS, &BACKLOGS, &COUNTERS];
static LOCKS: [&LwLock; 1] = [&registry::LOCK];

/// Asks for shared memory if the library is being preloaded. Call once, in `_PG_init`, after the settings.
pub fn init() {
    if crate::pg::server::preloading() {
        shmem::install(request, attach);
    }
}

fn request() {
    AREAS.iter().for_each(|area| area.request());
    LOCKS.iter().for_each(|lock| lock.request());
}

fn attach() {
    AREAS.iter().for_each(|area| area.attach());
    LOCKS.iter().for_each(|lock| lock.attach());
}

/// True if the library was in `shared_preload_libraries` when the server started. Without that, plain functions
/// and types work; columnar tables, workers and counters do not.
pub fn is_preloaded() -> bool {
    COUNTERS.get().is_some()
}
