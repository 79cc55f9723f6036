//! A column of the build side, with all of its rows.

use super::NONE;
use crate::columnar::encoding::{AlignedBuf, Decimal, EncodingError, Physical, Selection};
use crate::execution::aggregate::{Equality, Interner, OutOfMemory};
use crate::execution::batch::{Bytes, Column, Decimals, Kind, MAX_ROWS, Memory, Values, taken};
use std::rc::Rc;

/// Values as a column has them, but of all rows.
#[derive(Debug)]
enum Held {
    Truth(Vec<bool>),
    Words(Vec<i64>),
    /// Numerics of one scale.
    Decimals(Decimals),
    Bytes(Texts),
}

/// Values of any length.
#[derive(Debug)]
struct Texts {
    physical: Physical,
    bytes: Vec<u8>,
    /// Where each row's value begins, or each entry's if there are codes.
    starts: Vec<u32>,
    /// Each row's entry, as long as there are no more different values than a dictionary may have.
    codes: Option<(Interner, Vec<u16>)>,
}

/// The bytes, once no more are added.
#[derive(Debug)]
struct Sealed {
    memory: Rc<Memory>,
    entries: Rc<[u32]>,
}

/// A column of the build side: batches are added to it; then values of any rows are taken from it.
#[derive(Debug)]
pub struct Stored {
    held: Held,
    rows: usize,
    /// Rows that are NULL, if there are any.
    nulls: Vec<bool>,
    sealed: Option<Sealed>,
}

/// Alignment of the values, which is enough for any type.
const ALIGN: usize = 8;
/// Entries that a dictionary may have.
const MAX_ENTRIES: usize = MAX_ROWS;

impl Texts {
    fn new(physical: Physical) -> Self {
        let codes = Some((Interner::new(Equality::Whole), Vec::new()));
        Self { physical, bytes: Vec::new(), starts: Vec::new(), codes }
    }

    /// Copies a value; where it begins.
    fn append(&mut self, value: &[u8]) -> Result<u32, OutOfMemory> {
        let start = self.bytes.len().next_multiple_of(ALIGN);
        let place = u32::try_from(start).map_err(|_| OutOfMemory)?;
        self.bytes.try_reserve(value.len() + ALIGN)?;
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(value);
        Ok(place)
    }

    /// Adds a row's value; its code, or where it begins.
    fn push(&mut self, value: &[u8]) -> Result<u32, OutOfMemory> {
        if let Some((interner, _)) = &mut self.codes {
            let known = interner.len();
            let code = interner.number(value)?;
            if code as usize == known && known < MAX_ENTRIES {
                let start = self.append(value)?;
                self.starts.push(start);
            } else if code as usize == known {
                self.forget_codes();
                return self.push(value);
            }
            return self.repeat(code);
        }
        let start = self.append(value)?;
        self.repeat(start)
    }

    /// Adds a row with the value of an earlier one, of which [`Self::push`] said the code or the start.
    fn repeat(&mut self, known: u32) -> Result<u32, OutOfMemory> {
        match &mut self.codes {
            Some((_, codes)) => {
                codes.try_reserve(1)?;
                codes.push(known as u16);
            }
            None => {
                self.starts.try_reserve(1)?;
                self.starts.push(known);
            }
        }
        Ok(known)
    }

    /// There are too many different values for a dictionary: each row has its own start from now on.
    fn forget_codes(&mut self) {
        if let Some((_, codes)) = self.codes.take() {
            let start = |code: &u16| self.starts.get(usize::from(*code)).copied().unwrap_or(0);
            self.starts = codes.iter().map(start).collect();
        }
    }

    fn is_coded(&self) -> bool {
        self.codes.is_some()
    }

    fn add(&mut self, bytes: &Bytes, column: &Column, rows: &Selection) -> Result<(), OutOfMemory> {
        // What was said of each entry of the batch's dictionary, and whether it was a code.
        let mut known: Vec<Option<(u32, bool)>> = vec![None; bytes.codes.as_ref().map_or(0, |_| bytes.starts.len())];
        for row in rows.iter() {
            if column.is_null(row) {
                self.push_nothing()?;
                continue;
            }
            let entry = bytes.entry(column.place(row));
            match known.get(entry).copied().flatten() {
                Some((value, coded)) if coded == self.is_coded() => self.repeat(value)?,
                _ => {
                    let value = self.push(bytes.value(entry))?;
                    if let Some(place) = known.get_mut(entry) {
                        *place = Some((value, self.is_coded()));
                    }
                    value
                }
            };
        }
        Ok(())
    }

    fn push_nothing(&mut self) -> Result<(), OutOfMemory> {
        self.repeat(0).map(|_| ())
    }

    fn memory(&self) -> usize {
        let codes = self.codes.as_ref().map_or(0, |(interner, codes)| interner.memory() + codes.capacity() * 2);
        self.bytes.capacity() + self.starts.capacity() * 4 + codes
    }

    fn seal(&mut self) -> Result<Sealed, OutOfMemory> {
        let mut buffer = AlignedBuf::new();
        let place = buffer.prepare(self.bytes.len()).map_err(|_: EncodingError| OutOfMemory)?;
        place.copy_from_slice(&self.bytes);
        self.bytes = Vec::new();
        // Rows that are NULL have the first entry, so there has to be one.
        let entries: Rc<[u32]> = match &self.codes {
            Some(_) if self.starts.is_empty() => Rc::new([0]),
            Some(_) => self.starts.as_slice().into(),
            None => Rc::new([]),
        };
        Ok(Sealed { memory: Rc::new(Memory::Own(buffer)), entries })
    }
}

impl Stored {
    /// Without rows.
    pub fn new(kind: Kind) -> Self {
        let held = match kind {
            Kind::Truth => Held::Truth(Vec::new()),
            Kind::Word(_) | Kind::Float4 | Kind::Float8 => Held::Words(Vec::new()),
            Kind::Numeric => Held::Decimals(Decimals { low: 0, high: 0, ..Decimals::new(Vec::new(), 0) }),
            Kind::Bytes(physical) => Held::Bytes(Texts::new(physical)),
        };
        Self { held, rows: 0, nulls: Vec::new(), sealed: None }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let sealed = match &self.sealed {
            Some(Sealed { memory, entries }) => memory.as_slice().len() + entries.len() * 4,
            None => 0,
        };
        let held = match &self.held {
            Held::Truth(values) => values.capacity(),
            Held::Words(words) => words.capacity() * 8,
            Held::Decimals(decimals) => decimals.integers.capacity() * 8,
            Held::Bytes(texts) => texts.memory(),
        };
        sealed + held + self.nulls.capacity()
    }

    /// Adds rows of a batch, in order.
    pub fn add(&mut self, column: &Column, rows: &Selection) -> Result<(), OutOfMemory> {
        let count = rows.count();
        let null = column.null_rows().and(rows);
        if !null.is_empty() || !self.nulls.is_empty() {
            self.nulls.try_reserve(self.rows + count - self.nulls.len())?;
            self.nulls.resize(self.rows, false);
            self.nulls.extend(rows.iter().map(|row| null.contains(row)));
        }
        self.make_room_for(column, self.rows == 0)?;
        match (&mut self.held, &column.values) {
            (Held::Truth(held), Values::Truth(truth)) => {
                held.try_reserve(count)?;
                held.extend(rows.iter().map(|row| truth.contains(column.place(row))));
            }
            (Held::Words(held), Values::Words(words)) => {
                held.try_reserve(count)?;
                held.extend(rows.iter().map(|row| words.get(column.place(row)).copied().unwrap_or(0)));
            }
            (Held::Decimals(held), Values::Decimals(decimals)) => {
                held.integers.try_reserve(count)?;
                let integer = |row| decimals.integers.get(column.place(row)).copied().unwrap_or(0);
                held.integers.extend(rows.iter().map(integer));
                held.low = held.low.min(decimals.low);
                held.high = held.high.max(decimals.high);
            }
            (Held::Bytes(held), Values::Bytes(bytes)) => held.add(bytes, column, rows)?,
            (Held::Bytes(held), Values::Decimals(decimals)) => {
                for row in rows.iter() {
                    match null.contains(row) {
                        true => held.push_nothing()?,
                        false => push_decimal(held, decimals.decimal(column.place(row)))?,
                    }
                }
            }
            // Columns of one place in the plan are of one kind.
            _ => self.nulls.resize(self.rows + count, true),
        }
        self.rows += count;
        Ok(())
    }

    /// Numerics that are not decimals of the scale that there was so far are held as bytes from then on.
    fn make_room_for(&mut self, column: &Column, first: bool) -> Result<(), OutOfMemory> {
        let Held::Decimals(held) = &mut self.held else { return Ok(()) };
        if let Values::Decimals(decimals) = &column.values {
            if first {
                held.scale = decimals.scale;
            }
            if decimals.shown.is_none() && held.scale == decimals.scale {
                return Ok(());
            }
        }
        let mut texts = Texts::new(Physical::Varlena { align: 4 });
        for row in 0..self.rows {
            match self.nulls.get(row) {
                Some(true) => texts.push_nothing()?,
                _ => push_decimal(&mut texts, held.decimal(row))?,
            }
        }
        self.held = Held::Bytes(texts);
        Ok(())
    }

    /// Says that all rows have been added.
    pub fn seal(&mut self) -> Result<(), OutOfMemory> {
        if let Held::Bytes(texts) = &mut self.held {
            self.sealed = Some(texts.seal()?);
        }
        Ok(())
    }

    /// A column with the values of rows, NULL where the row is [`NONE`]. There are no more than a batch has.
    pub fn take(&self, rows: &[u32]) -> Column {
        let mut nulls = Selection::none();
        for (place, row) in rows.iter().enumerate() {
            if *row == NONE || self.nulls.get(*row as usize).copied().unwrap_or(false) {
                nulls.insert(place);
            }
        }
        let values = match &self.held {
            Held::Truth(held) => {
                let mut truth = Selection::none();
                for (place, row) in rows.iter().enumerate() {
                    if held.get(*row as usize).copied().unwrap_or(false) {
                        truth.insert(place);
                    }
                }
                Values::Truth(truth)
            }
            Held::Words(held) => Values::Words(taken(held, rows)),
            Held::Decimals(held) => {
                Values::Decimals(Decimals { integers: taken(&held.integers, rows), shown: None, ..*held })
            }
            Held::Bytes(texts) => Values::Bytes(self.take_bytes(texts, rows)),
        };
        Column { values, nulls, same: false }
    }

    fn take_bytes(&self, texts: &Texts, rows: &[u32]) -> Bytes {
        let (memory, entries) = match &self.sealed {
            Some(Sealed { memory, entries }) => (memory.clone(), entries.clone()),
            None => (Rc::new(Memory::Own(AlignedBuf::new())), Rc::from([0])),
        };
        match &texts.codes {
            Some((_, codes)) => {
                let codes = Some(taken(codes, rows).into());
                Bytes { memory, physical: texts.physical, starts: entries, codes }
            }
            None => Bytes { memory, physical: texts.physical, starts: taken(&texts.starts, rows).into(), codes: None },
        }
    }
}

fn push_decimal(texts: &mut Texts, decimal: Decimal) -> Result<(), OutOfMemory> {
    let mut image = [0; Decimal::MAX_LEN];
    let len = decimal.render(&mut image);
    texts.push(image.get(..len).unwrap_or_default()).map(|_| ())
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::execution::batch::Kind;

    const TEXT: Kind = Kind::Bytes(Physical::Varlena { align: 4 });

    /// A column of short texts.
    fn texts(values: &[&str]) -> Column {
        let mut held = Texts::new(Physical::Varlena { align: 4 });
        held.codes = None;
        for value in values {
            let image = [&[(value.len() as u8 + 1) << 1 | 1][..], value.as_bytes()].concat();
            held.push(&image).expect("memory");
        }
        let sealed = held.seal().expect("memory");
        let bytes = Bytes {
            memory: sealed.memory,
            physical: held.physical,
            starts: held.starts.as_slice().into(),
            codes: None,
        };
        Column { values: Values::Bytes(bytes), nulls: Selection::none(), same: false }
    }

    fn read(column: &Column, rows: usize) -> Vec<Option<String>> {
        let bytes = column.bytes().expect("bytes");
        let text = |row| String::from_utf8_lossy(bytes.content(bytes.entry(row))).into_owned();
        (0..rows).map(|row| (!column.is_null(row)).then(|| text(row))).collect()
    }

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| (*value != "-").then(|| (*value).to_owned())).collect()
    }

    #[test]
    fn few_texts_keep_a_dictionary() {
        let mut stored = Stored::new(TEXT);
        stored.add(&texts(&["a", "b", "a"]), &Selection::first(3)).expect("memory");
        let mut with_null = texts(&["x", "c", "b"]);
        with_null.nulls.insert(0);
        stored.add(&with_null, &Selection::first(3)).expect("memory");
        stored.seal().expect("memory");
        let column = stored.take(&[5, NONE, 0, 3, 4, 2]);
        assert_eq!(read(&column, 6), some(&["b", "-", "a", "-", "c", "a"]));
        let bytes = column.bytes().expect("bytes");
        assert_eq!((bytes.starts.len(), bytes.codes.is_some()), (3, true));
    }

    #[test]
    fn many_texts_have_no_dictionary() {
        let mut stored = Stored::new(TEXT);
        let values: Vec<String> = (0..3000).map(|number| format!("text {}", number % 2000)).collect();
        for chunk in values.chunks(1000) {
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            stored.add(&texts(&chunk), &Selection::first(chunk.len())).expect("memory");
        }
        stored.seal().expect("memory");
        let rows = [0, 1023, 1024, 1025, 1999, 2000, 2999, NONE];
        let column = stored.take(&rows);
        assert!(column.bytes().expect("bytes").codes.is_none());
        let expected: Vec<&str> =
            rows.iter().map(|row| values.get(*row as usize).map_or("-", String::as_str)).collect();
        assert_eq!(read(&column, rows.len()), some(&expected));
    }

    #[test]
    fn numerics_of_other_scales_become_bytes() {
        let decimals = |integers: &[i64], scale| Column {
            values: Values::Decimals(Decimals::new(integers.to_vec(), scale)),
            nulls: Selection::none(),
            same: false,
        };
        let mut stored = Stored::new(Kind::Numeric);
        stored.add(&decimals(&[150, 7], 2), &Selection::first(2)).expect("memory");
        assert_eq!(stored.take(&[1]).decimals().map(|(decimals, _)| decimals.scale), Some(2));
        stored.add(&decimals(&[15], 1), &Selection::first(1)).expect("memory");
        stored.seal().expect("memory");
        let column = stored.take(&[0, 1, 2]);
        let bytes = column.bytes().expect("bytes");
        let parsed: Vec<_> = (0..3).map(|row| Decimal::parse(bytes.value(bytes.entry(row)))).collect();
        let expected = [(150, 2), (7, 2), (15, 1)].map(|(value, scale)| Some(Decimal { value, scale }));
        assert_eq!(parsed, expected);
    }

    #[test]
    fn rows_that_do_not_count_are_left_out() {
        let mut stored = Stored::new(Kind::Word(4));
        let mut rows = Selection::first(4);
        rows.remove(1);
        let column = Column { values: Values::Words(vec![1, 2, 3, 4]), nulls: Selection::none(), same: false };
        stored.add(&column, &rows).expect("memory");
        let same = Column { values: Values::Words(vec![9]), nulls: Selection::none(), same: true };
        stored.add(&same, &Selection::first(2)).expect("memory");
        let Values::Words(words) = stored.take(&[0, 1, 2, 3, 4]).values else { panic!("words") };
        assert_eq!(words, [1, 3, 4, 9, 9]);
    }
}
