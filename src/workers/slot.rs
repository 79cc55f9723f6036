//! One worker's entry in the registry.

use super::clock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const ORDER: Ordering = Ordering::SeqCst;

/// Bytes of an error message that a slot keeps.
const ERROR_BYTES: usize = 512;

/// What a worker is doing. Only the launcher takes slots and frees them; the worker does the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No worker, no database.
    Free = 0,
    /// The launcher has asked for a process that has not shown up yet.
    Starting = 1,
    /// Waits for its next job.
    Idle = 2,
    /// Runs a job.
    Busy = 3,
    /// Has ended; the launcher starts it again.
    Stopped = 4,
    /// Has ended because its database does not have the extension.
    NoExtension = 5,
}

impl State {
    fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Starting,
            2 => Self::Idle,
            3 => Self::Busy,
            4 => Self::Stopped,
            5 => Self::NoExtension,
            _ => Self::Free,
        }
    }

    /// Name in `orochi.workers()`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::NoExtension => "no extension",
        }
    }

    /// True from the request for a process until that process has left.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Idle | Self::Busy)
    }
}

/// The shared entry. Times are [`clock`] microseconds, 0 for never.
pub struct Slot {
    state: AtomicU32,
    database: AtomicU32,
    /// Counts starts: a process that shows up for an earlier one leaves at once.
    generation: AtomicU32,
    pid: AtomicI32,
    started_at: AtomicI64,
    /// Set by a timer signal: stops only if the process is stopped or gone.
    heartbeat: AtomicI64,
    /// Set by the loop and by jobs: stops if the process hangs.
    progress_at: AtomicI64,
    /// Index of the running job plus 1.
    job: AtomicU32,
    /// Longest silence of the running job, in microseconds.
    stall_limit: AtomicI64,
    stop: AtomicBool,
    signalled_at: AtomicI64,
    restarts: AtomicU64,
    runs: AtomicU64,
    failures: AtomicU64,
    work_done: AtomicU64,
    error_at: AtomicI64,
    error_length: AtomicU32,
    /// Guarded by the registry's lock; atomic only so that no access needs `unsafe`.
    error: [AtomicU8; ERROR_BYTES],
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(State::Free as u32),
            database: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            pid: AtomicI32::new(0),
            started_at: AtomicI64::new(0),
            heartbeat: AtomicI64::new(0),
            progress_at: AtomicI64::new(0),
            job: AtomicU32::new(0),
            stall_limit: AtomicI64::new(0),
            stop: AtomicBool::new(false),
            signalled_at: AtomicI64::new(0),
            restarts: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            work_done: AtomicU64::new(0),
            error_at: AtomicI64::new(0),
            error_length: AtomicU32::new(0),
            error: std::array::from_fn(|_| AtomicU8::new(0)),
        }
    }
}

/// A slot's plain values at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Index of the slot; 0 is the launcher's.
    pub slot: usize,
    /// What the worker is doing.
    pub state: State,
    /// OID of the database, 0 for the launcher.
    pub database: u32,
    /// Process id, 0 if there is no process.
    pub pid: i32,
    /// When the process was asked for.
    pub started_at: i64,
    /// Last sign of life.
    pub heartbeat: i64,
    /// Last sign of progress.
    pub progress_at: i64,
    /// Index of the running job.
    pub job: Option<usize>,
    /// Longest silence that the running job may keep.
    pub stall_limit: Duration,
    /// When the process was last told to end because it was silent.
    pub signalled_at: i64,
    /// Starts after the first.
    pub restarts: u64,
    /// Job runs.
    pub runs: u64,
    /// Job runs that failed.
    pub failures: u64,
    /// Units of work that jobs have reported.
    pub work_done: u64,
    /// When the last error was met.
    pub error_at: i64,
    /// The last error.
    pub error: Option<String>,
}

impl Slot {
    /// The slot's values. The caller holds the registry's lock at least in shared mode.
    pub fn view(&self, slot: usize) -> View {
        View {
            slot,
            state: self.state(),
            database: self.database(),
            pid: self.pid.load(ORDER),
            started_at: self.started_at.load(ORDER),
            heartbeat: self.heartbeat.load(ORDER),
            progress_at: self.progress_at.load(ORDER),
            job: (self.job.load(ORDER) as usize).checked_sub(1),
            stall_limit: clock::between(0, self.stall_limit.load(ORDER)),
            signalled_at: self.signalled_at.load(ORDER),
            restarts: self.restarts.load(ORDER),
            runs: self.runs.load(ORDER),
            failures: self.failures.load(ORDER),
            work_done: self.work_done.load(ORDER),
            error_at: self.error_at.load(ORDER),
            error: self.error(),
        }
    }

    /// What the worker is doing.
    pub fn state(&self) -> State {
        State::from_code(self.state.load(ORDER))
    }

    /// OID of the database.
    pub fn database(&self) -> u32 {
        self.database.load(ORDER)
    }

    /// Process id, 0 if there is no process.
    pub fn pid(&self) -> i32 {
        self.pid.load(ORDER)
    }

    /// Takes the slot for a worker of `database`, which may be the one it had before. Returns the generation that
    /// the new process has to name. The caller holds the registry's lock in exclusive mode.
    pub fn prepare(&self, database: u32, now: i64) -> u32 {
        if self.database.swap(database, ORDER) != database {
            self.forget();
        } else if self.generation.load(ORDER) != 0 {
            self.restarts.fetch_add(1, ORDER);
        }
        self.stop.store(false, ORDER);
        self.started_at.store(now, ORDER);
        self.signalled_at.store(0, ORDER);
        self.set_state(State::Starting);
        self.generation.fetch_add(1, ORDER) + 1
    }

    fn forget(&self) {
        for counter in [&self.restarts, &self.runs, &self.failures, &self.work_done] {
            counter.store(0, ORDER);
        }
        self.error_at.store(0, ORDER);
        self.error_length.store(0, ORDER);
    }

    /// Frees the slot: its database is gone or does not have the extension.
    pub fn free(&self) {
        self.database.store(0, ORDER);
        self.forget();
        self.set_state(State::Free);
    }

    /// Enters this process. False if the launcher has given it up meanwhile.
    pub fn enter(&self, generation: u32, pid: i32) -> bool {
        if self.generation.load(ORDER) != generation || self.state() != State::Starting {
            return false;
        }
        let now = clock::now();
        self.pid.store(pid, ORDER);
        self.beat(now);
        self.progress(now);
        self.set_state(State::Idle);
        true
    }

    /// Records that the process leaves, or that it never came.
    pub fn leave(&self, state: State) {
        self.job.store(0, ORDER);
        self.pid.store(0, ORDER);
        self.set_state(state);
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u32, ORDER);
    }

    /// A sign of life. Safe in a signal handler.
    pub fn beat(&self, now: i64) {
        self.heartbeat.store(now, ORDER);
    }

    /// A sign of progress.
    pub fn progress(&self, now: i64) {
        self.progress_at.store(now, ORDER);
    }

    /// The process was told to end because it was silent.
    pub fn signalled(&self, now: i64) {
        self.signalled_at.store(now, ORDER);
    }

    /// Asks the worker to end when its job allows.
    pub fn request_stop(&self) {
        self.stop.store(true, ORDER);
    }

    /// True if the worker should end.
    pub fn stop_requested(&self) -> bool {
        self.stop.load(ORDER)
    }

    /// A job begins; `stall_limit` is the longest time for which it may not report progress.
    pub fn begin_job(&self, job: usize, stall_limit: Duration) {
        self.stall_limit.store(clock::micros(stall_limit), ORDER);
        self.job.store(u32::try_from(job + 1).unwrap_or(0), ORDER);
        self.progress(clock::now());
        self.set_state(State::Busy);
    }

    /// A job has ended.
    pub fn end_job(&self, failed: bool) {
        self.set_state(State::Idle);
        self.job.store(0, ORDER);
        self.runs.fetch_add(1, ORDER);
        self.failures.fetch_add(u64::from(failed), ORDER);
    }

    /// Adds to the work done.
    pub fn add_work(&self, units: u64) {
        self.work_done.fetch_add(units, ORDER);
    }

    /// Stores an error message, cut to what the slot holds. The caller holds the registry's lock in exclusive mode.
    pub fn set_error(&self, message: &str, now: i64) {
        let mut length = message.len().min(ERROR_BYTES);
        while !message.is_char_boundary(length) {
            length -= 1;
        }
        for (to, from) in self.error.iter().zip(&message.as_bytes()[..length]) {
            to.store(*from, Ordering::Relaxed);
        }
        self.error_length.store(u32::try_from(length).unwrap_or(0), ORDER);
        self.error_at.store(now, ORDER);
    }

    fn error(&self) -> Option<String> {
        let length = (self.error_length.load(ORDER) as usize).min(ERROR_BYTES);
        let bytes: Vec<u8> = self.error[..length].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        (length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_comes_and_goes() {
        let slot = Slot::default();
        let first = slot.prepare(5, 100);
        assert!(!slot.enter(first + 1, 42));
        assert!(slot.enter(first, 42));
        assert!(!slot.enter(first, 43), "a slot takes one process");
        slot.begin_job(0, Duration::from_secs(1));
        assert_eq!((slot.view(1).state, slot.view(1).job), (State::Busy, Some(0)));
        slot.end_job(true);
        slot.leave(State::Stopped);
        assert_eq!((slot.pid(), slot.state()), (0, State::Stopped));
        slot.prepare(5, 200);
        let view = slot.view(1);
        assert_eq!((view.restarts, view.runs, view.failures), (1, 1, 1));
    }

    #[test]
    fn another_database_starts_from_zero() {
        let slot = Slot::default();
        slot.prepare(5, 100);
        slot.set_error("boom", 100);
        slot.add_work(3);
        slot.prepare(6, 200);
        let view = slot.view(1);
        assert_eq!((view.error, view.work_done, view.restarts), (None, 0, 0));
    }

    #[test]
    fn long_errors_are_cut_at_a_character() {
        let slot = Slot::default();
        slot.set_error(&"ä".repeat(ERROR_BYTES), 1);
        assert_eq!(slot.view(0).error, Some("ä".repeat(ERROR_BYTES / 2)));
        slot.set_error(&format!("x{}", "ä".repeat(ERROR_BYTES)), 1);
        assert_eq!(slot.view(0).error.map(|text| text.len()), Some(ERROR_BYTES - 1));
    }
}
