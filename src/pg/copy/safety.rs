//! Whether parallel workers may make rows of a table out of texts.

use crate::pg::{OpenRel, Rel, values};
use pgrx::pg_sys;
use std::ffi::CStr;

/// Whether nothing happens when a row comes into the table but that it is stored and indexed: no triggers, foreign keys, unique keys,
/// policies, partition bounds, and nothing that is generated. Nor may it be temporary, for other processes cannot see it then.
pub fn is_plain(table: Rel) -> bool {
    // SAFETY: the table is open.
    let (relation, form) = unsafe { (&*table.raw(), &*(*table.raw()).rd_rel) };
    form.relkind as u8 == pg_sys::RELKIND_RELATION
        && !table.is_temporary()
        && !form.relispartition
        && !form.relrowsecurity
        && relation.trigdesc.is_null()
        && table.index_oids().into_iter().all(may_wait)
        && attributes(table).iter().all(|a| a.attgenerated == 0 && a.attidentity == 0)
}

/// Whether an index may get its entries when all rows are stored: nothing about a row can be wrong for it.
fn may_wait(index: pg_sys::Oid) -> bool {
    let open = OpenRel::index(index, pg_sys::RowExclusiveLock);
    let relation = open.rel().raw();
    // SAFETY: an open index has its pg_index row.
    let (is_unique, computes) = unsafe {
        let computes = !pg_sys::RelationGetIndexExpressions(relation).is_null()
            || !pg_sys::RelationGetIndexPredicate(relation).is_null();
        ((*(*relation).rd_index).indisunique, computes)
    };
    !is_unique && !computes && !open.rel().is_index_that_reads_rows()
}

fn attributes<'a>(table: Rel) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the descriptor is valid while the table is open, which is longer than anybody here looks at it.
    unsafe { values::attributes(table.desc()) }
}

/// Whether workers may call the input functions of the listed columns' types, and the other columns have no defaults.
pub fn types_are_safe(table: Rel, columns: &[pg_sys::AttrNumber]) -> bool {
    attributes(table).iter().filter(|a| !a.attisdropped).all(|attribute| {
        if columns.contains(&attribute.attnum) {
            return has_safe_input(attribute.atttypid);
        }
        // SAFETY: a catalog look-up.
        let none = unsafe { pg_sys::get_typdefault(attribute.atttypid).is_null() };
        !attribute.atthasdef && none && kind(attribute.atttypid) != pg_sys::TYPTYPE_DOMAIN
    })
}

fn kind(type_oid: pg_sys::Oid) -> u8 {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::get_typtype(type_oid) as u8 }
}

/// Whether workers may make values of a type out of texts. Functions that are found by another way than the type's input function
/// (those of a range's elements, of a domain's constraints) are not looked for: such types count only if they are PostgreSQL's own.
fn has_safe_input(type_oid: pg_sys::Oid) -> bool {
    let builtin = type_oid.to_u32() < pg_sys::FirstNormalObjectId;
    let known = match kind(type_oid) {
        pg_sys::TYPTYPE_BASE => {
            // SAFETY: a catalog look-up.
            let element = unsafe { pg_sys::get_element_type(type_oid) };
            element == pg_sys::InvalidOid || has_safe_input(element)
        }
        pg_sys::TYPTYPE_ENUM => true,
        pg_sys::TYPTYPE_RANGE | pg_sys::TYPTYPE_MULTIRANGE => builtin,
        _ => false,
    };
    if !known {
        return false;
    }
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: catalog look-ups; a column's type has an input function, or an ERROR says so.
    unsafe {
        pg_sys::getTypeInputInfo(type_oid, &mut function, &mut parameter);
        is_safe(function)
    }
}

/// # Safety
/// Must be called inside a transaction.
unsafe fn is_safe(function: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise.
    unsafe { pg_sys::func_parallel(function) as u8 == pg_sys::PROPARALLEL_SAFE }
}

/// Whether workers may evaluate the table's CHECK constraints.
pub fn checks_are_safe(table: Rel) -> bool {
    // SAFETY: the table is open, and its constraints are valid expressions; the test reads no more of the planner's state than the
    // part that is set.
    unsafe {
        let constraints = (*table.desc()).constr;
        if constraints.is_null() {
            return true;
        }
        let mut global =
            pg_sys::PlannerGlobal { maxParallelHazard: pg_sys::PROPARALLEL_UNSAFE as _, ..Default::default() };
        let mut root = pg_sys::PlannerInfo { glob: &mut global, ..Default::default() };
        (0..usize::from((*constraints).num_check)).all(|index| {
            let expression = pg_sys::stringToNode((*(*constraints).check.add(index)).ccbin);
            pg_sys::is_parallel_safe(&mut root, expression.cast())
        })
    }
}

/// Whether workers may sort by the given operators.
pub fn orders_are_safe(operators: impl Iterator<Item = pg_sys::Oid>) -> bool {
    // SAFETY: catalog look-ups; entries of the type cache live as long as the process.
    operators.into_iter().all(|operator| unsafe {
        let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::op_input_types(operator, &mut left, &mut right);
        let compare = (*pg_sys::lookup_type_cache(left, pg_sys::TYPECACHE_CMP_PROC as i32)).cmp_proc;
        is_safe(pg_sys::get_opcode(operator)) && compare != pg_sys::InvalidOid && is_safe(compare)
    })
}

/// The name of a column.
///
/// # Safety
/// The descriptor must be valid while the name is used.
pub(super) unsafe fn column_name<'a>(desc: pg_sys::TupleDesc, column: pg_sys::AttrNumber) -> &'a CStr {
    // SAFETY: the caller's promise; names end with a NUL byte.
    unsafe {
        let attributes = values::attributes(desc);
        attributes
            .get(usize::try_from(column).unwrap_or(0).wrapping_sub(1))
            .map_or(c"", |attribute| CStr::from_ptr(attribute.attname.data.as_ptr()))
    }
}
