//! The numbers of a vector before it is encoded.

use super::Result;
use super::bytes::{reserve, with_capacity};
use super::encode::Source;
use super::types::{Order, Physical};

/// The numbers of a column without NULLs.
pub(super) fn each<const LEN: usize>(source: &Source<'_>, of: impl Fn([u8; LEN]) -> f64) -> impl Iterator<Item = f64> {
    let values = source.data.as_chunks().0.iter().enumerate();
    values.filter(|(row, _)| !source.is_null(*row)).map(move |(_, value)| of(*value))
}

/// The numbers of a column; a NULL is what comes before it.
pub(super) fn floats<F: Copy, const LEN: usize>(source: &Source<'_>, of: impl Fn([u8; LEN]) -> F) -> Result<Vec<F>> {
    let (values, _) = source.data.as_chunks::<LEN>();
    let mut out = with_capacity(values.len())?;
    let first = values.iter().enumerate().find(|(row, _)| !source.is_null(*row)).map(|(_, value)| of(*value));
    let Some(mut last) = first else { return Ok(out) };
    for (row, value) in values.iter().enumerate() {
        if !source.is_null(row) {
            last = of(*value);
        }
        out.push(last);
    }
    Ok(out)
}

/// The values of a column as integers; a NULL is what comes before it.
pub(super) fn load_integers(source: &Source<'_>, out: &mut Vec<i64>) -> Result<()> {
    let unsigned = source.column.order == Order::Unsigned;
    match source.column.physical {
        Physical::Fixed { len: 8 } => load(source, out, i64::from_le_bytes),
        Physical::Fixed { len: 4 } if unsigned => load(source, out, |bytes| u32::from_le_bytes(bytes).into()),
        Physical::Fixed { len: 4 } => load(source, out, |bytes| i32::from_le_bytes(bytes).into()),
        Physical::Fixed { len: 2 } => load(source, out, |bytes| i16::from_le_bytes(bytes).into()),
        _ => load(source, out, |[byte]| byte.into()),
    }
}

fn load<const LEN: usize>(source: &Source<'_>, out: &mut Vec<i64>, of: impl Fn([u8; LEN]) -> i64) -> Result<()> {
    let (values, _) = source.data.as_chunks::<LEN>();
    out.clear();
    reserve(out, values.len())?;
    if source.nulls.is_empty() {
        out.extend(values.iter().map(|value| of(*value)));
        return Ok(());
    }
    let mut last = values.iter().enumerate().find(|(row, _)| !source.is_null(*row)).map_or(0, |(_, value)| of(*value));
    for (row, value) in values.iter().enumerate() {
        if !source.is_null(row) {
            last = of(*value);
        }
        out.push(last);
    }
    Ok(())
}
