//! Parallel workers of a command: PostgreSQL's parallel contexts, with shared memory and message queues.

use crate::pg::server::process;
use pgrx::pg_sys;
use pgrx::pg_sys::shm_mq_result::{SHM_MQ_SUCCESS, SHM_MQ_WOULD_BLOCK};
use std::ffi::{CStr, c_int};
use std::time::Duration;

/// How long a process that waits for others sleeps at most; they wake it up.
const NAP: Duration = Duration::from_secs(1);

/// Whether this session may start parallel workers here and now.
pub fn is_possible() -> bool {
    // SAFETY: plain tests of this process's state.
    unsafe {
        pg_sys::IsUnderPostmaster
            && most_workers() > 0
            && !pg_sys::XactReadOnly
            && !pg_sys::IsInParallelMode()
            && pg_sys::ActiveSnapshotSet()
    }
}

/// Parallel workers that the whole server may run.
pub fn most_workers() -> usize {
    // SAFETY: a setting.
    usize::try_from(unsafe { pg_sys::max_parallel_workers }).unwrap_or(0)
}

/// Sleeps until somebody sets this process's latch, and serves interrupts: errors of workers are raised.
pub fn wait() {
    process::wait(NAP);
}

/// The workers of a command that runs in parallel mode. They must be ended by [`Self::finish`]; an ERROR ends them by itself.
pub struct Workers(*mut pg_sys::ParallelContext);

impl Workers {
    /// Enters parallel mode, and prepares workers that are to run a function of this library, with pieces of shared memory of the
    /// given sizes. The transaction gets its id, if it has none: in parallel mode it could not, and so could not write.
    pub fn prepare(function: &'static CStr, count: usize, sizes: &[usize]) -> Self {
        // SAFETY: within a transaction that is not in parallel mode; the context and its memory live until it is destroyed.
        unsafe {
            pg_sys::GetCurrentTransactionId();
            pg_sys::EnterParallelMode();
            let count = c_int::try_from(count).unwrap_or(c_int::MAX);
            let context = pg_sys::CreateParallelContext(c"orochi".as_ptr(), function.as_ptr(), count);
            let estimator = &mut (*context).estimator;
            for size in sizes {
                estimator.space_for_chunks += size.next_multiple_of(pg_sys::ALIGNOF_BUFFER as usize);
                estimator.number_of_keys += 1;
            }
            pg_sys::InitializeParallelDSM(context);
            for (size, key) in sizes.iter().zip(0..) {
                let memory = pg_sys::shm_toc_allocate((*context).toc, *size);
                std::ptr::write_bytes(memory.cast::<u8>(), 0, *size);
                pg_sys::shm_toc_insert((*context).toc, key, memory);
            }
            Self(context)
        }
    }

    /// Where piece `key` of the shared memory is. It is zeroed, and is there until the workers are finished.
    pub fn memory(&self, key: u64) -> *mut u8 {
        // SAFETY: `prepare` made the pieces.
        unsafe { pg_sys::shm_toc_lookup((*self.0).toc, key, false).cast() }
    }

    /// How many workers there may be: none if shared memory could not be had.
    pub fn planned(&self) -> usize {
        // SAFETY: the context is valid.
        usize::try_from(unsafe { (*self.0).nworkers }).unwrap_or(0)
    }

    /// Starts the workers, as far as the server has room for them, and returns how many.
    pub fn launch(&mut self) -> usize {
        // SAFETY: the context is valid.
        unsafe {
            pg_sys::LaunchParallelWorkers(self.0);
            usize::try_from((*self.0).nworkers_launched).unwrap_or(0)
        }
    }

    /// A queue to a worker, in `size` bytes of shared memory.
    ///
    /// # Safety
    /// The memory must be a part of one of the pieces that nothing else uses.
    pub unsafe fn sender(&self, memory: *mut u8, size: usize) -> Sender {
        // SAFETY: the caller's promise.
        unsafe {
            let queue = pg_sys::shm_mq_create(memory.cast(), size);
            pg_sys::shm_mq_set_sender(queue, pg_sys::MyProc);
            Sender(pg_sys::shm_mq_attach(queue, (*self.0).seg, std::ptr::null_mut()))
        }
    }

    /// A queue from a worker, in `size` bytes of shared memory.
    ///
    /// # Safety
    /// As for [`Self::sender`].
    pub unsafe fn receiver(&self, memory: *mut u8, size: usize) -> Receiver {
        // SAFETY: the caller's promise.
        unsafe {
            let queue = pg_sys::shm_mq_create(memory.cast(), size);
            pg_sys::shm_mq_set_receiver(queue, pg_sys::MyProc);
            Receiver(pg_sys::shm_mq_attach(queue, (*self.0).seg, std::ptr::null_mut()))
        }
    }

    /// Makes it known to two queues which launched worker is at their other ends, so that its death is noticed even if it never came.
    pub fn bind(&self, worker: usize, sender: &Sender, receiver: &Receiver) {
        // SAFETY: the worker was launched.
        unsafe {
            let handle = (*(*self.0).worker.add(worker)).bgwhandle;
            pg_sys::shm_mq_set_handle(sender.0, handle);
            pg_sys::shm_mq_set_handle(receiver.0, handle);
        }
    }

    /// Waits until the workers have ended, raises their errors, and leaves parallel mode.
    pub fn finish(self) {
        // SAFETY: the context is valid, and not used after this.
        unsafe {
            pg_sys::WaitForParallelWorkersToFinish(self.0);
            pg_sys::DestroyParallelContext(self.0);
            pg_sys::ExitParallelMode();
        }
    }

    /// Raises the error of a worker that has gone too early, if it left one or did not come at all. Others may be at work, so it does not
    /// wait for the end.
    pub fn raise_errors(&self) {
        pgrx::check_for_interrupts!();
        // SAFETY: the context is valid.
        unsafe { pg_sys::WaitForParallelWorkersToAttach(self.0) };
        // A worker announces its error before it goes, so this is for the time that a signal takes.
        for _ in 0..10 {
            process::wait(Duration::from_millis(100));
        }
    }
}

/// What a worker was started with.
pub struct Inherited {
    segment: *mut pg_sys::dsm_segment,
    toc: *mut pg_sys::shm_toc,
}

impl Inherited {
    /// # Safety
    /// Must be the arguments of a parallel worker's function.
    pub unsafe fn new(segment: *mut pg_sys::dsm_segment, toc: *mut pg_sys::shm_toc) -> Self {
        Self { segment, toc }
    }

    /// Which of the workers this is, from 0 on.
    pub fn number(&self) -> usize {
        // SAFETY: a variable of this process.
        usize::try_from(unsafe { pg_sys::ParallelWorkerNumber }).unwrap_or(0)
    }

    /// Where piece `key` of the shared memory is.
    pub fn memory(&self, key: u64) -> *mut u8 {
        // SAFETY: the table of contents is valid.
        unsafe { pg_sys::shm_toc_lookup(self.toc, key, false).cast() }
    }

    /// The near end of the queue that the leader sends to.
    ///
    /// # Safety
    /// The leader must have made the queue at this place by [`Workers::sender`].
    pub unsafe fn receiver(&self, memory: *mut u8) -> Receiver {
        // SAFETY: the caller's promise.
        unsafe {
            pg_sys::shm_mq_set_receiver(memory.cast(), pg_sys::MyProc);
            Receiver(pg_sys::shm_mq_attach(memory.cast(), self.segment, std::ptr::null_mut()))
        }
    }

    /// The near end of the queue that the leader receives from.
    ///
    /// # Safety
    /// As for [`Self::receiver`], by [`Workers::receiver`].
    pub unsafe fn sender(&self, memory: *mut u8) -> Sender {
        // SAFETY: the caller's promise.
        unsafe {
            pg_sys::shm_mq_set_sender(memory.cast(), pg_sys::MyProc);
            Sender(pg_sys::shm_mq_attach(memory.cast(), self.segment, std::ptr::null_mut()))
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Yes,
    /// There is no room; the same message is to be sent again.
    NotYet,
    /// Nobody receives any more.
    Gone,
}

/// The sending end of a queue.
pub struct Sender(*mut pg_sys::shm_mq_handle);

impl Sender {
    /// Sends a message, or a part of it, without waiting.
    pub fn try_send(&mut self, message: &[u8]) -> Sent {
        // SAFETY: the queue is attached; the message is as long as it says.
        let result = unsafe { pg_sys::shm_mq_send(self.0, message.len(), message.as_ptr().cast(), true, true) };
        match result {
            SHM_MQ_SUCCESS => Sent::Yes,
            SHM_MQ_WOULD_BLOCK => Sent::NotYet,
            _ => Sent::Gone,
        }
    }

    /// Sends a message that consists of two parts, and waits until there is room; false if nobody receives any more.
    pub fn send(&mut self, head: &[u8], body: &[u8]) -> bool {
        let part = |bytes: &[u8]| pg_sys::shm_mq_iovec { data: bytes.as_ptr().cast(), len: bytes.len() };
        let mut parts = [part(head), part(body)];
        // SAFETY: the queue is attached; the parts are as long as they say.
        unsafe { pg_sys::shm_mq_sendv(self.0, parts.as_mut_ptr(), 2, false, true) == SHM_MQ_SUCCESS }
    }

    /// Wakes up the process at the other end, if it has come.
    pub fn wake(&self) {
        // SAFETY: the queue is attached; processes at its ends are those of the same command.
        unsafe {
            let process = pg_sys::shm_mq_get_receiver(pg_sys::shm_mq_get_queue(self.0));
            if !process.is_null() {
                pg_sys::SetLatch(&raw mut (*process).procLatch);
            }
        }
    }
}

/// What a queue has.
pub enum Received<'a> {
    /// A message, which is there until the next one is received.
    Message(&'a [u8]),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more: nobody sends.
    Gone,
}

/// The receiving end of a queue.
pub struct Receiver(*mut pg_sys::shm_mq_handle);

impl Receiver {
    fn receive_with(&mut self, nowait: bool) -> Received<'_> {
        let (mut len, mut data) = (0, std::ptr::null_mut());
        // SAFETY: the queue is attached; a message stays until the next one is received.
        unsafe {
            match pg_sys::shm_mq_receive(self.0, &mut len, &mut data, nowait) {
                SHM_MQ_SUCCESS if len > 0 => {
                    Received::Message(std::slice::from_raw_parts(data.cast::<u8>().cast_const(), len))
                }
                SHM_MQ_SUCCESS => Received::Message(&[]),
                SHM_MQ_WOULD_BLOCK => Received::Nothing,
                _ => Received::Gone,
            }
        }
    }

    /// Receives a message if one is there.
    pub fn try_receive(&mut self) -> Received<'_> {
        self.receive_with(true)
    }

    /// Waits for a message; `None` if nobody sends any more.
    pub fn receive(&mut self) -> Option<&[u8]> {
        match self.receive_with(false) {
            Received::Message(message) => Some(message),
            _ => None,
        }
    }
}
