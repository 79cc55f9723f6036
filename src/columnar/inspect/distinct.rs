//! How many values of a stripe's column are different.

use crate::columnar::encoding::{MAX_VECTOR_ROWS, MAX_VECTORS_WITHOUT, Selection, Sketch, Vector};
use crate::columnar::store::Store;
use crate::columnar::stripe::OpenStripe;
use crate::pg::error::OrochiError;

/// About how many there are: by the stripe's statistics, or by the values themselves where there are few. `None` if it is not known.
pub fn count(store: &Store, stripe: &OpenStripe, column: usize) -> Result<Option<i64>, OrochiError> {
    let (footer, mut sketch) = (stripe.footer(), Sketch::default());
    let Some(entry) = footer.columns().get(column) else { return Ok(None) };
    match stripe.statistics(store, column)? {
        Some(found) => sketch = found.distinct,
        None if footer.vector_count() > MAX_VECTORS_WITHOUT => return Ok(None),
        None => {
            for vector in 0..footer.vector_count() {
                pgrx::check_for_interrupts!();
                let found = stripe.vector(store, column, vector, false, Vector::default())?;
                let found = stripe.finish(store, column, found, &Selection::first(MAX_VECTOR_ROWS))?;
                let values = (0..MAX_VECTOR_ROWS).filter_map(|row| found.get(row));
                values.for_each(|value| sketch.add(&entry.column_type, value));
            }
        }
    }
    let values = f64::from(footer.row_count() - entry.null_count);
    Ok(Some(sketch.estimate().min(values).round() as i64))
}
