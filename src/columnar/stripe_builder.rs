//! Rows of a table on their way into a stripe: straight into the writer, or through a sort if the table has an order.

use super::columns;
use super::encoding::{EncodingError, Finished, Limits, Result, StripeWriter};
use super::options::Options;
use super::ordering;
use super::row_values::RowValues;
use crate::pg::Rel;
use crate::pg::sort::RowSorter;
use pgrx::pg_sys;
use std::collections::HashMap;

/// Collects rows of a table into a stripe.
pub struct StripeBuilder {
    writer: StripeWriter,
    values: RowValues,
    sorter: Option<RowSorter>,
    limits: Limits,
}

impl StripeBuilder {
    /// A builder with the options that the table has now.
    pub fn new(table: Rel, options: &Options, limits: Limits) -> Result<Self> {
        let keys = ordering::sort_keys(table);
        // Memory is bounded by the rows that are put in, so the sort itself never has to make room.
        let sorter = (!keys.is_empty()).then(|| RowSorter::new(table, &keys, limits.stripe_bytes.saturating_mul(4)));
        Ok(Self { sorter, ..Self::in_order(table, options, limits)? })
    }

    /// The same for rows that come in the order in which they are to lie.
    pub fn in_order(table: Rel, options: &Options, limits: Limits) -> Result<Self> {
        // SAFETY: the descriptor is valid while the table is open.
        let types = unsafe { columns::column_types(table.desc()) };
        let writer = StripeWriter::new(&types, options.compression(), limits)?.with_filters(&ordering::filtered(table));
        // SAFETY: as above.
        let values = unsafe { RowValues::new(table.desc(), &types) };
        Ok(Self { writer, values, sorter: None, limits })
    }

    /// Appends a row.
    ///
    /// # Safety
    /// `slot` must hold a row of the table.
    pub unsafe fn push(&mut self, number: u64, slot: *mut pg_sys::TupleTableSlot) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            match &mut self.sorter {
                Some(sorter) => {
                    sorter.put(number, slot);
                    Ok(())
                }
                None => write(&mut self.writer, &mut self.values, number, slot),
            }
        }
    }

    /// Whether rows are sorted, so that the order in which they come does not matter.
    pub fn sorts(&self) -> bool {
        self.sorter.is_some()
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.writer.rows() + self.sorter.as_ref().map_or(0, RowSorter::rows)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.writer.memory() + self.sorter.as_ref().map_or(0, RowSorter::memory)
    }

    /// Whether it is time to finish the stripe.
    pub fn should_flush(&self, row_limit: u32) -> bool {
        self.rows() > 0 && (self.rows() >= row_limit || self.memory() >= self.limits.stripe_bytes)
    }

    /// Completes the stripe. Without rows it is an error.
    pub fn finish(self) -> Result<Built> {
        let Self { mut writer, mut values, sorter, .. } = self;
        let mut order = Vec::new();
        if let Some(sorter) = sorter {
            let bytes = u64::from(sorter.rows()) * size_of::<u64>() as u64;
            order.try_reserve(sorter.rows() as usize).map_err(|_| EncodingError::OutOfMemory { bytes })?;
            sorter.finish(|number, slot| {
                order.push(number);
                // SAFETY: the sort hands out rows of the table, with one more column behind.
                unsafe { write(&mut writer, &mut values, number, slot) }
            })?;
        }
        Ok(Built { finished: writer.finish()?, order })
    }
}

/// A complete stripe.
pub struct Built {
    pub finished: Finished,
    /// The row numbers in the order of the stripe; empty if that is the order in which the rows came.
    order: Vec<u64>,
}

impl Built {
    /// The place in the stripe of each of the rows, whose numbers are given in the order in which they came.
    pub fn ordinals(&self, came: impl Iterator<Item = u64>) -> Vec<u32> {
        let places: HashMap<u64, u32> = self.order.iter().copied().zip(0..).collect();
        came.zip(0..).map(|(number, came)| places.get(&number).copied().unwrap_or(came)).collect()
    }
}

/// # Safety
/// As for [`StripeBuilder::push`].
unsafe fn write(
    writer: &mut StripeWriter,
    values: &mut RowValues,
    number: u64,
    slot: *mut pg_sys::TupleTableSlot,
) -> Result<()> {
    // SAFETY: the caller's promise; the writer is done with a row's values before they are released.
    let pushed = unsafe {
        values.load(slot);
        writer.push_row(number, |column| values.get(slot, column))
    };
    values.release();
    pushed
}
