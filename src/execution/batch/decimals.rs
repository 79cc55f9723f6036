//! Arithmetic of decimals: exact, or not at all.

use super::column::{Column, Decimals, Operand, Values};
use super::integers::zip;
use crate::columnar::encoding::{Decimal, Selection};

/// An operation whose result is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exact {
    Add,
    Subtract,
    Multiply,
}

/// Decimals with another scale.
pub enum Rescaled<'a> {
    Borrowed(Operand<'a>),
    Each(Vec<i64>),
    Same(i64),
}

impl Rescaled<'_> {
    /// The integers.
    pub fn operand(&self) -> Operand<'_> {
        match self {
            Rescaled::Borrowed(operand) => *operand,
            Rescaled::Each(values) => Operand::Each(values),
            Rescaled::Same(value) => Operand::Same(*value),
        }
    }
}

/// Integers with more decimal places; `None` if one might need more than 64 bits.
pub fn rescaled<'a>(decimals: &Decimals, values: Operand<'a>, scale: u8) -> Option<Rescaled<'a>> {
    if decimals.scale == scale {
        return Some(Rescaled::Borrowed(values));
    }
    let factor = 10i64.checked_pow(u32::from(scale.checked_sub(decimals.scale)?))?;
    decimals.low.checked_mul(factor)?;
    decimals.high.checked_mul(factor)?;
    Some(match values {
        Operand::Each(values) => Rescaled::Each(values.iter().map(|value| value * factor).collect()),
        Operand::Same(value) => Rescaled::Same(value.checked_mul(factor)?),
    })
}

/// The sum, difference or product of two columns as PostgreSQL's numerics have it: a sum has the larger scale, a product both together.
/// `None` if a column has no decimals, values are shown with different scales, or the bounds do not rule out that a result is more than a decimal
/// can be.
pub fn combine_decimals(op: Exact, a: &Column, b: &Column, nulls: Selection) -> Option<Column> {
    let ((left, left_values), (right, right_values)) = (a.decimals()?, b.decimals()?);
    if left.shown.is_some() || right.shown.is_some() {
        return None;
    }
    let same = a.same && b.same;
    let (integers, scale, low, high) = match op {
        Exact::Multiply => {
            let corners =
                [(left.low, right.low), (left.low, right.high), (left.high, right.low), (left.high, right.high)];
            let mut bounds = (i64::MAX, i64::MIN);
            for (x, y) in corners {
                let corner = x.checked_mul(y)?;
                bounds = (bounds.0.min(corner), bounds.1.max(corner));
            }
            let scale = left.scale.checked_add(right.scale)?;
            (zip(left_values, right_values, |x, y| x.wrapping_mul(y)), scale, bounds.0, bounds.1)
        }
        Exact::Add | Exact::Subtract => {
            let scale = left.scale.max(right.scale);
            let factor = |own: u8| 10i64.checked_pow(u32::from(scale - own));
            let (f, g) = (factor(left.scale)?, factor(right.scale)?);
            let (x, y) = (rescaled(left, left_values, scale)?, rescaled(right, right_values, scale)?);
            let (x, y) = (x.operand(), y.operand());
            let (least, most) = (left.low.checked_mul(f)?, left.high.checked_mul(f)?);
            let (other_least, other_most) = (right.low.checked_mul(g)?, right.high.checked_mul(g)?);
            if op == Exact::Add {
                let bounds = (least.checked_add(other_least)?, most.checked_add(other_most)?);
                (zip(x, y, |x, y| x.wrapping_add(y)), scale, bounds.0, bounds.1)
            } else {
                let bounds = (least.checked_sub(other_most)?, most.checked_sub(other_least)?);
                (zip(x, y, |x, y| x.wrapping_sub(y)), scale, bounds.0, bounds.1)
            }
        }
    };
    // What cannot be written as a decimal is PostgreSQL's business, for it may go to a function, or be a key.
    let written = [low, high].iter().all(|value| Decimal { value: *value, scale }.is_small());
    written.then_some(Column {
        values: Values::Decimals(Decimals { integers, scale, low, high, shown: None }),
        nulls,
        same,
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    fn column(integers: &[i64], scale: u8) -> Column {
        let same = integers.len() == 1;
        Column { values: Values::Decimals(Decimals::new(integers.to_vec(), scale)), nulls: Selection::none(), same }
    }

    fn result(op: Exact, a: &Column, b: &Column) -> Option<(Vec<i64>, u8)> {
        let column = combine_decimals(op, a, b, Selection::none())?;
        let (decimals, _) = column.decimals()?;
        assert!(decimals.integers.iter().all(|value| (decimals.low..=decimals.high).contains(value)));
        Some((decimals.integers.clone(), decimals.scale))
    }

    #[test]
    fn scales_are_those_of_numeric() {
        let (price, discount, one) = (column(&[1050, 200], 2), column(&[5, 10], 2), column(&[1], 0));
        assert_eq!(result(Exact::Subtract, &one, &discount), Some((vec![95, 90], 2)));
        assert_eq!(result(Exact::Multiply, &price, &discount), Some((vec![5250, 2000], 4)));
        assert_eq!(result(Exact::Add, &price, &column(&[1, 2], 3)), Some((vec![10501, 2002], 3)));
    }

    #[test]
    fn what_may_overflow_is_left_alone() {
        let (large, two) = (column(&[i64::MAX / 2, 1], 0), column(&[2], 0));
        assert_eq!(result(Exact::Multiply, &large, &two), Some((vec![i64::MAX - 1, 2], 0)));
        assert_eq!(result(Exact::Multiply, &large, &column(&[3], 0)), None);
        // It fits 64 bits, but not with its digits in groups of four.
        assert_eq!(result(Exact::Multiply, &large, &column(&[2], 3)), None);
        assert_eq!(result(Exact::Multiply, &column(&[1, 2], 10), &column(&[1], 9)), None);
        assert_eq!(result(Exact::Add, &large, &column(&[0], 18)), None);
        assert_eq!(result(Exact::Subtract, &column(&[i64::MIN, 0], 0), &two), None);
    }
}
