//! What the node knows: groups, and what each aggregate has come to.

use super::plan::Mode;
use super::server::Server;
use super::spill::Spill;
use crate::execution::aggregate::{Aggregate, Equality, Function, Groups, OutOfMemory, Trouble};
use crate::execution::batch::{Column, Kind, MAX_ROWS};
use crate::execution::batches::Batch;
use crate::execution::expression::{Input, Program, Root};
use crate::pg::error::OrochiError;
use pgrx::pg_sys::Oid;
use std::rc::Rc;

/// An aggregate of the query.
pub struct Call {
    /// Which of the aggregates it is.
    pub number: usize,
    /// Its column in the slot.
    pub place: usize,
    /// Type of the result.
    pub type_oid: Oid,
    pub argument: Option<Root>,
    pub condition: Option<Root>,
    pub function: Function,
    /// Kind of the argument.
    pub kind: Option<Kind>,
    /// The child's column that has its states, if it has such.
    pub state: Option<usize>,
    /// With DISTINCT, the keys and arguments that there were.
    pub distinct: Option<Box<State>>,
}

/// What the node knows besides core's part.
pub struct State {
    pub mode: Mode,
    pub program: Program,
    /// Kinds of the child's columns.
    pub inputs: Vec<Option<Kind>>,
    /// The child's columns that are keys.
    pub keys: Vec<usize>,
    pub key_types: Vec<(Kind, Equality)>,
    pub calls: Vec<Call>,
    pub groups: Groups,
    pub aggregates: Vec<Aggregate>,
    pub server: Server,
    /// The child has been read.
    pub filled: bool,
    /// The group that comes next.
    pub next: usize,
    /// Most bytes that the hash table had.
    pub peak: usize,
    pub spill: Spill,
    /// How many such tables share the memory.
    pub tables: usize,
}

impl State {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.start_over();
        self.filled = false;
        self.forget_files();
        for distinct in self.calls.iter_mut().filter_map(|call| call.distinct.as_deref_mut()) {
            distinct.clear();
        }
    }

    /// Removes all temporary files.
    pub fn forget_files(&mut self) {
        self.spill.forget();
        for distinct in self.calls.iter_mut().filter_map(|call| call.distinct.as_deref_mut()) {
            distinct.forget_files();
        }
    }

    /// Forgets all groups.
    pub fn start_over(&mut self) {
        self.groups = Groups::new(self.key_types.iter().copied());
        self.aggregates = self.calls.iter().map(|call| Aggregate::new(call.function, call.kind, call.number)).collect();
        self.next = 0;
    }

    /// Bytes that groups and aggregates hold.
    pub fn memory(&self) -> usize {
        self.groups.memory() + self.aggregates.iter().map(Aggregate::memory).sum::<usize>()
    }

    /// Adds the rows of a batch.
    pub fn add(&mut self, batch: &Batch, scratch: &mut [u32; MAX_ROWS]) -> Result<(), OrochiError> {
        let mut input = ChildInput(batch);
        self.program.next_batch();
        let groups = if self.keys.is_empty() {
            None
        } else {
            let keys: Vec<&Column> =
                self.keys.iter().filter_map(|key| batch.columns.get(*key)).map(|key| &**key).collect();
            self.groups.assign(&keys, &batch.rows, scratch).map_err(short)?;
            Some(&scratch[..])
        };
        for (call, aggregate) in self.calls.iter_mut().zip(&mut self.aggregates) {
            aggregate.grow(self.groups.len()).map_err(short)?;
            let mut rows = batch.rows;
            if let Some(condition) = call.condition {
                self.program.filter(condition, &mut rows, &mut input)?;
            }
            // What has no rows is not looked at, and raises nothing.
            if rows.is_empty() {
                continue;
            }
            let argument = match call.argument {
                Some(argument) => Some(self.program.evaluate(argument, &rows, &mut input)?),
                None => None,
            };
            match (&mut call.distinct, argument) {
                (Some(distinct), Some(argument)) => {
                    let keys = self.keys.iter().filter_map(|key| batch.columns.get(*key));
                    distinct.note(keys.chain(Some(&argument)).map(|column| &**column), &rows, &argument)?;
                }
                (_, argument) => {
                    aggregate.add(argument.as_deref(), &rows, groups, &mut self.server).map_err(trouble)?;
                }
            }
        }
        Ok(())
    }
}

/// Memory is short.
pub fn short(_: OutOfMemory) -> OrochiError {
    OrochiError::OutOfMemory { detail: "Failed on the groups of an aggregate.".into() }
}

/// What PostgreSQL's aggregates raise.
pub fn trouble(trouble: Trouble) -> OrochiError {
    match trouble {
        Trouble::OutOfMemory => short(OutOfMemory),
        Trouble::Overflow => OrochiError::FloatOverflow,
    }
}

/// The columns of a batch.
struct ChildInput<'a>(&'a Batch);

impl Input for ChildInput<'_> {
    fn len(&self) -> usize {
        self.0.len
    }

    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError> {
        let missing = || OrochiError::Internal(format!("a batch has no column {number}"));
        self.0.columns.get(number).cloned().ok_or_else(missing)
    }
}
