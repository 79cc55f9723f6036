//! How many values are different in all of a table, by sketches of parts of it.

use crate::columnar::encoding::Sketch;

/// Sketches of the parts that were looked at, and of every other one of them: how the number grows from these to those tells how it goes on.
#[derive(Default)]
pub struct Distinct {
    all: Sketch,
    half: Sketch,
    all_values: f64,
    half_values: f64,
    parts: usize,
}

impl Distinct {
    /// Adds a part of the table with so many values.
    pub fn add(&mut self, sketch: &Sketch, values: f64) {
        self.all.merge(sketch);
        self.all_values += values;
        if self.parts.is_multiple_of(2) {
            self.half.merge(sketch);
            self.half_values += values;
        }
        self.parts += 1;
    }

    /// Different ones among as many values, if the parts are like the rest.
    pub fn estimate(&self, values: f64) -> f64 {
        let seen = self.all.estimate().min(self.all_values);
        if seen < 1.0 || values <= self.all_values {
            return seen.min(values);
        }
        // As a power of the number of values: 0 where all different ones have been met, 1 where each part has its own.
        let before = self.half.estimate().min(self.half_values);
        let exponent = match self.half_values < self.all_values && before >= 1.0 {
            true => ((seen / before).ln() / (self.all_values / self.half_values).ln()).clamp(0.0, 1.0),
            false => 1.0,
        };
        // An error of the sketches is no growth.
        let exponent = if exponent < 0.1 { 0.0 } else { exponent };
        (seen * (values / self.all_values).powf(exponent)).min(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columnar::encoding::{ColumnType, Order};

    fn of(parts: impl Iterator<Item = Vec<u64>>) -> Distinct {
        let mut distinct = Distinct::default();
        for part in parts {
            let mut sketch = Sketch::default();
            let column = ColumnType::fixed(8, Order::Signed);
            part.iter().for_each(|value| sketch.add(&column, &value.to_le_bytes()));
            distinct.add(&sketch, part.len() as f64);
        }
        distinct
    }

    #[test]
    fn unseen_parts_are_like_the_others() {
        let unique = of((0..64).map(|part| (part * 1000..(part + 1) * 1000).collect()));
        assert!((unique.estimate(640_000.0) / 640_000.0 - 1.0).abs() < 0.25, "{}", unique.estimate(640_000.0));
        let same = of((0..64).map(|_| (0..1000).collect()));
        assert!((same.estimate(640_000.0) / 1000.0 - 1.0).abs() < 0.25, "{}", same.estimate(640_000.0));
        let days = of((0..64).map(|part| vec![part; 1000]));
        assert!((days.estimate(640_000.0) / 640.0 - 1.0).abs() < 0.35, "{}", days.estimate(640_000.0));
    }

    #[test]
    fn what_was_seen_is_not_exceeded() {
        let few = of([vec![1, 2, 3]].into_iter());
        assert_eq!(few.estimate(3.0).round(), 3.0);
        assert_eq!(Distinct::default().estimate(10.0), 0.0);
    }
}
