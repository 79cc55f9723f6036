//! The messages between the leader of a COPY and its workers. The first byte says which it is.
//!
//! The leader sends rows, and at last that there are no more. A worker sends the bytes of each stripe when it is complete, then what
//! the stripe's description says, and at last that it is done. Row numbers go another way (`pg::copy::shared`), past rows that wait.
//!
//! A worker that finds a line wrong says which and waits. When all others have looked at what they had got by then, the leader lets the
//! one with the first of such lines raise its error: it is the one that is reported without workers.

use crate::columnar::encoding::StripeSummary;

/// To a worker: lines, as [`super::batch`] has them.
pub const ROWS: u8 = 1;
/// To a worker: that was all.
pub const END: u8 = 2;
/// To the leader: bytes of a stripe.
pub const BYTES: u8 = 3;
/// To the leader: the stripe whose bytes have been sent.
pub const STRIPE: u8 = 4;
/// To the leader: nothing follows.
pub const DONE: u8 = 5;
/// To the leader: the number of a line that is wrong; nothing follows.
pub const FAILED: u8 = 6;
/// To a worker that has failed: its error is the one to be reported.
pub const RAISE: u8 = 7;

/// Bytes of a stripe in one message.
pub const CHUNK: usize = 64 << 10;

const SUMMARY: usize = 4 + 2 + 8 * 5 + 4;

/// A stripe's summary as bytes.
pub fn encode(summary: &StripeSummary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SUMMARY);
    bytes.extend(summary.row_count.to_le_bytes());
    bytes.extend(summary.column_count.to_le_bytes());
    let wide = [summary.first_row, summary.last_row, summary.plain_bytes, summary.len, summary.footer_offset];
    wide.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend(summary.footer_len.to_le_bytes());
    bytes
}

/// Reads what [`encode`] made; `None` if it has another length.
pub fn decode(bytes: &[u8]) -> Option<StripeSummary> {
    let bytes: &[u8; SUMMARY] = bytes.try_into().ok()?;
    let wide = |index: usize| Some(u64::from_le_bytes(*bytes.get(6 + index * 8..)?.first_chunk()?));
    Some(StripeSummary {
        row_count: u32::from_le_bytes(*bytes.first_chunk()?),
        column_count: u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?),
        first_row: wide(0)?,
        last_row: wide(1)?,
        plain_bytes: wide(2)?,
        len: wide(3)?,
        footer_offset: wide(4)?,
        footer_len: u32::from_le_bytes(*bytes.last_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_come_out_as_they_went_in() {
        let summary = StripeSummary {
            row_count: 1,
            column_count: 2,
            first_row: 3,
            last_row: 4,
            plain_bytes: 5,
            len: 6,
            footer_offset: 7,
            footer_len: 8,
        };
        assert_eq!(decode(&encode(&summary)), Some(summary));
        assert_eq!(decode(&[]), None);
    }
}
