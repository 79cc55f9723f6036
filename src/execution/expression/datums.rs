//! Columns from PostgreSQL's values and back.

use crate::columnar::columns;
use crate::columnar::encoding::{AlignedBuf, Decimal, EncodingError, Physical, Selection};
use crate::execution::batch::{Bytes, Column, Decimals, Kind, Memory, Values};
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys::{self, Datum, Oid};
use std::rc::Rc;

/// How values of a type are held in columns. `None` for pseudo-types and C strings, which no column of a table has.
pub fn kind_of(type_oid: Oid) -> Option<Kind> {
    let (mut len, mut by_value, mut align) = (0, false, 0);
    // SAFETY: a catalog look-up, inside a transaction.
    unsafe { pg_sys::get_typlenbyvalalign(type_oid, &mut len, &mut by_value, &mut align) };
    Some(match (type_oid, len, by_value) {
        (pg_sys::BOOLOID, ..) => Kind::Truth,
        (pg_sys::FLOAT4OID, ..) => Kind::Float4,
        (pg_sys::FLOAT8OID, ..) => Kind::Float8,
        (pg_sys::NUMERICOID, ..) => Kind::Numeric,
        (_, 1 | 2 | 4 | 8, true) => Kind::Word(len as u8),
        (_, 1.. | -1, false) => Kind::Bytes(columns::stored_type(len, align, type_oid).physical),
        _ => return None,
    })
}

/// Values of a column as PostgreSQL's functions take them. They point into the column or into this.
pub struct Datums {
    /// One for each row, or a single one.
    values: Vec<Datum>,
    same: bool,
    _numerics: Vec<[u64; 2]>,
}

impl Datums {
    /// The values of rows of a column. Those of other rows and of NULLs are unspecified.
    pub fn new(column: &Column, rows: &Selection, len: usize) -> Self {
        let mut numerics = Vec::new();
        let zero = Datum::from(0usize);
        if column.same {
            let mut values = vec![zero];
            if !column.is_null(0) {
                values[0] = datum(column, 0, &mut numerics);
            }
            return Self { values, same: true, _numerics: numerics };
        }
        if let Values::Truth(truth) = &column.values {
            let value = |row| Datum::from(usize::from(truth.contains(row)));
            return Self { values: (0..len).map(value).collect(), same: false, _numerics: numerics };
        }
        let mut values = vec![zero; len];
        if matches!(column.values, Values::Decimals(_)) {
            // Values point into the list, which must not move any more.
            numerics.reserve_exact(rows.count());
        }
        for row in rows.and_not(&column.null_rows()).iter() {
            if let Some(value) = values.get_mut(row) {
                *value = datum(column, row, &mut numerics);
            }
        }
        Self { values, same: false, _numerics: numerics }
    }

    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Datum {
        self.values.get(if self.same { 0 } else { row }).copied().unwrap_or(Datum::from(0usize))
    }
}

const _: () = assert!(Decimal::MAX_LEN <= 16);

fn datum(column: &Column, row: usize, numerics: &mut Vec<[u64; 2]>) -> Datum {
    let place = column.place(row);
    match &column.values {
        Values::Words(words) => Datum::from(words.get(place).copied().unwrap_or(0)),
        Values::Truth(truth) => Datum::from(usize::from(truth.contains(place))),
        Values::Bytes(bytes) => Datum::from(bytes.tail(bytes.entry(place)).as_ptr()),
        Values::Decimals(decimals) => {
            let mut image = [0; Decimal::MAX_LEN];
            decimals.decimal(place).render(&mut image);
            let mut words = [[0; 8]; 2];
            words.as_flattened_mut().iter_mut().zip(image).for_each(|(to, from)| *to = from);
            numerics.push(words.map(u64::from_le_bytes));
            numerics.last().map_or(Datum::from(0usize), |numeric| Datum::from(numeric.as_ptr()))
        }
    }
}

/// Collects PostgreSQL's values into a column.
pub struct Gatherer {
    kind: Kind,
    rows: usize,
    nulls: Selection,
    truth: Selection,
    words: Vec<i64>,
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Gatherer {
    /// Without values.
    pub fn new(kind: Kind) -> Self {
        let nulls = Selection::none();
        Self { kind, rows: 0, nulls, truth: nulls, words: Vec::new(), bytes: Vec::new(), starts: Vec::new() }
    }

    /// Adds the value of the next row, `None` for NULL or where nobody looks.
    ///
    /// # Safety
    /// `value` must be of the type whose kind was given.
    pub unsafe fn push(&mut self, value: Option<Datum>) -> Result<(), OrochiError> {
        let row = self.rows;
        self.rows += 1;
        let Some(value) = value else {
            self.nulls.insert(row);
            self.words.push(0);
            self.starts.push(0);
            return Ok(());
        };
        let word = value.value() as i64;
        match self.kind {
            Kind::Truth if word as u8 != 0 => self.truth.insert(row),
            Kind::Truth => {}
            // The unused part of a datum is not always that of the sign.
            Kind::Word(1) => self.words.push((word as i8).into()),
            Kind::Word(2) => self.words.push((word as i16).into()),
            Kind::Word(4) | Kind::Float4 => self.words.push((word as i32).into()),
            Kind::Word(_) | Kind::Float8 => self.words.push(word),
            // SAFETY: the caller's promise.
            Kind::Numeric => unsafe { self.push_bytes(value, Physical::Varlena { align: 4 })? },
            // SAFETY: as above.
            Kind::Bytes(physical) => unsafe { self.push_bytes(value, physical)? },
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Self::push`].
    unsafe fn push_bytes(&mut self, value: Datum, physical: Physical) -> Result<(), OrochiError> {
        // SAFETY: the caller's promise.
        let value = unsafe {
            match physical {
                Physical::Fixed { len } => values::pointed_bytes(value, len as i16),
                _ => {
                    // Compressed values and those stored elsewhere are fetched.
                    let plain = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
                    values::pointed_bytes(Datum::from(plain), -1)
                }
            }
        };
        self.append(value)
    }

    /// Adds the value of the next row, of a kind that is held as bytes, as it lies in memory.
    pub fn push_image(&mut self, image: &[u8]) -> Result<(), OrochiError> {
        self.rows += 1;
        self.append(image)
    }

    fn append(&mut self, value: &[u8]) -> Result<(), OrochiError> {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let start = u32::try_from(self.bytes.len()).map_err(|_| too_large())?;
        self.bytes.try_reserve(value.len() + 8).map_err(|_| too_large())?;
        self.bytes.extend_from_slice(value);
        self.starts.push(start);
        Ok(())
    }

    /// Bytes that the values take.
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// The column.
    pub fn finish(self) -> Result<Column, OrochiError> {
        let values = match self.kind {
            Kind::Truth => Values::Truth(self.truth),
            Kind::Word(_) | Kind::Float4 | Kind::Float8 => Values::Words(self.words),
            Kind::Numeric => match self.decimals() {
                Some(decimals) => Values::Decimals(decimals),
                None => Values::Bytes(self.held(Physical::Varlena { align: 4 })?),
            },
            Kind::Bytes(physical) => Values::Bytes(self.held(physical)?),
        };
        Ok(Column { values, nulls: self.nulls, same: false })
    }

    /// The one value for all rows.
    pub fn finish_same(self) -> Result<Column, OrochiError> {
        Ok(Column { same: true, ..self.finish()? })
    }

    fn held(&self, physical: Physical) -> Result<Bytes, OrochiError> {
        let mut buffer = AlignedBuf::new();
        let place = buffer.prepare(self.bytes.len()).map_err(|_: EncodingError| too_large())?;
        place.copy_from_slice(&self.bytes);
        let memory = Rc::new(Memory::Own(buffer));
        Ok(Bytes { memory, physical, starts: self.starts.as_slice().into(), codes: None })
    }

    /// The numerics as decimals, if all are small.
    fn decimals(&self) -> Option<Decimals> {
        let mut found = Vec::with_capacity(self.rows);
        let mut scale = 0;
        for (row, start) in self.starts.iter().enumerate() {
            if self.nulls.contains(row) {
                found.push(None);
                continue;
            }
            let tail = self.bytes.get(*start as usize..)?;
            let image = crate::columnar::encoding::value_at(Physical::Varlena { align: 4 }, tail)?;
            let decimal = Decimal::parse(image)?;
            scale = scale.max(decimal.scale);
            found.push(Some(decimal));
        }
        align_scales(&found, scale)
    }
}

/// Decimals with one scale, and the scale that each had, if these differ. `None` if one gets too large.
pub fn align_scales(found: &[Option<Decimal>], scale: u8) -> Option<Decimals> {
    let aligned = |decimal: &Option<Decimal>| match decimal {
        None => Some(0),
        Some(decimal) => decimal.value.checked_mul(10i64.checked_pow((scale - decimal.scale).into())?),
    };
    let integers = found.iter().map(aligned).collect::<Option<Vec<i64>>>()?;
    let mut decimals = Decimals::new(integers, scale);
    if found.iter().flatten().any(|decimal| decimal.scale != scale) {
        decimals.shown = Some(found.iter().map(|decimal| decimal.map_or(scale, |decimal| decimal.scale)).collect());
    }
    Some(decimals)
}

fn too_large() -> OrochiError {
    OrochiError::OutOfMemory { detail: "Failed on the values of a batch.".into() }
}
