//! Expressions over batches.
//!
//! An expression of PostgreSQL becomes nodes that are evaluated a batch at a time: natively where the operation and the values allow it,
//! otherwise by calling PostgreSQL's function for each row, or once for each entry of a dictionary, and where there is no such function, by
//! PostgreSQL's own evaluation of the expression, row by row.
//!
//! Nodes are evaluated for no more rows than ask for them, wherever an evaluation may raise an error: the second condition of an AND for the rows
//! that pass the first, a branch of a CASE for the rows that take it.

mod call;
mod compile;
mod datums;
mod like;
mod logic;
mod membership;
mod native;
mod row_by_row;

use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind};
use crate::pg::error::OrochiError;
use call::Call;
pub use compile::Compiler;
pub use datums::{Datums, Gatherer, kind_of};
use logic::Connective;
use membership::Membership;
use row_by_row::RowByRow;
use std::rc::Rc;

/// What a program's input columns come from.
pub trait Input {
    /// Rows of the batch, among them such as nobody asks for.
    fn len(&self) -> usize;
    /// An input column.
    fn column(&mut self, number: usize) -> Result<Rc<Column>, OrochiError>;
}

/// What a node computes from those it names.
enum Op {
    Input(usize),
    /// The same for all rows of a scan.
    Same(RowByRow),
    Call(Box<Call>, Vec<usize>),
    Connect(Connective, Vec<usize>),
    Not(usize),
    /// IS NULL, or IS NOT NULL if false.
    IsNull(bool, usize),
    /// Conditions with their results, and what else.
    Case(Vec<(usize, usize)>, Option<usize>),
    /// The first that is not NULL.
    Coalesce(Vec<usize>),
    Among(Box<Membership>, usize),
    /// By PostgreSQL, from the values of these inputs.
    RowByRow(Box<RowByRow>),
}

struct Node {
    op: Op,
    kind: Kind,
    /// Its values in this batch, and for which rows.
    known: Option<(Selection, Rc<Column>)>,
    /// The values are the same in all batches of a scan.
    lasting: bool,
}

/// Expressions that share what they have in common.
#[derive(Default)]
pub struct Program {
    nodes: Vec<Node>,
}

/// An expression of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root(usize);

impl Program {
    /// Forgets the values of the last batch.
    pub fn next_batch(&mut self) {
        for node in &mut self.nodes {
            if !node.lasting {
                node.known = None;
            }
        }
    }

    /// Forgets also what was the same for all batches.
    pub fn restart(&mut self) {
        for node in &mut self.nodes {
            node.known = None;
            if let Op::Among(membership, _) = &mut node.op {
                membership.restart();
            }
        }
    }

    /// Values of an expression for rows of the batch.
    pub fn evaluate(&mut self, root: Root, rows: &Selection, input: &mut dyn Input) -> Result<Rc<Column>, OrochiError> {
        self.value(root.0, rows, input)
    }

    /// Takes out of `rows` those for which a condition is not true.
    pub fn filter(&mut self, root: Root, rows: &mut Selection, input: &mut dyn Input) -> Result<(), OrochiError> {
        if !rows.is_empty() {
            *rows = rows.and(&self.value(root.0, rows, input)?.true_rows());
        }
        Ok(())
    }

    fn value(&mut self, index: usize, rows: &Selection, input: &mut dyn Input) -> Result<Rc<Column>, OrochiError> {
        if let Some((known_rows, column)) = &self.nodes[index].known
            && rows.and_not(known_rows).is_empty()
        {
            return Ok(column.clone());
        }
        // The node is put back when its values are there; the tree has no cycles.
        let placeholder = Op::Input(usize::MAX);
        let mut op = std::mem::replace(&mut self.nodes[index].op, placeholder);
        let result = self.compute(&mut op, index, rows, input);
        self.nodes[index].op = op;
        let column = result?;
        let known_rows = if column.same { Selection::first(crate::execution::batch::MAX_ROWS) } else { *rows };
        self.nodes[index].known = Some((known_rows, column.clone()));
        Ok(column)
    }

    fn compute(
        &mut self,
        op: &mut Op,
        index: usize,
        rows: &Selection,
        input: &mut dyn Input,
    ) -> Result<Rc<Column>, OrochiError> {
        let kind = self.nodes[index].kind;
        Ok(match op {
            Op::Input(number) => input.column(*number)?,
            Op::Same(expression) => Rc::new(expression.same(kind)?),
            Op::Call(call, arguments) => {
                let values = self.values(arguments, rows, input)?;
                Rc::new(call.evaluate(&values, rows, input.len())?)
            }
            Op::Connect(connective, conditions) => self.connect(*connective, conditions, rows, input)?,
            Op::Not(condition) => {
                let value = self.value(*condition, rows, input)?;
                let (yes, nulls) = (value.true_rows(), value.null_rows());
                Rc::new(Column::truth(rows.and_not(&yes).and_not(&nulls), nulls))
            }
            Op::IsNull(wanted, argument) => {
                let nulls = self.value(*argument, rows, input)?.null_rows();
                let found = if *wanted { rows.and(&nulls) } else { rows.and_not(&nulls) };
                Rc::new(Column::truth(found, Selection::none()))
            }
            Op::Case(branches, otherwise) => self.case(branches, *otherwise, kind, rows, input)?,
            Op::Coalesce(choices) => self.coalesce(choices, kind, rows, input)?,
            Op::Among(membership, argument) => {
                let value = self.value(*argument, rows, input)?;
                Rc::new(membership.evaluate(&value, rows)?)
            }
            Op::RowByRow(expression) => Rc::new(expression.evaluate(kind, rows, input)?),
        })
    }

    fn values(
        &mut self,
        arguments: &[usize],
        rows: &Selection,
        input: &mut dyn Input,
    ) -> Result<Vec<Rc<Column>>, OrochiError> {
        arguments.iter().map(|argument| self.value(*argument, rows, input)).collect()
    }
}
