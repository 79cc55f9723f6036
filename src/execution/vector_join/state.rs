//! What the node knows.

use super::pairs::Pairs;
use super::plan::Shape;
use super::probe::Probing;
use super::spill::Spill;
use crate::columnar::encoding::Selection;
use crate::execution::aggregate::{Equality, OutOfMemory};
use crate::execution::batch::{Column, Kind};
use crate::execution::batches::{Batch, Source};
use crate::execution::expression::{Input, Program, Root};
use crate::execution::join::{Marks, Stored, Table};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::Bitmapset;
use std::rc::Rc;

/// How the keys of a side come out of its rows.
pub struct Side {
    pub program: Program,
    pub keys: Vec<Root>,
    /// Its first column among those of the join.
    pub first: usize,
    pub source: Source,
}

/// How far the node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The build side has to be read.
    Build,
    /// The probe side is being read.
    Probe,
    /// Rows of the build side come out, the next of which is this.
    Rest(u32),
    /// All rows have come out.
    Done,
}

/// What the node knows besides core's part.
pub struct State {
    pub shape: Shape,
    /// Kinds of all columns.
    pub kinds: Rc<[Option<Kind>]>,
    pub key_types: Vec<(Kind, Equality)>,
    /// Parameters that the keys of the build side depend on.
    pub key_params: *mut Bitmapset,
    pub build: Side,
    pub probe: Side,
    /// Expressions over pairs.
    pub program: Program,
    /// What pairs have to meet.
    pub residual: Vec<Root>,
    /// What rows have to meet that come out.
    pub others: Vec<Root>,
    pub output: Vec<Root>,
    /// Columns that rows need which come out one by one.
    pub wanted: Vec<usize>,
    pub phase: Phase,
    pub table: Table,
    /// The rows of the table.
    pub columns: Rc<Vec<Stored>>,
    /// Those that were met.
    pub marks: Marks,
    /// The batch of the probe side at hand.
    pub probing: Option<Probing>,
    /// What is given row by row.
    pub rows: Option<super::output::Rows>,
    pub spill: Spill,
    /// Rows that did not meet [`Self::others`], for EXPLAIN.
    pub removed: usize,
    /// Most bytes that the build side had.
    pub peak: usize,
    /// Most rows that the table had.
    pub table_rows: usize,
}

/// Rows of a join: pairs, and which of them count.
pub struct Joined {
    pub pairs: Pairs,
    pub rows: Selection,
}

impl State {
    /// An empty table.
    pub fn forget_build(&mut self) {
        self.table = Table::new(&self.key_types);
        let kinds = self.build.source.kinds.iter().map(|kind| Stored::new(kind.unwrap_or(Kind::Truth)));
        self.columns = Rc::new(kinds.collect());
        self.marks = Marks::default();
    }

    /// The columns of the table, to be changed.
    pub fn columns_mut(&mut self) -> Result<&mut Vec<Stored>, OrochiError> {
        let in_use = || OrochiError::Internal("the build side of a join is still in use".into());
        Rc::get_mut(&mut self.columns).ok_or_else(in_use)
    }

    /// Says that all rows have been added to the columns.
    pub fn seal_columns(&mut self) -> Result<(), OrochiError> {
        self.columns_mut()?.iter_mut().try_for_each(Stored::seal).map_err(short)
    }

    /// Notes how large the build side is, for EXPLAIN; its bytes.
    pub fn note_size(&mut self) -> usize {
        let used = self.build_memory();
        self.peak = self.peak.max(used);
        self.table_rows = self.table_rows.max(self.table.len());
        used
    }

    /// Forgets the rows of the probe side, and what is known of the build side if it has to be read again.
    pub fn restart(&mut self, build_again: bool) {
        self.probing = None;
        self.rows = None;
        self.program.restart();
        self.probe.program.restart();
        self.build.program.restart();
        // Files hold parts of both sides.
        let again = build_again || self.phase == Phase::Build || self.spill.is_in_use();
        self.spill.forget();
        if again {
            self.forget_build();
            self.phase = Phase::Build;
        } else {
            self.marks = Marks::none(self.table.len());
            self.phase = self.first_phase();
        }
    }

    /// What comes after the build side was read.
    pub fn first_phase(&self) -> Phase {
        match self.table.len() == 0 && !self.shape.way.gives_lone_probe() {
            true => Phase::Done,
            false => Phase::Probe,
        }
    }
}

impl Side {
    /// The keys of a batch's rows. Where one is NULL those behind it are not computed.
    pub fn keys(&mut self, batch: &Batch) -> Result<Vec<Rc<Column>>, OrochiError> {
        let mut input = SideInput { batch, first: self.first };
        let mut rows = batch.rows;
        self.program.next_batch();
        let mut found = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let column = self.program.evaluate(*key, &rows, &mut input)?;
            rows = rows.and_not(&column.null_rows());
            found.push(column);
        }
        Ok(found)
    }
}

/// Memory is short.
pub fn short(_: OutOfMemory) -> OrochiError {
    OrochiError::OutOfMemory { detail: "Failed on the build side of a join.".into() }
}

/// The columns of a side.
struct SideInput<'a> {
    batch: &'a Batch,
    first: usize,
}

impl Input for SideInput<'_> {
    fn len(&self) -> usize {
        self.batch.len
    }

    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError> {
        let missing = || OrochiError::Internal(format!("a side of a join has no column {number}"));
        let column = number.checked_sub(self.first).and_then(|number| self.batch.columns.get(number));
        column.cloned().ok_or_else(missing)
    }
}
