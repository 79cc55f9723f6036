//! What the processes of a COPY share: the task, a queue in each direction, and a place where a worker is given row numbers.

use crate::pg::parallel::{Inherited, Receiver, Sender, Workers};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of the queue of rows to a worker: some batches, so that it seldom waits for the leader.
const ROW_QUEUE: usize = 256 << 10;
/// Bytes of the queue from a worker.
const RESULT_QUEUE: usize = 256 << 10;

/// Pieces of shared memory.
const TASK: u64 = 0;
const COLUMNS: u64 = 1;
const NUMBERS: u64 = 2;
const QUEUES: u64 = 3;

/// What the workers do.
pub struct Task {
    /// The table that is filled.
    pub table: pg_sys::Oid,
    /// Columns of the input.
    pub columns: Vec<pg_sys::AttrNumber>,
    /// Bytes at which a worker closes its stripe.
    pub stripe_bytes: usize,
}

#[repr(C)]
struct SharedTask {
    table: pg_sys::Oid,
    columns: u32,
    stripe_bytes: u64,
}

/// What is going on at [`Numbers`].
const IDLE: u32 = 0;
const WANTED: u32 = 1;
const GIVEN: u32 = 2;

/// The shared part of [`Numbers`]. All zeroes is the state at the start.
#[repr(C)]
struct SharedNumbers {
    state: AtomicU32,
    first: AtomicU64,
    last: AtomicU64,
}

/// Where a worker asks for an interval of row numbers, and gets one.
pub struct Numbers(*const SharedNumbers);

impl Numbers {
    fn shared(&self) -> &SharedNumbers {
        // SAFETY: links are used while the shared memory is there.
        unsafe { &*self.0 }
    }

    /// The worker asks.
    pub fn ask(&self) {
        self.shared().state.store(WANTED, Ordering::Release);
    }

    /// Whether the worker waits.
    pub fn are_wanted(&self) -> bool {
        self.shared().state.load(Ordering::Acquire) == WANTED
    }

    /// The leader gives.
    pub fn give(&self, first: u64, last: u64) {
        let shared = self.shared();
        shared.first.store(first, Ordering::Relaxed);
        shared.last.store(last, Ordering::Relaxed);
        shared.state.store(GIVEN, Ordering::Release);
    }

    /// The worker takes what it was given, first and last number.
    pub fn take(&self) -> Option<(u64, u64)> {
        let shared = self.shared();
        if shared.state.load(Ordering::Acquire) != GIVEN {
            return None;
        }
        shared.state.store(IDLE, Ordering::Relaxed);
        Some((shared.first.load(Ordering::Relaxed), shared.last.load(Ordering::Relaxed)))
    }
}

/// A worker as the leader sees it, or the leader as a worker sees it.
pub struct Link {
    /// Messages to the other side.
    pub sender: Sender,
    /// Messages from the other side.
    pub receiver: Receiver,
    /// Where row numbers are asked for.
    pub numbers: Numbers,
}

/// Prepares as many workers as there may be, at most `count`, and a link to each. Enters parallel mode.
pub fn prepare(function: &'static CStr, count: usize, task: &Task) -> (Workers, Vec<Link>) {
    let queues = count * (ROW_QUEUE + RESULT_QUEUE);
    let columns = size_of_val(task.columns.as_slice());
    let sizes = [size_of::<SharedTask>(), columns, count * size_of::<SharedNumbers>(), queues];
    let workers = Workers::prepare(function, count, &sizes);
    // SAFETY: the pieces have the sizes that were asked for, are zeroed, and are aligned for all types.
    unsafe {
        workers.memory(TASK).cast::<SharedTask>().write(SharedTask {
            table: task.table,
            columns: task.columns.len() as u32,
            stripe_bytes: task.stripe_bytes as u64,
        });
        std::ptr::copy_nonoverlapping(task.columns.as_ptr().cast(), workers.memory(COLUMNS), columns);
        let links = (0..workers.planned()).map(|worker| {
            let memory = workers.memory(QUEUES).add(worker * (ROW_QUEUE + RESULT_QUEUE));
            Link {
                sender: workers.sender(memory, ROW_QUEUE),
                receiver: workers.receiver(memory.add(ROW_QUEUE), RESULT_QUEUE),
                numbers: Numbers(workers.memory(NUMBERS).cast::<SharedNumbers>().add(worker)),
            }
        });
        let links = links.collect();
        (workers, links)
    }
}

/// The worker's side of what [`prepare`] made.
///
/// # Safety
/// The arguments must be those of a worker's function, started by a leader that called [`prepare`].
pub unsafe fn join(segment: *mut pg_sys::dsm_segment, toc: *mut pg_sys::shm_toc) -> (Task, Link) {
    // SAFETY: the caller's promise.
    unsafe {
        let inherited = Inherited::new(segment, toc);
        let shared = &*inherited.memory(TASK).cast::<SharedTask>();
        let columns = std::slice::from_raw_parts(inherited.memory(COLUMNS).cast(), shared.columns as usize).to_vec();
        let task = Task { table: shared.table, columns, stripe_bytes: shared.stripe_bytes as usize };
        let memory = inherited.memory(QUEUES).add(inherited.number() * (ROW_QUEUE + RESULT_QUEUE));
        let link = Link {
            receiver: inherited.receiver(memory),
            sender: inherited.sender(memory.add(ROW_QUEUE)),
            numbers: Numbers(inherited.memory(NUMBERS).cast::<SharedNumbers>().add(inherited.number())),
        };
        (task, link)
    }
}
