//! Batches from a columnar scan: what the node gives to operators of ours above it.

use super::batch::{Column, Kind, MAX_ROWS, column_of};
use super::custom_node;
use super::expression::{Compiler, Gatherer, Input, Program, Root, kind_of};
use super::node::{self, State};
use super::vector_join;
use crate::columnar::cursor::Part;
use crate::columnar::encoding::Selection;
use crate::columnar::scan;
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys::{self, CustomScanState, PlanState, TableScanDesc, TupleDesc};
use std::rc::Rc;

/// Rows that a node gives to the one above it.
pub struct Batch {
    /// Which of the rows count.
    pub rows: Selection,
    /// How many there are, the others included.
    pub len: usize,
    /// The node's output.
    pub columns: Vec<Rc<Column>>,
}

/// Bytes of a row-store batch beyond which it is not filled up.
const ENOUGH_BYTES: usize = 4 << 20;

/// What a scan needs to make batches.
pub struct Batches {
    program: Program,
    /// The node's conditions, and whether the scan's filter knows them too.
    conditions: Vec<(Root, bool)>,
    output: Vec<Root>,
    /// The table's columns that are read, by number.
    kinds: Vec<Option<Kind>>,
}

impl Batches {
    /// Compiles the expressions of a node's plan.
    ///
    /// # Safety
    /// `node` must have begun, and `state` be its state; the current memory context must live as long as it.
    unsafe fn new(node: *mut CustomScanState, state: &State) -> Result<Self, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let plan = (*node).ss.ps.plan;
            let desc = (*(*node).ss.ss_currentRelation).rd_att;
            let relation = (*plan.cast::<pg_sys::Scan>()).scanrelid as i32;
            let kinds: Vec<Option<Kind>> =
                values::attributes(desc).iter().map(|a| (!a.attisdropped).then(|| kind_of(a.atttypid))?).collect();
            let parent = &raw mut (*node).ss.ps;
            let mut compiler = Compiler::new(relation, kinds.clone(), parent, (*node).ss.ss_ScanTupleSlot);
            let mut conditions = Vec::new();
            for clause in pointers::<pg_sys::Node>((*plan).qual) {
                let known = state.predicates.iter().any(|predicate| predicate.clause == clause);
                conditions.push((compiler.add(clause)?, known));
            }
            let mut output = Vec::new();
            for entry in pointers::<pg_sys::TargetEntry>((*plan).targetlist) {
                output.push(compiler.add((*entry).expr.cast())?);
            }
            Ok(Self { program: compiler.finish(), conditions, output, kinds })
        }
    }

    /// Forgets what depends on parameters.
    pub fn restart(&mut self) {
        self.program.restart();
    }
}

/// The columns of the table, at a part of the scan.
struct TableInput<'a> {
    scan: TableScanDesc,
    desc: TupleDesc,
    kinds: &'a [Option<Kind>],
    /// The columns that were asked for, and all of a batch that was gathered.
    columns: Vec<Option<Rc<Column>>>,
    len: usize,
}

impl Input for TableInput<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError> {
        if let Some(Some(column)) = self.columns.get(number) {
            return Ok(column.clone());
        }
        let Some(Some(kind)) = self.kinds.get(number).copied() else {
            return Err(OrochiError::Internal(format!("column {} cannot be vectorized", number + 1)));
        };
        // SAFETY: the scan is at a vector.
        let column = match unsafe { scan::part_column(self.scan, number)? } {
            Some(vector) => column_of(vector, kind)
                .ok_or_else(|| OrochiError::Internal(format!("column {} is not of its type", number + 1)))?,
            None => self.missing(number, kind)?,
        };
        let column = Rc::new(column);
        if let Some(place) = self.columns.get_mut(number) {
            *place = Some(column.clone());
        }
        Ok(column)
    }
}

impl TableInput<'_> {
    /// The value that a column has in stripes which were written before it was added.
    fn missing(&self, number: usize, kind: Kind) -> Result<Column, OrochiError> {
        let Some(value) = values::missing_value(self.desc, number) else { return Ok(Column::null(kind)) };
        let mut gatherer = Gatherer::new(kind);
        // SAFETY: the value is of the column's type.
        unsafe { gatherer.push(Some(value))? };
        gatherer.finish_same()
    }
}

/// A node that rows are read from.
pub struct Source {
    pub node: *mut PlanState,
    /// Kinds of its columns.
    pub kinds: Vec<Option<Kind>>,
    /// It may be asked for batches, if it is one of ours: what it puts out can be computed so.
    batches: bool,
    /// It has said that there are no more rows. Some nodes of PostgreSQL start over when they are asked again.
    ended: bool,
}

impl Source {
    /// Nothing of it has been read.
    pub fn new(node: *mut PlanState, kinds: Vec<Option<Kind>>, batches: bool) -> Self {
        Self { node, kinds, batches, ended: false }
    }

    /// The node starts over.
    pub fn restart(&mut self) {
        self.ended = false;
    }

    /// The next batch that has rows; `None` at the end.
    ///
    /// # Safety
    /// The node must have begun, and its rows not be asked for in any other way.
    pub unsafe fn next(&mut self) -> Result<Option<Batch>, OrochiError> {
        if self.ended {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        unsafe {
            if !self.batches {
                return self.next_of_rows();
            }
            match (node::batch_giver(self.node), vector_join::batch_giver(self.node)) {
                (Some(scan), _) => next_of_scan(scan),
                (_, Some(join)) => vector_join::next_batch(join),
                _ => self.next_of_rows(),
            }
        }
    }

    /// Collects rows that come one by one.
    ///
    /// # Safety
    /// As for [`Self::next`].
    unsafe fn next_of_rows(&mut self) -> Result<Option<Batch>, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let mut rows = Rows::new(self.kinds.iter().copied());
            while rows.has_room() {
                let slot = pg_sys::ExecProcNode(self.node);
                if slot.is_null() || u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 {
                    self.ended = true;
                    break;
                }
                rows.push(slot)?;
            }
            if rows.len == 0 {
                return Ok(None);
            }
            let (len, columns) = (rows.len, rows.finish()?);
            let nothing = || Rc::new(Column::null(Kind::Truth));
            let columns = columns.into_iter().map(|column| column.unwrap_or_else(nothing)).collect();
            Ok(Some(Batch { rows: Selection::first(len), len, columns }))
        }
    }
}

/// Rows on their way into columns.
struct Rows {
    gatherers: Vec<Option<Gatherer>>,
    len: usize,
    bytes: usize,
}

impl Rows {
    fn new(kinds: impl Iterator<Item = Option<Kind>>) -> Self {
        Self { gatherers: kinds.map(|kind| kind.map(Gatherer::new)).collect(), len: 0, bytes: 0 }
    }

    /// Whether another row may be added.
    fn has_room(&self) -> bool {
        self.len < MAX_ROWS && self.bytes < ENOUGH_BYTES
    }

    /// Adds the row in a slot.
    ///
    /// # Safety
    /// `slot` must not be empty and have at least as many columns.
    unsafe fn push(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            values::fetch_columns(slot, self.gatherers.len());
            self.bytes = 0;
            for (number, gatherer) in self.gatherers.iter_mut().enumerate() {
                let Some(gatherer) = gatherer else { continue };
                let null = *(*slot).tts_isnull.add(number);
                gatherer.push((!null).then_some(*(*slot).tts_values.add(number)))?;
                self.bytes += gatherer.memory();
            }
        }
        self.len += 1;
        Ok(())
    }

    fn finish(self) -> Result<Vec<Option<Rc<Column>>>, OrochiError> {
        let finish = |gatherer: Option<Gatherer>| gatherer.map(|gatherer| gatherer.finish().map(Rc::new)).transpose();
        self.gatherers.into_iter().map(finish).collect()
    }
}

/// # Safety
/// As for [`Source::next`].
unsafe fn next_of_scan(node: *mut CustomScanState) -> Result<Option<Batch>, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe { custom_node::instrumented(node, || search(node), |batch| batch.rows.count()) }
}

/// # Safety
/// As for [`Source::next`].
unsafe fn search(node: *mut CustomScanState) -> Result<Option<Batch>, OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = node::state(node);
        if state.finished {
            return Ok(None);
        }
        node::prepare(node, state);
        if state.batches.is_none() {
            let old = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
            state.batches = Some(Batches::new(node, state)?);
            pg_sys::MemoryContextSwitchTo(old);
        }
        let desc = (*node).ss.ss_currentScanDesc;
        let Some(batches) = &mut state.batches else { return Ok(None) };
        loop {
            pg_sys::MemoryContextReset((*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory);
            let part = scan::next_part(desc)?;
            let table = (*(*node).ss.ss_currentRelation).rd_att;
            let columns = vec![None; batches.kinds.len()];
            let mut input = TableInput { scan: desc, desc: table, kinds: &batches.kinds, columns, len: 0 };
            let (mut rows, decided) = match part {
                Part::End => return Ok(None),
                Part::Vector { rows, len, decided } => {
                    input.len = len;
                    (rows, decided)
                }
                Part::Rows => {
                    gather(node, state.filter.0.borrow().columns(), &mut input)?;
                    (Selection::first(input.len), false)
                }
            };
            batches.program.next_batch();
            let before = rows.count();
            for (condition, known) in &batches.conditions {
                if !(decided && *known) {
                    batches.program.filter(*condition, &mut rows, &mut input)?;
                }
            }
            count_filtered(node, before - rows.count());
            if rows.is_empty() {
                continue;
            }
            let mut columns = Vec::with_capacity(batches.output.len());
            for root in &batches.output {
                columns.push(batches.program.evaluate(*root, &rows, &mut input)?);
            }
            return Ok(Some(Batch { rows, len: input.len, columns }));
        }
    }
}

/// Adds to what EXPLAIN ANALYZE shows as rows removed by the filter.
///
/// # Safety
/// `node` must have begun.
unsafe fn count_filtered(node: *mut CustomScanState, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(instrument) = (*node).ss.ps.instrument.as_mut() {
            instrument.nfiltered1 += rows as f64;
        }
    }
}

/// Collects rows of the row store.
///
/// # Safety
/// As for [`Source::next`]; the scan must be at rows.
unsafe fn gather(node: *mut CustomScanState, wanted: &[bool], input: &mut TableInput<'_>) -> Result<(), OrochiError> {
    // SAFETY: the caller's promise.
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        let read = input.kinds.iter().zip(wanted).map(|(kind, wanted)| kind.filter(|_| *wanted));
        let mut rows = Rows::new(read);
        while rows.has_room() && scan::part_row(input.scan, slot)? {
            rows.push(slot)?;
        }
        pg_sys::ExecClearTuple(slot);
        input.len = rows.len;
        input.columns = rows.finish()?;
        Ok(())
    }
}
