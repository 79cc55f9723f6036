//! Aggregates: what each group's rows have added up to.

use super::exact::{Server, Sums};
use super::extreme::Extremes;
pub use super::extreme::Order;
use super::floats::{AllMoments, FloatSums, Moments, Overflow};
use super::wire::Reader;
use super::{OutOfMemory, grow};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, Kind};

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `count(*)`.
    Rows,
    /// `count(x)`.
    Count,
    /// `sum` of `smallint` and `integer`: a `bigint`.
    SumToBigint,
    /// `sum` of `bigint` and `numeric`.
    SumToNumeric,
    /// `avg` of the same and of integers.
    Average,
    /// `sum` of floats.
    FloatSum,
    /// `avg` of floats.
    FloatAverage,
    /// Variance of floats, over the population or the sample, and its root.
    Variance {
        sample: bool,
        root: bool,
    },
    /// `min` and `max`.
    Extreme {
        greatest: bool,
        order: Order,
    },
    /// `bool_and` and `bool_or`.
    Every,
    Any,
}

/// What an aggregate comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Null,
    Word(i64),
    Double(f64),
    /// A value with its header.
    Bytes(Vec<u8>),
    /// A numeric with its header, to be divided by a number.
    Quotient(Vec<u8>, u64),
}

#[derive(Debug)]
enum State {
    Counts(Vec<i64>),
    Sums(Sums),
    FloatSums(FloatSums),
    Moments(AllMoments),
    Extremes(Extremes),
    /// How many values were true, and how many false.
    Truths(Vec<(u64, u64)>),
}

/// One aggregate over all groups.
#[derive(Debug)]
pub struct Aggregate {
    function: Function,
    /// Floats are of type `real`.
    single: bool,
    /// What the server knows it by.
    number: usize,
    state: State,
}

/// Why an aggregate cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    OutOfMemory,
    /// A sum of floats is out of range.
    Overflow,
}

impl From<OutOfMemory> for Trouble {
    fn from(_: OutOfMemory) -> Self {
        Trouble::OutOfMemory
    }
}

impl From<Overflow> for Trouble {
    fn from(_: Overflow) -> Self {
        Trouble::Overflow
    }
}

impl Aggregate {
    /// Without groups. `kind` is that of the argument, if there is one.
    pub fn new(function: Function, kind: Option<Kind>, number: usize) -> Self {
        let state = match function {
            Function::Rows | Function::Count => State::Counts(Vec::new()),
            Function::SumToBigint | Function::SumToNumeric | Function::Average => State::Sums(Sums::default()),
            Function::FloatSum => State::FloatSums(FloatSums::default()),
            Function::FloatAverage | Function::Variance { .. } => State::Moments(AllMoments::default()),
            Function::Extreme { greatest, order } => State::Extremes(Extremes::new(greatest, order)),
            Function::Every | Function::Any => State::Truths(Vec::new()),
        };
        Self { function, single: kind == Some(Kind::Float4), number, state }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        match &self.state {
            State::Counts(counts) => counts.capacity() * 8,
            State::Sums(sums) => sums.memory(),
            State::FloatSums(sums) => sums.0.capacity() * 16,
            State::Moments(moments) => moments.0.capacity() * 24,
            State::Extremes(extremes) => extremes.memory(),
            State::Truths(truths) => truths.capacity() * 16,
        }
    }

    /// Makes room for so many groups.
    pub fn grow(&mut self, groups: usize) -> Result<(), OutOfMemory> {
        match &mut self.state {
            State::Counts(counts) => grow(counts, groups, 0),
            State::Sums(sums) => sums.grow(groups),
            State::FloatSums(sums) => sums.grow(groups),
            State::Moments(moments) => grow(&mut moments.0, groups, Moments::default()),
            State::Extremes(extremes) => extremes.grow(groups),
            State::Truths(truths) => grow(truths, groups, (0, 0)),
        }
    }

    /// Adds the values of rows. `groups` says to which group each belongs; without it all belong to the first.
    pub fn add(
        &mut self,
        column: Option<&Column>,
        rows: &Selection,
        groups: Option<&[u32]>,
        server: &mut dyn Server,
    ) -> Result<(), Trouble> {
        let rows = column.map_or(*rows, |column| rows.and_not(&column.null_rows()));
        match (&mut self.state, column) {
            (State::Counts(counts), _) => count(counts, &rows, groups),
            (State::Sums(sums), Some(column)) => sums.add(column, &rows, groups, server),
            (State::FloatSums(sums), Some(column)) => {
                if let Some(words) = column.words() {
                    sums.add(words, self.single, &rows, groups)?;
                }
            }
            (State::Moments(moments), Some(column)) => {
                if let Some(words) = column.words() {
                    moments.add(words, self.single, &rows, groups)?;
                }
            }
            (State::Extremes(extremes), Some(column)) => extremes.add(column, &rows, groups, self.number, server),
            (State::Truths(truths), Some(column)) => {
                let truth = column.true_rows();
                for row in rows.iter() {
                    let group = groups.map_or(0, |groups| groups[row]);
                    if let Some((yes, no)) = truths.get_mut(group as usize) {
                        *(if truth.contains(row) { yes } else { no }) += 1;
                    }
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// What a group comes to.
    pub fn outcome(&self, group: usize, server: &mut dyn Server) -> Outcome {
        match &self.state {
            State::Counts(counts) => Outcome::Word(counts.get(group).copied().unwrap_or(0)),
            State::Sums(sums) => match (sums.count(group), self.function) {
                (0, _) => Outcome::Null,
                (_, Function::SumToBigint) => Outcome::Word(sums.integer(group)),
                (count, Function::Average) => Outcome::Quotient(sums.numeric(group, server), count),
                _ => Outcome::Bytes(sums.numeric(group, server)),
            },
            State::FloatSums(sums) => sums.0.get(group).copied().flatten().map_or(Outcome::Null, Outcome::Double),
            State::Moments(moments) => moments.0.get(group).map_or(Outcome::Null, |moments| self.moment(moments)),
            State::Extremes(extremes) => match extremes.value(group) {
                None => Outcome::Null,
                Some(Ok(word)) => Outcome::Word(word),
                Some(Err(bytes)) => Outcome::Bytes(bytes),
            },
            State::Truths(truths) => match (truths.get(group).copied().unwrap_or_default(), self.function) {
                ((0, 0), _) => Outcome::Null,
                ((_, no), Function::Every) => Outcome::Word((no == 0).into()),
                ((yes, _), _) => Outcome::Word((yes > 0).into()),
            },
        }
    }

    fn moment(&self, moments: &Moments) -> Outcome {
        let Function::Variance { sample, root } = self.function else {
            return if moments.count > 0.0 { Outcome::Double(moments.sum / moments.count) } else { Outcome::Null };
        };
        let degrees = if sample { moments.count - 1.0 } else { moments.count };
        if degrees <= 0.0 {
            return Outcome::Null;
        }
        let variance = moments.squares / degrees;
        Outcome::Double(if root { variance.sqrt() } else { variance })
    }

    /// Appends what a group has come to so far, for [`Self::merge`].
    pub fn save(&self, group: usize, out: &mut Vec<u8>) {
        let mut words = |words: &[u64]| words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        match &self.state {
            State::Counts(counts) => words(&[counts.get(group).copied().unwrap_or(0) as u64]),
            State::Sums(sums) => sums.save(group, out),
            State::FloatSums(sums) => {
                let sum = sums.0.get(group).copied().flatten();
                words(&[sum.is_some().into(), sum.unwrap_or(0.0).to_bits()]);
            }
            State::Moments(moments) => {
                let Moments { count, sum, squares } = moments.0.get(group).copied().unwrap_or_default();
                words(&[count, sum, squares].map(f64::to_bits));
            }
            State::Extremes(extremes) => extremes.save(group, out),
            State::Truths(truths) => {
                let (yes, no) = truths.get(group).copied().unwrap_or_default();
                words(&[yes, no]);
            }
        }
    }

    /// Adds what [`Self::save`] wrote to a group. `Ok(None)` if these are no such bytes.
    pub fn merge(&mut self, group: u32, from: &mut Reader<'_>, server: &mut dyn Server) -> Result<Option<()>, Trouble> {
        let place = group as usize;
        Ok(match &mut self.state {
            State::Counts(counts) => from.word().zip(counts.get_mut(place)).map(|(count, sum)| *sum += count),
            State::Sums(sums) => sums.merge(group, from, server),
            State::FloatSums(sums) => {
                let (Some(some), Some(bits)) = (from.word(), from.word()) else { return Ok(None) };
                let other = (some != 0).then_some(f64::from_bits(bits as u64));
                let Some(sum) = sums.0.get_mut(place) else { return Ok(None) };
                *sum = match (*sum, other) {
                    (Some(a), Some(b)) => {
                        let total = if self.single { f64::from(a as f32 + b as f32) } else { a + b };
                        if total.is_infinite() && !a.is_infinite() && !b.is_infinite() {
                            return Err(Trouble::Overflow);
                        }
                        Some(total)
                    }
                    (known, other) => known.or(other),
                };
                Some(())
            }
            State::Moments(moments) => {
                let mut next = || from.word().map(|bits| f64::from_bits(bits as u64));
                let (Some(count), Some(sum), Some(squares)) = (next(), next(), next()) else { return Ok(None) };
                let Some(known) = moments.0.get_mut(place) else { return Ok(None) };
                if !known.merge(&Moments { count, sum, squares }) {
                    return Err(Trouble::Overflow);
                }
                Some(())
            }
            State::Extremes(extremes) => extremes.merge(group, from, self.number, server),
            State::Truths(truths) => {
                let (Some(yes), Some(no)) = (from.word(), from.word()) else { return Ok(None) };
                truths.get_mut(place).map(|known| *known = (known.0 + yes as u64, known.1 + no as u64))
            }
        })
    }
}

fn count(counts: &mut [i64], rows: &Selection, groups: Option<&[u32]>) {
    match groups {
        None => counts.iter_mut().take(1).for_each(|count| *count += rows.count() as i64),
        Some(groups) => {
            for row in rows.iter() {
                if let Some(count) = counts.get_mut(groups[row] as usize) {
                    *count += 1;
                }
            }
        }
    }
}
