//! Which form makes the floating-point numbers of a vector shortest.

use super::alp::{self, Float};
use super::alp_rd;
use super::bytes::reserve;
use super::encode::Source;
use super::integers::{self, IntegerScratch};
use super::numbers::{floats, load_integers};
use super::{Encoding, Result};

/// Numbers that ALP makes so many times shorter are not looked at again.
const WELL_PACKED: usize = 3;

/// Buffers for encoding.
#[derive(Debug, Default)]
pub(super) struct FloatEncoder {
    integers: Vec<i64>,
    bits: Vec<u64>,
    words: Vec<u64>,
    scratch: IntegerScratch,
}

impl FloatEncoder {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        (self.integers.capacity() + self.bits.capacity() + self.words.capacity()) * 8 + self.scratch.memory()
    }

    /// Appends the numbers in the shortest form.
    pub fn encode<F: Float, const LEN: usize>(
        &mut self,
        source: &Source<'_>,
        of: impl Fn([u8; LEN]) -> F,
        out: &mut Vec<u8>,
    ) -> Result<Encoding> {
        let values = floats(source, of)?;
        let start = out.len();
        let mut best = Encoding::Alp;
        if !alp::encode(&values, &mut self.integers, &mut self.scratch, out)? {
            best = Encoding::Plain;
            reserve(out, source.data.len())?;
            out.extend_from_slice(source.data);
        }
        if (out.len() - start) * WELL_PACKED <= source.data.len() {
            return Ok(best);
        }
        // Numbers that were calculated from few values, and numbers in runs, are no decimals but as short as those.
        load_integers(source, &mut self.integers)?;
        let middle = out.len();
        integers::encode(&self.integers, &mut self.scratch, out)?;
        best = shorter(out, start, middle, best, Encoding::Integers);
        if LEN == 8 {
            let middle = out.len();
            self.bits.clear();
            reserve(&mut self.bits, values.len())?;
            self.bits.extend(values.iter().map(|value| value.bits()));
            if alp_rd::encode(&self.bits, &mut self.words, out)? {
                best = shorter(out, start, middle, best, Encoding::AlpRd);
            }
        }
        Ok(best)
    }
}

/// Leaves one of two forms: that from `start` to `middle`, or the other one behind it if it is shorter.
fn shorter(out: &mut Vec<u8>, start: usize, middle: usize, first: Encoding, second: Encoding) -> Encoding {
    if out.len() - middle < middle - start {
        out.drain(start..middle);
        second
    } else {
        out.truncate(middle);
        first
    }
}
