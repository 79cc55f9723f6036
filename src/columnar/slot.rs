//! Tuple slots of columnar tables: heap-tuple slots that also serve system columns of stripe rows.

use super::key::RowNumber;
use super::lookup::{self, Found};
use super::reader::RowReader;
use super::store::Store;
use super::tid;
use crate::pg::error::OrRaise;
use crate::pg::memory::ContextOwned;
use crate::pg::owned_values::OwnedValues;
use crate::pg::snapshot::Snap;
use crate::pg::{externs, values};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;

/// Transaction fields of a row that is not held as a heap tuple with its own header.
#[derive(Clone, Copy)]
pub struct System {
    /// Inserting transaction.
    pub xmin: pg_sys::TransactionId,
    /// Locking or deleting transaction.
    pub xmax: pg_sys::TransactionId,
    /// Command id.
    pub cid: pg_sys::CommandId,
}

/// The slot: core's heap slot, then ours.
#[repr(C)]
struct ColumnarSlot {
    base: pg_sys::HeapTupleTableSlot,
    /// Where its values are if it is materialized without a tuple.
    owned: OwnedValues,
    has_system: bool,
    has_wanted: bool,
    system: System,
    /// The columns that are looked at, if `has_wanted`.
    wanted: ContextOwned<Rc<[bool]>>,
}

struct Ops(pg_sys::TupleTableSlotOps);
// SAFETY: the operations are function pointers and sizes, written once.
unsafe impl Send for Ops {}
// SAFETY: as above.
unsafe impl Sync for Ops {}

static OPS: OnceLock<Ops> = OnceLock::new();

/// The slot operations of columnar tables.
pub fn ops() -> *const pg_sys::TupleTableSlotOps {
    &raw const OPS
        .get_or_init(|| {
            // SAFETY: core's operations are a constant; every function of theirs works on our larger slot.
            let mut ops = unsafe { pg_sys::TTSOpsHeapTuple };
            ops.base_slot_size = size_of::<ColumnarSlot>();
            ops.clear = Some(clear);
            ops.release = Some(release);
            ops.getsysattr = Some(get_system_attribute);
            ops.copyslot = Some(copy_slot);
            ops.materialize = Some(materialize_slot);
            ops.get_heap_tuple = Some(get_heap_tuple);
            ops.copy_heap_tuple = Some(copy_heap_tuple);
            crate::pg::compat::set_current_xact_test(&mut ops, is_current_transaction);
            Ops(ops)
        })
        .0
}

thread_local! {
    static HANDED_OUT: Cell<bool> = const { Cell::new(false) };
}

/// The slot operations, for core.
pub fn hand_out_ops() -> *const pg_sys::TupleTableSlotOps {
    HANDED_OUT.set(true);
    ops()
}

/// True once after core has asked for the slot operations of a columnar table, as it does for every node that scans one.
#[inline]
pub fn took_ops() -> bool {
    HANDED_OUT.take()
}

fn is_ours(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: callers pass a valid slot.
    unsafe { (*slot).tts_ops == ops() }
}

#[pg_guard]
unsafe extern "C-unwind" fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: called by core with one of our slots.
    unsafe {
        let ours = slot.cast::<ColumnarSlot>();
        (*ours).has_system = false;
        (*ours).owned.release();
        if let Some(base) = pg_sys::TTSOpsHeapTuple.clear {
            base(slot);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn release(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: called by core with one of our slots, which it has cleared.
    unsafe { (*slot.cast::<ColumnarSlot>()).owned.free() }
}

/// Makes the heap tuple of a slot that holds values, with the row's TID, which core's functions leave out.
///
/// # Safety
/// `slot` must be a non-empty slot of ours.
unsafe fn form_tuple(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's promise.
    unsafe {
        let heap = slot.cast::<pg_sys::HeapTupleTableSlot>();
        if !(*heap).tuple.is_null() {
            return;
        }
        if let Some(base) = pg_sys::TTSOpsHeapTuple.materialize {
            base(slot);
        }
        (*(*heap).tuple).t_self = (*slot).tts_tid;
        (*(*heap).tuple).t_tableOid = (*slot).tts_tableOid;
    }
}

/// Values are copied as they are: most go into a stripe, which wants no tuple.
#[pg_guard]
unsafe extern "C-unwind" fn materialize_slot(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: called by core with one of our slots.
    unsafe {
        let ours = slot.cast::<ColumnarSlot>();
        if (*ours).base.tuple.is_null() && ((*ours).owned.is_in_use() || (*ours).owned.take(slot)) {
            return;
        }
        form_tuple(slot);
        if let Some(base) = pg_sys::TTSOpsHeapTuple.materialize {
            base(slot);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_heap_tuple(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::HeapTuple {
    // SAFETY: called by core with one of our slots.
    unsafe {
        form_tuple(slot);
        (*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn copy_heap_tuple(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::HeapTuple {
    // SAFETY: called by core with one of our slots.
    unsafe {
        form_tuple(slot);
        pg_sys::heap_copytuple((*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn copy_slot(to: *mut pg_sys::TupleTableSlot, from: *mut pg_sys::TupleTableSlot) {
    // SAFETY: called by core with `to` one of our slots and `from` any valid slot.
    unsafe {
        // Core's function insists on core's own slots, so the copy is made and stored here.
        let old = pg_sys::MemoryContextSwitchTo((*to).tts_mcxt);
        let tuple = match (*(*from).tts_ops).copy_heap_tuple {
            Some(copy) => copy(from),
            None => return,
        };
        pg_sys::MemoryContextSwitchTo(old);
        store_tuple(to, tuple);
        if is_ours(from) {
            let (to, from) = (to.cast::<ColumnarSlot>(), from.cast::<ColumnarSlot>());
            (*to).has_system = (*from).has_system;
            (*to).system = (*from).system;
        }
        (*to).tts_tid = (*from).tts_tid;
        (*to).tts_tableOid = (*from).tts_tableOid;
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_system_attribute(
    slot: *mut pg_sys::TupleTableSlot,
    attribute: i32,
    is_null: *mut bool,
) -> pg_sys::Datum {
    // SAFETY: called by core with one of our slots.
    unsafe {
        let ours = &*slot.cast::<ColumnarSlot>();
        let value = match attribute {
            _ if !ours.has_system => None,
            pg_sys::MinTransactionIdAttributeNumber => Some(ours.system.xmin.into_inner()),
            pg_sys::MaxTransactionIdAttributeNumber => Some(ours.system.xmax.into_inner()),
            pg_sys::MinCommandIdAttributeNumber | pg_sys::MaxCommandIdAttributeNumber => Some(ours.system.cid),
            _ => None,
        };
        if let Some(value) = value {
            *is_null = false;
            return pg_sys::Datum::from(value);
        }
        match pg_sys::TTSOpsHeapTuple.getsysattr {
            Some(base) => base(slot, attribute, is_null),
            None => pg_sys::Datum::from(0usize),
        }
    }
}

/// Whether the row in the slot was inserted by the current transaction (referential-integrity checks ask, from 17 on).
#[pg_guard]
unsafe extern "C-unwind" fn is_current_transaction(slot: *mut pg_sys::TupleTableSlot) -> bool {
    let mut null = true;
    // SAFETY: called by core with one of our slots, which serves xmin.
    unsafe {
        let xmin = get_system_attribute(slot, pg_sys::MinTransactionIdAttributeNumber, &mut null);
        pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(xmin.value() as u32))
    }
}

/// Puts a palloc'd heap tuple into a slot, which then owns it. The tuple must live in the slot's memory context.
///
/// # Safety
/// `slot` must be one of ours and `tuple` a single palloc'd chunk.
pub unsafe fn store_tuple(slot: *mut pg_sys::TupleTableSlot, tuple: pg_sys::HeapTuple) {
    // SAFETY: the caller's promise; the fields are set as core's own heap slots set them.
    unsafe {
        pg_sys::ExecClearTuple(slot);
        let heap = slot.cast::<pg_sys::HeapTupleTableSlot>();
        (*heap).tuple = tuple;
        (*heap).off = 0;
        (*slot).tts_nvalid = 0;
        (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*slot).tts_flags |= pg_sys::TTS_FLAG_SHOULDFREE as u16;
        (*slot).tts_tid = (*tuple).t_self;
        (*slot).tts_tableOid = (*tuple).t_tableOid;
    }
}

/// Whether a slot is a virtual one of core's that owns nothing.
fn is_idle_virtual(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: callers pass a valid slot.
    unsafe {
        (*slot).tts_ops == &raw const pg_sys::TTSOpsVirtual
            && u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_SHOULDFREE == 0
    }
}

/// Makes a slot ready to take values one by one, between this and [`end_virtual`].
///
/// # Safety
/// `slot` must be a valid slot.
#[inline]
pub unsafe fn begin_virtual(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's promise. A slot of ours that owns neither tuple nor values has nothing to free.
    unsafe {
        let owns = |slot: *mut pg_sys::TupleTableSlot| {
            u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_SHOULDFREE != 0
                || (*slot.cast::<ColumnarSlot>()).owned.is_in_use()
        };
        let holds = if is_ours(slot) { owns(slot) } else { !is_idle_virtual(slot) };
        if holds {
            pg_sys::ExecClearTuple(slot);
        }
    }
}

/// Says that a slot has its first `count` values, all that it can have.
///
/// # Safety
/// As for [`begin_virtual`], which has to come before.
#[inline]
pub unsafe fn end_virtual(slot: *mut pg_sys::TupleTableSlot, count: i32) {
    // SAFETY: the caller's promise; the fields are set as core's virtual slots set them.
    unsafe {
        if is_ours(slot) {
            let ours = slot.cast::<ColumnarSlot>();
            (*ours).has_system = false;
            (*ours).base.tuple = std::ptr::null_mut();
            (*ours).base.off = 0;
        }
        (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*slot).tts_nvalid = count as pg_sys::AttrNumber;
    }
}

/// Notes the transaction fields of the row in the slot, if the slot is one of ours.
///
/// # Safety
/// `slot` must be a valid slot.
pub unsafe fn set_system(slot: *mut pg_sys::TupleTableSlot, system: System) {
    if is_ours(slot) {
        // SAFETY: it is one of ours.
        unsafe {
            let ours = &mut *slot.cast::<ColumnarSlot>();
            ours.has_system = true;
            ours.system = system;
        }
    }
}

/// Says which columns of the rows that are fetched into a slot will be looked at. The others are NULL from then on.
///
/// # Safety
/// `slot` must be one of ours, in a context that lives as long as the slot.
pub unsafe fn want(slot: *mut pg_sys::TupleTableSlot, columns: Rc<[bool]>) {
    // SAFETY: the caller's promise.
    unsafe {
        let ours = slot.cast::<ColumnarSlot>();
        let old = pg_sys::MemoryContextSwitchTo((*slot).tts_mcxt);
        (&raw mut (*ours).wanted).write(ContextOwned::bind(columns));
        (*ours).has_wanted = true;
        pg_sys::MemoryContextSwitchTo(old);
    }
}

/// The columns of a slot that will be looked at; all if `None`.
///
/// # Safety
/// `slot` must be one of ours.
pub unsafe fn wanted(slot: *mut pg_sys::TupleTableSlot) -> Option<Rc<[bool]>> {
    // SAFETY: the caller's promise; what was bound lives as long as the slot.
    unsafe {
        let ours = slot.cast::<ColumnarSlot>();
        if (*ours).has_wanted { (*ours).wanted.get().map(|wanted| wanted.clone()) } else { None }
    }
}

/// Fetches a row under a snapshot into a slot; false, and the slot cleared, if the snapshot does not see it.
///
/// # Safety
/// `slot` must be one of ours, for the table's row type.
pub unsafe fn fetch(store: &Store, row: RowNumber, snapshot: Snap, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    unsafe { fetch_with(store, row, slot, &mut None, || lookup::find(store, row, snapshot)) }
}

/// As [`fetch`], with what finds the row, and what has read the last one.
///
/// # Safety
/// As for [`fetch`]; `find` must return the row of that number, and `last` be kept for rows of this table only.
pub unsafe fn fetch_with(
    store: &Store,
    row: RowNumber,
    slot: *mut pg_sys::TupleTableSlot,
    last: &mut Option<RowReader>,
    find: impl FnOnce() -> Option<Found>,
) -> bool {
    // SAFETY: the caller's promise; rows are made in the slot's own memory context.
    unsafe {
        let old = pg_sys::MemoryContextSwitchTo((*slot).tts_mcxt);
        let found = find();
        pg_sys::MemoryContextSwitchTo(old);
        match found {
            Some(Found::Row(tuple)) => store_tuple(slot, tuple),
            Some(Found::Stripe(stripe, at)) => {
                let blob = stripe.meta.blob;
                let row_reader = match last {
                    Some(reader) if reader.stripe().meta.blob == blob => reader,
                    _ => last.insert(RowReader::new(stripe)),
                };
                row_reader.want(wanted(slot));
                row_reader.fill(store, at, slot).or_raise();
                (*slot).tts_tid = tid::to_tid(row);
                materialize(slot);
                set_system(slot, row_reader.system());
            }
            // What a transaction in progress holds in memory has no values to show; callers only learn that it is there.
            Some(Found::Reserved) => {
                pg_sys::ExecStoreAllNullTuple(slot);
                (*slot).tts_tid = tid::to_tid(row);
            }
            None => {
                pg_sys::ExecClearTuple(slot);
                return false;
            }
        }
        (*slot).tts_tableOid = store.table().oid();
    }
    true
}

/// Copies the values that a slot points to into the slot's own memory.
///
/// # Safety
/// `slot` must be a valid slot.
pub unsafe fn materialize(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's promise.
    unsafe {
        let tid = (*slot).tts_tid;
        if let Some(function) = (*(*slot).tts_ops).materialize {
            function(slot);
        }
        (*slot).tts_tid = tid;
    }
}

/// A slot of a table's type, dropped with the guard.
pub struct OwnSlot(*mut pg_sys::TupleTableSlot);

impl OwnSlot {
    /// Makes one for the table of `store`.
    pub fn new(store: &Store) -> Self {
        // SAFETY: the descriptor is valid while the table is open.
        Self(unsafe { pg_sys::MakeSingleTupleTableSlot(store.table().desc(), ops()) })
    }

    /// The slot.
    pub fn raw(&self) -> *mut pg_sys::TupleTableSlot {
        self.0
    }
}

impl Drop for OwnSlot {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: made in `new`.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) }
        }
    }
}

/// True if the new version of a row has the same key columns (those of unique indexes) as the old one.
///
/// # Safety
/// `new` must be a non-empty slot of the table's row type.
pub unsafe fn key_intact(store: &Store, old: RowNumber, new: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the table is open; the bitmap is a copy of ours.
    unsafe {
        let keys =
            pg_sys::RelationGetIndexAttrBitmap(store.table().raw(), pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_KEY);
        if keys.is_null() {
            return true;
        }
        let before = OwnSlot::new(store);
        let intact = fetch(store, old, Snap::any(), before.raw()) && same_values(store, keys, before.raw(), new);
        pg_sys::bms_free(keys);
        intact
    }
}

/// # Safety
/// Both slots must be non-empty slots of the table's row type.
unsafe fn same_values(
    store: &Store,
    keys: *mut pg_sys::Bitmapset,
    a: *mut pg_sys::TupleTableSlot,
    b: *mut pg_sys::TupleTableSlot,
) -> bool {
    let mut member = -1;
    // SAFETY: the caller's promise; attribute numbers come from the relation's own indexes.
    unsafe {
        let attributes = values::attributes(store.table().desc());
        loop {
            member = pg_sys::bms_next_member(keys, member);
            if member < 0 {
                return true;
            }
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            if number <= 0 {
                return false;
            }
            let attribute = &attributes[number as usize - 1];
            values::fetch_columns(a, number as usize);
            values::fetch_columns(b, number as usize);
            let i = number as usize - 1;
            let (null_a, null_b) = (*(*a).tts_isnull.add(i), *(*b).tts_isnull.add(i));
            if null_a != null_b {
                return false;
            }
            let (va, vb) = (*(*a).tts_values.add(i), *(*b).tts_values.add(i));
            if !null_a && !externs::datum_image_eq(va, vb, attribute.attbyval, i32::from(attribute.attlen)) {
                return false;
            }
        }
    }
}
