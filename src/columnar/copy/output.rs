//! What workers of a COPY send on its way into the table: stripes, one after the other, and row numbers for them.

use super::message;
use crate::columnar::blob::BlobWriter;
use crate::columnar::encoding::{StripeMeta, StripeSummary};
use crate::columnar::key::ROWS_PER_BLOCK;
use crate::columnar::numbers::{self, Interval};
use crate::columnar::store::Store;
use crate::columnar::stripe;
use crate::pg::error::OrochiError;
use crate::pg::heap;
use pgrx::pg_sys;

/// What a message of a worker was about.
pub enum Event {
    Bytes,
    Stripe,
    Done,
    Failed(u64),
}

/// Where stripes go.
pub struct Output {
    store: Store,
    cid: pg_sys::CommandId,
    /// The bytes of the stripe that is being written.
    blob: Option<BlobWriter>,
    /// Complete stripes.
    stripes: Vec<StripeMeta>,
    /// Rows of them.
    pub rows: u64,
    /// Places of the reservations, which are to be deleted.
    reservations: Vec<pg_sys::ItemPointerData>,
    /// The command is going to fail, so nothing is written any more.
    pub discards: bool,
}

impl Output {
    /// Nothing written so far.
    pub fn new(store: Store, cid: pg_sys::CommandId) -> Self {
        Self { store, cid, blob: None, stripes: Vec::new(), rows: 0, reservations: Vec::new(), discards: false }
    }

    /// Reserves the numbers of some virtual blocks; returns the first and the last.
    pub fn reserve(&mut self, blocks: u32) -> (u64, u64) {
        if self.discards {
            return (0, u64::from(blocks) * ROWS_PER_BLOCK - 1);
        }
        let Interval { first, last, reservation } = numbers::reserve(&self.store, blocks, self.cid);
        self.reservations.push(reservation);
        (first, last)
    }

    /// Does what a message of a worker says.
    pub fn take(&mut self, message: &[u8]) -> Result<Event, OrochiError> {
        let unknown = || OrochiError::Internal("a worker of COPY has sent a message that cannot be one".into());
        match message.split_first() {
            Some((&message::BYTES, _)) if self.discards => Ok(Event::Bytes),
            Some((&message::STRIPE, _)) if self.discards => Ok(Event::Stripe),
            Some((&message::FAILED, line)) => {
                line.try_into().map(|line| Event::Failed(u64::from_le_bytes(line))).map_err(|_| unknown())
            }
            Some((&message::BYTES, bytes)) => {
                let (store, cid) = (&self.store, self.cid);
                self.blob.get_or_insert_with(|| BlobWriter::begin(store, cid)).append(store, bytes);
                Ok(Event::Bytes)
            }
            Some((&message::STRIPE, summary)) => {
                let summary: StripeSummary = message::decode(summary).ok_or_else(unknown)?;
                let blob = self.blob.take().ok_or_else(unknown)?.finish(&self.store);
                self.stripes.push(stripe::complete(&self.store, blob, &summary, self.cid));
                self.rows += u64::from(summary.row_count);
                Ok(Event::Stripe)
            }
            Some((&message::DONE, _)) => Ok(Event::Done),
            _ => Err(unknown()),
        }
    }

    /// Deletes the reservations and returns the stripes. Not in parallel mode, in which nothing can be deleted.
    pub fn release(self) -> Vec<StripeMeta> {
        for reservation in self.reservations {
            // They were made by this command, so only a later one may.
            heap::delete(self.store.companion(), reservation, self.cid + 1, std::ptr::null_mut(), true, false);
        }
        self.stripes
    }
}
