//! The stripes of a table: their descriptions, and reading parts of them through the cache.

use super::blob::{self, BlobSource, Pieces, ReadError};
use super::cache::{self, Entry, Located, Part};
use super::encoding::{
    AlignedBuf, BlobRef, ByteSource, ColumnDirectory, ColumnStatistics, Decoder, DeleteBitmap, Finished, Footer,
    MAX_VECTOR_BYTES, MAX_VECTOR_ROWS, Permutation, Position, RowBlock, Selection, StripeMeta, StripeSummary, Vector,
    check_filter, may_have, read_directory, read_footer, read_row_block, read_statistics, read_vector,
};
use super::key::{Item, KeyRange, RowNumber};
use super::metapage;
use super::store::{Store, Stored};
use super::tid;
use super::{recent, snapshot_stripes};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::relation::FileId;
use crate::pg::snapshot::{Kind, LatestMvcc, Snap};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// No vector is longer than this when decompressed.
const MAX_RAW: usize = MAX_VECTOR_BYTES;

/// Bytes of buffers that a session keeps between vectors.
const KEPT_SCRATCH: usize = 4 << 20;

thread_local! {
    /// What reading a vector takes besides the vector.
    static SCRATCH: RefCell<(AlignedBuf, Decoder)> = RefCell::new(Default::default());
}

/// A stripe that can be read.
pub struct OpenStripe {
    /// Its description.
    pub meta: StripeMeta,
    /// Transaction that wrote it.
    pub xmin: pg_sys::TransactionId,
    file: FileId,
    footer: Rc<Located>,
    deleted: Option<Rc<DeleteBitmap>>,
}

/// Reads the description that a stripe tuple carries.
pub fn parse_meta(store: &Store, stored: &Stored) -> Result<StripeMeta, OrochiError> {
    StripeMeta::parse(stored.pinned.payload())
        .map_err(|error| ReadError::from(error).at(&store.table().name(), "a stripe description"))
}

/// A description with the transaction that wrote it and its place.
#[derive(Clone, Copy)]
pub struct Described {
    /// The description.
    pub meta: StripeMeta,
    /// Transaction that wrote it.
    pub xmin: pg_sys::TransactionId,
    /// TID in the companion.
    pub tid: pg_sys::ItemPointerData,
}

fn describe(store: &Store, stored: &Stored) -> Result<Described, OrochiError> {
    Ok(Described {
        meta: parse_meta(store, stored)?,
        xmin: crate::pg::heap::raw_xmin(stored.pinned.header()),
        tid: stored.pinned.tid(),
    })
}

/// Descriptions of the stripes that a snapshot sees, in the order of their rows; reservations are left out.
pub fn list(store: &Store, snapshot: Snap) -> Result<Vec<Described>, OrochiError> {
    let mut all = Vec::new();
    for range in KeyRange::all_stripes(metapage::next_block(store.table())) {
        let mut items = store.scan(range, snapshot);
        while let Some(stored) = items.next_visible() {
            let described = describe(store, &stored)?;
            if !described.meta.open {
                all.push(described);
            }
        }
    }
    all.sort_by_key(|d| (d.meta.first_row, d.meta.stripe_id));
    Ok(all)
}

/// Places of the reservations that a snapshot sees. Their transactions are over, so they mean nothing any more.
pub fn stale_reservations(store: &Store, snapshot: Snap) -> Result<Vec<pg_sys::ItemPointerData>, OrochiError> {
    let mut stale = Vec::new();
    for range in KeyRange::all_stripes(metapage::next_block(store.table())) {
        let mut items = store.scan(range, snapshot);
        while let Some(stored) = items.next_visible() {
            if parse_meta(store, &stored)?.open {
                stale.push(stored.pinned.tid());
            }
        }
    }
    Ok(stale)
}

/// Opens a stripe by its description alone.
pub fn open(store: &Store, meta: StripeMeta) -> Result<Rc<OpenStripe>, OrochiError> {
    open_described(store, Described { meta, xmin: pg_sys::FrozenTransactionId, tid: Default::default() })
}

/// Opens a stripe.
pub fn open_described(store: &Store, described: Described) -> Result<Rc<OpenStripe>, OrochiError> {
    let file = store.companion().file();
    let Described { meta, xmin, .. } = described;
    let place = |error: ReadError| error.at(&store.table().name(), &format!("stripe {}", meta.stripe_id));
    let footer = footer(store, file, &meta).map_err(place)?;
    let deleted =
        meta.deleted.map(|blob| delete_bitmap(store, file, blob, meta.row_count)).transpose().map_err(place)?;
    Ok(Rc::new(OpenStripe { meta, xmin, file, footer, deleted }))
}

fn footer(store: &Store, file: FileId, meta: &StripeMeta) -> Result<Rc<Located>, ReadError> {
    if let Some(Entry::Footer(found)) = cache::get(file, meta.blob.id, Part::Footer) {
        meta.check_footer(&found.footer)?;
        return Ok(found);
    }
    let pieces = Pieces::default();
    let mut source = BlobSource { store, blob: meta.blob, pieces: &pieces };
    let footer = read_footer(&mut source, meta.footer_offset, meta.footer_len as usize, &mut AlignedBuf::new())?;
    meta.check_footer(&footer)?;
    let found = Rc::new(Located { footer, pieces });
    cache::put(file, meta.blob.id, Part::Footer, Entry::Footer(found.clone()));
    Ok(found)
}

fn delete_bitmap(store: &Store, file: FileId, blob: BlobRef, rows: u32) -> Result<Rc<DeleteBitmap>, ReadError> {
    if let Some(Entry::Deleted(deleted)) = cache::get(file, blob.id, Part::Deleted)
        && deleted.rows() == rows
    {
        return Ok(deleted);
    }
    let mut bytes = AlignedBuf::new();
    BlobSource { store, blob, pieces: &Pieces::default() }.read(0, blob.len as usize, &mut bytes)?;
    let deleted = Rc::new(DeleteBitmap::parse(bytes.as_slice(), rows)?);
    cache::put(file, blob.id, Part::Deleted, Entry::Deleted(deleted.clone()));
    Ok(deleted)
}

/// Finds the stripe that holds a row, among those that the snapshot sees. Rows in a delete bitmap are not found.
///
/// The latest state is read twice: a merge that commits during one pass over the descriptions could hide both the old stripe and the
/// new one from a snapshot that is not MVCC, so a consistent snapshot comes first, and then what only our own command has written.
pub fn find_row(
    store: &Store,
    row: RowNumber,
    snapshot: Snap,
) -> Result<Option<(Rc<OpenStripe>, Position)>, OrochiError> {
    if snapshot.kind() != Kind::Mvcc {
        let consistent = LatestMvcc::take();
        let found = search(store, row, consistent.snap())?;
        if found.is_some() {
            return Ok(found);
        }
    }
    search(store, row, snapshot)
}

fn search(store: &Store, row: RowNumber, snapshot: Snap) -> Result<Option<(Rc<OpenStripe>, Position)>, OrochiError> {
    let file = store.companion().file();
    if let Some(found) = search_recent(store, file, row, snapshot)? {
        return Ok(Some(found));
    }
    for range in KeyRange::stripes_covering(row.block()) {
        let mut items = store.scan(range, snapshot);
        while let Some(stored) = items.next_visible() {
            let described = describe(store, &stored)?;
            drop(stored);
            if described.meta.open || !described.meta.contains(row.0) {
                continue;
            }
            let stripe = open_described(store, described)?;
            if let Some(at) = stripe.find(store, row)? {
                recent::note(file, described);
                return Ok(Some((stripe, at)));
            }
        }
    }
    Ok(None)
}

/// Looks into the stripes that were of use lately, as far as the snapshot sees them. No snapshot sees a row in two stripes.
fn search_recent(
    store: &Store,
    file: FileId,
    row: RowNumber,
    snapshot: Snap,
) -> Result<Option<(Rc<OpenStripe>, Position)>, OrochiError> {
    let mut tried = 0;
    while let Some(described) = recent::candidate(file, row.0, tried) {
        // The place may hold another tuple by now, or be gone: VACUUM cuts off empty pages.
        let there = tid::block(&described.tid) < store.companion().physical_blocks();
        let seen = there.then(|| store.fetch(described.tid, snapshot)).flatten().filter(Stored::visible);
        let is_stripe = |stored: &Stored| matches!(stored.item, Item::Stripe { .. });
        let same = match seen.filter(is_stripe) {
            Some(stored) => parse_meta(store, &stored)? == described.meta,
            None => false,
        };
        if !same {
            recent::forget(file, described.tid);
            continue;
        }
        let stripe = open_described(store, described)?;
        if let Some(at) = stripe.find(store, row)? {
            return Ok(Some((stripe, at)));
        }
        tried += 1;
    }
    Ok(None)
}

impl OpenStripe {
    /// The footer.
    #[inline]
    pub fn footer(&self) -> &Footer {
        &self.footer.footer
    }

    /// Its bytes.
    pub fn source<'a>(&'a self, store: &'a Store) -> BlobSource<'a> {
        BlobSource { store, blob: self.meta.blob, pieces: &self.footer.pieces }
    }

    fn place(&self, store: &Store, error: ReadError) -> OrochiError {
        error.at(&store.table().name(), &format!("stripe {}", self.meta.stripe_id))
    }

    fn place_column(&self, store: &Store, column: usize, error: ReadError) -> OrochiError {
        let name = super::reader::column_name(store, column);
        error.at(&store.table().name(), &format!("stripe {}, column \"{name}\"", self.meta.stripe_id))
    }

    /// Position of a row that the stripe holds and that is not in its delete bitmap.
    pub fn find(&self, store: &Store, row: RowNumber) -> Result<Option<Position>, OrochiError> {
        let Some(at) = self.place_of(store, row)? else { return Ok(None) };
        Ok((!self.is_deleted(store, at)?).then_some(at))
    }

    fn place_of(&self, store: &Store, row: RowNumber) -> Result<Option<Position>, OrochiError> {
        if self.footer().is_increasing() {
            let Some(vector) = self.footer().vector_with(row.0) else { return Ok(None) };
            let index = self.rows(store, vector)?.find(row.0);
            return Ok(index.map(|index| Position { vector: vector as u32, index }));
        }
        let Some(offset) = row.0.checked_sub(self.meta.first_row) else { return Ok(None) };
        Ok(self.permutation(store)?.find(offset).and_then(|ordinal| self.footer().position(ordinal)))
    }

    /// Rows whose numbers are at least `start` and below `end`, with their places.
    pub fn rows_between(&self, store: &Store, start: u64, end: u64) -> Result<Vec<(RowNumber, Position)>, OrochiError> {
        let mut found = Vec::new();
        if !self.footer().is_increasing() {
            let first = self.meta.first_row;
            let permutation = self.permutation(store)?;
            for (offset, ordinal) in permutation.range(start.saturating_sub(first), end.saturating_sub(first)) {
                found.extend(self.footer().position(ordinal).map(|at| (RowNumber(first + u64::from(offset)), at)));
            }
            return Ok(found);
        }
        let from = self.footer().vector_with(start.max(self.meta.first_row)).unwrap_or(self.footer().vector_count());
        for vector in from..self.footer().vector_count() {
            let rows = self.rows(store, vector)?;
            for index in 0..rows.len() {
                let Some(number) = rows.get(index).filter(|number| *number < end) else { return Ok(found) };
                if number >= start {
                    found.push((RowNumber(number), Position { vector: vector as u32, index: index as u16 }));
                }
            }
        }
        Ok(found)
    }

    /// Where the rows are, if they are not in the order of their numbers.
    fn permutation(&self, store: &Store) -> Result<Rc<Permutation>, OrochiError> {
        if let Some(Entry::Permutation(found)) = cache::get(self.file, self.meta.blob.id, Part::Permutation) {
            return Ok(found);
        }
        let mut blocks = Vec::new();
        for vector in 0..self.footer().vector_count() {
            blocks.push(self.rows(store, vector)?);
        }
        let built = Permutation::build(self.meta.first_row, self.meta.row_count, &blocks)
            .map_err(|error| self.place(store, error.into()))?;
        let built = Rc::new(built);
        cache::put(self.file, self.meta.blob.id, Part::Permutation, Entry::Permutation(built.clone()));
        Ok(built)
    }

    /// Hands out number and place of each row, deleted ones too, in the order in which they lie.
    pub fn each_row(
        &self,
        store: &Store,
        mut each: impl FnMut(RowNumber, Position) -> Result<(), OrochiError>,
    ) -> Result<(), OrochiError> {
        for vector in 0..self.footer().vector_count() {
            let rows = self.rows(store, vector)?;
            for index in 0..rows.len() {
                pgrx::check_for_interrupts!();
                if let Some(number) = rows.get(index) {
                    each(RowNumber(number), Position { vector: vector as u32, index: index as u16 })?;
                }
            }
        }
        Ok(())
    }

    /// Row numbers of a vector.
    pub fn rows(&self, store: &Store, vector: usize) -> Result<Rc<RowBlock>, OrochiError> {
        if let Some(Entry::Rows(rows)) = cache::get(self.file, self.meta.blob.id, Part::Rows(vector as u32)) {
            return Ok(rows);
        }
        let mut source = self.source(store);
        let rows = read_row_block(&mut source, self.footer(), vector, &mut AlignedBuf::new())
            .map_err(|error| self.place(store, error))?;
        let rows = Rc::new(rows);
        cache::put(self.file, self.meta.blob.id, Part::Rows(vector as u32), Entry::Rows(rows.clone()));
        Ok(rows)
    }

    /// True if it has a delete bitmap.
    pub fn has_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// The delete bitmap, if there is one.
    pub fn deleted(&self) -> Option<&DeleteBitmap> {
        self.deleted.as_deref()
    }

    /// True if the delete bitmap has the row.
    pub fn is_deleted(&self, store: &Store, at: Position) -> Result<bool, OrochiError> {
        let Some(deleted) = &self.deleted else { return Ok(false) };
        let ordinal = self.footer().ordinal(at).map_err(|error| self.place(store, error.into()))?;
        Ok(deleted.contains(ordinal))
    }

    /// Directory of a column.
    pub fn directory(&self, store: &Store, column: usize) -> Result<Rc<ColumnDirectory>, OrochiError> {
        let part = Part::Directory(column as u32);
        if let Some(Entry::Directory(directory)) = cache::get(self.file, self.meta.blob.id, part) {
            return Ok(directory);
        }
        let mut source = self.source(store);
        let directory = read_directory(&mut source, self.footer(), column, &mut AlignedBuf::new())
            .map_err(|error| self.place_column(store, column, error))?;
        let directory = Rc::new(directory);
        cache::put(self.file, self.meta.blob.id, part, Entry::Directory(directory.clone()));
        Ok(directory)
    }

    /// False if the column's Bloom filter says that the stripe has no value with the hash.
    pub fn may_have(&self, store: &Store, column: usize, hash: u64) -> Result<bool, OrochiError> {
        may_have(&mut self.source(store), self.footer(), column, hash, &mut AlignedBuf::new())
            .map_err(|error| self.place_column(store, column, error))
    }

    /// Reads all of a column's Bloom filter.
    pub fn check_filter(&self, store: &Store, column: usize) -> Result<(), OrochiError> {
        check_filter(&mut self.source(store), self.footer(), column, &mut AlignedBuf::new())
            .map_err(|error| self.place_column(store, column, error))
    }

    /// Statistics of a column, if the stripe has any.
    pub fn statistics(&self, store: &Store, column: usize) -> Result<Option<ColumnStatistics>, OrochiError> {
        let mut source = self.source(store);
        let (bytes, decoder) = (&mut AlignedBuf::new(), &mut Decoder::default());
        read_statistics(&mut source, self.footer(), column, bytes, decoder)
            .map_err(|error| self.place_column(store, column, error))
    }

    /// A vector of a column, whose values [`Self::finish`] makes ready. With `keep` it goes through the cache, which scans of whole stripes would only flush; they pass on the memory
    /// of a vector that they are done with.
    pub fn vector(
        &self,
        store: &Store,
        column: usize,
        vector: usize,
        keep: bool,
        recycled: Vector,
    ) -> Result<Rc<Vector>, OrochiError> {
        let part = Part::Vector(column as u32, vector as u32);
        if let Some(Entry::Vector(found)) = cache::get(self.file, self.meta.blob.id, part) {
            return Ok(found);
        }
        let directory = self.directory(store, column)?;
        let fail = |error| self.place_column(store, column, error);
        let entry = directory.entry(vector).map_err(|e| fail(e.into()))?;
        let column_type = &self.footer().column(column).map_err(|e| fail(e.into()))?.column_type;
        let mut source = self.source(store);
        let found = SCRATCH.with_borrow_mut(|(bytes, decoder)| {
            let found = read_vector(&mut source, column_type, entry, MAX_RAW, bytes, decoder, recycled);
            if bytes.capacity() + decoder.memory() > KEPT_SCRATCH {
                (*bytes, *decoder) = Default::default();
            }
            found
        });
        let mut found = found.map_err(fail)?;
        if keep {
            found.finish(&Selection::first(MAX_VECTOR_ROWS)).map_err(|e| fail(e.into()))?;
        }
        let found = Rc::new(found);
        if keep {
            cache::put(self.file, self.meta.blob.id, part, Entry::Vector(found.clone()));
        }
        Ok(found)
    }

    /// Makes the values of some rows of a vector ready to be used.
    pub fn finish(
        &self,
        store: &Store,
        column: usize,
        mut vector: Rc<Vector>,
        rows: &Selection,
    ) -> Result<Rc<Vector>, OrochiError> {
        // What others hold too is from the cache, and all of it is ready.
        if let Some(own) = Rc::get_mut(&mut vector) {
            own.finish(rows).map_err(|error| self.place_column(store, column, error.into()))?;
        }
        Ok(vector)
    }
}

/// Virtual blocks that the interval of a description spans.
fn span(meta: &StripeMeta) -> (u32, u32) {
    let first = RowNumber(meta.first_row).block();
    (first, RowNumber(meta.last_row).block() - first + 1)
}

/// Inserts a description; `cid` decides which of our own snapshots see it.
pub fn insert_meta(store: &Store, meta: &StripeMeta, cid: pg_sys::CommandId) -> pg_sys::ItemPointerData {
    let bytes = meta.encode().map_err(|error| OrochiError::Internal(error.to_string())).or_raise();
    let (first, blocks) = span(meta);
    snapshot_stripes::changed();
    store.insert(Item::stripe_key(first, blocks, meta.stripe_id), &bytes, cid, 0)
}

/// Writes a finished stripe under a number of its own: its bytes, then its description.
pub fn write(store: &Store, finished: &Finished, cid: pg_sys::CommandId) -> StripeMeta {
    let blob = blob::write(store, &finished.pieces, cid);
    complete(store, blob, &finished.summary, cid)
}

/// Makes a stripe of bytes that have been written.
pub fn complete(store: &Store, blob: BlobRef, summary: &StripeSummary, cid: pg_sys::CommandId) -> StripeMeta {
    let meta = StripeMeta::finished(metapage::reserve_stripe(store.table()), blob.id, summary);
    insert_meta(store, &meta, cid);
    counters::add(Counter::StripesWritten, 1);
    meta
}
