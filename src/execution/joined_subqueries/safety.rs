//! What may be computed for rows and groups that nobody has asked for: what raises no error, whatever the values.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Aggref, Node, NodeTag, Oid, OpExpr, ScalarArrayOpExpr};
use std::ffi::{CStr, c_void};

/// Whether conditions and columns can be evaluated for any row: columns, comparisons, logic and constants.
///
/// # Safety
/// `expression` must be null, an expression, a list of such, or a part of a query's FROM.
pub unsafe fn cannot_fail(expression: *mut Node) -> bool {
    // SAFETY: the caller's promise.
    unsafe { !may_fail(expression, std::ptr::null_mut()) }
}

/// Whether an aggregate can be computed for any group.
///
/// Sums are those that are kept wider than their arguments; a sum of floats may overflow.
///
/// # Safety
/// `call` must be an aggregate of a query that is not planned yet.
pub unsafe fn cannot_fail_in_groups(call: *mut Aggref) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let call = &*call;
        if call.agglevelsup != 0
            || !call.aggdirectargs.is_null()
            || !call.aggorder.is_null()
            || !is_built_in(call.aggfnoid)
        {
            return false;
        }
        let exact = |of: &Oid| matches!(*of, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID | pg_sys::NUMERICOID);
        let types = crate::pg::compat::oid_list(call.aggargtypes);
        let whole = match name_of(call.aggfnoid).as_slice() {
            b"count" => true,
            b"min" | b"max" => types.iter().all(|of| pg_sys::get_typtype(*of) as u8 == pg_sys::TYPTYPE_BASE),
            b"bool_and" | b"bool_or" | b"every" | b"bit_and" | b"bit_or" => true,
            b"sum" | b"avg" | b"stddev" | b"stddev_samp" | b"stddev_pop" | b"variance" | b"var_samp" | b"var_pop" => {
                types.iter().all(exact)
            }
            _ => false,
        };
        whole && cannot_fail(call.args.cast()) && cannot_fail(call.aggfilter.cast())
    }
}

/// Whether an aggregate is the count, which is 0 of no rows where others are NULL.
pub fn is_count(call: &Aggref) -> bool {
    name_of(call.aggfnoid) == b"count"
}

fn is_built_in(function: Oid) -> bool {
    function.to_u32() < pg_sys::FirstNormalObjectId
}

fn name_of(function: Oid) -> Vec<u8> {
    // SAFETY: a catalog look-up; the name is a string of its own.
    unsafe {
        let name = pg_sys::get_func_name(function);
        if name.is_null() { Vec::new() } else { CStr::from_ptr(name).to_bytes().to_vec() }
    }
}

/// Whether an operator compares, as those of B-trees do and their negators.
fn compares(operator: Oid) -> bool {
    // SAFETY: catalog look-ups; the cache's entry stays.
    unsafe {
        let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::op_input_types(operator, &raw mut left, &raw mut right);
        let family = (*pg_sys::lookup_type_cache(left, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf;
        let known = |operator| family != pg_sys::InvalidOid && pg_sys::op_in_opfamily(operator, family);
        is_built_in(operator) && (known(operator) || known(pg_sys::get_negator(operator)))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn may_fail(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called with the nodes of an expression, each of which has the type that its tag says.
    unsafe {
        if node.is_null() {
            return false;
        }
        let known = match (*node).type_ {
            NodeTag::T_Var
            | NodeTag::T_Const
            | NodeTag::T_Param
            | NodeTag::T_RelabelType
            | NodeTag::T_BoolExpr
            | NodeTag::T_NullTest
            | NodeTag::T_BooleanTest
            | NodeTag::T_ArrayExpr
            | NodeTag::T_List
            | NodeTag::T_TargetEntry
            | NodeTag::T_FromExpr
            | NodeTag::T_JoinExpr
            | NodeTag::T_RangeTblRef => true,
            NodeTag::T_OpExpr | NodeTag::T_DistinctExpr => compares((*node.cast::<OpExpr>()).opno),
            NodeTag::T_ScalarArrayOpExpr => compares((*node.cast::<ScalarArrayOpExpr>()).opno),
            _ => false,
        };
        if known {
            return pg_sys::expression_tree_walker(node, Some(may_fail), context);
        }
        // What depends on no row is computed before the first one.
        pg_sys::contain_subplans(node) || pg_sys::contain_var_clause(node) || pg_sys::contain_volatile_functions(node)
    }
}
