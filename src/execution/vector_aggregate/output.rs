//! From groups to slots.

use super::plan::Mode;
use super::server::copied;
use super::state::State;
use crate::execution::aggregate::{KeyValue, Outcome};
use crate::execution::batch::float4_word;
use pgrx::pg_sys::{self, Datum, Oid, TupleTableSlot};

/// Puts a group into a slot, values in the current memory context.
///
/// # Safety
/// `slot` must have the plan's `custom_scan_tlist` as its columns.
pub unsafe fn fill(state: &mut State, group: usize, slot: *mut TupleTableSlot) {
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::ExecClearTuple(slot);
        let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
        let values = std::slice::from_raw_parts_mut((*slot).tts_values, columns);
        let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, columns);
        nulls.fill(true);
        for (number, place) in state.keys.iter().enumerate() {
            let value = match state.groups.key(group, number) {
                KeyValue::Null => continue,
                KeyValue::Word(word) => Datum::from(word),
                KeyValue::Bytes(bytes) => copied(bytes),
            };
            if let (Some(to), Some(null)) = (values.get_mut(*place), nulls.get_mut(*place)) {
                (*to, *null) = (value, false);
            }
        }
        for call in &state.calls {
            if state.mode == Mode::Partial {
                let mut saved = vec![0; 4];
                if let Some(aggregate) = state.aggregates.get(call.number) {
                    aggregate.save(group, &mut saved);
                }
                // The header of a value of variable length: four times its length.
                let header = ((saved.len() as u32) << 2).to_le_bytes();
                saved.iter_mut().zip(header).for_each(|(to, from)| *to = from);
                if let (Some(to), Some(null)) = (values.get_mut(call.place), nulls.get_mut(call.place)) {
                    (*to, *null) = (copied(&saved), false);
                }
                continue;
            }
            let outcome =
                state.aggregates.get(call.number).map(|aggregate| aggregate.outcome(group, &mut state.server));
            let value = outcome.and_then(|outcome| datum(outcome, call.type_oid));
            if let (Some(value), Some(to), Some(null)) = (value, values.get_mut(call.place), nulls.get_mut(call.place))
            {
                (*to, *null) = (value, false);
            }
        }
        pg_sys::ExecStoreVirtualTuple(slot);
    }
}

/// # Safety
/// The outcome must be that of an aggregate of the type.
unsafe fn datum(outcome: Outcome, type_oid: Oid) -> Option<Datum> {
    // SAFETY: the caller's promise; the functions are those of numerics.
    unsafe {
        Some(match outcome {
            Outcome::Null => return None,
            Outcome::Word(word) => Datum::from(word),
            Outcome::Double(value) if type_oid == pg_sys::FLOAT4OID => Datum::from(float4_word(value as f32)),
            Outcome::Double(value) => Datum::from(value.to_bits()),
            Outcome::Bytes(bytes) => copied(&bytes),
            Outcome::Quotient(sum, count) => {
                let sum = copied(&sum);
                let count = pg_sys::OidFunctionCall1Coll(
                    Oid::from(pg_sys::F_NUMERIC_INT8),
                    pg_sys::InvalidOid,
                    Datum::from(count),
                );
                pg_sys::OidFunctionCall2Coll(Oid::from(pg_sys::F_NUMERIC_DIV), pg_sys::InvalidOid, sum, count)
            }
        })
    }
}
