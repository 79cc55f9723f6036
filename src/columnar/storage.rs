//! The life of a table's files, and its sizes.

use super::cursor::{All, Cursor, Sequential};
use super::store::Store;
use super::{insert, metapage, slot, stripe, summaries, write_buffer};
use crate::pg::error::OrRaise;
use crate::pg::snapshot::Snap;
use crate::pg::{OpenRel, Rel, compat, values};
use pgrx::pg_sys;

/// Bytes of a fork as the rest of PostgreSQL should see it: the main fork has virtual blocks.
pub fn relation_size(table: Rel, fork: pg_sys::ForkNumber::Type) -> u64 {
    if fork == pg_sys::ForkNumber::MAIN_FORKNUM {
        compat::avoid_prefetch_in_autovacuum();
        return u64::from(metapage::next_block(table)) * u64::from(pg_sys::BLCKSZ);
    }
    // SAFETY: the relation is open.
    unsafe {
        let reln = compat::smgr(table.raw());
        let exists = |f| pg_sys::smgrexists(reln, f);
        let bytes = |f| u64::from(pg_sys::smgrnblocks(reln, f)) * u64::from(pg_sys::BLCKSZ);
        if fork == pg_sys::ForkNumber::InvalidForkNumber {
            return (0..=pg_sys::ForkNumber::INIT_FORKNUM).filter(|f| exists(*f)).map(bytes).sum();
        }
        if exists(fork) { bytes(fork) } else { 0 }
    }
}

/// A small table that was never measured counts as one of so many pages: it is probably growing, and plans that are made for an
/// empty table get bad as it does. This is what a heap does.
const NEW_TABLE_PAGES: u32 = 10;

/// What the planner learns of a table.
pub struct Estimate {
    /// Pages that a scan of all columns reads.
    pub pages: u32,
    /// Rows.
    pub tuples: f64,
    /// How many of them are in the row store.
    pub row_store: f64,
}

/// Estimates pages and rows from the stripes' descriptions and the size of the rest.
///
/// # Safety
/// `attr_widths` as core passes it.
pub unsafe fn estimate(table: Rel, attr_widths: *mut i32) -> Estimate {
    let Some(store) = Store::open(table) else { return Estimate { pages: 1, tuples: 0.0, row_store: 0.0 } };
    let never_measured = table.measured_rows().is_none();
    // SAFETY: the companion is open.
    let pages =
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(store.companion().raw(), pg_sys::ForkNumber::MAIN_FORKNUM) };
    let stripes = stripe::list(&store, Snap::latest()).or_raise();
    // What the stripes know of widths is asked for at once.
    summaries::note(table.oid(), store.companion().file(), &stripes);
    // SAFETY: the caller's promise.
    let width = unsafe { pg_sys::get_rel_data_width(table.raw(), attr_widths) };
    if pages < NEW_TABLE_PAGES && never_measured && stripes.is_empty() && !table.has_children() {
        let per_page = (pg_sys::BLCKSZ as i32 - 24) / (width + 28);
        let tuples = f64::from(per_page * NEW_TABLE_PAGES as i32);
        return Estimate { pages: NEW_TABLE_PAGES, tuples, row_store: tuples };
    }
    let rows: u64 = stripes.iter().map(|s| u64::from(s.meta.row_count - s.meta.deleted_count)).sum();
    let stripe_pages: u64 = stripes.iter().map(|s| s.meta.blob.len.div_ceil(8124)).sum();
    let row_pages = u64::from(pages).saturating_sub(stripe_pages) as f64;
    // Rows of the row store: what fits into the pages that are left, but no more than numbers were given out.
    let row_bytes = f64::from(width.max(1)) + 72.0;
    let blocks = f64::from(metapage::next_block(table));
    let numbers = blocks * super::key::ROWS_PER_BLOCK as f64 - rows as f64;
    let loose = (row_pages * 8000.0 / row_bytes).min(numbers.max(0.0)).max(0.0);
    // VACUUM and ANALYZE know better, and count virtual blocks as pages.
    let measured = table.measured_rows().filter(|(at_pages, _)| *at_pages > 0);
    let total = measured.map(|(at_pages, tuples)| tuples / f64::from(at_pages) * blocks);
    let loose = total.map_or(loose, |total| (total - rows as f64).max(0.0));
    let tuples = total.unwrap_or(rows as f64 + loose);
    Estimate { pages: pages.max(1), tuples: tuples.round(), row_store: loose.round() }
}

/// Creates the storage of a new table or of a table's new file.
///
/// # Safety
/// `locator` as core passes it.
pub unsafe fn create(table: Rel, locator: *const compat::Locator, persistence: std::ffi::c_char) {
    // SAFETY: the caller's promise; an unlogged table's init fork is logged and synced as core's own are, because a crash
    // right after a checkpoint copies it over the main fork.
    unsafe {
        let reln = pg_sys::RelationCreateStorage(*locator, persistence, true);
        if persistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED {
            pg_sys::smgrcreate(reln, pg_sys::ForkNumber::INIT_FORKNUM, false);
            compat::log_smgrcreate(locator, pg_sys::ForkNumber::INIT_FORKNUM);
            pg_sys::smgrimmedsync(reln, pg_sys::ForkNumber::INIT_FORKNUM);
        }
    }
    let _ = table;
}

/// Empties a table whose file stays; numbers go on from where they are.
///
/// Core truncates the companion and its index, too, but only after it has built the table's indexes anew: they must not find the
/// old rows.
pub fn truncate(table: Rel) {
    write_buffer::discard(table);
    let oid = table.companion();
    if oid != pg_sys::InvalidOid {
        let companion = OpenRel::table(oid, pg_sys::AccessExclusiveLock);
        // SAFETY: the companion is open, and nobody else knows it: it is as new as the table's file.
        unsafe { pg_sys::RelationTruncate(companion.rel().raw(), 0) };
    }
}

/// Copies the files elsewhere (SET TABLESPACE).
///
/// # Safety
/// `locator` as core passes it.
pub unsafe fn copy_data(table: Rel, locator: *const compat::Locator) {
    write_buffer::settle(table);
    // SAFETY: the caller's promise; the order is that of core's heap.
    unsafe {
        let persistence = (*(*table.raw()).rd_rel).relpersistence;
        pg_sys::FlushRelationBuffers(table.raw());
        let target = pg_sys::RelationCreateStorage(*locator, persistence, true);
        let copy = |fork| pg_sys::RelationCopyStorage(compat::smgr(table.raw()), target, fork, persistence);
        copy(pg_sys::ForkNumber::MAIN_FORKNUM);
        for fork in pg_sys::ForkNumber::MAIN_FORKNUM + 1..=pg_sys::ForkNumber::INIT_FORKNUM {
            if pg_sys::smgrexists(compat::smgr(table.raw()), fork) {
                pg_sys::smgrcreate(target, fork, false);
                let permanent = persistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
                let unlogged_init =
                    persistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED && fork == pg_sys::ForkNumber::INIT_FORKNUM;
                if permanent || unlogged_init {
                    compat::log_smgrcreate(locator, fork);
                }
                copy(fork);
            }
        }
        pg_sys::RelationDropStorage(table.raw());
    }
}

/// Copies the living rows of a table into its successor (CLUSTER, VACUUM FULL), in the order of an index if there is one.
/// Returns their number.
///
/// # Safety
/// `index` must be null or an open index of `old`; both tables are exclusively locked.
pub unsafe fn rewrite(old: Rel, new: Rel, index: pg_sys::Relation) -> f64 {
    write_buffer::settle(old);
    // SAFETY: a rewrite runs in a transaction.
    let (cid, xid) = unsafe { (pg_sys::GetCurrentCommandId(true), pg_sys::GetCurrentFullTransactionId().value) };
    metapage::set_rewrite_xid(new, xid);
    let Some(store) = Store::open(old) else { return 0.0 };
    let (slot, whole) = (slot::OwnSlot::new(&store), slot::OwnSlot::new(&store));
    let mut rows = 0.0;
    let mut take = || {
        pgrx::check_for_interrupts!();
        // SAFETY: the slot holds a row; both tables have the same row type.
        unsafe {
            complete(slot.raw(), whole.raw());
            insert::insert(new, &[whole.raw()], cid);
        }
        rows += 1.0;
    };
    if index.is_null() {
        let mut cursor = Cursor::new(&store, Snap::latest(), All, metapage::next_block(old)).or_raise();
        // SAFETY: the slot is one of ours, of the table's row type.
        while unsafe { cursor.next(&store, &mut Sequential, true, slot.raw()) }.or_raise() {
            take();
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe {
            let scan = compat::index_beginscan(old.raw(), index, Snap::latest().raw(), 0);
            pg_sys::index_rescan(scan, std::ptr::null_mut(), 0, std::ptr::null_mut(), 0);
            while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot.raw()) {
                take();
            }
            pg_sys::index_endscan(scan);
        }
    }
    write_buffer::settle(new);
    rows
}

/// Stores the row of one slot in the other with a value for every column, and nothing for dropped ones. Rows from before ADD
/// COLUMN are shorter and have the column's default from the catalog, which forgets it when the table has been rewritten.
///
/// # Safety
/// Both slots must be of the table's row type; `from` must hold a row, which `to` refers to.
unsafe fn complete(from: *mut pg_sys::TupleTableSlot, to: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's promise; both arrays have as many members as the row type has attributes.
    unsafe {
        pg_sys::slot_getallattrs(from);
        pg_sys::ExecClearTuple(to);
        for (column, attribute) in values::attributes((*from).tts_tupleDescriptor).iter().enumerate() {
            *(*to).tts_isnull.add(column) = attribute.attisdropped || *(*from).tts_isnull.add(column);
            *(*to).tts_values.add(column) = *(*from).tts_values.add(column);
        }
        pg_sys::ExecStoreVirtualTuple(to);
    }
}

/// Gives a table its companion if core did not, because the heap that it was before had none.
pub fn ensure_companion(table: pg_sys::Oid) {
    let open = OpenRel::table(table, pg_sys::AccessExclusiveLock);
    drop(Store::open_for_write(open.rel()));
}
