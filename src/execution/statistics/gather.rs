//! What the stripes of a table know of a column, put together.

use super::growth::Distinct;
use crate::columnar::columns;
use crate::columnar::encoding::{
    ColumnEntry, ColumnStatistics, ColumnType, MAX_VECTOR_ROWS, Order, Selection, Sketch, Vector,
};
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described, OpenStripe};
use crate::pg::Rel;
use crate::pg::datum_sort::Weighted;
use crate::pg::error::OrochiError;
use crate::pg::snapshot::Snap;
use crate::pg::values;
use pgrx::pg_sys;
use std::rc::Rc;

/// Stripes that are looked at.
const STRIPES: usize = 64;
/// Vectors that are read of all those stripes that have no statistics, but one of each at least.
const VECTORS: usize = 128;
/// Values that are sorted.
const VALUES: usize = 8192;
/// Bytes that these vectors have at most.
const VECTOR_BYTES: u64 = 32 << 20;
/// Longer values are not sorted.
const MAX_WIDTH: usize = 1024;

/// Stripes whose widths are averaged.
const WIDTH_STRIPES: usize = 8;

/// Average bytes of the values of each column; 0 where there are none.
pub fn widths(table: Rel) -> Result<Vec<i32>, OrochiError> {
    let Some(store) = Store::open(table) else { return Ok(Vec::new()) };
    let all = stripe::list(&store, Snap::latest())?;
    // SAFETY: the descriptor is valid while the table is open.
    let attributes = unsafe { values::attributes(table.desc()) };
    let mut sums = vec![(0.0, 0.0); attributes.len()];
    for described in all.iter().step_by(all.len().div_ceil(WIDTH_STRIPES).max(1)) {
        let Ok(open) = stripe::open_described(&store, *described) else { continue };
        let rows = f64::from(described.meta.row_count);
        for ((sum, attribute), entry) in sums.iter_mut().zip(attributes).zip(open.footer().columns()) {
            sum.0 += value_bytes(entry, attribute, rows);
            sum.1 += rows - f64::from(entry.null_count);
        }
    }
    Ok(sums.iter().map(|(bytes, values)| if *values > 0.0 { (bytes / values) as i32 } else { 0 }).collect())
}

/// Bytes of a column's values in a stripe of so many rows.
fn value_bytes(entry: &ColumnEntry, attribute: &pg_sys::FormData_pg_attribute, rows: f64) -> f64 {
    let values = rows - f64::from(entry.null_count);
    match attribute.attlen {
        len @ 1.. => values * f64::from(len),
        // Besides its bytes each value has its end in memory.
        _ => (entry.plain_len as f64 - 4.0 * rows).max(values),
    }
}

/// What is known of a column.
#[derive(Default)]
pub struct Gathered {
    /// Rows of the stripes that were looked at.
    pub rows: f64,
    /// Rows of all stripes.
    pub all_rows: f64,
    pub nulls: f64,
    /// Bytes of the values that are not NULL.
    pub bytes: f64,
    /// Different values.
    pub distinct: Distinct,
    /// Sampled values in the order of the table. They point into `owners`.
    pub sample: Vec<Weighted>,
    /// Values that are too long to be sampled, and whether all others are in the sample.
    pub wide: f64,
    pub complete: bool,
    /// Least and greatest value, for integers.
    pub bounds: Option<(i64, i64)>,
    owners: Vec<Rc<Vector>>,
}

/// Values of one stripe, before it is known how many each stands for.
#[derive(Default)]
struct Part {
    datums: Vec<pg_sys::Datum>,
    wide: usize,
}

/// Looks at the stripes of a table. What cannot be read is left out: planning does not depend on it. `None` without stripes.
pub fn gather(table: Rel, column: usize) -> Result<Option<Gathered>, OrochiError> {
    let Some(store) = Store::open(table) else { return Ok(None) };
    // SAFETY: the descriptor is valid while the table is open.
    let attributes = unsafe { values::attributes(table.desc()) };
    let Some(attribute) = attributes.get(column) else { return Ok(None) };
    let all = stripe::list(&store, Snap::latest())?;
    let step = all.len().div_ceil(STRIPES).max(1);
    let chosen: Vec<&Described> = all.iter().step_by(step).collect();
    let mut gatherer = Gatherer {
        store: &store,
        column,
        attribute,
        vectors: (VECTORS / chosen.len().max(1)).max(1),
        share: VECTOR_BYTES / chosen.len().max(1) as u64,
        bytes: VECTOR_BYTES,
        gathered: Gathered { complete: step == 1, ..Default::default() },
    };
    gatherer.gathered.all_rows = all.iter().map(|described| f64::from(described.meta.row_count)).sum();
    let mut parts = Vec::new();
    for described in chosen {
        pgrx::check_for_interrupts!();
        parts.push(gatherer.stripe(described));
    }
    let mut gathered = gatherer.gathered;
    gathered.take(parts);
    Ok((gathered.rows > 0.0).then_some(gathered))
}

struct Gatherer<'a> {
    store: &'a Store,
    column: usize,
    attribute: &'a pg_sys::FormData_pg_attribute,
    /// Vectors that are read of a stripe that has no statistics.
    vectors: usize,
    /// Bytes that they may have, if it is more than one.
    share: u64,
    /// Bytes that all vectors yet to be read may have.
    bytes: u64,
    gathered: Gathered,
}

impl Gatherer<'_> {
    /// Adds a stripe and returns its sampled values with the number that they stand for.
    fn stripe(&mut self, described: &Described) -> Option<(Part, f64)> {
        let open = self.readable(stripe::open_described(self.store, *described))?;
        let rows = f64::from(described.meta.row_count);
        let expected = columns::column_type(self.attribute);
        let Some(entry) = open.footer().columns().get(self.column) else {
            return self.missing(&expected, rows);
        };
        if entry.column_type.physical != expected.physical {
            self.gathered.complete = false;
            return None;
        }
        let values = rows - f64::from(entry.null_count);
        self.gathered.rows += rows;
        self.gathered.nulls += f64::from(entry.null_count);
        self.gathered.bytes += value_bytes(entry, self.attribute, rows);
        if let (Order::Signed, Some(zone)) = (entry.column_type.order, entry.zone) {
            let bound = |key: u64| (key ^ 1 << 63) as i64;
            let (low, high) = self.gathered.bounds.unwrap_or((i64::MAX, i64::MIN));
            self.gathered.bounds = Some((low.min(bound(zone.min)), high.max(bound(zone.max))));
        }
        let found = open.statistics(self.store, self.column);
        let part = match self.readable(found)? {
            Some(found) => self.stored(found, values),
            None => {
                let read = self.read(&open, &expected, values);
                self.readable(read)?
            }
        };
        Some((part, values))
    }

    /// What could be read; if nothing could, not all values are known.
    fn readable<T>(&mut self, result: Result<T, OrochiError>) -> Option<T> {
        self.gathered.complete &= result.is_ok();
        result.ok()
    }

    /// Of a stripe that was written before the column was added all rows have the same value.
    fn missing(&mut self, column: &ColumnType, rows: f64) -> Option<(Part, f64)> {
        self.gathered.rows += rows;
        let Some(datum) = values::missing_value(self.store.table().desc(), self.column) else {
            self.gathered.nulls += rows;
            return None;
        };
        let mut sketch = Sketch::default();
        // SAFETY: the value is one of the column's.
        unsafe {
            self.gathered.bytes += rows * values::size(datum, self.attribute) as f64;
            let word = datum.value().to_le_bytes();
            let bytes = match self.attribute.attlen {
                len @ 1.. if self.attribute.attbyval => word.get(..len as usize).unwrap_or_default(),
                len => values::pointed_bytes(datum, len),
            };
            sketch.add(column, bytes);
        }
        self.gathered.distinct.add(&sketch, rows);
        self.gathered.complete = false;
        // As many as make it a common value.
        Some((Part { datums: vec![datum; 64], wide: 0 }, rows))
    }

    /// Takes what the writer of the stripe has left.
    fn stored(&mut self, found: ColumnStatistics, values: f64) -> Part {
        self.gathered.complete = false;
        self.gathered.distinct.add(&found.distinct, values);
        let mut part = Part { datums: Vec::new(), wide: found.wide };
        self.keep(Rc::new(found.sample), &mut part);
        part
    }

    /// Reads some vectors of a stripe that has few.
    fn read(&mut self, open: &Rc<OpenStripe>, column: &ColumnType, values: f64) -> Result<Part, OrochiError> {
        let count = open.footer().vector_count();
        let step = count.div_ceil(self.vectors).max(1);
        self.gathered.complete &= step == 1;
        let mut part = Part::default();
        let directory = open.directory(self.store, self.column)?;
        let (mut sketches, mut read) = (Vec::new(), 0);
        for (vector, entry) in directory.entries().iter().enumerate().step_by(step) {
            let len = u64::from(entry.raw_len);
            if len > self.bytes || (!sketches.is_empty() && read + len > self.share) {
                self.gathered.complete = false;
                continue;
            }
            self.bytes -= len;
            read += len;
            let found = open.vector(self.store, self.column, vector, false, Vector::default())?;
            let found = open.finish(self.store, self.column, found, &Selection::first(MAX_VECTOR_ROWS))?;
            let mut sketch = Sketch::default();
            let rows = 0..usize::from(entry.rows);
            rows.filter_map(|row| found.get(row)).for_each(|value| sketch.add(column, value));
            sketches.push((sketch, f64::from(entry.rows - entry.null_count)));
            self.keep(found, &mut part);
        }
        // Of a whole stripe it is known what all of its values are.
        if step == 1 && sketches.len() == count {
            let mut whole = Sketch::default();
            sketches.iter().for_each(|(sketch, _)| whole.merge(sketch));
            self.gathered.distinct.add(&whole, values);
        } else {
            sketches.iter().for_each(|(sketch, values)| self.gathered.distinct.add(sketch, *values));
        }
        Ok(part)
    }

    /// Notes the values of a vector.
    fn keep(&mut self, vector: Rc<Vector>, part: &mut Part) {
        for row in 0..MAX_VECTOR_ROWS {
            let Some(value) = vector.get(row) else { continue };
            // A compressed value would have to be decompressed for each comparison.
            let compressed = self.attribute.attlen == -1 && value.first().is_some_and(|byte| byte & 3 == 2);
            if value.len() > MAX_WIDTH || compressed {
                part.wide += 1;
            } else if self.attribute.attbyval {
                part.datums.extend(vector.word(row).map(|word| pg_sys::Datum::from(word as usize)));
            } else {
                part.datums.push(pg_sys::Datum::from(value.as_ptr()));
            }
        }
        self.gathered.owners.push(vector);
    }
}

impl Gathered {
    /// Makes one sample of those of the stripes: each value stands for its share of the stripe's, and not too many are kept.
    fn take(&mut self, parts: Vec<Option<(Part, f64)>>) {
        let total: usize = parts.iter().flatten().map(|(part, _)| part.datums.len()).sum();
        self.complete &= total <= VALUES;
        let (mut position, mut random) = (0.0, Random(0));
        for (part, values) in parts.into_iter().flatten() {
            let sampled = part.datums.len() + part.wide;
            if sampled == 0 {
                continue;
            }
            let narrow = values * part.datums.len() as f64 / sampled as f64;
            self.wide += values - narrow;
            self.complete &= part.wide == 0;
            let kept = if total > VALUES { (part.datums.len() * VALUES).div_ceil(total) } else { part.datums.len() };
            let weight = narrow / kept.max(1) as f64;
            for index in 0..kept {
                let (start, end) = (index * part.datums.len() / kept, (index + 1) * part.datums.len() / kept);
                // Any of each stretch: values may repeat with a period.
                let chosen = start + random.below(end - start);
                let Some(datum) = part.datums.get(chosen) else { continue };
                self.sample.push(Weighted { datum: *datum, position, weight });
                position += weight;
            }
        }
    }
}

/// A sequence of numbers that is always the same, so that plans are.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}
