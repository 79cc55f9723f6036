//! Which running transactions are the mover's.
//!
//! Whoever finds a row deleted by an unfinished transaction has to know whether a user deletes it, or the mover is
//! moving it. The mover publishes each transaction id before it deletes the first row with it.

use crate::shmem;
use pgrx::pg_sys::TransactionId;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One mover transaction per database at a time, and as many databases as there are worker slots.
const SLOTS: usize = 64;

/// The shared table: a slot holds a transaction id, or 0.
pub struct MoverXids {
    slots: [AtomicU32; SLOTS],
    /// Number of slots in use, so that the common case looks at one word.
    used: AtomicU32,
}

impl Default for MoverXids {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicU32::new(0)), used: AtomicU32::new(0) }
    }
}

/// All slots are taken, or there is no shared memory.
#[derive(Debug, thiserror::Error)]
#[error("no room to publish a transaction of the mover")]
pub struct NoRoom;

/// Slots of this process, as a bit set: they are cleared at exit even if a guard was never dropped, for a FATAL
/// error does not unwind.
static MINE: AtomicU64 = AtomicU64::new(0);

/// Keeps a transaction id published until dropped. Drop it after the transaction has ended.
#[must_use]
#[derive(Debug)]
pub struct MoverXidGuard {
    slot: usize,
}

/// Publishes a transaction id of the mover.
pub fn publish(xid: TransactionId) -> Result<MoverXidGuard, NoRoom> {
    let shared = shmem::MOVER_XIDS.get().ok_or(NoRoom)?;
    crate::pg::server::process::at_exit_once(release_all);
    let slot = shared.publish(xid.into_inner()).ok_or(NoRoom)?;
    MINE.fetch_or(1 << slot, Ordering::Relaxed);
    Ok(MoverXidGuard { slot })
}

/// True if `xid` belongs to a transaction of the mover that is still running or has just ended.
#[inline]
pub fn is_mover(xid: TransactionId) -> bool {
    shmem::MOVER_XIDS.get().is_some_and(|shared| shared.contains(xid.into_inner()))
}

impl Drop for MoverXidGuard {
    fn drop(&mut self) {
        release(1 << self.slot);
    }
}

/// Clears what this process still has published. Runs when the process exits.
fn release_all() {
    release(u64::MAX);
}

fn release(slots: u64) {
    let mine = MINE.fetch_and(!slots, Ordering::Relaxed) & slots;
    if let Some(shared) = shmem::MOVER_XIDS.get() {
        (0..SLOTS).filter(|slot| mine & (1 << slot) != 0).for_each(|slot| shared.clear(slot));
    }
}

impl MoverXids {
    fn publish(&self, xid: u32) -> Option<usize> {
        let free = |slot: &AtomicU32| slot.compare_exchange(0, xid, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        // Counted first: a reader must never see `used` as zero while a slot is taken.
        self.used.fetch_add(1, Ordering::AcqRel);
        let slot = self.slots.iter().position(free);
        if slot.is_none() {
            self.used.fetch_sub(1, Ordering::AcqRel);
        }
        slot
    }

    fn clear(&self, slot: usize) {
        self.slots[slot].store(0, Ordering::Release);
        self.used.fetch_sub(1, Ordering::AcqRel);
    }

    fn contains(&self, xid: u32) -> bool {
        xid != 0
            && self.used.load(Ordering::Acquire) != 0
            && self.slots.iter().any(|slot| slot.load(Ordering::Acquire) == xid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_until_cleared() {
        let table = MoverXids::default();
        assert!(!table.contains(7));
        let slot = table.publish(7).expect("empty table");
        assert!(table.contains(7) && !table.contains(8) && !table.contains(0));
        table.clear(slot);
        assert!(!table.contains(7));
        assert_eq!(table.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn full_table_refuses_and_recovers() {
        let table = MoverXids::default();
        let slots: Vec<_> = (1..=SLOTS as u32).filter_map(|xid| table.publish(xid)).collect();
        assert_eq!(slots.len(), SLOTS);
        assert!(table.publish(1000).is_none());
        table.clear(slots[3]);
        assert_eq!(table.publish(1000), Some(slots[3]));
    }
}
