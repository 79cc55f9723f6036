//! Pairs of rows as columns, each made when it is first asked for.

use super::plan::Shape;
use crate::execution::batch::{Column, Kind};
use crate::execution::batches::Batch;
use crate::execution::expression::Input;
use crate::execution::join::Stored;
use crate::pg::error::OrochiError;
use std::rc::Rc;

/// The probe side's rows of pairs.
pub enum Lefts {
    /// Those of a batch, one after the other.
    All(Rc<Batch>),
    /// These rows of a batch.
    Some(Rc<Batch>, Vec<u32>),
    /// Only NULLs.
    None,
}

/// The build side's rows of pairs.
pub enum Rights {
    Some(Vec<u32>),
    /// Only NULLs.
    None,
}

/// Pairs, as inputs of expressions.
pub struct Pairs {
    len: usize,
    lefts: Lefts,
    rights: Rights,
    shape: Shape,
    kinds: Rc<[Option<Kind>]>,
    stored: Rc<Vec<Stored>>,
    /// Those that were asked for.
    columns: Vec<Option<Rc<Column>>>,
}

impl Pairs {
    /// So many pairs.
    pub fn new(len: usize, lefts: Lefts, rights: Rights, state: &super::state::State) -> Self {
        let (shape, kinds, stored) = (state.shape, state.kinds.clone(), state.columns.clone());
        Self { len, lefts, rights, columns: vec![None; kinds.len()], shape, kinds, stored }
    }

    fn make(&self, number: usize) -> Result<Rc<Column>, OrochiError> {
        let missing = || OrochiError::Internal(format!("a join has no column {number}"));
        let kind = self.kinds.get(number).copied().flatten().ok_or_else(missing)?;
        let null = || Rc::new(Column::null(kind));
        if number < self.shape.probe {
            let of = |batch: &Batch| batch.columns.get(number).cloned().ok_or_else(missing);
            return Ok(match &self.lefts {
                Lefts::All(batch) => of(batch)?,
                Lefts::Some(batch, rows) => Rc::new(of(batch)?.take(rows)),
                Lefts::None => null(),
            });
        }
        let stored = self.stored.get(number - self.shape.probe).ok_or_else(missing)?;
        Ok(match &self.rights {
            Rights::Some(rows) => Rc::new(stored.take(rows)),
            Rights::None => null(),
        })
    }
}

impl Input for Pairs {
    fn len(&self) -> usize {
        self.len
    }

    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError> {
        if let Some(Some(column)) = self.columns.get(number) {
            return Ok(column.clone());
        }
        let column = self.make(number)?;
        if let Some(place) = self.columns.get_mut(number) {
            *place = Some(column.clone());
        }
        Ok(column)
    }
}
