//! How PostgreSQL's types are stored in stripes.

use super::encoding::{ColumnType, Order, Physical};
use crate::pg::values;
use pgrx::pg_sys;

/// The stored type of each column of a row descriptor.
///
/// # Safety
/// `desc` must be valid.
pub unsafe fn column_types(desc: pg_sys::TupleDesc) -> Vec<ColumnType> {
    // SAFETY: the caller's promise.
    unsafe { values::attributes(desc) }.iter().map(column_type).collect()
}

/// The stored type of one column. Dropped columns keep their physical type.
pub fn column_type(attribute: &pg_sys::FormData_pg_attribute) -> ColumnType {
    stored_type(attribute.attlen, attribute.attalign, attribute.atttypid)
}

/// How values of a type with a length and an alignment, as the catalogs state them, are stored.
pub fn stored_type(len: i16, align: std::ffi::c_char, type_oid: pg_sys::Oid) -> ColumnType {
    let order = order(type_oid);
    match len {
        -1 => ColumnType::varlena(values::alignment(align), order),
        -2 => ColumnType { physical: Physical::CString, order },
        len => ColumnType::fixed(len as u16, order),
    }
}

/// The order of a type whose default btree order is that of its bytes, read as a number or one by one. Text has it under the collation "C",
/// and under any deterministic collation equal texts have equal bytes.
pub fn order(type_oid: pg_sys::Oid) -> Order {
    match type_oid {
        pg_sys::BOOLOID => Order::Bool,
        pg_sys::INT2OID
        | pg_sys::INT4OID
        | pg_sys::INT8OID
        | pg_sys::DATEOID
        | pg_sys::TIMEOID
        | pg_sys::TIMESTAMPOID
        | pg_sys::TIMESTAMPTZOID
        | pg_sys::MONEYOID => Order::Signed,
        pg_sys::OIDOID | pg_sys::XID8OID | pg_sys::PG_LSNOID => Order::Unsigned,
        pg_sys::FLOAT4OID => Order::Float4,
        pg_sys::FLOAT8OID => Order::Float8,
        pg_sys::NUMERICOID => Order::Decimal,
        pg_sys::TEXTOID
        | pg_sys::VARCHAROID
        | pg_sys::BYTEAOID
        | pg_sys::NAMEOID
        | pg_sys::UUIDOID
        | pg_sys::MACADDROID
        | pg_sys::MACADDR8OID => Order::Bytes,
        pg_sys::BPCHAROID => Order::Padded,
        _ => Order::None,
    }
}
