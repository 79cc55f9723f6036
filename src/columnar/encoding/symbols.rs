//! A table of symbols: byte sequences of one to eight bytes for which codes of one byte stand.

use super::bytes::{Cursor, reserve};
use super::{EncodingError, Result};

const WHAT: &str = "symbol table";

/// The code behind which a byte follows that stands for itself.
pub(super) const ESCAPE: u8 = 0xff;
/// Most symbols that codes are left for.
pub(super) const MAX_SYMBOLS: usize = ESCAPE as usize;
/// Bytes of the longest symbol.
pub(super) const MAX_SYMBOL_LEN: usize = 8;

/// Codes that are expanded between two looks at how much room there is.
const STEP: usize = 8;
/// Bytes that expanding may write beyond the last symbol: whole words are written, for that needs no loop.
pub(super) const SLACK: usize = STEP * MAX_SYMBOL_LEN;

/// Symbols by their codes, which grow with the symbols' lengths.
#[derive(Debug)]
pub(super) struct SymbolTable {
    symbols: [[u8; MAX_SYMBOL_LEN]; 256],
    /// Lengths; 0 for the escape and for codes without a symbol.
    lens: [u8; 256],
}

impl Default for SymbolTable {
    fn default() -> Self {
        SymbolTable { symbols: [[0; MAX_SYMBOL_LEN]; 256], lens: [0; 256] }
    }
}

impl SymbolTable {
    /// Appends symbols with their lengths, which have to be sorted by length: how many there are of each, then the symbols.
    pub fn put(symbols: &[(u8, [u8; MAX_SYMBOL_LEN])], out: &mut Vec<u8>) -> Result<()> {
        reserve(out, MAX_SYMBOL_LEN * (1 + symbols.len()))?;
        out.extend(
            (1..=MAX_SYMBOL_LEN as u8).map(|wanted| symbols.iter().filter(|(len, _)| *len == wanted).count() as u8),
        );
        symbols.iter().for_each(|(len, symbol)| out.extend(symbol.iter().take(usize::from(*len))));
        Ok(())
    }

    /// Reads a table: how many symbols there are of each length, then the symbols.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.lens = [0; 256];
        let counts = cursor.bytes(MAX_SYMBOL_LEN)?;
        if counts.iter().map(|count| usize::from(*count)).sum::<usize>() > MAX_SYMBOLS {
            return Err(EncodingError::inconsistent(WHAT, "it has more symbols than codes"));
        }
        let lens = (1..).zip(counts).flat_map(|(len, count)| std::iter::repeat_n(len, usize::from(*count)));
        for ((symbol, slot), len) in self.symbols.iter_mut().zip(&mut self.lens).zip(lens) {
            let bytes = cursor.bytes(usize::from(len))?;
            *symbol = [0; MAX_SYMBOL_LEN];
            symbol.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            *slot = len;
        }
        Ok(())
    }

    /// Writes what the codes stand for to the front of `out`, which has to be [`SLACK`] bytes longer than what they are expected to stand
    /// for; returns how many bytes they do.
    pub fn expand(&self, codes: &[u8], out: &mut [u8]) -> Result<usize> {
        let (mut rest, mut end) = (codes, 0);
        while !rest.is_empty() {
            let room = out.get_mut(end..).and_then(|room| room.first_chunk_mut::<SLACK>());
            let room = room.ok_or(EncodingError::inconsistent(WHAT, "codes stand for more than they should"))?;
            let (taken, written) = match rest.first_chunk::<STEP>() {
                Some(step) => self.expand_step(step, room),
                None => (0, 0),
            };
            let (taken, written) = if taken > 0 { (taken, written) } else { self.expand_one(rest, room)? };
            rest = rest.get(taken..).unwrap_or_default();
            end += written;
        }
        Ok(end)
    }

    /// Expands codes up to the first one that is no symbol's. Returns how many, and how many bytes they stand for.
    #[inline]
    fn expand_step(&self, codes: &[u8; STEP], room: &mut [u8; SLACK]) -> (usize, usize) {
        let mut end = 0;
        for (index, code) in codes.iter().enumerate() {
            let len = self.lens[usize::from(*code)];
            if len == 0 {
                return (index, end);
            }
            if let Some(place) = room.get_mut(end..end + MAX_SYMBOL_LEN) {
                place.copy_from_slice(&self.symbols[usize::from(*code)]);
            }
            end += usize::from(len);
        }
        (STEP, end)
    }

    /// Expands the first code, whatever it is.
    fn expand_one(&self, codes: &[u8], room: &mut [u8; SLACK]) -> Result<(usize, usize)> {
        let missing = EncodingError::inconsistent(WHAT, "a code has no symbol");
        match *codes {
            [ESCAPE, byte, ..] => {
                room[0] = byte;
                Ok((2, 1))
            }
            [code, ..] if self.lens[usize::from(code)] > 0 => {
                let (place, _) = room.split_first_chunk_mut().ok_or(missing)?;
                *place = self.symbols[usize::from(code)];
                Ok((1, self.lens[usize::from(code)].into()))
            }
            _ => Err(missing),
        }
    }
}
