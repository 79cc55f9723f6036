//! The index entries of rows that workers have loaded.
//!
//! A row gets its number from the session and its place in a stripe from a worker, which may sort it. So entries are made when all stripes
//! are stored, of the rows as they lie there: no index is among these that could find a row wrong.

use crate::columnar::encoding::StripeMeta;
use crate::columnar::reader::RowReader;
use crate::columnar::slot::OwnSlot;
use crate::columnar::store::Store;
use crate::columnar::{stripe, tid};
use crate::pg::Rel;
use crate::pg::copy::RowTarget;
use crate::pg::error::OrochiError;

/// Makes the entries of all rows of some stripes that this command has written.
pub fn index(table: Rel, target: &mut RowTarget, stripes: &[StripeMeta]) -> Result<(), OrochiError> {
    let Some(store) = Store::open(table) else { return Ok(()) };
    let (slot, wanted) = (OwnSlot::new(&store), target.indexed_columns());
    for meta in stripes {
        let stripe = stripe::open(&store, *meta)?;
        let mut reader = RowReader::for_scan(stripe.clone(), Some(wanted.clone()));
        stripe.each_row(&store, |row, at| {
            target.tidy();
            // SAFETY: the slot is for rows of the table and gets the columns that indexes look at.
            unsafe {
                reader.fill(&store, at, slot.raw())?;
                (*slot.raw()).tts_tid = tid::to_tid(row);
                target.index(slot.raw());
            }
            Ok(())
        })?;
    }
    Ok(())
}
