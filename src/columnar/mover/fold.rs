//! Putting the marks on a stripe's rows into its delete bitmap.

use super::rewrite::{command, load_marks, remove};
use crate::columnar::blob;
use crate::columnar::encoding::{BlobRef, DeleteBitmap};
use crate::columnar::key::RowNumber;
use crate::columnar::store::Store;
use crate::columnar::stripe::{self, Described};
use crate::columnar::{metapage, write_buffer};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::snapshot::LatestMvcc;

/// Describes a stripe anew with a delete bitmap that has the rows of all marks that every snapshot sees, and removes these; false if there are none.
/// Who reads marks reads them before stripes, and so finds the row deleted by one or the other.
pub fn fold(store: &Store, described: &Described, snapshot: &LatestMvcc) -> Result<bool, OrochiError> {
    let fail = |error| write_buffer::writer_error(store.table(), &error);
    let old = stripe::open_described(store, *described)?;
    let mut bitmap = match old.deleted() {
        Some(deleted) => deleted.clone(),
        None => DeleteBitmap::new(described.meta.row_count).map_err(fail)?,
    };
    let mut folded = Vec::new();
    for (row, mark) in load_marks(store, described, snapshot) {
        let Some(at) = old.find(store, RowNumber(row))? else { continue };
        bitmap.insert(old.footer().ordinal(at).map_err(fail)?).map_err(fail)?;
        folded.push(mark);
    }
    if folded.is_empty() {
        return Ok(false);
    }
    let cid = command();
    let BlobRef { id, len } = blob::write(store, &[bitmap.encode().map_err(fail)?], cid);
    let mut meta = described.meta;
    meta.stripe_id = metapage::reserve_stripe(store.table());
    meta.deleted = Some(BlobRef { id, len });
    meta.deleted_count = bitmap.count();
    stripe::insert_meta(store, &meta, cid);
    remove(store, described.tid, cid)?;
    if let Some(bitmap) = described.meta.deleted {
        blob::delete(store, bitmap, cid);
    }
    counters::add(Counter::MarksFolded, folded.len() as u64);
    folded.into_iter().try_for_each(|mark| remove(store, mark, cid))?;
    Ok(true)
}
