//! Reading all of a stripe and saying what is wrong with it.

use crate::columnar::encoding::{MAX_VECTOR_ROWS, Selection, Vector};
use crate::columnar::reader::column_name;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described, OpenStripe};
use crate::pg::error::OrochiError;

/// What cannot be read, or contradicts itself.
pub struct Finding {
    pub stripe: u32,
    pub column: Option<String>,
    pub vector: Option<u32>,
    pub problem: String,
}

/// Reads every part of a stripe.
pub fn check(store: &Store, described: Described, findings: &mut Vec<Finding>) {
    let stripe = described.meta.stripe_id;
    let mut found = |column: Option<usize>, vector: Option<usize>, error: OrochiError| {
        findings.push(Finding {
            stripe,
            column: column.map(|column| column_name(store, column)),
            vector: vector.map(|vector| vector as u32),
            problem: error.to_string(),
        });
    };
    let open = match stripe::open_described(store, described) {
        Ok(open) => open,
        Err(error) => return found(None, None, error),
    };
    for vector in 0..open.footer().vector_count() {
        if let Err(error) = open.rows(store, vector) {
            found(None, Some(vector), error);
        }
    }
    for column in 0..open.footer().columns().len() {
        let directory = match open.directory(store, column) {
            Ok(directory) => directory,
            Err(error) => {
                found(Some(column), None, error);
                continue;
            }
        };
        if let Err(error) = open.check_filter(store, column) {
            found(Some(column), None, error);
        }
        if let Err(error) = open.statistics(store, column) {
            found(Some(column), None, error);
        }
        for vector in 0..directory.entries().len() {
            pgrx::check_for_interrupts!();
            if let Err(error) = read(store, &open, column, vector) {
                found(Some(column), Some(vector), error);
            }
        }
    }
}

fn read(store: &Store, stripe: &OpenStripe, column: usize, vector: usize) -> Result<(), OrochiError> {
    let found = stripe.vector(store, column, vector, false, Vector::default())?;
    let found = stripe.finish(store, column, found, &Selection::first(MAX_VECTOR_ROWS))?;
    let directory = stripe.directory(store, column)?;
    let zone = directory.entries().get(vector).and_then(|entry| entry.zone);
    let order = stripe.footer().columns().get(column).map(|column| column.column_type.order);
    match order.is_none_or(|order| found.lies_within(order, zone)) {
        true => Ok(()),
        false => Err(OrochiError::Corrupted {
            relation: store.table().name(),
            what: format!(
                "stripe {}, column \"{}\": a value lies outside its zone map",
                stripe.meta.stripe_id,
                column_name(store, column)
            ),
        }),
    }
}
