//! Row numbers and the keys under which a table's companion keeps its tuples (docs/storage.md).
//! Free of PostgreSQL.

/// Row numbers in one virtual block: the largest offset that core's bitmap code accepts.
pub const ROWS_PER_BLOCK: u64 = 291;
/// Virtual blocks stay below this, so that `chunk_id` has room for the other spaces.
pub const MAX_BLOCKS: u32 = ANCHOR_BASE;
/// A dense stripe spans at most this many virtual blocks.
pub const DENSE_SPAN: u32 = 1 << 10;
/// A wide stripe, one of several that were sorted together, spans at most this many virtual blocks.
pub const WIDE_SPAN: u32 = 1 << 13;
/// Any stripe spans at most this many virtual blocks.
pub const SPARSE_SPAN: u32 = 1 << 20;

/// Anchors of this many virtual blocks share a `chunk_id`, and so do marks.
const BLOCKS_PER_MARK_ID: u32 = 128;
const MARK_IDS: u32 = (1 << 30) / BLOCKS_PER_MARK_ID;
const ANCHOR_BASE: u32 = DEAD_BASE - MARK_IDS;
const DEAD_BASE: u32 = (1 << 30) - MARK_IDS;
const WIDE_BASE: u32 = 1 << 30;
const DENSE_BASE: u32 = 1 << 31;
const SPARSE_BASE: u32 = 3 << 30;
const PART_BITS: u32 = 20;
/// Parts of one row; 2^20 of 8,000 bytes are 8 GB, more than a row can have.
pub const MAX_PARTS: u32 = 1 << PART_BITS;
const OFFSET_BITS: u32 = 9;

/// Names one row version of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowNumber(pub u64);

impl RowNumber {
    /// From a block and a one-based offset, or `None` where no row number lies.
    pub fn from_block_offset(block: u32, offset: u16) -> Option<Self> {
        (block < MAX_BLOCKS && (1..=ROWS_PER_BLOCK as u16).contains(&offset))
            .then(|| Self(u64::from(block) * ROWS_PER_BLOCK + u64::from(offset) - 1))
    }

    /// Virtual block.
    pub fn block(self) -> u32 {
        (self.0 / ROWS_PER_BLOCK) as u32
    }

    /// One-based offset in the block.
    pub fn offset(self) -> u16 {
        (self.0 % ROWS_PER_BLOCK) as u16 + 1
    }
}

/// First row number of a virtual block.
pub fn block_start(block: u32) -> RowNumber {
    RowNumber(u64::from(block) * ROWS_PER_BLOCK)
}

/// Key of a companion tuple, in the order of the companion's index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// `chunk_id`.
    pub id: u32,
    /// `chunk_seq`.
    pub seq: i32,
}

impl Key {
    /// Whether it is that of an anchor or a mark.
    #[inline]
    pub fn is_of_stripe_row(self) -> bool {
        self.seq >= 0 && (ANCHOR_BASE..WIDE_BASE).contains(&self.id)
    }
}

/// What a companion tuple is, as its key tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// Part of a row image.
    Row { row: RowNumber, part: u32 },
    /// Lock holder of a stripe row.
    Anchor(RowNumber),
    /// Mark that a stripe row is deleted.
    Dead(RowNumber),
    /// Stripe description.
    Stripe { first_block: u32, stripe: u32 },
    /// Piece of a byte stream.
    Blob { blob: u32, piece: u32 },
}

impl Item {
    /// The key.
    pub fn key(self) -> Key {
        match self {
            Self::Row { row, part } => row_key(row, part),
            Self::Anchor(row) => mark_key(ANCHOR_BASE, row),
            Self::Dead(row) => mark_key(DEAD_BASE, row),
            Self::Stripe { first_block, stripe } => stripe_key(DENSE_BASE, first_block, stripe),
            Self::Blob { blob, piece } => Key { id: u32::MAX - blob, seq: i32::MIN + piece as i32 },
        }
    }

    /// Key of a stripe that spans `blocks` virtual blocks.
    pub fn stripe_key(first_block: u32, blocks: u32, stripe: u32) -> Key {
        let spans = [(DENSE_SPAN, DENSE_BASE), (WIDE_SPAN, WIDE_BASE)];
        let base = spans.into_iter().find(|(span, _)| blocks <= *span).map_or(SPARSE_BASE, |(_, base)| base);
        stripe_key(base, first_block, stripe)
    }

    /// Reads a key, or `None` if nothing has such a key.
    pub fn parse(key: Key) -> Option<Self> {
        if key.seq < 0 {
            return Some(Self::Blob { blob: u32::MAX - key.id, piece: key.seq.wrapping_sub(i32::MIN) as u32 });
        }
        if let Some(base) = [SPARSE_BASE, DENSE_BASE, WIDE_BASE].into_iter().find(|base| key.id >= *base) {
            return Some(Self::Stripe { first_block: key.id - base, stripe: key.seq as u32 });
        }
        let seq = key.seq as u32;
        if key.id >= DEAD_BASE {
            return marked_row(key.id - DEAD_BASE, seq).map(Self::Dead);
        }
        if key.id >= ANCHOR_BASE {
            return marked_row(key.id - ANCHOR_BASE, seq).map(Self::Anchor);
        }
        let row = RowNumber::from_block_offset(key.id, (seq >> PART_BITS) as u16)?;
        Some(Self::Row { row, part: seq & (MAX_PARTS - 1) })
    }
}

fn row_key(row: RowNumber, part: u32) -> Key {
    Key { id: row.block(), seq: ((u32::from(row.offset()) << PART_BITS) | part) as i32 }
}

fn mark_key(base: u32, row: RowNumber) -> Key {
    let (group, block_in_group) = (row.block() / BLOCKS_PER_MARK_ID, row.block() % BLOCKS_PER_MARK_ID);
    Key { id: base + group, seq: ((block_in_group << OFFSET_BITS) | u32::from(row.offset())) as i32 }
}

fn marked_row(group: u32, seq: u32) -> Option<RowNumber> {
    let (block_in_group, offset) = (seq >> OFFSET_BITS, seq & ((1 << OFFSET_BITS) - 1));
    let block = (block_in_group < BLOCKS_PER_MARK_ID).then_some(group * BLOCKS_PER_MARK_ID + block_in_group)?;
    RowNumber::from_block_offset(block, offset as u16)
}

fn stripe_key(base: u32, first_block: u32, stripe: u32) -> Key {
    Key { id: base | first_block, seq: stripe as i32 }
}

/// An inclusive range of keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyRange {
    /// First key.
    pub from: Key,
    /// Last key.
    pub to: Key,
}

impl KeyRange {
    /// Parts of one row.
    pub fn row(row: RowNumber) -> Self {
        Self::rows(row, row)
    }

    /// Rows of the numbers `first..=last`.
    pub fn rows(first: RowNumber, last: RowNumber) -> Self {
        Self { from: row_key(first, 0), to: row_key(last, MAX_PARTS - 1) }
    }

    /// Rows of the blocks `first..=last`.
    pub fn blocks(first: u32, last: u32) -> Self {
        Self { from: Key { id: first, seq: 0 }, to: Key { id: last, seq: i32::MAX } }
    }

    /// Anchors of the row numbers `first..=last`.
    pub fn anchors(first: RowNumber, last: RowNumber) -> Self {
        Self { from: mark_key(ANCHOR_BASE, first), to: mark_key(ANCHOR_BASE, last) }
    }

    /// Marks on the row numbers `first..=last`.
    pub fn marks(first: RowNumber, last: RowNumber) -> Self {
        Self { from: mark_key(DEAD_BASE, first), to: mark_key(DEAD_BASE, last) }
    }

    /// Pieces `first..=last` of a blob.
    pub fn pieces(blob: u32, first: u32, last: u32) -> Self {
        Self { from: Item::Blob { blob, piece: first }.key(), to: Item::Blob { blob, piece: last }.key() }
    }

    /// All stripe tuples of a table whose blocks below `next_block` are handed out. (Blobs count down from the
    /// top of the same space, so the ranges must end where the table does.)
    pub fn all_stripes(next_block: u32) -> [Self; 3] {
        // Without any block handed out there is no stripe, and while TRUNCATE is at it there is no index to look into: it still
        // is that of the old file. Ranges that end before they start are not looked for.
        [DENSE_BASE, WIDE_BASE, SPARSE_BASE].map(|base| Self {
            from: Key { id: base, seq: if next_block == 0 { i32::MAX } else { 0 } },
            to: Key { id: base | next_block.min(MAX_BLOCKS - 1), seq: if next_block == 0 { 0 } else { i32::MAX } },
        })
    }

    /// The stripe tuples that could cover `block`.
    pub fn stripes_covering(block: u32) -> [Self; 3] {
        let range = |base: u32, span: u32| Self {
            from: Key { id: base | block.saturating_sub(span - 1), seq: 0 },
            to: Key { id: base | block, seq: i32::MAX },
        };
        [range(DENSE_BASE, DENSE_SPAN), range(WIDE_BASE, WIDE_SPAN), range(SPARSE_BASE, SPARSE_SPAN)]
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for n in [0, 1, 290, 291, 292, 12_345_678, u64::from(MAX_BLOCKS) * ROWS_PER_BLOCK - 1] {
            let row = RowNumber(n);
            assert_eq!(RowNumber::from_block_offset(row.block(), row.offset()), Some(row));
            for item in [
                Item::Row { row, part: 0 },
                Item::Row { row, part: MAX_PARTS - 1 },
                Item::Anchor(row),
                Item::Dead(row),
                Item::Stripe { first_block: row.block(), stripe: 7 },
                Item::Blob { blob: 3, piece: 0x7fff_fff0 },
            ] {
                assert_eq!(Item::parse(item.key()), Some(item));
            }
            let holds = |range: &KeyRange, item: Item| range.from <= item.key() && item.key() <= range.to;
            let (parts, anchors, marks) = (KeyRange::row(row), KeyRange::anchors(row, row), KeyRange::marks(row, row));
            assert!([0, MAX_PARTS - 1].into_iter().all(|part| holds(&parts, Item::Row { row, part })));
            assert!(holds(&anchors, Item::Anchor(row)) && holds(&marks, Item::Dead(row)));
            assert!(Item::Anchor(row).key().is_of_stripe_row() && Item::Dead(row).key().is_of_stripe_row());
            assert!(!Item::Row { row, part: 0 }.key().is_of_stripe_row());
        }
    }

    #[test]
    fn neighbours_do_not_mix() {
        let range = KeyRange::row(RowNumber(5));
        assert!(KeyRange::row(RowNumber(4)).to < range.from);
        assert!(range.to < KeyRange::row(RowNumber(6)).from);
        // Of one offset and the next, of one block and the next, and where the next `chunk_id` begins.
        for row in [5, ROWS_PER_BLOCK - 1, ROWS_PER_BLOCK * u64::from(BLOCKS_PER_MARK_ID) - 1].map(RowNumber) {
            let next = RowNumber(row.0 + 1);
            assert!(KeyRange::anchors(row, row).to < KeyRange::anchors(next, next).from);
            assert!(KeyRange::marks(row, row).to < KeyRange::marks(next, next).from);
        }
    }

    #[test]
    fn spaces_do_not_mix() {
        let last = RowNumber(u64::from(MAX_BLOCKS) * ROWS_PER_BLOCK - 1);
        let (anchors, marks) = (KeyRange::anchors(RowNumber(0), last), KeyRange::marks(RowNumber(0), last));
        assert!(KeyRange::row(last).to < anchors.from && anchors.to < marks.from);
        assert!(marks.to < KeyRange::stripes_covering(0)[1].from);
        let beyond = Item::Row { row: last, part: 0 }.key();
        assert_eq!(Item::parse(Key { id: beyond.id, seq: 0 }), None, "there is no offset zero");
        assert_eq!(Item::parse(Key { id: DEAD_BASE, seq: (BLOCKS_PER_MARK_ID << OFFSET_BITS | 1) as i32 }), None);
        assert_eq!(Item::parse(Key { id: ANCHOR_BASE, seq: 292 }), None);
    }

    #[test]
    fn covering_ranges_hold_the_stripe() {
        for (first, span, block) in
            [(0, 5, 4), (1000, 1024, 2023), (3, 1025, 1027), (9, 8192, 8200), (9, 8193, 8201), (7, 1 << 20, 1 << 20)]
        {
            let key = Item::stripe_key(first, span, 1);
            let covers = |ranges: &[KeyRange]| ranges.iter().any(|r| r.from <= key && key <= r.to);
            let hit = covers(&KeyRange::stripes_covering(block)) && covers(&KeyRange::all_stripes(first + span));
            assert_eq!(Item::parse(key), Some(Item::Stripe { first_block: first, stripe: 1 }));
            assert!(hit, "{first} {span} {block}");
        }
    }
}
