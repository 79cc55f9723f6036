//! Filling slots from stripe rows.

use super::columns;
use super::encoding::{Position, Vector};
use super::slot::System;
use super::store::Store;
use super::stripe::OpenStripe;
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::rc::Rc;

/// Name of a column, for error messages.
pub fn column_name(store: &Store, column: usize) -> String {
    // SAFETY: the descriptor is valid while the table is open; names end with a NUL byte.
    unsafe {
        values::attributes(store.table().desc()).get(column).map_or_else(
            || format!("{}", column + 1),
            |a| CStr::from_ptr(a.attname.data.as_ptr()).to_string_lossy().into_owned(),
        )
    }
}

/// Reads rows of one stripe, vector by vector, and holds on to the vectors that the slot points into.
pub struct RowReader {
    stripe: Rc<OpenStripe>,
    vectors: Vec<Option<Rc<Vector>>>,
    loaded: Option<u32>,
    wanted: Option<Rc<[bool]>>,
    keep: bool,
}

impl RowReader {
    /// A reader of all columns that goes through the cache.
    pub fn new(_store: &Store, stripe: Rc<OpenStripe>) -> Self {
        Self { stripe, vectors: Vec::new(), loaded: None, wanted: None, keep: true }
    }

    /// A reader for a scan, of the wanted columns (all if `None`), past the cache.
    pub fn for_scan(stripe: Rc<OpenStripe>, wanted: Option<Rc<[bool]>>) -> Self {
        Self { stripe, vectors: Vec::new(), loaded: None, wanted, keep: false }
    }

    /// The stripe.
    pub fn stripe(&self) -> &Rc<OpenStripe> {
        &self.stripe
    }

    /// Transaction fields of the stripe's rows.
    pub fn system(&self) -> System {
        System { xmin: self.stripe.xmin, xmax: pg_sys::InvalidTransactionId, cid: 0 }
    }

    fn wants(&self, column: usize) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.get(column).copied().unwrap_or(true))
    }

    /// Decodes the wanted columns of a vector.
    ///
    /// # Safety
    /// `desc` must be valid.
    unsafe fn load(&mut self, store: &Store, desc: pg_sys::TupleDesc, vector: u32) -> Result<(), OrochiError> {
        if self.loaded == Some(vector) {
            return Ok(());
        }
        self.loaded = None;
        // SAFETY: the caller's promise.
        let attributes = unsafe { values::attributes(desc) };
        let stored = usize::from(self.stripe.meta.column_count);
        self.vectors.clear();
        self.vectors.resize(attributes.len(), None);
        for (column, attribute) in attributes.iter().enumerate().take(stored) {
            if attribute.attisdropped || !self.wants(column) {
                continue;
            }
            self.check_type(store, column, attribute)?;
            self.vectors[column] = Some(self.stripe.vector(store, column, vector as usize, self.keep)?);
        }
        self.loaded = Some(vector);
        Ok(())
    }

    fn check_type(
        &self,
        store: &Store,
        column: usize,
        attribute: &pg_sys::FormData_pg_attribute,
    ) -> Result<(), OrochiError> {
        let expected = columns::column_type(attribute).physical;
        let found = self.stripe.footer().columns().get(column).map(|c| c.column_type.physical);
        if found == Some(expected) {
            return Ok(());
        }
        Err(OrochiError::Corrupted {
            relation: store.table().name(),
            what: format!(
                "stripe {}, column \"{}\": it is not of the column's type",
                self.stripe.meta.stripe_id,
                column_name(store, column)
            ),
        })
    }

    /// Fills a slot with the row at `at`. Values point into the reader until the next vector is loaded.
    ///
    /// # Safety
    /// `slot` must be a slot of the table's row type.
    pub unsafe fn fill(
        &mut self,
        store: &Store,
        at: Position,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<(), OrochiError> {
        // While ALTER TABLE rewrites a table its rows are read as they were, and only the slot knows how.
        // SAFETY: the caller's promise.
        let desc = unsafe { (*slot).tts_tupleDescriptor };
        // SAFETY: the slot keeps its descriptor.
        unsafe { self.load(store, desc, at.vector)? };
        let stored = usize::from(self.stripe.meta.column_count);
        // SAFETY: the slot has room for as many values as the descriptor has attributes.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let attributes = values::attributes(desc);
            let (out, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            for (column, attribute) in attributes.iter().enumerate() {
                let datum = match &self.vectors[column] {
                    Some(vector) => {
                        vector.get(usize::from(at.index)).map(|bytes| values::datum_of(attribute.attbyval, bytes))
                    }
                    None if column >= stored && !attribute.attisdropped => values::missing_value(desc, column),
                    None => None,
                };
                *nulls.add(column) = datum.is_none();
                *out.add(column) = datum.unwrap_or(pg_sys::Datum::from(0usize));
            }
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        Ok(())
    }
}
