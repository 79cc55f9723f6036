//! Filling slots from stripe rows.

use super::columns;
use super::encoding::{MAX_VECTOR_ROWS, Order, Position, Selection, Test, Vector};
use super::slot::{self, System};
use super::store::Store;
use super::stripe::OpenStripe;
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys;
use std::collections::HashMap;
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

/// How a column of a slot is filled.
enum Access {
    Null,
    /// The same for all rows: the column was added after the stripe was written.
    Same(pg_sys::Datum),
    Word(Rc<Vector>),
    Pointer(Rc<Vector>),
}

impl Access {
    /// The column's value in a row, `None` if it is NULL.
    #[inline]
    fn datum(&self, row: usize) -> Option<pg_sys::Datum> {
        match self {
            Access::Null => None,
            Access::Same(datum) => Some(*datum),
            Access::Word(vector) => vector.word(row).map(|word| pg_sys::Datum::from(word as usize)),
            Access::Pointer(vector) => vector.tail(row).map(|bytes| pg_sys::Datum::from(bytes.as_ptr())),
        }
    }
}

/// Reads rows of one stripe, vector by vector, and holds on to the vectors that the slot points into.
pub struct RowReader {
    stripe: Rc<OpenStripe>,
    /// Columns that each row fills, and how.
    columns: Vec<(usize, Access)>,
    /// The other columns, which nobody asks for: NULL in all rows.
    unwanted: Vec<usize>,
    /// Vectors whose memory the next ones get.
    recycled: HashMap<usize, Vector>,
    /// The slot in which these are NULL already.
    prepared: *mut pg_sys::TupleTableSlot,
    /// The vector that is read.
    vector: Option<u32>,
    /// The rows of it that will be asked for.
    selected: Selection,
    /// Whether its wanted columns are decoded.
    loaded: bool,
    /// Columns that [`Self::narrow`] has decoded already.
    narrowed: HashMap<usize, Rc<Vector>>,
    wanted: Option<Rc<[bool]>>,
    keep: bool,
    /// What could not be read, if that is to be taken for NULL.
    damage: Option<Vec<OrochiError>>,
}

impl RowReader {
    /// A reader of all columns that goes through the cache.
    pub fn new(stripe: Rc<OpenStripe>) -> Self {
        Self { keep: true, ..Self::for_scan(stripe, None) }
    }

    /// A reader for a scan, of the wanted columns (all if `None`), past the cache.
    pub fn for_scan(stripe: Rc<OpenStripe>, wanted: Option<Rc<[bool]>>) -> Self {
        Self {
            stripe,
            columns: Vec::new(),
            unwanted: Vec::new(),
            recycled: HashMap::new(),
            prepared: std::ptr::null_mut(),
            vector: None,
            selected: Selection::first(0),
            loaded: false,
            narrowed: HashMap::new(),
            wanted,
            keep: false,
            damage: None,
        }
    }

    /// Reads only the wanted columns (all if `None`) from now on, into slots that others may have filled in the meantime.
    pub fn want(&mut self, wanted: Option<Rc<[bool]>>) {
        self.prepared = std::ptr::null_mut();
        let same = match (&self.wanted, &wanted) {
            (None, None) => true,
            (Some(old), Some(new)) => Rc::ptr_eq(old, new),
            _ => false,
        };
        if !same {
            self.wanted = wanted;
            self.loaded = false;
        }
    }

    /// Takes columns of a vector that cannot be read for NULL from now on, and remembers them.
    pub fn leniently(mut self) -> Self {
        self.damage = Some(Vec::new());
        self
    }

    /// What could not be read since this was asked last.
    pub fn take_damage(&mut self) -> Vec<OrochiError> {
        self.damage.as_mut().map(std::mem::take).unwrap_or_default()
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

    /// Columns that are decoded and that the stripe has.
    pub fn wanted_columns(&self) -> Vec<usize> {
        (0..usize::from(self.stripe.meta.column_count)).filter(|column| self.wants(*column)).collect()
    }

    /// Turns to a vector, all rows of which may be asked for.
    pub fn open_vector(&mut self, vector: u32) {
        if self.vector != Some(vector) {
            self.vector = Some(vector);
            self.selected = Selection::first(MAX_VECTOR_ROWS);
            self.loaded = false;
            let unused =
                self.narrowed.drain().filter_map(|(column, found)| Some((column, Rc::try_unwrap(found).ok()?)));
            self.recycled.extend(unused);
        }
    }

    /// A column of the vector as it was decoded: numerics are still to be made of their integers. `None` if the stripe does not have the column.
    pub fn column(&mut self, store: &Store, column: usize) -> Result<Option<Rc<Vector>>, OrochiError> {
        let Some(vector) = self.vector.filter(|_| column < usize::from(self.stripe.meta.column_count)) else {
            return Ok(None);
        };
        // SAFETY: the descriptor is valid while the table is open.
        if let Some(attribute) = unsafe { values::attributes(store.table().desc()) }.get(column) {
            self.check_type(store, column, attribute)?;
        }
        self.decoded(store, column, vector).map(Some)
    }

    /// A column of the vector, decoded once.
    fn decoded(&mut self, store: &Store, column: usize, vector: u32) -> Result<Rc<Vector>, OrochiError> {
        if let Some(found) = self.narrowed.get(&column) {
            return Ok(found.clone());
        }
        let recycled = self.recycled.remove(&column).unwrap_or_default();
        let found = self.stripe.vector(store, column, vector as usize, self.keep, recycled)?;
        self.narrowed.insert(column, found.clone());
        Ok(found)
    }

    /// Restricts the rows of the vector that will be asked for.
    pub fn select(&mut self, rows: Selection) {
        self.selected = rows;
        self.loaded = false;
    }

    /// Takes out of `rows` those of the vector whose value of a column cannot pass a test. `order` is that of the test's keys. False if nothing
    /// could be said of the column.
    pub fn narrow(
        &mut self,
        store: &Store,
        column: usize,
        order: Order,
        test: &Test,
        rows: &mut Selection,
    ) -> Result<bool, OrochiError> {
        let (Some(vector), Some(entry)) = (self.vector, self.stripe.footer().columns().get(column)) else {
            return Ok(false);
        };
        // A type change that left the table as it was may have changed the order.
        if test.needs_order() && entry.column_type.order != order {
            return Ok(false);
        }
        if rows.count() == 0 {
            return Ok(true);
        }
        self.decoded(store, column, vector)?.narrow(order, test, rows);
        Ok(true)
    }

    /// Decodes the wanted columns of the vector.
    ///
    /// # Safety
    /// `desc` must be valid.
    unsafe fn load(&mut self, store: &Store, desc: pg_sys::TupleDesc, vector: u32) -> Result<(), OrochiError> {
        self.loaded = false;
        self.prepared = std::ptr::null_mut();
        // SAFETY: the caller's promise.
        let attributes = unsafe { values::attributes(desc) };
        let stored = usize::from(self.stripe.meta.column_count);
        self.recycled.extend(self.columns.drain(..).filter_map(spare));
        self.unwanted.clear();
        for (column, attribute) in attributes.iter().enumerate() {
            let access = match () {
                () if attribute.attisdropped => Access::Null,
                () if !self.wants(column) => {
                    self.unwanted.push(column);
                    continue;
                }
                () if column >= stored => values::missing_value(desc, column).map_or(Access::Null, Access::Same),
                () => match (self.read(store, column, attribute, vector), &mut self.damage) {
                    (Ok(found), _) if attribute.attbyval => Access::Word(found),
                    (Ok(found), _) => Access::Pointer(found),
                    (Err(error), Some(damage)) => {
                        damage.push(error);
                        Access::Null
                    }
                    (Err(error), None) => return Err(error),
                },
            };
            self.columns.push((column, access));
        }
        self.loaded = true;
        Ok(())
    }

    /// A column of the vector, with the selected rows' values ready.
    fn read(
        &mut self,
        store: &Store,
        column: usize,
        attribute: &pg_sys::FormData_pg_attribute,
        vector: u32,
    ) -> Result<Rc<Vector>, OrochiError> {
        self.check_type(store, column, attribute)?;
        let found = match self.narrowed.remove(&column) {
            Some(found) => found,
            None => {
                let recycled = self.recycled.remove(&column).unwrap_or_default();
                self.stripe.vector(store, column, vector as usize, self.keep, recycled)?
            }
        };
        self.stripe.finish(store, column, found, &self.selected)
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
        unsafe {
            self.open_vector(at.vector);
            if !self.loaded {
                self.load(store, desc, at.vector)?;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.fill_loaded(at.index.into(), slot) };
        Ok(())
    }

    /// Whether the wanted columns of the vector are decoded.
    #[inline]
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Fills a slot with a row of the vector, whose wanted columns are decoded. Calls nothing that can fail.
    ///
    /// # Safety
    /// As for [`Self::fill`].
    #[inline]
    pub unsafe fn fill_loaded(&mut self, row: usize, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the slot has room for as many values as its descriptor has attributes.
        unsafe {
            slot::begin_virtual(slot);
            let (out, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            if self.prepared != slot {
                for column in &self.unwanted {
                    *nulls.add(*column) = true;
                    *out.add(*column) = pg_sys::Datum::from(0usize);
                }
                self.prepared = slot;
            }
            for (column, access) in &self.columns {
                let datum = access.datum(row);
                *nulls.add(*column) = datum.is_none();
                *out.add(*column) = datum.unwrap_or(pg_sys::Datum::from(0usize));
            }
            slot::end_virtual(slot, (*(*slot).tts_tupleDescriptor).natts);
        }
    }

    /// Puts a row of the vector, whose wanted columns are decoded, into a result: `places` has for each column its place there, if it has
    /// one. Calls nothing that can fail.
    ///
    /// # Safety
    /// `slot` must be a virtual slot with as many columns as there are places, all of them among the wanted ones.
    #[inline]
    pub unsafe fn project(&self, row: usize, slot: *mut pg_sys::TupleTableSlot, places: &[Option<u16>]) {
        // SAFETY: the caller's promise.
        unsafe {
            slot::begin_virtual(slot);
            let (out, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            for (column, access) in &self.columns {
                if let Some(Some(place)) = places.get(*column) {
                    let datum = access.datum(row);
                    *nulls.add(usize::from(*place)) = datum.is_none();
                    *out.add(usize::from(*place)) = datum.unwrap_or(pg_sys::Datum::from(0usize));
                }
            }
            slot::end_virtual(slot, (*(*slot).tts_tupleDescriptor).natts);
        }
    }
}

/// The memory of a vector that nobody else holds.
fn spare((column, access): (usize, Access)) -> Option<(usize, Vector)> {
    match access {
        Access::Word(vector) | Access::Pointer(vector) => Rc::try_unwrap(vector).ok().map(|vector| (column, vector)),
        Access::Null | Access::Same(_) => None,
    }
}
