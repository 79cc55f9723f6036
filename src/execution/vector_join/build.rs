//! Reading the build side.

use super::state::{State, short};
use crate::execution::batch::Column;
use crate::execution::batches::Batch;
use crate::execution::join::{Marks, Stored};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, MemoryContext};
use std::rc::Rc;

/// Contexts that a node works in.
#[derive(Clone, Copy)]
pub struct Contexts {
    /// Lives as long as the query.
    pub query: MemoryContext,
    /// Is reset for each batch.
    pub batch: MemoryContext,
}

impl Contexts {
    /// Does something with the context of the batch as the current one, which is emptied before.
    ///
    /// # Safety
    /// The contexts must be those of a node that is running, and nothing in that of the batch be in use.
    pub unsafe fn in_batch<T>(self, function: impl FnOnce() -> Result<T, OrochiError>) -> Result<T, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            pg_sys::MemoryContextReset(self.batch);
            let old = pg_sys::MemoryContextSwitchTo(self.batch);
            let result = function();
            pg_sys::MemoryContextSwitchTo(old);
            result
        }
    }
}

impl State {
    /// Reads all rows of the build side into the table, or, if they are too many, into files.
    ///
    /// # Safety
    /// The node must be running, in these contexts.
    pub unsafe fn read_build(&mut self, contexts: Contexts) -> Result<(), OrochiError> {
        counters::add(Counter::VectorJoins, 1);
        // SAFETY: the caller's promise.
        unsafe {
            while let Some(batch) = self.build.source.next()? {
                pgrx::check_for_interrupts!();
                self.take_build(&batch, contexts)?;
            }
        }
        self.finish_build()
    }

    /// Takes a batch of the build side.
    ///
    /// # Safety
    /// As for [`Self::read_build`].
    pub unsafe fn take_build(&mut self, batch: &Batch, contexts: Contexts) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let keys = contexts.in_batch(|| self.build.keys(batch))?;
            if self.spill.is_open() {
                self.write_build(batch, &keys, contexts);
                return Ok(());
            }
            self.add_build(batch, &keys)?;
            self.spill_build_if_large(contexts)
        }
    }

    fn add_build(&mut self, batch: &Batch, keys: &[Rc<Column>]) -> Result<(), OrochiError> {
        let mut rows = batch.rows;
        if !self.shape.way.gives_lone_build() {
            rows = keys.iter().fold(rows, |rows, key| rows.and_not(&key.null_rows()));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<&Column> = keys.iter().map(|key| &**key).collect();
        self.table.add(&keys, &rows).map_err(short)?;
        for (stored, column) in self.columns_mut()?.iter_mut().zip(&batch.columns) {
            stored.add(column, &rows).map_err(short)?;
        }
        Ok(())
    }

    /// Makes the table searchable.
    pub fn finish_build(&mut self) -> Result<(), OrochiError> {
        let pause = || {
            pgrx::check_for_interrupts!();
        };
        self.table.finish(pause).map_err(short)?;
        self.seal_columns()?;
        if self.shape.way.marks() {
            self.marks = Marks::none(self.table.len());
        }
        self.note_size();
        Ok(())
    }

    /// Bytes that the build side takes.
    pub fn build_memory(&self) -> usize {
        let columns: usize = self.columns.iter().map(Stored::memory).sum();
        columns + self.table.memory() + self.marks.memory()
    }
}
