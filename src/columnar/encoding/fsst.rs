//! Texts as codes for the byte sequences that occur most often in them: FSST (Boncz, Neumann and Leis, "FSST: Fast Random Access String
//! Compression", VLDB 2020).
//!
//! The crate `fsst` finds the symbols of a vector and replaces them by codes. That is expanded once before it is used, so a mistake there
//! costs room and not values. Reading (`fsst_decode.rs`) does without the crate, whose own decoder panics where bytes are damaged.

use fsst::{Compressor, CompressorParts, Symbol};

use super::Result;
use super::aligned::AlignedBuf;
use super::bytes::{Cursor, reserve, with_capacity};
use super::encode::Source;
use super::fsst_decode::{COMPRESSED, LONG, SHORT, WHAT};
use super::integers::{self, IntegerScratch};
use super::patience::Patience;
use super::symbols::{ESCAPE, MAX_SYMBOL_LEN, MAX_SYMBOLS, SLACK, SymbolTable};

/// Vectors with fewer bytes do not win back what a table takes, ones with more hold a large value, which is not copied for an attempt.
const INPUT: std::ops::RangeInclusive<usize> = 256..=16 << 20;

/// Values that the crate compresses in turn, which keeps the processor busy.
const LANES: usize = Compressor::DEFAULT_BULK_LANES;
/// A value without its header, and which one that was; `None` if the header is none of a value's.
fn split(value: &[u8]) -> Option<(i64, &[u8])> {
    match *value.first()? {
        0x01 => None,
        short if short & 1 == 1 => Some((SHORT, value.get(1..)?)),
        long => Some((if long & 2 == 0 { LONG } else { COMPRESSED }, value.get(4..)?)),
    }
}

/// What a column's vectors have taught. To find symbols takes far longer than to use them, and what suits a vector mostly suits the next.
#[derive(Default)]
pub(super) struct Lessons {
    last: Option<Box<Lesson>>,
    /// Whether it pays to look for others where they do not suit.
    patience: Patience,
}

impl std::fmt::Debug for Lessons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lessons").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// The symbols of a vector, and how many codes stood for how many bytes there.
struct Lesson {
    parts: CompressorParts,
    codes: usize,
    contents: usize,
}

impl Lesson {
    /// Symbols and their lengths, by the crate's codes.
    fn symbols(&self) -> (&[Symbol], &[u8]) {
        let count = usize::from(self.parts.n_symbols);
        let symbols = self.parts.symbols.get(..count).unwrap_or_default();
        (symbols, self.parts.lengths.get(..count).unwrap_or_default())
    }
}

/// Buffers for writing.
#[derive(Debug, Default)]
pub(super) struct FsstEncoder {
    kinds: Vec<i64>,
    lens: Vec<i64>,
    codes: Vec<u8>,
    ends: Vec<u64>,
    /// Symbols with their lengths, in the order of their codes.
    symbols: Vec<(u8, [u8; MAX_SYMBOL_LEN])>,
    table: SymbolTable,
    expanded: AlignedBuf,
    /// What was written.
    pub payload: Vec<u8>,
}

impl FsstEncoder {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        let numbers = self.kinds.capacity() + self.lens.capacity() + self.ends.capacity();
        numbers * 8 + self.codes.capacity() + self.expanded.capacity() + self.payload.capacity()
    }

    /// Gives buffers back that have more than `limit` bytes.
    pub fn trim(&mut self, limit: usize) {
        for buffer in [&mut self.codes, &mut self.payload] {
            if buffer.capacity() > limit {
                *buffer = Vec::new();
            }
        }
        if self.expanded.capacity() > limit {
            self.expanded = AlignedBuf::new();
        }
    }

    /// Puts the values of a vector behind `head` into the payload; false if there would be more than `limit` bytes of it.
    pub fn encode(
        &mut self,
        source: &Source<'_>,
        head: &[u8],
        limit: usize,
        lessons: &mut Lessons,
        scratch: &mut IntegerScratch,
    ) -> Result<bool> {
        if !INPUT.contains(&source.data.len()) {
            return Ok(false);
        }
        let Some(contents) = self.load(source)? else { return Ok(false) };
        self.replace(&contents, lessons)?;
        if head.len() + self.codes.len() > limit {
            return Ok(false);
        }
        self.payload.clear();
        reserve(&mut self.payload, head.len() + self.codes.len() + MAX_SYMBOLS * MAX_SYMBOL_LEN)?;
        self.payload.extend_from_slice(head);
        let start = self.payload.len();
        SymbolTable::put(&self.symbols, &mut self.payload)?;
        integers::encode(&self.kinds, scratch, &mut self.payload)?;
        integers::encode(&self.lens, scratch, &mut self.payload)?;
        reserve(&mut self.payload, self.codes.len())?;
        self.payload.extend_from_slice(&self.codes);
        Ok(self.payload.len() <= limit && self.expands_to(&contents, start)?)
    }

    /// Takes the values apart; a NULL has the header and the length of what comes before it.
    fn load<'a>(&mut self, source: &Source<'a>) -> Result<Option<Vec<&'a [u8]>>> {
        self.kinds.clear();
        self.lens.clear();
        reserve(&mut self.kinds, source.rows)?;
        reserve(&mut self.lens, source.rows)?;
        let mut contents = with_capacity(source.rows)?;
        let first = (0..source.rows).find_map(|row| source.value(row)).and_then(split);
        let Some(mut last) = first.map(|(kind, content)| (kind, content.len() as i64)) else { return Ok(None) };
        for row in 0..source.rows {
            if let Some(value) = source.value(row) {
                let Some((kind, content)) = split(value) else { return Ok(None) };
                last = (kind, content.len() as i64);
                contents.push(content);
            }
            self.kinds.push(last.0);
            self.lens.push(last.1);
        }
        Ok(Some(contents))
    }

    /// Replaces what the column's symbols stand for by codes, or what those of this vector do where the column has none that suit.
    fn replace(&mut self, contents: &Vec<&[u8]>, lessons: &mut Lessons) -> Result<()> {
        let len: usize = contents.iter().map(|content| content.len()).sum();
        let mut before = None;
        if let Some(lesson) = &lessons.last {
            let (symbols, lens) = lesson.symbols();
            self.compress(&Compressor::rebuild_from(symbols, lens), contents, len)?;
            let still_suits = self.codes.len() * lesson.contents <= (lesson.codes + lesson.codes / 8) * len;
            if still_suits || !lessons.patience.tries() {
                return self.renumber(lesson);
            }
            before = Some(self.codes.len());
        }
        let compressor = Compressor::train(contents);
        self.compress(&compressor, contents, len)?;
        let codes = self.codes.len();
        lessons.patience.note(before.is_none_or(|before| codes + codes / 16 < before));
        let lesson = lessons.last.insert(Box::new(Lesson { parts: compressor.into_parts(), codes, contents: len }));
        self.renumber(lesson)
    }

    fn compress(&mut self, compressor: &Compressor, contents: &[&[u8]], len: usize) -> Result<()> {
        self.codes.clear();
        self.ends.clear();
        // As much as the crate would make room for by itself.
        reserve(&mut self.codes, 2 * len)?;
        reserve(&mut self.ends, contents.len())?;
        compressor.compress_bulk_into::<LANES>(contents, &mut self.codes, &mut self.ends);
        Ok(())
    }

    /// Leaves out symbols that do not occur, and gives the others the codes that the format has for them.
    fn renumber(&mut self, lesson: &Lesson) -> Result<()> {
        let mut used = [false; 256];
        each_code(&mut self.codes, |code| used[usize::from(*code)] = true);
        self.symbols.clear();
        reserve(&mut self.symbols, MAX_SYMBOLS)?;
        let mut renamed = [ESCAPE; 256];
        let (symbols, lens) = lesson.symbols();
        for wanted in 1..=MAX_SYMBOL_LEN as u8 {
            let known = symbols.iter().zip(lens).zip(used.iter().zip(&mut renamed));
            for ((symbol, _), (_, code)) in known.filter(|((_, len), (used, _))| **len == wanted && **used) {
                *code = self.symbols.len() as u8;
                self.symbols.push((wanted, symbol.to_u64().to_le_bytes()));
            }
        }
        each_code(&mut self.codes, |code| *code = renamed[usize::from(*code)]);
        Ok(())
    }

    /// Whether what was written from `start` of the payload on stands for the contents.
    fn expands_to(&mut self, contents: &[&[u8]], start: usize) -> Result<bool> {
        let len: usize = contents.iter().map(|content| content.len()).sum();
        self.table.read(&mut Cursor::new(self.payload.get(start..).unwrap_or_default(), WHAT))?;
        let expanded = self.table.expand(&self.codes, self.expanded.prepare(len + SLACK)?)?;
        let mut rest = self.expanded.as_slice();
        let same = contents.iter().all(|content| {
            let next = rest.split_at_checked(content.len());
            next.is_some_and(|(next, behind)| {
                rest = behind;
                next == *content
            })
        });
        Ok(same && expanded == len)
    }
}

/// Hands out all codes, but not the bytes behind escapes.
fn each_code(codes: &mut [u8], mut take: impl FnMut(&mut u8)) {
    let mut codes = codes.iter_mut();
    while let Some(code) = codes.next() {
        if *code == ESCAPE {
            codes.next();
        } else {
            take(code);
        }
    }
}
