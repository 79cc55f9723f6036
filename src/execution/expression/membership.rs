//! `x = ANY (array)` and `x <> ALL (array)` with an array that is the same for all rows.

use super::native::Way;
use super::row_by_row::RowByRow;
use crate::columnar::encoding::{Physical, Selection};
use crate::execution::batch::{Column, Values, content};
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys::{self, Oid};
use std::collections::HashSet;

/// The array and what was found in it.
pub struct Membership {
    array: RowByRow,
    element_type: Oid,
    way: Way,
    /// `<> ALL` rather than `= ANY`.
    negated: bool,
    members: Option<Members>,
}

/// An array's elements.
struct Members {
    words: Vec<i64>,
    texts: HashSet<Vec<u8>>,
    /// An element is NULL.
    null: bool,
    /// The array itself is.
    absent: bool,
}

impl Membership {
    /// Membership of a word, or of bytes that are compared as such.
    pub fn new(array: RowByRow, element_type: Oid, way: Way, negated: bool) -> Self {
        Self { array, element_type, way, negated, members: None }
    }

    /// Forgets the array, which may be another one in the next scan.
    pub fn restart(&mut self) {
        self.members = None;
    }

    /// Which rows are members, or are none.
    pub fn evaluate(&mut self, column: &Column, rows: &Selection) -> Result<Column, OrochiError> {
        if self.members.is_none() {
            self.members = Some(self.find()?);
        }
        let Some(members) = &self.members else { return Ok(Column::null(crate::execution::batch::Kind::Truth)) };
        if members.absent {
            return Ok(Column::null(crate::execution::batch::Kind::Truth));
        }
        let nulls = column.null_rows();
        let mut found = Selection::none();
        match &column.values {
            Values::Words(words) => {
                for row in rows.and_not(&nulls).iter() {
                    let word = words.get(column.place(row)).copied().unwrap_or(0);
                    if members.words.binary_search(&word).is_ok() {
                        found.insert(row);
                    }
                }
            }
            Values::Bytes(bytes) => {
                let mut known: Vec<Option<bool>> = vec![None; bytes.starts.len()];
                for row in rows.and_not(&nulls).iter() {
                    let entry = bytes.entry(column.place(row));
                    let Some(known) = known.get_mut(entry) else { continue };
                    if *known.get_or_insert_with(|| members.texts.contains(self.way.bare(bytes.content(entry)))) {
                        found.insert(row);
                    }
                }
            }
            Values::Decimals(_) | Values::Truth(_) => {}
        }
        // Of an empty array nothing is a member, not even NULL.
        let empty = members.words.is_empty() && members.texts.is_empty() && !members.null;
        let mut unknown = if empty { Selection::none() } else { rows.and(&nulls) };
        if members.null {
            unknown = unknown.or(&rows.and_not(&found));
        }
        let truth = if self.negated { rows.and_not(&found) } else { found };
        Ok(Column::truth(truth.and_not(&unknown), unknown))
    }

    fn find(&mut self) -> Result<Members, OrochiError> {
        let mut members = Members { words: Vec::new(), texts: HashSet::new(), null: false, absent: false };
        // SAFETY: the expression is an array of the element's type; both lists have `count` members.
        unsafe {
            let Some(array) = self.array.datum() else { return Ok(Members { absent: true, ..members }) };
            let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            let (mut len, mut by_value, mut align) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(self.element_type, &mut len, &mut by_value, &mut align);
            let element = self.element_type;
            pg_sys::deconstruct_array(
                array,
                element,
                len.into(),
                by_value,
                align,
                &mut elements,
                &mut nulls,
                &mut count,
            );
            for index in 0..count as usize {
                let value = *elements.add(index);
                match () {
                    () if *nulls.add(index) => members.null = true,
                    () if by_value => members.words.push(value.value() as i64),
                    () => {
                        let physical = match len {
                            -1 => Physical::Varlena { align: 1 },
                            len => Physical::Fixed { len: len as u16 },
                        };
                        let plain = match len {
                            -1 => pg_sys::Datum::from(pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr())),
                            _ => value,
                        };
                        members
                            .texts
                            .insert(self.way.bare(content(physical, values::pointed_bytes(plain, len))).to_vec());
                    }
                }
            }
        }
        members.words.sort_unstable();
        Ok(members)
    }
}
