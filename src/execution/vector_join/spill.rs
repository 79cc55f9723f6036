//! What to do with a build side that takes more memory than it may: the rows of both sides are written to temporary files, by a hash of their
//! keys, and joined file by file. A file that is still too large is spread again.

use super::build::Contexts;
use super::state::{Phase, State};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind, MAX_ROWS};
use crate::execution::batches::Batch;
use crate::execution::records::{self, Records};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::temp_file::TempFile;
use pgrx::pg_sys;
use std::rc::Rc;

/// Files that rows are spread over at a time.
const FILES: usize = 16;
/// Bits of the hash that tell these files apart, from its upper end: the table uses the lower one.
const BITS: u32 = 4;
/// So often rows are spread: beyond that they have the same keys, and memory has to do.
const MAX_LEVEL: u32 = 6;

/// Rows of both sides that can only match each other.
struct Part {
    /// How often they were spread.
    level: u32,
    build: Option<TempFile>,
    probe: Option<TempFile>,
}

/// Rows that are in files.
#[derive(Default)]
pub struct Spill {
    /// Yet to be joined.
    parts: Vec<Part>,
    /// Files that are being written.
    build: Vec<Option<TempFile>>,
    probe: Vec<Option<TempFile>>,
    /// The probe side of the part at hand.
    source: Option<TempFile>,
    /// How often the rows at hand were spread.
    level: u32,
    /// Files of the build side written since the start of the scan.
    written: u64,
    /// Parts in all, for EXPLAIN.
    pub partitions: u64,
    /// Bytes written in all, for EXPLAIN.
    pub bytes: u64,
    record: Vec<u8>,
    records: Records,
}

impl Spill {
    /// Whether rows are written instead of being kept.
    pub fn is_open(&self) -> bool {
        !self.build.is_empty()
    }

    /// Whether rows were written.
    pub fn is_in_use(&self) -> bool {
        self.written > 0
    }

    /// Removes all files.
    pub fn forget(&mut self) {
        let parts = self.parts.drain(..).flat_map(|part| [part.build, part.probe]);
        let open = self.build.drain(..).chain(self.probe.drain(..));
        parts.chain(open).chain([self.source.take()]).flatten().for_each(TempFile::close);
        self.level = 0;
        self.written = 0;
    }

    /// Writes rows of a batch, each to the file that its hash says; those with NULLs among their keys to the first.
    ///
    /// # Safety
    /// The current memory context must live as long as the files.
    unsafe fn write(&mut self, batch: &Batch, rows: &Selection, hashes: &[u64; MAX_ROWS], build: bool) {
        let before = self.bytes;
        let files = if build { &mut self.build } else { &mut self.probe };
        for row in rows.iter() {
            self.record.clear();
            batch.columns.iter().for_each(|column| records::put_value(&mut self.record, column, row));
            let file = (hashes[row] >> (64 - BITS * (self.level + 1))) as usize % FILES;
            let Some(file) = files.get_mut(file) else { continue };
            let file = file.get_or_insert_with(|| {
                self.partitions += u64::from(build);
                self.written += 1;
                // SAFETY: the caller's promise.
                unsafe { TempFile::create() }
            });
            self.bytes += records::write(file, &self.record);
        }
        counters::add(Counter::JoinSpillBytes, self.bytes - before);
    }

    /// The files that were written are to be joined.
    fn close(&mut self) {
        let level = self.level + 1;
        let pairs = self.build.drain(..).zip(self.probe.drain(..));
        self.parts.extend(pairs.map(|(build, probe)| Part { level, build, probe }));
    }

    /// The next rows of a file.
    fn read(&mut self, file: &mut TempFile, kinds: &[Option<Kind>]) -> Result<Option<Batch>, OrochiError> {
        self.records.read(file)?;
        let len = self.records.len();
        if len == 0 {
            return Ok(None);
        }
        let mut readers = self.records.readers()?;
        let mut columns = Vec::with_capacity(kinds.len());
        for kind in kinds {
            columns.push(Rc::new(records::gather(&mut readers, kind.unwrap_or(Kind::Truth))?));
        }
        Ok(Some(Batch { rows: Selection::first(len), len, columns }))
    }
}

impl State {
    /// Writes the build side to files if it takes more memory than it may.
    ///
    /// # Safety
    /// The node must be running, in these contexts; here and below.
    pub unsafe fn spill_build_if_large(&mut self, contexts: Contexts) -> Result<(), OrochiError> {
        let used = self.note_size();
        // SAFETY: a function of settings.
        if used <= unsafe { pg_sys::get_hash_memory_limit() } || self.spill.level >= MAX_LEVEL {
            return Ok(());
        }
        self.spill.build.resize_with(FILES, || None);
        self.spill.probe.resize_with(FILES, || None);
        let rows = self.table.len() as u32;
        self.seal_columns()?;
        let columns = self.columns.clone();
        self.forget_build();
        for start in (0..rows).step_by(MAX_ROWS) {
            pgrx::check_for_interrupts!();
            let chunk: Vec<u32> = (start..rows.min(start + MAX_ROWS as u32)).collect();
            let columns = columns.iter().map(|stored| Rc::new(stored.take(&chunk))).collect();
            let batch = Batch { rows: Selection::first(chunk.len()), len: chunk.len(), columns };
            // SAFETY: the caller's promise.
            unsafe {
                let keys = contexts.in_batch(|| self.build.keys(&batch))?;
                self.write_build(&batch, &keys, contexts);
            }
        }
        Ok(())
    }

    /// Writes rows of the build side.
    ///
    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    pub unsafe fn write_build(&mut self, batch: &Batch, keys: &[Rc<Column>], contexts: Contexts) {
        let keep_nulls = self.shape.way.gives_lone_build();
        // SAFETY: the caller's promise.
        unsafe { self.write(batch, keys, keep_nulls, true, contexts) }
    }

    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    unsafe fn write_probe(&mut self, batch: &Batch, contexts: Contexts) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let keys = contexts.in_batch(|| self.probe.keys(batch))?;
            let keep_nulls = self.shape.way.gives_lone_probe();
            self.write(batch, &keys, keep_nulls, false, contexts);
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    unsafe fn write(&mut self, batch: &Batch, keys: &[Rc<Column>], keep_nulls: bool, build: bool, contexts: Contexts) {
        let keys: Vec<&Column> = keys.iter().map(|key| &**key).collect();
        let mut hashes = [0; MAX_ROWS];
        let hashed = self.table.hashes(&keys, &batch.rows, &mut hashes);
        let rows = if keep_nulls { batch.rows } else { hashed };
        // SAFETY: the caller's promise.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo(contexts.query);
            self.spill.write(batch, &rows, &hashes, build);
            pg_sys::MemoryContextSwitchTo(old);
        }
    }

    /// Writes the probe side's rows, since the build side's are in files.
    ///
    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    pub unsafe fn write_probe_side(&mut self, contexts: Contexts) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            while let Some(batch) = self.probe.source.next()? {
                pgrx::check_for_interrupts!();
                self.write_probe(&batch, contexts)?;
            }
        }
        self.spill.close();
        Ok(())
    }

    /// The next rows of the probe side, or of the part at hand.
    ///
    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    pub unsafe fn next_probe_batch(&mut self) -> Result<Option<Batch>, OrochiError> {
        if !self.spill.is_in_use() {
            // SAFETY: the caller's promise.
            return unsafe { self.probe.source.next() };
        }
        let Some(mut file) = self.spill.source.take() else { return Ok(None) };
        let batch = self.spill.read(&mut file, &self.probe.source.kinds)?;
        self.spill.source = Some(file);
        Ok(batch)
    }

    /// Goes on to the next part, whose build side is put into the table; without one all rows have come out.
    ///
    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    pub unsafe fn next_part(&mut self, contexts: Contexts) -> Result<(), OrochiError> {
        let way = self.shape.way;
        while let Some(Part { level, build, probe }) = self.spill.parts.pop() {
            if let Some(last) = self.spill.source.take() {
                last.close();
            }
            let wanted = (build.is_some() || way.gives_lone_probe()) && (probe.is_some() || way.gives_lone_build());
            if !wanted {
                build.into_iter().chain(probe).for_each(TempFile::close);
                continue;
            }
            self.forget_build();
            self.spill.level = level;
            // SAFETY: the caller's promise.
            unsafe {
                if let Some(file) = build {
                    self.for_each_batch(file, true, contexts)?;
                }
                if self.spill.is_open() {
                    if let Some(file) = probe {
                        self.for_each_batch(file, false, contexts)?;
                    }
                    self.spill.close();
                    continue;
                }
            }
            self.finish_build()?;
            self.spill.source = probe;
            if let Some(file) = &mut self.spill.source {
                file.rewind()?;
            }
            self.phase = Phase::Probe;
            return Ok(());
        }
        self.phase = Phase::Done;
        Ok(())
    }

    /// Takes the rows of a file, and removes it.
    ///
    /// # Safety
    /// As for [`Self::spill_build_if_large`].
    unsafe fn for_each_batch(
        &mut self,
        mut file: TempFile,
        build: bool,
        contexts: Contexts,
    ) -> Result<(), OrochiError> {
        let kinds = if build { self.build.source.kinds.clone() } else { self.probe.source.kinds.clone() };
        file.rewind()?;
        while let Some(batch) = self.spill.read(&mut file, &kinds)? {
            pgrx::check_for_interrupts!();
            // SAFETY: the caller's promise.
            unsafe {
                match build {
                    true => self.take_build(&batch, contexts)?,
                    false => self.write_probe(&batch, contexts)?,
                }
            }
        }
        file.close();
        Ok(())
    }
}
