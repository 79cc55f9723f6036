//! AND, OR, CASE and COALESCE: what decides which rows are looked at.

use super::datums::align_scales;
use super::{Input, Program};
use crate::columnar::encoding::{AlignedBuf, Decimal, Selection};
use crate::execution::aggregate::wide_numeric;
use crate::execution::batch::{Bytes, Column, Kind, Memory, Values};
use crate::pg::error::OrochiError;
use std::rc::Rc;

/// How conditions are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connective {
    And,
    Or,
}

impl Program {
    /// Conditions in turn, each for the rows that the ones before it have not decided.
    pub(super) fn connect(
        &mut self,
        connective: Connective,
        conditions: &[usize],
        rows: &Selection,
        input: &mut dyn Input,
    ) -> Result<Rc<Column>, OrochiError> {
        let mut open = *rows;
        let mut nulls = Selection::none();
        let mut decided = Selection::none();
        for condition in conditions {
            if open.is_empty() {
                break;
            }
            let value = self.value(*condition, &open, input)?;
            let (yes, unknown) = (value.true_rows(), open.and(&value.null_rows()));
            let settles = match connective {
                Connective::And => open.and_not(&yes).and_not(&unknown),
                Connective::Or => open.and(&yes),
            };
            decided = decided.or(&settles);
            nulls = nulls.or(&unknown);
            open = open.and_not(&settles);
        }
        // A NULL counts where nothing has decided.
        let nulls = nulls.and_not(&decided);
        let truth = match connective {
            Connective::And => rows.and_not(&decided).and_not(&nulls),
            Connective::Or => decided,
        };
        Ok(Rc::new(Column::truth(truth, nulls)))
    }

    /// The result of the first condition that is true.
    pub(super) fn case(
        &mut self,
        branches: &[(usize, usize)],
        otherwise: Option<usize>,
        kind: Kind,
        rows: &Selection,
        input: &mut dyn Input,
    ) -> Result<Rc<Column>, OrochiError> {
        let mut open = *rows;
        let mut parts = Vec::with_capacity(branches.len() + 1);
        for (condition, result) in branches {
            if open.is_empty() {
                break;
            }
            let taken = open.and(&self.value(*condition, &open, input)?.true_rows());
            if !taken.is_empty() {
                parts.push((taken, self.value(*result, &taken, input)?));
            }
            open = open.and_not(&taken);
        }
        if let (Some(otherwise), false) = (otherwise, open.is_empty()) {
            parts.push((open, self.value(otherwise, &open, input)?));
        }
        blend(kind, &parts, input.len())
    }

    /// The first value that is not NULL.
    pub(super) fn coalesce(
        &mut self,
        choices: &[usize],
        kind: Kind,
        rows: &Selection,
        input: &mut dyn Input,
    ) -> Result<Rc<Column>, OrochiError> {
        let mut open = *rows;
        let mut parts = Vec::with_capacity(choices.len());
        for choice in choices {
            if open.is_empty() {
                break;
            }
            let value = self.value(*choice, &open, input)?;
            let taken = open.and_not(&value.null_rows());
            open = open.and_not(&taken);
            parts.push((taken, value));
        }
        blend(kind, &parts, input.len())
    }
}

/// One column that has the values of each of the columns in its rows, which do not overlap, and is NULL elsewhere.
fn blend(kind: Kind, parts: &[(Selection, Rc<Column>)], len: usize) -> Result<Rc<Column>, OrochiError> {
    if let [(_, column)] = parts
        && column.same
        && column.is_null(0)
    {
        return Ok(column.clone());
    }
    let mut present = Selection::none();
    for (rows, column) in parts {
        present = present.or(&rows.and_not(&column.null_rows()));
    }
    let values = match kind {
        Kind::Truth => {
            let truth = parts.iter().map(|(rows, column)| rows.and(&column.true_rows()));
            Values::Truth(truth.fold(Selection::none(), |all, some| all.or(&some)))
        }
        Kind::Word(_) | Kind::Float4 | Kind::Float8 => {
            let mut words = vec![0; len];
            for (rows, column) in parts {
                let Some(values) = column.words() else { continue };
                for row in rows.iter() {
                    words[row] = values.get(row);
                }
            }
            Values::Words(words)
        }
        Kind::Numeric => match blend_decimals(parts, len) {
            Some(values) => values,
            None => blend_bytes(parts, len, crate::columnar::encoding::Physical::Varlena { align: 4 })?,
        },
        Kind::Bytes(physical) => blend_bytes(parts, len, physical)?,
    };
    Ok(Rc::new(Column { values, nulls: Selection::first(len).and_not(&present), same: false }))
}

fn blend_decimals(parts: &[(Selection, Rc<Column>)], len: usize) -> Option<Values> {
    let mut found: Vec<Option<Decimal>> = vec![None; len];
    let mut scale = 0;
    for (rows, column) in parts {
        let Values::Decimals(decimals) = &column.values else { return None };
        for row in rows.and_not(&column.null_rows()).iter() {
            let decimal = decimals.decimal(column.place(row));
            scale = scale.max(decimal.scale);
            found[row] = Some(decimal);
        }
    }
    align_scales(&found, scale).map(Values::Decimals)
}

fn blend_bytes(
    parts: &[(Selection, Rc<Column>)],
    len: usize,
    physical: crate::columnar::encoding::Physical,
) -> Result<Values, OrochiError> {
    let (mut bytes, mut starts) = (Vec::new(), vec![0u32; len]);
    for (rows, column) in parts {
        for row in rows.and_not(&column.null_rows()).iter() {
            starts[row] = bytes.len() as u32;
            let place = column.place(row);
            match &column.values {
                Values::Bytes(values) => bytes.extend_from_slice(values.value(values.entry(place))),
                Values::Decimals(decimals) => {
                    let decimal = decimals.decimal(place);
                    bytes.extend_from_slice(&wide_numeric(decimal.value.into(), decimal.scale));
                }
                _ => {}
            }
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
    }
    let mut buffer = AlignedBuf::new();
    let detail = || OrochiError::OutOfMemory { detail: format!("Failed on a batch of {} bytes.", bytes.len()) };
    if u32::try_from(bytes.len()).is_err() {
        return Err(detail());
    }
    buffer.prepare(bytes.len()).map_err(|_| detail())?.copy_from_slice(&bytes);
    let memory = Rc::new(Memory::Own(buffer));
    Ok(Values::Bytes(Bytes { memory, physical, starts: starts.into(), codes: None }))
}
