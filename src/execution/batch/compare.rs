//! Comparisons.

use super::column::{Decimals, Operand};
use super::decimals::rescaled;
use crate::columnar::encoding::Selection;
use std::cmp::Ordering;

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    NotEqual,
}

impl Comparison {
    /// Whether it is true of values in this order.
    #[inline]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Equal => order.is_eq(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Greater => order.is_gt(),
            Comparison::NotEqual => order.is_ne(),
        }
    }
}

/// The rows, of as many, in which a condition on both values holds.
#[inline(always)]
fn select(a: Operand<'_>, b: Operand<'_>, rows: usize, holds: impl Fn(i64, i64) -> bool) -> Selection {
    let mut words = [0u64; 16];
    match (a, b) {
        (Operand::Each(a), Operand::Each(b)) => {
            for (word, (a, b)) in words.iter_mut().zip(a.chunks(64).zip(b.chunks(64))) {
                *word = a.iter().zip(b).enumerate().fold(0, |w, (bit, (a, b))| w | u64::from(holds(*a, *b)) << bit);
            }
        }
        (Operand::Each(a), Operand::Same(b)) => {
            for (word, a) in words.iter_mut().zip(a.chunks(64)) {
                *word = a.iter().enumerate().fold(0, |w, (bit, a)| w | u64::from(holds(*a, b)) << bit);
            }
        }
        (Operand::Same(a), Operand::Each(b)) => {
            for (word, b) in words.iter_mut().zip(b.chunks(64)) {
                *word = b.iter().enumerate().fold(0, |w, (bit, b)| w | u64::from(holds(a, *b)) << bit);
            }
        }
        (Operand::Same(a), Operand::Same(b)) => {
            return if holds(a, b) { Selection::first(rows) } else { Selection::none() };
        }
    }
    Selection::from_words(words)
}

/// Rows in which a comparison of integers is true. NULLs are the caller's business.
pub fn compare_words(op: Comparison, a: Operand<'_>, b: Operand<'_>, rows: usize) -> Selection {
    match op {
        Comparison::Less => select(a, b, rows, |a, b| a < b),
        Comparison::LessOrEqual => select(a, b, rows, |a, b| a <= b),
        Comparison::Equal => select(a, b, rows, |a, b| a == b),
        Comparison::GreaterOrEqual => select(a, b, rows, |a, b| a >= b),
        Comparison::Greater => select(a, b, rows, |a, b| a > b),
        Comparison::NotEqual => select(a, b, rows, |a, b| a != b),
    }
}

/// The same of floats, of which both sides give the value in a row: NaN equals NaN and is greatest.
pub fn compare_doubles(op: Comparison, a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64, rows: usize) -> Selection {
    let mut words = [0u64; 16];
    for row in 0..rows {
        words[row / 64 % 16] |= u64::from(op.holds(double_order(a(row), b(row)))) << (row % 64);
    }
    Selection::from_words(words)
}

/// The order of floats in PostgreSQL.
#[inline]
pub fn double_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Rows in which a comparison of decimals is true.
pub fn compare_decimals(
    op: Comparison,
    (a, a_values): (&Decimals, Operand<'_>),
    (b, b_values): (&Decimals, Operand<'_>),
    rows: usize,
) -> Selection {
    if a.scale == b.scale {
        return compare_words(op, a_values, b_values, rows);
    }
    let scale = a.scale.max(b.scale);
    let scaled = (rescaled(a, a_values, scale), rescaled(b, b_values, scale));
    if let (Some(a), Some(b)) = &scaled {
        return compare_words(op, a.operand(), b.operand(), rows);
    }
    let wide = |value: i64, from: u8| i128::from(value) * 10i128.pow(u32::from(scale - from));
    let mut set = Selection::none();
    for row in 0..rows {
        let order = wide(a_values.get(row), a.scale).cmp(&wide(b_values.get(row), b.scale));
        if op.holds(order) {
            set.insert(row);
        }
    }
    set
}

/// Rows of a selection in which a comparison of bytes, as unsigned, is true.
pub fn compare_bytes<'a>(
    op: Comparison,
    rows: &Selection,
    a: impl Fn(usize) -> &'a [u8],
    b: impl Fn(usize) -> &'a [u8],
) -> Selection {
    let mut set = Selection::none();
    for row in rows.iter() {
        if op.holds(a(row).cmp(b(row))) {
            set.insert(row);
        }
    }
    set
}
