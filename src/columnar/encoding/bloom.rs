//! Bloom filters: which values a column of a stripe cannot have.
//!
//! A filter is an array of blocks of 256 bits, and a value has one bit in each of the eight words of one block (Putze, Sanders and Singler,
//! "Cache-, Hash- and Space-Efficient Bloom Filters", ACM Journal of Experimental Algorithmics 14, 2009). So a look-up reads one block,
//! and with it the chunk that has a checksum of its own.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::bytes::{CHECKSUM_LEN, seal, unseal, with_capacity};
use super::decimal;
use super::directory::VectorEntry;
use super::types::{Order, Physical};
use super::values::varlena_content;
use super::zone::{order_keys, trimmed};
use super::{EncodingError, Result};

const WHAT: &str = "Bloom filter";

const BLOCK_LEN: usize = 32;
/// Blocks that share a checksum; with it two chunks fit a page.
pub(super) const CHUNK_BLOCKS: u32 = 127;
/// Bits for each distinct value: one in a hundred values that are not there is taken to be.
const BITS_PER_VALUE: usize = 10;
/// What a value's hash is multiplied by for its bit in each word of a block; odd.
const MULTIPLIERS: [u32; 8] =
    [0x2c1b_3c6d, 0x297a_2d39, 0x7feb_352d, 0x846c_a68b, 0x85eb_ca6b, 0xc2b2_ae35, 0x9e37_79b1, 0x27d4_eb2f];

/// Whether values of an order are equal if and only if their hashes are, but for chance. Booleans are too few, and floats nobody looks up.
pub fn has_equality_hash(order: Order) -> bool {
    !matches!(order, Order::None | Order::Bool | Order::Float4 | Order::Float8)
}

/// A number that equal values of an order share: integers of any length, numerics of any number of decimal places, texts with or without
/// a long header. `None` without such, or if the value is compressed.
pub fn equality_hash(order: Order, physical: Physical, bytes: &[u8]) -> Option<u64> {
    match order {
        _ if !has_equality_hash(order) => None,
        Order::Decimal => {
            let (form, weight, digits) = decimal::canonical(bytes)?;
            Some(xxh3_64_with_seed(digits, u64::from(form) << 16 | u64::from(weight.cast_unsigned())))
        }
        Order::Bytes | Order::Padded => {
            let content = match physical {
                Physical::Varlena { .. } => varlena_content(bytes)?,
                _ => bytes,
            };
            Some(xxh3_64(trimmed(order, content)))
        }
        _ => Some(xxh3_64(&order_keys(order, physical, bytes)?.min.to_le_bytes())),
    }
}

/// Whether a filter would say more than the zones of the vectors, which next to nothing can where these hardly overlap.
pub(super) fn is_of_use(vectors: &[VectorEntry]) -> bool {
    let mut zones: Vec<_> = vectors.iter().filter_map(|vector| vector.zone).collect();
    zones.sort_unstable_by_key(|zone| zone.min);
    let (mut overlapping, mut end) = (0, None);
    for zone in &zones {
        overlapping += usize::from(end.is_some_and(|end| zone.min < end));
        end = end.max(Some(zone.max));
    }
    zones.len() == 1 || overlapping * 10 > zones.len()
}

/// Makes the filter of some values, given their hashes: its bytes and how many blocks it has.
pub(super) fn build(mut hashes: Vec<u64>) -> Result<(Vec<u8>, u32)> {
    hashes.sort_unstable();
    hashes.dedup();
    let blocks = (hashes.len() * BITS_PER_VALUE).div_ceil(BLOCK_LEN * 8).max(1);
    let blocks = u32::try_from(blocks).map_err(|_| EncodingError::RowCount { rows: hashes.len() as u64 })?;
    let mut out = with_capacity(filter_len(blocks))?;
    // Hashes are sorted, and so are the blocks that they fall into.
    let mut rest = hashes.as_slice();
    for first in (0..blocks).step_by(CHUNK_BLOCKS as usize) {
        let start = out.len();
        let chunk_blocks = CHUNK_BLOCKS.min(blocks - first);
        out.resize(start + chunk_blocks as usize * BLOCK_LEN, 0);
        let (own, behind) = rest.split_at(rest.partition_point(|hash| block_of(*hash, blocks) < first + chunk_blocks));
        for hash in own {
            let block = start + (block_of(*hash, blocks) - first) as usize * BLOCK_LEN;
            for (byte, bit) in bits(*hash) {
                if let Some(byte) = out.get_mut(block + byte) {
                    *byte |= bit;
                }
            }
        }
        rest = behind;
        seal(&mut out, start)?;
    }
    Ok((out, blocks))
}

/// Bytes of a filter with as many blocks.
pub(super) fn filter_len(blocks: u32) -> usize {
    blocks as usize * BLOCK_LEN + blocks.div_ceil(CHUNK_BLOCKS) as usize * CHECKSUM_LEN
}

/// Where in a filter the chunk lies that decides about a value: offset and bytes.
pub(super) fn chunk_range(blocks: u32, hash: u64) -> (u64, usize) {
    let chunk = block_of(hash, blocks) / CHUNK_BLOCKS;
    let chunk_blocks = CHUNK_BLOCKS.min(blocks - chunk * CHUNK_BLOCKS);
    let before = filter_len(chunk * CHUNK_BLOCKS) as u64;
    (before, chunk_blocks as usize * BLOCK_LEN + CHECKSUM_LEN)
}

/// Whether a value may be there. `chunk` has the bytes that [`chunk_range`] points to.
pub(super) fn may_have(chunk: &[u8], blocks: u32, hash: u64) -> Result<bool> {
    let contents = unseal(chunk, WHAT)?;
    let start = (block_of(hash, blocks) % CHUNK_BLOCKS) as usize * BLOCK_LEN;
    let block = contents.get(start..start + BLOCK_LEN);
    let block = block.ok_or(EncodingError::truncated(WHAT, start + BLOCK_LEN, contents.len()))?;
    Ok(bits(hash).all(|(byte, bit)| block.get(byte).is_some_and(|found| found & bit != 0)))
}

/// Verifies the checksum of a chunk.
pub(super) fn verify(chunk: &[u8]) -> Result<()> {
    unseal(chunk, WHAT).map(|_| ())
}

/// The block of a value, by the high bits of its hash.
fn block_of(hash: u64, blocks: u32) -> u32 {
    (((hash >> 32) * u64::from(blocks)) >> 32) as u32
}

/// A hash that falls into a block.
pub(super) fn hash_in(block: u32, blocks: u32) -> u64 {
    // The least of which the product is not below the block.
    (u64::from(block) << 32).div_ceil(u64::from(blocks)) << 32
}

/// For each word of a block the byte of the block and the bit of the byte that a value has there, by the low bits of its hash.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    MULTIPLIERS.into_iter().enumerate().map(move |(word, multiplier)| {
        let bit = ((hash as u32).wrapping_mul(multiplier) >> 27) as usize;
        (word * 4 + bit / 8, 1 << (bit % 8))
    })
}
