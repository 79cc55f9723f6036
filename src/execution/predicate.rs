//! Clauses of a scan's condition that zone maps can decide.

use super::zone_filter::{Condition, Test};
use crate::columnar::columns;
use crate::columnar::encoding::{Order, order_key};
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys::*;
use std::ffi::c_void;
use std::result::Result;

/// A clause `column op value`, whose value is known when the scan starts.
pub struct Predicate {
    /// The clause, for EXPLAIN.
    pub clause: *mut Node,
    column: usize,
    order: Order,
    kind: Kind,
}

enum Kind {
    /// The clause itself says it all.
    Fixed(Test),
    /// A comparison by a btree strategy.
    Compare(i32, Operand),
    /// Equality with some element of an array.
    AnyOf(Operand),
}

/// The side of a comparison that is not the column.
struct Operand {
    value: *mut ExprState,
    /// Type of the value, or of the array's elements.
    type_oid: Oid,
}

/// A column of the scanned relation.
struct Column {
    index: usize,
    type_oid: Oid,
    order: Order,
}

/// Finds what it can among the clauses.
pub struct Finder {
    /// Range table index of the scanned relation.
    pub relation: i32,
    /// Its row descriptor.
    pub desc: TupleDesc,
    /// The node, which evaluates the values.
    pub parent: *mut PlanState,
}

impl Finder {
    /// The clauses that zone maps can decide. Each row for which all clauses are true passes all of them.
    ///
    /// # Safety
    /// `clauses` must be the list of a plan's clauses; the finder's pointers must be valid.
    pub unsafe fn find(&self, clauses: *mut List) -> Vec<Predicate> {
        // SAFETY: the caller's promise.
        unsafe { pointers::<Node>(clauses).into_iter().filter_map(|clause| self.predicate(clause)).collect() }
    }

    /// # Safety
    /// As for [`Self::find`]; here and below each node has the type that its tag says.
    unsafe fn predicate(&self, clause: *mut Node) -> Option<Predicate> {
        // SAFETY: the caller's promise.
        let (column, kind) = unsafe {
            match (*clause).type_ {
                NodeTag::T_OpExpr => self.comparison(clause.cast())?,
                NodeTag::T_ScalarArrayOpExpr => self.any_of(clause.cast())?,
                NodeTag::T_NullTest => self.null_test(clause.cast())?,
                NodeTag::T_Var => self.boolean(clause, true)?,
                NodeTag::T_BoolExpr if (*clause.cast::<BoolExpr>()).boolop == BoolExprType::NOT_EXPR => {
                    self.boolean(*pointers((*clause.cast::<BoolExpr>()).args).first()?, false)?
                }
                _ => return None,
            }
        };
        Some(Predicate { clause, column: column.index, order: column.order, kind })
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn column(&self, node: *mut Node) -> Option<Column> {
        // SAFETY: the caller's promise.
        unsafe {
            if node.is_null() || (*node).type_ != NodeTag::T_Var {
                return None;
            }
            let var = &*node.cast::<Var>();
            if var.varno != self.relation || var.varlevelsup != 0 {
                return None;
            }
            let index = usize::try_from(var.varattno).ok()?.checked_sub(1)?;
            let attribute = values::attributes(self.desc).get(index)?;
            let order = columns::order(attribute.atttypid);
            (attribute.atttypid == var.vartype).then_some(Column { index, type_oid: var.vartype, order })
        }
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn boolean(&self, node: *mut Node, value: bool) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        let column = unsafe { self.column(node)? };
        let key = order_key(Order::Bool, &[u8::from(value)])?;
        (column.type_oid == BOOLOID).then_some((column, Kind::Fixed(Test::Between(key, key))))
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn null_test(&self, test: *mut NullTest) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        unsafe {
            let column = self.column((*test).arg.cast())?;
            let wanted = if (*test).nulltesttype == NullTestType::IS_NULL { Test::Null } else { Test::NotNull };
            (!(*test).argisrow).then_some((column, Kind::Fixed(wanted)))
        }
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn comparison(&self, expression: *mut OpExpr) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        unsafe {
            let &[left, right] = pointers::<Node>((*expression).args).as_slice() else { return None };
            let (column, other, operator) = match self.column(left) {
                Some(column) => (column, right, (*expression).opno),
                None => (self.column(right)?, left, get_commutator((*expression).opno)),
            };
            let (strategy, type_oid) = strategy(&column, operator)?;
            let operand = self.operand(other, type_oid)?;
            Some((column, Kind::Compare(strategy, operand)))
        }
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn any_of(&self, expression: *mut ScalarArrayOpExpr) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        unsafe {
            let &[left, right] = pointers::<Node>((*expression).args).as_slice() else { return None };
            let column = self.column(left)?;
            let (strategy, type_oid) = strategy(&column, (*expression).opno)?;
            if !(*expression).useOr || strategy != BTEqualStrategyNumber as i32 {
                return None;
            }
            let operand = self.operand(right, type_oid)?;
            Some((column, Kind::AnyOf(operand)))
        }
    }

    /// An expression that has the same value for all rows of a scan.
    ///
    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn operand(&self, node: *mut Node, type_oid: Oid) -> Option<Operand> {
        // SAFETY: the caller's promise.
        unsafe {
            if contain_var_clause(node)
                || contain_volatile_functions(node)
                || contain_subplans(node)
                || calls_user_functions(node, std::ptr::null_mut())
            {
                return None;
            }
            Some(Operand { value: ExecInitExpr(node.cast(), self.parent), type_oid })
        }
    }
}

/// Whether an expression calls functions that are not PostgreSQL's own. They may have effects, or fail, and a scan that meets
/// no row would not call them; PostgreSQL's own are evaluated once per scan, as an index scan does.
///
/// # Safety
/// `node` must be an expression or null.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn calls_user_functions(node: *mut Node, context: *mut c_void) -> bool {
    unsafe extern "C-unwind" fn is_user_function(function: Oid, _context: *mut c_void) -> bool {
        function.to_u32() >= FirstNormalObjectId
    }
    // SAFETY: the caller's promise.
    unsafe {
        !node.is_null()
            && (check_functions_in_node(node, Some(is_user_function), std::ptr::null_mut())
                || expression_tree_walker(node, Some(calls_user_functions), context))
    }
}

/// The btree strategy of `column operator value` and the type of the value, if the column's zone maps can decide it.
///
/// # Safety
/// Must be called inside a transaction.
unsafe fn strategy(column: &Column, operator: Oid) -> Option<(i32, Oid)> {
    if column.order == Order::None || operator == InvalidOid {
        return None;
    }
    // SAFETY: the caller's promise; catalog look-ups.
    unsafe {
        let family = (*lookup_type_cache(column.type_oid, TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf;
        if family == InvalidOid || !op_in_opfamily(operator, family) {
            return None;
        }
        let (mut strategy, mut left, mut right) = (0, InvalidOid, InvalidOid);
        get_op_opfamily_properties(operator, family, false, &mut strategy, &mut left, &mut right);
        (left == column.type_oid && comparable(left, right)).then_some((strategy, right))
    }
}

/// Whether values of both types have keys that compare. Timestamps and dates, for one, count in different units.
fn comparable(a: Oid, b: Oid) -> bool {
    let integer = |t| matches!(t, INT2OID | INT4OID | INT8OID);
    let float = |t| matches!(t, FLOAT4OID | FLOAT8OID);
    a == b || (integer(a) && integer(b)) || (float(a) && float(b))
}

impl Predicate {
    /// The condition with the value that the operand has now.
    ///
    /// # Safety
    /// `context` must be the expression context of the node that the predicate was found for; its per-tuple memory must
    /// be the current context.
    pub unsafe fn condition(&self, context: *mut ExprContext) -> Result<Condition, OrochiError> {
        // SAFETY: the caller's promise.
        let test = unsafe {
            match &self.kind {
                Kind::Fixed(test) => test.clone(),
                Kind::Compare(strategy, operand) => match operand.evaluate(context) {
                    Some(value) => compare(*strategy, operand.key(value)),
                    None => Test::Never,
                },
                Kind::AnyOf(operand) => match operand.evaluate(context) {
                    Some(array) => Test::OneOf(operand.element_keys(array)?),
                    None => Test::Never,
                },
            }
        };
        Ok(Condition { column: self.column, order: self.order, test })
    }
}

impl Operand {
    /// # Safety
    /// As for [`Predicate::condition`].
    unsafe fn evaluate(&self, context: *mut ExprContext) -> Option<Datum> {
        let mut null = false;
        // SAFETY: the caller's promise.
        let value = unsafe { ExecEvalExprSwitchContext(self.value, context, &mut null) };
        (!null).then_some(value)
    }

    fn key(&self, value: Datum) -> Option<u64> {
        let len = match self.type_oid {
            BOOLOID => 1,
            INT2OID => 2,
            INT4OID | DATEOID | OIDOID | FLOAT4OID => 4,
            _ => 8,
        };
        order_key(columns::order(self.type_oid), &(value.value() as u64).to_le_bytes()[..len])
    }

    /// Sorted keys of an array's elements. NULLs are left out, since nothing equals them.
    ///
    /// # Safety
    /// `array` must be an array; the current context must be short-lived.
    unsafe fn element_keys(&self, array: Datum) -> Result<Vec<u64>, OrochiError> {
        // SAFETY: the caller's promise; both vectors have `count` members.
        let (elements, nulls) = unsafe {
            let array = pg_detoast_datum(array.cast_mut_ptr()).cast::<ArrayType>();
            let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            let (mut len, mut by_value, mut align) = (0, false, 0);
            get_typlenbyvalalign(self.type_oid, &mut len, &mut by_value, &mut align);
            deconstruct_array(array, self.type_oid, len.into(), by_value, align, &mut elements, &mut nulls, &mut count);
            let count = count as usize;
            if count == 0 {
                return Ok(Vec::new());
            }
            (std::slice::from_raw_parts(elements, count), std::slice::from_raw_parts(nulls, count))
        };
        let mut keys = Vec::new();
        keys.try_reserve(elements.len()).map_err(|_| OrochiError::OutOfMemory {
            detail: format!("Failed on the keys of {} array elements.", elements.len()),
        })?;
        keys.extend(elements.iter().zip(nulls).filter(|(_, null)| !**null).filter_map(|(value, _)| self.key(*value)));
        keys.sort_unstable();
        Ok(keys)
    }
}

/// The values that compare as asked with the one that has the key. Keys are integers, so each bound can be included.
#[allow(non_upper_case_globals)]
fn compare(strategy: i32, key: Option<u64>) -> Test {
    let Some(key) = key else { return Test::Between(0, u64::MAX) };
    match strategy as u32 {
        BTLessStrategyNumber => key.checked_sub(1).map_or(Test::Never, |high| Test::Between(0, high)),
        BTLessEqualStrategyNumber => Test::Between(0, key),
        BTEqualStrategyNumber => Test::Between(key, key),
        BTGreaterEqualStrategyNumber => Test::Between(key, u64::MAX),
        BTGreaterStrategyNumber => key.checked_add(1).map_or(Test::Never, |low| Test::Between(low, u64::MAX)),
        _ => Test::NotNull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_beyond_the_ends() {
        assert_eq!(compare(BTLessStrategyNumber as i32, Some(0)), Test::Never);
        assert_eq!(compare(BTGreaterStrategyNumber as i32, Some(u64::MAX)), Test::Never);
        assert_eq!(compare(BTLessStrategyNumber as i32, Some(9)), Test::Between(0, 8));
        assert_eq!(compare(BTGreaterStrategyNumber as i32, Some(9)), Test::Between(10, u64::MAX));
        assert_eq!(compare(BTEqualStrategyNumber as i32, Some(9)), Test::Between(9, 9));
    }
}
