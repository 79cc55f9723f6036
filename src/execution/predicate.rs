//! Clauses of a scan's condition that zone maps can decide.

use super::zone_filter::Condition;
use crate::columnar::columns;
use crate::columnar::encoding::{ColumnType, Order, Physical, Test, Zone, equality_hash, order_keys};
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use crate::pg::values;
use pgrx::pg_sys::{self, *};
use std::ffi::c_void;
use std::result::Result;

/// Elements of an array of which Bloom filters are asked.
const MAX_HASHES: usize = 64;

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
    /// A comparison of a date with a timestamp.
    CompareDay(i32, Operand),
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
    /// The type as which it is compared.
    type_oid: Oid,
    order: Order,
}

/// Finds what it can among the clauses.
pub struct Finder {
    /// Range table index of the scanned relation.
    pub relation: i32,
    /// Its row descriptor.
    pub desc: TupleDesc,
    /// The node, which evaluates the values. Null while a query is planned: then only values that are constants are known.
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

    /// What zone maps can decide of a clause.
    ///
    /// # Safety
    /// As for [`Self::find`]; here and below each node has the type that its tag says.
    pub unsafe fn predicate(&self, clause: *mut Node) -> Option<Predicate> {
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
            if node.is_null() {
                return None;
            }
            // A varchar compares as text.
            let bare = match (*node).type_ {
                NodeTag::T_RelabelType => (*node.cast::<RelabelType>()).arg.cast::<Node>(),
                _ => node,
            };
            if bare.is_null() || (*bare).type_ != NodeTag::T_Var {
                return None;
            }
            let var = &*bare.cast::<Var>();
            if var.varno != self.relation || var.varlevelsup != 0 {
                return None;
            }
            let index = usize::try_from(var.varattno).ok()?.checked_sub(1)?;
            let attribute = values::attributes(self.desc).get(index)?;
            let (order, type_oid) = (columns::order(attribute.atttypid), exprType(node));
            let same =
                attribute.atttypid == var.vartype && (type_oid == var.vartype || columns::order(type_oid) == order);
            same.then_some(Column { index, type_oid, order })
        }
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn boolean(&self, node: *mut Node, value: bool) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        let column = unsafe { self.column(node)? };
        let keys = order_keys(Order::Bool, Physical::Fixed { len: 1 }, &[u8::from(value)])?;
        (column.type_oid == BOOLOID).then_some((column, Kind::Fixed(Test::Between(keys.min, keys.max))))
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
            let (strategy, type_oid) = strategy(&column, operator, (*expression).inputcollid)?;
            let operand = self.operand(other, type_oid)?;
            let kind = if is_day(&column, type_oid) { Kind::CompareDay } else { Kind::Compare };
            Some((column, kind(strategy, operand)))
        }
    }

    /// # Safety
    /// As for [`Self::predicate`].
    unsafe fn any_of(&self, expression: *mut ScalarArrayOpExpr) -> Option<(Column, Kind)> {
        // SAFETY: the caller's promise.
        unsafe {
            let &[left, right] = pointers::<Node>((*expression).args).as_slice() else { return None };
            let column = self.column(left)?;
            let (strategy, type_oid) = strategy(&column, (*expression).opno, (*expression).inputcollid)?;
            let equality = (*expression).useOr && strategy == BTEqualStrategyNumber as i32;
            if !equality || is_day(&column, type_oid) {
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
            let unknown = self.parent.is_null() && (*node).type_ != NodeTag::T_Const;
            if unknown
                || contain_var_clause(node)
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
unsafe fn strategy(column: &Column, operator: Oid, collation: Oid) -> Option<(i32, Oid)> {
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
        let fits = left == column.type_oid
            && (comparable(left, right) || is_day(column, right))
            && fits_collation(strategy, collation);
        fits.then_some((strategy, right))
    }
}

/// Whether a comparison under a collation is one of bytes: zone maps of texts sort by these.
///
/// # Safety
/// Must be called inside a transaction.
unsafe fn fits_collation(strategy: i32, collation: Oid) -> bool {
    // SAFETY: the caller's promise; catalog look-ups.
    unsafe {
        collation == InvalidOid
            || crate::pg::compat::collation_is_c(collation)
            || (strategy == BTEqualStrategyNumber as i32 && get_collation_isdeterministic(collation))
    }
}

/// Whether a column of dates is compared with timestamps.
fn is_day(column: &Column, operand: Oid) -> bool {
    column.type_oid == DATEOID && operand == TIMESTAMPOID
}

/// What a date must be for its comparison with a timestamp to be true.
fn compare_day(strategy: i32, timestamp: i64) -> Test {
    const DAY: i64 = 86_400_000_000;
    let (day, later) = match timestamp {
        // Both types have the infinities at the ends of their integers.
        i64::MIN => (i32::MIN, false),
        i64::MAX => (i32::MAX, false),
        finite => (i32::try_from(finite.div_euclid(DAY)).unwrap_or(i32::MAX), finite.rem_euclid(DAY) > 0),
    };
    // A timestamp after midnight lies between its day and the next.
    let strategy = match strategy as u32 {
        pg_sys::BTEqualStrategyNumber if later => return Test::Never,
        pg_sys::BTLessStrategyNumber if later => BTLessEqualStrategyNumber as i32,
        pg_sys::BTGreaterEqualStrategyNumber if later => BTGreaterStrategyNumber as i32,
        _ => strategy,
    };
    compare(strategy, Order::Signed, order_keys(Order::Signed, Physical::Fixed { len: 4 }, &day.to_le_bytes()))
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
    /// `context` must be an expression context in which the operand can be evaluated; the current memory context must be
    /// short-lived.
    pub unsafe fn condition(&self, context: *mut ExprContext) -> Result<Condition, OrochiError> {
        let mut hashes = Vec::new();
        // SAFETY: the caller's promise.
        let test = unsafe {
            match &self.kind {
                Kind::Fixed(test) => test.clone(),
                Kind::Compare(strategy, operand) => match operand.evaluate(context) {
                    Some(value) => {
                        if *strategy == BTEqualStrategyNumber as i32 {
                            hashes.extend(operand.hash(value));
                        }
                        compare(*strategy, self.order, operand.keys(value))
                    }
                    None => Test::Never,
                },
                Kind::CompareDay(strategy, operand) => match operand.evaluate(context) {
                    Some(value) => compare_day(*strategy, value.value() as i64),
                    None => Test::Never,
                },
                Kind::AnyOf(operand) => match operand.evaluate(context) {
                    Some(array) => {
                        let elements = operand.elements(array);
                        if elements.len() <= MAX_HASHES {
                            let all: Option<Vec<u64>> = elements.iter().map(|value| operand.hash(*value)).collect();
                            hashes = all.unwrap_or_default();
                        }
                        operand.element_keys(&elements)?.map_or(Test::NotNull, Test::OneOf)
                    }
                    None => Test::Never,
                },
            }
        };
        let exact = match &self.kind {
            Kind::Fixed(_) => true,
            // Of a value that has no keys only this much is known.
            _ => self.order.is_exact() && test != Test::NotNull,
        };
        Ok(Condition { column: self.column, order: self.order, test, exact, hashes })
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

    /// Keys between which a value lies; `None` if nothing can be said of it.
    ///
    /// # Safety
    /// As for [`Self::with_bytes`].
    unsafe fn keys(&self, value: Datum) -> Option<Zone> {
        // SAFETY: the caller's promise.
        unsafe { self.with_bytes(value, order_keys) }
    }

    /// The hash of a value that a Bloom filter knows it by.
    ///
    /// # Safety
    /// As for [`Self::with_bytes`].
    unsafe fn hash(&self, value: Datum) -> Option<u64> {
        // SAFETY: the caller's promise.
        unsafe { self.with_bytes(value, equality_hash) }
    }

    /// What a function says of a value's bytes as they are stored.
    ///
    /// # Safety
    /// `value` must be of the operand's type; the current context must be short-lived.
    unsafe fn with_bytes<T>(
        &self,
        value: Datum,
        function: impl FnOnce(Order, Physical, &[u8]) -> Option<T>,
    ) -> Option<T> {
        let (mut len, mut by_value, mut align) = (0, false, 0);
        // SAFETY: the caller's promise.
        unsafe {
            get_typlenbyvalalign(self.type_oid, &mut len, &mut by_value, &mut align);
            let ColumnType { physical, order } = columns::stored_type(len, align, self.type_oid);
            if by_value {
                let word = (value.value() as u64).to_le_bytes();
                return function(order, physical, word.get(..usize::try_from(len).ok()?)?);
            }
            let plain = if len == -1 { Datum::from(pg_detoast_datum_packed(value.cast_mut_ptr())) } else { value };
            function(order, physical, values::pointed_bytes(plain, len))
        }
    }

    /// An array's elements without NULLs, since nothing equals these.
    ///
    /// # Safety
    /// `array` must be an array of the operand's type; the current context must be short-lived.
    unsafe fn elements(&self, array: Datum) -> Vec<Datum> {
        // SAFETY: the caller's promise; both lists have `count` members.
        unsafe {
            let array = pg_detoast_datum(array.cast_mut_ptr()).cast::<ArrayType>();
            let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            let (mut len, mut by_value, mut align) = (0, false, 0);
            get_typlenbyvalalign(self.type_oid, &mut len, &mut by_value, &mut align);
            deconstruct_array(array, self.type_oid, len.into(), by_value, align, &mut elements, &mut nulls, &mut count);
            (0..count as usize).filter(|index| !*nulls.add(*index)).map(|index| *elements.add(index)).collect()
        }
    }

    /// Sorted keys of an array's elements. `None` if nothing can be said of an element.
    ///
    /// # Safety
    /// `elements` must be values of the operand's type; the current context must be short-lived.
    unsafe fn element_keys(&self, elements: &[Datum]) -> Result<Option<Vec<Zone>>, OrochiError> {
        let mut keys = Vec::new();
        keys.try_reserve(elements.len()).map_err(|_| OrochiError::OutOfMemory {
            detail: format!("Failed on the keys of {} array elements.", elements.len()),
        })?;
        for value in elements {
            // SAFETY: the caller's promise.
            match unsafe { self.keys(*value) } {
                Some(zone) => keys.push(zone),
                None => return Ok(None),
            }
        }
        // Zones around values are alike wide in keys, so an order by one bound is one by the other, but at the ends.
        keys.sort_unstable_by_key(|zone| (zone.min, zone.max));
        Ok(keys.is_sorted_by_key(|zone| zone.max).then_some(keys))
    }
}

/// The values that may compare as asked with one that lies within the keys. Where the order is exact a bound itself can be left out, for
/// keys are integers.
#[allow(non_upper_case_globals)]
fn compare(strategy: i32, order: Order, keys: Option<Zone>) -> Test {
    let Some(Zone { min, max }) = keys else { return Test::NotNull };
    let exact = order.is_exact();
    match strategy as u32 {
        BTLessStrategyNumber if exact => max.checked_sub(1).map_or(Test::Never, |high| Test::Between(0, high)),
        BTLessStrategyNumber | BTLessEqualStrategyNumber => Test::Between(0, max),
        BTEqualStrategyNumber => Test::Between(min, max),
        BTGreaterStrategyNumber if exact => min.checked_add(1).map_or(Test::Never, |low| Test::Between(low, u64::MAX)),
        BTGreaterStrategyNumber | BTGreaterEqualStrategyNumber => Test::Between(min, u64::MAX),
        _ => Test::NotNull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(strategy: u32, order: Order, key: u64) -> Test {
        compare(strategy as i32, order, Some(Zone { min: key, max: key }))
    }

    #[test]
    fn nothing_lies_beyond_the_ends() {
        assert_eq!(test(BTLessStrategyNumber, Order::Signed, 0), Test::Never);
        assert_eq!(test(BTGreaterStrategyNumber, Order::Signed, u64::MAX), Test::Never);
        assert_eq!(test(BTLessStrategyNumber, Order::Signed, 9), Test::Between(0, 8));
        assert_eq!(test(BTGreaterStrategyNumber, Order::Signed, 9), Test::Between(10, u64::MAX));
        assert_eq!(test(BTEqualStrategyNumber, Order::Signed, 9), Test::Between(9, 9));
    }

    #[test]
    fn days_end_where_the_next_begin() {
        let key =
            |day: i32| order_keys(Order::Signed, Physical::Fixed { len: 4 }, &day.to_le_bytes()).map(|zone| zone.min);
        let test = |strategy: u32, timestamp: i64| match compare_day(strategy as i32, timestamp) {
            Test::Between(low, high) => (Some(low).filter(|low| *low > 0), Some(high).filter(|high| *high < u64::MAX)),
            other => panic!("{other:?}"),
        };
        let noon = 86_400_000_000 * 5 / 2;
        assert_eq!(test(BTLessStrategyNumber, noon), (None, key(2)));
        assert_eq!(test(BTLessStrategyNumber, noon * 2), (None, key(4)));
        assert_eq!(test(BTLessEqualStrategyNumber, -noon), (None, key(-3)));
        assert_eq!(test(BTGreaterEqualStrategyNumber, noon), (key(3), None));
        assert_eq!(test(BTGreaterStrategyNumber, noon * 2), (key(6), None));
        assert_eq!(test(BTEqualStrategyNumber, noon * 2), (key(5), key(5)));
        assert_eq!(compare_day(BTEqualStrategyNumber as i32, noon), Test::Never);
        assert_eq!(test(BTLessStrategyNumber, i64::MAX), (None, key(i32::MAX - 1)));
        assert_eq!(test(BTGreaterStrategyNumber, i64::MIN), (key(i32::MIN + 1), None));
    }

    #[test]
    fn a_prefix_says_nothing_of_what_equals_it() {
        assert_eq!(test(BTLessStrategyNumber, Order::Bytes, 9), Test::Between(0, 9));
        assert_eq!(test(BTGreaterStrategyNumber, Order::Padded, 9), Test::Between(9, u64::MAX));
        assert_eq!(compare(BTLessStrategyNumber as i32, Order::Bytes, None), Test::NotNull);
    }
}
