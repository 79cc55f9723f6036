//! Tests of the format as a whole: stripes are written, read back and damaged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod codecs;
mod corruption;
mod filters;
mod fuzz;
mod kept;
mod limits;
mod parts;
mod round_trip;
mod statistics;
mod texts;

use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::directory::VectorEntry;
use super::*;

/// What tests let a vector decompress to.
pub const MAX_RAW: usize = 64 << 20;

/// A stripe in memory.
pub struct MemorySource<'a>(pub &'a [u8]);

impl ByteSource for MemorySource<'_> {
    type Error = EncodingError;

    fn read(&mut self, offset: u64, len: usize, into: &mut AlignedBuf) -> Result<()> {
        let bytes = self.0.get(offset as usize..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or(EncodingError::Truncated { what: "blob", needed: len as u64, available: 0 })?;
        into.prepare(len)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// A column of owned values, `None` for NULL.
pub type Values = Vec<Option<Vec<u8>>>;

/// Columns with their types, and the row numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub types: Vec<ColumnType>,
    pub columns: Vec<Values>,
    pub numbers: Vec<u64>,
}

/// A variable-length value around `payload`, with a short header where it fits unless `long`.
pub fn varlena(payload: &[u8], long: bool) -> Vec<u8> {
    let mut value = match u8::try_from(payload.len() + 1) {
        Ok(len) if len < 0x80 && !long => vec![len << 1 | 1],
        _ => ((payload.len() as u32 + 4) << 2).to_le_bytes().to_vec(),
    };
    value.extend_from_slice(payload);
    value
}

pub fn write(table: &Table, compression: Compression, limits: Limits) -> Result<Finished> {
    fill(StripeWriter::new(&table.types, compression, limits)?, table)
}

/// The same, with Bloom filters for all columns.
pub fn write_with_filters(table: &Table, compression: Compression, limits: Limits) -> Result<Finished> {
    let writer = StripeWriter::new(&table.types, compression, limits)?;
    fill(writer.with_filters(&vec![true; table.types.len()]), table)
}

fn fill(mut writer: StripeWriter, table: &Table) -> Result<Finished> {
    for (row, number) in table.numbers.iter().enumerate() {
        writer.push_row(*number, |column| match &table.columns[column][row] {
            None => Value::Null,
            Some(bytes)
                if row % 2 == 0 && matches!(table.types[column].physical, Physical::Fixed { len: 1 | 2 | 4 | 8 }) =>
            {
                let mut word = [0xee; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                Value::Word(u64::from_le_bytes(word))
            }
            Some(bytes) => Value::Bytes(bytes),
        })?;
    }
    writer.finish()
}

/// The stripe's bytes and where its footer is.
pub fn stripe(finished: &Finished) -> (Vec<u8>, u64, usize) {
    let bytes = finished.pieces.concat();
    assert_eq!(bytes.len() as u64, finished.summary.len);
    (bytes, finished.summary.footer_offset, finished.summary.footer_len as usize)
}

/// Reads everything back and lets `check` look at each vector.
pub fn read(
    bytes: &[u8],
    footer_offset: u64,
    footer_len: usize,
    check: impl Fn(&Vector, &ColumnType, &VectorEntry),
) -> Result<Table> {
    let (mut source, mut scratch) = (MemorySource(bytes), AlignedBuf::new());
    let footer = read_footer(&mut source, footer_offset, footer_len, &mut scratch)?;
    let mut table = Table {
        types: footer.columns().iter().map(|column| column.column_type).collect(),
        columns: vec![],
        numbers: vec![],
    };
    let (mut decoder, mut recycled) = (Decoder::default(), Vector::default());
    for column in 0..table.types.len() {
        let directory = read_directory(&mut source, &footer, column, &mut scratch)?;
        let mut values = Vec::new();
        for entry in directory.entries() {
            let column_type = &table.types[column];
            let mut vector =
                read_vector(&mut source, column_type, entry, MAX_RAW, &mut scratch, &mut decoder, recycled)?;
            vector.finish(&Selection::first(MAX_VECTOR_ROWS))?;
            check(&vector, &table.types[column], entry);
            values.extend((0..vector.len()).map(|index| vector.get(index).map(<[u8]>::to_vec)));
            recycled = vector;
        }
        if let Some(found) = read_statistics(&mut source, &footer, column, &mut scratch, &mut decoder)? {
            statistics::check(&found, &table.types[column], &values);
        }
        table.columns.push(values);
    }
    for vector in 0..footer.vector_count() {
        let block = read_row_block(&mut source, &footer, vector, &mut scratch)?;
        table.numbers.extend((0..block.len()).map(|index| block.get(index).unwrap()));
    }
    Ok(table)
}

/// Finds the row with a number, as a lookup does.
pub fn find_row(source: &mut MemorySource<'_>, footer: &Footer, number: u64) -> Result<Option<Position>> {
    if !footer.is_increasing() {
        let blocks = (0..footer.vector_count())
            .map(|vector| read_row_block(source, footer, vector, &mut AlignedBuf::new()).map(Rc::new));
        let permutation =
            Permutation::build(footer.first_row(), footer.row_count(), &blocks.collect::<Result<Vec<_>>>()?)?;
        let ordinal = number.checked_sub(footer.first_row()).and_then(|offset| permutation.find(offset));
        return Ok(ordinal.and_then(|ordinal| footer.position(ordinal)));
    }
    let Some(vector) = footer.vector_with(number) else {
        return Ok(None);
    };
    let block = read_row_block(source, footer, vector, &mut AlignedBuf::new())?;
    Ok(block.find(number).map(|index| Position { vector: vector as u32, index }))
}

/// For [`read`] when the bytes may be wrong.
pub fn no_check(_: &Vector, _: &ColumnType, _: &VectorEntry) {}

/// What holds of every decoded vector: alignment, zones, agreement of the ways to look at it.
pub fn check_vector(vector: &Vector, column: &ColumnType, entry: &VectorEntry) {
    assert_eq!((vector.len(), vector.null_count()), (entry.rows.into(), entry.null_count.into()));
    assert!(vector.get(vector.len()).is_none() && vector.is_null(vector.len()));
    let mut zone: Option<Zone> = None;
    for index in 0..vector.len() {
        let Some(value) = vector.get(index) else {
            assert!(vector.is_null(index));
            continue;
        };
        let align = match column.physical {
            Physical::Fixed { len } => 1 << (len.trailing_zeros().min(3)),
            Physical::Varlena { align } if value[0] & 1 == 0 => align.into(),
            _ => 1,
        };
        assert_eq!(value.as_ptr() as usize % align, 0);
        if column.order != Order::None {
            let keys = order_keys(column.order, column.physical, value).unwrap_or(Zone { min: 0, max: u64::MAX });
            zone = Some(zone.map_or(keys, |zone| zone.union(keys)));
        }
        if let Some((data, stride)) = vector.fixed() {
            assert_eq!(&data[index * stride..][..value.len()], value);
        }
    }
    assert_same_zone(column.order, zone, entry.zone);
    check_narrowing(vector, column);
}

/// Rows are left out by tests as they are by a look at each value, whichever way the vector holds them.
fn check_narrowing(vector: &Vector, column: &ColumnType) {
    let keys = |row| vector.get(row).and_then(|value| order_keys(column.order, column.physical, value));
    let known = keys(vector.len() / 2).or_else(|| keys(0));
    // Keys of numerics come from doubles, which are not computed in the same way of integers.
    let Some(zone) = known.filter(|_| column.order != Order::Decimal) else { return };
    for test in [Test::Between(zone.min, zone.max), Test::Between(0, zone.min), Test::OneOf(vec![zone])] {
        let mut rows = Selection::first(vector.len());
        vector.narrow(column.order, &test, &mut rows);
        for row in 0..vector.len() {
            let passes = !vector.is_null(row) && keys(row).is_none_or(|keys| test.can_pass(Some(keys), 1, 0));
            assert_eq!(rows.contains(row), passes, "row {row}, {test:?}");
        }
    }
}

/// Keys of numerics come from doubles, which the writer computes in another way.
fn assert_same_zone(order: Order, found: Option<Zone>, stored: Option<Zone>) {
    let near = |a: u64, b: u64| a == b || order == Order::Decimal && a.abs_diff(b) <= 64;
    let same = match (found, stored) {
        (Some(found), Some(stored)) => near(found.min, stored.min) && near(found.max, stored.max),
        _ => found == stored,
    };
    assert!(same, "{found:?} {stored:?}");
}

pub fn any_type() -> impl Strategy<Value = ColumnType> {
    let ordered = prop_oneof![Just(Order::Signed), Just(Order::Unsigned)];
    prop_oneof![
        (1u16..40).prop_map(|len| ColumnType::fixed(len, Order::None)),
        Just(ColumnType::fixed(1, Order::Bool)),
        (prop_oneof![Just(1), Just(2), Just(4), Just(8)], ordered)
            .prop_map(|(len, order)| ColumnType::fixed(len, order)),
        Just(ColumnType::fixed(4, Order::Float4)),
        Just(ColumnType::fixed(8, Order::Float8)),
        (
            prop_oneof![Just(1), Just(2), Just(4), Just(8)],
            prop_oneof![Just(Order::None), Just(Order::Bytes), Just(Order::Padded)]
        )
            .prop_map(|(align, order)| ColumnType::varlena(align, order)),
        Just(ColumnType::fixed(16, Order::Bytes)),
        Just(ColumnType { physical: Physical::CString, order: Order::None }),
    ]
}

fn any_value(physical: Physical) -> BoxedStrategy<Vec<u8>> {
    let bytes = |len| vec(prop_oneof![Just(0u8), any::<u8>()], len);
    match physical {
        Physical::Fixed { len } => bytes(usize::from(len)..=usize::from(len)).boxed(),
        Physical::Varlena { .. } => {
            let lens = prop_oneof![4 => 0..20usize, 1 => 100..400usize];
            (lens.prop_flat_map(move |len| bytes(len..=len)), any::<bool>())
                .prop_map(|(payload, long)| varlena(&payload, long))
                .boxed()
        }
        Physical::CString => vec(1u8.., 0..20)
            .prop_map(|mut text| {
                text.push(0);
                text
            })
            .boxed(),
    }
}

/// Words that come again and again in an order that does not, with any header; PostgreSQL's compression is only claimed.
pub fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let words = ["packages ", "carefully ", "even ", "deposits ", "sleep, ", "\0", "ironic "];
    (vec(proptest::sample::select(words.to_vec()), 0..12), 0..8).prop_map(|(words, header)| {
        let mut value = varlena(words.concat().as_bytes(), header < 2);
        if header == 0 {
            value[0] |= 2;
        }
        value
    })
}

fn any_column(column: ColumnType, rows: usize) -> impl Strategy<Value = Values> {
    let mut values = vec((0..100, any_value(column.physical)), rows..=rows).boxed();
    if matches!(column.physical, Physical::Varlena { .. }) {
        values = prop_oneof![values, vec((0..100, any_text()), rows..=rows)].boxed();
    }
    let null_percent = prop_oneof![Just(0), Just(30), Just(100)];
    (null_percent, values).prop_map(|(percent, values)| {
        values.into_iter().map(|(chance, value)| (chance >= percent).then_some(value)).collect()
    })
}

/// A table of up to `max_columns` columns and `max_rows` rows, at least one.
pub fn any_table(max_columns: usize, max_rows: usize) -> impl Strategy<Value = Table> {
    (vec(any_type(), 0..=max_columns), 1..=max_rows, any::<u32>(), any::<bool>(), any::<bool>()).prop_flat_map(
        |(types, rows, first, gaps, shuffled)| {
            let columns: Vec<_> = types.iter().map(|column| any_column(*column, rows)).collect();
            let gap = if gaps {
                prop_oneof![5 => 1..2u64, 1 => 1..1000u64, 1 => 1..1u64 << 20].boxed()
            } else {
                Just(1).boxed()
            };
            (Just(types), columns, vec(gap, rows..=rows), vec(any::<u32>(), rows..=rows)).prop_map(
                move |(types, columns, gaps, places)| {
                    let mut number = u64::from(first);
                    let numbers = gaps.iter().map(|gap| {
                        number += gap;
                        number
                    });
                    let mut numbers: Vec<(u32, u64)> = places.into_iter().zip(numbers).collect();
                    if shuffled {
                        numbers.sort_unstable();
                    }
                    let numbers = numbers.into_iter().map(|(_, number)| number).collect();
                    Table { types, columns, numbers }
                },
            )
        },
    )
}

pub fn any_compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Lz4),
        prop_oneof![Just(1), Just(3), Just(19)].prop_map(|level| Compression::Zstd { level }),
    ]
}

pub fn any_limits() -> impl Strategy<Value = Limits> {
    (prop_oneof![Just(1024usize), 1..100usize], prop_oneof![Just(1usize << 20), 1..5000usize])
        .prop_map(|(vector_rows, vector_bytes)| Limits { vector_rows, vector_bytes, ..Limits::default() })
}
