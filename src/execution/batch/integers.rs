//! Arithmetic of integers that raises what PostgreSQL raises, for the rows that count.

use super::column::Operand;
use crate::columnar::encoding::Selection;

/// An operation on integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// What is wrong with the operands of some row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerFault {
    OutOfRange,
    DivisionByZero,
}

/// Applies a function to pairs; one value if both sides have one.
#[inline(always)]
pub(super) fn zip(a: Operand<'_>, b: Operand<'_>, f: impl Fn(i64, i64) -> i64) -> Vec<i64> {
    match (a, b) {
        (Operand::Each(a), Operand::Each(b)) => a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect(),
        (Operand::Each(a), Operand::Same(b)) => a.iter().map(|a| f(*a, b)).collect(),
        (Operand::Same(a), Operand::Each(b)) => b.iter().map(|b| f(a, *b)).collect(),
        (Operand::Same(a), Operand::Same(b)) => vec![f(a, b)],
    }
}

/// Both words as integers of a width of `bytes`.
fn exact(op: IntegerOp, a: i64, b: i64, bytes: u8) -> Result<i64, IntegerFault> {
    let value = match op {
        IntegerOp::Add => a.checked_add(b),
        IntegerOp::Subtract => a.checked_sub(b),
        IntegerOp::Multiply => a.checked_mul(b),
        IntegerOp::Divide | IntegerOp::Modulo if b == 0 => return Err(IntegerFault::DivisionByZero),
        IntegerOp::Divide => a.checked_div(b),
        // The remainder of the least integer by -1 does not fail in PostgreSQL.
        IntegerOp::Modulo => Some(a.wrapping_rem(b)),
    };
    value.filter(|value| fits(*value, bytes)).ok_or(IntegerFault::OutOfRange)
}

#[inline(always)]
fn fits(value: i64, bytes: u8) -> bool {
    match bytes {
        2 => value == i64::from(value as i16),
        4 => value == i64::from(value as i32),
        _ => true,
    }
}

/// The results for all rows, whose faults are those of `rows`, which must not be NULL. `bytes` is the width of the result.
pub fn integer_arithmetic(
    op: IntegerOp,
    bytes: u8,
    a: Operand<'_>,
    b: Operand<'_>,
    rows: &Selection,
) -> Result<Vec<i64>, IntegerFault> {
    let out = match op {
        IntegerOp::Add => zip(a, b, i64::wrapping_add),
        IntegerOp::Subtract => zip(a, b, i64::wrapping_sub),
        IntegerOp::Multiply => zip(a, b, i64::wrapping_mul),
        IntegerOp::Divide => zip(a, b, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
        IntegerOp::Modulo => zip(a, b, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
    };
    let suspect = match op {
        IntegerOp::Divide | IntegerOp::Modulo => true,
        // Operands of the narrower widths do not overflow 64 bits, so that the result says it all.
        _ if bytes < 8 => out.iter().fold(false, |bad, value| bad | !fits(*value, bytes)),
        IntegerOp::Add => any(a, b, |a, b| a.overflowing_add(b).1),
        IntegerOp::Subtract => any(a, b, |a, b| a.overflowing_sub(b).1),
        IntegerOp::Multiply => any(a, b, |a, b| a.overflowing_mul(b).1),
    };
    if suspect {
        for row in rows.iter() {
            exact(op, a.get(row), b.get(row), bytes)?;
        }
    }
    Ok(out)
}

#[inline(always)]
fn any(a: Operand<'_>, b: Operand<'_>, f: impl Fn(i64, i64) -> bool) -> bool {
    match (a, b) {
        (Operand::Each(a), Operand::Each(b)) => a.iter().zip(b).fold(false, |any, (a, b)| any | f(*a, *b)),
        (Operand::Each(a), Operand::Same(b)) => a.iter().fold(false, |any, a| any | f(*a, b)),
        (Operand::Same(a), Operand::Each(b)) => b.iter().fold(false, |any, b| any | f(a, *b)),
        (Operand::Same(a), Operand::Same(b)) => f(a, b),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn run(op: IntegerOp, bytes: u8, a: &[i64], b: i64, rows: &[usize]) -> Result<Vec<i64>, IntegerFault> {
        let mut set = Selection::none();
        rows.iter().for_each(|row| set.insert(*row));
        integer_arithmetic(op, bytes, Operand::Each(a), Operand::Same(b), &set)
    }

    #[test]
    fn only_rows_that_count_fail() {
        let max = i64::from(i32::MAX);
        assert_eq!(run(IntegerOp::Add, 4, &[1, max], 1, &[0, 1]), Err(IntegerFault::OutOfRange));
        assert_eq!(run(IntegerOp::Add, 4, &[1, max], 1, &[0]).map(|out| out[0]), Ok(2));
        assert_eq!(run(IntegerOp::Add, 8, &[1, i64::MAX], 1, &[1]), Err(IntegerFault::OutOfRange));
        assert_eq!(run(IntegerOp::Divide, 8, &[7, 1], 0, &[0]), Err(IntegerFault::DivisionByZero));
        assert_eq!(run(IntegerOp::Divide, 8, &[7, 1], 0, &[]).map(|out| out.len()), Ok(2));
        assert_eq!(run(IntegerOp::Divide, 8, &[i64::MIN], -1, &[0]), Err(IntegerFault::OutOfRange));
        assert_eq!(run(IntegerOp::Divide, 4, &[i64::from(i32::MIN)], -1, &[0]), Err(IntegerFault::OutOfRange));
        assert_eq!(run(IntegerOp::Modulo, 8, &[i64::MIN, -7], -1, &[0, 1]), Ok(vec![0, 0]));
        assert_eq!(run(IntegerOp::Multiply, 2, &[-181, 182], 181, &[0]).map(|out| out[0]), Ok(-32761));
    }
}
