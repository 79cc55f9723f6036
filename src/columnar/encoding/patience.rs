//! What a column's writer has learned from its vectors: what did not pay is tried less often.

use super::Result;
use super::fsst::Lessons;

/// Whether an attempt is worth its time: after each failure more vectors go without one.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
    waiting: u32,
}

impl Patience {
    /// Most vectors without an attempt: the last failures double them.
    const MAX_FAILURES: u32 = 4;

    /// Whether the next vector is to be tried.
    pub fn tries(&mut self) -> bool {
        let tries = self.waiting == 0;
        self.waiting = self.waiting.saturating_sub(1);
        tries
    }

    /// Notes what an attempt has come to.
    pub fn note(&mut self, success: bool) {
        self.failures = if success { 0 } else { (self.failures + 1).min(Self::MAX_FAILURES) };
        self.waiting = (1 << self.failures) - 1;
    }

    /// Makes an attempt if it is time for one; true if it was made and succeeded.
    pub fn attempt(&mut self, attempt: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let success = self.tries() && {
            let success = attempt()?;
            self.note(success);
            success
        };
        Ok(success)
    }
}

/// What is tried for each vector of a column.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// Block compression.
    pub compression: Patience,
    /// A dictionary of values.
    pub dictionary: Patience,
    /// Symbols for what occurs often in texts.
    pub symbols: Patience,
    /// The symbols.
    pub lessons: Lessons,
}
