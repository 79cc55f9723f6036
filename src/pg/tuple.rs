//! Companion tuples: building them, and reading them while their page is pinned.

use super::horizon::Horizon;
use super::{OpenRel, Rel, heap};
use pgrx::pg_sys;

/// Bytes of a companion tuple before its payload: header (24), chunk_id, chunk_seq, varlena header.
pub const OVERHEAD: usize = HEADER + 12;
const HEADER: usize = 24;
/// Largest payload of one companion tuple: it then fills its page.
pub const MAX_PAYLOAD: usize = 8160 - OVERHEAD;
/// Bytes of a heap tuple's header that a row image leaves out: everything before `t_infomask2`.
pub const IMAGE_SKIP: usize = 18;

/// A companion tuple under construction. The buffer is reused from tuple to tuple.
#[derive(Default)]
pub struct TupleBuffer {
    words: Vec<u64>,
    data: pg_sys::HeapTupleData,
}

impl TupleBuffer {
    /// Forms a tuple of the key and the payload, which is at most [`MAX_PAYLOAD`] long. The pointer is valid until the next call.
    pub fn form(&mut self, chunk_id: u32, chunk_seq: i32, payload: &[u8]) -> pg_sys::HeapTuple {
        debug_assert!(payload.len() <= MAX_PAYLOAD);
        let len = OVERHEAD + payload.len();
        self.words.clear();
        self.words.resize(len.div_ceil(8), 0);
        let base = self.words.as_mut_ptr().cast::<u8>();
        // SAFETY: the buffer holds `len` bytes, zeroed and 8-aligned; all offsets below are inside it.
        unsafe {
            let header = &mut *base.cast::<pg_sys::HeapTupleHeaderData>();
            header.t_infomask2 = 3;
            header.t_infomask = pg_sys::HEAP_HASVARWIDTH as u16;
            header.t_hoff = HEADER as u8;
            base.add(HEADER).cast::<u32>().write(chunk_id);
            base.add(HEADER + 4).cast::<i32>().write(chunk_seq);
            base.add(HEADER + 8).cast::<u32>().write(((payload.len() + 4) as u32) << 2);
            std::ptr::copy_nonoverlapping(payload.as_ptr(), base.add(OVERHEAD), payload.len());
        }
        self.data = pg_sys::HeapTupleData { t_len: len as u32, t_data: base.cast(), ..Default::default() };
        pgrx::itemptr::item_pointer_set_all(&mut self.data.t_self, pg_sys::InvalidBlockNumber, 0);
        &raw mut self.data
    }
}

/// A companion tuple on a pinned page. The pin is dropped with it.
pub struct Pinned {
    /// The tuple; `t_data` points into the page.
    pub tuple: pg_sys::HeapTupleData,
    /// The pinned buffer.
    pub buffer: pg_sys::Buffer,
    /// Whether the snapshot it was fetched with sees it.
    pub visible: bool,
}

impl Pinned {
    /// Fetches the tuple at `tid` under `snapshot`, visible or not; `None` if the line pointer holds none.
    pub fn fetch(companion: Rel, snapshot: super::snapshot::Snap, tid: pg_sys::ItemPointerData) -> Option<Self> {
        let mut tuple = pg_sys::HeapTupleData { t_self: tid, ..Default::default() };
        let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
        // SAFETY: the relation is open, the snapshot valid; with keep_buf the buffer stays pinned whenever it is set.
        let visible = unsafe { pg_sys::heap_fetch(companion.raw(), snapshot.raw(), &mut tuple, &mut buffer, true) };
        if buffer == pg_sys::InvalidBuffer as pg_sys::Buffer || tuple.t_data.is_null() {
            return None;
        }
        Some(Self { tuple, buffer, visible })
    }

    /// The tuple's header on the page.
    #[inline]
    pub fn header(&self) -> &pg_sys::HeapTupleHeaderData {
        // SAFETY: the page is pinned, so the tuple stays where it is.
        unsafe { &*self.tuple.t_data }
    }

    /// `(chunk_id, chunk_seq)`, or `None` if the tuple is too short to be a companion tuple.
    #[inline]
    pub fn key(&self) -> Option<(u32, i32)> {
        if (self.tuple.t_len as usize) < OVERHEAD || self.header().t_hoff as usize != HEADER {
            return None;
        }
        // SAFETY: the length was checked; the attributes are 4-aligned at these fixed offsets.
        unsafe {
            let base = self.tuple.t_data.cast::<u8>();
            Some((base.add(HEADER).cast::<u32>().read(), base.add(HEADER + 4).cast::<i32>().read()))
        }
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let room = (self.tuple.t_len as usize).saturating_sub(OVERHEAD);
        // SAFETY: `key` was checked by whoever asks for the payload; the length is clamped to the tuple's own.
        unsafe {
            let base = self.tuple.t_data.cast::<u8>();
            let header = base.add(HEADER + 8).cast::<u32>().read();
            let claimed = ((header >> 2) as usize).saturating_sub(4);
            std::slice::from_raw_parts(base.add(OVERHEAD), claimed.min(room))
        }
    }

    /// TID in the companion.
    #[inline]
    pub fn tid(&self) -> pg_sys::ItemPointerData {
        self.tuple.t_self
    }

    /// Transaction that inserted the tuple (frozen reads as `FrozenTransactionId`).
    pub fn xmin(&self) -> pg_sys::TransactionId {
        super::heap::xmin(self.header())
    }

    /// False if certainly nobody has deleted, updated or locked the tuple.
    #[inline]
    pub fn has_deleter(&self) -> bool {
        u32::from(self.header().t_infomask) & pg_sys::HEAP_XMAX_INVALID == 0
    }

    /// Of a dead tuple: true if its insertion was rolled back, or if it was updated rather than deleted.
    pub fn never_moved(&self) -> bool {
        let header = self.header();
        let rolled_back = u32::from(header.t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_INVALID;
        let at = |tid| pgrx::itemptr::item_pointer_get_both(tid);
        rolled_back || at(header.t_ctid) != at(self.tid())
    }

    /// True if the current transaction, or a subtransaction that is not rolled back, inserted or deleted the tuple.
    pub fn is_ours(&self) -> bool {
        let header = self.header();
        let xids = [self.xmin(), heap::update_xid(header)];
        // SAFETY: a pure test.
        xids.into_iter().any(|xid| unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xid) })
    }

    /// True if the tuple is certainly dead to every snapshot of this server; false if that would take a closer look.
    pub fn is_surely_dead(&mut self, companion: Rel) -> bool {
        let alive = pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMAX_INVALID;
        // SAFETY: the buffer is pinned and the relation open; only hint bits are looked at.
        u32::from(self.header().t_infomask) & alive != alive
            && unsafe { pg_sys::HeapTupleIsSurelyDead(&mut self.tuple, pg_sys::GlobalVisTestFor(companion.raw())) }
    }

    /// State of the tuple for VACUUM.
    pub fn vacuum_state(&mut self, horizon: Horizon) -> pg_sys::HTSV_Result::Type {
        use pg_sys::HTSV_Result::{HEAPTUPLE_DEAD, HEAPTUPLE_RECENTLY_DEAD};
        let mut dead_after = pg_sys::InvalidTransactionId;
        // SAFETY: the buffer is pinned; HeapTupleSatisfiesVacuumHorizon wants it share-locked.
        let state = unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let state = pg_sys::HeapTupleSatisfiesVacuumHorizon(&mut self.tuple, self.buffer, &mut dead_after);
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            state
        };
        if state == HEAPTUPLE_RECENTLY_DEAD && horizon.passed(dead_after) { HEAPTUPLE_DEAD } else { state }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: `fetch` left the buffer pinned.
            unsafe { pg_sys::ReleaseBuffer(self.buffer) }
        }
    }
}

/// The indexes of a companion: the valid one first.
pub fn companion_indexes(companion: Rel, lock: u32) -> Vec<OpenRel> {
    let mut open: Vec<OpenRel> = companion.index_oids().into_iter().map(|oid| OpenRel::index(oid, lock)).collect();
    open.sort_by_key(|index| {
        // SAFETY: an open index has its pg_index row.
        !unsafe { (*(*index.rel().raw()).rd_index).indisvalid }
    });
    open
}
