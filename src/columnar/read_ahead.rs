//! Asking for the bytes of vectors that a scan is going to read.

use super::store::Store;
use super::stripe::OpenStripe;
use crate::pg::error::OrochiError;
use crate::pg::read_ahead as blocks;

/// Vectors that are asked for at first, for a scan may stop soon.
const FIRST_WINDOW: usize = 4;
/// Vectors that are asked for at once when the scan has gone on.
const LAST_WINDOW: usize = 64;

/// What a scan of one stripe has asked for.
#[derive(Default)]
pub struct ReadAhead {
    /// Vectors up to here have been asked for.
    until: usize,
    window: usize,
    off: bool,
}

impl ReadAhead {
    /// For a scan that begins: nothing is asked for if the server does not want it.
    pub fn new(store: &Store) -> Self {
        Self { until: 0, window: FIRST_WINDOW, off: !blocks::is_wanted(store.companion()) }
    }

    /// Called with each of the `vectors` in turn, at `index`; asks for those that follow when all that were asked for are used up.
    pub fn reach(
        &mut self,
        store: &Store,
        stripe: &OpenStripe,
        columns: impl FnOnce() -> Vec<usize>,
        vectors: &[u32],
        index: usize,
    ) -> Result<(), OrochiError> {
        if self.off || index < self.until {
            return Ok(());
        }
        self.until = index + self.window;
        self.window = (self.window * 2).min(LAST_WINDOW);
        let source = stripe.source(store);
        let mut wanted = Vec::new();
        for column in columns() {
            let directory = stripe.directory(store, column)?;
            for vector in vectors.iter().skip(index).take(self.until - index) {
                if let Some(entry) = directory.entries().get(*vector as usize) {
                    wanted.extend(source.blocks(entry.offset, entry.stored_len as usize));
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        blocks::read_ahead(store.companion(), &wanted);
        Ok(())
    }
}
