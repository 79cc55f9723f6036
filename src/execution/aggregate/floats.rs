//! Sums and moments of floats.

use super::{OutOfMemory, grow};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Operand, double, float4};

/// What is known of the floats of a group: number, sum, and sum of squared differences from the mean, which is kept up to date by the
/// method of Youngs and Cramer (1971), as PostgreSQL does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    pub count: f64,
    pub sum: f64,
    pub squares: f64,
}

impl Moments {
    /// Adds a value. False if the sum or the squares overflow.
    #[inline]
    fn add(&mut self, value: f64) -> bool {
        let before = *self;
        self.count += 1.0;
        self.sum += value;
        if before.count > 0.0 {
            let difference = value * self.count - self.sum;
            self.squares += difference * difference / (self.count * before.count);
            if self.sum.is_infinite() || self.squares.is_infinite() {
                let input_finite = !before.sum.is_infinite() && !value.is_infinite();
                self.squares = f64::NAN;
                return !input_finite;
            }
        } else if value.is_nan() || value.is_infinite() {
            self.squares = f64::NAN;
        }
        true
    }
}

impl Moments {
    /// Combines both, after Chan, Golub and LeVeque (1979). False if that overflows.
    pub fn merge(&mut self, other: &Moments) -> bool {
        if self.count == 0.0 || other.count == 0.0 {
            if self.count == 0.0 {
                *self = *other;
            }
            return true;
        }
        let count = self.count + other.count;
        let sum = self.sum + other.sum;
        let difference = self.sum / self.count - other.sum / other.count;
        let squares = self.squares + other.squares + self.count * other.count * difference * difference / count;
        let overflow = |result: f64, a: f64, b: f64| result.is_infinite() && !a.is_infinite() && !b.is_infinite();
        let fine = !overflow(sum, self.sum, other.sum) && !overflow(squares, self.squares, other.squares);
        *self = Moments { count, sum, squares };
        fine
    }
}

/// Moments by group.
#[derive(Debug, Default)]
pub struct AllMoments(pub Vec<Moments>);

/// A sum overflowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// Hands out the floats of rows with their groups until one overflows; `single` says that they are of type `real`.
fn add_each(
    values: Operand<'_>,
    single: bool,
    rows: &Selection,
    groups: Option<&[u32]>,
    mut add: impl FnMut(usize, f64) -> bool,
) -> Result<(), Overflow> {
    for row in rows.iter() {
        let group = groups.map_or(0, |groups| groups[row]);
        let word = values.get(row);
        let value = if single { f64::from(float4(word)) } else { double(word) };
        if !add(group as usize, value) {
            return Err(Overflow);
        }
    }
    Ok(())
}

impl AllMoments {
    /// Adds values that are not NULL.
    pub fn add(
        &mut self,
        values: Operand<'_>,
        single: bool,
        rows: &Selection,
        groups: Option<&[u32]>,
    ) -> Result<(), Overflow> {
        add_each(values, single, rows, groups, |group, value| {
            self.0.get_mut(group).is_none_or(|moments| moments.add(value))
        })
    }
}

/// Sums by group: `None` while there is no value.
#[derive(Debug, Default)]
pub struct FloatSums(pub Vec<Option<f64>>);

impl FloatSums {
    /// Makes room for so many groups.
    pub fn grow(&mut self, groups: usize) -> Result<(), OutOfMemory> {
        grow(&mut self.0, groups, None)
    }

    /// Adds values that are not NULL. With `single` they and the sums are of type `real`.
    pub fn add(
        &mut self,
        values: Operand<'_>,
        single: bool,
        rows: &Selection,
        groups: Option<&[u32]>,
    ) -> Result<(), Overflow> {
        add_each(values, single, rows, groups, |group, value| {
            let Some(sum) = self.0.get_mut(group) else { return true };
            let result = match *sum {
                None => value,
                Some(known) if single => f64::from(known as f32 + value as f32),
                Some(known) => known + value,
            };
            let known_finite = sum.is_none_or(|known| !known.is_infinite());
            *sum = Some(result);
            !(result.is_infinite() && !value.is_infinite() && known_finite)
        })
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn moments_are_those_of_the_values() {
        let values = [1.0, 2.0, 4.0, 7.0];
        let words: Vec<i64> = values.iter().map(|value: &f64| value.to_bits() as i64).collect();
        let mut moments = AllMoments(vec![Moments::default()]);
        assert_eq!(moments.add(Operand::Each(&words), false, &Selection::first(4), None), Ok(()));
        assert_eq!(moments.0[0].sum, 14.0);
        assert!((moments.0[0].squares - 21.0).abs() < 1e-12);
    }

    #[test]
    fn overflow_is_told_from_infinity() {
        let sum = |values: [f64; 2]| {
            let words = values.map(|value| value.to_bits() as i64);
            let mut sums = FloatSums(vec![None]);
            sums.add(Operand::Each(&words), false, &Selection::first(2), None).map(|()| sums.0[0])
        };
        assert_eq!(sum([f64::MAX, f64::MAX]), Err(Overflow));
        assert_eq!(sum([f64::INFINITY, 1.0]), Ok(Some(f64::INFINITY)));
        assert_eq!(sum([1.5, 2.0]), Ok(Some(3.5)));
    }
}
