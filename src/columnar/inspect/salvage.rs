//! Reading what can be read of a damaged table.

use crate::columnar::dead_set::DeadSet;
use crate::columnar::encoding::Position;
use crate::columnar::key::{KeyRange, RowNumber};
use crate::columnar::reader::RowReader;
use crate::columnar::slot::{self, OwnSlot};
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described};
use crate::columnar::{metapage, row};
use crate::pg::error::OrochiError;
use crate::pg::snapshot::{LatestMvcc, Snap};
use pgrx::pg_sys;

/// Hands out each row that the latest snapshot sees; what cannot be read becomes NULL, and a warning.
pub fn salvage(store: &Store, mut each: impl FnMut(*mut pg_sys::TupleTableSlot)) -> Result<(), OrochiError> {
    let snapshot = LatestMvcc::take();
    let slot = OwnSlot::new(store);
    for described in stripe::list(store, snapshot.snap())? {
        pgrx::check_for_interrupts!();
        salvage_stripe(store, described, snapshot.snap(), &slot, &mut each);
    }
    let end = metapage::next_block(store.table());
    for (row, at) in row::list(store, KeyRange::blocks(0, end), snapshot.snap()) {
        pgrx::check_for_interrupts!();
        let Some(stored) = store.fetch(at, snapshot.snap()) else { continue };
        // SAFETY: the tuple is made in the slot's own context and handed to the slot.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*slot.raw()).tts_mcxt);
            let tuple = row::tuple(store, row, &stored);
            pg_sys::MemoryContextSwitchTo(old);
            match tuple {
                Ok(tuple) => {
                    slot::store_tuple(slot.raw(), tuple);
                    each(slot.raw());
                }
                Err(error) => pgrx::warning!("{error}; the row is lost"),
            }
        }
    }
    Ok(())
}

fn salvage_stripe(
    store: &Store,
    described: Described,
    snapshot: Snap,
    slot: &OwnSlot,
    each: &mut impl FnMut(*mut pg_sys::TupleTableSlot),
) {
    let meta = described.meta;
    let open = match stripe::open_described(store, described) {
        Ok(open) => open,
        Err(error) => return pgrx::warning!("{error}; its {} rows are lost", meta.row_count),
    };
    let dead = DeadSet::of_stripe(store, &meta, snapshot);
    let mut reader = RowReader::for_scan(open.clone(), None).leniently();
    for vector in 0..open.footer().vector_count() {
        let rows = match open.rows(store, vector) {
            Ok(rows) => rows,
            Err(error) => {
                pgrx::warning!("{error}; the rows of vector {vector} are lost");
                continue;
            }
        };
        for (index, number) in (0..rows.len()).filter_map(|index| Some((index, rows.get(index)?))) {
            let at = Position { vector: vector as u32, index: index as u16 };
            if dead.contains(RowNumber(number)) || open.is_deleted(store, at).unwrap_or(false) {
                continue;
            }
            // SAFETY: the slot is one of ours, of the table's row type.
            if let Err(error) = unsafe { reader.fill(store, at, slot.raw()) } {
                pgrx::warning!("{error}; a row is lost");
                continue;
            }
            each(slot.raw());
        }
        for error in reader.take_damage() {
            pgrx::warning!("{error}; the column's values in vector {vector} are NULL");
        }
    }
}
