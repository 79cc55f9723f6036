//! Rows of pg_statistic that are made in memory, and who may see what they say.

use super::unguarded;
use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

/// A column's statistics as a row of pg_statistic.
#[derive(Debug)]
pub struct Summary {
    tuple: Vec<u64>,
    len: usize,
}

/// What goes into one slot of the row.
pub struct Slot {
    /// One of core's kinds.
    pub kind: u32,
    /// Operator that the values are compared by.
    pub operator: Oid,
    /// Numbers, if it has any.
    pub numbers: Vec<f64>,
    /// Values, if it has any.
    pub values: Vec<Datum>,
}

/// The column that a row is about, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The table.
    pub relation: Oid,
    /// Number of the column.
    pub attribute: i16,
    /// Its type.
    pub type_oid: Oid,
    /// Its collation.
    pub collation: Oid,
}

/// What the row says apart from its slots.
pub struct Scalars {
    /// Share of NULLs.
    pub null_fraction: f64,
    /// Average bytes of a value.
    pub width: i32,
    /// Distinct values, negative as a share of the rows.
    pub distinct: f64,
}

/// True if ANALYZE has left a row about the column.
pub fn is_analyzed(relation: Oid, attribute: i16) -> bool {
    // SAFETY: the cache of pg_statistic has these three keys.
    unsafe {
        pg_sys::SearchSysCacheExists(
            pg_sys::SysCacheIdentifier::STATRELATTINH as i32,
            Datum::from(relation),
            Datum::from(attribute),
            Datum::from(false),
            Datum::from(0usize),
        )
    }
}

impl Summary {
    /// Makes the row.
    ///
    /// # Safety
    /// Values must be of the subject's type.
    pub unsafe fn form(subject: Subject, scalars: &Scalars, slots: &[Slot]) -> Self {
        const COLUMNS: usize = pg_sys::Natts_pg_statistic as usize;
        let mut values = [Datum::from(0usize); COLUMNS];
        let mut nulls = [false; COLUMNS];
        let mut set = |column: u32, value: Datum| {
            if let Some(place) = values.get_mut(column as usize - 1) {
                *place = value;
            }
        };
        set(pg_sys::Anum_pg_statistic_starelid, Datum::from(subject.relation));
        set(pg_sys::Anum_pg_statistic_staattnum, Datum::from(subject.attribute));
        set(pg_sys::Anum_pg_statistic_stanullfrac, float(scalars.null_fraction));
        set(pg_sys::Anum_pg_statistic_stawidth, Datum::from(scalars.width));
        set(pg_sys::Anum_pg_statistic_stadistinct, float(scalars.distinct));
        for index in 0..pg_sys::STATISTIC_NUM_SLOTS {
            let slot = slots.get(index as usize);
            let numbers = slot.map(|slot| slot.numbers.as_slice()).unwrap_or_default();
            let members = slot.map(|slot| slot.values.as_slice()).unwrap_or_default();
            set(pg_sys::Anum_pg_statistic_stakind1 + index, Datum::from(slot.map_or(0, |slot| slot.kind as i16)));
            set(
                pg_sys::Anum_pg_statistic_staop1 + index,
                Datum::from(slot.map_or(pg_sys::InvalidOid, |slot| slot.operator)),
            );
            let collation = slot.map_or(pg_sys::InvalidOid, |_| subject.collation);
            set(pg_sys::Anum_pg_statistic_stacoll1 + index, Datum::from(collation));
            let places = [
                (pg_sys::Anum_pg_statistic_stanumbers1 + index, numbers.is_empty()),
                (pg_sys::Anum_pg_statistic_stavalues1 + index, members.is_empty()),
            ];
            for (column, empty) in places {
                if let Some(null) = nulls.get_mut(column as usize - 1) {
                    *null = empty;
                }
            }
            // SAFETY: numbers are of float4, values of the subject's type.
            unsafe {
                if !numbers.is_empty() {
                    let numbers: Vec<Datum> = numbers.iter().map(|number| float(*number)).collect();
                    set(pg_sys::Anum_pg_statistic_stanumbers1 + index, array(&numbers, pg_sys::FLOAT4OID));
                }
                if !members.is_empty() {
                    set(pg_sys::Anum_pg_statistic_stavalues1 + index, array(members, subject.type_oid));
                }
            }
        }
        // SAFETY: there is a value and a flag for each column of pg_statistic; the tuple is copied before it is freed.
        unsafe {
            let catalog = pg_sys::table_open(pg_sys::StatisticRelationId, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
            let tuple = pg_sys::heap_form_tuple((*catalog).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::table_close(catalog, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
            let len = (*tuple).t_len as usize;
            let mut image = vec![0u64; len.div_ceil(8)];
            std::ptr::copy_nonoverlapping((*tuple).t_data.cast::<u8>(), image.as_mut_ptr().cast::<u8>(), len);
            pg_sys::heap_freetuple(tuple);
            Self { tuple: image, len }
        }
    }

    /// A copy of the row in the current memory context.
    pub fn copy(&self) -> pg_sys::HeapTuple {
        let mut tuple = pg_sys::HeapTupleData {
            t_len: self.len as u32,
            t_self: Default::default(),
            t_tableOid: pg_sys::StatisticRelationId,
            t_data: self.tuple.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the image is that of a tuple, at an aligned address, and is only read.
        unsafe { pg_sys::heap_copytuple(&mut tuple) }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.tuple.capacity() * 8
    }
}

fn float(value: f64) -> Datum {
    Datum::from((value as f32).to_bits() as i32)
}

/// # Safety
/// `values` must be of type `element`.
unsafe fn array(values: &[Datum], element: Oid) -> Datum {
    // SAFETY: the caller's promise; the function only reads the values.
    unsafe {
        let (mut len, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align);
        let count = values.len() as i32;
        let values = values.as_ptr().cast_mut();
        Datum::from(pg_sys::construct_array(values, count, element, len.into(), by_value, align))
    }
}

/// Frees a tuple that [`Summary::copy`] made, for core, which calls it without a guard.
pub unsafe extern "C-unwind" fn free(tuple: pg_sys::HeapTuple) {
    // SAFETY: the tuple is one that was made for core.
    unsafe { unguarded::pfree(tuple.cast()) }
}

/// Whether the user may see all values of a column: statistics then need no leakproof functions. As in core, the rights are those on the
/// table that the query names, of which this one may be a partition, and no row may be hidden.
///
/// # Safety
/// `root` and `entry` must be as core passes them to `get_relation_stats_hook`.
pub unsafe fn may_see_values(
    root: *mut pg_sys::PlannerInfo,
    entry: *mut pg_sys::RangeTblEntry,
    mut attribute: i16,
) -> bool {
    // SAFETY: the caller's promise; arrays have as many members as the planner says.
    unsafe {
        let entries = (*root).simple_rte_array;
        if entries.is_null() {
            return false;
        }
        let Some(mut index) = (1..(*root).simple_rel_array_size as usize).find(|index| *entries.add(*index) == entry)
        else {
            return false;
        };
        let relation = *(*root).simple_rel_array.add(index);
        if relation.is_null() {
            return false;
        }
        let user = if (*relation).userid == pg_sys::InvalidOid { pg_sys::GetUserId() } else { (*relation).userid };
        while !(*root).append_rel_array.is_null() {
            let parent = *(*root).append_rel_array.add(index);
            if parent.is_null()
                || (**entries.add((*parent).parent_relid as usize)).rtekind != pg_sys::RTEKind::RTE_RELATION
            {
                break;
            }
            // Rows may be hidden by the policies of a table on the way.
            if !(**entries.add(index)).securityQuals.is_null() {
                return false;
            }
            let known = (1..=(*parent).num_child_cols).contains(&i32::from(attribute));
            attribute = if known { *(*parent).parent_colnos.add(attribute as usize - 1) } else { 0 };
            if attribute == 0 {
                return false;
            }
            index = (*parent).parent_relid as usize;
        }
        let named = *entries.add(index);
        if !(*named).securityQuals.is_null() {
            return false;
        }
        let select = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        let allowed = pg_sys::AclResult::ACLCHECK_OK;
        pg_sys::pg_class_aclcheck((*named).relid, user, select) == allowed
            || pg_sys::pg_attribute_aclcheck((*named).relid, attribute, user, select) == allowed
    }
}

/// The less-than and the equality operator of a type's default btree order, `InvalidOid` where there is none.
pub fn operators(type_oid: Oid) -> (Oid, Oid) {
    let (mut less_than, mut equal) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: the function fills what it is given, and nothing is required.
    unsafe {
        let null = std::ptr::null_mut();
        pg_sys::get_sort_group_operators(type_oid, false, false, false, &mut less_than, &mut equal, null, null.cast());
    }
    (less_than, equal)
}
