//! Byte streams in the companion, a page-filling piece at a time.

use super::encoding::{AlignedBuf, BlobRef, ByteSource, EncodingError};
use super::key::{Item, KeyRange};
use super::metapage;
use super::store::{Store, Stored};
use super::tid;
use crate::pg::error::OrochiError;
use crate::pg::heap;
use crate::pg::snapshot::Snap;
use crate::pg::tuple::MAX_PAYLOAD;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ops::Range;

/// Bytes of one piece.
pub const PIECE: usize = MAX_PAYLOAD;

/// Pieces that a byte stream has.
pub fn pages(blob: BlobRef) -> u64 {
    blob.len.div_ceil(PIECE as u64)
}

/// Writes a byte stream given in parts and returns where it is.
pub fn write(store: &Store, parts: &[Vec<u8>], cid: pg_sys::CommandId) -> BlobRef {
    let mut writer = BlobWriter::begin(store, cid);
    parts.iter().for_each(|part| writer.append(store, part));
    writer.finish(store)
}

/// A byte stream that is being written. It holds less than a piece.
pub struct BlobWriter {
    id: u32,
    cid: pg_sys::CommandId,
    piece: u32,
    len: u64,
    pending: Vec<u8>,
}

impl BlobWriter {
    /// Begins a stream.
    pub fn begin(store: &Store, cid: pg_sys::CommandId) -> Self {
        let id = metapage::reserve_blob(store.table());
        Self { id, cid, piece: 0, len: 0, pending: Vec::with_capacity(PIECE) }
    }

    /// Goes on with it.
    pub fn append(&mut self, store: &Store, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let take = rest.len().min(PIECE - self.pending.len());
            self.pending.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if self.pending.len() == PIECE {
                self.write_piece(store);
            }
        }
    }

    /// Ends it, and says where it is.
    pub fn finish(mut self, store: &Store) -> BlobRef {
        if !self.pending.is_empty() {
            self.write_piece(store);
        }
        BlobRef { id: self.id, len: self.len }
    }

    fn write_piece(&mut self, store: &Store) {
        pgrx::check_for_interrupts!();
        store.insert(Item::Blob { blob: self.id, piece: self.piece }.key(), &self.pending, self.cid, 0);
        self.pending.clear();
        self.piece += 1;
    }
}

/// Deletes a byte stream.
pub fn delete(store: &Store, blob: BlobRef, cid: pg_sys::CommandId) {
    if blob.len == 0 {
        return;
    }
    let last = ((blob.len - 1) / PIECE as u64) as u32;
    // A piece that was packed has left a dead tuple behind.
    let mut items = store.scan(KeyRange::pieces(blob.id, 0, last), Snap::latest());
    while let Some(stored) = items.next_visible() {
        pgrx::check_for_interrupts!();
        heap::delete(store.companion(), stored.pinned.tid(), cid, std::ptr::null_mut(), true, false);
    }
}

/// What reading a stored stream can end in.
#[derive(Debug)]
pub enum ReadError {
    /// The bytes are wrong.
    Encoding(EncodingError),
    /// The bytes are not there.
    Missing { piece: u32 },
}

impl From<EncodingError> for ReadError {
    fn from(error: EncodingError) -> Self {
        Self::Encoding(error)
    }
}

impl ReadError {
    /// The error for the user, who is told the table and the `place` in it.
    pub fn at(self, table: &str, place: &str) -> OrochiError {
        match self {
            Self::Encoding(EncodingError::OutOfMemory { bytes }) => OrochiError::OutOfMemory {
                detail: format!("{bytes} bytes for {place} of columnar table \"{table}\" could not be allocated."),
            },
            Self::Encoding(EncodingError::UnsupportedVersion { version, known, .. }) => {
                OrochiError::UnknownFormat { relation: table.to_owned(), found: version, known }
            }
            Self::Encoding(error) => {
                OrochiError::Corrupted { relation: table.to_owned(), what: format!("{place}: {error}") }
            }
            Self::Missing { piece } => OrochiError::Corrupted {
                relation: table.to_owned(),
                what: format!("{place}: piece {piece} of its bytes is missing"),
            },
        }
    }
}

/// Where the pieces of a stream lie, as far as one has been found: they are written one after the other, each on a page of its own, and
/// mostly these pages follow each other. A hint: whoever goes by it looks whether the piece is there.
#[derive(Debug, Default)]
pub struct Pieces {
    /// The block that the first piece has if they follow each other.
    first: Cell<Option<i64>>,
}

impl Pieces {
    /// Notes where a piece is.
    fn note(&self, piece: u32, at: pg_sys::ItemPointerData) {
        self.first.set(Some(i64::from(tid::block(&at)) - i64::from(piece)));
    }

    /// The piece, if it is where it should be.
    fn fetch(&self, store: &Store, blob: u32, piece: u32) -> Option<Stored> {
        let block = u32::try_from(self.first.get()? + i64::from(piece)).ok()?;
        if block >= store.companion().physical_blocks() {
            return None;
        }
        // A page of which a dead tuple was taken keeps its first place until VACUUM comes.
        (1..=2).find_map(|offset| {
            let stored = store.fetch(tid::place(block, offset), Snap::any())?;
            (stored.item == Item::Blob { blob, piece }).then_some(stored)
        })
    }
}

/// Reads ranges of a stored stream.
pub struct BlobSource<'a> {
    /// Where it is stored.
    pub store: &'a Store,
    /// Which one.
    pub blob: BlobRef,
    /// Where its pieces are.
    pub pieces: &'a Pieces,
}

impl BlobSource<'_> {
    /// Where a range probably lies; empty if nothing is known of the stream's pieces.
    pub fn blocks(&self, offset: u64, len: usize) -> Range<u32> {
        let block = |offset: u64| u32::try_from(self.pieces.first.get()? + (offset / PIECE as u64) as i64).ok();
        let end = (offset + len as u64).checked_sub(1).and_then(block).and_then(|last| last.checked_add(1));
        block(offset).zip(end).map_or(0..0, |(start, end)| start..end)
    }
}

/// A range that is being read.
struct Reading<'a> {
    offset: u64,
    end: u64,
    into: &'a mut [u8],
}

impl Reading<'_> {
    /// Takes what a piece has of the range.
    fn take(&mut self, piece: u32, bytes: &[u8]) -> Result<(), ReadError> {
        let start = u64::from(piece) * PIECE as u64;
        let from = self.offset.saturating_sub(start) as usize;
        let to = ((self.end - start) as usize).min(PIECE);
        let target = (start + from as u64 - self.offset) as usize;
        let source = bytes.get(from..to).ok_or(ReadError::Missing { piece })?;
        let target = self.into.get_mut(target..target + source.len()).ok_or(ReadError::Missing { piece })?;
        target.copy_from_slice(source);
        Ok(())
    }
}

impl ByteSource for BlobSource<'_> {
    type Error = ReadError;

    fn read(&mut self, offset: u64, len: usize, into: &mut AlignedBuf) -> Result<(), ReadError> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.blob.len);
        let Some(end) = end else {
            let truncated = EncodingError::Truncated {
                what: "stripe",
                needed: offset.saturating_add(len as u64),
                available: self.blob.len,
            };
            return Err(truncated.into());
        };
        let mut reading = Reading { offset, end, into: into.prepare(len)? };
        if len == 0 {
            return Ok(());
        }
        let mut next = (offset / PIECE as u64) as u32;
        let last = ((end - 1) / PIECE as u64) as u32;
        while next <= last
            && let Some(stored) = self.pieces.fetch(self.store, self.blob.id, next)
        {
            reading.take(next, stored.pinned.payload())?;
            next += 1;
        }
        if next > last {
            return Ok(());
        }
        // Pieces need no visibility test: whoever sees the stripe's description may read its bytes.
        let mut items = self.store.scan(KeyRange::pieces(self.blob.id, next, last), Snap::any());
        while let Some(stored) = items.next_any() {
            let Item::Blob { piece, .. } = stored.item else { continue };
            // A piece that was packed is there twice for a while.
            if piece < next {
                continue;
            }
            if piece != next {
                break;
            }
            reading.take(piece, stored.pinned.payload())?;
            self.pieces.note(piece, stored.pinned.tid());
            next += 1;
        }
        if next == last + 1 { Ok(()) } else { Err(ReadError::Missing { piece: next }) }
    }
}
