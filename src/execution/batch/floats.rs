//! Arithmetic of floats that raises what PostgreSQL raises.

use super::column::Operand;
use super::integers::zip;
use crate::columnar::encoding::Selection;

/// An operation on floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatOp {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What is wrong with the operands of some row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatFault {
    Overflow,
    Underflow,
    DivisionByZero,
}

#[inline(always)]
fn apply(op: FloatOp, a: f64, b: f64) -> f64 {
    match op {
        FloatOp::Add => a + b,
        FloatOp::Subtract => a - b,
        FloatOp::Multiply => a * b,
        FloatOp::Divide => a / b,
    }
}

/// Whether PostgreSQL lets a result pass.
fn check(op: FloatOp, a: f64, b: f64, result: f64) -> Result<(), FloatFault> {
    if op == FloatOp::Divide && b == 0.0 && !a.is_nan() {
        return Err(FloatFault::DivisionByZero);
    }
    if result.is_infinite() && !a.is_infinite() && !(b.is_infinite() && op != FloatOp::Divide) {
        return Err(FloatFault::Overflow);
    }
    let vanished = match op {
        FloatOp::Multiply => a != 0.0 && b != 0.0,
        FloatOp::Divide => a != 0.0 && !b.is_infinite(),
        FloatOp::Add | FloatOp::Subtract => false,
    };
    if result == 0.0 && vanished { Err(FloatFault::Underflow) } else { Ok(()) }
}

/// The results for all rows, whose faults are those of `rows`, which must not be NULL. With `single` the values are of type `real`.
pub fn float_arithmetic(
    op: FloatOp,
    single: bool,
    a: Operand<'_>,
    b: Operand<'_>,
    rows: &Selection,
) -> Result<Vec<i64>, FloatFault> {
    let out = match (single, op) {
        (true, _) => zip(a, b, |a, b| {
            let result = match op {
                FloatOp::Add => float4(a) + float4(b),
                FloatOp::Subtract => float4(a) - float4(b),
                FloatOp::Multiply => float4(a) * float4(b),
                FloatOp::Divide => float4(a) / float4(b),
            };
            float4_word(result)
        }),
        (_, FloatOp::Add) => zip(a, b, |a, b| double_word(apply(FloatOp::Add, double(a), double(b)))),
        (_, FloatOp::Subtract) => zip(a, b, |a, b| double_word(apply(FloatOp::Subtract, double(a), double(b)))),
        (_, FloatOp::Multiply) => zip(a, b, |a, b| double_word(apply(FloatOp::Multiply, double(a), double(b)))),
        (_, FloatOp::Divide) => zip(a, b, |a, b| double_word(apply(FloatOp::Divide, double(a), double(b)))),
    };
    let value = |word: i64| if single { f64::from(float4(word)) } else { double(word) };
    // Sums can only be wrong if they are infinite or no number; products and quotients also if they are zero.
    let suspect = out.iter().fold(false, |bad, word| {
        let result = value(*word);
        bad | !result.is_finite() | (result == 0.0)
    });
    if suspect {
        for row in rows.iter() {
            let result = out.get(if out.len() == 1 { 0 } else { row }).map_or(0.0, |word| value(*word));
            check(op, value(a.get(row)), value(b.get(row)), result)?;
        }
    }
    Ok(out)
}

/// The `double precision` that a word holds.
#[inline(always)]
pub fn double(word: i64) -> f64 {
    f64::from_bits(word as u64)
}

/// The word that holds a `double precision`.
#[inline(always)]
pub fn double_word(value: f64) -> i64 {
    value.to_bits() as i64
}

/// The `real` that a word holds.
#[inline(always)]
pub fn float4(word: i64) -> f32 {
    f32::from_bits(word as u32)
}

/// The word that holds a `real`, extended as PostgreSQL's datums are.
#[inline(always)]
pub fn float4_word(value: f32) -> i64 {
    i64::from(value.to_bits() as i32)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn run(op: FloatOp, a: f64, b: f64) -> Result<f64, FloatFault> {
        let words = [double_word(a)];
        let out =
            float_arithmetic(op, false, Operand::Each(&words), Operand::Same(double_word(b)), &Selection::first(1))?;
        Ok(double(out[0]))
    }

    #[test]
    fn faults_are_those_of_postgresql() {
        assert_eq!(run(FloatOp::Add, f64::MAX, f64::MAX), Err(FloatFault::Overflow));
        assert_eq!(run(FloatOp::Add, f64::INFINITY, 1.0), Ok(f64::INFINITY));
        assert_eq!(run(FloatOp::Multiply, 1e-200, 1e-200), Err(FloatFault::Underflow));
        assert_eq!(run(FloatOp::Multiply, 0.0, 5.0), Ok(0.0));
        assert_eq!(run(FloatOp::Divide, 1.0, 0.0), Err(FloatFault::DivisionByZero));
        assert!(run(FloatOp::Divide, f64::NAN, 0.0).is_ok_and(f64::is_nan));
        assert_eq!(run(FloatOp::Divide, 1.0, f64::INFINITY), Ok(0.0));
        assert_eq!(run(FloatOp::Divide, 1e-300, 1e300), Err(FloatFault::Underflow));
        assert_eq!(run(FloatOp::Subtract, 1.0, 1.0), Ok(0.0));
    }
}
