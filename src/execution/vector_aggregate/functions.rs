//! Which aggregate functions of PostgreSQL are vectorised, and how.

use crate::columnar::columns;
use crate::columnar::encoding;
use crate::execution::aggregate::{Equality, Function, Order};
use crate::execution::batch::Kind;
use crate::execution::expression::kind_of;
use crate::pg::compat::{self, pointers};
use pgrx::pg_sys::{self, Aggref, Oid};
use std::ffi::CStr;

/// `AGGKIND_NORMAL` of catalog/pg_aggregate.h.
const NORMAL: u8 = b'n';

/// The function of an aggregate call, unless PostgreSQL has to do it; then why.
///
/// # Safety
/// `call` must be an Aggref of the query that is being planned.
pub unsafe fn function_of(call: &Aggref) -> Result<Function, &'static str> {
    // SAFETY: the caller's promise.
    unsafe {
        // A DISTINCT without ORDER BY puts none there.
        if !call.aggorder.is_null() || call.aggkind as u8 != NORMAL || call.aggvariadic {
            return Err("an ordered aggregate");
        }
        if call.agglevelsup != 0 {
            return Err("an aggregate of another query level");
        }
        let arguments = pointers::<pg_sys::TargetEntry>(call.args);
        let argument = match arguments.as_slice() {
            [] => None,
            [argument] => Some(pg_sys::exprType((**argument).expr.cast())),
            _ => return Err("an aggregate of several arguments"),
        };
        let own = arguments.first().map(|argument| (**argument).expr.cast());
        if !call.aggdistinct.is_null() && own.and_then(|own| equality_of(own)).is_none() {
            return Err("DISTINCT of a type or collation that is not vectorized");
        }
        simple(call.aggfnoid).or_else(|| extreme(call, argument?)).ok_or("an aggregate function that is not vectorized")
    }
}

fn simple(function: Oid) -> Option<Function> {
    let variance = |sample, root| Some(Function::Variance { sample, root });
    match function.to_u32() {
        pg_sys::F_COUNT_ => Some(Function::Rows),
        pg_sys::F_COUNT_ANY => Some(Function::Count),
        pg_sys::F_SUM_INT2 | pg_sys::F_SUM_INT4 => Some(Function::SumToBigint),
        pg_sys::F_SUM_INT8 | pg_sys::F_SUM_NUMERIC => Some(Function::SumToNumeric),
        pg_sys::F_AVG_INT2 | pg_sys::F_AVG_INT4 | pg_sys::F_AVG_INT8 | pg_sys::F_AVG_NUMERIC => Some(Function::Average),
        pg_sys::F_SUM_FLOAT4 | pg_sys::F_SUM_FLOAT8 => Some(Function::FloatSum),
        pg_sys::F_AVG_FLOAT4 | pg_sys::F_AVG_FLOAT8 => Some(Function::FloatAverage),
        pg_sys::F_VAR_POP_FLOAT4 | pg_sys::F_VAR_POP_FLOAT8 => variance(false, false),
        pg_sys::F_VAR_SAMP_FLOAT4
        | pg_sys::F_VAR_SAMP_FLOAT8
        | pg_sys::F_VARIANCE_FLOAT4
        | pg_sys::F_VARIANCE_FLOAT8 => variance(true, false),
        pg_sys::F_STDDEV_POP_FLOAT4 | pg_sys::F_STDDEV_POP_FLOAT8 => variance(false, true),
        pg_sys::F_STDDEV_SAMP_FLOAT4
        | pg_sys::F_STDDEV_SAMP_FLOAT8
        | pg_sys::F_STDDEV_FLOAT4
        | pg_sys::F_STDDEV_FLOAT8 => variance(true, true),
        pg_sys::F_BOOL_AND | pg_sys::F_EVERY => Some(Function::Every),
        pg_sys::F_BOOL_OR => Some(Function::Any),
        _ => None,
    }
}

/// PostgreSQL's own `min` and `max`, which go by the default order of their type.
///
/// # Safety
/// As for [`function_of`].
unsafe fn extreme(call: &Aggref, argument: Oid) -> Option<Function> {
    // SAFETY: catalog look-ups, inside a transaction.
    unsafe {
        if call.aggfnoid.to_u32() >= pg_sys::FirstNormalObjectId {
            return None;
        }
        let name = pg_sys::get_func_name(call.aggfnoid);
        if name.is_null() {
            return None;
        }
        let greatest = match CStr::from_ptr(name).to_bytes() {
            b"max" => true,
            b"min" => false,
            _ => return None,
        };
        let order = match (columns::order(argument), kind_of(argument)?) {
            (encoding::Order::Signed, Kind::Word(_)) => Order::Words,
            (_, Kind::Float4) => Order::Float4,
            (_, Kind::Float8) => Order::Float8,
            (_, Kind::Numeric) => Order::Numeric,
            (encoding::Order::Bytes, Kind::Bytes(physical)) => {
                let by_bytes = match call.inputcollid {
                    // Of texts it is unknown then, which PostgreSQL's function reports.
                    pg_sys::InvalidOid => !pg_sys::type_is_collatable(argument),
                    collation => compat::collation_is_c(collation),
                };
                match physical {
                    encoding::Physical::Varlena { .. } if by_bytes => Order::Memory,
                    encoding::Physical::Fixed { .. } if by_bytes => Order::Fixed,
                    _ => Order::Server,
                }
            }
            (_, Kind::Bytes(_)) => Order::Server,
            _ => return None,
        };
        Some(Function::Extreme { greatest, order })
    }
}

/// How the values of a grouping expression are told apart, if that is by their bytes or numbers.
///
/// # Safety
/// `expression` must be one of the query that is being planned.
pub unsafe fn equality_of(expression: *mut pg_sys::Node) -> Option<Equality> {
    // SAFETY: the caller's promise.
    unsafe {
        let type_oid = pg_sys::exprType(expression);
        let collation = pg_sys::exprCollation(expression);
        let known = match collation {
            pg_sys::InvalidOid => !pg_sys::type_is_collatable(type_oid),
            collation => pg_sys::get_collation_isdeterministic(collation),
        };
        if !known {
            return None;
        }
        match (kind_of(type_oid)?, columns::order(type_oid)) {
            (Kind::Truth, _) => Some(Equality::Whole),
            (Kind::Word(_), order) if order != encoding::Order::None => Some(Equality::Whole),
            (Kind::Float4, _) => Some(Equality::Float4),
            (Kind::Float8, _) => Some(Equality::Float8),
            (Kind::Numeric, _) => Some(Equality::Numeric),
            (Kind::Bytes(encoding::Physical::Varlena { .. }), encoding::Order::Bytes) => Some(Equality::Content),
            (Kind::Bytes(encoding::Physical::Varlena { .. }), encoding::Order::Padded) => Some(Equality::Padded),
            (Kind::Bytes(_), encoding::Order::Bytes) => Some(Equality::Whole),
            _ => None,
        }
    }
}
