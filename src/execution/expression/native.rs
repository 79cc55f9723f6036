//! Functions that are done here rather than by PostgreSQL's functions, with the same results.

use super::like::Pattern;
use crate::columnar::columns;
use crate::columnar::encoding::{Order, Selection};
use crate::execution::batch::{
    Bytes, Column, Comparison, Exact, FloatOp, IntegerOp, Operand, Values, combine_decimals, compare_bytes,
    compare_decimals, compare_doubles, compare_words, double, double_word, float_arithmetic, float4,
    integer_arithmetic, unpadded,
};
use pgrx::pg_sys::{self, Oid};
use std::rc::Rc;

/// What a function does, as far as it is known here. All are strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    Compare(Comparison, Way),
    /// The width of the result in bytes.
    Integer(IntegerOp, u8),
    /// Both operands and the result are of type `real`, or `double precision`.
    Float(FloatOp, bool),
    Exact(Exact),
    /// An integer as one of another, no smaller, width, or a type that is held as another.
    Keep,
    IntegerToFloat8,
    Float4ToFloat8,
    IntegerToNumeric,
    /// LIKE, or NOT LIKE if false, of texts that are compared by their bytes.
    Like(bool),
}

/// What comparisons look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Words,
    /// A date on the left and a timestamp on the right, or the other way round.
    Days {
        date_first: bool,
    },
    /// Whether the left and the right operand are of type `real`.
    Floats(bool, bool),
    Numeric,
    /// Bytes without headers.
    Content,
    /// Bytes without headers and without blanks at the end.
    Padded,
}

impl Native {
    /// What is known of a function.
    pub fn of_function(function: Oid) -> Option<Native> {
        use IntegerOp::{Add, Divide, Modulo, Multiply, Subtract};
        let integer = |op, bytes| Some(Native::Integer(op, bytes));
        match function.to_u32() {
            pg_sys::F_INT2PL => integer(Add, 2),
            pg_sys::F_INT4PL | pg_sys::F_INT24PL | pg_sys::F_INT42PL => integer(Add, 4),
            pg_sys::F_INT8PL | pg_sys::F_INT84PL | pg_sys::F_INT48PL | pg_sys::F_INT82PL | pg_sys::F_INT28PL => {
                integer(Add, 8)
            }
            pg_sys::F_INT2MI => integer(Subtract, 2),
            pg_sys::F_INT4MI | pg_sys::F_INT24MI | pg_sys::F_INT42MI => integer(Subtract, 4),
            pg_sys::F_INT8MI | pg_sys::F_INT84MI | pg_sys::F_INT48MI | pg_sys::F_INT82MI | pg_sys::F_INT28MI => {
                integer(Subtract, 8)
            }
            pg_sys::F_INT2MUL => integer(Multiply, 2),
            pg_sys::F_INT4MUL | pg_sys::F_INT24MUL | pg_sys::F_INT42MUL => integer(Multiply, 4),
            pg_sys::F_INT8MUL | pg_sys::F_INT84MUL | pg_sys::F_INT48MUL | pg_sys::F_INT82MUL | pg_sys::F_INT28MUL => {
                integer(Multiply, 8)
            }
            pg_sys::F_INT2DIV => integer(Divide, 2),
            pg_sys::F_INT4DIV | pg_sys::F_INT24DIV | pg_sys::F_INT42DIV => integer(Divide, 4),
            pg_sys::F_INT8DIV | pg_sys::F_INT84DIV | pg_sys::F_INT48DIV | pg_sys::F_INT82DIV | pg_sys::F_INT28DIV => {
                integer(Divide, 8)
            }
            pg_sys::F_INT2MOD => integer(Modulo, 2),
            pg_sys::F_INT4MOD => integer(Modulo, 4),
            pg_sys::F_INT8MOD => integer(Modulo, 8),
            pg_sys::F_FLOAT8PL => Some(Native::Float(FloatOp::Add, false)),
            pg_sys::F_FLOAT8MI => Some(Native::Float(FloatOp::Subtract, false)),
            pg_sys::F_FLOAT8MUL => Some(Native::Float(FloatOp::Multiply, false)),
            pg_sys::F_FLOAT8DIV => Some(Native::Float(FloatOp::Divide, false)),
            pg_sys::F_FLOAT4PL => Some(Native::Float(FloatOp::Add, true)),
            pg_sys::F_FLOAT4MI => Some(Native::Float(FloatOp::Subtract, true)),
            pg_sys::F_FLOAT4MUL => Some(Native::Float(FloatOp::Multiply, true)),
            pg_sys::F_FLOAT4DIV => Some(Native::Float(FloatOp::Divide, true)),
            pg_sys::F_NUMERIC_ADD => Some(Native::Exact(Exact::Add)),
            pg_sys::F_NUMERIC_SUB => Some(Native::Exact(Exact::Subtract)),
            pg_sys::F_NUMERIC_MUL => Some(Native::Exact(Exact::Multiply)),
            pg_sys::F_INT4_INT2 | pg_sys::F_INT8_INT4 | pg_sys::F_INT8_INT2 => Some(Native::Keep),
            pg_sys::F_FLOAT8_INT2 | pg_sys::F_FLOAT8_INT4 | pg_sys::F_FLOAT8_INT8 => Some(Native::IntegerToFloat8),
            pg_sys::F_FLOAT8_FLOAT4 => Some(Native::Float4ToFloat8),
            pg_sys::F_NUMERIC_INT2 | pg_sys::F_NUMERIC_INT4 | pg_sys::F_NUMERIC_INT8 => Some(Native::IntegerToNumeric),
            _ => None,
        }
    }

    /// What is known of an operator between two types under a collation.
    ///
    /// # Safety
    /// Must be called inside a transaction.
    pub unsafe fn of_comparison(operator: Oid, left: Oid, right: Oid, collation: Oid) -> Option<Native> {
        // SAFETY: the caller's promise.
        let comparison = unsafe { comparison_of(operator, left)? };
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let integer = |t| matches!(t, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID);
        let float = |t| matches!(t, pg_sys::FLOAT4OID | pg_sys::FLOAT8OID);
        let way = match columns::order(left) {
            Order::Signed if left == right || (integer(left) && integer(right)) => Way::Words,
            Order::Signed if left == pg_sys::DATEOID && right == pg_sys::TIMESTAMPOID => Way::Days { date_first: true },
            Order::Signed if left == pg_sys::TIMESTAMPOID && right == pg_sys::DATEOID => {
                Way::Days { date_first: false }
            }
            Order::Float4 | Order::Float8 if float(left) && float(right) => {
                Way::Floats(left == pg_sys::FLOAT4OID, right == pg_sys::FLOAT4OID)
            }
            Order::Decimal if left == right => Way::Numeric,
            order @ (Order::Bytes | Order::Padded) if left == right => {
                // SAFETY: as above; catalog look-ups.
                let by_bytes = unsafe {
                    match collation {
                        // Of texts it is unknown then, which PostgreSQL's functions report.
                        pg_sys::InvalidOid => !pg_sys::type_is_collatable(left),
                        _ => {
                            crate::pg::compat::collation_is_c(collation)
                                || (equality && pg_sys::get_collation_isdeterministic(collation))
                        }
                    }
                };
                if !by_bytes {
                    return None;
                }
                if order == Order::Bytes { Way::Content } else { Way::Padded }
            }
            _ => return None,
        };
        Some(Native::Compare(comparison, way))
    }

    /// LIKE, where it is about bytes: under deterministic collations, in encodings whose characters do not begin within others.
    ///
    /// # Safety
    /// Must be called inside a transaction.
    pub unsafe fn of_like(function: Oid, collation: Oid) -> Option<Native> {
        let wanted = match function.to_u32() {
            pg_sys::F_TEXTLIKE | pg_sys::F_LIKE_TEXT_TEXT | pg_sys::F_BPCHARLIKE => true,
            pg_sys::F_TEXTNLIKE | pg_sys::F_NOTLIKE_TEXT_TEXT | pg_sys::F_BPCHARNLIKE => false,
            _ => return None,
        };
        // SAFETY: the caller's promise; catalog look-ups.
        let by_bytes = unsafe {
            let encoding = pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32;
            (encoding || pg_sys::pg_database_encoding_max_length() == 1)
                && collation != pg_sys::InvalidOid
                && pg_sys::get_collation_isdeterministic(collation)
        };
        by_bytes.then_some(Native::Like(wanted))
    }

    /// The results; rows that are not among `rows`, which are those without a NULL, do not count. `None` if PostgreSQL has to do it, or has an error
    /// to raise.
    pub fn evaluate(&self, values: &[Rc<Column>], rows: &Selection, nulls: Selection, len: usize) -> Option<Column> {
        let (a, b) = (values.first()?, values.get(1));
        let same = values.iter().all(|column| column.same);
        let words = |words: Vec<i64>| Some(Column { values: Values::Words(words), nulls, same });
        match self {
            Native::Compare(comparison, way) => {
                let truth = way.compare(*comparison, a, b?, rows, len)?;
                Some(Column { values: Values::Truth(truth.and(rows)), nulls, same })
            }
            Native::Like(wanted) => like(*wanted, a, b?, rows, nulls),
            Native::Integer(op, bytes) => words(integer_arithmetic(*op, *bytes, a.words()?, b?.words()?, rows).ok()?),
            Native::Float(op, single) => words(float_arithmetic(*op, *single, a.words()?, b?.words()?, rows).ok()?),
            Native::Exact(op) => combine_decimals(*op, a, b?, nulls),
            Native::Keep => Some((**a).clone()),
            Native::IntegerToFloat8 => words(each(a.words()?, |word| double_word(word as f64))),
            Native::Float4ToFloat8 => words(each(a.words()?, |word| double_word(float4(word).into()))),
            Native::IntegerToNumeric => {
                let decimals = crate::execution::batch::Decimals::new(each(a.words()?, |word| word), 0);
                // Not all integers can be made into numerics as decimals are.
                let fits = decimals.low > i64::MIN;
                fits.then_some(Column { values: Values::Decimals(decimals), nulls, same })
            }
        }
    }
}

/// The rows whose texts are like the pattern, which has to be the same for all, or are not.
fn like(wanted: bool, texts: &Column, pattern: &Column, rows: &Selection, nulls: Selection) -> Option<Column> {
    let (bytes, patterns) = (texts.bytes()?, pattern.bytes().filter(|_| pattern.same)?);
    let parsed = Pattern::parse(patterns.content(patterns.entry(0)))?;
    let mut found = Selection::none();
    for row in rows.iter() {
        if parsed.matches(bytes.content(bytes.entry(texts.place(row)))) == wanted {
            found.insert(row);
        }
    }
    Some(Column { values: Values::Truth(found), nulls, same: texts.same })
}

fn each(values: Operand<'_>, f: impl Fn(i64) -> i64) -> Vec<i64> {
    match values {
        Operand::Each(values) => values.iter().map(|value| f(*value)).collect(),
        Operand::Same(value) => vec![f(value)],
    }
}

impl Way {
    /// The part of a text without header that counts.
    pub fn bare(self, content: &[u8]) -> &[u8] {
        if self == Way::Padded { unpadded(content) } else { content }
    }

    fn compare(self, op: Comparison, a: &Column, b: &Column, rows: &Selection, len: usize) -> Option<Selection> {
        Some(match self {
            Way::Words => compare_words(op, a.words()?, b.words()?, len),
            Way::Days { date_first } => {
                let (dates, moments) = if date_first { (a.words()?, b.words()?) } else { (b.words()?, a.words()?) };
                let mut set = Selection::none();
                for row in rows.iter() {
                    let order = midnight(dates.get(row)).cmp(&moment(moments.get(row)));
                    if op.holds(if date_first { order } else { order.reverse() }) {
                        set.insert(row);
                    }
                }
                set
            }
            Way::Floats(left_single, right_single) => {
                let (a, b) = (a.words()?, b.words()?);
                let value = |word: i64, single| if single { float4(word).into() } else { double(word) };
                compare_doubles(op, |row| value(a.get(row), left_single), |row| value(b.get(row), right_single), len)
            }
            Way::Numeric => compare_decimals(op, a.decimals()?, b.decimals()?, len),
            Way::Content | Way::Padded => {
                let (left, right) = (a.bytes()?, b.bytes()?);
                let entry = |bytes: &Bytes, column: &Column, row| bytes.entry(column.place(row));
                compare_bytes(
                    op,
                    rows,
                    |row| self.bare(left.content(entry(left, a, row))),
                    |row| self.bare(right.content(entry(right, b, row))),
                )
            }
        })
    }
}

/// The microsecond at which a date begins. The infinities are beyond all others.
fn midnight(date: i64) -> i128 {
    match date as i32 {
        i32::MIN => i128::MIN,
        i32::MAX => i128::MAX,
        date => i128::from(date) * 86_400_000_000,
    }
}

fn moment(timestamp: i64) -> i128 {
    match timestamp {
        i64::MIN => i128::MIN,
        i64::MAX => i128::MAX,
        timestamp => timestamp.into(),
    }
}

/// Which comparison an operator is in the default order of a type.
///
/// # Safety
/// Must be called inside a transaction.
pub unsafe fn comparison_of(operator: Oid, left: Oid) -> Option<Comparison> {
    // SAFETY: the caller's promise; catalog look-ups.
    unsafe {
        let family = (*pg_sys::lookup_type_cache(left, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf;
        if family == pg_sys::InvalidOid {
            return None;
        }
        let strategy_of = |operator| match pg_sys::op_in_opfamily(operator, family) {
            false => None,
            true => Some(pg_sys::get_op_opfamily_strategy(operator, family) as u32),
        };
        match strategy_of(operator) {
            Some(pg_sys::BTLessStrategyNumber) => Some(Comparison::Less),
            Some(pg_sys::BTLessEqualStrategyNumber) => Some(Comparison::LessOrEqual),
            Some(pg_sys::BTEqualStrategyNumber) => Some(Comparison::Equal),
            Some(pg_sys::BTGreaterEqualStrategyNumber) => Some(Comparison::GreaterOrEqual),
            Some(pg_sys::BTGreaterStrategyNumber) => Some(Comparison::Greater),
            Some(_) => None,
            None => {
                let negator = pg_sys::get_negator(operator);
                let equal =
                    negator != pg_sys::InvalidOid && strategy_of(negator) == Some(pg_sys::BTEqualStrategyNumber);
                equal.then_some(Comparison::NotEqual)
            }
        }
    }
}
