//! What to do with more groups than memory may hold: what they have come to so far is written to temporary files, by a hash of their keys, and
//! the table starts over. At the end one file after the other is read back and its groups are put together.

use super::state::State;
use crate::columnar::encoding::{Physical, Selection};
use crate::execution::aggregate::{KeyValue, put};
use crate::execution::batch::{Column, Kind, MAX_ROWS, content};
use crate::execution::records::{self, Records};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::temp_file::TempFile;
use crate::pg::values::{fetch_columns, pointed_bytes};
use pgrx::pg_sys::{self, Datum};

/// Files that groups are spread over at a time.
const FILES: usize = 16;
/// Bits of the hash that tell these files apart.
const BITS: u32 = 4;
/// So often groups are spread: beyond that memory has to do.
const MAX_LEVEL: u32 = 8;

/// Groups that are in files.
#[derive(Default)]
pub struct Spill {
    /// Files yet to be read, and how often their groups were spread.
    files: Vec<(u32, TempFile)>,
    /// Those that are being written.
    open: Vec<Option<TempFile>>,
    /// How often the groups at hand were spread.
    level: u32,
    /// Files written in all, for EXPLAIN.
    pub partitions: u64,
    /// Bytes written in all, for EXPLAIN.
    pub bytes: u64,
    record: Vec<u8>,
}

impl Spill {
    /// Removes all files.
    pub fn forget(&mut self) {
        let files = self.files.drain(..).map(|(_, file)| file);
        files.chain(self.open.drain(..).flatten()).for_each(TempFile::close);
        *self = Self::default();
    }
}

/// Bytes that the hash table may take.
fn limit() -> usize {
    // SAFETY: a function of settings.
    unsafe { pg_sys::get_hash_memory_limit() }
}

impl State {
    /// Writes all groups to files if they take more memory than they may.
    ///
    /// # Safety
    /// `memory` must be a context that lives as long as the query.
    pub unsafe fn spill_if_large(&mut self, memory: pg_sys::MemoryContext) -> Result<(), OrochiError> {
        for distinct in self.calls.iter_mut().filter_map(|call| call.distinct.as_deref_mut()) {
            // SAFETY: the caller's promise.
            unsafe { distinct.spill_if_large(memory)? };
        }
        let used = self.memory();
        self.peak = self.peak.max(used);
        if used > limit() / self.tables && !self.keys.is_empty() && self.spill.level < MAX_LEVEL {
            // SAFETY: the caller's promise.
            unsafe { self.spill_groups(memory) }
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Self::spill_if_large`].
    unsafe fn spill_groups(&mut self, memory: pg_sys::MemoryContext) {
        // SAFETY: the caller's promise.
        let old = unsafe { pg_sys::MemoryContextSwitchTo(memory) };
        let Spill { open, level, record, partitions, bytes, .. } = &mut self.spill;
        open.resize_with(FILES, || None);
        let before = *bytes;
        for group in 0..self.groups.len() {
            if group % MAX_ROWS == 0 {
                pgrx::check_for_interrupts!();
            }
            record.clear();
            for key in 0..self.keys.len() {
                match self.groups.key(group, key) {
                    KeyValue::Null => put(record, None),
                    KeyValue::Word(word) => put(record, Some(&word.to_le_bytes())),
                    KeyValue::Bytes(value) => put(record, Some(value)),
                }
            }
            self.aggregates.iter().for_each(|aggregate| aggregate.save(group, record));
            let file = (self.groups.key_hash(group) >> (*level * BITS)) as usize % FILES;
            let Some(file) = open.get_mut(file) else { continue };
            let file = file.get_or_insert_with(|| {
                *partitions += 1;
                // SAFETY: the context lives as long as the query.
                unsafe { TempFile::create() }
            });
            *bytes += records::write(file, record);
        }
        counters::add(Counter::AggregateSpillBytes, *bytes - before);
        self.start_over();
        // SAFETY: as above.
        unsafe { pg_sys::MemoryContextSwitchTo(old) };
    }

    /// Writes what is left, after all rows, if anything was written before; then [`Self::next_file`] has to be called.
    ///
    /// # Safety
    /// As for [`Self::spill_if_large`].
    pub unsafe fn finish_spill(&mut self, memory: pg_sys::MemoryContext) {
        if !self.spill.open.is_empty() {
            // SAFETY: the caller's promise.
            unsafe { self.spill_groups(memory) };
            let level = self.spill.level + 1;
            self.spill.files.extend(self.spill.open.drain(..).flatten().map(|file| (level, file)));
        }
    }

    /// Puts the groups of the next file together; false if there is none. They may get too many and be spread over further files, so that none are
    /// at hand although there was a file.
    ///
    /// # Safety
    /// As for [`Self::spill_if_large`].
    pub unsafe fn next_file(&mut self, memory: pg_sys::MemoryContext) -> Result<bool, OrochiError> {
        let Some((level, mut file)) = self.spill.files.pop() else { return Ok(false) };
        self.start_over();
        self.spill.level = level;
        file.rewind()?;
        let mut records = Records::default();
        loop {
            pgrx::check_for_interrupts!();
            let more = records.read(&mut file)?;
            self.merge(&records)?;
            // SAFETY: the caller's promise.
            unsafe { self.spill_if_large(memory)? };
            if !more {
                break;
            }
        }
        file.close();
        // SAFETY: as above.
        unsafe { self.finish_spill(memory) };
        Ok(true)
    }

    /// Puts the states of a child together.
    ///
    /// # Safety
    /// `child` must put out keys and states; `query` must live as long as the query, and `memory` is reset now and then.
    pub unsafe fn read_states(
        &mut self,
        child: *mut pg_sys::PlanState,
        query: pg_sys::MemoryContext,
        memory: pg_sys::MemoryContext,
    ) -> Result<(), OrochiError> {
        let mut records = Records::default();
        loop {
            // SAFETY: the caller's promise.
            let slot = unsafe { pg_sys::ExecProcNode(child) };
            // SAFETY: as above.
            let end = slot.is_null() || unsafe { u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 };
            if end || records.is_full() {
                // SAFETY: as above.
                unsafe {
                    pg_sys::MemoryContextReset(memory);
                    let old = pg_sys::MemoryContextSwitchTo(memory);
                    let merged = self.merge(&records);
                    pg_sys::MemoryContextSwitchTo(old);
                    merged?;
                    self.spill_if_large(query)?;
                }
                records.clear();
            }
            if end {
                return Ok(());
            }
            // SAFETY: the caller's promise.
            records.push(|record| unsafe { self.put_row(slot, record) })?;
        }
    }

    /// Appends a row of keys and states as a record.
    ///
    /// # Safety
    /// `slot` must be of the child of [`Self::read_states`].
    unsafe fn put_row(&self, slot: *mut pg_sys::TupleTableSlot, record: &mut Vec<u8>) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise; values are looked at before the next row comes.
        unsafe {
            fetch_columns(slot, (*(*slot).tts_tupleDescriptor).natts as usize);
            let value = |place: usize| (!*(*slot).tts_isnull.add(place)).then(|| *(*slot).tts_values.add(place));
            for (place, (kind, _)) in self.keys.iter().zip(&self.key_types) {
                match (value(*place), kind) {
                    (None, _) => put(record, None),
                    (Some(value), Kind::Numeric) => put(record, Some(pointed_bytes(value, -1))),
                    (Some(value), Kind::Bytes(Physical::Fixed { len })) => {
                        put(record, Some(pointed_bytes(value, *len as i16)))
                    }
                    (Some(value), Kind::Bytes(_)) => {
                        let plain = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
                        put(record, Some(pointed_bytes(Datum::from(plain), -1)));
                    }
                    (Some(value), _) => put(record, Some(&(value.value() as u64).to_le_bytes())),
                }
            }
            for call in &self.calls {
                let state = call.state.and_then(value);
                let Some(state) = state else {
                    return Err(OrochiError::Internal("a partial aggregate has no state".into()));
                };
                let state = pg_sys::pg_detoast_datum_packed(state.cast_mut_ptr());
                let bytes = pointed_bytes(Datum::from(state), -1);
                record.extend_from_slice(content(Physical::Varlena { align: 4 }, bytes));
            }
            Ok(())
        }
    }

    /// Adds records to the groups.
    fn merge(&mut self, records: &Records) -> Result<(), OrochiError> {
        let mut readers = records.readers()?;
        let kinds = self.key_types.iter().map(|(kind, _)| *kind);
        let columns = kinds.map(|kind| records::gather(&mut readers, kind)).collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<&Column> = columns.iter().collect();
        let mut groups = Box::new([0; MAX_ROWS]);
        self.groups.assign(&columns, &Selection::first(records.len()), &mut groups).map_err(super::state::short)?;
        for aggregate in &mut self.aggregates {
            aggregate.grow(self.groups.len()).map_err(super::state::short)?;
            for (reader, group) in readers.iter_mut().zip(groups.iter()) {
                aggregate
                    .merge(*group, reader, &mut self.server)
                    .map_err(super::state::trouble)?
                    .ok_or_else(records::broken)?;
            }
        }
        Ok(())
    }
}
