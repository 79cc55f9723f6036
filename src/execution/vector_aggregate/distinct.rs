//! DISTINCT in aggregates: the different arguments of each group are groups themselves, of the keys and the argument, in a table of their own,
//! which may be spread over files like any other. When all rows have been seen, each of them is added to the aggregate once.

use super::plan::Mode;
use super::server::Server;
use super::spill::Spill;
use super::state::{State, short, trouble};
use crate::columnar::encoding::Selection;
use crate::execution::aggregate::{Equality, Groups, KeyValue};
use crate::execution::batch::{Column, Kind, MAX_ROWS};
use crate::execution::expression::{Gatherer, Program};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, Datum};

impl State {
    /// A table of nothing but keys.
    pub fn of_keys(key_types: Vec<(Kind, Equality)>) -> Self {
        Self {
            mode: Mode::Whole,
            program: Program::default(),
            inputs: Vec::new(),
            keys: (0..key_types.len()).collect(),
            groups: Groups::new(key_types.iter().copied()),
            key_types,
            calls: Vec::new(),
            aggregates: Vec::new(),
            server: Server::default(),
            filled: false,
            next: 0,
            peak: 0,
            spill: Spill::default(),
            tables: 1,
        }
    }

    /// Divides the memory among the table of groups and those of different arguments.
    pub fn share_memory(&mut self) {
        let tables = 1 + self.calls.iter().filter(|call| call.distinct.is_some()).count();
        self.tables = tables;
        for distinct in self.calls.iter_mut().filter_map(|call| call.distinct.as_deref_mut()) {
            distinct.tables = tables;
        }
    }

    /// Notes keys and arguments of rows, but for those whose argument is NULL.
    pub fn note<'a>(
        &mut self,
        columns: impl Iterator<Item = &'a Column>,
        rows: &Selection,
        argument: &Column,
    ) -> Result<(), OrochiError> {
        let columns: Vec<&Column> = columns.collect();
        let rows = rows.and_not(&argument.null_rows());
        let mut groups = [0; MAX_ROWS];
        self.groups.assign(&columns, &rows, &mut groups).map_err(short)
    }

    /// Adds the different arguments to their aggregates, when all rows have been seen.
    ///
    /// # Safety
    /// `memory` must be a context that lives as long as the query.
    pub unsafe fn add_distinct(&mut self, memory: pg_sys::MemoryContext) -> Result<(), OrochiError> {
        for call in 0..self.calls.len() {
            let Some(mut distinct) = self.calls.get_mut(call).and_then(|call| call.distinct.take()) else { continue };
            // SAFETY: the caller's promise.
            unsafe {
                distinct.finish_spill(memory);
                loop {
                    self.add_groups_of(&distinct, call, memory)?;
                    if !distinct.next_file(memory)? {
                        break;
                    }
                }
            }
            self.peak = self.peak.max(distinct.peak);
            self.spill.partitions += distinct.spill.partitions;
            self.spill.bytes += distinct.spill.bytes;
            distinct.clear();
            if let Some(call) = self.calls.get_mut(call) {
                call.distinct = Some(distinct);
            }
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Self::add_distinct`].
    unsafe fn add_groups_of(
        &mut self,
        distinct: &State,
        call: usize,
        memory: pg_sys::MemoryContext,
    ) -> Result<(), OrochiError> {
        let all = distinct.groups.len();
        let mut scratch = Box::new([0; MAX_ROWS]);
        for start in (0..all).step_by(MAX_ROWS) {
            pgrx::check_for_interrupts!();
            let end = (start + MAX_ROWS).min(all);
            let columns = distinct.key_columns(start..end)?;
            let rows = Selection::first(end - start);
            let Some((argument, keys)) = columns.split_last() else { continue };
            let keys: Vec<&Column> = keys.iter().collect();
            self.groups.assign(&keys, &rows, &mut scratch).map_err(short)?;
            let groups = (!keys.is_empty()).then_some(&scratch[..]);
            if let Some(aggregate) = self.aggregates.get_mut(call) {
                aggregate.grow(self.groups.len()).map_err(short)?;
                aggregate.add(Some(argument), &rows, groups, &mut self.server).map_err(trouble)?;
            }
            // SAFETY: the caller's promise.
            unsafe { self.spill_if_large(memory)? };
        }
        Ok(())
    }

    /// The keys of groups as columns.
    fn key_columns(&self, groups: std::ops::Range<usize>) -> Result<Vec<Column>, OrochiError> {
        let column = |(key, (kind, _)): (usize, &(Kind, Equality))| {
            let mut gatherer = Gatherer::new(*kind);
            for group in groups.clone() {
                match self.groups.key(group, key) {
                    // SAFETY: NULL is of any type.
                    KeyValue::Null => unsafe { gatherer.push(None)? },
                    // SAFETY: the word is that of a key of this kind.
                    KeyValue::Word(word) => unsafe { gatherer.push(Some(Datum::from(word)))? },
                    KeyValue::Bytes(bytes) => gatherer.push_image(bytes)?,
                }
            }
            gatherer.finish()
        };
        self.key_types.iter().enumerate().map(column).collect()
    }
}
