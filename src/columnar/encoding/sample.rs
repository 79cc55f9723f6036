//! A sample of a stripe's rows, for statistics. Each row of as many has the same chance, and those that are chosen lie evenly over the
//! stripe: of each stretch of rows one is taken. The longer the stripe gets the longer are the stretches.

use super::Result;
use super::column::Meter;
use super::encode::Source;
use super::sketch::mix;
use super::types::MAX_VECTOR_ROWS;

/// Rows of the first stretches.
const FIRST_STRETCH: u64 = 8;
/// Most rows that are held, of a table of few columns; those of a wide one share the room.
const MAX_HELD: usize = 2 * MAX_VECTOR_ROWS;
const MIN_HELD: usize = 256;
const HELD_VALUES: usize = 1 << 18;

/// Of a stripe with as many rows for each, one row is in the sample, which takes a like share of the stripe's bytes.
const ROWS_FOR_ONE: usize = 64;
/// Fewer rows say nothing.
const MIN_SAMPLE: usize = 64;

/// Longer values are not kept: they are seldom equal, and take room.
const MAX_WIDTH: usize = 1024;

/// Chooses rows.
#[derive(Debug)]
pub(super) struct Sampler {
    limit: usize,
    stretch: u64,
    /// Rows of the closed vectors.
    seen: u64,
    /// Where the present stretch starts and which row of it is taken.
    start: u64,
    taken: u64,
    state: u64,
    /// Rows that are held.
    held: usize,
    picks: Vec<u16>,
    keep: Vec<bool>,
}

impl Sampler {
    pub fn new(columns: usize) -> Self {
        Sampler {
            limit: (HELD_VALUES / columns.max(1)).clamp(MIN_HELD, MAX_HELD),
            stretch: FIRST_STRETCH,
            seen: 0,
            start: 0,
            taken: 0,
            state: 0,
            held: 0,
            picks: Vec::new(),
            keep: Vec::new(),
        }
    }

    /// A number below `limit`. The sequence follows from the first row's number: the same rows make the same stripe, and values that repeat with
    /// the length of a stripe are not met at the same places in each.
    fn random(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state) % limit.max(1)
    }

    /// Chooses among the rows of the next vector, whose first one has the number.
    pub fn choose(&mut self, number: u64, rows: usize) {
        self.picks.clear();
        if self.seen == 0 {
            self.state = mix(number);
            self.taken = self.random(self.stretch);
        }
        let end = self.seen + rows as u64;
        while self.taken < end {
            self.picks.push((self.taken - self.seen) as u16);
            self.start += self.stretch;
            self.taken = self.start + self.random(self.stretch);
        }
        self.held += self.picks.len();
        self.seen = end;
    }

    /// The rows of the vector that were chosen.
    pub fn picks(&self) -> &[u16] {
        &self.picks
    }

    /// Once too many rows are held, says which of them stay: one of each two.
    pub fn thin_out(&mut self) -> Option<&[bool]> {
        if self.held < self.limit {
            return None;
        }
        self.keep.clear();
        for _ in 0..self.held.div_ceil(2) {
            let first = self.random(2) == 0;
            self.keep.extend([first, !first]);
        }
        self.keep.truncate(self.held);
        self.held = self.keep.iter().filter(|keep| **keep).count();
        self.stretch *= 2;
        Some(&self.keep)
    }

    /// Says which of the rows that are held make up the sample of the whole stripe.
    pub fn conclude(&mut self) -> &[bool] {
        let wanted = (self.seen as usize / ROWS_FOR_ONE).clamp(MIN_SAMPLE, MAX_VECTOR_ROWS).min(self.held);
        self.keep.clear();
        self.keep.resize(self.held, false);
        for index in 0..wanted {
            let (start, end) = (index * self.held / wanted, (index + 1) * self.held / wanted);
            let chosen = start + self.random((end - start) as u64) as usize;
            if let Some(keep) = self.keep.get_mut(chosen) {
                *keep = true;
            }
        }
        &self.keep
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.picks.capacity() * 2 + self.keep.capacity()
    }
}

/// A value of the sample.
#[derive(Debug, Clone, Copy)]
enum Picked {
    Null,
    /// Too long to be kept.
    Wide,
    At {
        start: u32,
        len: u16,
    },
}

/// The values of one column in the rows of the sample.
#[derive(Debug, Default)]
pub(super) struct SampledValues {
    data: Vec<u8>,
    picked: Vec<Picked>,
}

impl SampledValues {
    /// Takes the values of the chosen rows of a vector.
    pub fn take(&mut self, source: &Source<'_>, picks: &[u16], meter: &mut Meter) -> Result<()> {
        meter.reserve(&mut self.picked, picks.len())?;
        for pick in picks {
            let picked = match source.value(usize::from(*pick)) {
                None => Picked::Null,
                Some(value) if value.len() > MAX_WIDTH => Picked::Wide,
                Some(value) => {
                    meter.reserve(&mut self.data, value.len())?;
                    let start = self.data.len() as u32;
                    self.data.extend_from_slice(value);
                    Picked::At { start, len: value.len() as u16 }
                }
            };
            self.picked.push(picked);
        }
        Ok(())
    }

    /// Keeps the values of some rows.
    pub fn retain(&mut self, keep: &[bool]) {
        let mut end = 0;
        let data = &mut self.data;
        let mut marks = keep.iter();
        self.picked.retain_mut(|picked| {
            let keep = marks.next() == Some(&true);
            if keep && let Picked::At { start, len } = picked {
                let from = *start as usize;
                data.copy_within(from..from + usize::from(*len), end);
                *start = end as u32;
                end += usize::from(*len);
            }
            keep
        });
        data.truncate(end);
    }

    /// The values, `None` for NULLs and for those that are not kept.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.picked.iter().map(|picked| match picked {
            Picked::At { start, len } => self.data.get(*start as usize..*start as usize + usize::from(*len)),
            Picked::Null | Picked::Wide => None,
        })
    }

    /// How many values are not kept.
    pub fn wide(&self) -> u16 {
        self.picked.iter().filter(|picked| matches!(picked, Picked::Wide)).count() as u16
    }
}
